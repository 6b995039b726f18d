//! Checks the fields of an item before they are stored.

use serde_json::Value;

use crate::error::{Error, Result};

const MAX_ID: usize = 512;
const MAX_TEXT: usize = 64 << 10;
const MAX_METADATA: usize = 1 << 20;
const MAX_DEPTH: usize = 64;

/// Checks the name of a reference.
///
/// # Errors
/// [`Error::Argument`] says what cannot be stored.
pub fn check_name(id: &str, name: Option<&str>) -> Result<()> {
    check_text(id, "name of a reference", name)
}

/// Checks what is to be stored of an item besides references, and returns the metadata as it is stored.
///
/// # Errors
/// [`Error::Argument`] says what cannot be stored.
pub fn check_fields(
    id: &str,
    label: Option<&str>,
    text: Option<&str>,
    metadata: Option<&Value>,
) -> Result<Option<String>> {
    if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
        let short: String = id.chars().take(40).collect();
        return Err(Error::argument(format!(
            "item id {short:?}: an id has 1 to {MAX_ID} bytes of text and no control characters"
        )));
    }
    check_text(id, "label", label)?;
    check_text(id, "text", text)?;
    metadata.map(|metadata| check_metadata(id, metadata)).transpose()
}

pub(super) fn check_text(id: &str, what: &str, text: Option<&str>) -> Result<()> {
    match text {
        Some(text) if text.len() > MAX_TEXT => {
            Err(Error::argument(format!("item {id:?}: its {what} has more than {MAX_TEXT} bytes")))
        }
        Some(text) if text.contains('\0') => Err(Error::argument(format!("item {id:?}: its {what} contains NUL"))),
        _ => Ok(()),
    }
}

pub(super) fn check_metadata(id: &str, metadata: &Value) -> Result<String> {
    let fail = |reason| Err(Error::argument(format!("item {id:?}: its metadata {reason}")));
    if !metadata.is_object() {
        return fail("must be a JSON object, as {\"price\": 12.5}".to_owned());
    }
    if !shallow(metadata, MAX_DEPTH) {
        return fail(format!("is nested more than {MAX_DEPTH} deep"));
    }
    if has_nul(metadata) {
        return fail("contains NUL in a key or string".to_owned());
    }
    let json = metadata.to_string();
    if json.len() > MAX_METADATA { fail(format!("has more than {MAX_METADATA} bytes")) } else { Ok(json) }
}

fn shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => false,
        Value::Array(list) => list.iter().all(|value| shallow(value, depth - 1)),
        Value::Object(keys) => keys.values().all(|value| shallow(value, depth - 1)),
        _ => true,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(keys) => keys.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
