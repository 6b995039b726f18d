//! Opening and creating `catalog.sqlite`: nothing is changed before the file is known to be ours.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::{Error, Result};

/// "plus" in ASCII, in the header of every catalog.
const APPLICATION: i64 = 0x706c_7573;
/// The version of the tables below.
const FORMAT: i64 = 2;
/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an empty database says of itself.
const EMPTY: (i64, i64, i64) = (0, 0, 0);

const TABLES: &str = "
    CREATE TABLE models (
        model INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        dim INTEGER NOT NULL,
        -- Of models that run on a server: its vectors of a fixed picture and text.
        probe_image BLOB,
        probe_text BLOB
    ) STRICT;
    -- AUTOINCREMENT: the row of a removed item or reference is never given to another.
    CREATE TABLE items (
        item INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        label TEXT,
        text TEXT,
        metadata TEXT NOT NULL,
        added INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX items_by_label ON items (label) WHERE label IS NOT NULL;
    CREATE TABLE refs (
        reference INTEGER PRIMARY KEY AUTOINCREMENT,
        item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        name TEXT NOT NULL,
        digest BLOB NOT NULL,
        added INTEGER NOT NULL,
        UNIQUE (item, digest)
    ) STRICT;
    -- A log in order of commit. A row without a vector says that the reference is gone, for every model.
    CREATE TABLE vectors (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        reference INTEGER NOT NULL,
        item INTEGER NOT NULL,
        model INTEGER REFERENCES models,
        vector BLOB,
        CHECK ((model IS NULL) = (vector IS NULL))
    ) STRICT;
    CREATE UNIQUE INDEX vectors_by_reference ON vectors (reference, model) WHERE vector IS NOT NULL;
";

/// What turns tables of format 1 into those of format 2.
const FROM_1: &str = "
    ALTER TABLE models ADD COLUMN probe_image BLOB;
    ALTER TABLE models ADD COLUMN probe_text BLOB;
";

/// Opens the catalog in `directory` for writing, or creates it there if `create` says so.
pub(super) fn open(directory: &Path, create: bool) -> Result<Connection> {
    let fail = |reason: String| Error::catalog(directory, reason);
    let file = directory.join("catalog.sqlite");
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => {
            return Err(fail("a file, but a catalog is a directory; choose another path".into()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            fs::create_dir_all(directory).map_err(|error| fail(format!("cannot be created: {error}")))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(fail("does not exist".into())),
        Err(error) => return Err(fail(format!("cannot be opened: {error}"))),
    }
    check_header(directory, &file, create)?;
    let mut connection = connect(directory)?;
    if connection.is_readonly(c"main").map_err(|error| sql_error(directory, &error))? {
        return Err(fail(format!("{} is read-only; make it writable or copy the catalog", file.display())));
    }
    // In one transaction: between two reads another process may have created the tables.
    let look = |connection: &Connection| known(&*connection.unchecked_transaction()?);
    let mut found = look(&connection).map_err(|error| sql_error(directory, &error))?;
    if found == EMPTY {
        if !create {
            return Err(fail("holds no catalog yet".into()));
        }
        found = create_tables(&mut connection).map_err(|error| sql_error(directory, &error))?;
    }
    check_format(directory, found.0, found.1)?;
    use_wal(&connection).map_err(|error| sql_error(directory, &error))?;
    if found.1 < FORMAT {
        migrate(&mut connection).map_err(|error| sql_error(directory, &error))?;
    }
    Ok(connection)
}

/// Another connection to a catalog that is open, for reading only.
pub(super) fn reader(directory: &Path) -> Result<Connection> {
    let connection = connect(directory)?;
    connection.pragma_update(None, "query_only", true).map_err(|error| sql_error(directory, &error))?;
    Ok(connection)
}

/// A connection with our settings to the file, which must exist.
pub(super) fn connect(directory: &Path) -> Result<Connection> {
    // A catalog that vanished while it was open must not come back as an empty file: only `open` creates.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connect = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(directory.join("catalog.sqlite"), flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -8192)?;
        Ok(connection)
    };
    connect().map_err(|error| sql_error(directory, &error))
}

/// Looks at the file without touching anything beside it, which SQLite may do as soon as it opens a file for good.
///
/// SQLite itself has to look: closing a file handle of our own would drop the locks that other connections of this
/// process hold on the file (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
fn check_header(directory: &Path, file: &Path, create: bool) -> Result<()> {
    let fail = |reason: String| Error::catalog(directory, reason);
    match fs::metadata(file) {
        Ok(found) if !found.is_file() => return Err(fail(format!("{} cannot be read: no file", file.display()))),
        Ok(found) if found.len() == 0 => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !create {
                return Err(fail("holds no catalog.sqlite; is this the right directory?".into()));
            }
            // An empty file is an empty database; whoever comes first fills it.
            return match File::create_new(file) {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(fail(format!("{} cannot be created: {error}", file.display()))),
            };
        }
        Err(error) => return Err(fail(format!("{} cannot be read: {error}", file.display()))),
    }
    // A journal means that a creation is under way or was cut short: SQLite waits for it or undoes it.
    if directory.join("catalog.sqlite-journal").exists() {
        return Ok(());
    }
    let found = peek(file).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            fail("catalog.sqlite is not an SQLite file; move it away or choose another directory".into())
        }
        _ => sql_error(directory, &error),
    })?;
    // Whoever creates it writes an empty database first (`PRAGMA auto_vacuum` does), then the tables and marks.
    if found == EMPTY { Ok(()) } else { check_format(directory, found.0, found.1) }
}

