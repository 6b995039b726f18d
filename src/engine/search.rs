//! Searching: encode, catch up, scan, show.

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use serde_json::Value;

use crate::engine::{Engine, Live, Shown, reads};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::{self, Found};
use crate::query::{Batch, Lookup, Part, Query};
use crate::store::Entry;
use crate::vectors::Vectors;

/// Vectors that are read from the store at once while the index catches up.
const STEP: usize = 16_384;
/// Bytes of the entries of hits that are kept in memory.
const REMEMBERED: usize = 32 << 20;
/// The largest entry of them: to make Python's objects of a larger one takes longer than to read it again.
const LARGEST: usize = 64 << 10;
/// Bytes that an entry takes beside its texts, about.
const ENTRY: usize = 256;
/// How far the square of a vector's length may be from 1: rounding of 4,096 numbers to 32 bits stays far below.
const UNIT: f32 = 1e-3;

/// What a search returns.
#[derive(Debug, Clone)]
pub struct Search {
    /// How many items, at least 1.
    pub k: usize,
    /// Only items that fit this filter.
    pub filter: Option<Value>,
    /// Only hits with at least this score.
    pub min_score: Option<f32>,
    /// The models that look everything up that they can, each with how much it counts. Where none is named, pictures are
    /// looked up by the first one that sees pictures and texts by the first one that reads texts.
    pub models: Vec<(String, f32)>,
}

/// An item that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The item, and the reference that matched best.
    pub entry: Arc<Entry>,
    /// The cosine between the query and that reference; where two models have looked up its parts, the mean of their
    /// cosines, each weighted as its parts are.
    pub score: f32,
}

impl Engine {
    /// The best items for each query, best first.
    ///
    /// # Errors
    /// Those of the encoders; [`Error::Model`] when no model can look up a query,
    /// [`Error::Argument`] when k is 0 or the filter cannot be understood.
    pub fn search(&self, queries: &[Query], search: &Search) -> Result<Vec<Vec<Hit>>> {
        let batches = Query::encode(queries, &self.lookups(queries, &search.models)?)?;
        let filter = search.filter.as_ref().map(Filter::parse).transpose()?;
        let live = self.current()?;
        let allowed = filter.map(|filter| self.store.select(&filter)).transpose()?;
        let mut found = vec![Vec::new(); queries.len()];
        for Batch { queries, parts } in &batches {
            let dims = parts.iter().map(|part| part.vectors.dim()).sum();
            let scan = || match &parts[..] {
                [part] => live.index.search(part.space, &part.vectors, search.k, allowed.as_ref(), search.min_score),
                parts => {
                    let parts: Vec<index::Part<'_>> = parts.iter().map(Part::borrowed).collect();
                    live.index.search_sum(&parts, search.k, allowed.as_ref(), search.min_score)
                }
            };
            for (number, hits) in queries.iter().zip(self.scan(&live, queries.len(), dims, scan)?) {
                found[*number] = hits;
            }
        }
        self.hits(&live, &found)
    }

    /// The best items for each vector of one of this engine's models, the first unless the search names another; best
    /// first.
    ///
    /// # Errors
    /// [`Error::Argument`] when k is 0, the dimension is another, there is no such model or the
    /// filter cannot be understood.
    pub fn search_vectors(&self, queries: &Vectors, search: &Search) -> Result<Vec<Vec<Hit>>> {
        let space = match &search.models[..] {
            [] => 0,
            [(name, _)] => self.space(name)?,
            _ => return Err(Error::argument("a vector belongs to one model: name it, or give a vector of each model")),
        };
        let filter = search.filter.as_ref().map(Filter::parse).transpose()?;
        let live = self.current()?;
        let allowed = filter.map(|filter| self.store.select(&filter)).transpose()?;
        let scan = || live.index.search(space, queries, search.k, allowed.as_ref(), search.min_score);
        let found = self.scan(&live, queries.len(), queries.dim(), scan)?;
        self.hits(&live, &found)
    }

