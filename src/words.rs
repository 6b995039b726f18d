//! Normalizes ids, labels, texts and metadata for storage and lookup, so that spellings that look alike are equal, and
//! splits them into the terms by which they are found.

mod denial;
mod terms;

use std::borrow::Cow;

use serde_json::Value;
use tokenizers::NormalizedString;

pub use self::terms::{Asked, Phrase, folded, is_mistyped, plain, terms};

/// Returns the text in composed form (NFC): `é` is one character in either spelling.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut normal = NormalizedString::from(text);
    normal.nfc();
    if normal.get() == text { Cow::Borrowed(text) } else { Cow::Owned(normal.get().to_owned()) }
}

/// Returns JSON with all its texts and keys in composed form.
pub fn composed_value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(composed(text)),
        Value::Array(list) => list.iter().map(composed_value).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (composed(key).into_owned(), composed_value(value))).collect()
        }
        other => other.clone(),
    }
}

/// Returns the text in composed form without invisible characters: direction marks, optional breaks, byte order marks
/// and tags. They come with copied text and would change its vector.
///
/// Joiners stay, because they choose between emoji, and between letters of Persian and Indian scripts.
pub fn visible(text: &str) -> Cow<'_, str> {
    match text.contains(is_invisible) {
        true => Cow::Owned(composed(&text.replace(is_invisible, "")).into_owned()),
        false => composed(text),
    }
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'
            ..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_look_alike_are_one() {
        assert_eq!(composed("cafe\u{301}"), "café");
        assert_eq!(composed("\u{1112}\u{1161}\u{11ab}"), "한");
        assert!(matches!(composed("bear"), Cow::Borrowed("bear")));
        assert!(matches!(composed("小熊"), Cow::Borrowed("小熊")));
    }

    #[test]
    fn characters_without_a_shape_are_left_out() {
        assert_eq!(visible("\u{feff}brown\u{200b} be\u{ad}ar\u{200f}\u{2060}"), "brown bear");
        assert_eq!(visible("be\u{e0000}a\u{e0041}r\u{e007f}"), "bear");
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(visible(family), family);
        assert_eq!(visible("می\u{200c}خواهم"), "می\u{200c}خواهم");
    }
}
