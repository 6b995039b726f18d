//! Questions to the catalog: each sees one committed state.

use std::collections::HashSet;
use std::fs;

use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::selection::Rows;
use crate::store::filter_sql::{self, Parameter};
use crate::store::patience::Patience;
use crate::store::values;
use crate::store::{Entry, Fault, Item, ModelRow, Reference, Stats, Store, Version, fork};

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

    /// For each digest, whether the item holds that picture with a vector of every one of `models`: such a reference
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

    /// Returns the next items that fulfil `filter`, in the order in which they were added: at most `limit` of those whose
    /// row is greater than `after`, so that a walk over all of them takes as long at its end as at its beginning.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn items_after(&self, filter: Option<&Filter>, after: i64, limit: usize) -> Result<Vec<Item>> {
        let (condition, mut parameters) = filter.map_or_else(|| ("1".to_owned(), Vec::new()), filter_sql::sql);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        parameters.extend([Parameter::Integer(after), Parameter::Integer(limit)]);
        self.read(|connection| {
            // By an index, all that fit would be sorted again for each part.
            let tail = format!("NOT INDEXED WHERE ({condition}) AND item > ? ORDER BY item LIMIT ?");
            select_items(connection, &tail, params_from_iter(&parameters))
        })
    }

    /// Returns the items of these ids, in their order, all from one committed state.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] names the first one that is not there.
    pub fn get_all<S: AsRef<str>>(&self, ids: &[S]) -> Result<Vec<Item>> {
        self.read(|connection| {
            let get = |id: &S| {
                let mut items = select_items(connection, "WHERE id = ?", params![id.as_ref()])?;
                items.pop().ok_or_else(|| Error::UnknownItem(id.as_ref().to_owned()).into())
            };
            ids.iter().map(get).collect()
        })
    }

    /// Returns how many items fulfil `filter`.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn count(&self, filter: &Filter) -> Result<usize> {
        let (condition, parameters) = filter_sql::sql(filter);
        self.read(|connection| {
            if let Some(found) = values::select(connection, filter)? {
                return Ok(found.len());
            }
            let mut statement = connection.prepare_cached(&format!("SELECT COUNT(*) FROM items WHERE {condition}"))?;
            Ok(statement.query_row(params_from_iter(&parameters), |row| row.get::<_, i64>(0))? as usize)
        })
    }

    /// The rows of the items that fulfil `filter`.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn select(&self, filter: &Filter) -> Result<Rows> {
        self.select_after(filter, 0)
    }

    /// The rows of the items behind a row that fulfil `filter`.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn select_after(&self, filter: &Filter, after: i64) -> Result<Rows> {
        let (condition, mut parameters) = filter_sql::sql(filter);
        self.read(|connection| {
            if after > 0 {
                parameters.push(Parameter::Integer(after));
                let sql = format!("SELECT item FROM items NOT INDEXED WHERE ({condition}) AND item > ?");
                let mut statement = connection.prepare_cached(&sql)?;
                let rows = statement.query_map(params_from_iter(&parameters), |row| row.get::<_, i64>(0))?;
                return Ok(rows.collect::<rusqlite::Result<Rows>>()?);
            }
            if let Some(found) = values::select(connection, filter)? {
                return Ok(found);
            }
            let mut statement = connection.prepare_cached(&format!("SELECT item FROM items WHERE {condition}"))?;
            let rows = statement.query_map(params_from_iter(&parameters), |row| row.get::<_, i64>(0))?;
            Ok(rows.collect::<rusqlite::Result<Rows>>()?)
        })
    }

    /// How often items that were there have changed or gone, and the row of the last item: while the first number stays, what
    /// a filter has found stays so, but for items behind the second. None in a catalog of an older format.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn edits(&self) -> Result<Option<(i64, i64)>> {
        self.read(|connection| Ok(values::edits(connection)?))
    }

    /// Returns labels and texts of items, each once, `limit` of them at most.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn phrases(&self, limit: usize) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT phrase FROM (SELECT label AS phrase FROM items UNION ALL SELECT text FROM items)
                 WHERE phrase IS NOT NULL LIMIT ?",
            )?;
            let phrases = statement.query_map([limit as i64], |row| row.get(0))?;
            Ok(phrases.collect::<rusqlite::Result<_>>()?)
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

    /// Returns the fields to show for the `(item, reference)` rows that a search has found; `None` for a row that was
    /// removed meanwhile.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn entries(&self, found: &[(i64, i64)]) -> Result<Vec<Option<Entry>>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, label, text, metadata, refs.name, digest, view FROM refs JOIN items USING (item)
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
                    view: row.get(6)?,
                })
            };
            let find = |&(item, reference)| statement.query_row([item, reference], entry).optional();
            Ok(found.iter().map(find).collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The digests of all references.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn digests(&self) -> Result<HashSet<[u8; 32]>> {
        self.read(|connection| Ok(select_digests(connection)?))
    }
}

pub(super) fn select_digests(connection: &Connection) -> rusqlite::Result<HashSet<[u8; 32]>> {
    connection.prepare("SELECT digest FROM refs")?.query_map([], |row| row.get(0))?.collect()
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

pub(super) fn select_items(
    connection: &Connection,
    tail: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Item>, Fault> {
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
        .prepare_cached("SELECT reference, name, digest, view, added FROM refs WHERE item = ? ORDER BY reference")?;
    let reference = |row: &Row<'_>| {
        Ok(Reference {
            row: row.get(0)?,
            name: row.get(1)?,
            digest: row.get(2)?,
            view: row.get(3)?,
            added: row.get(4)?,
        })
    };
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
