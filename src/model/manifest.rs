//! Defines `model.json`: the networks of a model, their inputs and their outputs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::calibrate::Typical;
use crate::model::quantization::{NetworkPrecision, Quantization};
use crate::preprocess::Preprocess;

/// The manifest format of this version.
pub(super) const FORMAT: u64 = 1;

/// Templates of sentences by language, a BCP 47 tag.
pub type Prompts = BTreeMap<String, Vec<String>>;

/// A manifest with every default filled in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u64,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) dimension: usize,
    /// Whether the first values of a vector are a vector by themselves, so that `dimension` may be less than that of
    /// the networks.
    #[serde(default)]
    pub(super) matryoshka: bool,
    #[serde(default)]
    pub(super) license: Option<String>,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) languages: Vec<String>,
    /// Sentences about a picture, with `{}` in the place of a name, by language: a name is compared with pictures by
    /// the mean of their vectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) prompts: Prompts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) precision: Option<NetworkPrecision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quantized: Option<Quantization>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) calibration: Option<Typical>,
    #[serde(default)]
    pub(super) image: Option<ImageTower>,
    #[serde(default)]
    pub(super) text: Option<TextTower>,
}

/// The settings of the image tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTower {
    /// The ONNX file, relative to the model directory; both towers may share one.
    #[serde(default = "image_file")]
    pub file: String,
    /// The output to read; by default it is found by its name or shape.
    #[serde(default)]
    pub output: Option<String>,
    /// The pooling of an output with one vector per patch.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// The preprocessing of pictures.
    pub preprocess: Preprocess,
}

/// The settings of the text tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTower {
    /// The ONNX file, relative to the model directory; both towers may share one.
    #[serde(default = "text_file")]
    pub file: String,
    /// The output to read; by default it is found by its name or shape.
    #[serde(default)]
    pub output: Option<String>,
    /// The pooling of an output with one vector per token.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// The tokenizer file, relative to the model directory: in the format of the crate `tokenizers`, or CLIP's list of
    /// merges (`.txt`, `.txt.gz`).
    #[serde(default = "tokenizer_file")]
    pub tokenizer: String,
    /// The cleaning of a text before tokenizing, in this order.
    #[serde(default)]
    pub clean: Vec<Clean>,
    /// The maximum number of tokens. Longer texts are truncated; tokens that the tokenizer adds at the end stay.
    pub max_length: usize,
    /// The padding of texts.
    pub padding: Padding,
    /// The id of the padding token.
    #[serde(default)]
    pub pad_id: u32,
    /// The side of the padding.
    #[serde(default)]
    pub pad_side: PadSide,
    /// The values of the network's attention mask.
    #[serde(default)]
    pub mask: Mask,
}

/// The pooling of one vector per token into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The vector of the first token.
    Cls,
    /// The mean over the tokens that are not padding.
    Mean,
}

/// The length to which texts are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// To the longest text of a batch: for networks that padding does not change, because they are causal or mask it.
    Longest,
    /// To `max_length`, for models whose vectors depend on it.
    Fixed,
}

/// The side on which padding is added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PadSide {
    /// Before the text.
    Left,
    /// After the text.
    #[default]
    Right,
}

/// The tokens of a padded text that a network attends to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// The tokens of the text.
    #[default]
    Tokens,
    /// All, for models trained without a mask.
    All,
}

/// A cleaning step before tokenizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clean {
    /// Repairs the text like the Python package ftfy, except for a wrong encoding: entities, curly quotes, ligatures,
    /// character widths, line breaks, control characters, NFC.
    Ftfy,
    /// Decodes HTML entities, twice, like Python's `html.unescape`, and strips white space at the ends.
    Html,
    /// Removes ASCII punctuation; `_` becomes a space.
    Punctuation,
    /// Collapses white space to single spaces, and strips it at the ends.
    Whitespace,
    /// Converts to lower case like Python's `str.lower`.
    Lowercase,
    /// Converts each letter to lower case alone, like the crate `tokenizers`: a final sigma is like any other.
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
    /// Checks the rules beyond those of the types.
    pub(super) fn checked(self) -> Result<Self, String> {
        let check = |right: bool, reason: &str| if right { Ok(()) } else { Err(reason.to_string()) };
        check_words([("name", &self.name), ("version", &self.version)])?;
        check((1..=1 << 16).contains(&self.dimension), "dimension must be 1 to 65536")?;
        check(
            self.image.is_some() || self.text.is_some(),
            "image and text are both missing: a model needs one of them",
        )?;
        if let Some(record) = &self.quantized {
            record.check()?;
        }
        for (language, sentences) in &self.prompts {
            if let Some(wrong) = sentences.iter().find(|sentence| sentence.matches("{}").count() != 1) {
                return Err(format!("prompts.{language}: {wrong:?} must have {{}} once, in the place of a name"));
            }
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

/// Returns the name and version of a directory: its own, or those of the repository if it is a snapshot in a hub's
/// cache.
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
