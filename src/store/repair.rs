//! Makes anew what follows from the rest of a catalog: the indexes of words and metadata, counts, and vectors of pictures that are there.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::Result;
use crate::store::indexed::rebuild_indexes;
use crate::store::log::Stored;
use crate::store::read::select_held;
use crate::store::write::insert_vectors;
use crate::store::{Fault, Store};

/// How far the square of a vector's length may be from 1: rounding of 4,096 numbers to 32 bits stays far below.
pub(super) const UNIT: f32 = 1e-3;

impl Store {
    /// Makes the indexes of words and metadata anew.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) when the catalog cannot be changed; so do all methods that repair.
    pub fn repair_indexes(&self) -> Result<()> {
        self.write(|transaction| Ok::<_, Fault>(rebuild_indexes(transaction)?))
    }

    /// Counts the removals in the log anew. Returns whether another number was stored.
    ///
    /// # Errors
    /// As [`Store::repair_indexes`].
    pub fn repair_counts(&self) -> Result<bool> {
        self.write(|transaction| {
            let counted = "UPDATE catalog SET removals = (SELECT COUNT(*) FROM vectors WHERE vector IS NULL)
                 WHERE removals <> (SELECT COUNT(*) FROM vectors WHERE vector IS NULL)";
            Ok::<_, Fault>(transaction.execute(counted, [])? > 0)
        })
    }

    /// Returns the rows of references that lack a sound vector of one of the models that the catalog has.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) when the catalog cannot be read.
    pub fn unsound(&self) -> Result<BTreeSet<i64>> {
        self.read(|connection| {
            let held = select_held(connection)?;
            let mut all: BTreeSet<i64> = references(connection, "SELECT reference FROM refs")?;
            let mut statement = connection.prepare(
                "SELECT reference, refs.item, vector, vectors.checksum FROM refs JOIN vectors USING (reference)
                 WHERE model = ? AND vector IS NOT NULL AND vectors.item = refs.item ORDER BY reference",
            )?;
            let mut unsound = BTreeSet::new();
            for model in &held {
                let mut lacking = all.clone();
                let mut rows = statement.query([model.row])?;
                let mut vector = Vec::new();
                while let Some(row) = rows.next()? {
                    let reference: i64 = row.get(0)?;
                    vector.clear();
                    let owner = [reference, row.get(1)?, model.row];
                    let stored = Stored { owner, vector: row.get_ref(2)?, checksum: row.get_ref(3)? };
                    if stored.read(model.dim, &mut vector).is_ok() && is_unit(&vector) {
                        lacking.remove(&reference);
                    }
                }
                unsound.extend(lacking);
            }
            all.retain(|reference| unsound.contains(reference));
            Ok::<_, Fault>(all)
        })
    }

    /// Gives a reference other vectors, one of each model. Those that read the log find them there.
    ///
    /// # Errors
    /// As [`Store::repair_indexes`].
    pub fn replace_vectors(&self, reference: i64, vectors: &[(i64, &[f32])]) -> Result<()> {
        self.write(|transaction| {
            let item: Option<i64> = transaction
                .query_row("SELECT item FROM refs WHERE reference = ?", [reference], |row| row.get(0))
                .optional()?;
            // Another process may have removed it meanwhile.
            let Some(item) = item else { return Ok::<_, Fault>(()) };
            transaction.execute("DELETE FROM vectors WHERE reference = ? AND vector IS NOT NULL", [reference])?;
            Ok(insert_vectors(transaction, reference, item, vectors)?)
        })
    }
}

fn references(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeSet<i64>> {
    connection.prepare(sql)?.query_map([], |row: &Row<'_>| row.get(0))?.collect()
}

/// Whether a vector is finite and of length 1, as all are when they are written.
pub(super) fn is_unit(vector: &[f32]) -> bool {
    let square: f32 = vector.iter().map(|value| value * value).sum();
    // NaN is near nothing.
    (square - 1.0).abs() < UNIT
}
