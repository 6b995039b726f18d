//! Tokenizes texts into ids and a mask, as the model prescribes.

mod clean;
mod growth;
mod merges;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::{Model as _, ModelWrapper, PostProcessor, TruncationParams};

use crate::error::{Error, Result, said};
use crate::model::{Clean, Mask, Model, PadSide, Padding};

/// The longest text. A longer one is a mistake, not a query.
pub const MAX_CHARACTERS: usize = 100_000;

/// A model's tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The model's name and the tokenizer's file, for errors.
    place: (String, String),
    /// The id of unknown words; `None` if every text is in the vocabulary.
    unknown: Option<u32>,
    clean: Vec<Clean>,
    max_length: usize,
    padding: Padding,
    pad_id: i64,
    pad_side: PadSide,
    mask: Mask,
}

/// Token ids and mask of several texts, one row per text, padded to the same length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids, row after row.
    pub ids: Vec<i64>,
    /// 1 for each token of the text, and for padding if the network attends to it; otherwise 0.
    pub mask: Vec<i64>,
    /// The number of texts.
    pub rows: usize,
    /// The number of ids per text.
    pub columns: usize,
}

impl Tokens {
    /// Concatenates the rows of all, which must have the same number of columns.
    pub fn joined<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut joined = Self { ids: vec![], mask: vec![], rows: 0, columns: 0 };
        for tokens in all {
            joined.ids.extend_from_slice(&tokens.ids);
            joined.mask.extend_from_slice(&tokens.mask);
            joined.rows += tokens.rows;
            joined.columns = tokens.columns;
        }
        joined
    }
}

impl Tokenizer {
    /// Opens the tokenizer of `model`.
    ///
    /// # Errors
    /// [`Error::Model`] if the model has no text tower, or its tokenizer file cannot be used.
    pub fn open(model: &Model) -> Result<Self> {
        let Some(tower) = model.text() else {
            return Err(Error::model(model.name(), "has no text tower: it encodes pictures only"));
        };
        let blame = |reason: String| Error::model(model.name(), format!("{}: {reason}", tower.tokenizer));
        let bytes = std::fs::read(model.path(&tower.tokenizer)).map_err(|error| blame(error.to_string()))?;
        let made = match tower.tokenizer.ends_with(".txt") || tower.tokenizer.ends_with(".txt.gz") {
            true => serde_json::from_value(merges::tokenizer(&bytes).map_err(blame)?).map_err(Into::into),
            // The crate panics over a part that is no JSON.
            false => catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes))
                .unwrap_or_else(|panic| Err(said(&*panic).to_owned().into())),
        };
        let mut inner = made.map_err(|error| {
            blame(format!(
                "is not a tokenizer file of the crate `tokenizers` ({error}); copy it from the model's source again"
            ))
        })?;
        let added = inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if tower.max_length <= added {
            let reason = format!("adds {added} tokens to each text, but text.max_length is {}", tower.max_length);
            return Err(blame(reason));
        }
        growth::check(&inner).map_err(blame)?;
        // The manifest overrides the settings of the tokenizer file.
        inner.with_padding(None);
        inner
            .with_truncation(Some(TruncationParams { max_length: tower.max_length, ..Default::default() }))
            .map_err(|error| blame(error.to_string()))?;
        Ok(Self {
            place: (model.name().to_owned(), tower.tokenizer.clone()),
            unknown: unknown(&inner),
            inner,
            clean: tower.clean.clone(),
            max_length: tower.max_length,
            padding: tower.padding,
            pad_id: i64::from(tower.pad_id),
            pad_side: tower.pad_side,
            mask: tower.mask,
        })
    }

    /// Returns the highest id of the vocabulary, and the tokens of a short text with that id in place of a word, to
    /// test whether a network accepts all ids.
    ///
    /// Returns `None` if the tokenizer knows no such word. Added tokens do not count, because some are never used.
    pub fn extreme(&self) -> Option<(i64, Tokens)> {
        let highest = self.inner.get_vocab(false).into_values().max().map_or(0, i64::from).max(self.pad_id);
        let encoding = self.encode_one("a").ok()?;
        let place = encoding.get_special_tokens_mask().iter().position(|&special| special == 0)?;
        let length = encoding.len();
        let mut tokens = self.padded(&[encoding]);
        let shift = if self.pad_side == PadSide::Left { tokens.columns - length } else { 0 };
        tokens.ids[shift + place] = highest;
        Some((highest, tokens))
    }

    /// Encodes texts into rows of ids.
    ///
    /// # Errors
    /// [`Error::Argument`] if a text is empty, too long, or has no token of the vocabulary.
    pub fn encode(&self, texts: &[&str]) -> Result<Tokens> {
        let encodings = texts.iter().map(|text| self.encode_one(text)).collect::<Result<Vec<_>>>()?;
        Ok(self.padded(&encodings))
    }

    /// Returns whether the vocabulary has no word of the text, at most its punctuation. All such texts have the same
    /// ids.
    pub fn is_out_of_vocabulary(&self, text: &str) -> bool {
        let (Some(unknown), Ok(encoding)) = (self.unknown, self.encode_one(text)) else { return false };
        let own =
            encoding.get_ids().iter().zip(encoding.get_special_tokens_mask()).filter(|(_, special)| **special == 0);
        let (unread, read): (Vec<u32>, Vec<u32>) = own.map(|(id, _)| *id).partition(|id| *id == unknown);
        let is_word = |id: &u32| self.inner.id_to_token(*id).is_some_and(|token| !is_punctuation(&token));
        !unread.is_empty() && !read.iter().any(is_word)
    }

    fn padded(&self, encodings: &[tokenizers::Encoding]) -> Tokens {
        let columns = match self.padding {
            Padding::Fixed => self.max_length,
            Padding::Longest => encodings.iter().map(|encoding| encoding.len()).max().unwrap_or(0),
        };
        let rows = encodings.len();
        let (mut ids, mut mask) = (vec![self.pad_id; rows * columns], vec![0; rows * columns]);
        for (row, encoding) in encodings.iter().enumerate() {
            let start = row * columns + if self.pad_side == PadSide::Left { columns - encoding.len() } else { 0 };
            let place = start..start + encoding.len();
            mask[place.clone()].fill(1);
            ids[place].iter_mut().zip(encoding.get_ids()).for_each(|(place, &id)| *place = i64::from(id));
        }
        if self.mask == Mask::All {
            mask.fill(1);
        }
        Tokens { ids, mask, rows, columns }
    }

    fn encode_one(&self, text: &str) -> Result<tokenizers::Encoding> {
        check(text)?;
        let blame = |reason: String| Error::argument(format!("{} {reason}", name(text)));
        let encode = || self.inner.encode_fast(clean::clean(text, &self.clean).as_ref(), true);
        // A regular expression of the file may panic.
        let encoding = catch_unwind(AssertUnwindSafe(encode)).map_err(|panic| {
            let (model, file) = &self.place;
            let why = said(&*panic);
            Error::model(model, format!("{file} cannot tokenize {}: {why}; its expressions take too long", name(text)))
        })?;
        let encoding = encoding.map_err(|error| blame(format!("cannot be tokenized: {error}")))?;
        match encoding.get_special_tokens_mask().contains(&0) {
            true => Ok(encoding),
            false => Err(blame("has nothing that the model's tokenizer knows".into())),
        }
    }
}

