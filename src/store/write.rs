//! Changes, each of them one transaction.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::error::{Error, Result};
use crate::store::checksum::checksum;
use crate::store::fields::{check_fields, check_metadata, check_name, check_text};
use crate::store::indexed::index_items;
use crate::store::read::{select_held, select_models};
use crate::store::remove::{compact_log, remove_reference};
use crate::store::values::forget_values;
use crate::store::{Added, Fault, ModelRow, NewItem, NewReference, Seen, Store, Stored, Update};

impl Store {
    /// The number of a model in this catalog, which it gets when it is first seen. Once the catalog has references, it
    /// belongs to the models that they have vectors of. The fingerprint identifies a model: the catalog keeps the name
    /// under which it was filled.
    ///
    /// # Errors
    /// [`Error::Catalog`] if it belongs to other models: they must not be mixed.
    pub fn model(&self, name: &str, fingerprint: &str, dim: usize) -> Result<i64> {
        if name.is_empty() || dim == 0 {
            return Err(Error::argument("a model needs a name and vectors of at least one number"));
        }
        let same = |known: &ModelRow| known.fingerprint == fingerprint && known.dim == dim;
        // The row of the model, or of the one whose name it gets; and whether it can be used as it is.
        let look = |connection: &Connection| -> Result<(Option<ModelRow>, bool), Fault> {
            let models = select_models(connection)?;
            let known = models.iter().find(|model| same(model)).or(models.iter().find(|model| model.name == name));
            let held = select_held(connection)?;
            if held.iter().any(same) {
                return Ok((known.cloned(), true));
            }
            if held.is_empty() {
                let ready = known.is_some_and(|known| same(known) && (known.name == name || self.access.read_only));
                return Ok((known.cloned(), ready));
            }
            let reason = match held.iter().any(|model| model.name == name) {
                true => format!(
                    "holds vectors of another version of model {name:?}; use that version, or move the catalog to the \
                     new one: {}",
                    self.command()
                ),
                false => format!(
                    "has vectors of {} and none of {name:?}: open it without naming a model, which takes that, or move it \
                     to all the models that you want: {}",
                    list(&held),
                    self.command()
                ),
            };
            Err(self.fail(reason).into())
        };
        // A known model needs no turn at writing.
        if let (Some(known), true) = self.read(look)? {
            return Ok(known.row);
        }
        self.write(|transaction| {
            match look(transaction)? {
                (Some(known), true) => return Ok(known.row),
                (Some(known), false) if same(&known) => {
                    // Another model may have that name: the two exchange theirs.
                    transaction.execute("UPDATE models SET name = '' WHERE name = ?", [name])?;
                    transaction.execute("UPDATE models SET name = ? WHERE model = ?", params![name, known.row])?;
                    transaction.execute("UPDATE models SET name = ? WHERE name = ''", [known.name])?;
                    return Ok(known.row);
                }
                // Another number, so that an engine that was opened with the old one adds nothing by it any more.
                (Some(known), false) => transaction.execute(
                    "UPDATE models SET model = (SELECT MAX(model) + 1 FROM models), fingerprint = ?, dim = ?,
                     probe_image = NULL, probe_text = NULL
                     WHERE model = ?",
                    params![fingerprint, dim as i64, known.row],
                )?,
                (None, _) => transaction.execute(
                    "INSERT INTO models (name, fingerprint, dim) VALUES (?, ?, ?)",
                    params![name, fingerprint, dim as i64],
                )?,
            };
            let number = "SELECT model FROM models WHERE name = ?";
            Ok(transaction.query_row(number, [name], |row| row.get(0))?)
        })
    }

    /// Whether every reference of the catalog has a vector of each of these models.
    ///
    /// # Errors
    /// [`Error::Catalog`] says which models there are.
    pub fn check_search(&self, models: &[i64]) -> Result<()> {
        self.read(|connection| {
            let held = select_held(connection)?;
            let holds = |model: &i64| held.iter().any(|held| held.row == *model);
            if held.is_empty() || models.iter().all(holds) {
                return Ok(());
            }
            self.check_current(&select_models(connection)?, &held, models)?;
            let names = list(&held);
            Err(self.fail(format!("belongs to others by now: open it again, with model={names}")).into())
        })
    }

    /// Whether references with vectors of exactly these models may be added: those of one catalog all have the same.
    ///
    /// # Errors
    /// [`Error::Catalog`] says which models it takes.
    pub fn check_add(&self, models: &[i64]) -> Result<()> {
        self.read(|connection| {
            let held = select_held(connection)?;
            self.check_current(&select_models(connection)?, &held, models)?;
            self.check_same(&held, models)
        })
    }

