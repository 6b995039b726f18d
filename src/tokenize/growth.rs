//! How much longer a tokenizer's rules can make a text.
//!
//! Each rule is harmless by itself; a few of them one after the other can make gigabytes of a letter, and nothing stops them
//! while they run.

use serde::Serialize;
use serde_json::Value;

/// The most that all rules together may lengthen a text: those of published tokenizers stay below 200.
const MOST: usize = 1024;

/// Checks the rules of a tokenizer.
///
/// # Errors
/// The reason, if they can make a text more than [`MOST`] times as long.
pub(super) fn check(tokenizer: &tokenizers::Tokenizer) -> Result<(), String> {
    let normalized = tokenizer.get_normalizer().map_or(1, factor);
    let grown = normalized.saturating_mul(tokenizer.get_pre_tokenizer().map_or(1, factor));
    if grown > MOST {
        return Err(format!(
            "its normalizer and pre-tokenizer can make a text more than {MOST} times as long, which exhausts memory; copy \
             it from the model's source again"
        ));
    }
    Ok(())
}

fn factor(rules: &impl Serialize) -> usize {
    serde_json::to_value(rules).map_or(1, |rules| of(&rules))
}

/// At most how many times as long, in bytes, a rule makes a text.
fn of(rule: &Value) -> usize {
    let members = |key: &str| rule.get(key).and_then(Value::as_array).into_iter().flatten();
    let length = |text: Option<&Value>| text.and_then(Value::as_str).map_or(0, str::len);
    match rule.get("type").and_then(Value::as_str).unwrap_or_default() {
        "Sequence" => members("normalizers").chain(members("pretokenizers")).map(of).fold(1, usize::saturating_mul),
        "Replace" => {
            let content = length(rule.get("content"));
            match rule.get("pattern").and_then(|pattern| pattern.get("String")) {
                Some(text) => content.div_ceil(length(Some(text)).max(1)).max(1),
                // An expression may match between two characters.
                None => content + 1,
            }
        }
        "Prepend" => length(rule.get("prepend")) + 1,
        // One character of compatibility becomes up to 11 times its bytes.
        "NFKC" | "NFKD" | "Precompiled" => 12,
        "NFC" | "NFD" => 3,
        "Metaspace" => 4,
        "ByteLevel" | "Lowercase" | "BertNormalizer" => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_multiply() {
        let replace = |from: Value, content: &str| json!({"type": "Replace", "pattern": from, "content": content});
        let long = "a".repeat(1000);
        assert_eq!(of(&replace(json!({"String": "a"}), &long)), 1000);
        assert_eq!(of(&replace(json!({"String": "aaaa"}), &long)), 250);
        assert_eq!(of(&replace(json!({"Regex": "\\s+"}), " ")), 2);
        assert_eq!(of(&replace(json!({"Regex": "x"}), "")), 1);
        let twice = replace(json!({"String": "a"}), &long);
        assert_eq!(of(&json!({"type": "Sequence", "normalizers": [twice, twice]})), 1_000_000);
        let many = vec![json!({"type": "ByteLevel"}); 100];
        assert_eq!(of(&json!({"type": "Sequence", "pretokenizers": many})), usize::MAX);
        assert_eq!(of(&json!({"type": "Strip", "strip_left": true})), 1);
    }
}
