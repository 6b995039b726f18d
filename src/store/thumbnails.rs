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
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::error::Result;
use crate::store::connections::{Identity, identity};
use crate::store::fork::{self, Connected};
use crate::store::{lock, open};

/// The longest side of a thumbnail, in pixels.
pub const SIDE: u32 = 256;

/// The bytes of the file beyond which nothing is added by default.
pub const LIMIT: u64 = 2_000_000_000;

const TABLE: &str = "CREATE TABLE thumbnails (digest BLOB NOT NULL, view INTEGER NOT NULL, jpeg BLOB NOT NULL, \
                     PRIMARY KEY (digest, view)) STRICT";
/// The version of the table, as `user_version`.
const FORMAT: i64 = 1;

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
            let statement = "INSERT OR IGNORE INTO thumbnails (digest, view, jpeg) VALUES (?, ?, ?)";
            for (key, jpeg) in thumbnails {
                transaction.prepare_cached(statement)?.execute(params![key.digest, key.view, jpeg])?;
            }
            Ok(transaction.commit()?)
        });
        self.full.store(matches!(done, Err(Fault::Full)), Ordering::Relaxed);
        if let Err(fault) = done {
            self.note(&fault);
        }
    }

    /// The JPEG file of a thumbnail, if it is there and can be read.
    pub fn get(&self, key: Key) -> Option<Vec<u8>> {
        let statement = "SELECT jpeg FROM thumbnails WHERE digest = ? AND view = ?";
        let found = self.attempt(false, |connection| {
            let mut statement = connection.prepare_cached(statement)?;
            let found: Option<Vec<u8>> =
                statement.query_row(params![key.digest, key.view], |row| row.get(0)).optional()?;
            Ok(found)
        });
        let whole = |jpeg: &Vec<u8>| jpeg.starts_with(b"\xff\xd8\xff") && jpeg.ends_with(b"\xff\xd9");
        found
            .unwrap_or_else(|fault| {
                self.note(&fault);
                None
            })
            .filter(whole)
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
    check(&connection)?;
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

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT COUNT(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Refuses tables that are not ours.
fn check(connection: &Connection) -> Result<(), Fault> {
    let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let tables = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    if format == FORMAT && tables == [TABLE] { Ok(()) } else { Err(Fault::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key { digest: [number; 32], view: 0 }
    }

    /// As large as a thumbnail is.
    fn jpeg(number: u8) -> Vec<u8> {
        [b"\xff\xd8\xff", &[number; 8000][..], b"\xff\xd9"].concat()
    }

    fn kept(thumbnails: &Thumbnails) -> Vec<u8> {
        (0..100).filter(|number| thumbnails.get(key(*number)) == Some(jpeg(*number))).collect()
    }

    #[test]
    fn the_limit_stops_it_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let limited = Thumbnails::new(folder.path(), false, Some(100_000));
        for number in 0..40 {
            limited.put(&[(key(number), &jpeg(number))]);
        }
        let there = kept(&limited);
        assert!(!limited.takes_more() && (8..16).contains(&there.len()), "{there:?}");
        let notices = limited.notices();
        assert!(notices.len() == 1 && notices[0].contains("has reached 100000 bytes"), "{notices:?}");
        limited.put(&[(key(50), &jpeg(50))]);
        assert!(limited.notices().is_empty());
        let unlimited = Thumbnails::new(folder.path(), false, None);
        unlimited.put(&[(key(60), &jpeg(60))]);
        assert_eq!(kept(&limited).len(), there.len() + 1);
        // Some room is made.
        assert_eq!(limited.retain(|| Ok([[60; 32], [0; 32]].into())).unwrap(), there.len() - 1);
        assert!(limited.takes_more());
        limited.put(&[(key(70), &jpeg(70))]);
        assert_eq!(kept(&unlimited), [0, 60, 70]);
    }

    #[test]
    fn views_of_one_file_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let thumbnails = Thumbnails::new(folder.path(), false, None);
        let views = [0, 1].map(|view| Key { view, ..key(1) });
        thumbnails.put(&[(views[0], &jpeg(1)), (views[1], &jpeg(2)), (views[0], &jpeg(3))]);
        assert_eq!(views.map(|view| thumbnails.get(view)), [Some(jpeg(1)), Some(jpeg(2))]);
        assert_eq!(thumbnails.get(Key { view: 2, ..key(1) }), None);
        assert_eq!(thumbnails.retain(|| Ok(HashSet::new())).unwrap(), 2);
    }

    #[test]
    fn what_is_added_while_they_are_listed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let thumbnails = Thumbnails::new(folder.path(), false, None);
        thumbnails.put(&[(key(1), &jpeg(1))]);
        let meanwhile = || {
            thumbnails.put(&[(key(2), &jpeg(2))]);
            Ok(HashSet::new())
        };
        assert_eq!(thumbnails.retain(meanwhile).unwrap(), 1);
        assert_eq!(kept(&thumbnails), [2]);
    }

    #[test]
    fn nothing_is_made_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        for read_only in [false, true] {
            let thumbnails = Thumbnails::new(folder.path(), read_only, None);
            assert_eq!(thumbnails.get(key(1)), None);
            assert_eq!(thumbnails.retain(|| Ok(HashSet::new())).unwrap(), 0);
            assert!(thumbnails.notices().is_empty() && thumbnails.takes_more() != read_only);
        }
        let read_only = Thumbnails::new(folder.path(), true, None);
        read_only.put(&[(key(1), &jpeg(1))]);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn half_a_picture_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let thumbnails = Thumbnails::new(folder.path(), false, None);
        thumbnails.put(&[(key(1), &jpeg(1)[..4000]), (key(2), b"<svg onload=alert(1)>")]);
        assert_eq!([1, 2].map(|number| thumbnails.get(key(number))), [None, None]);
    }
}
