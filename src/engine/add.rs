//! Adding: read, skip what is known, encode by every model, store in one transaction.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
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
use crate::store::{NewItem, NewReference, Seen, check_fields};
use crate::vectors::Vectors;
use crate::words;

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

    /// Checks all but the pictures.
    ///
    /// # Errors
    /// [`Error::Argument`] for an id, a label, a text or metadata that cannot be stored.
    pub fn check(&self) -> Result<()> {
        check_fields(&self.id, self.label.as_deref(), self.text.as_deref(), self.metadata.as_ref())
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
    /// Of the duplicates, those whose reference got the name of the file that was added, for the old one is gone.
    pub renamed: usize,
    /// References that were removed, for their file holds another picture now.
    pub replaced: usize,
}

/// Items whose pictures are encoded, and of which nothing is stored yet.
pub struct Prepared {
    drafts: Vec<Draft>,
    /// Which drafts came without pictures.
    bare: Vec<bool>,
    encoded: Vec<Vec<Encoded>>,
    failed: Vec<(String, Error)>,
}

impl Prepared {
    /// Adds what is to be stored in the same transaction.
    pub fn extend(&mut self, more: Self) {
        self.drafts.extend(more.drafts);
        self.bare.extend(more.bare);
        self.encoded.extend(more.encoded);
        self.failed.extend(more.failed);
    }
}

/// A picture that was read, and what came of it.
struct Encoded {
    name: String,
    digest: [u8; 32],
    /// Whether it is a file, whose path is the name.
    file: bool,
    outcome: Outcome,
}

