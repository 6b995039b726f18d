//! Copies a catalog, and verifies it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::error::{Error, Result};
use crate::store::directories::{make_directories, sync_directory};
use crate::store::log::Stored;
use crate::store::read::{select_digests, select_held};
use crate::store::repair::is_unit;
use crate::store::schema::{CHECKED, marks};
use crate::store::values::check_values;
use crate::store::words::{ask_words, check_words};
use crate::store::{Fault, Store, fork, open};

/// Something that is damaged in a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The id of the item that it belongs to, if it belongs to one.
    pub item: Option<String>,
    /// The name of the reference that it belongs to, if it belongs to one.
    pub reference: Option<String>,
    /// The damage, in words.
    pub problem: String,
}

impl Problem {
    fn of_file(problem: impl Into<String>) -> Self {
        Self { item: None, reference: None, problem: problem.into() }
    }
}

impl Store {
    /// Writes a copy of the catalog, as it is now, into `directory`, which must not hold a catalog yet. Others may read and
    /// write meanwhile. The copy gets an id of its own.
    ///
    /// Before the copy gets its name, `complete` is called with the digests of its references, to copy what belongs to them:
    /// a backup that was interrupted does not pass for a whole one.
    ///
    /// # Errors
    /// [`Error::Catalog`] when there is one, or the copy cannot be written; those of `complete`.
    pub fn backup(&self, directory: &Path, complete: impl FnOnce(&HashSet<[u8; 32]>) -> Result<()>) -> Result<()> {
        let target = directory.join("catalog.sqlite");
        check_free(directory)?;
        make_directories(directory).map_err(Error::io(directory))?;
        let part = directory.join(format!("catalog.sqlite.{}.part", std::process::id()));
        let copy = || -> Result<()> {
            let digests = self.copy(directory, &part)?;
            complete(&digests)?;
            // Another process may have made one meanwhile.
            check_free(directory)?;
            fs::rename(&part, &target).map_err(Error::io(&target))?;
            sync_directory(directory).map_err(Error::io(directory))
        };
        copy().inspect_err(|_| drop(fs::remove_file(&part)))
    }

    /// Writes the copy of a backup into a file, and returns the digests of its references.
    fn copy(&self, directory: &Path, part: &Path) -> Result<HashSet<[u8; 32]>> {
        self.check_process()?;
        let _active = fork::enter();
        let name = part.to_str().ok_or_else(|| Error::catalog(directory, "its path is not Unicode"))?;
        // Not within a transaction, and SQLite takes its own snapshot.
        let connection = open::connect(&self.directory, self.connections.opened())?;
        let copied = connection.execute("VACUUM INTO ?", [name]).and_then(|_| {
            let copy = Connection::open(part)?;
            copy.execute("UPDATE catalog SET id = randomblob(16)", [])?;
            let digests = select_digests(&copy)?;
            copy.close().map_err(|(_, error)| error)?;
            Ok(digests)
        });
        let digests = copied.map_err(|error| open::sql_error(directory, &error))?;
        fs::File::open(part).and_then(|file| file.sync_all()).map_err(Error::io(part))?;
        Ok(digests)
    }

    /// Reads the whole catalog and returns what is damaged in it; nothing if it is sound.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read at all.
    pub fn verify(&self) -> Result<Vec<Problem>> {
        self.read(|connection| {
            let mut problems = Vec::new();
            for check in
                [check_file, check_counts, check_vectors, check_references, check_items, check_rows, check_index]
            {
                // Where pages are damaged, a check may end early.
                if let Err(error) = check(connection, &mut problems) {
                    problems.push(Problem::of_file(open::sql_error(&self.directory, &error).to_string()));
                }
            }
            Ok::<_, Fault>(problems)
        })
    }

    /// Moves the log of writes into catalog.sqlite, as far as nothing reads it.
    pub(super) fn checkpoint(&self) -> Result<()> {
        let _active = fork::enter();
        let Some(writer) = self.connections.try_writer()? else { return Ok(()) };
        let Some(connection) = writer.as_ref() else { return Ok(()) };
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|error| open::sql_error(&self.directory, &error))
    }
}

/// Refuses a directory that holds a catalog.
fn check_free(directory: &Path) -> Result<()> {
    match directory.join("catalog.sqlite").symlink_metadata() {
        Ok(_) => Err(Error::catalog(directory, "holds a catalog already; choose an empty directory")),
        Err(_) => Ok(()),
    }
}

fn check_file(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    // Without a question before, FTS5 compares the file with what this connection remembers of it.
    ask_words(connection)?;
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    for line in statement.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            problems.push(Problem::of_file(line));
        }
    }
    Ok(())
}

