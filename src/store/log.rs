//! The log of vectors: what was added and removed since a reader has last looked.
//!
//! Removals are rows of it, which are deleted when they are many (see [`Store::remove`]): a reader that has not seen them
//! all reads everything again.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::checksum::checksum;
use crate::store::read::select_models;
use crate::store::{Fault, Store};

/// A place in the log, up to which a reader has seen everything. By default its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The sequence number of the last row that was read.
    sequence: i64,
    /// The sequence number up to which removals had been deleted when the reader began.
    compacted: i64,
}

/// A vector in the log, by which a reader tells whether the log is still the one that it has read: that of a backup which
/// took its place has others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    sequence: i64,
    reference: i64,
    checksum: i64,
}

/// How many vectors a reader remembers.
const MARKS: i64 = 16;

/// A part of the log of some models' vectors: apply the additions, then the removals.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// The place up to which this part reaches, from which the next part goes on.
    pub position: Position,
    /// Whether the log was read from its beginning, since removals that the reader lacks are no longer in it: forget
    /// everything that was read before this part.
    pub restarted: bool,
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

impl Position {
    /// Returns the sequence number of the last row: each reference that was added has one for each model since then, and
    /// each that was removed has one.
    pub fn sequence(&self) -> i64 {
        self.sequence
    }
}

