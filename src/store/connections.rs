//! The connections of an open catalog: opened when they are needed, closed before a fork, and refused as soon as another
//! file has taken the place of the one that was opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::store::fork::Connected;
use crate::store::open::{self, Opened};
use crate::store::{Version, lock};

/// How many connections for reading are kept for the next readers.
const SPARE_READERS: usize = 16;

/// Tells a file from every other: its device, its inode, and when it was made, since an inode is used again.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// Changes with every change of the files: length and time of catalog.sqlite, and whether there is a log.
type Stamp = (u64, Option<SystemTime>, bool);

#[derive(Debug)]
pub(super) struct Connections {
    directory: PathBuf,
    file: PathBuf,
    log_file: PathBuf,
    /// Another one if a catalog that is read without locks has got a writer.
    opened: Mutex<Opened>,
    /// Of a catalog that is read without locks, when its connections were opened.
    stamp: Mutex<Option<Stamp>>,
    /// Of catalog.sqlite.
    identity: Identity,
    /// Of its log, as long as a connection is open. SQLite keeps it in place until the last connection closes.
    log: Mutex<Option<Identity>>,
    writer: Mutex<Option<Connection>>,
    /// Spare connections, and the number of closings before they were opened.
    readers: Mutex<Vec<(i64, Connection)>>,
    watcher: Mutex<Option<Connection>>,
    closings: AtomicI64,
    process: u32,
}

/// A connection for reading, and the number of closings before it was opened.
pub(super) type Reader = (i64, Connection);

impl Connections {
    /// Keeps `writer`, which has just been opened on the catalog in `directory`.
    pub(super) fn new(directory: PathBuf, opened: Opened, writer: Connection) -> Result<Self> {
        let (file, log_file) = (directory.join("catalog.sqlite"), directory.join("catalog.sqlite-wal"));
        let identity = identity(&file).map_err(|error| gone(&directory, &error))?;
        let connections = Self {
            directory,
            file,
            log_file,
            opened: Mutex::new(opened),
            stamp: Mutex::new(None),
            identity,
            log: Mutex::new(None),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
            watcher: Mutex::default(),
            closings: AtomicI64::new(0),
            process: process::id(),
        };
        connections.in_place()?;
        Ok(connections)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn opened(&self) -> Opened {
        *lock(&self.opened)
    }

    /// Refuses to go on if the catalog's path leads to another file than the one that was opened, and tells whether the
    /// connections can be used. Takes about a microsecond.
    ///
    /// If another program opens catalog.sqlite in this process and closes it, the locks of this process are gone, and the
    /// next process that closes the catalog takes itself for the last one and removes the log. What was committed before
    /// is in catalog.sqlite then; [`close`](Self::close) before anything is written into a file without a name. Connections
    /// that read without locks cannot be used any more as soon as the files change.
    pub(super) fn in_place(&self) -> Result<bool> {
        match identity(&self.file) {
            Ok(found) if found == self.identity => {}
            Ok(_) => {
                let reason = "catalog.sqlite was replaced by another file while it was open; close this engine and open \
                              the catalog again";
                return Err(Error::catalog(&self.directory, reason));
            }
            Err(error) => return Err(gone(&self.directory, &error)),
        }
        if self.opened().immutable {
            let found = stamp(&self.file, &self.log_file);
            return Ok(*lock(&self.stamp).get_or_insert(found) == found);
        }
        let found = identity(&self.log_file).ok();
        let mut log = lock(&self.log);
        if log.is_none() {
            *log = found;
        }
        Ok(*log == found)
    }

    /// The connection for writing, opened if it is closed; `None` if another thread writes.
    pub(super) fn try_writer(&self) -> Result<Option<MutexGuard<'_, Option<Connection>>>> {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(std::sync::TryLockError::Poisoned(writer)) => writer.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return Ok(None),
        };
        if writer.is_none() {
            *writer = Some(self.connect(open::connect)?);
        }
        Ok(Some(writer))
    }

    /// A connection for reading; give it to [`put_back`](Self::put_back) afterwards.
    pub(super) fn reader(&self) -> Result<Reader> {
        if !self.in_place()? {
            self.close();
        }
        let closings = self.closings.load(Ordering::SeqCst);
        let mut readers = lock(&self.readers);
        while let Some((of, connection)) = readers.pop() {
            if of == closings {
                return Ok((of, connection));
            }
        }
        drop(readers);
        Ok((closings, self.connect(open::reader)?))
    }

    fn connect(&self, connect: impl FnOnce(&Path, Opened) -> Result<Connection>) -> Result<Connection> {
        self.in_place()?;
        let connection = connect(&self.directory, self.opened())?;
        // Its name may have led to another file by then.
        self.in_place()?;
        Ok(connection)
    }

    pub(super) fn put_back(&self, reader: Reader) {
        let mut readers = lock(&self.readers);
        if readers.len() < SPARE_READERS && reader.0 == self.closings.load(Ordering::SeqCst) {
            readers.push(reader);
        }
    }

    /// A number that SQLite changes with every commit of another connection, and the number of the connection.
    pub(super) fn version(&self) -> Result<Version> {
        if !self.in_place()? {
            self.close();
        }
        let mut watcher = lock(&self.watcher);
        if watcher.is_none() {
            *watcher = Some(self.connect(open::reader)?);
        }
        let connection = watcher.as_ref().ok_or_else(|| Error::catalog(&self.directory, "is closed; open it again"))?;
        let version = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|error| open::sql_error(&self.directory, &error))?;
        Ok(Version(self.closings.load(Ordering::SeqCst), version))
    }
}

impl Connected for Connections {
    fn close(&self) {
        self.closings.fetch_add(1, Ordering::SeqCst);
        lock(&self.readers).clear();
        *lock(&self.watcher) = None;
        *lock(&self.writer) = None;
        *lock(&self.log) = None;
        *lock(&self.stamp) = None;
        let mut opened = lock(&self.opened);
        if opened.immutable {
            // With locks if there is a log by now, and without if there is none. If neither works, the next call says so.
            opened.immutable = open::is_immutable(&self.directory);
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if process::id() != self.process {
            // Closing what came along through a fork would undo the parent's locks.
            let take = |connection: &mut Mutex<Option<Connection>>| {
                connection.get_mut().unwrap_or_else(PoisonError::into_inner).take()
            };
            std::mem::forget((take(&mut self.writer), take(&mut self.watcher)));
            std::mem::forget(std::mem::take(self.readers.get_mut().unwrap_or_else(PoisonError::into_inner)));
        }
    }
}

/// Device, inode and birth of a file.
#[cfg(unix)]
pub(super) fn identity(file: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(file).map(|found| (found.dev(), found.ino(), found.created().ok()))
}

/// Other systems do not let an open file be replaced.
#[cfg(not(unix))]
pub(super) fn identity(file: &Path) -> io::Result<Identity> {
    fs::metadata(file).map(|found| (0, 0, found.created().ok()))
}

fn stamp(file: &Path, log: &Path) -> Stamp {
    let found = fs::metadata(file);
    let (length, changed) = found.map_or((0, None), |found| (found.len(), found.modified().ok()));
    (length, changed, log.exists())
}

fn gone(directory: &Path, error: &io::Error) -> Error {
    Error::catalog(
        directory,
        format!("catalog.sqlite was removed or renamed while it was open ({error}); open the catalog where it is now"),
    )
}
