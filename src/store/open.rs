//! Opening and creating `catalog.sqlite`: nothing is changed before the file is known to be ours.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::{Error, Result};
use crate::picture;
use crate::store::connections::identity;
use crate::store::directories::make_directories;
use crate::store::former::keep_former;
use crate::store::schema::{self, APPLICATION, EMPTY, FORMAT, Marks, READABLE, marks};
use crate::store::{Access, Durability, fork, patience};

/// Bytes that the log keeps on disk after a checkpoint, however much one change has needed.
const LOG_LIMIT: i64 = 16 << 20;
/// Looks at a file that seems to be damaged.
const PEEKS: usize = 3;
/// Entries of a folder among which a picture is looked for.
const LOOKED_AT: usize = 100;

/// How the connections of an open catalog are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub read_only: bool,
    /// Whether nothing can write here, so that SQLite must not either: no locks, no log.
    pub immutable: bool,
    pub durability: Durability,
}

/// Opens the catalog in `directory`, or creates it there if `access` says so. The last value is the older format that it
/// had, if this has migrated it.
pub(super) fn open(directory: &Path, access: &Access) -> Result<(Opened, Connection, Option<i64>)> {
    let fail = |reason: String| Error::catalog(directory, reason);
    let create = access.create && !access.read_only;
    let file = directory.join("catalog.sqlite");
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => {
            return Err(fail("a file, but a catalog is a directory; choose another path".into()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            make_directories(directory).map_err(|error| fail(format!("cannot be created: {error}")))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(fail("does not exist".into())),
        Err(error) => return Err(fail(format!("cannot be opened: {error}"))),
    }
    let made = check_header(directory, &file, create)?;
    let opened = open_file(directory, access, create);
    if made && opened.is_err() && fs::metadata(&file).is_ok_and(|found| found.len() == 0) {
        // On a full disk: the next one who looks here should not find half a catalog.
        let _ = fs::remove_file(&file);
    }
    opened
}

fn open_file(directory: &Path, access: &Access, create: bool) -> Result<(Opened, Connection, Option<i64>)> {
    let fail = |reason: String| Error::catalog(directory, reason);
    if identity(&directory.join("catalog.sqlite")).is_ok_and(fork::inherited) {
        return Err(fail(
            "was open in the process from which this one was forked other than by os.fork, and its locks are not held \
             here; start this process by spawn, or open the catalog in the children only"
                .into(),
        ));
    }
    let (opened, mut connection) = if access.read_only {
        for_reading(directory)?
    } else {
        let opened = Opened { read_only: false, immutable: false, durability: access.durability };
        (opened, connect(directory, opened)?)
    };
    if !access.read_only && connection.is_readonly(c"main").map_err(|error| sql_error(directory, &error))? {
        let file = directory.join("catalog.sqlite");
        return Err(fail(format!(
            "{} cannot be written; open the catalog with read_only=True, make it writable, or copy it",
            file.display()
        )));
    }
    let look = |connection: &Connection| {
        // In one transaction: between two reads another process may create the tables, or bring them up to date.
        let transaction = connection.unchecked_transaction()?;
        Ok((marks(&transaction)?, schema::schema(&transaction)?))
    };
    let look = |connection: &Connection| look(connection).map_err(|error| sql_error(directory, &error));
    let (mut found, mut tables) = look(&connection)?;
    if found == EMPTY {
        if !create {
            return Err(fail("holds no catalog yet".into()));
        }
        schema::create(&mut connection).map_err(|error| sql_error(directory, &error))?;
        (found, tables) = look(&connection)?;
    }
    check_format(directory, found.0, found.1)?;
    schema::check_tables(directory, &tables, found.1)?;
    let mut migrated = None;
    if !access.read_only {
        use_wal(&connection).map_err(|error| sql_error(directory, &error))?;
        if found.1 < FORMAT {
            migrated = migrate(directory, opened, &mut connection)?;
        }
    } else if found.1 < READABLE {
        return Err(fail(format!(
            "has format {}, older than {FORMAT}; open it once without read_only=True to bring it up to date",
            found.1
        )));
    }
    Ok((opened, connection, migrated))
}

/// Brings older tables up to date, in one transaction, and returns the format that they had; a process that comes second
/// finds them so, which is `None`. A copy of the former ones is made before.
fn migrate(directory: &Path, opened: Opened, connection: &mut Connection) -> Result<Option<i64>> {
    let fail = |error: rusqlite::Error| sql_error(directory, &error);
    schema::define_checksum(connection).map_err(fail)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    let (_, format, _) = marks(&transaction).map_err(fail)?;
    if format < FORMAT {
        keep_former(directory, opened, format)?;
        schema::update(&transaction, format).map_err(fail)?;
    }
    transaction.commit().map_err(fail)?;
    Ok((format < FORMAT).then_some(format))
}

/// A connection that reads only. Where nothing can be written and there is no log, SQLite is told so: it would fail to
/// make the files of the log.
fn for_reading(directory: &Path) -> Result<(Opened, Connection)> {
    let mut opened = Opened { read_only: true, immutable: false, durability: Durability::Full };
    let look = |opened: Opened| -> Result<Connection> {
        let connection = connect(directory, opened)?;
        marks(&connection).map_err(|error| sql_error(directory, &error))?;
        Ok(connection)
    };
    let log = fs::metadata(directory.join("catalog.sqlite-wal")).map_or(0, |log| log.len());
    match look(opened) {
        Ok(connection) => Ok((opened, connection)),
        Err(_) if log == 0 => {
            opened.immutable = true;
            look(opened).map(|connection| (opened, connection))
        }
        Err(error) => Err(Error::catalog(
            directory,
            format!(
                "has a log with changes that are not in catalog.sqlite yet, which cannot be read here ({error}); open the \
                 catalog once where it can be written, or copy it there"
            ),
        )),
    }
}

/// Whether a catalog that may only be read has to be read without locks and without a log.
pub(super) fn is_immutable(directory: &Path) -> bool {
    for_reading(directory).is_ok_and(|(opened, _)| opened.immutable)
}

/// Another connection to a catalog that is open, for reading only.
pub(super) fn reader(directory: &Path, opened: Opened) -> Result<Connection> {
    let connection = connect(directory, opened)?;
    connection.pragma_update(None, "query_only", true).map_err(|error| sql_error(directory, &error))?;
    Ok(connection)
}

/// A connection with our settings to the file, which must exist.
pub(super) fn connect(directory: &Path, opened: Opened) -> Result<Connection> {
    // A catalog that vanished while it was open must not come back as an empty file: only `open` creates.
    let access = if opened.read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let file = directory.join("catalog.sqlite");
    let connect = || -> rusqlite::Result<Connection> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = if opened.immutable {
            Connection::open_with_flags(immutable(&file), flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(&file, flags)?
        };
        connection.busy_handler(Some(patience::wait))?;
        // A catalog may come from a stranger: no function of ours is called, and no page written, by its schema.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        // Keep the plan of a prepared statement: by default SQLite plans it anew for other values, which choose no index here.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        schema::define(&connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "foreign_keys", true)?;
        // In a log NORMAL, too, keeps the order of changes; only the last of them may be undone by a loss of power.
        let synchronous = match opened.durability {
            Durability::Full => "FULL",
            Durability::Relaxed => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -8192)?;
        connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
        Ok(connection)
    };
    connect().map_err(|error| sql_error(directory, &error))
}

/// Looks at the file without touching anything beside it, which SQLite may do as soon as it opens a file for good, and
/// tells whether it made an empty one.
///
/// SQLite itself has to look: closing a file handle of our own would drop the locks that other connections of this
/// process hold on the file (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
fn check_header(directory: &Path, file: &Path, create: bool) -> Result<bool> {
    let fail = |reason: String| Error::catalog(directory, reason);
    match fs::metadata(file) {
        Ok(found) if !found.is_file() => return Err(fail(format!("{} cannot be read: no file", file.display()))),
        Ok(found) if found.len() == 0 => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !create {
                return Err(fail("holds no catalog.sqlite; is this the right directory?".into()));
            }
            if let Some(picture) = picture_in(directory) {
                return Err(fail(format!(
                    "holds pictures, such as {picture:?}, and no catalog; give the catalog a directory of its own, such as \
                     {:?}, and add this folder to it",
                    directory.with_extension("catalog")
                )));
            }
            // An empty file is an empty database; whichever process comes first fills it.
            return match File::create_new(file) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(fail(format!("{} cannot be created: {error}", file.display()))),
            };
        }
        Err(error) => return Err(fail(format!("{} cannot be read: {error}", file.display()))),
    }
    for again in (0..PEEKS).rev() {
        // The file alone means nothing while there is a log or a journal: it may be in the middle of a checkpoint, or was
        // left there by a crash. SQLite finishes that first when it opens the file for good.
        if ["catalog.sqlite-wal", "catalog.sqlite-journal"].iter().any(|name| directory.join(name).exists()) {
            return Ok(false);
        }
        match peek(file) {
            // An empty database is written before the tables and marks (`PRAGMA auto_vacuum` does that).
            Ok(found) if found == EMPTY => return Ok(false),
            Ok(found) => return check_format(directory, found.0, found.1).map(|()| false),
            // Another process may have made a log and begun a checkpoint meanwhile.
            Err(_) if again > 0 => std::thread::sleep(Duration::from_millis(10)),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                return Err(fail(
                    "catalog.sqlite is not an SQLite file; move it away or choose another directory".into(),
                ));
            }
            Err(error) => return Err(sql_error(directory, &error)),
        }
    }
    Ok(false)
}

