//! The place of a model in a catalog of vectors alone.

use std::sync::Arc;

use rayon::ThreadPool;
use sha2::{Digest, Sha256};

use crate::encoder::cache::Cache;
use crate::encoder::encode::{About, Encode};
use crate::error::{Error, Result};
use crate::preprocess::SharedDecode;
use crate::vectors::Vectors;
use crate::workers::workers;

/// Encodes nothing: its vectors come from elsewhere.
pub struct NoEncoder {
    about: About,
    workers: Arc<ThreadPool>,
    cache: Cache,
}

impl NoEncoder {
    /// The longest vectors.
    const LONGEST: usize = 1 << 16;

    /// A model called "vectors" of that dimension, which alone identifies it.
    ///
    /// # Errors
    /// [`Error::Argument`] if the dimension is 0 or more than 65,536, or so many threads cannot be started.
    pub fn new(dim: usize, threads: Option<usize>) -> Result<Self> {
        if !(1..=Self::LONGEST).contains(&dim) {
            return Err(Error::argument(format!("dim {dim}: give 1 to {}", Self::LONGEST)));
        }
        Self::of("vectors".into(), Self::fingerprint(dim), dim, threads)
    }

    /// Whether a fingerprint is that of a catalog of vectors alone.
    pub fn is_no_model(fingerprint: &str, dim: usize) -> bool {
        fingerprint == Self::fingerprint(dim)
    }

    fn fingerprint(dim: usize) -> String {
        let digest = Sha256::digest(format!("vectors {dim}"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Takes the place of a model that is not opened.
    ///
    /// # Errors
    /// [`Error::Argument`] if so many threads cannot be started.
    pub fn of(name: String, fingerprint: String, dim: usize, threads: Option<usize>) -> Result<Self> {
        let about = About {
            name,
            version: String::new(),
            fingerprint,
            dim,
            languages: Vec::new(),
            device: "none".into(),
            precision: None,
            images: false,
            texts: false,
        };
        Ok(Self { about, workers: workers(threads)?, cache: Cache::new(0) })
    }
}

impl Encode for NoEncoder {
    fn about(&self) -> &About {
        &self.about
    }

    fn workers(&self) -> &Arc<ThreadPool> {
        &self.workers
    }

    fn cache(&self) -> &Cache {
        &self.cache
    }

    fn preferred_batch(&self) -> usize {
        1
    }

    fn image_rows(&self, _: &[SharedDecode]) -> Result<Vec<Result<Vectors>>> {
        Err(self.about.lacks("image"))
    }

    fn text_rows(&self, _: &[&str]) -> Result<Vec<Vectors>> {
        Err(self.about.lacks("text"))
    }
}
