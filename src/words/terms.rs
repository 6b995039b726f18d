//! Splits texts into the terms by which an index of words finds them.

use std::collections::HashSet;

use tokenizers::NormalizedString;

use crate::words::denial::Denial;

/// The most terms of a query that are looked up.
const MOST: usize = 64;
/// The least letters of a word that may stand for longer ones that begin with it.
const BEGINNING: usize = 3;
/// The least letters of a word that may have a typing error, and of one in which a letter may be another: of shorter words
/// too many are others, as `horse` and `house`.
const MISTYPED: usize = 5;
const REPLACED: usize = 7;

/// Words that say nothing about a thing.
#[rustfmt::skip]
const EMPTY: [&str; 39] = [
    "a", "an", "and", "any", "are", "as", "at", "be", "by", "find", "for", "from", "had", "has", "have", "i", "in", "is",
    "it", "its", "me", "my", "of", "on", "or", "our", "show", "some", "that", "the", "their", "there", "these", "this", "to", "was",
    "which", "with", "your",
];
/// The character of Chinese that joins an attribute to its thing: words end at it.
const JOINER: char = '的';

/// A term of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The term, as [`terms`] returns it.
    pub term: String,
    /// Whether it may stand for longer words that begin with it, if no item has it.
    pub begins: bool,
    /// Whether it may stand for words of which it may be a mistyped form, if no item has it and none begins with it.
    pub mistyped: bool,
}

impl Asked {
    /// The characters, if it is a pair of neighbors of a run of Chinese, Japanese or Korean ones.
    pub fn pair(&self) -> Option<[char; 2]> {
        let mut characters = self.term.chars();
        match (characters.next(), characters.next(), characters.next()) {
            (Some(a), Some(b), None) if kind(a) == Kind::Dense && kind(b) == Kind::Dense => Some([a, b]),
            _ => None,
        }
    }
}

/// The texts of a query as an index of words is asked for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// Its terms, each once. What it denies is not among them.
    pub terms: Vec<Asked>,
    /// The whole query as [`folded`] returns it, and as [`plain`] does; none if it has several texts.
    pub whole: Option<[String; 2]>,
}

impl Phrase {
    /// Returns the phrase of a query's texts.
    pub fn new(texts: &[&str]) -> Self {
        let mut seen = HashSet::new();
        let terms = texts.iter().flat_map(|text| asked(text)).filter(|asked| seen.insert(asked.term.clone()));
        let whole = match texts {
            [text] => Some([folded(text), plain(text)]),
            _ => None,
        };
        Self { terms: terms.take(MOST).collect(), whole }
    }
}