    /// Refuses models that the catalog, which has vectors of others, knows no more.
    pub(super) fn check_current(&self, known: &[ModelRow], held: &[ModelRow], models: &[i64]) -> Result<()> {
        let is_known = |model: &i64| known.iter().any(|known| known.row == *model);
        if held.is_empty() || models.iter().all(is_known) {
            return Ok(());
        }
        let names = list(held);
        Err(self.fail(format!(
            "was moved to other models while it was open, and has vectors of {names} now: open it again"
        )))
    }

    /// Returns the command that moves the catalog to another model.
    fn command(&self) -> String {
        format!("plushie-search reencode {} --model NEW", self.directory.display())
    }

    pub(super) fn check_same(&self, held: &[ModelRow], models: &[i64]) -> Result<(), Fault> {
        if held.is_empty() || (held.len() == models.len() && held.iter().all(|model| models.contains(&model.row))) {
            return Ok(());
        }
        let names = list(held);
        let advice = format!("open it with model={names} to add to it");
        Err(self
            .fail(format!("has a vector of {names} for each reference, and needs them for new ones: {advice}"))
            .into())
    }

    /// Adds an item, or fields and references to the item of that id.
    ///
    /// # Errors
    /// [`Error::Argument`] for an id, metadata or vector that cannot be stored, [`Error::Catalog`] for a reference that
    /// has not a vector of each of the catalog's models. Then nothing is changed.
    pub fn add(&self, item: &NewItem<'_>) -> Result<Added> {
        Ok(self.add_all(std::slice::from_ref(item))?.swap_remove(0))
    }

    /// Adds many items in one transaction.
    ///
    /// # Errors
    /// Like [`Store::add`]; then none of the items is added.
    pub fn add_all(&self, items: &[NewItem<'_>]) -> Result<Vec<Added>> {
        Ok(self.add_seen(items, &[])?.items)
    }

    /// As [`Store::add_all`], and in the same transaction brings the names of references up to date with the files that
    /// were `seen`: first those of content that goes by another name, at last those whose file has other content.
    ///
    /// # Errors
    /// Like [`Store::add`]; then nothing is changed.
    pub fn add_seen(&self, items: &[NewItem<'_>], seen: &[Seen<'_>]) -> Result<Stored> {
        seen.iter().try_for_each(|seen| check_name(seen.id, seen.name))?;
        let metadata = items.iter().map(check_item).collect::<Result<Vec<_>>>()?;
        self.write(|transaction| {
            let known = select_models(transaction)?;
            let mut held = select_held(transaction)?;
            for (item, reference) in items.iter().flat_map(|item| item.references.iter().map(move |part| (item, part)))
            {
                let given: Vec<i64> = reference.vectors.iter().map(|(model, _)| *model).collect();
                self.check_current(&known, &held, &given)?;
                let models = check_vectors(item, reference, &known)?;
                self.check_same(&held, &models)?;
                if held.is_empty() {
                    held = known.iter().filter(|model| models.contains(&model.row)).cloned().collect();
                }
            }
            let now = now();
            let add = |(item, metadata): (&NewItem<'_>, &Option<String>)| {
                add_item(transaction, item, metadata.as_deref(), now).map_err(Fault::from)
            };
            let renamed = rename(transaction, seen)?;
            let added: Vec<Added> = items.iter().zip(&metadata).map(add).collect::<Result<_, Fault>>()?;
            let worded = items.iter().zip(&metadata).zip(&added);
            let worded = worded.filter(|((item, metadata), added)| {
                let fields = Fields { label: item.label, text: item.text, metadata: metadata.as_deref() };
                added.created || item.exactly.is_some() || fields.any()
            });
            let changed = worded.map(|(_, added)| added.row).collect();
            index_items(transaction, &changed)?;
            let lost = lost(transaction, seen)?;
            let replaced = replace(transaction, seen)?;
            compact_log(transaction)?;
            Ok(Stored { items: added, renamed, replaced, lost })
        })
    }

    /// Changes the label, text or metadata of an item.
    ///
    /// # Errors
    /// [`Error::UnknownItem`]; [`Error::Argument`] for what cannot be stored.
    pub fn update(&self, id: &str, update: &Update<'_>) -> Result<()> {
        let metadata = match update.metadata {
            Some(Some(metadata)) => Some(check_metadata(id, metadata)?),
            Some(None) => Some("{}".to_owned()),
            None => None,
        };
        check_text(id, "label", update.label.flatten())?;
        check_text(id, "text", update.text.flatten())?;
        self.write(|transaction| {
            let item: Option<i64> = transaction
                .prepare_cached("SELECT item FROM items WHERE id = ?")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let item = item.ok_or_else(|| Error::UnknownItem(id.to_owned()))?;
            forget_values(transaction, item)?;
            let mut change = transaction.prepare_cached(
                "UPDATE items SET label = IIF(?2, ?3, label), text = IIF(?4, ?5, text),
                 metadata = IFNULL(?6, metadata) WHERE item = ?1",
            )?;
            let label = (update.label.is_some(), update.label.flatten());
            let text = (update.text.is_some(), update.text.flatten());
            change.execute(params![item, label.0, label.1, text.0, text.1, metadata])?;
            let changed = BTreeSet::from([item]);
            Ok(index_items(transaction, &changed)?)
        })
    }
}

/// The fields of an item as they are stored.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub label: Option<&'a str>,
    pub text: Option<&'a str>,
    /// The text of a JSON object.
    pub metadata: Option<&'a str>,
}