/// Returns a picture that lies in a directory, or in a folder in it, as in a folder of photos that was given by mistake.
fn picture_in(directory: &Path) -> Option<PathBuf> {
    let is_picture = |path: &Path| {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        extension == "jpeg" || extension != "bin" && picture::extensions().any(|known| known == extension)
    };
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: PathBuf| path.strip_prefix(directory).map(Path::to_path_buf).ok();
    let in_folder = |folder: PathBuf| entries(&folder).take(LOOKED_AT).find(|path| is_picture(path));
    let ours = directory.join("media");
    let found = entries(directory).take(LOOKED_AT).find_map(|path| match path.is_dir() {
        true if path == ours => None,
        true => in_folder(path),
        false => is_picture(&path).then_some(path),
    });
    found.and_then(named)
}

/// Reads the marks of the file as if nothing could change it: no locks, nothing written.
fn peek(file: &Path) -> rusqlite::Result<Marks> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    marks(&Connection::open_with_flags(immutable(file), flags)?)
}

/// The address of a file that SQLite reads without locks and without a log.
pub(super) fn immutable(file: &Path) -> String {
    let mut address = String::from("file:");
    for byte in std::path::absolute(file).unwrap_or_else(|_| file.into()).as_os_str().as_encoded_bytes() {
        address.push_str(&format!("%{byte:02x}"));
    }
    address.push_str("?immutable=1");
    address
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

/// Turns to a write-ahead log. SQLite does not wait for other connections here, so we do.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && patience::wait(tries) => {
                tries += 1
            }
            done => return done.map(|_| ()),
        }
    }
}

