//! Cleans texts before tokenizing, as the original Python code of the models does.

use std::borrow::Cow;

use htmlize::ENTITIES;
use tokenizers::NormalizedString;

use crate::model::Clean;

/// The most rounds of repair. Entities are never nested this deep in practice.
const MAX_ROUNDS: usize = 64;

/// The characters of Windows-1252 for U+0080 to U+009F; undefined ones stay as they are.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Applies the steps in their order.
pub(super) fn clean<'a>(text: &'a str, steps: &[Clean]) -> Cow<'a, str> {
    steps.iter().fold(Cow::Borrowed(text), |text, step| match step {
        Clean::Ftfy => Cow::Owned(repair(&text)),
        Clean::Html => {
            let once = unescape(&text);
            Cow::Owned(unescape(&once).trim_matches(is_space).to_string())
        }
        Clean::Punctuation => Cow::Owned(text.replace('_', " ").replace(|c: char| c.is_ascii_punctuation(), "")),
        Clean::Whitespace => {
            let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
            Cow::Owned(words.join(" "))
        }
        Clean::Lowercase => Cow::Owned(text.to_lowercase()),
        Clean::LowercaseLetters => Cow::Owned(text.chars().flat_map(char::to_lowercase).collect()),
    })
}

/// Returns whether Python counts `c` as white space, which includes four control characters.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Repairs a text like ftfy's `fix_text`, except for texts decoded with a wrong encoding.
fn repair(text: &str) -> String {
    let (mut repaired, mut entities) = (String::with_capacity(text.len()), true);
    for line in text.split_inclusive('\n') {
        // A line with a tag may mean its entities.
        entities &= !line.contains('<');
        let mut line = line.to_string();
        for _ in 0..MAX_ROUNDS {
            let round = repair_once(&line, entities);
            if round == line {
                break;
            }
            line = round;
        }
        repaired.push_str(&line);
    }
    repaired
}

fn repair_once(line: &str, entities: bool) -> String {
    let text = if entities { unescape_whole(line) } else { line.to_string() };
    let mut made = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{80}'..='\u{9f}' => made.push(WINDOWS[c as usize - 0x80]),
            '\u{3000}' | '\u{ff01}'..='\u{ffef}' => made.push_str(&normal_width(c)),
            '\u{132}'..='\u{149}' | '\u{1c4}'..='\u{1f3}' | '\u{fb00}'..='\u{fb06}' => match letters(c) {
                Some(letters) => made.push_str(letters),
                None => made.push(c),
            },
            _ => made.push(c),
        }
    }
    let made: String = made.chars().map(straight).collect();
    let made = made.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n");
    let mut made = without_terminal_escapes(&made);
    made.retain(|c| !is_control(c));
    NormalizedString::from(made).nfc().get().to_string()
}

/// Converts fullwidth letters and halfwidth kana to their usual width.
fn normal_width(c: char) -> String {
    match c {
        '\u{3000}' => " ".into(),
        _ => NormalizedString::from(c.to_string()).nfkc().get().to_string(),
    }
}

/// Returns the letters of a ligature.
fn letters(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

/// Converts curly quotes to straight ones.
fn straight(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        _ => c,
    }
}

fn is_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{b}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

