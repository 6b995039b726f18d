//! Reads the files of a model directory for the layouts.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::fingerprint::{locate, read_network};
use crate::model::onnx;
use crate::model::onnx::Interface;

/// The largest JSON file, in bytes. Settings are small; the largest tokenizers have 40 MB.
const MAX_JSON_BYTES: u64 = 256 << 20;

/// Returns a setting of a file, or `None` if it is missing. A value that cannot be read is an error, not the default.
pub(super) fn setting<'a, T>(
    settings: &'a Value,
    key: &str,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<Option<T>, String> {
    match &settings[key] {
        Value::Null => Ok(None),
        value => read(value).map(Some).ok_or_else(|| format!("{key} {value} is not understood")),
    }
}

/// A model directory, and the owner's partial manifest of it.
pub(super) struct Directory<'a> {
    dir: &'a Path,
    given: &'a Map<String, Value>,
}

/// The settings in `tokenizer.json`.
#[derive(Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    padding: Option<PaddingSettings>,
    model: TokenizerModel,
    /// The whole file, because vocabularies are large and seldom needed.
    #[serde(skip)]
    bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct PaddingSettings {
    pad_id: u32,
}

#[derive(Deserialize)]
struct TokenizerModel {
    #[serde(default)]
    end_of_word_suffix: Option<String>,
}

impl TokenizerFile {
    /// Returns whether it is CLIP's, whose words end in `</w>`.
    pub(super) fn is_clip(&self) -> bool {
        self.model.end_of_word_suffix.as_deref() == Some("</w>")
    }

    /// Returns the id of a token.
    pub(super) fn id(&self, token: &str) -> Option<u32> {
        let added = self.added_tokens.iter().find(|added| added.content == token).map(|added| added.id);
        added.or_else(|| match &serde_json::from_slice::<Value>(&self.bytes).ok()?["model"]["vocab"] {
            Value::Object(vocab) => vocab.get(token)?.as_u64()?.try_into().ok(),
            Value::Array(pieces) => pieces.iter().position(|piece| piece[0] == token)?.try_into().ok(),
            _ => None,
        })
    }

    /// Returns the id of the padding token by the tokenizer's settings, otherwise of a token with a usual name for it.
    pub(super) fn pad_id(&self, settings: &Value) -> Option<u32> {
        let named = settings["pad_token"].as_str().or(settings["pad_token"]["content"].as_str());
        match named {
            Some(token) => self.id(token),
            None => self
                .padding
                .as_ref()
                .map(|padding| padding.pad_id)
                .or_else(|| ["<pad>", "[PAD]"].iter().find_map(|token| self.id(token))),
        }
    }
}

impl<'a> Directory<'a> {
    pub(super) fn new(dir: &'a Path, given: &'a Map<String, Value>) -> Self {
        Self { dir, given }
    }

    /// Returns the owner's value of a key, by its path; null if there is none.
    pub(super) fn given(&self, path: &[&str]) -> &Value {
        let Some((first, rest)) = path.split_first() else { return &Value::Null };
        let first = self.given.get(*first).unwrap_or(&Value::Null);
        rest.iter().fold(first, |value, key| &value[*key])
    }

    /// Returns whether a file exists.
    pub(super) fn has(&self, file: &str) -> bool {
        self.dir.join(file).is_file()
    }

    /// Returns the directory's path.
    pub(super) fn path(&self) -> &Path {
        self.dir
    }

    /// Returns the directory's name, as written by its owner.
    pub(super) fn name(&self) -> Option<&str> {
        self.dir.file_name()?.to_str()
    }

    /// Reads a JSON file; returns null if it does not exist.
    pub(super) fn json(&self, file: &str) -> Result<Value, String> {
        Ok(self.parse(file)?.map_or(Value::Null, |(value, _)| value))
    }

    /// Reads a tokenizer file, if it exists.
    pub(super) fn tokenizer(&self, file: &str) -> Result<Option<TokenizerFile>, String> {
        let found: Option<(TokenizerFile, Vec<u8>)> = self.parse(file)?;
        Ok(found.map(|(tokenizer, bytes)| TokenizerFile { bytes, ..tokenizer }))
    }

    /// Parses a JSON file, and returns its bytes, too.
    fn parse<T: for<'de> Deserialize<'de>>(&self, file: &str) -> Result<Option<(T, Vec<u8>)>, String> {
        let path = self.dir.join(file);
        match fs::metadata(&path) {
            Ok(data) if data.len() > MAX_JSON_BYTES => {
                return Err(format!(
                    "{file} has {} bytes, too many for settings; copy it from the model's source again",
                    data.len()
                ));
            }
            // A pipe or device may never end.
            Ok(data) if !data.is_file() => {
                return Err(format!("{file} is not a regular file; copy the whole model directory"));
            }
            _ => {}
        }
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(value) => Ok(Some((value, bytes))),
                Err(error) => Err(format!("{file}: {error}")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{file} cannot be read: {error}")),
        }
    }

    /// Reads the inputs and outputs of a network.
    pub(super) fn interface(&self, file: &str) -> Result<Interface, String> {
        let bytes = read_network(&locate(self.dir, file, "the manifest")?, file)?;
        onnx::interface(&bytes).ok_or_else(|| format!("{file} is not an ONNX file, or is cut short"))
    }
}
