//! The truth of a catalog: items, their references and vectors in one SQLite file, each change one transaction.
//!
//! Many threads and processes may use one catalog: SQLite lets the writers in one after another, and readers neither
//! wait for them nor see half of a change. The table of vectors is a log whose sequence numbers only grow, so that
//! whoever remembers the last number it has seen catches up with [`Store::changes`].

mod open;
mod probe;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde_json::Value;

pub use self::probe::Probes;
use crate::error::{Error, Result};

/// How many connections for reading are kept for the next readers.
const SPARE_READERS: usize = 16;

/// An open catalog directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    watcher: Mutex<Connection>,
    process: u32,
}

/// An item to add, or references to add to an item that exists.
#[derive(Debug, Clone, Default)]
pub struct NewItem<'a> {
    /// What names the item: any text without control characters, at most 512 bytes.
    pub id: &'a str,
    /// The class that the item shares with others; `None` keeps what there is.
    pub label: Option<&'a str>,
    /// What the item is, in words; `None` keeps what there is.
    pub text: Option<&'a str>,
    /// A JSON object, which takes the place of the one there is; `None` keeps that.
    pub metadata: Option<&'a Value>,
    /// Pictures or views of the item.
    pub references: Vec<NewReference<'a>>,
}

/// A picture or view to add to an item.
#[derive(Debug, Clone)]
pub struct NewReference<'a> {
    /// Where it came from, to be shown to people.
    pub name: &'a str,
    /// SHA-256 of the content: an item holds the same content once.
    pub digest: [u8; 32],
    /// The unit vector of each model (its number from [`Store::model`]): of one or several, but of the same ones for all
    /// references of the catalog.
    pub vectors: Vec<(i64, &'a [f32])>,
}

/// What [`Store::add`] did with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The item's row.
    pub row: i64,
    /// Whether the item is new.
    pub created: bool,
    /// For each reference, whether it is new.
    pub new: Vec<bool>,
}

/// Changes to an item: `None` keeps a field, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct Update<'a> {
    /// The class that the item shares with others.
    pub label: Option<Option<&'a str>>,
    /// What the item is, in words.
    pub text: Option<Option<&'a str>>,
    /// A JSON object, which takes the place of the one there is.
    pub metadata: Option<Option<&'a Value>>,
}

/// An item of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its row, never given to another item.
    pub row: i64,
    /// What names it.
    pub id: String,
    /// The class that it shares with others.
    pub label: Option<String>,
    /// What it is, in words.
    pub text: Option<String>,
    /// A JSON object.
    pub metadata: Value,
    /// When it was added, in seconds since 1970.
    pub added: i64,
    /// Its pictures or views, in the order in which they came.
    pub references: Vec<Reference>,
}

/// A picture or view of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its row, never given to another reference.
    pub row: i64,
    /// Where it came from.
    pub name: String,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
    /// When it was added, in seconds since 1970.
    pub added: i64,
}

/// What a search shows of an item and of the reference that matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The item's id.
    pub id: String,
    /// The item's label.
    pub label: Option<String>,
    /// The item's text.
    pub text: Option<String>,
    /// The item's metadata, a JSON object.
    pub metadata: Value,
    /// The name of the reference.
    pub reference: String,
    /// SHA-256 of the reference's content.
    pub digest: [u8; 32],
}

/// A model whose vectors the catalog holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Its number in this catalog.
    pub row: i64,
    /// Its name.
    pub name: String,
    /// The hash of everything that changes its vectors.
    pub fingerprint: String,
    /// Numbers in each vector.
    pub dim: usize,
}

/// A part of the log of some models' vectors: apply the additions, then the removals.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// The sequence number up to which this part reaches, from which the next part goes on.
    pub sequence: i64,
    /// The references that were added.
    pub references: Vec<i64>,
    /// The item of each added reference.
    pub items: Vec<i64>,
    /// For each model, the vectors of the added references, one after another.
    pub vectors: Vec<Vec<f32>>,
    /// The references that were removed, whether or not they had vectors of these models.
    pub removed: Vec<i64>,
    /// Whether the log has more.
    pub more: bool,
}

/// How much a catalog holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Items.
    pub items: u64,
    /// References of all items.
    pub references: u64,
    /// Vectors of all models.
    pub vectors: u64,
    /// Bytes of `catalog.sqlite` and its write-ahead log.
    pub bytes: u64,
}

impl Store {
    /// Opens the catalog in `directory`; with `create`, makes the directory and an empty catalog if there is none.
    ///
    /// # Errors
    /// [`Error::Catalog`] says what was found instead of a catalog that can be written; then nothing was changed.
    pub fn open(directory: &Path, create: bool) -> Result<Self> {
        let writer = open::open(directory, create)?;
        // So that a later change of the working directory does not lead the readers elsewhere.
        let directory = directory.canonicalize().map_err(Error::io(directory))?;
        let watcher = open::reader(&directory)?.into();
        Ok(Self { directory, writer: writer.into(), readers: Mutex::default(), watcher, process: std::process::id() })
    }

    /// The catalog's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `work` on committed data that does not change meanwhile.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T> {
        self.check_process()?;
        let spare = lock(&self.readers).pop();
        let connection = match spare {
            Some(connection) => connection,
            None => open::reader(&self.directory)?,
        };
        let result = connection.unchecked_transaction().map_err(Fault::from).and_then(|snapshot| work(&snapshot));
        let mut readers = lock(&self.readers);
        if readers.len() < SPARE_READERS {
            readers.push(connection);
        }
        result.map_err(|fault| self.error(fault))
    }

    /// Runs `work` in one transaction, which is on disk when this returns, or leaves no trace.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T> {
        self.check_process()?;
        let mut writer = lock(&self.writer);
        let result = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Fault::from).and_then(
            |transaction| {
                let value = work(&transaction)?;
                transaction.commit()?;
                Ok(value)
            },
        );
        result.map_err(|fault| self.error(fault))
    }

    /// A connection that went through `fork` would damage the file.
    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(self.fail("was opened before this process forked; open it again in each process"))
    }

    fn fail(&self, reason: impl std::fmt::Display) -> Error {
        Error::catalog(&self.directory, reason)
    }

    fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Ours(error) => error,
            Fault::Sql(error) => open::sql_error(&self.directory, &error),
        }
    }
}

/// What can end a transaction early.
enum Fault {
    Ours(Error),
    Sql(rusqlite::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// A panic in another thread left no half change behind: its transaction was rolled back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
