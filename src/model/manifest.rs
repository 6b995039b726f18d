//! What `model.json` says: which networks a model has, and what goes into them and comes out.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::quantization::{Precision, Quantization};
use crate::preprocess::Preprocess;

/// The manifest format that this crate reads.
pub(super) const FORMAT: u64 = 1;

/// A manifest in which nothing is left open.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u64,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) dimension: usize,
    /// Whether the first numbers of a vector are a vector by themselves, so that `dimension` may be less than the
    /// networks give.
    #[serde(default)]
    pub(super) matryoshka: bool,
    #[serde(default)]
    pub(super) license: Option<String>,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) languages: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) precision: Option<Precision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quantized: Option<Quantization>,
    #[serde(default)]
    pub(super) image: Option<ImageTower>,
    #[serde(default)]
    pub(super) text: Option<TextTower>,
}

/// What turns pictures into vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTower {
    /// The ONNX file, relative to the model directory; may be that of the other tower.
    #[serde(default = "image_file")]
    pub file: String,
    /// The output to read; found by its name or shape when not given.
    #[serde(default)]
    pub output: Option<String>,
    /// How an output with a vector for each patch becomes one vector.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// From picture to pixel tensor.
    pub preprocess: Preprocess,
}

/// What turns texts into vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTower {
    /// The ONNX file, relative to the model directory; may be that of the other tower.
    #[serde(default = "text_file")]
    pub file: String,
    /// The output to read; found by its name or shape when not given.
    #[serde(default)]
    pub output: Option<String>,
    /// How an output with a vector for each token becomes one vector.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// The tokenizer, relative to the model directory: in the format of the crate `tokenizers`, or CLIP's list of
    /// merges (`.txt`, `.txt.gz`).
    #[serde(default = "tokenizer_file")]
    pub tokenizer: String,
    /// What happens to a text before the tokenizer sees it, in this order.
    #[serde(default)]
    pub clean: Vec<Clean>,
    /// Longer texts lose their tail; the tokens that the tokenizer adds at the end stay.
    pub max_length: usize,
    /// To which length texts are padded.
    pub padding: Padding,
    /// The token that fills up padded texts.
    #[serde(default)]
    pub pad_id: u32,
    /// Where it is put.
    #[serde(default)]
    pub pad_side: Side,
    /// What the network's input for a mask is told.
    #[serde(default)]
    pub mask: Mask,
}

/// How one vector for each token becomes one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The first token's.
    Cls,
    /// The mean over the tokens that are not padding.
    Mean,
}

/// To which length texts are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Only as far as the longest text of a run: right where padding changes nothing, as behind the end token of a
    /// causal network, or where the network masks it.
    Longest,
    /// To `max_length`, for models whose vectors depend on it.
    Fixed,
}

/// Where padding goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Before the text.
    Left,
    /// Behind the text.
    #[default]
    Right,
}

/// Which places of a padded text a network may look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// Those with tokens of the text.
    #[default]
    Tokens,
    /// All, for models that were trained without a mask.
    All,
}

/// A step between a text and its tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clean {
    /// The repairs of the Python package ftfy, except that of text decoded with a wrong encoding: entities, curly
    /// quotes, ligatures, character widths, line breaks, control characters, NFC.
    Ftfy,
    /// HTML entities become characters, twice, as Python's `html.unescape`; white space at the ends goes.
    Html,
    /// ASCII punctuation goes; `_` becomes a space.
    Punctuation,
    /// Each stretch of white space becomes one space; that at the ends goes.
    Whitespace,
    /// As Python's `str.lower`.
    Lowercase,
    /// Each letter by itself, as the crate `tokenizers` does it: a sigma at the end of a word is like any other.
    LowercaseLetters,
}

fn image_file() -> String {
    "image.onnx".into()
}

fn text_file() -> String {
    "text.onnx".into()
}

fn tokenizer_file() -> String {
    "tokenizer.json".into()
}

impl Manifest {
    /// The manifest of a model whose towers nobody here knows.
    pub(super) fn without_towers(name: &str, dimension: usize) -> Result<Self, String> {
        check_words([("name", name)])?;
        Ok(Self {
            format: FORMAT,
            name: name.into(),
            version: "1".into(),
            dimension,
            matryoshka: false,
            license: None,
            description: None,
            languages: Vec::new(),
            precision: None,
            quantized: None,
            image: None,
            text: None,
        })
    }

    /// Checks what the types alone do not.
    pub(super) fn checked(self) -> Result<Self, String> {
        let check = |right: bool, reason: &str| if right { Ok(()) } else { Err(reason.to_string()) };
        check_words([("name", &self.name), ("version", &self.version)])?;
        check((1..=1 << 16).contains(&self.dimension), "dimension must be 1 to 65536")?;
        check(self.image.is_some() || self.text.is_some(), "neither image nor text: a model needs one of them")?;
        if let Some(record) = &self.quantized {
            record.check()?;
        }
        if let Some(tower) = &self.text {
            check((1..=8192).contains(&tower.max_length), "text.max_length must be 1 to 8192")?;
        }
        Ok(self)
    }
}

fn check_words<const N: usize>(words: [(&str, &str); N]) -> Result<(), String> {
    for (key, value) in words {
        if value.trim().is_empty() || value.len() > 200 || value.chars().any(char::is_control) {
            return Err(format!("{key} {value:?} must be 1 to 200 bytes of plain text"));
        }
    }
    Ok(())
}

/// What a directory is called: by itself, or by the repository whose snapshot it is in a cache of the hub.
pub(super) fn name_of(dir: &Path) -> (String, String) {
    let part = |path: Option<&Path>| path.and_then(Path::file_name).and_then(|name| name.to_str()).map(str::to_string);
    let plain = |name: Option<String>| {
        let name: String = name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(50).collect();
        if name.trim().is_empty() { "model".to_string() } else { name }
    };
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let (parent, repository) = (part(dir.parent()), part(dir.parent().and_then(Path::parent)));
    match (parent.as_deref(), repository.as_deref().and_then(|name| name.strip_prefix("models--"))) {
        (Some("snapshots"), Some(repository)) => {
            (plain(repository.rsplit("--").next().map(str::to_string)), plain(part(Some(&dir))))
        }
        _ => (plain(part(Some(&dir))), "1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_name_models() {
        let name = |path: &str| name_of(Path::new(path));
        assert_eq!(name("/nowhere/ViT-B-32"), ("ViT-B-32".into(), "1".into()));
        assert_eq!(name("/nowhere/models--org--clip-b/snapshots/0af3"), ("clip-b".to_string(), "0af3".to_string()));
        assert_eq!(name("/"), ("model".into(), "1".into()));
        assert_eq!(name("/nowhere/a\nb"), ("ab".into(), "1".into()));
    }
}
