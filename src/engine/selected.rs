//! Remembers what filters have found: in one state of the catalog, and for the next ones as long as no item has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::engine::live::{State, lock};
use crate::error::Result;
use crate::filter::Filter;
use crate::index::Allowed;
use crate::selection::Rows;
use crate::store::Store;

/// Bytes of sets of rows that are remembered.
const REMEMBERED: usize = 32 << 20;
/// The longest filter that is remembered: a list of ids is hardly asked for twice.
const LONGEST: usize = 4 << 10;

/// The items that filters have found, by the JSON of the filter; with their rows in one state, or as of some edits.
pub(super) struct Filters<T> {
    found: HashMap<String, T>,
    bytes: usize,
}

/// The references that fit a filter in one state.
pub(super) type InState = Mutex<Filters<Arc<Allowed>>>;
/// The items that fit filters, of those up to some row, after so many edits of items.
pub(super) type Lasting = Arc<Mutex<Filters<(Rows, (i64, i64))>>>;

impl<T> Default for Filters<T> {
    fn default() -> Self {
        Self { found: HashMap::new(), bytes: 0 }
    }
}

impl<T: Clone> Filters<T> {
    fn keep(&mut self, key: &str, found: T, bytes: usize) {
        if key.len() > LONGEST {
            return;
        }
        if self.bytes + bytes > REMEMBERED {
            *self = Self::default();
        }
        if self.found.insert(key.to_owned(), found).is_none() {
            self.bytes += bytes + key.len();
        }
    }
}

impl State {
    /// Returns the items that fit a filter.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the filter cannot be understood; those of the store.
    pub(super) fn select(&self, store: &Store, filter: &Value) -> Result<Arc<Allowed>> {
        let key = filter.to_string();
        if let Some(found) = lock(&self.filters).found.get(&key) {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(self.index.allow(self.select_rows(store, filter, &key)?));
        // What was found later than this state is not remembered with it.
        if self.version == Some(store.version()?) {
            lock(&self.filters).keep(&key, Arc::clone(&found), self.index.len() / 4);
        }
        Ok(found)
    }

    /// The items that fit a filter: those that were found before, and new ones, as long as no other item has changed.
    fn select_rows(&self, store: &Store, filter: &Value, key: &str) -> Result<Rows> {
        let parsed = Filter::parse(filter)?;
        // Read before the items are: what changes in between is another edit.
        let Some((edits, last)) = store.edits()? else { return store.select(&parsed) };
        let known = lock(&self.lasting).found.get(key).filter(|(_, of)| of.0 == edits).cloned();
        let rows = match known {
            Some((rows, (_, seen))) if seen >= last => rows,
            Some((rows, (_, seen))) => {
                let new = store.select_after(&parsed, seen)?;
                rows.between(i64::MIN, i64::MAX).chain(new.between(i64::MIN, i64::MAX)).collect()
            }
            None => store.select(&parsed)?,
        };
        lock(&self.lasting).keep(key, (rows.clone(), (edits, last)), rows.len());
        Ok(rows)
    }
}