    /// The best items for queries of which there is a vector for each model that the search names, best first.
    ///
    /// # Errors
    /// Those of [`Engine::search_vectors`]; [`Error::Argument`] when there are not as many vectors of each model, or a model
    /// has vectors but no weight or the reverse.
    pub fn search_vectors_of_each(&self, queries: &[(String, Vectors)], search: &Search) -> Result<Vec<Vec<Hit>>> {
        let weights = self.weights(&search.models)?;
        let all: f32 = weights.iter().map(|(_, weight)| weight).sum();
        let count = queries.first().map_or(0, |(_, vectors)| vectors.len());
        let mut shares = Vec::with_capacity(weights.len());
        for (name, _) in queries {
            let space = self.space(name)?;
            let weight = weights.iter().find(|(of, _)| *of == space);
            let (_, weight) =
                weight.ok_or_else(|| Error::argument(format!("model {name:?} has vectors, but no weight")))?;
            shares.push((space, vec![weight / all; count]));
        }
        if let Some((space, _)) = weights.iter().find(|(space, _)| shares.iter().all(|(of, _)| of != space)) {
            return Err(Error::argument(format!("model {:?} has a weight, but no vectors", self.names()[*space])));
        }
        let parts: Vec<index::Part<'_>> = queries
            .iter()
            .zip(&shares)
            .map(|((_, vectors), (space, weights))| index::Part { space: *space, vectors, weights })
            .collect();
        let dims = parts.iter().map(|part| part.vectors.dim()).sum();
        let filter = search.filter.as_ref().map(Filter::parse).transpose()?;
        let live = self.current()?;
        let allowed = filter.map(|filter| self.store.select(&filter)).transpose()?;
        let scan = || live.index.search_sum(&parts, search.k, allowed.as_ref(), search.min_score);
        let found = self.scan(&live, count, dims, scan)?;
        self.hits(&live, &found)
    }

    /// Models by their numbers, each with its weight.
    fn weights(&self, models: &[(String, f32)]) -> Result<Vec<(usize, f32)>> {
        let mut weights: Vec<(usize, f32)> = Vec::with_capacity(models.len());
        for (name, weight) in models {
            let space = self.space(name)?;
            if !(weight.is_finite() && *weight > 0.0) {
                return Err(Error::argument(format!("model {name:?} cannot count {weight}: give a number above 0")));
            }
            if weights.iter().any(|(known, _)| *known == space) {
                return Err(Error::argument(format!("model {name:?} is named twice")));
            }
            weights.push((space, *weight));
        }
        Ok(weights)
    }

