//! The interface of a tower, wherever its network runs.

use rayon::ThreadPool;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::preprocess::{Preprocess, SharedDecode};
use crate::vectors::Vectors;

/// Encodes pictures.
pub(super) trait Pictures: Send + Sync {
    /// The vector of each picture, or why it has none; none for those that are left when `cancel` is set.
    ///
    /// # Errors
    /// Those that keep every picture from getting one.
    fn rows(&self, pictures: &[SharedDecode], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Result<Vectors>>>;

    /// Returns its preprocessing; `None` if pictures go to a server as they are.
    fn preprocess(&self) -> Option<&Preprocess>;

    /// The number of pictures in one call that keeps all devices busy.
    fn preferred_batch(&self, workers: &ThreadPool) -> usize;

    /// The file or service, and the output of it that has the vectors.
    fn reads(&self) -> (&str, &str);
}

/// Encodes texts.
pub(super) trait Texts: Send + Sync {
    /// The vector of each text.
    ///
    /// # Errors
    /// Those of the first text that has none, or that is left when `cancel` is set.
    fn rows(&self, texts: &[&str], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Vectors>>;

    /// Whether it knows no word of the text, so that its vector means nothing; a server does not say.
    fn cannot_read(&self, _text: &str) -> bool {
        false
    }

    /// The file or service, and the output of it that has the vectors.
    fn reads(&self) -> (&str, &str);
}
