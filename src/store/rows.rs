//! Rows of vectors that were computed elsewhere, each a reference of an item.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::error::Result;
use crate::store::indexed::index_items;
use crate::store::read::{select_held, select_models};
use crate::store::remove::{compact_log, remove_reference};
use crate::store::write::{Fields, insert_reference, now, set_item};
use crate::store::{Fault, NewReference, Store};

/// The name of references that were given without one.
const UNNAMED: &str = "vector";

/// A reference that comes as vectors.
#[derive(Debug, Clone)]
pub struct NewRow<'a> {
    /// The id of its item.
    pub id: &'a str,
    /// The name by which the item has it already, if it has; `None` goes by the digest alone.
    pub name: Option<&'a str>,
    /// Whether it goes by the digest alone although it has a name, which others of its item may have.
    pub by_digest: bool,
    /// SHA-256 of the picture, or of the vectors if there is none.
    pub digest: [u8; 32],
    /// Which view of the content: 0 for a picture.
    pub view: i64,
    /// Whether the digest is that of a picture.
    pub pictured: bool,
    /// A unit vector of each model.
    pub vectors: Vec<&'a [f32]>,
    /// The item's label; `None` keeps what there is.
    pub label: Option<&'a str>,
    /// The item's text; `None` keeps what there is.
    pub text: Option<&'a str>,
    /// The item's metadata, a JSON object as [`check_fields`](crate::store::check_fields) returns it; `None` keeps what
    /// there is.
    pub metadata: Option<&'a str>,
}

/// The outcome of [`Store::add_rows`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddedRows {
    /// Items that are new.
    pub items: usize,
    /// References that are new, those with a new vector included.
    pub references: usize,
    /// References that their item had with the same vectors.
    pub duplicates: usize,
    /// References that were removed, for they came again with other vectors.
    pub replaced: usize,
}

impl Store {
    /// Adds rows in one transaction, with vectors of these `models` in their order. A row whose reference its item has
    /// already, by its name or else by its digest, adds nothing if the vectors are the same, and takes its place if not.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) when the catalog's references have vectors of other models; then
    /// nothing is changed.
    pub fn add_rows(&self, models: &[i64], rows: &[NewRow<'_>]) -> Result<AddedRows> {
        self.write(|transaction| {
            let held = select_held(transaction)?;
            self.check_current(&select_models(transaction)?, &held, models)?;
            self.check_same(&held, models)?;
            let mut names = Names::default();
            let mut added = AddedRows::default();
            let mut worded = BTreeSet::new();
            let now = now();
            for row in rows {
                let fields = Fields { label: row.label, text: row.text, metadata: row.metadata };
                let (item, created) = set_item(transaction, row.id, fields, now)?;
                added.items += usize::from(created);
                if created || fields.any() {
                    worded.insert(item);
                }
                add_row(transaction, models, row, (item, created, now), &mut names, &mut added)?;
            }
            index_items(transaction, &worded)?;
            compact_log(transaction)?;
            Ok::<_, Fault>(added)
        })
    }
}

fn add_row(
    transaction: &Transaction<'_>,
    models: &[i64],
    row: &NewRow<'_>,
    (item, created, now): (i64, bool, i64),
    names: &mut Names,
    added: &mut AddedRows,
) -> rusqlite::Result<()> {
    let alike: Option<(i64, String)> = transaction
        .prepare_cached("SELECT reference, name FROM refs WHERE item = ? AND digest = ? AND view = ?")?
        .query_row(params![item, row.digest, row.view], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let mut named = row.name.filter(|_| !row.by_digest).map(|_| names.of(transaction, item, created)).transpose()?;
    let by_name = named.as_ref().zip(row.name).and_then(|(named, name)| named.get(name).copied());
    if let Some(held) = by_name.or(alike.as_ref().map(|(reference, _)| *reference)) {
        if has_vectors(transaction, held, models, &row.vectors)? {
            match (&alike, row.name) {
                (None, _) if row.pictured => {
                    let change = "UPDATE refs SET digest = ?1, checksum = row_checksum(item, name, ?1, view, added) WHERE reference = ?2";
                    transaction.prepare_cached(change)?.execute(params![row.digest, held])?;
                }
                (Some((_, name)), Some(new)) if by_name.is_none() && name == UNNAMED => {
                    let change = "UPDATE refs SET name = ?1, checksum = row_checksum(item, ?1, digest, view, added) WHERE reference = ?2";
                    transaction.prepare_cached(change)?.execute(params![new, held])?;
                }
                _ => {}
            }
            added.duplicates += 1;
            return Ok(());
        }
        remove_reference(transaction, item, held)?;
        added.replaced += 1;
        if alike.is_some_and(|(reference, _)| reference != held) {
            // The item has this content by another name.
            added.duplicates += 1;
            return Ok(());
        }
    }
    let reference = NewReference {
        name: row.name.unwrap_or(UNNAMED),
        digest: row.digest,
        view: row.view,
        vectors: models.iter().copied().zip(row.vectors.iter().copied()).collect(),
    };
    let new = insert_reference(transaction, item, &reference, now)?;
    if let Some((named, name)) = named.as_mut().zip(row.name) {
        named.insert(name.to_owned(), new);
    }
    added.references += 1;
    Ok(())
}

/// The references of items by their names, of those items that have been asked for.
#[derive(Default)]
struct Names(HashMap<i64, HashMap<String, i64>>);

impl Names {
    fn of(&mut self, connection: &Connection, item: i64, created: bool) -> rusqlite::Result<&mut HashMap<String, i64>> {
        let names = match self.0.remove(&item) {
            Some(names) => names,
            None if created => HashMap::new(),
            None => connection
                .prepare_cached("SELECT name, reference FROM refs WHERE item = ? AND view = 0")?
                .query_map([item], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?,
        };
        Ok(self.0.entry(item).or_insert(names))
    }
}

/// Whether a reference has exactly these vectors of these models.
fn has_vectors(connection: &Connection, reference: i64, models: &[i64], vectors: &[&[f32]]) -> rusqlite::Result<bool> {
    let mut find = connection
        .prepare_cached("SELECT vector FROM vectors WHERE reference = ? AND model = ? AND vector IS NOT NULL")?;
    for (model, vector) in models.iter().zip(vectors) {
        let same = find.query_row([reference, *model], |row| {
            let stored = row.get_ref(0)?.as_blob()?;
            Ok(stored.len() == 4 * vector.len()
                && stored.as_chunks().0.iter().zip(*vector).all(|(bytes, value)| *bytes == value.to_le_bytes()))
        });
        if same.optional()? != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}