/// What the file says of itself, read as if nobody could change it: no locks, nothing written.
fn peek(file: &Path) -> rusqlite::Result<(i64, i64, i64)> {
    let mut address = String::from("file:");
    for byte in std::path::absolute(file).unwrap_or_else(|_| file.into()).as_os_str().as_encoded_bytes() {
        address.push_str(&format!("%{byte:02x}"));
    }
    address.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    known(&Connection::open_with_flags(address, flags)?)
}

fn check_format(directory: &Path, application: i64, format: i64) -> Result<()> {
    let fail = |reason: String| Err(Error::catalog(directory, reason));
    if application != APPLICATION {
        return fail("catalog.sqlite belongs to another program; choose another directory".into());
    }
    if format > FORMAT {
        return fail(format!("has format {format}, newer than {FORMAT}; upgrade plushie_search to open it"));
    }
    if format < 1 {
        return fail(format!("has format {format}, which is damaged: the first format is 1; restore a backup"));
    }
    Ok(())
}

/// The application, the format and the number of tables, indexes and triggers.
fn known(connection: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let schema = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((application, format, schema))
}

/// All tables and the marks that make the file a catalog, in one transaction; whoever comes second finds them there.
fn create_tables(connection: &mut Connection) -> rusqlite::Result<(i64, i64, i64)> {
    // Rows of 1 to 4 KB waste little of such a page.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if known(&transaction)? == EMPTY {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()?;
    known(connection)
}

/// Brings older tables up to date, in one transaction; whoever comes second finds them so.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if known(&transaction)?.1 == 1 {
        transaction.execute_batch(FROM_1)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()
}

/// Turns to a write-ahead log. SQLite does not wait for other connections here, so we do.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let start = Instant::now();
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done.map(|_| ()),
        }
    }
}

/// What SQLite said, with what to do about it.
pub(super) fn sql_error(directory: &Path, error: &rusqlite::Error) -> Error {
    let cure = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process has been writing to it for 30 s; try again when that has finished"
        }
        Some(ErrorCode::DiskFull) => "the disk is full; nothing was changed: free some space and try again",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "its directory and files must exist and be writable"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "catalog.sqlite is damaged; restore a backup",
        Some(ErrorCode::SystemIoFailure) => "the disk failed, or catalog.sqlite was replaced while it was open",
        _ => return Error::catalog(directory, error),
    };
    Error::catalog(directory, format!("{cure} ({error})"))
}
