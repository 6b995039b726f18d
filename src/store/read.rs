//! Questions to the catalog: each sees one committed state.

use std::fs;
use std::path::Path;

use rusqlite::types::{FromSql, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::selection::Rows;
use crate::store::filter_sql::{self, Parameter};
use crate::store::patience::Patience;
use crate::store::{Changes, Entry, Fault, Item, ModelRow, Reference, Stats, Store, Version, fork, open};

impl Store {
    /// The models that the catalog knows, whether or not it holds vectors of them.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read; so do all methods that read.
    pub fn models(&self) -> Result<Vec<ModelRow>> {
        self.read(|connection| Ok(select_models(connection)?))
    }

    /// The models that every reference of the catalog has a vector of; none while it has no references.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn held(&self) -> Result<Vec<ModelRow>> {
        self.read(|connection| Ok(select_held(connection)?))
    }

    /// The item of an id.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn get(&self, id: &str) -> Result<Item> {
        self.read(|connection| {
            let mut items = select_items(connection, "WHERE id = ?", params![id])?;
            items.pop().ok_or_else(|| Error::UnknownItem(id.to_owned()).into())
        })
    }

    /// Whether there is an item of that id.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn contains(&self, id: &str) -> Result<bool> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM items WHERE id = ?)")?;
            Ok(statement.query_row([id], |row| row.get(0))?)
        })
    }

    /// For each digest, whether the item holds that content with a vector of every one of `models`: such a reference
    /// needs no encoding, for adding it would change nothing.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn holds(&self, id: &str, digests: &[[u8; 32]], models: &[i64]) -> Result<Vec<bool>> {
        self.read(|connection| {
            let mut find = connection.prepare_cached(
                "SELECT reference FROM refs JOIN items USING (item) WHERE items.id = ? AND digest = ?",
            )?;
            let mut has = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM vectors WHERE reference = ? AND model = ? AND vector IS NOT NULL)",
            )?;
            let mut holds = |digest: &[u8; 32]| -> rusqlite::Result<bool> {
                let Some(reference) = find.query_row(params![id, digest], |row| row.get::<_, i64>(0)).optional()?
                else {
                    return Ok(false);
                };
                for model in models {
                    if !has.query_row([reference, *model], |row| row.get(0))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            Ok(digests.iter().map(&mut holds).collect::<rusqlite::Result<_>>()?)
        })
    }

    /// For each digest, the name of the item's reference with that content.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn names(&self, id: &str, digests: &[[u8; 32]]) -> Result<Vec<Option<String>>> {
        self.read(|connection| {
            let mut find = connection
                .prepare_cached("SELECT name FROM refs JOIN items USING (item) WHERE items.id = ? AND digest = ?")?;
            let mut name = |digest| find.query_row(params![id, digest], |row| row.get(0)).optional();
            Ok(digests.iter().map(&mut name).collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The items that fulfil `filter`, in the order in which they were added: `limit` of them after the first `offset`.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn items(&self, filter: Option<&Filter>, offset: usize, limit: Option<usize>) -> Result<Vec<Item>> {
        let (condition, mut parameters) = filter.map_or_else(|| ("1".to_owned(), Vec::new()), filter_sql::sql);
        let number = |n: usize| Parameter::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        parameters.extend([limit.map_or(Parameter::Integer(-1), number), number(offset)]);
        self.read(|connection| {
            let tail = format!("WHERE {condition} ORDER BY item LIMIT ? OFFSET ?");
            select_items(connection, &tail, params_from_iter(&parameters))
        })
    }

    /// The rows of the items that fulfil `filter`.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn select(&self, filter: &Filter) -> Result<Rows> {
        let (condition, parameters) = filter_sql::sql(filter);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT item FROM items WHERE {condition}"))?;
            let rows = statement.query_map(params_from_iter(&parameters), |row| row.get::<_, i64>(0))?;
            Ok(rows.collect::<rusqlite::Result<Rows>>()?)
        })
    }

    /// How many items there are.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn len(&self) -> Result<usize> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT COUNT(*) FROM items")?;
            Ok(statement.query_row([], |row| row.get::<_, i64>(0))? as usize)
        })
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// How much the catalog holds.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let size = |name| fs::metadata(self.directory.join(name)).map_or(0, |file| file.len());
        let bytes = size("catalog.sqlite") + size("catalog.sqlite-wal");
        self.read(|connection| {
            let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|n| n as u64);
            Ok(Stats {
                items: count("SELECT COUNT(*) FROM items")?,
                references: count("SELECT COUNT(*) FROM refs")?,
                vectors: count("SELECT COUNT(*) FROM vectors WHERE vector IS NOT NULL")?,
                bytes,
            })
        })
    }

    /// A number that is another after every commit of any process: as long as it stays, everything that was read is
    /// still so. It means something only while this store is open. Takes a few microseconds.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read, or another file has taken its place.
    pub fn version(&self) -> Result<Version> {
        self.check_process()?;
        let _active = fork::enter();
        let _patience = Patience::begin(self.access.patience, false);
        self.connections.version()
    }

    /// The number of the last addition or removal of a vector: when it has not grown, [`Store::changes`] has nothing.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn sequence(&self) -> Result<i64> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT IFNULL(MAX(sequence), 0) FROM vectors")?;
            Ok(statement.query_row([], |row| row.get(0))?)
        })
    }

    /// The next references that were added with vectors of all of `models`, and those that were removed, after sequence
    /// number `since`; about `limit` of them. Start with 0, and go on from the `sequence` of the answer while it says
    /// that there is `more`.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read, or a vector in it is damaged or missing.
    pub fn changes(&self, models: &[i64], since: i64, limit: usize) -> Result<Changes> {
        self.read(|connection| {
            let known = select_models(connection)?;
            let dim = |model: &i64| {
                let row = known.iter().find(|row| row.row == *model);
                row.map(|row| row.dim)
                    .ok_or_else(|| self.fail(format!("has no model {model}, or no longer: open it again")))
            };
            let dims = models.iter().map(dim).collect::<Result<Vec<usize>>>()?;
            let mut changes =
                Changes { sequence: since, vectors: vec![Vec::new(); models.len()], ..Changes::default() };
            // A reference's vectors were stored together, so that they stand one after another.
            let (mut filled, mut reference) = (0, 0);
            let torn = |reference: i64| self.fail(format!("reference {reference} lacks the vector of a model"));
            let mut statement = connection.prepare_cached(
                "SELECT sequence, reference, item, model, vector FROM vectors WHERE sequence > ? ORDER BY sequence",
            )?;
            let mut rows = statement.query([since])?;
            while let Some(row) = rows.next()? {
                if filled == 0 && changes.references.len() + changes.removed.len() >= limit {
                    changes.more = true;
                    break;
                }
                changes.sequence = row.get(0)?;
                let Some(model) = row.get::<_, Option<i64>>(3)? else {
                    changes.removed.push(row.get(1)?);
                    continue;
                };
                let Some(place) = models.iter().position(|of| *of == model) else { continue };
                let of: i64 = row.get(1)?;
                if filled == 0 {
                    reference = of;
                } else if reference != of {
                    return Err(torn(reference).into());
                }
                read_vector(row.get_ref(4)?, dims[place], &mut changes.vectors[place])
                    .ok_or_else(|| self.damage(connection, of, "it has another length"))?;
                filled += 1;
                if filled == models.len() {
                    changes.references.push(reference);
                    changes.items.push(row.get(2)?);
                    filled = 0;
                }
            }
            if filled == 0 { Ok(changes) } else { Err(torn(reference).into()) }
        })
    }

    /// The error for a stored vector that is not as it was written, which names its item and reference.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn damaged(&self, reference: i64, found: &str) -> Result<Error> {
        self.read(|connection| Ok(self.damage(connection, reference, found)))
    }

    fn damage(&self, connection: &Connection, reference: i64, found: &str) -> Error {
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

    /// The vectors of `model` that an item's references have, in the order of the references, with their rows.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn vectors(&self, id: &str, model: i64) -> Result<Vec<(i64, Vec<f32>)>> {
        self.read(|connection| {
            let item: Option<i64> = connection
                .prepare_cached("SELECT item FROM items WHERE id = ?")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let item = item.ok_or_else(|| Error::UnknownItem(id.to_owned()))?;
            let mut statement = connection.prepare_cached(
                "SELECT reference, vector, dim FROM refs JOIN vectors USING (reference) JOIN models USING (model)
                 WHERE refs.item = ? AND model = ? AND vector IS NOT NULL ORDER BY reference",
            )?;
            let mut rows = statement.query([item, model])?;
            let mut vectors = Vec::new();
            while let Some(row) = rows.next()? {
                let (mut vector, reference) = (Vec::new(), row.get(0)?);
                read_vector(row.get_ref(1)?, row.get::<_, i64>(2)? as usize, &mut vector)
                    .ok_or_else(|| self.damage(connection, reference, "it has another length"))?;
                vectors.push((reference, vector));
            }
            Ok(vectors)
        })
    }

    /// What to show of the `(item, reference)` rows that a search has found; `None` for what was removed meanwhile.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn entries(&self, found: &[(i64, i64)]) -> Result<Vec<Option<Entry>>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, label, text, metadata, refs.name, digest FROM refs JOIN items USING (item)
                 WHERE item = ? AND reference = ?",
            )?;
            let entry = |row: &Row<'_>| {
                Ok(Entry {
                    id: field(row, 0, 0, "id")?,
                    label: field(row, 1, 0, "label")?,
                    text: field(row, 2, 0, "text")?,
                    metadata: field(row, 3, 0, "metadata")?,
                    reference: field(row, 4, 0, "name of a reference")?,
                    digest: field(row, 5, 0, "digest of a reference")?,
                })
            };
            let find = |&(item, reference)| statement.query_row([item, reference], entry).optional();
            Ok(found.iter().map(find).collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Writes a copy of the catalog, as it is now, into `directory`, which must not hold a catalog yet.
    ///
    /// # Errors
    /// [`Error::Catalog`] when there is one, or the copy cannot be written.
    pub fn backup(&self, directory: &Path) -> Result<()> {
        let target = directory.join("catalog.sqlite");
        if target.exists() {
            return Err(Error::catalog(directory, "holds a catalog already; choose an empty directory"));
        }
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let part = directory.join(format!("catalog.sqlite.{}.part", std::process::id()));
        self.check_process()?;
        let _active = fork::enter();
        let copy = || -> Result<()> {
            let name = part.to_str().ok_or_else(|| Error::catalog(directory, "its path is not Unicode"))?;
            // Not within a transaction, and SQLite takes its own snapshot.
            let connection = open::connect(&self.directory, self.connections.opened())?;
            let copied = connection.execute("VACUUM INTO ?", [name]);
            copied.map_err(|error| open::sql_error(directory, &error))?;
            fs::File::open(&part).and_then(|file| file.sync_all()).map_err(Error::io(&part))?;
            fs::rename(&part, &target).map_err(Error::io(&target))?;
            fs::File::open(directory).and_then(|file| file.sync_all()).map_err(Error::io(directory))
        };
        copy().inspect_err(|_| drop(fs::remove_file(&part)))
    }

    /// What is damaged in the catalog, in words; nothing if it is sound.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read at all.
    pub fn check(&self) -> Result<Vec<String>> {
        self.read(|connection| {
            let texts = |sql: &str| -> rusqlite::Result<Vec<String>> {
                connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
            };
            let mut problems = texts("PRAGMA integrity_check")?;
            problems.retain(|line| line != "ok");
            problems.extend(texts(
                "SELECT 'vector ' || sequence || ' has the wrong length' FROM vectors JOIN models USING (model)
                 WHERE LENGTH(vector) <> 4 * dim",
            )?);
            problems.extend(texts(
                "SELECT 'vector ' || sequence || ' belongs to no reference' FROM vectors
                 WHERE vector IS NOT NULL AND NOT EXISTS
                     (SELECT 1 FROM refs WHERE refs.reference = vectors.reference AND refs.item = vectors.item)",
            )?);
            let held: Vec<String> = select_held(connection)?.iter().map(|model| model.row.to_string()).collect();
            let (count, held) = (held.len(), held.join(", "));
            problems.extend(texts(&format!(
                "SELECT 'reference ' || reference || ' has not a vector of each model' FROM refs
                 WHERE {count} <> (SELECT COUNT(*) FROM vectors WHERE vectors.reference = refs.reference
                     AND vector IS NOT NULL AND model IN ({held}))"
            ))?);
            problems.extend(texts(
                "SELECT 'reference ' || reference || ' belongs to no item' FROM refs
                 WHERE item NOT IN (SELECT item FROM items)",
            )?);
            Ok(problems)
        })
    }
}

