//! Whether a catalog is sound: its store, its index, its thumbnails and its originals; and making anew what follows from the
//! rest.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cancel;
use crate::engine::Engine;
use crate::engine::kept::pixel_digest;
use crate::error::{Error, Result};
use crate::index::Sealed;
use crate::picture::Source;
use crate::store::aside::{check_thumbnails, set_aside};
use crate::store::staged::Origin;
use crate::store::{Problem, Reference};

/// References that are listed at a time, and encoded at a time.
const PAGE: usize = 4096;
const TOGETHER: usize = 64;

/// The outcome of [`Engine::verify`] and [`Engine::repair`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The damage that is there.
    pub problems: Vec<Problem>,
    /// Remarks that are no damage: originals that have moved or changed, and files that nothing needs.
    pub remarks: Vec<Problem>,
    /// The damage that is there no more.
    pub repaired: Vec<Problem>,
}

/// The findings of an inspection.
#[derive(Default)]
struct Found {
    /// Problems of the store.
    store: Vec<Problem>,
    /// Files that are not as they were written, each with its problem, and the reference of an original.
    files: Vec<(PathBuf, Problem, Option<Reference>)>,
    remarks: Vec<Problem>,
}

impl Found {
    fn problems(&self) -> Vec<Problem> {
        self.store.iter().cloned().chain(self.files.iter().map(|(_, problem, _)| problem.clone())).collect()
    }
}

impl Engine {
    /// Reads the whole catalog, and all originals that can be found, and returns what is damaged.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read at all; [`Error::Interrupted`].
    pub fn verify(&self) -> Result<Verified> {
        let found = self.inspect()?;
        Ok(Verified { problems: found.problems(), remarks: found.remarks, repaired: Vec::new() })
    }

    /// The same, and makes anew what can be: the indexes of words and metadata, counts, vectors whose pictures are there, and originals in
    /// `media/` whose files are. Damaged files of the index, thumbnails and originals are moved aside, beside themselves;
    /// nothing is deleted.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be changed; [`Error::Interrupted`], and those of the encoders.
    pub fn repair(&self) -> Result<Verified> {
        self.store.check_writable()?;
        let before = self.inspect()?;
        let (mut repaired, mut lost) = (Vec::new(), Vec::new());
        for (path, mut problem, reference) in before.files {
            let moved = set_aside(&path)?;
            problem.problem = format!("{}; moved to {}", problem.problem, self.shown(&moved));
            match reference.map(|reference| self.write_again(&reference)).transpose()? {
                None | Some(true) => repaired.push(problem),
                Some(false) => {
                    problem.problem.push_str(", and no other file has that content");
                    lost.push(problem);
                }
            }
        }
        if !before.store.is_empty() {
            // Where a page is damaged this may fail, and the problem is still there afterwards.
            let tried = [self.store.repair_counts().map(drop), self.store.repair_indexes(), self.encode_damaged()];
            if let Some(Err(error)) = tried.into_iter().find(|tried| matches!(tried, Err(Error::Interrupted))) {
                return Err(error);
            }
        }
        let after = self.inspect()?;
        repaired.extend(before.store.into_iter().filter(|problem| !after.store.contains(problem)));
        lost.extend(after.problems());
        Ok(Verified { problems: lost, remarks: after.remarks, repaired })
    }

    fn inspect(&self) -> Result<Found> {
        let mut found = Found { store: self.store.verify()?, ..Found::default() };
        for file in self.indexing.files() {
            if let Err(error) = Sealed::check(&file) {
                let problem = format!("its index is damaged ({error})");
                found.files.push((file, of_file(problem), None));
            }
        }
        // What cannot be listed is a problem of the store already.
        let Ok(digests) = self.store.digests() else { return Ok(found) };
        let directory = self.store.directory();
        let thumbnails = check_thumbnails(directory, &digests);
        if let Some(damage) = thumbnails.damage {
            let problem = of_file(format!("thumbnails.sqlite is damaged ({damage})"));
            found.files.push((directory.join("thumbnails.sqlite"), problem, None));
        }
        if thumbnails.unused > 0 {
            let count = thumbnails.unused;
            found.remarks.push(of_file(format!("thumbnails of no reference: {count}; compact the catalog")));
        }
        for path in self.kept.media.unused(&digests)? {
            found.remarks.push(of_file(format!("{} is of no reference: compact the catalog", self.shown(&path))));
        }
        self.inspect_originals(&mut found)?;
        Ok(found)
    }

