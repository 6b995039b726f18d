//! Small pictures in `thumbnails.sqlite`, which show items whose originals are not there.
//!
//! The file can be deleted: nothing else depends on it, and no fault of it fails a change of the catalog. What is damaged
//! is emptied, what cannot be written is left out, and [`Thumbnails::notices`] says so once. Many processes write one
//! file; a thread waits for the others for a second at most.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::error::Result;
use crate::store::checksum::thumbnail_checksum;
use crate::store::connections::{Identity, identity};
use crate::store::fork::{self, Connected};
use crate::store::{lock, open};

/// The longest side of a thumbnail, in pixels.
pub const SIDE: u32 = 256;

/// The bytes of the file beyond which nothing is added by default.
pub const LIMIT: u64 = 2_000_000_000;

const TABLE: &str = "CREATE TABLE thumbnails (digest BLOB NOT NULL, view INTEGER NOT NULL, jpeg BLOB NOT NULL, \
                     checksum INTEGER, PRIMARY KEY (digest, view)) STRICT";
/// The table of format 1, which [`MIGRATE`] makes the present one, whose rows have no checksums.
const FORMER: &str = "CREATE TABLE thumbnails (digest BLOB NOT NULL, view INTEGER NOT NULL, jpeg BLOB NOT NULL, \
                      PRIMARY KEY (digest, view)) STRICT";
const MIGRATE: &str = "ALTER TABLE thumbnails ADD COLUMN checksum INTEGER";
/// The version of the table, as `user_version`.
const FORMAT: i64 = 2;

/// How long to wait for others who write, and between two tries.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(4);

/// Rows that are removed in one transaction.
const ROWS: usize = 1000;

/// Tells a thumbnail from every other: the SHA-256 of the picture's content, and which view of it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// SHA-256 of the content.
    pub digest: [u8; 32],
    /// The number of the view; 0 for a picture.
    pub view: i64,
}