fn unknown(tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    let token = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => {
            // Byte-level tokenizers name an unknown token and never use it: then no text needs a check.
            let id = tokenizer.token_to_id(model.get_unk_token().as_ref()?)?;
            let cuneiform = tokenizer.encode_fast("\u{12000}", false).ok()?;
            return cuneiform.get_ids().contains(&id).then_some(id);
        }
        ModelWrapper::WordPiece(model) => model.unk_token.clone(),
        ModelWrapper::WordLevel(model) => model.unk_token.clone(),
        ModelWrapper::Unigram(model) => {
            // The unknown id is private, but a character that no vocabulary has shows it.
            let tokens = model.tokenize("\u{10fffd}").ok()?;
            return match &tokens[..] {
                [token] if model.token_to_id("\u{10fffd}").is_none() => Some(token.id),
                _ => None,
            };
        }
    };
    tokenizer.token_to_id(&token)
}

/// Returns whether a token has no letter, digit or emoji, apart from the markers of word boundaries.
fn is_punctuation(token: &str) -> bool {
    let token = token.strip_suffix("</w>").unwrap_or(token);
    let is = |c: char| {
        c.is_ascii_punctuation()
            || c.is_whitespace()
            || !c.is_alphanumeric()
                && matches!(c, '\u{a1}'..='\u{bf}' | '\u{2010}'..='\u{205e}' | '\u{2581}' | '\u{3000}'..='\u{303f}' | '\u{fe10}'..='\u{fe6f}' | '\u{ff01}'..='\u{ff65}')
    };
    token.chars().all(is)
}

/// Checks that `text` can be encoded.
///
/// # Errors
/// [`Error::Argument`] if it is empty, only white space, or too long.
pub fn check(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::argument("the text is empty: give at least one word"));
    }
    // Bytes are never fewer than characters, so most texts need no counting.
    if text.len() > MAX_CHARACTERS {
        let count = text.chars().count();
        if count > MAX_CHARACTERS {
            return Err(Error::argument(format!(
                "the text has {count} characters: shorten it to {MAX_CHARACTERS} at most"
            )));
        }
    }
    Ok(())
}

/// Returns the name of `text` in errors: the text itself, or its beginning.
pub fn name(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("text {:?}...", &text[..end]),
        None => format!("text {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_in_characters() {
        assert!(check(&"兔".repeat(MAX_CHARACTERS)).is_ok());
        let error = check(&"兔".repeat(MAX_CHARACTERS + 1)).unwrap_err();
        assert_eq!(error.to_string(), "the text has 100001 characters: shorten it to 100000 at most");
    }

    #[test]
    fn texts_without_words_are_empty() {
        for text in ["", " ", "\n\t", "\u{3000}"] {
            assert_eq!(check(text).unwrap_err().to_string(), "the text is empty: give at least one word");
        }
    }

    #[test]
    fn long_texts_are_named_by_their_beginning() {
        assert_eq!(name("a \"bear\""), r#"text "a \"bear\"""#);
        assert_eq!(name(&"兔".repeat(41)), format!("text \"{}\"...", "兔".repeat(40)));
    }
}
