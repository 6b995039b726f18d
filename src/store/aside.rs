//! Files beside `catalog.sqlite` that can be made again: whether they are sound, and moving those aside that are not.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Error, Result};
use crate::store::open::sql_error;
use crate::store::thumbnails;

/// Moves a file aside, beside itself, and returns its new path: `name.damaged`, or `name.damaged-2` and so on. Files of
/// SQLite's log go with it.
///
/// # Errors
/// [`Error::Io`] if it cannot be renamed.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let named = |number: usize| match number {
        1 => path.with_file_name(format!("{name}.damaged")),
        _ => path.with_file_name(format!("{name}.damaged-{number}")),
    };
    let mut number = 1;
    while named(number).symlink_metadata().is_ok() {
        number += 1;
    }
    let moved = named(number);
    fs::rename(path, &moved).map_err(Error::io(path))?;
    for ending in ["-wal", "-shm"] {
        let log = path.with_file_name(format!("{name}{ending}"));
        if log.exists() {
            let to =
                moved.with_file_name(format!("{}{ending}", moved.file_name().unwrap_or_default().to_string_lossy()));
            fs::rename(&log, to).map_err(Error::io(&log))?;
        }
    }
    Ok(moved)
}

/// The state of a file of thumbnails.
#[derive(Debug, Default)]
pub struct Thumbnailed {
    /// Its damage, in words.
    pub damage: Option<String>,
    /// How many thumbnails are of pictures that are not in the catalog.
    pub unused: usize,
}

/// Reads the whole file of thumbnails; one that is not there is sound. `digests` are the pictures of the catalog.
pub fn check_thumbnails(directory: &Path, digests: &HashSet<[u8; 32]>) -> Thumbnailed {
    let file = directory.join("thumbnails.sqlite");
    let mut found = Thumbnailed::default();
    if !file.exists() {
        return found;
    }
    let mut look = |flags: OpenFlags| -> rusqlite::Result<Option<String>> {
        let connection = Connection::open_with_flags(&file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if said != "ok" {
            return Ok(Some(said));
        }
        // A crash may come between the making of the file and of its table.
        if thumbnails::is_empty(&connection)? {
            return Ok(None);
        }
        let mut statement = connection.prepare("SELECT * FROM thumbnails")?;
        let mut rows = statement.query([])?;
        let mut broken = 0;
        while let Some(row) = rows.next()? {
            broken += usize::from(thumbnails::read(row)?.is_none());
            let known = <[u8; 32]>::try_from(row.get::<_, Vec<u8>>(0)?).is_ok_and(|digest| digests.contains(&digest));
            found.unused += usize::from(!known);
        }
        Ok((broken > 0).then(|| format!("{broken} of its thumbnails are not as they were written")))
    };
    // A change that a full disk has interrupted is undone by the next connection that may write.
    let is_interrupted = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::ReadOnly);
    let looked = match look(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(error) if is_interrupted(&error) => look(OpenFlags::SQLITE_OPEN_READ_WRITE),
        looked => looked,
    };
    found.damage = match looked {
        Err(error) if is_interrupted(&error) => None,
        looked => looked.unwrap_or_else(|error| Some(error.to_string())),
    };
    found
}

/// Copies the file of thumbnails of a catalog into another one, if there is one.
///
/// # Errors
/// [`Error::Catalog`] if it cannot be written.
pub fn copy_thumbnails(directory: &Path, target: &Path) -> Result<()> {
    let (from, to) = (directory.join("thumbnails.sqlite"), target.join("thumbnails.sqlite"));
    if !from.exists() {
        return Ok(());
    }
    let copy = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&from, flags)?;
        connection.execute("VACUUM INTO ?", [to.to_string_lossy()]).map(drop)
    };
    copy().map_err(|error| sql_error(target, &error))
}
