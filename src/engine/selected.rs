//! Remembers what filters have found in one state of the catalog.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::live::{State, lock};
use crate::error::Result;
use crate::filter::Filter;
use crate::index::Allowed;
use crate::store::Store;

/// Bytes of sets of rows that are remembered.
const REMEMBERED: usize = 32 << 20;
/// The longest filter that is remembered: a list of ids is hardly asked for twice.
const LONGEST: usize = 4 << 10;

/// The items that filters have found, by the JSON of the filter.
#[derive(Default)]
pub(super) struct Filters {
    found: HashMap<String, Arc<Allowed>>,
    bytes: usize,
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
        let items = store.select(&Filter::parse(filter)?)?;
        let found = Arc::new(self.index.allow(items));
        // What was found later than this state is not remembered with it.
        if key.len() <= LONGEST && self.version == Some(store.version()?) {
            let bytes = self.index.len() / 4 + key.len();
            let mut filters = lock(&self.filters);
            if filters.bytes + bytes > REMEMBERED {
                *filters = Filters::default();
            }
            if filters.found.insert(key, Arc::clone(&found)).is_none() {
                filters.bytes += bytes;
            }
        }
        Ok(found)
    }
}
