//! Removals: of items, of references, and of the rows of the log that tell of them.

use std::collections::{BTreeSet, HashSet};

use rusqlite::{OptionalExtension, Transaction, params, params_from_iter};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::store::filter_sql;
use crate::store::indexed::{delete_item, rebuild_indexes};
use crate::store::patience::PAUSE;
use crate::store::{Fault, Store};

/// Removals that the log keeps at least.
const KEPT: i64 = 10_000;
/// Items that are removed in one transaction.
const ITEMS: usize = 10_000;
/// Pages that are given back in one transaction: 4 MiB.
const VACUUMED: u32 = 512;

impl Store {
    /// Removes items with all their references and vectors, and gives their space back.
    ///
    /// Each removed reference leaves a row in the log, which tells it to those who have the catalog open. As soon as the
    /// log has twice as many of them as it keeps (10,000, or half as many as there are references if that is more), the
    /// older ones are deleted. A reader that has not looked since then reads all vectors again.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] when one of them is not there; then none is removed.
    pub fn remove<S: AsRef<str>>(&self, ids: &[S]) -> Result<usize> {
        let removed = self.write(|transaction| {
            let mut seen = HashSet::new();
            for id in ids.iter().map(AsRef::as_ref).filter(|id| seen.insert(*id)) {
                remove_item(transaction, find(transaction, id)?)?;
            }
            compact_log(transaction)?;
            Ok(seen.len())
        })?;
        self.shrink();
        Ok(removed)
    }

