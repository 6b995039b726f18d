//! The files of an approximate index, beside the catalog: the one that it was built in, and one for each part that was added
//! since. A part names the file that it follows, so that a part of another index is left alone.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::index::{Left, Sealed};
use crate::store::{Mark, Position};

/// The header of a file: the catalog, and the policy and the state that its index was made of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) catalog: [u8; 16],
    /// Number and fingerprint of each model.
    pub(super) models: Vec<(i64, String)>,
    /// The policy that made it.
    pub(super) name: String,
    pub(super) recall: f32,
    pub(super) position: Position,
    pub(super) marks: Vec<Mark>,
}

/// The header of a part.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AboutPart {
    pub(super) about: About,
    /// The checksum of the file that it follows.
    pub(super) follows: u64,
    /// The rows of each file before it that are gone.
    pub(super) gone: Vec<Vec<u32>>,
}

/// The directory of the files.
#[derive(Debug)]
pub(super) struct IndexFiles {
    folder: PathBuf,
}

/// The locked file that keeps other processes from writing.
pub(super) struct Alone(File);

impl Drop for Alone {
    fn drop(&mut self) {
        // A process that was forked meanwhile has the file, too, and closing it here would not end the lock.
        drop(self.0.unlock());
    }
}

impl IndexFiles {
    /// Those of the catalog in a directory.
    pub(super) fn of(directory: &Path) -> Self {
        Self { folder: directory.join("index") }
    }

    /// The file that the index was built in.
    pub(super) fn built(&self) -> PathBuf {
        self.folder.join("approximate")
    }

    /// The file of a part, the first of which is 1.
    pub(super) fn part(&self, number: usize) -> PathBuf {
        self.folder.join(format!("part-{number}"))
    }

    fn parts(&self, first: usize) -> impl Iterator<Item = PathBuf> + '_ {
        (first..).map(|number| self.part(number)).take_while(|path| path.exists())
    }

    /// Those that are there.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        [self.built()].into_iter().filter(|path| path.exists()).chain(self.parts(1)).collect()
    }

    /// Returns the locked file that keeps other processes from writing, or none if one of them does.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub(super) fn alone(&self) -> Result<Option<Alone>> {
        let path = self.built().with_extension("lock");
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        let file = File::create(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Alone(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
        }
    }

    /// Opens the parts that follow a built index, as far as they belong to it and `fits` takes them: returns all, and the
    /// place in the log that the last one reaches. One that is damaged is told, and ends them.
    ///
    /// # Errors
    /// Those of `fits`.
    pub(super) fn follow(
        &self,
        built: Sealed,
        position: Position,
        fits: impl Fn(&About) -> Result<bool>,
        tell: impl Fn(String),
    ) -> Result<(Vec<Left>, Position)> {
        let mut reached = position;
        let mut all = vec![Left::whole(Arc::new(built))];
        for path in self.parts(1) {
            let (sealed, about) = match Sealed::open(&path) {
                Ok(opened) => opened,
                Err(error) => {
                    tell(format!("{error}: it is ignored, and its references are read from the catalog"));
                    break;
                }
            };
            let Ok(part) = serde_json::from_value::<AboutPart>(about) else { break };
            let follows = all.last().and_then(|left| left.sealed.written);
            let is_next = follows == Some(part.follows) && part.gone.len() == all.len();
            if !is_next || !fits(&part.about)? {
                break;
            }
            all.iter_mut().zip(part.gone).for_each(|(left, gone)| left.gone = gone);
            all.push(Left::whole(Arc::new(sealed)));
            reached = part.about.position;
        }
        Ok((all, reached))
    }

    /// Whether a part with this number would follow the file with this checksum.
    pub(super) fn ends_with(&self, number: usize, checksum: u64) -> bool {
        let before = if number == 1 { self.built() } else { self.part(number - 1) };
        Sealed::checksum(&before) == Some(checksum)
    }

    /// Deletes parts from a number on, which belong to no index any more.
    pub(super) fn forget(&self, first: usize) {
        // Where one cannot be deleted, it follows nothing, and is left alone.
        self.parts(first).collect::<Vec<_>>().iter().for_each(|path| drop(fs::remove_file(path)));
    }
}
