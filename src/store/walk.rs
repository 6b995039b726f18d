//! All items with their references and vectors, as they are at one moment.

use rusqlite::params;

use crate::error::Result;
use crate::store::log::Stored;
use crate::store::read::{select_items, select_models};
use crate::store::{Fault, Item, Store};

/// Some of the items, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Walked {
    /// The items.
    pub items: Vec<Item>,
    /// For each model, the vectors of their references, one after another.
    pub vectors: Vec<Vec<f32>>,
}

impl Store {
    /// Calls `told` with all items and the vectors of `models`, `limit` items at a time. All of them are of one committed
    /// state; others may write meanwhile.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::error::Error::Damaged) for a vector that is not as it was written,
    /// [`Error::Catalog`](crate::error::Error::Catalog) when one is missing or the catalog cannot be read, and those of
    /// `told`.
    pub fn walk(&self, models: &[i64], limit: usize, told: &mut dyn FnMut(Walked) -> Result<()>) -> Result<()> {
        self.read(|connection| {
            let known = select_models(connection)?;
            let dims = models.iter().map(|model| {
                let row = known.iter().find(|row| row.row == *model);
                row.map(|row| row.dim)
                    .ok_or_else(|| self.fail(format!("has no model {model}, or no longer: open it again")))
            });
            let dims = dims.collect::<Result<Vec<usize>>>()?;
            let mut find = connection.prepare_cached(
                "SELECT vector, checksum FROM vectors WHERE reference = ? AND model = ? AND vector IS NOT NULL",
            )?;
            let mut after = 0;
            loop {
                let tail = "NOT INDEXED WHERE item > ? ORDER BY item LIMIT ?";
                let items = select_items(connection, tail, params![after, limit as i64])?;
                let Some(last) = items.last() else { return Ok(()) };
                after = last.row;
                let mut walked = Walked { vectors: vec![Vec::new(); models.len()], ..Walked::default() };
                for (item, reference) in items.iter().flat_map(|item| item.references.iter().map(move |r| (item, r))) {
                    for ((model, dim), vectors) in models.iter().zip(&dims).zip(&mut walked.vectors) {
                        let mut rows = find.query([reference.row, *model])?;
                        let Some(row) = rows.next()? else {
                            return Err(self
                                .fail(format!("reference {} lacks the vector of a model", reference.row))
                                .into());
                        };
                        let owner = [reference.row, item.row, *model];
                        let stored = Stored { owner, vector: row.get_ref(0)?, checksum: row.get_ref(1)? };
                        stored.read(*dim, vectors).map_err(|found| self.damage(connection, reference.row, found))?;
                    }
                }
                walked.items = items;
                told(walked).map_err(Fault::from)?;
            }
        })
    }
}