impl Store {
    /// Returns the place of the last addition or removal of a vector: while it stays, [`Store::changes`] has nothing.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn position(&self) -> Result<Position> {
        self.read(|connection| {
            let compacted = compacted(connection)?;
            let mut statement = connection.prepare_cached("SELECT IFNULL(MAX(sequence), 0) FROM vectors")?;
            let last: i64 = statement.query_row([], |row| row.get(0))?;
            Ok(Position { sequence: last.max(compacted), compacted })
        })
    }

    /// Returns the last vectors of the log up to a place.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn marks(&self, position: Position) -> Result<Vec<Mark>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sequence, reference, checksum FROM vectors WHERE vector IS NOT NULL AND sequence <= ?
                 ORDER BY sequence DESC LIMIT ?",
            )?;
            let mark =
                |row: &Row<'_>| Ok(Mark { sequence: row.get(0)?, reference: row.get(1)?, checksum: row.get(2)? });
            let marks = statement.query_map([position.sequence, MARKS], mark)?;
            Ok(marks.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Whether the log is still one in which `marks` were found: those of its vectors that are left are as they were, and
    /// there is one.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn has_marks(&self, marks: &[Mark]) -> Result<bool> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT reference, checksum FROM vectors WHERE sequence = ? AND vector IS NOT NULL")?;
            let mut found = 0;
            for mark in marks {
                let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
                match statement.query_row([mark.sequence], row).optional()? {
                    Some(row) if row == (mark.reference, mark.checksum) => found += 1,
                    Some(_) => return Ok(false),
                    None => {}
                }
            }
            Ok(found > 0)
        })
    }

    /// Returns the next references that were added with vectors of all of `models`, and those that were removed, after
    /// `since`; about `limit` of them. Start with the default, and go on from the `position` of the answer while it says
    /// that there is `more`.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a vector that is not as it was written, [`Error::Catalog`] when one is missing or the catalog
    /// cannot be read.
    pub fn changes(&self, models: &[i64], since: Position, limit: usize) -> Result<Changes> {
        self.read(|connection| {
            let known = select_models(connection)?;
            let dim = |model: &i64| {
                let row = known.iter().find(|row| row.row == *model);
                row.map(|row| row.dim)
                    .ok_or_else(|| self.fail(format!("has no model {model}, or no longer: open it again")))
            };
            let dims = models.iter().map(dim).collect::<Result<Vec<usize>>>()?;
            let compacted = compacted(connection)?;
            let whole = since.sequence >= compacted || since.compacted == compacted;
            let restarted = !whole && since.sequence > 0;
            let mut sequence = if restarted { 0 } else { since.sequence };
            let mut changes = Changes { restarted, vectors: vec![Vec::new(); models.len()], ..Changes::default() };
            // A reference's vectors were stored together, so that they stand one after another.
            let (mut filled, mut reference) = (0, 0);
            let torn = |reference: i64| self.fail(format!("reference {reference} lacks the vector of a model"));
            let mut statement = connection.prepare_cached(
                "SELECT sequence, reference, item, model, vector, checksum FROM vectors WHERE sequence > ?
                 ORDER BY sequence",
            )?;
            let mut rows = statement.query([sequence])?;
            while let Some(row) = rows.next()? {
                if filled == 0 && changes.references.len() + changes.removed.len() >= limit {
                    changes.more = true;
                    break;
                }
                sequence = row.get(0)?;
                let Some(model) = row.get::<_, Option<i64>>(3)? else {
                    changes.removed.push(row.get(1)?);
                    continue;
                };
                let Some(place) = models.iter().position(|of| *of == model) else { continue };
                let (of, item): (i64, i64) = (row.get(1)?, row.get(2)?);
                if filled == 0 {
                    reference = of;
                } else if reference != of {
                    return Err(torn(reference).into());
                }
                let stored = Stored { owner: [of, item, model], vector: row.get_ref(4)?, checksum: row.get_ref(5)? };
                stored
                    .read(dims[place], &mut changes.vectors[place])
                    .map_err(|found| self.damage(connection, of, found))?;
                filled += 1;
                if filled == models.len() {
                    changes.references.push(reference);
                    changes.items.push(item);
                    filled = 0;
                }
            }
            if filled != 0 {
                return Err(torn(reference).into());
            }
            if !changes.more {
                sequence = sequence.max(compacted);
            }
            changes.position = Position { sequence, compacted };
            Ok(changes)
        })
    }

    /// Returns the error for a stored vector that is not as it was written, which names its item and reference.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn damaged(&self, reference: i64, found: &str) -> Result<Error> {
        self.read(|connection| Ok(self.damage(connection, reference, found)))
    }

    pub(super) fn damage(&self, connection: &Connection, reference: i64, found: &str) -> Error {
        let named = connection
            .prepare_cached("SELECT id, refs.name FROM refs JOIN items USING (item) WHERE reference = ?")
            .and_then(|mut s| s.query_row([reference], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))));
        let (of, item) = match named {
            Ok((item, name)) => (format!("item {item:?}, reference {name:?}"), Some(item)),
            Err(_) => (format!("reference number {reference}"), None),
        };
        let reason = format!("the stored vector of {of} is damaged ({found}); remove that item and add it again");
        Error::Damaged { path: self.directory.clone(), item, reason }
    }

    /// Returns the vectors of `model` that an item's references have, in the order of the references, with their rows.
    ///
    /// # Errors
    /// [`Error::UnknownItem`]; [`Error::Damaged`] for a vector that is not as it was written.
    pub fn vectors(&self, id: &str, model: i64) -> Result<Vec<(i64, Vec<f32>)>> {
        self.read(|connection| {
            let item: Option<i64> = connection
                .prepare_cached("SELECT item FROM items WHERE id = ?")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let item = item.ok_or_else(|| Error::UnknownItem(id.to_owned()))?;
            let mut statement = connection.prepare_cached(
                "SELECT reference, vector, vectors.checksum, dim FROM refs JOIN vectors USING (reference)
                 JOIN models USING (model) WHERE refs.item = ? AND model = ? AND vector IS NOT NULL ORDER BY reference",
            )?;
            let mut rows = statement.query([item, model])?;
            let mut vectors = Vec::new();
            while let Some(row) = rows.next()? {
                let (mut vector, reference) = (Vec::new(), row.get(0)?);
                Stored { owner: [reference, item, model], vector: row.get_ref(1)?, checksum: row.get_ref(2)? }
                    .read(row.get::<_, i64>(3)? as usize, &mut vector)
                    .map_err(|found| self.damage(connection, reference, found))?;
                vectors.push((reference, vector));
            }
            Ok::<_, Fault>(vectors)
        })
    }
}

/// The sequence number up to which removals are no longer in the log.
fn compacted(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT compacted FROM catalog")?.query_row(params![], |row| row.get(0))
}

/// A row with a vector as it stands in the file.
pub(super) struct Stored<'a> {
    /// Reference, item and model.
    pub owner: [i64; 3],
    pub vector: ValueRef<'a>,
    pub checksum: ValueRef<'a>,
}

impl Stored<'_> {
    /// Appends the numbers of a vector of length `dim` to `vectors`, or says why they are not as they were written.
    pub(super) fn read(&self, dim: usize, vectors: &mut Vec<f32>) -> Result<(), &'static str> {
        let bytes = self.vector.as_blob().ok().filter(|bytes| bytes.len() == 4 * dim);
        let bytes = bytes.ok_or("it has another length")?;
        let [reference, item, model] = self.owner;
        if self.checksum.as_i64() != Ok(checksum(reference, item, model, bytes)) {
            return Err("it has another checksum");
        }
        vectors.extend(bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)));
        Ok(())
    }
}
