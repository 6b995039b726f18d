//! The models that a catalog was filled with, found before it is opened with them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::store::{Access, Store};

/// The setting that has the source of each model by its fingerprint.
const SOURCES: &str = "model_sources";

/// A model of which a catalog has vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The name under which the catalog knows it.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its dimension.
    pub dim: usize,
    /// The name or directory that it was opened by; `None` if it is not known.
    pub source: Option<String>,
}

/// Returns the models that the catalog in `directory` has vectors of, none if there is no catalog; and the older format
/// that it had, if opening it has migrated it.
///
/// # Errors
/// [`Error::Catalog`] if it cannot be opened.
pub fn held(directory: &Path, access: &Access) -> Result<(Vec<Held>, Option<i64>)> {
    if !directory.join("catalog.sqlite").exists() {
        return Ok((Vec::new(), None));
    }
    let store = Store::open(directory, &Access { create: false, ..*access })?;
    let mut sources: BTreeMap<String, String> = store.setting(SOURCES)?.unwrap_or_default();
    let held = store.held()?.into_iter().map(|model| Held {
        source: sources.remove(&model.fingerprint),
        name: model.name,
        fingerprint: model.fingerprint,
        dim: model.dim,
    });
    Ok((held.collect(), store.migrated()))
}

impl Engine {
    /// The older format of the catalog that opening it has migrated; `None` if it had nothing to do.
    pub fn migrated(&self) -> Option<i64> {
        self.store.migrated()
    }

    /// Returns the setting that has the sources of these models alone: `given`, or else those that the catalog knows.
    pub(super) fn sources(&self, given: &BTreeMap<String, String>, models: &[&str]) -> Result<(&'static str, String)> {
        let mut all: BTreeMap<String, String> = self.store.setting(SOURCES)?.unwrap_or_default();
        all.extend(given.clone());
        all.retain(|fingerprint, _| models.contains(&fingerprint.as_str()));
        let json = serde_json::to_string(&all).map_err(Error::internal)?;
        Ok((SOURCES, json))
    }

    /// Stores the sources of models by their fingerprints, beside those that the catalog knows already.
    ///
    /// # Errors
    /// [`Error::Catalog`] if the catalog cannot be changed.
    pub fn remember_sources(&self, sources: &BTreeMap<String, String>) -> Result<()> {
        let known: BTreeMap<String, String> = self.store.setting(SOURCES)?.unwrap_or_default();
        let mut all = known.clone();
        all.extend(sources.iter().map(|(fingerprint, source)| (fingerprint.clone(), source.clone())));
        if all == known { Ok(()) } else { self.store.set_setting(SOURCES, Some(&all)) }
    }
}
