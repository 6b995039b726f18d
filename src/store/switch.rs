//! Moves a catalog to other models: all of its vectors are replaced in one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use crate::cancel;
use crate::error::Result;
use crate::store::checksum::checksum;
use crate::store::log::Stored;
use crate::store::probe::{Probes, bytes};
use crate::store::read::select_held;
use crate::store::settings::SET_SETTING;
use crate::store::staged::{Origin, Staged};
use crate::store::{ModelRow, Reference, Store};

/// References between two looks at Ctrl-C.
const LOOK: usize = 1024;

/// A model that a catalog is moved to.
#[derive(Debug, Clone)]
pub struct NewModel {
    /// Its name in the catalog.
    pub name: String,
    /// The hash of everything that changes its vectors.
    pub fingerprint: String,
    /// The dimension of its vectors.
    pub dim: usize,
    /// Its vectors of a fixed picture and text, if it runs on a server.
    pub probes: Probes,
}

impl NewModel {
    fn is(&self, held: &ModelRow) -> bool {
        self.fingerprint == held.fingerprint && self.dim == held.dim
    }
}

/// The outcome of [`Store::switch`]: references by the source of their vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// All references.
    pub references: usize,
    /// Those of the files that they were added from.
    pub files: usize,
    /// Those of originals in `media/`.
    pub media: usize,
    /// Those of thumbnails.
    pub thumbnails: usize,
}

impl Store {
    /// Waits until nothing else writes.
    ///
    /// # Errors
    /// [`Error::Busy`](crate::error::Error::Busy) if that takes too long, and those of every change.
    pub fn check_turn(&self) -> Result<()> {
        self.write(|_| Ok(()))
    }