/// A part of a text in folded form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run<'a> {
    /// A word of a script that puts spaces between words.
    Word(&'a str),
    /// Chinese, Japanese or Korean characters, which have no spaces or particles at their words.
    Dense(&'a str),
    /// A mark that ends a clause.
    Stop,
}

/// Returns the terms of a stored text in their order: each word, and of a run of Chinese, Japanese or Korean characters
/// each character and each pair of neighbors. They are lower case without accents, and compatible forms are one.
pub fn terms(text: &str) -> Vec<String> {
    let text = simple(text);
    let mut terms = Vec::new();
    for run in runs(&text) {
        match run {
            Run::Word(word) => terms.push(word.to_owned()),
            Run::Dense(run) => {
                let ends: Vec<usize> = run.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
                let mut start = 0;
                for (number, end) in ends.iter().enumerate() {
                    terms.push(run[start..*end].to_owned());
                    terms.extend(ends.get(number + 1).map(|next| run[start..*next].to_owned()));
                    start = *end;
                }
            }
            Run::Stop => {}
        }
    }
    terms
}

/// Returns the terms of a query: words without those that say nothing, and pairs of neighbors of a run of Chinese,
/// Japanese or Korean characters, or its only character. What the query denies is left out.
fn asked(text: &str) -> Vec<Asked> {
    let text = simple(text).replace("n't", " not").replace("n’t", " not");
    let mut denial = Denial::default();
    let mut asked = Vec::new();
    for run in runs(&text) {
        match run {
            Run::Word(word) if denial.word(word) => {}
            Run::Word(word) if EMPTY.binary_search(&word).is_err() => {
                let letters = if word.contains(|c: char| c.is_numeric()) { 0 } else { word.chars().count() };
                asked.push(Asked {
                    term: word.to_owned(),
                    begins: word.chars().count() >= BEGINNING,
                    mistyped: letters >= MISTYPED,
                });
            }
            Run::Word(_) => {}
            Run::Dense(run) => {
                for part in denial.dense(run).into_iter().flat_map(|part| part.split(JOINER)) {
                    let chars: Vec<char> = part.chars().collect();
                    let exactly =
                        |chars: &[char]| Asked { term: chars.iter().collect(), begins: false, mistyped: false };
                    match chars.len() {
                        1 => asked.push(exactly(&chars)),
                        _ => asked.extend(chars.windows(2).map(exactly)),
                    }
                }
            }
            Run::Stop => denial.end(),
        }
    }
    asked
}

/// Returns the text as it is compared as a whole: compatible forms and cases are one (NFKC, case folding), and each space
/// is one space between words.
pub fn folded(text: &str) -> String {
    let text = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => {
            let mut normal = NormalizedString::from(text);
            normal.nfkc();
            one_case(normal.get())
        }
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the words of a text with a space between them, without signs and accents; [`folded`] if it has no word.
pub fn plain(text: &str) -> String {
    let simple = simple(text);
    let words: Vec<&str> = runs(&simple)
        .filter_map(|run| match run {
            Run::Word(run) | Run::Dense(run) => Some(run),
            Run::Stop => None,
        })
        .collect();
    if words.is_empty() { folded(text) } else { words.join(" ") }
}

/// Returns whether a word is another one but for a letter that is missing or added or two that changed places, or, from
/// seven letters on, a letter that is another.
pub fn is_mistyped(word: &str, other: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (word.chars().collect(), other.chars().collect());
    let long = a.len() >= REPLACED;
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match (a, b) {
        ([], []) => false,
        _ if a.len() == b.len() + 1 => a[1..] == *b,
        _ if b.len() == a.len() + 1 => b[1..] == *a,
        _ if a.len() != b.len() => false,
        _ if a[1..] == b[1..] => long,
        _ => a.len() > 1 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..],
    }
}

/// The text in lower case without accents, where compatible forms are one.
fn simple(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut normal = NormalizedString::from(text);
    normal.nfkd().filter(|c| !('\u{300}'..='\u{36f}').contains(&c)).nfc();
    one_case(normal.get())
}

/// By way of the upper case, so that `ß` and `SS`, and both small sigmas, are one.
fn one_case(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The runs of a simple text.
fn runs(text: &str) -> impl Iterator<Item = Run<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let first = rest.chars().next()?;
            let kind = kind(first);
            let end = rest.find(|c: char| self::kind(c) != kind).unwrap_or(rest.len());
            let run;
            (run, rest) = rest.split_at(end);
            match kind {
                Kind::Word => return Some(Run::Word(run)),
                Kind::Dense => return Some(Run::Dense(run)),
                Kind::Other if run.contains(ends_clause) => return Some(Run::Stop),
                Kind::Other => {}
            }
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Dense,
    Other,
}

fn kind(c: char) -> Kind {
    match c {
        _ if !c.is_alphanumeric() => Kind::Other,
        '\u{3005}'..='\u{3007}'
        | '\u{3041}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Kind::Dense,
        _ => Kind::Word,
    }
}

fn ends_clause(c: char) -> bool {
    matches!(c, ',' | ';' | '.' | '!' | '?' | ':' | '\n' | '，' | '。' | '、' | '；' | '！' | '？' | '：')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Phrase::new(&[text]).terms.into_iter().map(|asked| asked.term).collect()
    }

    #[test]
    fn the_words_that_say_nothing_are_sorted() {
        assert!(EMPTY.is_sorted());
    }

    #[test]
    fn stored_texts_become_words_and_pairs() {
        assert_eq!(terms("A Red Café-Bear_No.5"), ["a", "red", "cafe", "bear", "no", "5"]);
        assert_eq!(terms("粉色兔子"), ["粉", "粉色", "色", "色兔", "兔", "兔子", "子"]);
        assert_eq!(terms("T恤 XL"), ["t", "恤", "xl"]);
        assert_eq!(terms("ＡＢＣ１２ ﬁn Straße ΣΊΣΥΦΟΣ"), ["abc12", "fin", "strasse", "σισυφοσ"]);
        assert_eq!(terms("がぎ"), ["が", "がぎ", "ぎ"]);
        assert_eq!(terms("\" AND (NEAR* -- 🧸 ')"), ["and", "near"]);
        assert_eq!(terms("🧸 !"), [""; 0]);
    }

    #[test]
    fn queries_ask_for_pairs_and_for_words_that_say_something() {
        assert_eq!(words("a Bear with the red scarf, a bear"), ["bear", "red", "scarf"]);
        assert_eq!(words("粉色的兔子"), ["粉色", "兔子"]);
        assert_eq!(words("红兔 熊"), ["红兔", "熊"]);
        assert_eq!(words("of the"), [""; 0]);
        assert_eq!(words("\"AND\" OR NEAR(x*)"), ["near", "x"]);
        let pairs: Vec<_> = Phrase::new(&["粉色 ab 兔"]).terms.iter().map(Asked::pair).collect();
        assert_eq!(pairs, [Some(['粉', '色']), None, None]);
        let asked = Phrase::new(&["bunny ab12345 ox"]).terms;
        let kinds: Vec<(bool, bool)> = asked.iter().map(|asked| (asked.begins, asked.mistyped)).collect();
        assert_eq!(kinds, [(true, true), (true, false), (false, false)]);
        assert_eq!(Phrase::new(&[&"w1 w2 w3 ".repeat(99)]).terms.len(), 3);
        let many: String = (0..99).map(|number| format!("w{number} ")).collect();
        assert_eq!(Phrase::new(&[&many]).terms.len(), MOST);
    }

    #[test]
    fn whole_texts_are_compared_without_case() {
        assert_eq!(folded("  Golden\tDelicious-№1 "), "golden delicious-no1");
        assert_eq!(plain("Golden_Delicious-1"), "golden delicious 1");
        assert_eq!(plain("Café  é"), "cafe e");
        assert_eq!(plain("C++"), "c");
        assert_eq!((folded("🧸 !"), plain("🧸 !")), ("🧸 !".into(), "🧸 !".into()));
        assert_eq!(Phrase::new(&["a", "b"]).whole, None);
    }

    #[test]
    fn one_letter_may_differ() {
        for (a, b) in
            [("rabit", "rabbit"), ("rabbit", "rabit"), ("giraffe", "girafle"), ("rabbit", "rabibt"), ("", "a")]
        {
            assert!(is_mistyped(a, b), "{a} {b}");
        }
        for (a, b) in [("rabbit", "rabbit"), ("rabbit", "rabtib"), ("horse", "house"), ("rabbit", "rabb"), ("", "ab")] {
            assert!(!is_mistyped(a, b), "{a} {b}");
        }
        assert!(!is_mistyped("giraffe", "gilafle"));
    }
}
