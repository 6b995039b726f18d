//! Restores a catalog from a backup: a copy is made and verified beside the place, and then renamed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::{Engine, EngineOptions, Keep, Small};
use crate::error::{Error, Result};
use crate::store::Access;

/// The outcome of [`restore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many items the catalog has.
    pub items: usize,
    /// The directory that the catalog that was there is in now.
    pub moved: Option<PathBuf>,
}

/// Writes a copy of the catalog in `backup` to `target`, with its originals. A catalog that is there is replaced only if
/// `overwrite` says so, and moved aside. Both the backup and the copy are verified before.
///
/// # Errors
/// [`Error::Catalog`] if the backup is damaged or no catalog, or there is something in `target` that is not to be replaced;
/// [`Error::Io`] if it cannot be written. Then all is as it was.
pub fn restore(backup: &Path, target: &Path, overwrite: bool) -> Result<Restored> {
    let there = is_there(target, overwrite)?;
    if there && fs::canonicalize(target).is_ok_and(|target| fs::canonicalize(backup).is_ok_and(|from| from == target)) {
        return Err(Error::catalog(target, "is the backup itself; choose another path"));
    }
    let engine = sound(backup, "nothing was restored; go back to an older backup, or salvage this one")?;
    let part = beside(target, &format!("restore-{}", std::process::id()));
    let make = || -> Result<usize> {
        engine.backup(&part)?;
        sound(&part, "the copy was not used; look at the disk")?.len()
    };
    let made = make().and_then(|items| Ok((items, is_there(target, overwrite)?)));
    let (items, there) = made.inspect_err(|_| drop(fs::remove_dir_all(&part)))?;
    let moved = there.then(|| free(target));
    let replace = || -> Result<()> {
        match &moved {
            Some(moved) => fs::rename(target, moved).map_err(Error::io(target))?,
            // An empty directory gives way.
            None if target.is_dir() => fs::remove_dir(target).map_err(Error::io(target))?,
            None => {}
        }
        fs::rename(&part, target).map_err(Error::io(target)).inspect_err(|_| {
            if let Some(moved) = &moved {
                drop(fs::rename(moved, target));
            }
        })
    };
    replace().inspect_err(|_| drop(fs::remove_dir_all(&part)))?;
    if let Some(folder) = fs::canonicalize(target).ok().as_deref().and_then(Path::parent) {
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))?;
    }
    Ok(Restored { items, moved })
}

/// Whether a catalog is there that may be replaced.
fn is_there(target: &Path, overwrite: bool) -> Result<bool> {
    if target.join("catalog.sqlite").symlink_metadata().is_ok() {
        return match overwrite {
            true => Ok(true),
            false => Err(Error::catalog(
                target,
                "holds a catalog already; choose another path, or say that it is to be overwritten: it is moved aside",
            )),
        };
    }
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(Error::catalog(target, "holds files, and no catalog; choose another path")),
            None => Ok(false),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(target)(error)),
    }
}

/// Opens a catalog that is not damaged, for reading.
fn sound(directory: &Path, otherwise: &str) -> Result<Engine> {
    let access = Access { create: false, read_only: true, ..Access::default() };
    let keep = Keep { thumbnails: Small::None, media: None };
    let engine = Engine::open(directory, Vec::new(), &EngineOptions { access, keep, ..EngineOptions::default() })?;
    let problems = engine.verify()?.problems;
    let Some(first) = problems.first() else { return Ok(engine) };
    let names =
        [&first.item, &first.reference].into_iter().flatten().map(|name| format!("{name:?}: ")).collect::<String>();
    let more = if problems.len() > 1 { format!(" and {} more", problems.len() - 1) } else { String::new() };
    Err(Error::catalog(directory, format!("is damaged ({names}{}{more}), so that {otherwise}", first.problem)))
}

/// A hidden path beside another one.
fn beside(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{ending}"))
}

/// The first path that is free for what is moved aside.
fn free(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let path = |number: usize| match number {
        1 => target.with_file_name(format!("{name}.replaced")),
        _ => target.with_file_name(format!("{name}.replaced-{number}")),
    };
    (1..).map(path).find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| path(1))
}
