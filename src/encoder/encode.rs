//! The interface of every encoder.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::calibrate::Typical;
use crate::encoder::cache::Cache;
use crate::encoder::features::FeatureMaps;
use crate::encoder::probe::Probe;
use crate::error::{Error, Result};
use crate::model::Prompts;
use crate::picture::Source;
use crate::preprocess::{Preprocess, SharedDecode};
use crate::tokenize;
use crate::vectors::Vectors;

/// Describes a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The model's own name.
    pub name: String,
    /// The model's version; empty if it has none.
    pub version: String,
    /// Identifies everything that changes vectors: two encoders with the same fingerprint give the same vectors.
    pub fingerprint: String,
    /// The dimension of its vectors.
    pub dim: usize,
    /// The languages that it reads, as BCP 47 tags.
    pub languages: Vec<String>,
    /// The device that computes.
    pub device: String,
    /// The precision that the device was asked for, if it was.
    pub precision: Option<String>,
    /// Whether the model encodes pictures.
    pub images: bool,
    /// Whether the model encodes texts.
    pub texts: bool,
}

impl About {
    /// Returns the error for a side that the model lacks.
    pub fn lacks(&self, side: &str) -> Error {
        let reason = match (self.images || self.texts, side) {
            (true, "image") => "has no image tower: it encodes texts only",
            (true, _) => "has no text tower: it encodes pictures only",
            (false, "image") => {
                "encodes no pictures: this catalog was opened for vectors alone; open it with a model, or give vectors"
            }
            (false, _) => {
                "encodes no texts: this catalog was opened for vectors alone; open it with a model, or give vectors"
            }
        };
        Error::model(&self.name, reason)
    }
}

/// Encodes pictures, texts or both into unit vectors of one dimension. Any number of threads may call it.
pub trait Encode: Send + Sync {
    /// Describes the model.
    fn about(&self) -> &About;

    /// Checks that it can be used in this process.
    ///
    /// # Errors
    /// [`Error::Model`] if it was opened before this process forked: its threads did not come along.
    fn check_process(&self) -> Result<()> {
        Ok(())
    }

    /// The threads that it computes on.
    fn workers(&self) -> &Arc<ThreadPool>;

    /// The vectors that it remembers.
    fn cache(&self) -> &Cache;

    /// The preprocessing of its pictures, if they are decoded for it at a certain size: several encoders then share one
    /// decoded picture.
    fn preprocess(&self) -> Option<&Preprocess> {
        None
    }

    /// The number of pictures in one call that keeps all its devices busy.
    fn preferred_batch(&self) -> usize;

    /// Encodes pictures. Each gets its unit vector or the reason why it has none: one bad picture spoils no other.
    ///
    /// # Errors
    /// Those that would keep any picture from getting a vector.
    fn image_rows(&self, pictures: &[SharedDecode]) -> Result<Vec<Result<Vectors>>>;

    /// Encodes texts, each to one unit vector.
    ///
    /// # Errors
    /// Those of the first text that gets none.
    fn text_rows(&self, texts: &[&str]) -> Result<Vec<Vectors>>;

    /// Computes the last feature maps of a picture, and how its vector is made of them.
    ///
    /// # Errors
    /// Those of the picture; [`Error::Model`] if the model's vectors are not made by pooling feature maps.
    fn feature_maps(&self, _picture: &Source) -> Result<FeatureMaps> {
        Err(FeatureMaps::none(&self.about().name))
    }

    /// Whether the model knows no word of the text: all such texts have one vector.
    fn cannot_read(&self, _text: &str) -> bool {
        false
    }

    /// The vectors of a fixed picture and text, by which a catalog recognizes a model that cannot be read here. Empty if
    /// the fingerprint alone identifies the model.
    fn probe(&self) -> Probe {
        Probe::default()
    }

    /// The scores that are typical of the model, if they were measured.
    fn typical(&self) -> Option<&Typical> {
        None
    }

    /// The templates of sentences that the model names, by language.
    fn prompts(&self) -> Option<&Prompts> {
        None
    }

    /// The file or service, and its output, from which the vectors of pictures and those of texts are read.
    fn outputs(&self) -> [Option<(&str, &str)>; 2] {
        [None, None]
    }

    /// Encodes pictures, in their order.
    ///
    /// # Errors
    /// That of the first picture that gets no vector, and those of [`image_rows`](Self::image_rows).
    fn images(&self, sources: &[Source]) -> Result<Vectors> {
        let pictures: Vec<SharedDecode> = sources.iter().cloned().map(SharedDecode::alone).collect();
        gather(self.about().dim, self.image_rows(&pictures)?)
    }

    /// Encodes texts, in their order; recent ones are remembered.
    ///
    /// # Errors
    /// [`Error::Argument`] if a text is empty or too long, and those of [`text_rows`](Self::text_rows).
    fn texts(&self, texts: &[&str]) -> Result<Vectors> {
        self.check_process()?;
        if !self.about().texts {
            return Err(self.about().lacks("text"));
        }
        for text in texts {
            tokenize::check(text)?;
        }
        let keys: Vec<[u8; 32]> = texts.iter().map(|text| Cache::key(text)).collect();
        let mut rows = self.cache().texts(&keys);
        let mut missing: HashMap<[u8; 32], &str> = HashMap::new();
        missing.extend(keys.iter().copied().zip(texts.iter().copied()).filter(|(key, _)| !rows.contains_key(key)));
        if !missing.is_empty() {
            let (keys, texts): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
            let fresh: Vec<_> = keys.into_iter().zip(self.text_rows(&texts)?.into_iter().map(Arc::new)).collect();
            self.cache().keep_texts(&fresh);
            rows.extend(fresh);
        }
        gather(self.about().dim, keys.iter().map(|key| Ok(&*rows[key])))
    }

    /// Those of the texts of which the model knows no word.
    fn unread<'a>(&self, texts: &[&'a str]) -> Vec<&'a str> {
        self.workers().install(|| texts.par_iter().filter(|text| self.cannot_read(text)).copied().collect())
    }
}

fn gather<R: Borrow<Vectors>>(dim: usize, rows: impl IntoIterator<Item = Result<R>>) -> Result<Vectors> {
    let mut vectors = Vectors::new(dim);
    for row in rows {
        vectors.extend(row?.borrow());
    }
    Ok(vectors)
}