/// Removes the color codes of terminals: escape, bracket, digits and semicolons, a letter.
fn without_terminal_escapes(text: &str) -> String {
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("\u{1b}[") {
        let (before, escape) = rest.split_at(start);
        let after = escape[2..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        made.push_str(before);
        rest = match after.strip_prefix(|c: char| c.is_ascii_alphabetic()) {
            Some(after) => after,
            None => {
                made.push_str(&escape[..2]);
                &escape[2..]
            }
        };
    }
    made + rest
}

/// Decodes entities like ftfy: only those that end in a semicolon, including capitals such as `&EACUTE;`.
fn unescape_whole(text: &str) -> String {
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find('&') {
        made.push_str(&rest[..start]);
        rest = &rest[start..];
        let inner = rest[1..].strip_prefix('#').unwrap_or(&rest[1..]);
        let length = inner.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if !(1..=24).contains(&length) || inner.as_bytes().get(length) != Some(&b';') {
            made.push('&');
            rest = &rest[1..];
            continue;
        }
        let (entity, after) = rest.split_at(rest.len() - inner.len() + length + 1);
        rest = after;
        match whole_entity(entity) {
            Some(character) => made.push_str(&character),
            None => made.push_str(entity),
        }
    }
    made + rest
}

fn whole_entity(entity: &str) -> Option<String> {
    if let Some(found) = lookup(entity) {
        return Some(found.to_string());
    }
    if entity.starts_with("&#") {
        return Some(unescape(entity)).filter(|made| !made.contains(';'));
    }
    let lower = entity.to_ascii_lowercase();
    let capitals = entity == lower.to_ascii_uppercase() && unescape(entity) == entity;
    lookup(&lower).filter(|_| capitals).map(str::to_uppercase)
}

fn lookup(entity: &str) -> Option<&'static str> {
    ENTITIES.get(entity.as_bytes()).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

/// Decodes entities like Python's `html.unescape`, which needs no semicolon, even before letters.
fn unescape(text: &str) -> String {
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find('&') {
        made.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = match rest[1..].strip_prefix('#') {
            Some(digits) => numeric(digits, &mut made).map(|length| length + 2),
            None => named(rest, &mut made),
        };
        match length {
            Some(length) => rest = &rest[length..],
            None => {
                made.push('&');
                rest = &rest[1..];
            }
        }
    }
    made + rest
}

/// Decodes the number behind `&#`; returns its length with the semicolon.
fn numeric(digits: &str, made: &mut String) -> Option<usize> {
    let (radix, start) = if digits.starts_with(['x', 'X']) { (16, 1) } else { (10, 0) };
    let count = digits[start..].chars().take_while(|c| c.is_digit(radix)).count();
    if count == 0 {
        return None;
    }
    let end = start + count;
    let digits_only = digits[start..end].trim_start_matches('0');
    let number = match digits_only.len() {
        0 => 0,
        1..=7 => u32::from_str_radix(digits_only, radix).ok()?,
        _ => u32::MAX,
    };
    match number {
        0 => made.push('\u{fffd}'),
        0xd => made.push('\r'),
        0x80..=0x9f => made.push(WINDOWS[number as usize - 0x80]),
        1..=8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => {}
        _ if number & 0xfffe == 0xfffe && number <= 0x10_ffff => {}
        _ => made.push(char::from_u32(number).unwrap_or('\u{fffd}')),
    }
    Some(end + usize::from(digits.as_bytes().get(end) == Some(&b';')))
}

/// Decodes an entity by its name, or the longest prefix that is one; returns the length used of `rest`.
fn named(rest: &str, made: &mut String) -> Option<usize> {
    let stops = ['\t', '\n', '\u{c}', ' ', '<', '&', '#', ';'];
    let ends =
        rest[1..].char_indices().take(32).take_while(|(_, c)| !stops.contains(c)).map(|(i, c)| 1 + i + c.len_utf8());
    let ends: Vec<usize> = ends.collect();
    let last = *ends.last()?;
    let whole = last + usize::from(rest.as_bytes().get(last) == Some(&b';'));
    let shorter = ends.iter().rev().copied().filter(|&end| end > 2);
    let (end, found) =
        std::iter::once(whole).chain(shorter).find_map(|end| lookup(&rest[..end]).map(|found| (end, found)))?;
    made.push_str(found);
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_as_python_reads_them() {
        for (text, expected) in [
            ("bear &amp; rabbit", "bear & rabbit"),
            ("&lt;b&gt; &eacute;&#233;&#xE9;", "<b> ééé"),
            ("fish&chips &ampersand &notit; &notin;", "fish&chips &ersand ¬it; ∉"),
            ("&#0;&#128;&#x81;&#1;&#xD800;&#x110000;&#99999999999;", "\u{fffd}€\u{81}\u{fffd}\u{fffd}\u{fffd}"),
            ("&#; &#x; & &; &nosuch; &兔;", "&#; &#x; & &; &nosuch; &兔;"),
            ("&copy2024 &#65 &#65", "©2024 A A"),
        ] {
            assert_eq!(unescape(text), expected);
        }
    }

    #[test]
    fn entities_as_ftfy_reads_them() {
        for (text, expected) in [
            ("P&EACUTE;REZ &ntilde; &NTILDE; &nTILDE;", "PÉREZ ñ Ñ &nTILDE;"),
            ("this&not that &amp", "this&not that &amp"),
            ("BUNDESSTRA&SZLIG;E", "BUNDESSTRASSE"),
            ("&#x2019; &#xzz;", "’ &#xzz;"),
        ] {
            assert_eq!(unescape_whole(text), expected);
        }
    }

    #[test]
    fn texts_are_repaired() {
        for (text, expected) in [
            ("“curly” ‘quotes’", "\"curly\" 'quotes'"),
            ("ＬＯＵＤ　ﾀﾞﾒ", "LOUD ダメ"),
            ("ﬂuﬃest Ǆ", "fluffiest DŽ"),
            ("\u{1b}[36;44mblue\u{1b}[0m \u{1b}[x", "blue "),
            ("one\r\ntwo\rthree\u{2028}four", "one\ntwo\nthree\nfour"),
            ("nul\0 bom\u{feff} \u{93}q\u{94}", "nul bom \"q\""),
            ("n\u{303}", "ñ"),
            ("&amp;hellip;", "…"),
            ("<b>&amp;</b>\n&amp;", "<b>&amp;</b>\n&amp;"),
            ("a &lt; b\n&amp;", "a < b\n&"),
        ] {
            assert_eq!(repair(text), expected, "{text:?}");
        }
    }

    #[test]
    fn steps_are_taken_in_their_order() {
        let all = [Clean::Ftfy, Clean::Html, Clean::Punctuation, Clean::Lowercase, Clean::Whitespace];
        assert_eq!(clean("  Teddy_Bear's\u{1f}\n RED &amp; ΣΑΣ! ", &all), "teddy bears red σας");
        assert_eq!(clean("ΣΑΣ", &[Clean::LowercaseLetters]), "σασ");
        assert_eq!(clean(" As  it is ", &[]), " As  it is ");
        assert_eq!(clean(" a\u{3000}\t b ", &[Clean::Whitespace]), "a b");
    }
}