/// The thumbnails of a catalog.
#[derive(Debug)]
pub struct Thumbnails {
    link: Arc<Link>,
    read_only: bool,
    /// The most bytes of the file.
    limit: Option<u64>,
    /// Whether the limit was reached when something was last added.
    full: AtomicBool,
    /// Whether waiting was in vain the last time; then the next tries do not wait.
    stuck: AtomicBool,
    /// Notices that are to be told, and those that were.
    notices: Mutex<(Vec<String>, HashSet<&'static str>)>,
}

/// The connection, opened when it is needed, and the file that it leads to.
#[derive(Debug)]
struct Link {
    file: PathBuf,
    open: Mutex<Option<(Option<Identity>, Connection)>>,
    process: u32,
}

impl Connected for Link {
    fn close(&self) {
        *lock(&self.open) = None;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if process::id() != self.process {
            // Closing what came along through a fork would undo the parent's locks.
            std::mem::forget(self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// How a try ended early.
enum Fault {
    /// Others write.
    Busy,
    /// The file is not ours, or not as it was written.
    Damaged,
    /// There is no file, and none is to be made.
    Missing,
    /// The limit is reached.
    Full,
    /// SQLite or the disk refuses.
    Failed(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SchemaChanged) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Thumbnails {
    /// Those of the catalog in `directory`; nothing is opened or made yet. No more than `limit` bytes are written.
    pub fn new(directory: &Path, read_only: bool, limit: Option<u64>) -> Self {
        let file = directory.join("thumbnails.sqlite");
        let link = Arc::new(Link { file, open: Mutex::default(), process: process::id() });
        let connected: Weak<Link> = Arc::downgrade(&link);
        let _active = fork::enter();
        fork::register(connected, None);
        let (full, stuck) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { link, read_only, limit, full, stuck, notices: Mutex::default() }
    }

    /// Whether thumbnails can be added, as far as is known.
    pub fn takes_more(&self) -> bool {
        !self.read_only && !self.full.load(Ordering::Relaxed)
    }

    /// Adds thumbnails, JPEG files, in one transaction; those that are there already stay.
    pub fn put(&self, thumbnails: &[(Key, &[u8])]) {
        if self.read_only || thumbnails.is_empty() {
            return;
        }
        let done = self.attempt(true, |connection| {
            let transaction = begin(connection)?;
            if let Some(limit) = self.limit
                && bytes(&transaction)? >= limit
            {
                return Err(Fault::Full);
            }
            let statement = "INSERT OR IGNORE INTO thumbnails (digest, view, jpeg, checksum) VALUES (?, ?, ?, ?)";
            for (key, jpeg) in thumbnails {
                let checksum = thumbnail_checksum(&key.digest, key.view, jpeg);
                transaction.prepare_cached(statement)?.execute(params![key.digest, key.view, jpeg, checksum])?;
            }
            Ok(transaction.commit()?)
        });
        self.full.store(matches!(done, Err(Fault::Full)), Ordering::Relaxed);
        if let Err(fault) = done {
            self.note(&fault);
        }
    }

    /// The JPEG file of a thumbnail. One that is not as it was written is removed, so that it is made again.
    pub fn get(&self, key: Key) -> Option<Vec<u8>> {
        // All columns: the table may only be read, and be a former one.
        let statement = "SELECT * FROM thumbnails WHERE digest = ? AND view = ?";
        let found = self.attempt(false, |connection| {
            let mut statement = connection.prepare_cached(statement)?;
            Ok(statement.query_row(params![key.digest, key.view], read).optional()?)
        });
        match found {
            Ok(Some(Some(jpeg))) => return Some(jpeg),
            Ok(Some(None)) if !self.read_only => {
                let statement = "DELETE FROM thumbnails WHERE digest = ? AND view = ?";
                let removed =
                    self.attempt(false, |connection| Ok(connection.execute(statement, params![key.digest, key.view])?));
                removed.map_or_else(|fault| self.note(&fault), drop);
            }
            Ok(_) => {}
            Err(fault) => self.note(&fault),
        }
        None
    }

    /// Removes the thumbnails of pictures that are not in `digests`, which is called after they are listed, so that no
    /// thumbnail is removed that is added meanwhile. Returns how many there were.
    ///
    /// # Errors
    /// Those of `digests`.
    pub fn retain(&self, digests: impl FnOnce() -> Result<HashSet<[u8; 32]>>) -> Result<usize> {
        if self.read_only {
            return Ok(0);
        }
        let listed = self.attempt(false, |connection| {
            let mut statement = connection.prepare("SELECT DISTINCT digest FROM thumbnails")?;
            let digests = statement.query_map([], |row| row.get(0))?;
            Ok(digests.collect::<rusqlite::Result<Vec<[u8; 32]>>>()?)
        });
        let mut unused = match listed {
            Ok(listed) => listed,
            Err(fault) => {
                self.note(&fault);
                return Ok(0);
            }
        };
        let used = digests()?;
        unused.retain(|digest| !used.contains(digest));
        let mut removed = 0;
        for digests in unused.chunks(ROWS) {
            let done = self.attempt(false, |connection| {
                let transaction = begin(connection)?;
                let mut count = 0;
                for digest in digests {
                    count +=
                        transaction.prepare_cached("DELETE FROM thumbnails WHERE digest = ?")?.execute([digest])?;
                }
                transaction.commit()?;
                // A page is given back with each row.
                let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
                let mut pages = vacuum.query([])?;
                while pages.next()?.is_some() {}
                Ok(count)
            });
            match done {
                Ok(count) => removed += count,
                Err(fault) => {
                    self.note(&fault);
                    break;
                }
            }
        }
        self.full.store(false, Ordering::Relaxed);
        Ok(removed)
    }

    /// Returns messages about the file, one for each kind of event.
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.notices).0)
    }

    fn note(&self, fault: &Fault) {
        let file = self.link.file.display();
        let (kind, notice) = match fault {
            Fault::Missing => return,
            Fault::Busy => (
                "busy",
                format!("{file} is locked by another program, so that thumbnails are left out; end that program"),
            ),
            Fault::Damaged => (
                "damaged",
                format!("{file} was damaged and has been emptied; thumbnails are made again as pictures are added"),
            ),
            Fault::Full => (
                "full",
                format!(
                    "{file} has reached {} bytes, so that no thumbnails are added; open the engine with thumbnails=True \
                     to add more, or thumbnails=False to do without",
                    self.limit.unwrap_or_default()
                ),
            ),
            Fault::Failed(reason) => (
                "failed",
                format!(
                    "{file} cannot be used, so that thumbnails are left out ({reason}); delete it, or free some space"
                ),
            ),
        };
        let (waiting, told) = &mut *lock(&self.notices);
        if told.insert(kind) {
            waiting.push(notice);
        }
    }

    /// Runs `work` on the connection, which is opened if need be, and again while others write. A damaged file is emptied,
    /// and tried once more. A missing one is made only if `create` says so.
    fn attempt<T>(&self, create: bool, work: impl Fn(&mut Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        if process::id() != self.link.process {
            return Err(Fault::Missing);
        }
        let patience = if self.stuck.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let (end, mut emptied) = (Instant::now() + patience, false);
        loop {
            let active = fork::enter();
            let done = self.link.with(self.read_only, create, &work);
            let fault = match done {
                Err(Fault::Damaged) if !emptied && !self.read_only => {
                    self.note(&Fault::Damaged);
                    match self.link.empty() {
                        Ok(()) => {
                            emptied = true;
                            continue;
                        }
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
                Ok(value) => {
                    self.stuck.store(false, Ordering::Relaxed);
                    return Ok(value);
                }
            };
            // A fork may wait for this thread.
            drop(active);
            if !matches!(fault, Fault::Busy) {
                return Err(fault);
            }
            if Instant::now() >= end {
                self.stuck.store(true, Ordering::Relaxed);
                return Err(fault);
            }
            thread::sleep(STEP);
        }
    }
}

impl Link {
    fn with<T>(
        &self,
        read_only: bool,
        create: bool,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut open = lock(&self.open);
        let there = identity(&self.file).ok();
        if open.as_ref().is_some_and(|(held, _)| *held != there) {
            let (_, connection) = open.take().expect("it is some");
            // Closed as usual it would remove the log of the file that has taken its place.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        if open.is_none() {
            if there.is_none() && !create {
                return Err(Fault::Missing);
            }
            let connection = if read_only { for_reading(&self.file)? } else { for_writing(&self.file)? };
            *open = Some((identity(&self.file).ok(), connection));
        }
        let (_, connection) = open.as_mut().expect("it was opened above");
        let done = work(connection);
        if matches!(done, Err(Fault::Damaged)) {
            *open = None;
        }
        done
    }

    /// Makes an empty file of it, as SQLite does that while others have it open.
    fn empty(&self) -> Result<(), Fault> {
        let mut open = lock(&self.open);
        *open = None;
        let connection = connect(&self.file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
        connection.execute_batch("VACUUM")?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
        Ok(())
    }
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// The bytes of all pages in use.
fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok((pages * number("page_size")?).unsigned_abs())
}

fn connect(file: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if access.contains(OpenFlags::SQLITE_OPEN_URI) {
        Connection::open_with_flags(open::immutable(file), flags)?
    } else {
        Connection::open_with_flags(file, flags)?
    };
    // A thread that waits holds up a fork: the caller does it in between.
    connection.busy_timeout(Duration::ZERO)?;
    // As for catalog.sqlite: nothing of the schema runs, which may come from a stranger.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    Ok(connection)
}

fn for_writing(file: &Path) -> Result<Connection, Fault> {
    let mut connection = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // After a loss of power the last thumbnails may be missing, and the file is sound.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    if is_empty(&connection)? {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
        let transaction = begin(&mut connection)?;
        if is_empty(&transaction)? {
            transaction.execute_batch(TABLE)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        transaction.commit()?;
    }
    if check(&connection)? < FORMAT {
        let transaction = begin(&mut connection)?;
        if check(&transaction)? < FORMAT {
            transaction.execute_batch(MIGRATE)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        transaction.commit()?;
    }
    Ok(connection)
}

/// Where nothing can be written and there is no log, SQLite is told so: it would fail to make the files of the log.
fn for_reading(file: &Path) -> Result<Connection, Fault> {
    let look = |access: OpenFlags| {
        let connection = connect(file, access)?;
        check(&connection)?;
        Ok(connection)
    };
    match look(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(Fault::Failed(_)) => look(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI),
        done => done,
    }
}

/// Whether the file has no tables yet.
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT COUNT(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Returns the thumbnail of a row if it is as it was written.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Option<Vec<u8>>> {
    let (digest, view): (Vec<u8>, i64) = (row.get("digest")?, row.get("view")?);
    let jpeg: Vec<u8> = row.get("jpeg")?;
    let checksum: Option<i64> = match row.as_ref().column_index("checksum") {
        Ok(column) => row.get(column)?,
        Err(_) => None,
    };
    let is_whole = jpeg.starts_with(b"\xff\xd8\xff") && jpeg.ends_with(b"\xff\xd9");
    let is_same = checksum.is_none_or(|checksum| checksum == thumbnail_checksum(&digest, view, &jpeg));
    Ok((is_whole && is_same).then_some(jpeg))
}

/// Refuses tables that are not ours, and returns their format.
fn check(connection: &Connection) -> Result<i64, Fault> {
    let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let tables = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    match (format, tables.as_slice()) {
        (FORMAT, [table]) if table == TABLE => Ok(FORMAT),
        (1, [table]) if table == FORMER => Ok(1),
        _ => Err(Fault::Damaged),
    }
}

#[cfg(test)]
mod tests;
