//! Adding: read, skip what is known, encode by every model, store in one transaction.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

use rayon::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::encoder::Encoder;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::picture::Source;
use crate::stop::{self, Stop};
use crate::store::{NewItem, NewReference, check_id};
use crate::vectors::Vectors;

/// Rows of vectors that are stored in one transaction.
const ROWS: usize = 10_000;
/// The pause between two transactions of one call: longer than others wait between two tries.
const PAUSE: Duration = Duration::from_millis(6);

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

/// Items whose pictures are encoded, and of which nothing is stored yet.
pub struct Prepared {
    drafts: Vec<Draft>,
    encoded: Vec<Vec<Encoded>>,
    failed: Vec<(String, Error)>,
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
    /// A vector of each of the engine's models.
    New(Vec<Vec<f32>>),
    /// It could be read, but a model could not make a vector of it.
    Unusable,
}

/// A picture that has been read, and the digest of its content.
type Digested = (Source, [u8; 32]);

impl Engine {
    /// Adds an item or adds to one, in one transaction; nothing is stored when a picture cannot be used.
    ///
    /// # Errors
    /// The first picture's error; [`Error::Argument`] when the id cannot be one, or a new item has no picture.
    pub fn add(&self, draft: Draft) -> Result<Added> {
        if draft.sources.is_empty() && !self.store.contains(&draft.id)? {
            return Err(Error::argument(format!("item {:?} is new, so it needs at least one picture", draft.id)));
        }
        let mut prepared = self.prepare(vec![draft])?;
        if !prepared.failed.is_empty() {
            return Err(prepared.failed.swap_remove(0).1);
        }
        self.commit(prepared)
    }

    /// What adding many items takes before they are stored: their pictures are read and encoded, but for those that their
    /// item has already.
    ///
    /// # Errors
    /// Those of the encoders and of the store, [`Error::Interrupted`] when it is called off; a picture that cannot be used
    /// is none.
    pub fn prepare(&self, drafts: Vec<Draft>) -> Result<Prepared> {
        let (encoded, failed) = self.encode(&drafts)?;
        // Pictures that were left then must not count as pictures that cannot be used.
        Stop::current().check()?;
        Ok(Prepared { drafts, encoded, failed })
    }

    /// Stores items in one transaction. Pictures that cannot be used are reported; an item that has none left, and had
    /// none before, is not made.
    ///
    /// # Errors
    /// Those of the store: then nothing of them is stored.
    pub fn commit(&self, Prepared { drafts, encoded, failed }: Prepared) -> Result<Added> {
        self.write(&drafts, &encoded, failed)
    }

    /// How many pictures keep everything busy that this engine computes on.
    pub fn at_once(&self) -> usize {
        self.encoders.iter().map(|encoder| encoder.at_once()).max().unwrap_or(1)
    }

    /// Adds vectors that were computed elsewhere, row `i` as a reference of item `ids[i]`: rows of each of this engine's
    /// models, by its name, which may be left out where there is one. Every 10,000 rows are one transaction, between
    /// which others may write; what is stored is found again by its digest, so that adding all again goes on.
    ///
    /// # Errors
    /// [`Error::Argument`] when a model has no vectors, or not as many as there are ids, or of another dimension, or an id
    /// cannot be one: then nothing is stored; [`Error::Catalog`] when the catalog has other models besides;
    /// [`Error::Interrupted`] between two transactions.
    pub fn add_vectors(&self, ids: &[String], vectors: &[(Option<String>, Vectors)]) -> Result<Added> {
        let vectors = self.by_model(ids.len(), vectors)?;
        ids.iter().try_for_each(|id| check_id(id))?;
        self.store.check_add(&self.models)?;
        // So that the digest does not depend on the order in which the models were opened.
        let mut order: Vec<usize> = (0..self.models.len()).collect();
        order.sort_unstable_by_key(|space| self.models[*space]);
        let mut all = Added::default();
        for start in (0..ids.len()).step_by(ROWS) {
            if start > 0 {
                // Others who want to write get their turn.
                stop::look()?;
                thread::sleep(PAUSE);
            }
            let rows = start..ids.len().min(start + ROWS);
            let added = self.add_rows(&ids[rows.clone()], rows.start, &vectors, &order)?;
            all.items += added.items;
            all.references += added.references;
            all.duplicates += added.duplicates;
        }
        Ok(all)
    }

