//! A copy of a catalog as an older format had it, made before it is brought up to date.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::store::directories::{make_directories, sync_directory};
use crate::store::open::{self, Opened, sql_error};

/// Copies the tables of format `format` to a catalog of its own, `former/format-N` in this one, in place of an earlier
/// copy. Others must not be able to change the catalog meanwhile.
pub(super) fn keep_former(directory: &Path, opened: Opened, format: i64) -> Result<()> {
    let folder = directory.join("former").join(format!("format-{format}"));
    let (part, target) = (folder.join("catalog.sqlite.part"), folder.join("catalog.sqlite"));
    let fail = |error: std::io::Error| {
        let reason = format!(
            "has format {format}, and must be copied to {} before it is brought up to date, which failed: {error}; mend \
             that, or open the catalog with read_only=True",
            folder.display()
        );
        Error::catalog(directory, reason)
    };
    make_directories(&folder).map_err(fail)?;
    // One that was interrupted.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let name = part.to_str().ok_or_else(|| Error::catalog(directory, "its path is not Unicode"))?;
    let copy = || -> Result<()> {
        let connection = open::connect(directory, opened)?;
        connection.execute("VACUUM INTO ?", [name]).map_err(|error| sql_error(directory, &error))?;
        fs::File::open(&part).and_then(|file| file.sync_all()).map_err(fail)?;
        fs::rename(&part, &target).map_err(fail)?;
        sync_directory(&folder).map_err(fail)
    };
    copy().inspect_err(|_| drop(fs::remove_file(&part)))
}
