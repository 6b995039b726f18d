//! An open catalog: add, remove, search.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::{Found, Index};
use crate::picture::Source;
use crate::query::Query;
use crate::store::{Entry, Item, NewItem, NewReference, Store, Update};
use crate::vectors::Vectors;

/// Vectors that are read from the store at once while the index catches up.
const PART: usize = 16_384;
/// Entries of hits that are kept in memory.
const REMEMBERED: usize = 65_536;

/// An item that is to be added, or to be added to.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The item's id.
    pub id: String,
    /// Pictures of it.
    pub sources: Vec<Source>,
    /// A class that many items may share; `None` keeps what is stored.
    pub label: Option<String>,
    /// Free data, a JSON object; `None` keeps what is stored.
    pub metadata: Option<Value>,
    /// A description; `None` keeps what is stored.
    pub text: Option<String>,
}

impl Draft {
    /// An item of that id and nothing else yet.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), sources: Vec::new(), label: None, metadata: None, text: None }
    }
}

/// What adding did.
#[derive(Debug, Default)]
pub struct Added {
    /// Items that are new in the catalog.
    pub items: usize,
    /// References that are new in the catalog.
    pub references: usize,
    /// Pictures that their item had already.
    pub duplicates: usize,
    /// Pictures that could not be used: their names and why.
    pub failed: Vec<(String, Error)>,
}

/// What a search returns.
#[derive(Debug, Clone)]
pub struct Search {
    /// How many items, at least 1.
    pub k: usize,
    /// Only items that fit this filter.
    pub filter: Option<Value>,
    /// Only hits with at least this cosine.
    pub min_score: Option<f32>,
}

/// An item that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The item, and the reference that matched best.
    pub entry: Arc<Entry>,
    /// The cosine between the query and that reference.
    pub score: f32,
}

/// An open catalog. Share it between threads: every method takes `&self`, and searches do not wait for long writes.
pub struct Engine {
    encoder: Arc<Encoder>,
    store: Store,
    model: i64,
    live: RwLock<Live>,
    catching_up: Mutex<()>,
}

/// What searching needs in memory. Everything that was committed up to the store's `version` is in it.
struct Live {
    index: Index,
    /// The sequence number that the index has reached.
    sequence: i64,
    version: i64,
    /// Entries that were shown since then, by item and reference.
    shown: Mutex<HashMap<(i64, i64), Arc<Entry>>>,
}

/// A picture that was read, and what came of it.
struct Encoded {
    name: String,
    digest: [u8; 32],
    outcome: Outcome,
}

enum Outcome {
    /// The item has it already.
    Known,
    New(Vec<f32>),
    /// It could be read, but not become a vector.
    Unusable,
}

/// A picture that has been read, and the digest of its content.
type Digested = (Source, [u8; 32]);

impl Engine {
    /// Opens the catalog in `directory` to encode with `encoder`, on whose threads the engine's work runs; makes one
    /// if there is none and `create` says so.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the directory is not a catalog, belongs to another model or cannot be written.
    pub fn open(directory: &Path, encoder: Arc<Encoder>, create: bool) -> Result<Self> {
        let store = Store::open(directory, create)?;
        let model = store.model(encoder.model().name(), encoder.model().fingerprint(), encoder.dim())?;
        let live = Live { index: Index::new(encoder.dim())?, sequence: 0, version: -1, shown: Mutex::default() };
        let engine = Self { encoder, store, model, live: RwLock::new(live), catching_up: Mutex::new(()) };
        drop(engine.current()?);
        Ok(engine)
    }

    /// What pictures and texts become vectors with.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    // Adding: read, skip what is known, encode, store in one transaction.

    /// Adds an item or adds to one, in one transaction; nothing is stored when a picture cannot be used.
    ///
    /// # Errors
    /// The first picture's error; [`Error::Argument`] when the id cannot be one, or a new item has no picture.
    pub fn add(&self, draft: Draft) -> Result<Added> {
        if draft.sources.is_empty() && !self.store.contains(&draft.id)? {
            return Err(Error::argument(format!("item {:?} is new, so it needs at least one picture", draft.id)));
        }
        let (encoded, mut failed) = self.encode(std::slice::from_ref(&draft))?;
        if !failed.is_empty() {
            return Err(failed.swap_remove(0).1);
        }
        self.write(&[draft], &encoded, Vec::new())
    }

    /// Adds many items in one transaction. Pictures that cannot be used are reported; an item that has none left, and
    /// had none before, is not made.
    ///
    /// # Errors
    /// Those of the store: then nothing of the batch is stored.
    pub fn add_batch(&self, drafts: &[Draft]) -> Result<Added> {
        let (encoded, failed) = self.encode(drafts)?;
        self.write(drafts, &encoded, failed)
    }