pub(super) fn select_models(connection: &Connection) -> rusqlite::Result<Vec<ModelRow>> {
    let mut statement = connection.prepare_cached("SELECT model, name, fingerprint, dim FROM models ORDER BY model")?;
    statement.query_map([], model_row)?.collect()
}

/// The models of one reference, which are those of all.
pub(super) fn select_held(connection: &Connection) -> rusqlite::Result<Vec<ModelRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT model, name, fingerprint, dim FROM vectors JOIN models USING (model)
         WHERE reference = (SELECT MIN(reference) FROM refs) AND vector IS NOT NULL ORDER BY model",
    )?;
    statement.query_map([], model_row)?.collect()
}

fn model_row(row: &Row<'_>) -> rusqlite::Result<ModelRow> {
    let dim: i64 = row.get(3)?;
    Ok(ModelRow { row: row.get(0)?, name: row.get(1)?, fingerprint: row.get(2)?, dim: dim as usize })
}

fn select_items(connection: &Connection, tail: &str, parameters: impl rusqlite::Params) -> Result<Vec<Item>, Fault> {
    let sql = format!("SELECT item, id, label, text, metadata, added FROM items {tail}");
    let item = |row: &Row<'_>| {
        Ok(Item {
            row: row.get(0)?,
            id: field(row, 1, 1, "id")?,
            label: field(row, 2, 1, "label")?,
            text: field(row, 3, 1, "text")?,
            metadata: serde_json::from_str(&field::<String>(row, 4, 1, "metadata")?)
                .map_err(|error| damaged(row, 1, "metadata", error))?,
            added: field(row, 5, 1, "time")?,
            references: Vec::new(),
        })
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut items = statement.query_map(parameters, item)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = connection
        .prepare_cached("SELECT reference, name, digest, added FROM refs WHERE item = ? ORDER BY reference")?;
    let reference =
        |row: &Row<'_>| Ok(Reference { row: row.get(0)?, name: row.get(1)?, digest: row.get(2)?, added: row.get(3)? });
    for item in &mut items {
        item.references = statement.query_map([item.row], reference)?.collect::<rusqlite::Result<_>>()?;
    }
    Ok(items)
}

/// A column of a row that tells of an item, whose id is in another one.
fn field<T: FromSql>(row: &Row<'_>, column: usize, id: usize, what: &str) -> rusqlite::Result<T> {
    row.get(column).map_err(|error| damaged(row, id, what, error))
}

/// The error for a column that is not as it was written.
fn damaged(row: &Row<'_>, id: usize, what: &str, error: impl std::fmt::Display) -> rusqlite::Error {
    let id = row.get_ref(id).ok().and_then(|id| id.as_bytes().ok()).map(String::from_utf8_lossy);
    let id: String = id.unwrap_or_default().chars().take(80).collect();
    let words = format!("the {what} of item {id:?} is damaged ({error}); update or remove that item");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, words.into())
}

/// Appends a stored vector, unless it has another length.
fn read_vector(value: ValueRef<'_>, dim: usize, vectors: &mut Vec<f32>) -> Option<()> {
    let bytes = value.as_blob().ok().filter(|bytes| bytes.len() == 4 * dim)?;
    vectors.extend(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])));
    Some(())
}
