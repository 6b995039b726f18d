//! The truth of a catalog: items, their references and vectors in one SQLite file, each change one transaction.
//!
//! Many threads and processes may use one catalog: SQLite lets the writers in one after another, and readers neither
//! wait for them nor see half of a change. The table of vectors is a log whose sequence numbers only grow: a reader that
//! remembers its [`Position`] catches up with [`Store::changes`].

pub mod aside;
mod checksum;
mod connections;
mod directories;
mod filter_sql;
mod fields;
mod former;
pub mod fork;
mod indexed;
mod log;
mod maintain;
pub mod media;
mod moved;
mod open;
mod patience;
mod probe;
mod read;
mod remove;
mod repair;
mod rows;
pub mod salvage;
mod schema;
mod settings;
pub mod staged;
mod switch;
pub mod thumbnails;
mod values;
mod walk;
pub mod words;
mod write;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use serde_json::Value;

use self::connections::Connections;
pub use self::fields::{check_fields, check_name};
use self::fork::Connected;
pub use self::log::{Changes, Mark, Position};
pub use self::maintain::Problem;
use self::patience::Patience;
pub use self::probe::Probes;
pub use self::rows::{AddedRows, NewRow};
pub use self::switch::{Moved, NewModel};
pub use self::walk::Walked;
use crate::error::{Error, Result};

/// An open catalog directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    access: Access,
    connections: Arc<Connections>,
    migrated: Option<i64>,
    process: u32,
}

/// How a catalog is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Whether to make the directory and an empty catalog if there is none.
    pub create: bool,
    /// Whether to refuse every change, and to open a catalog that cannot be written. Nothing is created then.
    pub read_only: bool,
    /// How long to wait for another process that writes.
    pub patience: Duration,
    /// Which failures a change survives once it has returned.
    pub durability: Durability,
}

/// Which failures a change survives once it has returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however it ends, and a loss of power.
    #[default]
    Full,
    /// The end of the process. A loss of power may undo the newest changes, the last one first.
    Relaxed,
}

impl FromStr for Durability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "full" => Ok(Self::Full),
            "relaxed" => Ok(Self::Relaxed),
            _ => Err(Error::argument(format!("durability {text:?}: give full or relaxed"))),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self { create: true, read_only: false, patience: Duration::from_secs(30), durability: Durability::Full }
    }
}

impl Access {
    /// The default, but for a catalog that must exist.
    pub fn existing() -> Self {
        Self { create: false, ..Self::default() }
    }
}

/// A number that is another after every commit; see [`Store::version`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(i64, i64);

impl Version {
    /// Its two numbers.
    pub fn numbers(self) -> (i64, i64) {
        (self.0, self.1)
    }
}

/// An item to add, or references to add to an item that exists.
#[derive(Debug, Clone, Default)]
pub struct NewItem<'a> {
    /// The item's id: any text without control characters, at most 512 bytes.
    pub id: &'a str,
    /// The class that the item shares with others; `None` keeps what there is.
    pub label: Option<&'a str>,
    /// A description; `None` keeps what there is.
    pub text: Option<&'a str>,
    /// A JSON object, which takes the place of the one there is; `None` keeps that.
    pub metadata: Option<&'a Value>,
    /// Pictures or views of the item.
    pub references: Vec<NewReference<'a>>,
    /// If given, the item becomes exactly this: a field that is `None` is cleared, and references whose digest is not
    /// among these are removed.
    pub exactly: Option<Vec<[u8; 32]>>,
}

/// A picture or view to add to an item.
#[derive(Debug, Clone)]
pub struct NewReference<'a> {
    /// Where it came from, to be shown to people.
    pub name: &'a str,
    /// SHA-256 of the content: an item holds the same view of the same content once.
    pub digest: [u8; 32],
    /// Which view of the content: 0 for a picture, and a number for each picture of a mesh.
    pub view: i64,
    /// The unit vector of each model (its number from [`Store::model`]): of one or several, but of the same ones for all
    /// references of the catalog.
    pub vectors: Vec<(i64, &'a [f32])>,
}

/// The outcome of [`Store::add`] for one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The item's row.
    pub row: i64,
    /// Whether the item is new.
    pub created: bool,
    /// For each reference, whether it is new.
    pub new: Vec<bool>,
    /// References that were removed, for the item is exactly what was given.
    pub removed: usize,
}

/// A picture that an item has or gets, and by what file.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The item.
    pub id: &'a str,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
    /// The file that holds it now: a reference by that name with other content is removed.
    pub name: Option<&'a str>,
    /// Whether the reference gets that name.
    pub renamed: bool,
}

/// The outcome of [`Store::add_seen`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// For each item, what was done with it.
    pub items: Vec<Added>,
    /// References that got another name.
    pub renamed: usize,
    /// References that were removed, for their file holds other content.
    pub replaced: usize,
    /// Which of the pictures that were seen their items have not.
    pub lost: Vec<usize>,
}

/// Changes to an item: `None` keeps a field, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct Update<'a> {
    /// The class that the item shares with others.
    pub label: Option<Option<&'a str>>,
    /// A description.
    pub text: Option<Option<&'a str>>,
    /// A JSON object, which takes the place of the one there is.
    pub metadata: Option<Option<&'a Value>>,
}

