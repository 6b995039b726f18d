//! Adding vectors that were computed elsewhere.

use std::borrow::Cow;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cancel;
use crate::engine::{Added, Engine};
use crate::error::{Error, Result};
use crate::store::{NewRow, check_fields, check_name};
use crate::vectors::Vectors;
use crate::words;

/// Rows that are stored in one transaction.
const ROWS: usize = 10_000;
/// The pause between two transactions of one call: longer than others wait between two tries.
const PAUSE: Duration = Duration::from_millis(6);

/// Vectors, and what is known of each row. A column that is not given is empty; a given one has a cell for each row.
#[derive(Debug, Default)]
pub struct Rows {
    /// The item of each row; several rows may have the same.
    pub ids: Vec<String>,
    /// Rows of each model, by its name, which may be left out where the engine has one.
    pub vectors: Vec<(Option<String>, Vectors)>,
    /// The name of each reference, by which it is found again.
    pub references: Vec<Option<String>>,
    /// Whether references are found again by their digests alone, as several of one item have the same name.
    pub by_digest: bool,
    /// SHA-256 of each picture.
    pub digests: Vec<Option<[u8; 32]>>,
    /// Which view of its content each reference is, 0 for a picture.
    pub views: Vec<i64>,
    /// Labels of the items; `None` keeps what is stored.
    pub labels: Vec<Option<String>>,
    /// Metadata of the items, JSON objects; `None` keeps what is stored.
    pub metadata: Vec<Option<Value>>,
    /// Texts of the items; `None` keeps what is stored.
    pub texts: Vec<Option<String>>,
}

/// The checked fields of a row, in the form in which they are stored.
struct Checked<'a> {
    id: Cow<'a, str>,
    label: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
    metadata: Option<String>,
}

impl Engine {
    /// Adds vectors, row `i` as a reference of item `ids[i]`, with one of each of this engine's models. Every 10,000 rows
    /// are one transaction, between which others may write. A row whose reference its item has already, by its name or
    /// else by its digest, adds nothing if the vectors are the same, so that adding all again goes on, and takes its place
    /// if not.
    ///
    /// # Errors
    /// [`Error::Argument`] when a model has no vectors, or not as many as there are ids, or of another dimension, a column
    /// has another length, or a cell cannot be stored: then nothing is stored; [`Error::Catalog`] when the catalog has
    /// other models besides; [`Error::Interrupted`] between two transactions.
    pub fn add_vectors(&self, rows: &Rows) -> Result<Added> {
        let Rows { ids, vectors, .. } = rows;
        if ids.is_empty() && vectors.iter().all(|(_, vectors)| vectors.is_empty()) {
            return Ok(Added::default());
        }
        let vectors = self.by_model(ids.len(), vectors)?;
        rows.check_lengths()?;
        let checked = (0..ids.len()).map(|row| self.checked(rows, row)).collect::<Result<Vec<_>>>()?;
        self.store.check_add(&self.models)?;
        // So that the digest does not depend on the order in which the models were opened.
        let mut order: Vec<usize> = (0..self.models.len()).collect();
        order.sort_unstable_by_key(|space| self.models[*space]);
        let new_row = |row: usize| {
            let checked = &checked[row];
            let given = cell(&rows.digests, row).copied();
            NewRow {
                id: &checked.id,
                name: cell(&rows.references, row).map(String::as_str),
                by_digest: rows.by_digest,
                digest: given.unwrap_or_else(|| digest(&vectors, &order, row)),
                view: rows.views.get(row).copied().unwrap_or(0),
                pictured: given.is_some(),
                vectors: vectors.iter().map(|vectors| vectors.row(row)).collect(),
                label: checked.label.as_deref(),
                text: checked.text.as_deref(),
                metadata: checked.metadata.as_deref(),
            }
        };
        let mut all = Added::default();
        for start in (0..ids.len()).step_by(ROWS) {
            if start > 0 {
                // Others who want to write get their turn.
                cancel::poll()?;
                thread::sleep(PAUSE);
            }
            let step: Vec<NewRow<'_>> = (start..ids.len().min(start + ROWS)).map(new_row).collect();
            let added = self.store.add_rows(&self.models, &step).map_err(|error| match start {
                0 => error,
                _ => error.after(format!("{start} of {} rows were stored", ids.len())),
            })?;
            all.items += added.items;
            all.references += added.references;
            all.duplicates += added.duplicates;
            all.replaced += added.replaced;
        }
        Ok(all)
    }

    fn checked<'a>(&self, rows: &'a Rows, row: usize) -> Result<Checked<'a>> {
        let id = self.spelling(&rows.ids[row])?;
        let label = cell(&rows.labels, row).map(|label| words::composed(label));
        let text = cell(&rows.texts, row).map(|text| words::composed(text));
        let metadata = cell(&rows.metadata, row).map(words::composed_value);
        let metadata = check_fields(&id, label.as_deref(), text.as_deref(), metadata.as_ref())?;
        check_name(&id, cell(&rows.references, row).map(String::as_str))?;
        Ok(Checked { id, label, text, metadata })
    }

    /// The vectors in the order of the models.
    fn by_model<'a>(&self, ids: usize, vectors: &'a [(Option<String>, Vectors)]) -> Result<Vec<&'a Vectors>> {
        let mut places: Vec<Option<&Vectors>> = vec![None; self.models.len()];
        for (name, vectors) in vectors {
            let space = match name {
                Some(name) => self.space(name)?,
                None if self.models.len() == 1 => 0,
                None => {
                    return Err(Error::argument(format!(
                        "a reference has a vector of each model: give rows for each of {:?}, by their names",
                        self.names()
                    )));
                }
            };
            let (name, dim) = (self.names()[space], self.encoders[space].about().dim);
            if vectors.len() != ids {
                return Err(Error::argument(format!("{ids} ids for {} vectors: give one for each", vectors.len())));
            }
            if vectors.dim() != dim {
                let given = vectors.dim();
                return Err(Error::argument(format!("vectors of model {name:?} have {dim} numbers, got {given}")));
            }
            if places[space].replace(vectors).is_some() {
                return Err(Error::argument(format!("vectors of model {name:?} were given twice")));
            }
        }
        let lacking = |name| {
            Error::argument(format!("every reference needs a vector of each model; those of {name:?} are missing"))
        };
        places.into_iter().zip(self.names()).map(|(place, name)| place.ok_or_else(|| lacking(name))).collect()
    }
}

impl Rows {
    fn check_lengths(&self) -> Result<()> {
        let columns = [
            ("references", self.references.len()),
            ("digests", self.digests.len()),
            ("views", self.views.len()),
            ("labels", self.labels.len()),
            ("metadata", self.metadata.len()),
            ("texts", self.texts.len()),
        ];
        match columns.into_iter().find(|(_, count)| *count != 0 && *count != self.ids.len()) {
            Some((name, count)) => {
                Err(Error::argument(format!("{} ids and {count} {name}: give one for each row", self.ids.len())))
            }
            None => Ok(()),
        }
    }
}

/// A cell of a column, if the column is given.
fn cell<T>(column: &[Option<T>], row: usize) -> Option<&T> {
    column.get(row).and_then(Option::as_ref)
}

/// SHA-256 of the vectors of a row.
fn digest(vectors: &[&Vectors], order: &[usize], row: usize) -> [u8; 32] {
    let mut digest = Sha256::new();
    for space in order {
        let bytes: Vec<u8> = vectors[*space].row(row).iter().flat_map(|value| value.to_le_bytes()).collect();
        digest.update(bytes);
    }
    digest.finalize().into()
}
