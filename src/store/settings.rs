//! The id of a catalog, and its settings by name.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::store::Store;

/// The statement that stores a setting.
pub(super) const SET_SETTING: &str = "INSERT INTO settings (key, value, checksum) VALUES (?1, ?2, row_checksum(?1, ?2))
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum";

impl Store {
    /// Returns the random number of this catalog, which no other one has.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn id(&self) -> Result<[u8; 16]> {
        self.read(|connection| Ok(connection.query_row("SELECT id FROM catalog", [], |row| row.get(0))?))
    }

    /// Returns the value of a setting; `None` if it was never set.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read, or the value is of another type.
    pub fn setting<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let json: Option<String> = self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM settings WHERE key = ?")?;
            Ok(statement.query_row([key], |row| row.get(0)).optional()?)
        })?;
        json.map(|json| serde_json::from_str(&json))
            .transpose()
            .map_err(|error| self.fail(format!("its setting {key:?} cannot be understood ({error}); set it again")))
    }

    /// Stores a setting as JSON, in place of the value that it has; `None` removes it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that is no JSON, [`Error::Catalog`] when the catalog cannot be changed.
    pub fn set_setting<T: Serialize>(&self, key: &str, value: Option<&T>) -> Result<()> {
        let json = value.map(serde_json::to_string).transpose();
        let json = json.map_err(|error| Error::argument(format!("setting {key:?}: {error}")))?;
        self.write(|transaction| {
            match json {
                Some(json) => transaction.execute(SET_SETTING, params![key, json])?,
                None => transaction.execute("DELETE FROM settings WHERE key = ?", [key])?,
            };
            Ok(())
        })
    }
}
