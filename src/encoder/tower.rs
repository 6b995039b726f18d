//! What an encoder asks of a tower, wherever its network runs.

use rayon::ThreadPool;

use crate::error::Result;
use crate::picture::Source;
use crate::vectors::Vectors;

/// What turns pictures into vectors.
pub(super) trait Pictures: Send + Sync {
    /// The vector of each picture, or why it has none.
    ///
    /// # Errors
    /// What would keep any picture from getting one.
    fn rows(&self, sources: &[Source], workers: &ThreadPool) -> Result<Vec<Result<Vectors>>>;

    /// The file or service, and the output of it that has the vectors.
    fn reads(&self) -> (&str, &str);
}

/// What turns texts into vectors.
pub(super) trait Texts: Send + Sync {
    /// The vector of each text.
    ///
    /// # Errors
    /// Those of the first text that has none.
    fn rows(&self, texts: &[&str], workers: &ThreadPool) -> Result<Vec<Vectors>>;

    /// The file or service, and the output of it that has the vectors.
    fn reads(&self) -> (&str, &str);
}
