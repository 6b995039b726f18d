//! Changing what a catalog holds, looking at it, and keeping it sound.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cancel;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::store::{Item, Update};
use crate::words;

/// The pause between two transactions of one call: longer than others wait between two tries.
const PAUSE: Duration = Duration::from_millis(6);

impl Engine {
    // Changing

    /// Changes the label, text or metadata of an item.
    ///
    /// # Errors
    /// [`Error::UnknownItem`]; [`Error::Argument`] for what cannot be stored.
    pub fn update(&self, id: &str, update: &Update<'_>) -> Result<()> {
        let form = |text: Option<&str>| text.map(|text| words::composed(text).into_owned());
        let (label, text) = (update.label.map(form), update.text.map(form));
        let metadata = update.metadata.map(|metadata| metadata.map(words::composed_value));
        let update = Update {
            label: label.as_ref().map(Option::as_deref),
            text: text.as_ref().map(Option::as_deref),
            metadata: metadata.as_ref().map(Option::as_ref),
        };
        self.store.update(&self.spelling(id)?, &update)
    }

    /// Removes items with all their references and vectors, all of them or, when one is not there, none; returns how many.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn remove(&self, ids: &[String]) -> Result<usize> {
        let ids = ids.iter().map(|id| self.spelling(id)).collect::<Result<Vec<_>>>()?;
        self.store.remove(&ids)
    }

    /// Removes the items that fit `filter` with all their references and vectors, and returns how many. Every 10,000 are
    /// one transaction, between which others may write.
    ///
    /// # Errors
    /// [`Error::Argument`] when the filter cannot be understood or names nothing; [`Error::Interrupted`] between two
    /// transactions.
    pub fn remove_where(&self, filter: &Value) -> Result<usize> {
        if filter.as_object().is_some_and(|filter| filter.is_empty()) {
            return Err(Error::argument(
                "where={} fits every item: to remove them all, pass where={\"id\": {\"$exists\": True}}",
            ));
        }
        let filter = Filter::parse(filter)?;
        let mut removed = 0;
        loop {
            match self.store.remove_some(&filter)? {
                0 => return Ok(removed),
                more => removed += more,
            }
            cancel::poll()?;
            thread::sleep(PAUSE);
        }
    }

    /// Removes the reference of an item that has this name, or this digest in hexadecimal digits, or else the name of this
    /// file's absolute path; and the item if it has no other. Returns how many references the item has left.
    ///
    /// # Errors
    /// [`Error::UnknownItem`], [`Error::UnknownReference`]; [`Error::Argument`] when references with different content
    /// have this name.
    pub fn remove_reference(&self, id: &str, reference: &str) -> Result<usize> {
        let id = self.spelling(id)?;
        match self.store.remove_reference(&id, reference, digest(reference)) {
            Err(error @ Error::UnknownReference { .. }) => {
                let path =
                    std::path::absolute(reference).ok().and_then(|path| path.into_os_string().into_string().ok());
                let Some(path) = path.filter(|path| path != reference) else { return Err(error) };
                match self.store.remove_reference(&id, &path, None) {
                    Err(Error::UnknownReference { .. }) => Err(error),
                    removed => removed,
                }
            }
            removed => removed,
        }
    }

    // Looking

    /// Returns the item of that id.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn get(&self, id: &str) -> Result<Item> {
        self.store.get(&self.spelling(id)?)
    }

    /// Returns the items of these ids, in their order, all as they were at one time.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] names the first one that is not there.
    pub fn get_all(&self, ids: &[String]) -> Result<Vec<Item>> {
        self.store.get_all(&ids.iter().map(|id| self.spelling(id)).collect::<Result<Vec<_>>>()?)
    }

    /// Returns whether there is an item of that id.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn contains(&self, id: &str) -> Result<bool> {
        self.store.contains(&self.spelling(id)?)
    }

    /// Returns the items that fit `filter`, in the order in which they were added, `limit` of them from `offset` on.
    ///
    /// # Errors
    /// [`Error::Argument`] when the filter cannot be understood.
    pub fn items(&self, filter: Option<&Value>, offset: usize, limit: Option<usize>) -> Result<Vec<Item>> {
        let filter = filter.map(Filter::parse).transpose()?;
        self.store.items(filter.as_ref(), offset, limit)
    }

    /// Returns the next items that fit `filter`, in the order in which they were added: at most `limit` of those whose row
    /// is greater than `after`. Begin with 0.
    ///
    /// # Errors
    /// [`Error::Argument`] when the filter cannot be understood.
    pub fn items_after(&self, filter: Option<&Value>, after: i64, limit: usize) -> Result<Vec<Item>> {
        let filter = filter.map(Filter::parse).transpose()?;
        self.store.items_after(filter.as_ref(), after, limit)
    }

    /// Returns how many items fit `filter`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the filter cannot be understood.
    pub fn count(&self, filter: Option<&Value>) -> Result<usize> {
        filter.map_or_else(|| self.store.len(), |filter| self.store.count(&Filter::parse(filter)?))
    }

    /// Returns the keys of the metadata that `filter` names and no item has: most likely they are misspelt.
    ///
    /// # Errors
    /// [`Error::Argument`] when the filter cannot be understood.
    pub fn unknown_keys(&self, filter: &Value) -> Result<Vec<String>> {
        let mut unknown = Vec::new();
        for (key, known) in Filter::parse(filter)?.keys() {
            if self.store.items(Some(&known), 0, Some(1))?.is_empty() {
                unknown.push(key);
            }
        }
        Ok(unknown)
    }

    // Keeping

    /// Writes a copy of the catalog, as it is now, with its originals into `directory`, which must not hold a catalog yet.
    /// Thumbnails are not copied: they are made again.
    ///
    /// # Errors
    /// [`Error::Catalog`] when there is one, or the copy cannot be written.
    pub fn backup(&self, directory: &Path) -> Result<()> {
        self.store.backup(directory, |digests| self.kept.copy(directory, digests))
    }

    /// Deletes the marks of removed references, thumbnails and originals that no reference has any more, and gives all
    /// unused space back. Originals younger than a day stay, since another process may be about to add them.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be changed.
    pub fn compact(&self) -> Result<()> {
        self.store.compact()?;
        self.prune()
    }

    /// Returns the random number of this catalog, which no other one has.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn catalog_id(&self) -> Result<[u8; 16]> {
        self.store.id()
    }

    /// Returns the value of a setting of the catalog; `None` if it was never set.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the value is of another type.
    pub fn setting<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.store.setting(key)
    }

    /// Stores a setting of the catalog, in place of the value that it has; `None` removes it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that is no JSON, [`Error::Catalog`] when the catalog cannot be changed.
    pub fn set_setting<T: Serialize>(&self, key: &str, value: Option<&T>) -> Result<()> {
        self.store.set_setting(key, value)
    }
}

/// Returns the digest that a text of 64 hexadecimal digits stands for.
pub fn digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(16 * digit(pair[0])? + digit(pair[1])?).ok()?;
    }
    Some(digest)
}