/// Says in words of ours what SQLite could not do, and what to do about it.
pub(super) fn sql_error(directory: &Path, error: &rusqlite::Error) -> Error {
    let cure = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return Error::busy(directory),
        Some(ErrorCode::DiskFull) => {
            let cure = "the disk is full, so this change was not made; free some space and try again";
            return Error::full(directory, format!("{cure} ({})", plain(error)));
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "it cannot be written; open it with read_only=True, or make its directory and files writable".to_owned()
        }
        Some(ErrorCode::CannotOpen) if too_many_files() => {
            "this process has too many files open; close some, or raise the limit (ulimit -n)".to_owned()
        }
        Some(ErrorCode::CannotOpen) => "catalog.sqlite and its directory must exist and be writable; open the catalog \
                                        with read_only=True if they may only be read"
            .to_owned(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damage(directory),
        Some(ErrorCode::SystemIoFailure) => {
            "the disk is full or has failed, so this change was not made; look at the disk and try again".to_owned()
        }
        _ => match error {
            // Our own words about an entry.
            rusqlite::Error::FromSqlConversionFailure(_, _, inner) => return Error::catalog(directory, inner),
            _ => "an entry is not as it was written; another program may have changed it".to_owned(),
        },
    };
    Error::catalog(directory, format!("{cure} ({})", plain(error)))
}

/// The message of SQLite alone: without addresses of files, statements or numbers of columns.
fn plain(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => {
            let message = message.clone().unwrap_or_else(|| code.to_string());
            message.split(": file:").next().unwrap_or_default().to_owned()
        }
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::InvalidColumnType(_, name, kind) => format!("{name} is of type {kind}"),
        other => other.to_string(),
    }
}

fn too_many_files() -> bool {
    // Closing a handle of another file undoes no lock.
    File::open("/dev/null").is_err_and(|error| matches!(error.raw_os_error(), Some(23 | 24)))
}

/// Looks again before a catalog is called damaged: SQLite may find it sound, as after a moment of a full disk.
fn damage(directory: &Path) -> String {
    let check = || -> rusqlite::Result<String> {
        let file = directory.join("catalog.sqlite");
        let read = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_ONLY;
        let write = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection =
            Connection::open_with_flags(&file, write).or_else(|_| Connection::open_with_flags(&file, read))?;
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
    };
    match check() {
        Ok(found) if found == "ok" => "SQLite could not read it, though it finds it sound now; try again".to_owned(),
        // SQLite calls a file malformed, too, if the disk fails to read it.
        Err(error)
            if !matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
        {
            format!("a file could not be read ({}); look at the disk and try again", plain(&error))
        }
        _ => {
            "catalog.sqlite is damaged; save what can be read with plushie-search salvage, or go back to a backup with \
              plushie-search restore"
                .to_owned()
        }
    }
}