    /// Adds vectors of this engine's model that were computed elsewhere, row `i` as a reference of item `ids[i]`, in one
    /// transaction.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are not as many ids as vectors, or the dimension is not the model's.
    pub fn add_vectors(&self, ids: &[String], vectors: &Vectors) -> Result<Added> {
        if ids.len() != vectors.len() {
            return Err(Error::argument(format!("{} ids for {} vectors: give one for each", ids.len(), vectors.len())));
        }
        let mut items: HashMap<&str, usize> = HashMap::new();
        let mut drafts: Vec<Draft> = Vec::new();
        let mut encoded: Vec<Vec<Encoded>> = Vec::new();
        for (id, vector) in ids.iter().zip(vectors.rows()) {
            let place = *items.entry(id).or_insert_with(|| {
                drafts.push(Draft::new(id));
                encoded.push(Vec::new());
                drafts.len() - 1
            });
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            let digest = Sha256::digest(bytes).into();
            encoded[place].push(Encoded { name: "vector".into(), digest, outcome: Outcome::New(vector.to_vec()) });
        }
        self.write(&drafts, &encoded, Vec::new())
    }

    /// For each draft its readable pictures, with vectors for the new ones; and the pictures that cannot be used.
    #[allow(clippy::type_complexity)] // two lists that are taken apart at once
    fn encode(&self, drafts: &[Draft]) -> Result<(Vec<Vec<Encoded>>, Vec<(String, Error)>)> {
        let mut failed = Vec::new();
        let mut encoded: Vec<Vec<Encoded>> = Vec::with_capacity(drafts.len());
        let mut fresh: Vec<Source> = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::new();
        for (draft, read) in drafts.iter().zip(self.read(drafts)) {
            let mut pictures = Vec::with_capacity(read.len());
            let digests: Vec<[u8; 32]> =
                read.iter().filter_map(|r| r.as_ref().ok().map(|(_, digest)| *digest)).collect();
            let mut known = self.store.holds(&draft.id, &digests, &[self.model])?.into_iter();
            let mut seen = HashSet::new();
            for (source, read) in draft.sources.iter().zip(read) {
                let name = source.name();
                match read {
                    Ok((source, digest)) => {
                        let mut outcome = Outcome::Known;
                        if !known.next().unwrap_or(false) && seen.insert(digest) {
                            outcome = Outcome::Unusable; // until it is encoded, below
                            places.push((encoded.len(), pictures.len()));
                            fresh.push(source);
                        }
                        pictures.push(Encoded { name, digest, outcome });
                    }
                    Err(error) => failed.push((name, error)),
                }
            }
            encoded.push(pictures);
        }
        for ((draft, place), vector) in places.into_iter().zip(self.encoder.each_image(&fresh)) {
            let picture = &mut encoded[draft][place];
            match vector {
                Ok(vector) => picture.outcome = Outcome::New(vector),
                Err(error) => failed.push((picture.name.clone(), error)),
            }
        }
        Ok((encoded, failed))
    }

    /// Every draft's pictures, read once, with the digest of their content.
    fn read(&self, drafts: &[Draft]) -> Vec<Vec<Result<Digested>>> {
        let read = |source: &Source| {
            let source = source.read()?;
            let digest = source.digest()?;
            Ok((source, digest))
        };
        let all = |draft: &Draft| draft.sources.par_iter().map(read).collect();
        self.encoder.workers().install(|| drafts.par_iter().map(all).collect())
    }

    fn write(&self, drafts: &[Draft], encoded: &[Vec<Encoded>], failed: Vec<(String, Error)>) -> Result<Added> {
        let mut added = Added { failed, ..Added::default() };
        let mut items = Vec::with_capacity(drafts.len());
        for (draft, pictures) in drafts.iter().zip(encoded) {
            let mut references = Vec::with_capacity(pictures.len());
            for Encoded { name, digest, outcome } in pictures {
                match outcome {
                    Outcome::Known => added.duplicates += 1,
                    Outcome::New(vector) => {
                        references.push(NewReference { name, digest: *digest, vectors: vec![(self.model, vector)] });
                    }
                    Outcome::Unusable => {}
                }
            }
            if references.is_empty() && !self.store.contains(&draft.id)? {
                continue;
            }
            items.push(NewItem {
                id: &draft.id,
                label: draft.label.as_deref(),
                text: draft.text.as_deref(),
                metadata: draft.metadata.as_ref(),
                references,
            });
        }
        for stored in self.store.add_all(&items)? {
            let new = stored.new.iter().filter(|new| **new).count();
            added.items += usize::from(stored.created);
            added.references += new;
            added.duplicates += stored.new.len() - new;
        }
        Ok(added)
    }

    /// Changes the label, text or metadata of an item.
    ///
    /// # Errors
    /// [`Error::UnknownItem`]; [`Error::Argument`] for what cannot be stored.
    pub fn update(&self, id: &str, update: &Update<'_>) -> Result<()> {
        self.store.update(id, update)
    }

