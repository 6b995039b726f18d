//! Originals of pictures in `media/`, each once, by the SHA-256 of its content: `media/ab/abcdef...<sha256>.<extension>`.
//!
//! A file is complete as soon as it has its name, and is on disk before the row that needs it. One that no row needs is
//! harmless: [`Media::retain`] removes it.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Builder};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::picture::{self, Source};

/// Files that are younger may belong to a change that is not committed yet.
const YOUNG: Duration = Duration::from_secs(24 * 60 * 60);

/// A file that is older gets the time of now when it is needed again.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// Files that are brought to the disk at a time.
const WRITERS: usize = 16;

/// Tells the unfinished files of this process apart.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// The originals of a catalog.
#[derive(Debug)]
pub struct Media {
    catalog: PathBuf,
    directory: PathBuf,
}

impl Media {
    /// Those of the catalog in `directory`; nothing is opened or made yet.
    pub fn new(directory: &Path) -> Self {
        Self { catalog: directory.into(), directory: directory.join("media") }
    }

    /// The file of an original by its digest, if it is there.
    pub fn find(&self, digest: &[u8; 32]) -> Option<PathBuf> {
        // A link in a stranger's catalog may lead anywhere.
        let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_file());
        picture::extensions().map(|extension| self.path(digest, extension)).find(is_file)
    }

    /// Writes originals by their digests: bytes as they are, pixels as PNG. Those that are there already are left. All are
    /// on disk when this returns. Encodes on the threads of the current pool.
    ///
    /// # Errors
    /// [`Error::Catalog`] when one cannot be written, as on a full disk; no half file has a name of the others then.
    pub fn keep(&self, originals: &[(Source, [u8; 32])]) -> Result<()> {
        let parts = originals.par_iter().map(|(source, digest)| self.write(source, digest));
        let parts: Vec<Part> = parts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        if parts.is_empty() {
            return Ok(());
        }
        let mut folders: BTreeSet<PathBuf> = parts.iter().filter_map(|part| Some(part.path.parent()?.into())).collect();
        folders.extend([self.directory.clone(), self.catalog.clone()]);
        at_once(&parts, |part| part.finish().map_err(|error| self.fail(&part.path, &error)))?;
        let sync = |folder: &PathBuf| File::open(folder).and_then(|folder| folder.sync_all());
        at_once(&folders.into_iter().collect::<Vec<_>>(), |folder| {
            sync(folder).map_err(|error| self.fail(folder, &error))
        })
    }

    /// Writes an original that is not there by another name, and not yet for good.
    fn write(&self, source: &Source, digest: &[u8; 32]) -> Result<Option<Part>> {
        if self.find(digest).is_some_and(|path| is_needed(&path, source).is_ok_and(|whole| whole)) {
            return Ok(None);
        }
        let (extension, bytes) = source.original()?;
        let path = self.path(digest, extension);
        let folder = path.parent().unwrap_or(&self.directory);
        fs::create_dir_all(folder).map_err(|error| self.fail(folder, &error))?;
        let name = format!(".{}-{}.part", process::id(), PARTS.fetch_add(1, Ordering::Relaxed));
        let part = Part { file: folder.join(name), path };
        let write = || File::create_new(&part.file)?.write_all(&bytes);
        write().map_err(|error| self.fail(&part.path, &error))?;
        Ok(Some(part))
    }

    /// Removes files that [`unused`](Self::unused) returns. Returns how many there were.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the directory cannot be read or a file not be removed.
    pub fn retain(&self, digests: &HashSet<[u8; 32]>) -> Result<usize> {
        let unused = self.unused(digests)?;
        unused.iter().try_for_each(|file| fs::remove_file(file).map_err(|error| self.fail(file, &error)))?;
        Ok(unused.len())
    }

    /// Returns files whose digests are not in `digests`, and unfinished ones, if they are older than a day: younger ones may
    /// belong to a change that is being made.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the directory cannot be read.
    pub fn unused(&self, digests: &HashSet<[u8; 32]>) -> Result<Vec<PathBuf>> {
        let used: HashSet<String> = digests.iter().map(|digest| hex(digest)).collect();
        let mut unused = Vec::new();
        for folder in self.list(&self.directory)? {
            if !folder.is_dir() {
                continue;
            }
            for file in self.list(&folder)? {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let Some((stem, extension)) = name.split_once('.') else { continue };
                let ours = stem.is_empty() && extension.ends_with(".part")
                    || stem.len() == 64 && picture::extensions().any(|known| known == extension);
                if ours && !used.contains(stem) && age(&file).is_ok_and(|age| age > YOUNG) {
                    unused.push(file);
                }
            }
        }
        Ok(unused)
    }

    /// Copies the originals of these digests into another catalog's; those that it has already are left. All are on disk
    /// when this returns.
    ///
    /// # Errors
    /// [`Error::Catalog`] when one cannot be copied.
    pub fn copy(&self, target: &Self, digests: &HashSet<[u8; 32]>) -> Result<()> {
        let files = digests.iter().filter_map(|digest| Some((digest, self.find(digest)?)));
        for (digest, file) in files.filter(|(digest, _)| target.find(digest).is_none()) {
            let extension = file.extension().unwrap_or_default().to_string_lossy();
            let path = target.path(digest, &extension);
            let part = path.with_file_name(format!(".{}.part", hex(digest)));
            let copied = || -> io::Result<()> {
                let folder = path.parent().expect("an original lies in a folder");
                fs::create_dir_all(folder)?;
                fs::copy(&file, &part)?;
                File::open(&part)?.sync_all()?;
                fs::rename(&part, &path)?;
                [folder, &target.directory, &target.catalog]
                    .iter()
                    .try_for_each(|folder| File::open(folder)?.sync_all())
            };
            copied().map_err(|error| {
                drop(fs::remove_file(&part));
                target.fail(&path, &error)
            })?;
        }
        Ok(())
    }

    fn path(&self, digest: &[u8; 32], extension: &str) -> PathBuf {
        let name = hex(digest);
        self.directory.join(&name[..2]).join(format!("{name}.{extension}"))
    }

    fn list(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        match fs::read_dir(folder) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<_>>()
                .map_err(|error| self.fail(folder, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.fail(folder, &error)),
        }
    }

    fn fail(&self, path: &Path, error: &io::Error) -> Error {
        let path = path.strip_prefix(&self.catalog).unwrap_or(path).display();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::full(
                &self.catalog,
                format!(
                    "{path} cannot be written, for the disk is full; nothing was added: free some space and try again"
                ),
            ),
            _ => Error::catalog(
                &self.catalog,
                format!(
                    "{path} cannot be written ({error}); nothing was added: make it writable, or open the engine with \
                     media=False"
                ),
            ),
        }
    }
}