    /// Compares each original with its digest.
    fn inspect_originals(&self, found: &mut Found) -> Result<()> {
        let (mut after, mut media, mut files) = (0, HashSet::new(), HashSet::new());
        loop {
            let Ok(page) = self.store.references_after(after, PAGE) else { return Ok(()) };
            let Some((_, last)) = page.last() else { return Ok(()) };
            after = last.row;
            for (item, reference) in page {
                cancel::poll()?;
                let of = |problem: String| Problem {
                    item: Some(item.clone()),
                    reference: Some(reference.name.clone()),
                    problem,
                };
                if let Some(path) = self.kept.media.find(&reference.digest) {
                    if media.insert(reference.digest) && !has_content(&path, &reference.digest) {
                        let problem = of(format!("its original {} is damaged", self.shown(&path)));
                        found.files.push((path, problem, Some(reference)));
                    }
                } else if files.insert((reference.name.clone(), reference.digest))
                    && let Some(remark) = changed(&reference)
                {
                    found.remarks.push(of(remark.to_owned()));
                }
            }
        }
    }

    /// Writes an original into `media/` again if the file that it was added from still has its content.
    fn write_again(&self, reference: &Reference) -> Result<bool> {
        match self.read_original(reference) {
            Some((Origin::File, source)) => self.kept.keep(&[(source, reference.digest)]).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Encodes references again whose vectors are damaged, if this engine has all models of the catalog and their pictures
    /// are there.
    fn encode_damaged(&self) -> Result<()> {
        let unsound: BTreeSet<i64> = self.store.unsound()?;
        let held: Vec<i64> = self.store.held()?.iter().map(|model| model.row).collect();
        let sees = self.encoders.iter().all(|encoder| encoder.about().images);
        if unsound.is_empty() || !sees || held.iter().any(|model| !self.models.contains(model)) {
            return Ok(());
        }
        let rows: Vec<i64> = unsound.into_iter().collect();
        for rows in rows.chunks(TOGETHER) {
            cancel::poll()?;
            let mut batch = Vec::with_capacity(rows.len());
            for row in rows {
                batch.extend(self.store.references_after(row - 1, 1)?.into_iter().filter(|(_, one)| one.row == *row));
            }
            for ((_, reference), encoded) in batch.iter().zip(self.encode_pictures(&self.encoders, &batch)?) {
                let Ok((_, vectors)) = encoded else { continue };
                let vectors: Vec<(i64, &[f32])> =
                    self.models.iter().copied().zip(vectors.iter().map(Vec::as_slice)).collect();
                self.store.replace_vectors(reference.row, &vectors)?;
            }
        }
        Ok(())
    }

    /// A path as messages show it: below the catalog's directory.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.store.directory()).unwrap_or(path).display().to_string()
    }
}

fn of_file(problem: String) -> Problem {
    Problem { item: None, reference: None, problem }
}

/// Whether a file in `media/` has the content of its digest, as it came or as pixels.
pub(super) fn has_content(path: &Path, digest: &[u8; 32]) -> bool {
    let Ok(source) = Source::Path(path.into()).read() else { return false };
    source.digest().is_ok_and(|found| found == *digest) || pixel_digest(&source) == Some(*digest)
}

/// Tells how the file of a reference differs from when it was added; `None` if it does not, or there was none.
fn changed(reference: &Reference) -> Option<&'static str> {
    let path = Path::new(&reference.name);
    if !path.is_absolute() {
        return None;
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Some("its file is not there any more"),
        Err(_) => Some("its file cannot be read"),
        Ok(_) => match Source::Path(path.into()).digest() {
            Ok(digest) if digest == reference.digest => None,
            Ok(_) => Some("its file has other content than what was added"),
            Err(_) => Some("its file cannot be read"),
        },
    }
}
