//! Vectors of a fixed picture and text, as a server gave them when the catalog first used it.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::store::read::select_held;
use crate::store::{Fault, Store};

/// The vectors of a model's fixed picture, and of its fixed text.
pub type Probes = [Option<Vec<f32>>; 2];

impl Store {
    /// The vectors by which the catalog knows a model (its number from [`Store::model`]) that runs on a server.
    ///
    /// Missing vectors are taken from `found`, and all of it as long as the catalog has no references.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) when the catalog cannot be read or changed.
    pub fn probe(&self, model: i64, found: &Probes) -> Result<Probes> {
        // The vectors to go by, and whether they are stored already.
        let look = |connection: &Connection| -> Result<(Probes, bool), Fault> {
            let statement = "SELECT probe_image, probe_text FROM models WHERE model = ?";
            let stored = connection.query_row(statement, [model], |row| {
                let vector = |column| -> rusqlite::Result<Option<Vec<f32>>> {
                    Ok(row.get::<_, Option<Vec<u8>>>(column)?.as_deref().map(numbers))
                };
                Ok([vector(0)?, vector(1)?])
            })?;
            let mut wanted = if select_held(connection)?.is_empty() { [None, None] } else { stored.clone() };
            for (wanted, found) in wanted.iter_mut().zip(found) {
                *wanted = wanted.take().or_else(|| found.clone());
            }
            let known = wanted == stored;
            Ok((wanted, known))
        };
        // A known probe needs no turn at writing.
        if let (wanted, true) = self.read(look)? {
            return Ok(wanted);
        }
        self.write(|transaction| {
            let (wanted, _) = look(transaction)?;
            let [image, text] = wanted.each_ref().map(|vector| vector.as_deref().map(bytes));
            let statement = "UPDATE models SET probe_image = ?, probe_text = ? WHERE model = ?";
            transaction.execute(statement, params![image, text, model])?;
            Ok(wanted)
        })
    }
}

pub(super) fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
}