    /// Who looks up what of the queries.
    fn lookups(&self, queries: &[Query], models: &[(String, f32)]) -> Result<Vec<Lookup<'_>>> {
        let (images, texts) = (queries.iter().any(Query::has_images), queries.iter().any(Query::has_texts));
        let by = |space: usize, images, texts, weight| {
            let encoder = &self.encoders[space];
            Lookup { encoder, space, images, texts, weight }
        };
        if let [] | [_] = models {
            let model = models.first().map(|(name, _)| name.as_str());
            let seeing = images.then(|| self.seeing(model)).transpose()?;
            let reading = texts.then(|| self.reading(model)).transpose()?;
            if seeing.is_some() && seeing == reading {
                return Ok(seeing.map(|space| by(space, true, true, None)).into_iter().collect());
            }
            let seeing = seeing.map(|space| by(space, true, false, None));
            return Ok(seeing.into_iter().chain(reading.map(|space| by(space, false, true, None))).collect());
        }
        let several = self.weights(models)?.into_iter();
        let lookups: Vec<Lookup<'_>> =
            several.map(|(space, weight)| by(space, true, reads(&self.encoders[space]), Some(weight))).collect();
        if texts && !lookups.iter().any(|by| by.texts) {
            self.reading(Some(&models[0].0))?;
        }
        Ok(lookups)
    }

    /// Here if it is little work, otherwise on the workers.
    fn scan(
        &self,
        live: &Live,
        queries: usize,
        dims: usize,
        scan: impl FnOnce() -> Result<Vec<Vec<Found>>> + Send,
    ) -> Result<Vec<Vec<Found>>> {
        if live.index.is_small(queries, dims) { scan() } else { self.workers().install(scan) }
    }

    fn hits(&self, live: &Live, found: &[Vec<Found>]) -> Result<Vec<Vec<Hit>>> {
        let shown = || live.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<(i64, i64)> = found.iter().flatten().map(|found| (found.item, found.reference)).collect();
        let mut entries: Vec<Option<Arc<Entry>>> = {
            let shown = shown();
            rows.iter().map(|row| shown.entries.get(row).cloned()).collect()
        };
        let missing: Vec<usize> = (0..rows.len()).filter(|&i| entries[i].is_none()).collect();
        if !missing.is_empty() {
            let read = self.store.entries(&missing.iter().map(|&i| rows[i]).collect::<Vec<_>>())?;
            let mut shown = shown();
            for (i, entry) in missing.into_iter().zip(read) {
                // An entry that is missing now was removed by somebody else since the scan.
                let Some(entry) = entry.map(Arc::new) else { continue };
                shown.keep(rows[i], &entry);
                entries[i] = Some(entry);
            }
        }
        let mut entries = entries.into_iter();
        let mut hit = |found: &Found| Some(Hit { entry: entries.next()??, score: found.score });
        Ok(found.iter().map(|found| found.iter().filter_map(&mut hit).collect()).collect())
    }

    /// The index with everything that any process has committed before this call.
    pub(super) fn current(&self) -> Result<RwLockReadGuard<'_, Live>> {
        let read = || self.live.read().unwrap_or_else(PoisonError::into_inner);
        // Read before the changes are: what is committed in between is found again at the next call.
        let version = self.store.version()?;
        let live = read();
        if live.version == Some(version) {
            return Ok(live);
        }
        drop(live);
        // One thread reads the changes, without keeping the others from searching; those that must see them wait here.
        let _turn = self.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.check_search(&self.models)?;
        let mut since = read().sequence;
        loop {
            let changes = self.store.changes(&self.models, since, STEP)?;
            for vectors in &changes.vectors {
                self.check_units(&changes.references, vectors)?;
            }
            since = changes.sequence;
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            live.index.add(&changes.references, &changes.items, &changes.vectors)?;
            live.index.remove(&changes.removed)?;
            live.sequence = since;
            if !changes.more {
                live.version = Some(version);
                live.shown = Default::default();
                break;
            }
        }
        Ok(read())
    }

    /// Refuses stored vectors that are not of length 1, as all are when they are written: their scores would be no
    /// cosines, and come first.
    pub(super) fn check_units(&self, references: &[i64], vectors: &[f32]) -> Result<()> {
        let Some(dim) = vectors.len().checked_div(references.len()).filter(|dim| *dim > 0) else { return Ok(()) };
        for (reference, vector) in references.iter().zip(vectors.chunks_exact(dim)) {
            let square: f32 = vector.iter().map(|value| value * value).sum();
            // NaN is near nothing.
            let is_unit = (square - 1.0).abs() < UNIT;
            if !is_unit {
                return Err(self
                    .store
                    .damaged(*reference, &format!("its length is {} instead of 1", square.sqrt()))?);
            }
        }
        Ok(())
    }
}

impl Shown {
    fn keep(&mut self, row: (i64, i64), entry: &Arc<Entry>) {
        let texts = [&entry.label, &entry.text].into_iter().flatten().map(String::len).sum::<usize>();
        let bytes = ENTRY + texts + entry.id.len() + entry.metadata.len() + entry.reference.len();
        if bytes > LARGEST {
            return;
        }
        if self.bytes + bytes > REMEMBERED {
            *self = Self::default();
        }
        if self.entries.insert(row, Arc::clone(entry)).is_none() {
            self.bytes += bytes;
        }
    }
}