enum Outcome {
    /// The item has it already.
    Known {
        /// Whether by another name.
        otherwise: bool,
        /// Whether that name leads to it no more.
        gone: bool,
    },
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
        let prepared = self.prepare_whole(draft)?;
        self.commit(prepared)
    }

    /// Encodes a part of an item for [`add`](Self::add), all of whose pictures must be usable.
    ///
    /// # Errors
    /// As those of [`add`](Self::add).
    pub fn prepare_whole(&self, draft: Draft) -> Result<Prepared> {
        if draft.sources.is_empty() && !self.contains(&draft.id)? {
            return Err(pictureless(&draft.id));
        }
        let mut prepared = self.prepare(vec![draft])?;
        if prepared.failed.is_empty() { Ok(prepared) } else { Err(prepared.failed.swap_remove(0).1) }
    }

    /// What adding many items takes before they are stored: their pictures are read and encoded, but for those that their
    /// item has already.
    ///
    /// # Errors
    /// Those of the encoders and of the store, [`Error::Interrupted`] when it is called off; a picture that cannot be used
    /// is none.
    pub fn prepare(&self, drafts: Vec<Draft>) -> Result<Prepared> {
        let mut drafts = drafts.into_iter().map(|draft| self.spelled(draft)).collect::<Result<Vec<_>>>()?;
        let (encoded, failed) = self.encode(&drafts)?;
        // Pictures that were left then must not count as pictures that cannot be used.
        Stop::current().check()?;
        // They may hold much memory, and are not needed any more.
        let bare = drafts.iter_mut().map(|draft| std::mem::take(&mut draft.sources).is_empty()).collect();
        Ok(Prepared { drafts, bare, encoded, failed })
    }

    /// A draft in the form in which ids, labels, texts and metadata are kept.
    fn spelled(&self, draft: Draft) -> Result<Draft> {
        let form = |text: Option<String>| text.map(|text| words::composed(&text).into_owned());
        let id = self.spelling(&draft.id)?.into_owned();
        let metadata = draft.metadata.as_ref().map(words::composed_value);
        Ok(Draft { id, label: form(draft.label), text: form(draft.text), metadata, ..draft })
    }

    /// Stores items in one transaction. Pictures that cannot be used are reported; an item that has none left, and had
    /// none before, is not made.
    ///
    /// # Errors
    /// Those of the store: then nothing of them is stored.
    pub fn commit(&self, prepared: Prepared) -> Result<Added> {
        let mut added = Added::default();
        let mut next = Some(prepared);
        while let Some(Prepared { drafts, bare, encoded, failed }) = next {
            let (done, lost) = self.write(&drafts, &encoded, failed)?;
            for (draft, _) in drafts.iter().zip(bare).filter(|(_, bare)| *bare) {
                if !self.store.contains(&draft.id)? {
                    added.failed.push((draft.id.clone(), pictureless(&draft.id)));
                }
            }
            added.items += done.items;
            added.references += done.references;
            added.duplicates += done.duplicates;
            added.failed.extend(done.failed);
            added.renamed += done.renamed;
            added.replaced += done.replaced;
            next = if lost.is_empty() { None } else { Some(self.prepare(lost)?) };
        }
        Ok(added)
    }

    /// The row of the newest reference, from which [`settle_moved`](Self::settle_moved) goes on.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn newest(&self) -> Result<i64> {
        self.store.newest()
    }

    /// Takes references out of their items whose files were added to others since reference `since`, and are gone where
    /// they were; returns how many. Items that have none left are removed.
    ///
    /// # Errors
    /// Those of the store: then nothing has moved.
    pub fn settle_moved(&self, since: i64) -> Result<usize> {
        self.store.settle_moved(since)
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
        if ids.is_empty() && vectors.iter().all(|(_, vectors)| vectors.is_empty()) {
            return Ok(Added::default());
        }
        let vectors = self.by_model(ids.len(), vectors)?;
        let ids = ids.iter().map(|id| self.spelling(id)).collect::<Result<Vec<_>>>()?;
        ids.iter().try_for_each(|id| check_fields(id, None, None, None))?;
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
            let added = self.add_rows(&ids[rows.clone()], start, &vectors, &order).map_err(|error| match start {
                0 => error,
                _ => error.after(format!("{start} of {} rows were stored", ids.len())),
            })?;
            all.items += added.items;
            all.references += added.references;
            all.duplicates += added.duplicates;
        }
        Ok(all)
    }

    /// Adds the rows of `vectors` from `first` on, one for each id, in one transaction.
    fn add_rows(&self, ids: &[Cow<'_, str>], first: usize, vectors: &[&Vectors], order: &[usize]) -> Result<Added> {
        let mut items: HashMap<&str, usize> = HashMap::new();
        let mut drafts: Vec<Draft> = Vec::new();
        let mut encoded: Vec<Vec<Encoded>> = Vec::new();
        for (row, id) in ids.iter().enumerate().map(|(row, id)| (first + row, id)) {
            let place = *items.entry(id).or_insert_with(|| {
                drafts.push(Draft::new(&**id));
                encoded.push(Vec::new());
                drafts.len() - 1
            });
            let mut digest = Sha256::new();
            for space in order {
                let bytes: Vec<u8> = vectors[*space].row(row).iter().flat_map(|value| value.to_le_bytes()).collect();
                digest.update(bytes);
            }
            let outcome = Outcome::New(vectors.iter().map(|vectors| vectors.row(row).to_vec()).collect());
            encoded[place].push(Encoded {
                name: "vector".into(),
                digest: digest.finalize().into(),
                file: false,
                outcome,
            });
        }
        Ok(self.write(&drafts, &encoded, Vec::new())?.0)
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
        let mut places: Vec<(usize, usize, usize)> = Vec::new();
        // Pictures that their draft has twice, with the place of the first.
        let mut copies: Vec<(usize, usize, usize, usize)> = Vec::new();
        for (draft, read) in drafts.iter().zip(self.read(drafts)) {
            let mut pictures = Vec::with_capacity(read.len());
            let digests: Vec<[u8; 32]> =
                read.iter().filter_map(|r| r.as_ref().ok().map(|(_, digest)| *digest)).collect();
            let mut known = self.store.holds(&draft.id, &digests, &self.models)?.into_iter();
            let mut names = self.store.names(&draft.id, &digests)?.into_iter();
            let mut seen: HashMap<[u8; 32], usize> = HashMap::new();
            for (origin, (source, read)) in draft.sources.iter().zip(read).enumerate() {
                // Each digest has its place in both lists.
                let read =
                    read.map(|(read, digest)| (read, digest, known.next().unwrap_or(false), names.next().flatten()));
                match read.and_then(|read| Ok((read, reference_name(source)?))) {
                    Ok(((read, digest, known, held), name)) => {
                        let file = matches!(source, Source::Path(_));
                        let mut outcome = Outcome::Known { otherwise: false, gone: false };
                        if known {
                            if let Some(old) = held.filter(|old| file && *old != name) {
                                outcome = Outcome::Known { otherwise: true, gone: is_gone(&old, &digest) };
                            }
                        } else if let Some(first) = seen.get(&digest) {
                            copies.push((encoded.len(), pictures.len(), origin, *first));
                        } else {
                            seen.insert(digest, pictures.len());
                            outcome = Outcome::Unusable; // until it is encoded, below
                            places.push((encoded.len(), pictures.len(), origin));
                            fresh.push(read);
                        }
                        pictures.push(Encoded { name, digest, file, outcome });
                    }
                    Err(error) => failed.push((told(&draft.id, source), error)),
                }
            }
            encoded.push(pictures);
        }
        let encoders: Vec<&Encoder> = self.encoders.iter().map(|encoder| &**encoder).collect();
        let mut reasons: HashMap<(usize, usize), String> = HashMap::new();
        for ((draft, place, origin), vectors) in places.into_iter().zip(Encoder::each_image_by(&encoders, &fresh)?) {
            let picture = &mut encoded[draft][place];
            match vectors {
                Ok(vectors) => picture.outcome = Outcome::New(vectors.into_iter().map(Vectors::into_inner).collect()),
                Err(error) => {
                    if let Error::Picture { reason, .. } = &error {
                        reasons.insert((draft, place), reason.clone());
                    }
                    failed.push((told(&drafts[draft].id, &drafts[draft].sources[origin]), error));
                }
            }
        }
        for (draft, place, origin, first) in copies {
            // It cannot be used either.
            if let Some(reason) = reasons.get(&(draft, first)) {
                let source = &drafts[draft].sources[origin];
                encoded[draft][place].outcome = Outcome::Unusable;
                failed.push((told(&drafts[draft].id, source), Error::picture(source.name(), reason)));
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

    /// Stores in one transaction, and tells which pictures are to be prepared again: those that their item had, and that
    /// were removed meanwhile.
    fn write(
        &self,
        drafts: &[Draft],
        encoded: &[Vec<Encoded>],
        failed: Vec<(String, Error)>,
    ) -> Result<(Added, Vec<Draft>)> {
        let mut added = Added { failed, ..Added::default() };
        let mut items: Vec<NewItem<'_>> = Vec::with_capacity(drafts.len());
        let mut made: HashSet<&str> = HashSet::new();
        let mut seen = Vec::new();
        let mut origins: Vec<(&Draft, &Encoded)> = Vec::new();
        for (draft, pictures) in drafts.iter().zip(encoded) {
            let mut references = Vec::with_capacity(pictures.len());
            for picture in pictures {
                let Encoded { name, digest, file, outcome } = picture;
                let (name_known, renamed) = match outcome {
                    Outcome::Known { otherwise, gone } => {
                        added.duplicates += 1;
                        (*otherwise, *gone)
                    }
                    Outcome::New(vectors) => {
                        let rows = self.models.iter().copied().zip(vectors.iter().map(Vec::as_slice));
                        references.push(NewReference { name, digest: *digest, vectors: rows.collect() });
                        (*file, false)
                    }
                    Outcome::Unusable => continue,
                };
                origins.push((draft, picture));
                let name = name_known.then_some(name.as_str());
                seen.push(Seen { id: &draft.id, digest: *digest, name, renamed });
            }
            if !references.is_empty() {
                made.insert(&draft.id);
            } else if !made.contains(draft.id.as_str()) && !self.store.contains(&draft.id)? {
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
        let stored = self.store.add_seen(&items, &seen)?;
        for stored in &stored.items {
            let new = stored.new.iter().filter(|new| **new).count();
            added.items += usize::from(stored.created);
            added.references += new;
            added.duplicates += stored.new.len() - new;
        }
        added.renamed = stored.renamed;
        added.replaced = stored.replaced;
        let mut lost = Vec::new();
        for place in stored.lost {
            let (draft, picture) = origins[place];
            added.duplicates -= 1;
            if picture.file {
                lost.push(Draft { sources: vec![Source::Path(picture.name.clone().into())], ..draft.clone() });
            } else {
                let reason = "it was removed while it was being added; add it again";
                added.failed.push((format!("{}: {}", draft.id, picture.name), Error::picture(&picture.name, reason)));
            }
        }
        Ok((added, lost))
    }
}

fn pictureless(id: &str) -> Error {
    Error::argument(format!("item {id:?} is new, so it needs at least one picture"))
}

/// A path as text; bytes that are not UTF-8 are written as `\xE9`, so that different paths stay different.
pub fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    text
}

/// The name of the reference that a picture becomes: of a file its absolute path, so that it is found from any
/// directory.
fn reference_name(source: &Source) -> Result<String> {
    let Source::Path(path) = source else { return Ok(source.name()) };
    let absolute = std::path::absolute(path).map_err(Error::io(path))?;
    absolute.into_os_string().into_string().map_err(|_| {
        Error::picture(shown(path), "its path is not UTF-8, so that no reference can name it; rename it first")
    })
}

/// Names a picture that cannot be used, for the report.
fn told(id: &str, source: &Source) -> String {
    match source {
        Source::Path(path) => shown(path),
        _ => format!("{id}: {}", source.name()),
    }
}

/// Whether content is not found any more by the name that its reference has. A name that is no absolute path says
/// nothing from another directory.
fn is_gone(name: &str, digest: &[u8; 32]) -> bool {
    let path = Path::new(name);
    path.is_relative() || Source::Path(path.into()).digest().ok().as_ref() != Some(digest)
}