    /// Adds the rows of `vectors` from `first` on, one for each id, in one transaction.
    fn add_rows(&self, ids: &[String], first: usize, vectors: &[&Vectors], order: &[usize]) -> Result<Added> {
        let mut items: HashMap<&str, usize> = HashMap::new();
        let mut drafts: Vec<Draft> = Vec::new();
        let mut encoded: Vec<Vec<Encoded>> = Vec::new();
        for (row, id) in ids.iter().enumerate().map(|(row, id)| (first + row, id)) {
            let place = *items.entry(id).or_insert_with(|| {
                drafts.push(Draft::new(id));
                encoded.push(Vec::new());
                drafts.len() - 1
            });
            let mut digest = Sha256::new();
            for space in order {
                let bytes: Vec<u8> = vectors[*space].row(row).iter().flat_map(|value| value.to_le_bytes()).collect();
                digest.update(bytes);
            }
            let outcome = Outcome::New(vectors.iter().map(|vectors| vectors.row(row).to_vec()).collect());
            encoded[place].push(Encoded { name: "vector".into(), digest: digest.finalize().into(), outcome });
        }
        self.write(&drafts, &encoded, Vec::new())
    }

    /// The vectors in the order of the models.
    fn by_model<'a>(&self, ids: usize, vectors: &'a [(Option<String>, Vectors)]) -> Result<Vec<&'a Vectors>> {
        let mut places: Vec<Option<&Vectors>> = vec![None; self.models.len()];
        for (name, vectors) in vectors {
            let space = match name {
                Some(name) => self.space(name)?,
                None if self.models.len() == 1 => 0,
                None => {
                    return Err(Error::argument(format!(
                        "a reference has a vector of each model: give rows for each of {:?}, by their names",
                        self.names()
                    )));
                }
            };
            let (name, dim) = (self.names()[space], self.encoders[space].dim());
            if vectors.len() != ids {
                return Err(Error::argument(format!("{ids} ids for {} vectors: give one for each", vectors.len())));
            }
            if vectors.dim() != dim {
                let given = vectors.dim();
                return Err(Error::argument(format!("vectors of model {name:?} have {dim} numbers, got {given}")));
            }
            if places[space].replace(vectors).is_some() {
                return Err(Error::argument(format!("vectors of model {name:?} were given twice")));
            }
        }
        let lacking = |name| Error::argument(format!("a reference has a vector of each model: those of {name:?} lack"));
        places.into_iter().zip(self.names()).map(|(place, name)| place.ok_or_else(|| lacking(name))).collect()
    }

    /// For each draft its readable pictures, with vectors for the new ones; and the pictures that cannot be used.
    #[allow(clippy::type_complexity)] // two lists that are taken apart at once
    fn encode(&self, drafts: &[Draft]) -> Result<(Vec<Vec<Encoded>>, Vec<(String, Error)>)> {
        if drafts.iter().any(|draft| !draft.sources.is_empty()) {
            self.seeing(None)?;
            self.store.check_add(&self.models)?;
        }
        let mut failed = Vec::new();
        let mut encoded: Vec<Vec<Encoded>> = Vec::with_capacity(drafts.len());
        let mut fresh: Vec<Source> = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::new();
        for (draft, read) in drafts.iter().zip(self.read(drafts)) {
            let mut pictures = Vec::with_capacity(read.len());
            let digests: Vec<[u8; 32]> =
                read.iter().filter_map(|r| r.as_ref().ok().map(|(_, digest)| *digest)).collect();
            let mut known = self.store.holds(&draft.id, &digests, &self.models)?.into_iter();
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
        let encoders: Vec<&Encoder> = self.encoders.iter().map(|encoder| &**encoder).collect();
        for ((draft, place), vectors) in places.into_iter().zip(Encoder::each_image_by(&encoders, &fresh)?) {
            let picture = &mut encoded[draft][place];
            match vectors {
                Ok(vectors) => picture.outcome = Outcome::New(vectors.into_iter().map(Vectors::into_inner).collect()),
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
        self.workers().install(|| drafts.par_iter().map(all).collect())
    }

    fn write(&self, drafts: &[Draft], encoded: &[Vec<Encoded>], failed: Vec<(String, Error)>) -> Result<Added> {
        let mut added = Added { failed, ..Added::default() };
        let mut items = Vec::with_capacity(drafts.len());
        for (draft, pictures) in drafts.iter().zip(encoded) {
            let mut references = Vec::with_capacity(pictures.len());
            for Encoded { name, digest, outcome } in pictures {
                match outcome {
                    Outcome::Known => added.duplicates += 1,
                    Outcome::New(vectors) => {
                        let rows = self.models.iter().copied().zip(vectors.iter().map(Vec::as_slice));
                        references.push(NewReference { name, digest: *digest, vectors: rows.collect() });
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
}
