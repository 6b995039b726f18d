//! Looks a text up by phrases around it: the mean of their vectors is nearer to what the text is about than its own vector
//! (prompt ensembling, Radford et al., ICML 2021).

use crate::encoder::Encode;
use crate::error::{Error, Result};
use crate::model::Prompts;
use crate::tokenize;
use crate::vectors::Vectors;

/// The place of the text in a phrase.
const PLACE: &str = "{}";
/// The most phrases around a text.
const MOST: usize = 256;
/// The phrases of models that name none: such as captions of all kinds of pictures begin with.
const ENGLISH: [&str; 3] = ["{}", "a photo of a {}", "a photo of the {}"];
const CHINESE: [&str; 3] = ["{}", "一张{}的照片", "{}的照片"];

/// Whether a text is looked up by itself or by phrases around it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Expand {
    /// By itself.
    #[default]
    Never,
    /// By the phrases of the model, or by usual ones if it names none, in the language of the text's script.
    Auto,
    /// By these.
    By(Templates),
}

/// Phrases with `{}` in the place of a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Templates(Vec<String>);

impl Templates {
    /// Checks templates.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are none or too many, or one does not have `{}` once.
    pub fn new(templates: Vec<String>) -> Result<Self> {
        if templates.is_empty() || templates.len() > MOST {
            return Err(Error::argument(format!("expand: {} templates: give 1 to {MOST}", templates.len())));
        }
        match templates.iter().find(|template| template.matches(PLACE).count() != 1) {
            Some(wrong) => Err(Error::argument(format!(
                "expand: the template {wrong:?} must have {{}} once, in the place of the text: write one such as \
                 \"a photo of {{}}\""
            ))),
            None => Ok(Self(templates)),
        }
    }
}

impl Expand {
    /// Encodes texts, in their order: each to the mean of the unit vectors of its phrases, scaled to length 1.
    ///
    /// # Errors
    /// Those of [`Encode::texts`].
    pub fn encode(&self, encoder: &dyn Encode, texts: &[&str]) -> Result<Vectors> {
        if *self == Self::Never {
            return encoder.texts(texts);
        }
        // A phrase around an empty text would be a text.
        texts.iter().try_for_each(|text| tokenize::check(text))?;
        let phrases: Vec<Vec<String>> = texts.iter().map(|text| self.phrases(encoder, text)).collect();
        let all: Vec<&str> = phrases.iter().flatten().map(String::as_str).collect();
        let encoded = encoder.texts(&all)?;
        let mut rows = encoded.rows();
        let mut means = Vectors::new(encoded.dim());
        for (text, phrases) in texts.iter().zip(&phrases) {
            let mut sum = vec![0.0; encoded.dim()];
            for row in rows.by_ref().take(phrases.len()) {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            means.extend(&Vectors::normalize_named(encoded.dim(), sum, |_| {
                format!("the mean vector of the phrases around {}", tokenize::name(text))
            })?);
        }
        Ok(means)
    }

    /// The phrases around a text, or the text alone.
    fn phrases(&self, encoder: &dyn Encode, text: &str) -> Vec<String> {
        let own = |templates: &[String]| templates.iter().map(|one| filled(one, text)).collect();
        match (self, Language::of(text)) {
            (Self::By(Templates(templates)), _) => own(templates),
            (Self::Auto, Some(language)) => match encoder.prompts() {
                Some(prompts) => language.among(prompts).map_or_else(|| vec![text.to_owned()], own),
                None if language.is_read(&encoder.about().languages) => {
                    language.templates().iter().map(|one| filled(one, text)).collect()
                }
                None => vec![text.to_owned()],
            },
            _ => vec![text.to_owned()],
        }
    }
}

/// A text in its place; an article that it brings replaces that of the template.
fn filled(template: &str, text: &str) -> String {
    let (before, after) = template.split_once(PLACE).unwrap_or((template, ""));
    let is_article = |word: &&str| ["a", "an", "the"].iter().any(|article| word.eq_ignore_ascii_case(article));
    let brings = text.split_once(' ').map(|(first, _)| first).is_some_and(|first| is_article(&first));
    let own = before.trim_end().rsplit(' ').next().filter(|last| brings && before.ends_with(' ') && is_article(last));
    let before = own.map_or(before, |article| &before[..before.len() - article.len() - 1]);
    format!("{before}{text}{after}")
}

/// A language of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    English,
    Chinese,
}

impl Language {
    /// The language that the script of a text tells: Chinese for Chinese characters without those of Japanese or Korean,
    /// English for Latin letters; None for any other.
    fn of(text: &str) -> Option<Self> {
        let is_han =
            |c: char| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
        let is_latin = |c: char| matches!(c, 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}');
        if text.chars().any(|c| c.is_alphabetic() && !is_han(c) && !is_latin(c)) {
            return None;
        }
        Some(if text.contains(is_han) { Self::Chinese } else { Self::English })
    }

    fn subtag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// Whether a BCP 47 tag is of it.
    fn has(self, tag: &str) -> bool {
        tag.split('-').next().is_some_and(|primary| primary.eq_ignore_ascii_case(self.subtag()))
    }

    /// Its templates among those of a model.
    fn among(self, prompts: &Prompts) -> Option<&[String]> {
        prompts.iter().find(|(tag, _)| self.has(tag)).map(|(_, templates)| &templates[..])
    }

    /// Whether a model reads it that names these languages; one that names none may.
    fn is_read(self, languages: &[String]) -> bool {
        languages.is_empty() || languages.iter().any(|tag| self.has(tag))
    }

    fn templates(self) -> &'static [&'static str] {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_tell_languages() {
        for (text, language) in [
            ("a brown bear", Some(Language::English)),
            ("Bär 7", Some(Language::English)),
            ("12", Some(Language::English)),
            ("粉色兔子", Some(Language::Chinese)),
            ("粉色 bunny", Some(Language::Chinese)),
            ("ピンクの兎", None),
            ("곰", None),
            ("медведь", None),
        ] {
            assert_eq!(Language::of(text), language, "{text}");
        }
        assert!(Language::Chinese.has("zh-Hant") && !Language::English.has("eng") && Language::English.has("en"));
    }

    #[test]
    fn a_text_stands_in_its_place_with_one_article() {
        for (template, text, phrase) in [
            ("a photo of a {}", "bear", "a photo of a bear"),
            ("a photo of a {}", "a brown bear", "a photo of a brown bear"),
            ("a photo of the {}, from the front", "An owl", "a photo of An owl, from the front"),
            ("a {} toy", "a bear", "a bear toy"),
            ("{} from above", "the {} toy", "the {} toy from above"),
            ("一张{}的照片", "熊", "一张熊的照片"),
            ("a photo of a {}", "a", "a photo of a a"),
        ] {
            assert_eq!(filled(template, text), phrase);
        }
    }

    #[test]
    fn templates_have_one_place() {
        for bad in [&[][..], &["a photo"], &["{} and {}"], &["{}"; 257]] {
            assert!(Templates::new(bad.iter().map(|one| (*one).to_owned()).collect()).is_err(), "{bad:?}");
        }
        for templates in [ENGLISH, CHINESE] {
            assert!(Templates::new(templates.map(str::to_owned).into()).is_ok());
        }
    }
}