    /// Removes the next items that fulfil `filter`, at most 10,000, in one transaction, and returns how many. Call it
    /// until that is 0.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be changed; then none is removed.
    pub fn remove_some(&self, filter: &Filter) -> Result<usize> {
        let (condition, parameters) = filter_sql::sql(filter);
        let removed = self.write(|transaction| {
            let sql = format!("SELECT item FROM items WHERE {condition} LIMIT {ITEMS}");
            let items: Vec<i64> = transaction
                .prepare(&sql)?
                .query_map(params_from_iter(&parameters), |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            items.iter().try_for_each(|item| remove_item(transaction, *item))?;
            compact_log(transaction)?;
            Ok(items.len())
        })?;
        self.shrink();
        Ok(removed)
    }

    /// Removes the reference of an item that has this name, or this digest, with all its views; and the item if it has no
    /// other. Returns how many references the item has left.
    ///
    /// # Errors
    /// [`Error::UnknownItem`], [`Error::UnknownReference`]; [`Error::Argument`] when references with different content
    /// have this name. Then nothing is removed.
    pub fn remove_reference(&self, id: &str, name: &str, digest: Option<[u8; 32]>) -> Result<usize> {
        let left = self.write(|transaction| {
            let item = find(transaction, id)?;
            let mut statement =
                transaction.prepare_cached("SELECT reference, name, digest FROM refs WHERE item = ?")?;
            let all = statement
                .query_map([item], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<Vec<(i64, String, [u8; 32])>>>()?;
            let contents: BTreeSet<[u8; 32]> = all
                .iter()
                .filter(|(_, of, content)| of == name || Some(*content) == digest)
                .map(|(_, _, content)| *content)
                .collect();
            let content = match contents.len() {
                0 => return Err(Error::UnknownReference { item: id.to_owned(), reference: name.to_owned() }.into()),
                1 => contents.first(),
                count => {
                    return Err(Error::argument(format!(
                        "item {id:?} has {count} references called {name:?}: name the one to remove by its digest"
                    ))
                    .into());
                }
            };
            let (gone, left): (Vec<_>, Vec<_>) = all.iter().partition(|(_, _, of)| Some(of) == content);
            if left.is_empty() {
                remove_item(transaction, item)?;
            } else {
                gone.iter().try_for_each(|(reference, _, _)| remove_reference(transaction, item, *reference))?;
            }
            compact_log(transaction)?;
            Ok(left.len())
        })?;
        self.shrink();
        Ok(left)
    }

    /// Deletes all removals from the log, makes the indexes of words and metadata anew, and gives all unused space back. Every other reader
    /// reads all vectors again.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be changed.
    pub fn compact(&self) -> Result<()> {
        self.write(|transaction| {
            cut_log(transaction, 0)?;
            Ok(rebuild_indexes(transaction)?)
        })?;
        self.give_back(|_, _| false)?;
        self.checkpoint()
    }

    /// Returns pages to the file system once a quarter of the file is unused, in steps between which others may write.
    ///
    /// The items are gone whether or not this works, so that nothing is said of it: the next removal tries again.
    pub(super) fn shrink(&self) {
        let _ = self.give_back(|free, pages| free <= 128 || free * 4 <= pages);
    }

    /// Returns pages to the file system until there are none, or `enough` says so of the free pages and all pages.
    fn give_back(&self, enough: impl Fn(i64, i64) -> bool) -> Result<()> {
        let step = |transaction: &Transaction<'_>| -> Result<bool, Fault> {
            let count = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
            let (free, pages) = (count("freelist_count")?, count("page_count")?);
            if free == 0 || enough(free, pages) {
                return Ok(false);
            }
            // One row for each page.
            let mut vacuum = transaction.prepare(&format!("PRAGMA incremental_vacuum({VACUUMED})"))?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
            Ok(true)
        };
        while self.write(step)? {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn find(transaction: &Transaction<'_>, id: &str) -> Result<i64, Fault> {
    let item: Option<i64> = transaction
        .prepare_cached("SELECT item FROM items WHERE id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    item.ok_or_else(|| Error::UnknownItem(id.to_owned()).into())
}

/// Removes an item with all its references and vectors.
pub(super) fn remove_item(transaction: &Transaction<'_>, item: i64) -> rusqlite::Result<()> {
    let execute = |sql| transaction.prepare_cached(sql)?.execute([item]);
    execute(
        "DELETE FROM vectors WHERE vector IS NOT NULL AND reference IN (SELECT reference FROM refs WHERE item = ?)",
    )?;
    let told = execute("INSERT INTO vectors (reference, item) SELECT reference, item FROM refs WHERE item = ?")?;
    delete_item(transaction, item)?;
    count_removals(transaction, told)
}

/// Removes one reference with its vectors.
pub(super) fn remove_reference(transaction: &Transaction<'_>, item: i64, reference: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM vectors WHERE reference = ? AND vector IS NOT NULL")?
        .execute([reference])?;
    transaction.prepare_cached("INSERT INTO vectors (reference, item) VALUES (?, ?)")?.execute([reference, item])?;
    transaction.prepare_cached("DELETE FROM refs WHERE reference = ?")?.execute([reference])?;
    count_removals(transaction, 1)
}

fn count_removals(transaction: &Transaction<'_>, count: usize) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE catalog SET removals = removals + ?")?.execute([count as i64])?;
    Ok(())
}

/// Deletes the older removals from the log if they are twice as many as are kept. Call it at the end of each transaction
/// that has removed references.
pub(super) fn compact_log(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let removals: i64 = transaction.prepare_cached("SELECT removals FROM catalog")?.query_row([], |row| row.get(0))?;
    if removals < 2 * KEPT {
        return Ok(());
    }
    let references: i64 = transaction.prepare_cached("SELECT COUNT(*) FROM refs")?.query_row([], |row| row.get(0))?;
    let keep = KEPT.max(references / 2);
    if removals < 2 * keep { Ok(()) } else { cut_log(transaction, keep) }
}

/// Deletes all removals from the log but the last ones, `keep` of them.
fn cut_log(transaction: &Transaction<'_>, keep: i64) -> rusqlite::Result<()> {
    let newest = "SELECT sequence FROM vectors WHERE vector IS NULL ORDER BY sequence DESC LIMIT 1 OFFSET ?";
    let cut: Option<i64> = transaction.query_row(newest, [keep], |row| row.get(0)).optional()?;
    let Some(cut) = cut else { return Ok(()) };
    let deleted = transaction.execute("DELETE FROM vectors WHERE vector IS NULL AND sequence <= ?", [cut])?;
    transaction.execute("UPDATE catalog SET compacted = ?, removals = removals - ?", params![cut, deleted as i64])?;
    Ok(())
}