/// An item of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its row, never given to another item.
    pub row: i64,
    /// Its id.
    pub id: String,
    /// The class that it shares with others.
    pub label: Option<String>,
    /// A description.
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
    /// Which view of the content: 0 for a picture.
    pub view: i64,
    /// When it was added, in seconds since 1970.
    pub added: i64,
}

/// The fields of an item, and of its reference that matched, that a search shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The item's id.
    pub id: String,
    /// The item's label.
    pub label: Option<String>,
    /// The item's text.
    pub text: Option<String>,
    /// The item's metadata, the text of a JSON object.
    pub metadata: String,
    /// The name of the reference.
    pub reference: String,
    /// SHA-256 of the reference's content.
    pub digest: [u8; 32],
    /// Which view of the content: 0 for a picture.
    pub view: i64,
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
    /// Opens the catalog in `directory`.
    ///
    /// # Errors
    /// [`Error::Catalog`] says what was found instead of a catalog that can be opened so; then nothing was changed.
    pub fn open(directory: &Path, access: &Access) -> Result<Self> {
        let patience = Patience::begin(access.patience, true);
        let (_active, directory, connections, migrated) = loop {
            let active = fork::enter();
            match open::open(directory, access) {
                // A fork waits for this thread.
                Err(Error::Busy { .. }) if !patience.is_over() => {
                    drop(active);
                    patience.step()?;
                }
                opened => {
                    let (opened, writer, migrated) = opened?;
                    // So that a later change of the working directory does not lead the readers elsewhere.
                    let directory = directory.canonicalize().map_err(Error::io(directory))?;
                    let connections = Connections::new(directory.clone(), opened, writer)?;
                    break (active, directory, Arc::new(connections), migrated);
                }
            }
        };
        let connected: Weak<Connections> = Arc::downgrade(&connections);
        fork::register(connected, Some(connections.identity()));
        Ok(Self { directory, access: *access, connections, migrated, process: std::process::id() })
    }

    /// The catalog's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The older format of the catalog that [`open`](Self::open) has migrated; `None` if it had nothing to do.
    pub fn migrated(&self) -> Option<i64> {
        self.migrated
    }

    /// Runs `work` on committed data that does not change meanwhile.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T> {
        self.check_process()?;
        let _active = fork::enter();
        let _patience = Patience::begin(self.access.patience, false);
        let reader = self.connections.reader()?;
        let result = reader.1.unchecked_transaction().map_err(Fault::from).and_then(|snapshot| work(&snapshot));
        self.connections.put_back(reader);
        if self.connections.opened().immutable && !self.connections.in_place()? {
            // It was read without locks: the result may be half of one state and half of another.
            return Err(self.fail("was changed by another process while it was read; try again"));
        }
        result.map_err(|fault| self.error(fault))
    }

    /// Runs `work` in one transaction, which is on disk when this returns, or leaves no trace.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Interrupted`] if it is called off while it waits for another writer; [`Error::Catalog`]
    /// if that takes too long, or the catalog is not where it was opened any more.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T> {
        self.check_process()?;
        self.check_writable()?;
        let patience = Patience::begin(self.access.patience, true);
        let mut work = Some(work);
        loop {
            let active = fork::enter();
            let turn = match self.connections.try_writer()? {
                Some(mut writer) => self.transact(writer.as_mut(), &mut work)?,
                None => Turn::Busy,
            };
            match turn {
                Turn::Done(value) => return Ok(value),
                Turn::LogGone => self.connections.close(),
                Turn::Busy if patience.is_over() => return Err(Error::busy(&self.directory)),
                Turn::Busy => {
                    // A fork may wait for this thread.
                    drop(active);
                    patience.step()?;
                }
            }
        }
    }

    /// One try to run `work` in a transaction; it is taken out as soon as it runs.
    fn transact<T, W>(&self, writer: Option<&mut Connection>, work: &mut Option<W>) -> Result<Turn<T>>
    where
        W: FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    {
        let Some(connection) = writer else { return Ok(Turn::Busy) };
        let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => transaction,
            Err(error) if is_busy(&error) => return Ok(Turn::Busy),
            Err(error) => return Err(self.error(error.into())),
        };
        if !self.connections.in_place()? {
            return Ok(Turn::LogGone);
        }
        let Some(work) = work.take() else { return Ok(Turn::Busy) };
        let value = work(&transaction).map_err(|fault| self.error(fault))?;
        if !self.connections.in_place()? {
            return Err(self.fail("its log was removed by another program; nothing was changed: try again"));
        }
        transaction.commit().map_err(|error| self.error(error.into()))?;
        Ok(Turn::Done(value))
    }

    /// Checks that the catalog was opened to be changed.
    ///
    /// # Errors
    /// [`Error::Catalog`] when it was not.
    pub fn check_writable(&self) -> Result<()> {
        match self.access.read_only {
            false => Ok(()),
            true => Err(self.fail("was opened with read_only=True; open it without that to change it")),
        }
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

/// An error that ends a transaction early.
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

/// The outcome of a try to write.
enum Turn<T> {
    Done(T),
    /// Another thread or process writes.
    Busy,
    /// Another program has removed the log: the connections write into a file without a name.
    LogGone,
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// A panic in another thread left no half change behind: its transaction was rolled back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
