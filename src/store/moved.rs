//! References whose file has moved to another item: a folder was renamed, or a picture put into another one.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::store::indexed::{delete_item, index_items};
use crate::store::remove::{compact_log, remove_reference};
use crate::store::values::forget_values;
use crate::store::{Fault, Store};

/// A reference and one of another item with the same content.
struct Twins {
    old: i64,
    old_item: i64,
    old_name: String,
    new_item: i64,
    new_name: String,
}

impl Store {
    /// The row of the newest reference; 0 if there was never one.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) when the catalog cannot be read.
    pub fn newest(&self) -> Result<i64> {
        self.read(|connection| {
            let statement = "SELECT IFNULL(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'refs'";
            Ok(connection.query_row(statement, [], |row| row.get(0))?)
        })
    }

    /// Takes references out of their items whose file is gone, and is found, since reference `since`, in another item by
    /// a new path. An item that has no reference left is removed; the other one gets its label, text and metadata where
    /// it has none. Returns how many references have moved. Files are told by absolute paths; what was in memory never
    /// moves.
    ///
    /// Reads all references once, if there are new ones.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) when the catalog cannot be read or changed; then nothing has moved.
    pub fn settle_moved(&self, since: i64) -> Result<usize> {
        let moved: Vec<Twins> = self.read(|connection| Ok(twins(connection, since)?))?;
        let moved: Vec<Twins> = moved.into_iter().filter(|twins| is_gone(&twins.old_name)).collect();
        if moved.is_empty() {
            return Ok(0);
        }
        self.write(|transaction| {
            let mut count = 0;
            for twins in &moved {
                // Another process may have changed either since.
                let there: bool = transaction
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM refs WHERE reference = ? AND name = ?)
                         AND EXISTS (SELECT 1 FROM refs WHERE item = ? AND name = ?)",
                    )?
                    .query_row(params![twins.old, twins.old_name, twins.new_item, twins.new_name], |row| row.get(0))?;
                if there {
                    remove_reference(transaction, twins.old_item, twins.old)?;
                    hand_over(transaction, twins.old_item, twins.new_item)?;
                    count += 1;
                }
            }
            compact_log(transaction)?;
            Ok::<_, Fault>(count)
        })
    }
}

fn twins(connection: &Connection, since: i64) -> rusqlite::Result<Vec<Twins>> {
    let newest: i64 =
        connection.prepare_cached("SELECT IFNULL(MAX(reference), 0) FROM refs")?.query_row([], |row| row.get(0))?;
    // SQLite makes an index for this question, of the table that comes second: of the smaller one it takes less.
    let (first, second) = if newest - since < since { ("old", "new") } else { ("new", "old") };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT old.reference, old.item, old.name, new.item, new.name
         FROM refs AS {first} CROSS JOIN refs AS {second} ON old.digest = new.digest AND old.item <> new.item
         WHERE new.reference > ?1 AND old.reference <= ?1 AND SUBSTR(new.name, 1, 1) = '/' ORDER BY new.reference"
    ))?;
    let twins = |row: &rusqlite::Row<'_>| {
        Ok(Twins {
            old: row.get(0)?,
            old_item: row.get(1)?,
            old_name: row.get(2)?,
            new_item: row.get(3)?,
            new_name: row.get(4)?,
        })
    };
    statement.query_map([since], twins)?.collect()
}

/// Whether a name is the path of a file that is not there any more. A file that cannot be looked at may still be there.
fn is_gone(name: &str) -> bool {
    let path = Path::new(name);
    path.is_absolute() && path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Removes an item that has no reference left, and gives its label, text and metadata to another that lacks them.
fn hand_over(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<()> {
    if connection.prepare_cached("SELECT 1 FROM refs WHERE item = ?")?.exists([from])? {
        return Ok(());
    }
    forget_values(connection, to)?;
    connection
        .prepare_cached(
            "UPDATE items SET label = IFNULL(items.label, old.label), text = IFNULL(items.text, old.text),
             metadata = IIF(items.metadata = '{}', old.metadata, items.metadata)
             FROM (SELECT label, text, metadata FROM items WHERE item = ?1) AS old WHERE items.item = ?2",
        )?
        .execute([from, to])?;
    delete_item(connection, from)?;
    index_items(connection, &BTreeSet::from([to]))
}
