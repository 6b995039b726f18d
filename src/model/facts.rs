//! Reads facts about networks that are known without the networks.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The content of a model directory's `probe.json`, or the registry's copy of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Facts {
    /// The original model's vector of the fixed probe picture.
    #[serde(default)]
    pub image: Option<Vec<f32>>,
    /// The original model's vector of the fixed probe text.
    #[serde(default)]
    pub text: Option<Vec<f32>>,
    /// The SHA-256 of the networks and of their external weights, by path in the directory.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
}

impl Facts {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let facts: Self = serde_json::from_str(text).map_err(|error| format!("{}: {error}", super::FACTS))?;
        let right =
            |digest: &String| digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match facts.sha256.values().all(right) {
            true => Ok(facts),
            false => Err(format!("{}: sha256 must have 64 lowercase hexadecimal digits for each file", super::FACTS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_and_checked() {
        let facts = Facts::read(r#"{"image": [1.0, 0], "more": 1}"#).unwrap();
        assert_eq!(facts, Facts { image: Some(vec![1.0, 0.0]), ..Facts::default() });
        for bad in ["", "3", r#"{"image": ["a"]}"#, r#"{"sha256": {"image.onnx": "abc"}}"#] {
            assert!(Facts::read(bad).unwrap_err().starts_with("probe.json: "), "{bad}");
        }
    }
}