impl Fields<'_> {
    /// Whether one of them is given.
    pub(super) fn any(&self) -> bool {
        self.label.is_some() || self.text.is_some() || self.metadata.is_some()
    }
}

fn add_item(
    transaction: &Transaction<'_>,
    item: &NewItem<'_>,
    metadata: Option<&str>,
    now: i64,
) -> rusqlite::Result<Added> {
    let fields = Fields { label: item.label, text: item.text, metadata };
    let (row, created) = set_item(transaction, item.id, fields, now)?;
    let add = |reference| add_reference(transaction, row, reference, now);
    let new = item.references.iter().map(add).collect::<rusqlite::Result<_>>()?;
    let removed = match &item.exactly {
        Some(digests) => {
            forget_values(transaction, row)?;
            transaction
                .prepare_cached("UPDATE items SET label = ?2, text = ?3, metadata = ?4 WHERE item = ?1")?
                .execute(params![row, item.label, item.text, metadata.unwrap_or("{}")])?;
            keep(transaction, row, digests)?
        }
        None => 0,
    };
    Ok(Added { row, created, new, removed })
}

/// Makes an item, or sets those of its fields that are given; returns its row and whether it is new.
pub(super) fn set_item(
    connection: &Connection,
    id: &str,
    fields: Fields<'_>,
    now: i64,
) -> rusqlite::Result<(i64, bool)> {
    let is_given = fields.any();
    let Fields { label, text, metadata } = fields;
    let known: Option<i64> = connection
        .prepare_cached("SELECT item FROM items WHERE id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(row) = known else {
        let row = connection
            .prepare_cached("INSERT INTO items (id, label, text, metadata, added) VALUES (?, ?, ?, ?, ?)")?
            .insert(params![id, label, text, metadata.unwrap_or("{}"), now])?;
        return Ok((row, true));
    };
    if is_given {
        forget_values(connection, row)?;
        connection
            .prepare_cached(
                "UPDATE items SET label = IFNULL(?2, label), text = IFNULL(?3, text), metadata = IFNULL(?4, metadata)
                 WHERE item = ?1",
            )?
            .execute(params![row, label, text, metadata])?;
    }
    Ok((row, false))
}

