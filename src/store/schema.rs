//! The tables of `catalog.sqlite`, and the steps by which older ones become them.

use std::path::Path;

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, Result};
use crate::store::checksum::{checksum, row_checksum};
use crate::store::open::sql_error;
use crate::store::{values, words};

/// "plus" in ASCII, in the header of every catalog.
pub(super) const APPLICATION: i64 = 0x706c_7573;
/// The format that is written: as many steps as [`FORMATS`] has.
pub(super) const FORMAT: i64 = FORMATS.len() as i64;

/// The oldest format that can be read as it is: it lacks the indexes of words and metadata, and some checksums.
pub(super) const READABLE: i64 = 3;

/// The marks of an empty database.
pub(super) const EMPTY: Marks = (0, 0, 0);

/// The application, the format, and the number of tables, indexes and triggers.
pub(super) type Marks = (i64, i64, i64);

macro_rules! make_checksums {
    () => {
        "UPDATE items SET checksum = row_checksum(id, label, text, metadata, added);
        UPDATE refs SET checksum = row_checksum(item, name, digest, view, added);
        UPDATE settings SET checksum = row_checksum(key, value);"
    };
}

/// The statements that turn each format into the next one, beginning with an empty file. A new catalog runs all of them,
/// an older one those that it lacks: so both have the same tables, of which [`check_tables`] makes sure.
const FORMATS: [&str; 6] = [
    "
    CREATE TABLE models (
        model INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        dim INTEGER NOT NULL
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
    ",
    // Of models that run on a server: its vectors of a fixed picture and text.
    "
    ALTER TABLE models ADD COLUMN probe_image BLOB;
    ALTER TABLE models ADD COLUMN probe_text BLOB;
    ",
    // One row: a random number that no other catalog has, the sequence number up to which the log has lost its removals,
    // and how many it has. A checksum for each vector. Several references, its views, from one file; the column has no
    // default, so that a process of an older version, which has the catalog open and knows no checksums, adds none.
    "
    CREATE TABLE catalog (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id BLOB NOT NULL,
        compacted INTEGER NOT NULL,
        removals INTEGER NOT NULL
    ) STRICT;
    INSERT INTO catalog SELECT 1, randomblob(16), 0, COUNT(*) FROM vectors WHERE vector IS NULL;
    CREATE INDEX removals ON vectors (sequence) WHERE vector IS NULL;
    CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    ALTER TABLE vectors ADD COLUMN checksum INTEGER;
    UPDATE vectors SET checksum = checksum(reference, item, model, vector) WHERE vector IS NOT NULL;
    ALTER TABLE refs RENAME TO old_refs;
    CREATE TABLE refs (
        reference INTEGER PRIMARY KEY AUTOINCREMENT,
        item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        name TEXT NOT NULL,
        digest BLOB NOT NULL,
        view INTEGER NOT NULL,
        added INTEGER NOT NULL,
        UNIQUE (item, digest, view)
    ) STRICT;
    INSERT INTO refs (reference, item, name, digest, view, added)
        SELECT reference, item, name, digest, 0, added FROM old_refs ORDER BY reference;
    DELETE FROM sqlite_sequence WHERE name = 'refs';
    INSERT INTO sqlite_sequence (name, seq) SELECT 'refs', seq FROM sqlite_sequence WHERE name = 'old_refs';
    DROP TABLE old_refs;
    ",
    // An index of the items' words, by which texts find them.
    words::CREATE,
    // An index of the values of metadata, by which filters find items.
    values::CREATE,
    // A checksum for each item, reference and setting.
    concat!(
        "ALTER TABLE items ADD COLUMN checksum INTEGER;
        ALTER TABLE refs ADD COLUMN checksum INTEGER;
        ALTER TABLE settings ADD COLUMN checksum INTEGER;",
        make_checksums!()
    ),
];

/// Makes the checksums of all items, references and settings.
pub(super) const MAKE_CHECKSUMS: &str = make_checksums!();

/// The first format whose rows of items, references and settings have checksums.
pub(super) const CHECKED: i64 = 6;

/// Reads the marks of the file.
pub(super) fn marks(connection: &Connection) -> rusqlite::Result<Marks> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let schema = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((application, format, schema))
}

/// Makes all tables and the marks that make the file a catalog, in one transaction; a process that comes second finds
/// them there.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // Rows of 1 to 4 KB waste little of such a page.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    define_checksum(connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if marks(&transaction)? == EMPTY {
        step(&transaction, 0, FORMATS.len())?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()
}

/// Turns the tables of an older format into those of the present one.
pub(super) fn update(transaction: &Connection, format: i64) -> rusqlite::Result<()> {
    step(transaction, format as usize, FORMATS.len())?;
    transaction.pragma_update(None, "user_version", FORMAT)
}

/// Turns the tables of format `from`, 0 for none, into those of format `to`.
fn step(connection: &Connection, from: usize, to: usize) -> rusqlite::Result<()> {
    FORMATS[from..to].iter().try_for_each(|statements| connection.execute_batch(statements))
}

/// Lets statements of this connection compute the checksums of vectors. No table may use it: the schema is not trusted.
pub(super) fn define_checksum(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("checksum", 4, flags, |row| {
        Ok(checksum(row.get(0)?, row.get(1)?, row.get(2)?, row.get_raw(3).as_blob()?))
    })
}

/// Lets statements of this connection compute the checksums of rows, and fill the indexes of words and metadata.
pub(super) fn define(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("row_checksum", -1, flags, |row| {
        Ok(row_checksum((0..row.len()).map(|place| row.get_raw(place))))
    })?;
    words::define(connection)?;
    values::define(connection)
}

/// Returns the statements that made the tables, the indexes and everything else, without comments and spaces.
pub(super) fn schema(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let rows = "SELECT type, name, IFNULL(sql, '') FROM sqlite_schema ORDER BY name";
    let mut statement = connection.prepare(rows)?;
    let mut rows = statement.query([])?;
    let mut schema = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let of_sqlite = name == "sqlite_sequence"
            || ["sqlite_autoindex_", "sqlite_stat"].iter().any(|start| name.starts_with(start));
        if !(of_sqlite && (kind == "table" || kind == "index")) {
            let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
            schema.push(format!("{kind} {name}: {}", lines.flat_map(str::split_whitespace).collect::<String>()));
        }
    }
    Ok(schema)
}

/// Refuses tables that are not ours: views, triggers, conditions and defaults of a stranger's catalog would run on our
/// queries, for ever if they are made so.
pub(super) fn check_tables(directory: &Path, found: &[String], format: i64) -> Result<()> {
    let expected = || -> rusqlite::Result<Vec<String>> {
        let ours = Connection::open_in_memory()?;
        define_checksum(&ours)?;
        define(&ours)?;
        step(&ours, 0, format as usize)?;
        schema(&ours)
    };
    let compare = || -> rusqlite::Result<Option<String>> {
        let expected = expected()?;
        let differs = |one: &[String], other: &[String]| one.iter().find(|row| !other.contains(row)).cloned();
        Ok(differs(found, &expected).or_else(|| differs(&expected, found)))
    };
    let Some(row) = compare().map_err(|error| sql_error(directory, &error))? else { return Ok(()) };
    let name: String = row.split(": ").next().unwrap_or_default().chars().take(60).collect();
    let reason = format!(
        "its tables are not those of format {format} (the difference is in {name}), so another program has changed them; \
         use a copy from before that"
    );
    Err(Error::catalog(directory, reason))
}