/// Compares the number of removals in the log with the one that is stored.
fn check_counts(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    let counted = "SELECT removals, (SELECT COUNT(*) FROM vectors WHERE vector IS NULL) FROM catalog";
    let (stored, counted): (i64, i64) = connection.query_row(counted, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if stored != counted {
        problems.push(Problem::of_file(format!("the log has {counted} removals, and {stored} are counted")));
    }
    Ok(())
}

/// Compares each vector with its length and its checksum, and finds its reference.
fn check_vectors(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT sequence, vectors.reference, vectors.item, vectors.model, vector, vectors.checksum, dim, models.name,
             refs.reference IS NOT NULL
         FROM vectors LEFT JOIN models USING (model)
             LEFT JOIN refs ON refs.reference = vectors.reference AND refs.item = vectors.item
         WHERE vector IS NOT NULL ORDER BY sequence",
    )?;
    let mut rows = statement.query([])?;
    let mut vector = Vec::new();
    while let Some(row) = rows.next()? {
        let (sequence, reference): (i64, i64) = (row.get(0)?, row.get(1)?);
        if !row.get::<_, bool>(8)? {
            problems.push(Problem::of_file(format!("vector {sequence} belongs to no reference")));
            continue;
        }
        let (dim, model): (Option<i64>, Option<String>) = (row.get(6)?, row.get(7)?);
        let (Some(dim), Some(model)) = (dim, model) else {
            problems.push(of_reference(connection, reference, "its vector belongs to no model".into())?);
            continue;
        };
        vector.clear();
        let stored =
            Stored { owner: [reference, row.get(2)?, row.get(3)?], vector: row.get_ref(4)?, checksum: row.get_ref(5)? };
        if let Err(found) = stored.read(dim as usize, &mut vector) {
            let problem = format!("its vector of model {model:?} is damaged: {found}");
            problems.push(of_reference(connection, reference, problem)?);
        } else if !is_unit(&vector) {
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            let problem = format!("its vector of model {model:?} has the length {length} instead of 1");
            problems.push(of_reference(connection, reference, problem)?);
        }
    }
    Ok(())
}

/// Finds references without a vector of each model, without an item, or that the log calls removed.
fn check_references(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    let models: Vec<String> = select_held(connection)?.iter().map(|model| model.row.to_string()).collect();
    let (count, models) = (models.len(), models.join(", "));
    let lacking = format!(
        "SELECT reference FROM refs WHERE {count} <> (SELECT COUNT(*) FROM vectors
             WHERE vectors.reference = refs.reference AND vector IS NOT NULL AND model IN ({models}))"
    );
    let removed = "SELECT DISTINCT reference FROM refs JOIN vectors USING (reference) WHERE vector IS NULL";
    for (sql, problem) in [
        (lacking.as_str(), "it has not a vector of each model"),
        ("SELECT reference FROM refs WHERE item NOT IN (SELECT item FROM items)", "it belongs to no item"),
        (removed, "it is there, but the log says that it was removed"),
    ] {
        let mut statement = connection.prepare(sql)?;
        for reference in statement.query_map([], |row| row.get::<_, i64>(0))? {
            problems.push(of_reference(connection, reference?, problem.into())?);
        }
    }
    Ok(())
}

/// Finds items whose metadata is no JSON.
fn check_items(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT CAST(id AS BLOB) FROM items WHERE NOT json_valid(metadata)")?;
    for id in statement.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        let id = String::from_utf8_lossy(&id?).into_owned();
        problems.push(Problem { item: Some(id), reference: None, problem: "its metadata is no JSON".into() });
    }
    Ok(())
}

/// Compares items, references and settings with their checksums; former formats have none.
pub(super) fn check_rows(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    if marks(connection)?.1 < CHECKED {
        return Ok(());
    }
    let text = |value: Option<Vec<u8>>| value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    for (sql, problem) in [
        (
            "SELECT CAST(id AS BLOB), NULL FROM items
             WHERE checksum IS NOT row_checksum(id, label, text, metadata, added) ORDER BY item",
            "its id, label, text, metadata or time is not as it was written: set its label, text and metadata again",
        ),
        (
            "SELECT CAST(id AS BLOB), CAST(name AS BLOB) FROM refs LEFT JOIN items USING (item)
             WHERE refs.checksum IS NOT row_checksum(refs.item, name, digest, view, refs.added) ORDER BY reference",
            "its name, digest, view or time is not as it was written: remove it, and add its picture again",
        ),
    ] {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            problems.push(Problem { item: text(row.get(0)?), reference: text(row.get(1)?), problem: problem.into() });
        }
    }
    let settings = "SELECT CAST(key AS BLOB) FROM settings WHERE checksum IS NOT row_checksum(key, value) ORDER BY key";
    for key in connection.prepare(settings)?.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        let key = String::from_utf8_lossy(&key?).into_owned();
        problems.push(Problem::of_file(format!("the setting {key:?} is not as it was written: set it again")));
    }
    Ok(())
}

/// Finds items whose words or metadata are not indexed as they are stored.
fn check_index(connection: &Connection, problems: &mut Vec<Problem>) -> rusqlite::Result<()> {
    check_words(connection, |item| {
        let problem = match item {
            Some(_) => "its words are not in the index of words: compact the catalog, which makes that anew",
            None => "the index of words has items that are gone: compact the catalog, which makes it anew",
        };
        problems.push(Problem { item, reference: None, problem: problem.into() });
    })?;
    check_values(connection, |item| {
        let problem = match item {
            Some(_) => "its metadata is not in the index of metadata: compact the catalog, which makes that anew",
            None => "the index of metadata has values that no item has: compact the catalog, which makes it anew",
        };
        problems.push(Problem { item, reference: None, problem: problem.into() });
    })
}

/// A problem of a reference, with its name and that of its item.
fn of_reference(connection: &Connection, reference: i64, problem: String) -> rusqlite::Result<Problem> {
    let named = connection
        .prepare_cached("SELECT id, name FROM refs LEFT JOIN items USING (item) WHERE reference = ?")?
        .query_row([reference], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (item, name) = named.unwrap_or_default();
    Ok(Problem { item, reference: name, problem })
}
