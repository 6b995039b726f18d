//! Makes a tokenizer from CLIP's vocabulary as OpenAI published it, a list of merges.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

/// The largest list; the published one has 3 MB.
const MAX_BYTES: u64 = 64 << 20;
/// The number of ids: 256 bytes, the same at the end of a word, merges, start and end.
const VOCABULARY: usize = 49_408;
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// Returns the equivalent file in the format of the crate `tokenizers`.
pub(super) fn tokenizer(bytes: &[u8]) -> Result<Value, String> {
    let mut text = String::new();
    let read = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => GzDecoder::new(bytes).take(MAX_BYTES).read_to_string(&mut text),
        false => bytes.take(MAX_BYTES).read_to_string(&mut text),
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let count = VOCABULARY - 2 * 256 - 2;
    // The first line is a header, and the file has more merges than CLIP uses.
    let merges: Option<Vec<(&str, &str)>> = text.lines().skip(1).take(count).map(|line| line.split_once(' ')).collect();
    let merges = merges.filter(|merges| merges.len() == count);
    let merges = merges.ok_or(format!("is not CLIP's list of merges: {count} lines of two words after the first"))?;
    let letters = letters();
    let words = letters.iter().map(|letter| format!("{letter}</w>"));
    let vocabulary = letters.iter().map(char::to_string).chain(words);
    let vocabulary = vocabulary.chain(merges.iter().map(|(left, right)| format!("{left}{right}")));
    let vocabulary = vocabulary.chain([START, END].map(String::from));
    let vocabulary: Map<String, Value> = vocabulary.enumerate().map(|(id, token)| (token, id.into())).collect();
    let id = |token: &str| vocabulary[token].clone();
    let special = |token: &str| {
        json!({"id": id(token), "content": token, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": true, "special": true})
    };
    let pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    Ok(json!({
        "version": "1.0",
        "added_tokens": [special(START), special(END)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {"type": "RobertaProcessing", "sep": [END, id(END)], "cls": [START, id(START)],
                           "trim_offsets": false, "add_prefix_space": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocabulary,
                  "merges": merges.iter().map(|(left, right)| json!([left, right])).collect::<Vec<_>>()},
    }))
}

/// Returns a visible letter for each byte, in the order of ids: visible bytes stand for themselves.
fn letters() -> Vec<char> {
    let visible: Vec<u32> = (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff).collect();
    let hidden = 256 - visible.len() as u32;
    visible.into_iter().chain(256..256 + hidden).filter_map(char::from_u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_letter_for_each_byte() {
        let letters = letters();
        assert_eq!((letters.len(), letters[0], letters[255]), (256, '!', '\u{143}'));
    }

    #[test]
    fn other_lists_are_refused() {
        assert!(tokenizer(b"#version\na b\n").unwrap_err().starts_with("is not CLIP's list of merges: 48894 lines"));
        assert!(tokenizer(&[0x1f, 0x8b, 0]).unwrap_err().starts_with("cannot be read"));
        assert!(tokenizer(&[0xff; 9]).unwrap_err().starts_with("cannot be read"));
    }
}
