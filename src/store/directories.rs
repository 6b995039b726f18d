//! Directories that are still there after a loss of power.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes a directory and those above it that are missing, and brings their names to the disk: without that, a loss of power
/// takes a new directory away with all that was safely written into it.
pub(super) fn make_directories(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|above| !is_there(above)).collect();
    fs::create_dir_all(directory)?;
    missing.into_iter().rev().filter_map(Path::parent).try_for_each(sync_directory)
}

/// Brings the names in a directory to the disk.
#[cfg(unix)]
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match File::open(directory) {
        // One that may be written but not read cannot be opened to be synchronized.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

/// Other systems do not open directories as files.
#[cfg(not(unix))]
pub(super) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}
