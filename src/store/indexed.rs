//! All that is stored of an item beside its fields: the indexes of its words and metadata, and its checksum.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::store::values::{forget_values, index_values, rebuild_values};
use crate::store::words::{forget_words, index_words, rebuild_words};

/// Indexes items anew, and makes their checksums; the values that they had before are forgotten already. Each statement is
/// for all items: FTS5 writes what it has gathered when another begins.
pub(super) fn index_items(connection: &Connection, items: &BTreeSet<i64>) -> rusqlite::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let items = serde_json::json!(items).to_string();
    index_values(connection, &items)?;
    index_words(connection, &items)?;
    let mut statement = connection.prepare_cached(
        "UPDATE items SET checksum = row_checksum(id, label, text, metadata, added)
         WHERE item IN (SELECT value FROM json_each(?))",
    )?;
    statement.execute([items]).map(drop)
}

/// Deletes an item that has no reference left.
pub(super) fn delete_item(connection: &Connection, item: i64) -> rusqlite::Result<()> {
    forget_values(connection, item)?;
    connection.prepare_cached("DELETE FROM items WHERE item = ?")?.execute([item])?;
    forget_words(connection, item)
}

/// Makes the indexes of all items anew.
pub(super) fn rebuild_indexes(connection: &Connection) -> rusqlite::Result<()> {
    rebuild_values(connection)?;
    rebuild_words(connection)
}