    /// Removes items with all their references and vectors; all of them or, when one is not there, none.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn remove(&self, ids: &[String]) -> Result<()> {
        self.store.remove(ids)
    }

    // Looking

    /// The item of that id.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn get(&self, id: &str) -> Result<Item> {
        self.store.get(id)
    }

    /// Whether there is an item of that id.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn contains(&self, id: &str) -> Result<bool> {
        self.store.contains(id)
    }

    /// The items that fit `filter`, in the order in which they were added, `limit` of them from `offset` on.
    ///
    /// # Errors
    /// [`Error::Argument`] when the filter cannot be understood.
    pub fn items(&self, filter: Option<&Value>, offset: usize, limit: Option<usize>) -> Result<Vec<Item>> {
        let filter = filter.map(Filter::parse).transpose()?;
        self.store.items(filter.as_ref(), offset, limit)
    }

    /// The vectors of an item's references, in their order.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn vectors(&self, id: &str) -> Result<Vectors> {
        let rows = self.store.vectors(id, self.model)?.into_iter().flat_map(|(_, vector)| vector);
        Vectors::normalize(self.encoder.dim(), rows.collect())
    }

    /// How many items there are.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn len(&self) -> Result<usize> {
        self.store.len()
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        self.store.is_empty()
    }

    /// Counts, sizes, the model and the index.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn stats(&self) -> Result<Map<String, Value>> {
        let stored = self.store.stats()?;
        let indexed = self.current()?.index.len();
        let model = self.encoder.model();
        let Value::Object(stats) = json!({
            "path": self.store.directory().to_string_lossy(),
            "items": stored.items,
            "references": stored.references,
            "bytes": stored.bytes,
            "model": model.name(),
            "version": model.version(),
            "fingerprint": model.fingerprint(),
            "dimension": model.dim(),
            "languages": model.languages(),
            "index": "exact",
            "indexed": indexed,
            "threads": self.encoder.threads(),
        }) else {
            unreachable!("json! of braces is an object")
        };
        Ok(stats)
    }

    // Searching: encode, catch up, scan, show.

    /// The best items for each query, best first.
    ///
    /// # Errors
    /// Those of the encoder; [`Error::Argument`] when k is 0 or the filter cannot be understood.
    pub fn search(&self, queries: &[Query], search: &Search) -> Result<Vec<Vec<Hit>>> {
        self.search_vectors(&Query::encode(queries, &self.encoder)?, search)
    }

    /// The best items for each vector of this engine's model, best first.
    ///
    /// # Errors
    /// [`Error::Argument`] when k is 0, the dimension is another or the filter cannot be understood.
    pub fn search_vectors(&self, queries: &Vectors, search: &Search) -> Result<Vec<Vec<Hit>>> {
        let filter = search.filter.as_ref().map(Filter::parse).transpose()?;
        let live = self.current()?;
        let allowed = filter.map(|filter| self.store.select(&filter)).transpose()?;
        let scan = || live.index.search(queries, search.k, allowed.as_ref(), search.min_score);
        let small = live.index.is_small(queries.len());
        let found = if small { scan()? } else { self.encoder.workers().install(scan)? };
        self.hits(&live, &found)
    }

    fn hits(&self, live: &Live, found: &[Vec<Found>]) -> Result<Vec<Vec<Hit>>> {
        let shown = || live.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<(i64, i64)> = found.iter().flatten().map(|found| (found.item, found.reference)).collect();
        let mut entries: Vec<Option<Arc<Entry>>> = {
            let shown = shown();
            rows.iter().map(|row| shown.get(row).cloned()).collect()
        };
        let missing: Vec<usize> = (0..rows.len()).filter(|&i| entries[i].is_none()).collect();
        if !missing.is_empty() {
            let read = self.store.entries(&missing.iter().map(|&i| rows[i]).collect::<Vec<_>>())?;
            let mut shown = shown();
            if shown.len() > REMEMBERED {
                shown.clear();
            }
            for (i, entry) in missing.into_iter().zip(read) {
                // An entry that is missing now was removed by somebody else since the scan.
                let Some(entry) = entry.map(Arc::new) else { continue };
                shown.insert(rows[i], Arc::clone(&entry));
                entries[i] = Some(entry);
            }
        }
        let mut entries = entries.into_iter();
        let mut hit = |found: &Found| Some(Hit { entry: entries.next()??, score: found.score });
        Ok(found.iter().map(|found| found.iter().filter_map(&mut hit).collect()).collect())
    }

    /// The index with everything that any process has committed before this call.
    fn current(&self) -> Result<RwLockReadGuard<'_, Live>> {
        let read = || self.live.read().unwrap_or_else(PoisonError::into_inner);
        // Read before the changes are: what is committed in between is found again at the next call.
        let version = self.store.version()?;
        let live = read();
        if live.version == version {
            return Ok(live);
        }
        drop(live);
        // One thread reads the changes, without keeping the others from searching; those that must see them wait here.
        let _turn = self.catching_up.lock().unwrap_or_else(PoisonError::into_inner);
        let mut since = read().sequence;
        loop {
            let changes = self.store.changes(self.model, since, PART)?;
            since = changes.sequence;
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            live.index.add(&changes.references, &changes.items, &changes.vectors)?;
            live.index.remove(&changes.removed)?;
            live.sequence = since;
            if !changes.more {
                live.version = version;
                live.shown = Mutex::default();
                break;
            }
        }
        Ok(read())
    }
}