/// A file that is being written, removed when it is dropped before it has its name.
#[derive(Debug)]
struct Part {
    file: PathBuf,
    path: PathBuf,
}

impl Part {
    /// Brings it to the disk and gives it its name.
    fn finish(&self) -> io::Result<()> {
        File::options().write(true).open(&self.file)?.sync_all()?;
        fs::rename(&self.file, &self.path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // One that has got its name is not there any more.
        let _ = fs::remove_file(&self.file);
    }
}

/// Does `work` on each of `items`, many at once: it waits for the disk, which brings many files there in the time of one.
fn at_once<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let some = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> =
            (1..WRITERS.min(items.len())).filter_map(|_| Builder::new().spawn_scoped(scope, some).ok()).collect();
        let own = some();
        let done = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.fold(own, Result::and)
    })
}

/// Whether a file that is there is whole, as far as its length tells; then it is kept from [`Media::retain`] for a while.
fn is_needed(path: &Path, source: &Source) -> io::Result<bool> {
    let length = path.metadata()?.len();
    let whole = match source {
        Source::Bytes { bytes, .. } => length == bytes.len() as u64,
        Source::Path(_) | Source::Pixels { .. } | Source::Part { .. } => length > 0,
    };
    if whole && age(path)? > FRESH {
        File::options().write(true).open(path)?.set_modified(SystemTime::now())?;
    }
    Ok(whole)
}

fn age(path: &Path) -> io::Result<Duration> {
    Ok(path.metadata()?.modified()?.elapsed().unwrap_or_default())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