/// Removes the references of an item whose digest is not among these; returns how many.
fn keep(transaction: &Transaction<'_>, item: i64, digests: &[[u8; 32]]) -> rusqlite::Result<usize> {
    let kept: HashSet<&[u8; 32]> = digests.iter().collect();
    let all: Vec<(i64, [u8; 32])> = transaction
        .prepare_cached("SELECT reference, digest FROM refs WHERE item = ?")?
        .query_map([item], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let other = all.iter().filter(|(_, digest)| !kept.contains(digest));
    other
        .map(|(reference, _)| remove_reference(transaction, item, *reference))
        .try_fold(0, |n, done| done.map(|()| n + 1))
}

/// Adds a reference unless its item has it; returns whether it is new.
fn add_reference(connection: &Connection, item: i64, reference: &NewReference<'_>, now: i64) -> rusqlite::Result<bool> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT reference FROM refs WHERE item = ? AND digest = ? AND view = ?")?
        .query_row(params![item, reference.digest, reference.view], |row| row.get(0))
        .optional()?;
    match known {
        Some(row) => insert_vectors(connection, row, item, &reference.vectors)?,
        None => drop(insert_reference(connection, item, reference, now)?),
    }
    Ok(known.is_none())
}

/// Adds a reference that its item has not, and returns its row.
pub(super) fn insert_reference(
    connection: &Connection,
    item: i64,
    reference: &NewReference<'_>,
    now: i64,
) -> rusqlite::Result<i64> {
    let NewReference { name, digest, view, vectors } = reference;
    let row = connection
        .prepare_cached(
            "INSERT INTO refs (item, name, digest, view, added, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, row_checksum(?1, ?2, ?3, ?4, ?5))",
        )?
        .insert(params![item, name, digest, view, now])?;
    insert_vectors(connection, row, item, vectors)?;
    Ok(row)
}

/// Adds those vectors that the reference has not.
pub(super) fn insert_vectors(
    connection: &Connection,
    row: i64,
    item: i64,
    vectors: &[(i64, &[f32])],
) -> rusqlite::Result<()> {
    for &(model, vector) in vectors {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        connection
            .prepare_cached(
                "INSERT INTO vectors (reference, item, model, vector, checksum) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (reference, model) WHERE vector IS NOT NULL DO NOTHING",
            )?
            .execute(params![row, item, model, bytes, checksum(row, item, model, &bytes)])?;
    }
    Ok(())
}

/// Gives the references of what is `seen` the names that it goes by.
fn rename(connection: &Connection, seen: &[Seen<'_>]) -> rusqlite::Result<usize> {
    let mut rename = connection.prepare_cached(
        "UPDATE refs SET name = ?3, checksum = row_checksum(item, ?3, digest, view, added)
         WHERE item = (SELECT item FROM items WHERE id = ?1) AND digest = ?2",
    )?;
    let mut renamed = 0;
    for Seen { id, digest, name, .. } in seen.iter().filter(|seen| seen.renamed) {
        renamed += rename.execute(params![id, digest, name])?;
    }
    Ok(renamed)
}

/// The places of what is `seen` that its item has not.
fn lost(connection: &Connection, seen: &[Seen<'_>]) -> rusqlite::Result<Vec<usize>> {
    let mut find =
        connection.prepare_cached("SELECT 1 FROM refs JOIN items USING (item) WHERE items.id = ? AND digest = ?")?;
    let mut lost = Vec::new();
    for (place, Seen { id, digest, .. }) in seen.iter().enumerate() {
        if !find.exists(params![id, digest])? {
            lost.push(place);
        }
    }
    Ok(lost)
}

/// Removes references by the name of a file that is `seen` to have other content.
fn replace(connection: &Transaction<'_>, seen: &[Seen<'_>]) -> rusqlite::Result<usize> {
    let mut files: HashMap<&str, HashMap<&str, &[u8; 32]>> = HashMap::new();
    for Seen { id, digest, name, .. } in seen {
        if let Some(name) = name {
            files.entry(id).or_default().insert(name, digest);
        }
    }
    let mut stale: Vec<(i64, i64)> = Vec::new();
    let mut find = connection.prepare_cached(
        "SELECT item, reference, name, digest FROM refs WHERE item = (SELECT item FROM items WHERE id = ?)",
    )?;
    for (id, files) in &files {
        let mut rows = find.query([id])?;
        while let Some(row) = rows.next()? {
            let other = files.get(row.get_ref(2)?.as_str()?).is_some_and(|digest| {
                row.get_ref(3).is_ok_and(|held| held.as_blob().is_ok_and(|held| held != *digest))
            });
            if other {
                stale.push((row.get(0)?, row.get(1)?));
            }
        }
    }
    for (item, reference) in &stale {
        remove_reference(connection, *item, *reference)?;
    }
    Ok(stale.len())
}

pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}

/// Checks all but the vectors, and returns the metadata as it is stored.
fn check_item(item: &NewItem<'_>) -> Result<Option<String>> {
    item.references.iter().try_for_each(|reference| check_name(item.id, Some(reference.name)))?;
    check_fields(item.id, item.label, item.text, item.metadata)
}

/// The models that a reference has vectors of.
fn check_vectors(item: &NewItem<'_>, reference: &NewReference<'_>, known: &[ModelRow]) -> Result<Vec<i64>> {
    let fail =
        |reason: String| Err(Error::argument(format!("item {:?}, reference {:?}: {reason}", item.id, reference.name)));
    let mut models = Vec::with_capacity(reference.vectors.len());
    for (model, vector) in &reference.vectors {
        match known.iter().find(|known| known.row == *model) {
            None => {
                return fail(format!(
                    "model {model} is not known to this catalog, or no longer: open the catalog again"
                ));
            }
            Some(known) if known.dim != vector.len() => {
                return fail(format!("a vector of {} numbers for a model of {}", vector.len(), known.dim));
            }
            Some(_) if !vector.iter().all(|value| value.is_finite()) => {
                return fail("its vector has NaN or infinite values".to_owned());
            }
            Some(_) if models.contains(model) => return fail(format!("two vectors of model {model}")),
            Some(_) => models.push(*model),
        }
    }
    if models.is_empty() { fail("it has no vector".to_owned()) } else { Ok(models) }
}

/// The names of models as they are written in Python.
fn list(models: &[ModelRow]) -> String {
    match models {
        [model] => format!("{:?}", model.name),
        _ => format!("{:?}", models.iter().map(|model| &model.name).collect::<Vec<_>>()),
    }
}