    /// Returns the next references after a row, at most `limit`, each with the id of its item. Begin with 0.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) if the catalog cannot be read.
    pub fn references_after(&self, after: i64, limit: usize) -> Result<Vec<(String, Reference)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, reference, name, digest, view, refs.added FROM refs JOIN items USING (item)
                 WHERE reference > ? ORDER BY reference LIMIT ?",
            )?;
            let rows = statement.query_map(params![after, limit as i64], |row| {
                let reference = Reference {
                    row: row.get(1)?,
                    name: row.get(2)?,
                    digest: row.get(3)?,
                    view: row.get(4)?,
                    added: row.get(5)?,
                };
                Ok((row.get(0)?, reference))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Returns the vector of a model that each reference has; `None` for one that was removed.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::error::Error::Damaged) for a vector that is not as it was written.
    pub fn vectors_of(&self, references: &[i64], model: i64, dim: usize) -> Result<Vec<Option<Vec<f32>>>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT item, vector, checksum FROM vectors WHERE reference = ? AND model = ? AND vector IS NOT NULL",
            )?;
            let mut find = |reference: &i64| {
                let mut rows = statement.query([*reference, model])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let mut vector = Vec::with_capacity(dim);
                let owner = [*reference, row.get(0)?, model];
                Stored { owner, vector: row.get_ref(1)?, checksum: row.get_ref(2)? }
                    .read(dim, &mut vector)
                    .map_err(|found| self.damage(connection, *reference, found))?;
                Ok(Some(vector))
            };
            references.iter().map(&mut find).collect()
        })
    }

    /// Puts `models` and their staged vectors in the place of those that the catalog has, and stores a setting, all in one
    /// transaction. `None` if references lack vectors, such as new ones: then nothing is changed.
    ///
    /// Models that stay keep their numbers, so that engines that were opened with them go on, unless they come in another
    /// order than before. The others get numbers that none has had: an engine that was opened before finds its own no
    /// more.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::error::Error::Interrupted) or
    /// [`Error::Catalog`](crate::error::Error::Catalog): then nothing is changed.
    pub fn switch(&self, models: &[NewModel], setting: (&str, &str), staged: &mut Staged) -> Result<Option<Moved>> {
        let moved = self.write(|transaction| {
            let references: Vec<(i64, i64, [u8; 32])> = transaction
                .prepare("SELECT reference, item, digest FROM refs ORDER BY reference")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<_>>()?;
            if !references.iter().all(|(reference, _, digest)| staged.has(*reference, digest)) {
                return Ok(None);
            }
            let held = select_held(transaction)?;
            let numbered = numbered(transaction, models, &held)?;
            // Those of a model that the catalog has already tell whether a server still runs it.
            let mut probes = Vec::with_capacity(models.len());
            for model in models {
                let same = held.iter().find(|held| model.is(held));
                let found = model.probes.each_ref().map(|vector| vector.as_deref().map(bytes));
                let known: Option<[Option<Vec<u8>>; 2]> = transaction
                    .query_row(
                        "SELECT probe_image, probe_text FROM models WHERE model = ?",
                        [same.map(|same| same.row)],
                        |row| Ok([row.get(0)?, row.get(1)?]),
                    )
                    .optional()?;
                let [image, text] = known.unwrap_or_default();
                let [found_image, found_text] = found;
                probes.push([image.or(found_image), text.or(found_text)]);
            }
            transaction.execute("DELETE FROM vectors WHERE vector IS NOT NULL", [])?;
            transaction.execute("DELETE FROM models", [])?;
            for (((number, dim), model), [image, text]) in numbered.iter().zip(models).zip(probes) {
                transaction.execute(
                    "INSERT INTO models (model, name, fingerprint, dim, probe_image, probe_text)
                     VALUES (?, ?, ?, ?, ?, ?)",
                    params![number, model.name, model.fingerprint, *dim as i64, image, text],
                )?;
            }
            let mut moved = Moved { references: references.len(), ..Moved::default() };
            let mut insert = transaction
                .prepare("INSERT INTO vectors (reference, item, model, vector, checksum) VALUES (?, ?, ?, ?, ?)")?;
            for (count, (reference, item, digest)) in references.iter().enumerate() {
                if count % LOOK == 0 {
                    cancel::poll()?;
                }
                let (origin, vectors) = staged.get(*reference, digest)?;
                let mut rest = vectors.as_slice();
                for (number, dim) in &numbered {
                    let (vector, others) = rest.split_at(4 * dim);
                    insert.execute(params![
                        reference,
                        item,
                        number,
                        vector,
                        checksum(*reference, *item, *number, vector)
                    ])?;
                    rest = others;
                }
                match origin {
                    Origin::File => moved.files += 1,
                    Origin::Media => moved.media += 1,
                    Origin::Thumbnail => moved.thumbnails += 1,
                    Origin::Stored => {}
                }
            }
            set(transaction, setting)?;
            Ok(Some(moved))
        })?;
        if moved.is_some() {
            self.shrink();
        }
        Ok(moved)
    }

    /// Removes the vectors of all models but `models`, and stores a setting, in one transaction. Returns whether it has: it
    /// changes nothing if the catalog lacks one of them, or has them in another order.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) if the catalog cannot be changed.
    pub fn leave_out(&self, models: &[NewModel], setting: (&str, &str)) -> Result<bool> {
        let done = self.write(|transaction| {
            let held = select_held(transaction)?;
            let numbered = numbered(transaction, models, &held)?;
            if !numbered.iter().all(|(number, _)| held.iter().any(|held| held.row == *number)) {
                return Ok(false);
            }
            let kept: Vec<String> = numbered.iter().map(|(number, _)| number.to_string()).collect();
            let kept = kept.join(", ");
            transaction
                .execute(&format!("DELETE FROM vectors WHERE vector IS NOT NULL AND model NOT IN ({kept})"), [])?;
            transaction.execute(&format!("DELETE FROM models WHERE model NOT IN ({kept})"), [])?;
            // Two of them may exchange their names.
            transaction.execute("UPDATE models SET name = '/' || model", [])?;
            for ((number, _), model) in numbered.iter().zip(models) {
                transaction.execute("UPDATE models SET name = ? WHERE model = ?", params![model.name, number])?;
            }
            set(transaction, setting)?;
            Ok(true)
        })?;
        if done {
            self.shrink();
        }
        Ok(done)
    }
}

/// The number and the dimension of each model: its own as long as they grow, so that readers find the models in this
/// order.
fn numbered(connection: &Connection, models: &[NewModel], held: &[ModelRow]) -> rusqlite::Result<Vec<(i64, usize)>> {
    let mut next: i64 = connection.query_row("SELECT IFNULL(MAX(model), 0) + 1 FROM models", [], |row| row.get(0))?;
    let mut last = 0;
    let number = |model: &NewModel| {
        let own = held.iter().find(|held| model.is(held)).map(|held| held.row).filter(|own| *own > last);
        last = own.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        (last, model.dim)
    };
    Ok(models.iter().map(number).collect())
}

fn set(connection: &Connection, (key, value): (&str, &str)) -> rusqlite::Result<()> {
    connection.execute(SET_SETTING, [key, value]).map(drop)
}
