//! Adding: read, skip what is known, encode by every model, store in one transaction.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value;

use crate::cancel::Cancel;
use crate::encoder::Seen as SeenPicture;
use crate::encoder::{Encode, each_image, means, mesh_images};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::picture::Source;
use crate::render::studio::{ALL, View};
use crate::store::thumbnails::Key;
use crate::store::{NewItem, NewReference, Seen, check_fields};
use crate::vectors::Vectors;
use crate::views;
use crate::words;

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
    /// Whether the item becomes exactly this: `None` clears a field, and references to other pictures are removed. It
    /// stays as it was if one of the pictures cannot be used.
    pub upsert: bool,
}

impl Draft {
    /// An item of that id and nothing else yet.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), sources: Vec::new(), label: None, metadata: None, text: None, upsert: false }
    }

    /// Checks all but the pictures.
    ///
    /// # Errors
    /// [`Error::Argument`] for an id, a label, a text or metadata that cannot be stored.
    pub fn check(&self) -> Result<()> {
        check_fields(&self.id, self.label.as_deref(), self.text.as_deref(), self.metadata.as_ref()).map(drop)
    }
}

/// The outcome of adding.
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
    /// References that were removed, for their file holds another picture now, or their item was given without them.
    pub replaced: usize,
    /// Meshes of which something was left out: their names and what.
    pub notes: Vec<(String, String)>,
}

/// Items whose pictures are encoded, and of which nothing is stored yet.
pub struct Prepared {
    drafts: Vec<Draft>,
    /// How many pictures each draft came with.
    given: Vec<usize>,
    encoded: Vec<Vec<Encoded>>,
    failed: Vec<(String, Error)>,
    notes: Vec<(String, String)>,
}

impl Prepared {
    /// Adds further pictures of the same item.
    pub fn append(&mut self, more: Self) {
        for (given, more) in self.given.iter_mut().zip(more.given) {
            *given += more;
        }
        for (encoded, more) in self.encoded.iter_mut().zip(more.encoded) {
            encoded.extend(more);
        }
        self.failed.extend(more.failed);
        self.notes.extend(more.notes);
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

/// The views of a picture or mesh, and what was left out of a mesh.
type Shown = (Vec<Made>, Vec<String>);

/// A picture, or a view of a mesh, that was encoded.
struct Made {
    /// 0 for a picture, and else the number of the view, or [`ALL`].
    view: i64,
    /// A vector of each of the engine's models.
    vectors: Vec<Vec<f32>>,
    /// A JPEG file.
    thumbnail: Option<Vec<u8>>,
}

impl Made {
    fn new(view: i64, SeenPicture { vectors, thumbnail }: SeenPicture) -> Self {
        Self { view, vectors: vectors.into_iter().map(Vectors::into_inner).collect(), thumbnail }
    }
}

impl Encoded {
    fn is_usable(&self) -> bool {
        !matches!(self.outcome, Outcome::Unusable)
    }
}

enum Outcome {
    /// The item has it already.
    Known {
        /// Whether by another name.
        otherwise: bool,
        /// Whether that name leads to it no more.
        gone: bool,
    },
    /// The picture, or each view of the mesh.
    New(Vec<Made>),
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
        if draft.sources.is_empty() {
            self.check_bare(&draft)?;
        }
        let mut prepared = self.prepare(vec![draft])?;
        if prepared.failed.is_empty() { Ok(prepared) } else { Err(prepared.failed.swap_remove(0).1) }
    }

    /// Reads and encodes the pictures of many items before they are stored, but for those that their item has already.
    ///
    /// # Errors
    /// Those of the encoders and of the store, [`Error::Interrupted`] when it is called off; a picture that cannot be used
    /// is none.
    pub fn prepare(&self, drafts: Vec<Draft>) -> Result<Prepared> {
        let mut drafts = drafts.into_iter().map(|draft| self.spelled(draft)).collect::<Result<Vec<_>>>()?;
        let mut notes = Vec::new();
        let (encoded, failed) = self.encode(&drafts, &mut notes)?;
        // Pictures that were left then must not count as pictures that cannot be used.
        Cancel::current().check()?;
        // They may hold much memory, and are not needed any more.
        let given = drafts.iter_mut().map(|draft| std::mem::take(&mut draft.sources).len()).collect();
        Ok(Prepared { drafts, given, encoded, failed, notes })
    }

    /// Refuses a draft without pictures of an item that needs some.
    fn check_bare(&self, draft: &Draft) -> Result<()> {
        let id = &draft.id;
        if draft.upsert {
            return Err(Error::argument(format!(
                "item {id:?}: upsert takes the place of all its pictures, so give at least one; update changes its label, \
                 text and metadata alone"
            )));
        }
        if self.contains(id)? {
            return Ok(());
        }
        Err(Error::argument(format!("item {id:?} is new, so it needs at least one picture")))
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
        while let Some(mut prepared) = next {
            let failed = std::mem::take(&mut prepared.failed);
            added.notes.append(&mut prepared.notes);
            let (done, lost) = self.write(&prepared, failed)?;
            for (draft, _) in prepared.drafts.iter().zip(&prepared.given).filter(|(_, given)| **given == 0) {
                match self.check_bare(draft) {
                    Err(error @ Error::Argument(_)) => added.failed.push((draft.id.clone(), error)),
                    checked => checked?,
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
        self.encoders.iter().map(|encoder| encoder.preferred_batch()).max().unwrap_or(1)
    }

    /// For each draft its readable pictures, with vectors for the new ones; and the pictures that cannot be used. Adds to
    /// `notes` the meshes of which something was left out.
    #[allow(clippy::type_complexity)] // two lists that are taken apart at once
    fn encode(
        &self,
        drafts: &[Draft],
        notes: &mut Vec<(String, String)>,
    ) -> Result<(Vec<Vec<Encoded>>, Vec<(String, Error)>)> {
        if drafts.iter().any(|draft| !draft.sources.is_empty()) {
            self.seeing(None)?;
            self.store.check_add(&self.models)?;
        }
        let mut failed = Vec::new();
        let mut encoded: Vec<Vec<Encoded>> = Vec::with_capacity(drafts.len());
        let mut fresh: Vec<Source> = Vec::new();
        let mut originals: Vec<(Source, [u8; 32])> = Vec::new();
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
                            if self.kept.wants(file) {
                                originals.push((read, digest));
                            }
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
        let mut reasons: HashMap<(usize, usize), String> = HashMap::new();
        let made = self.make(&fresh)?;
        for (((draft, place, origin), made), source) in places.into_iter().zip(made).zip(fresh) {
            let picture = &mut encoded[draft][place];
            match made {
                Ok((made, told)) => {
                    picture.outcome = Outcome::New(made);
                    notes.extend(told.into_iter().map(|note| (picture.name.clone(), note)));
                    if self.kept.wants(picture.file) {
                        originals.push((source, picture.digest));
                    }
                }
                Err(error) => {
                    if let Error::Picture { reason, .. } | Error::Mesh { reason, .. } = &error {
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
        self.workers().install(|| self.kept.keep(&originals))?;
        Ok((encoded, failed))
    }

    /// Encodes pictures together, and each mesh by its views and their mean, so that few views are in memory.
    fn make(&self, sources: &[Source]) -> Result<Vec<Result<Shown>>> {
        let encoders: Vec<&dyn Encode> = self.encoders.iter().map(|encoder| &**encoder).collect();
        let (side, around) = (self.kept.side(), View::around(self.looks.views));
        let flat: Vec<Source> = sources.iter().filter(|source| !views::is_mesh(source)).cloned().collect();
        let mut flat = each_image(&encoders, &flat, side, self.looks)?.into_iter();
        let mut made = Vec::with_capacity(sources.len());
        for source in sources {
            if !views::is_mesh(source) {
                let seen = flat.next().expect("one for each picture");
                made.push(seen.map(|seen| (vec![Made::new(0, seen)], Vec::new())));
                continue;
            }
            Cancel::current().check()?;
            let seen = mesh_images(&encoders, source, &around, side, self.looks.crops);
            made.push(seen.and_then(|(seen, notes)| {
                // A mesh that is looked up is the mean of its views, too, and nearer to this one than to any view.
                let mean = SeenPicture { vectors: means(&seen)?, thumbnail: None };
                let views = around.iter().map(|view| view.number()).chain([ALL]);
                let made = views.zip(seen.into_iter().chain([mean])).map(|(view, seen)| Made::new(view, seen));
                Ok((made.collect(), notes))
            }));
        }
        Ok(made)
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
    fn write(&self, prepared: &Prepared, failed: Vec<(String, Error)>) -> Result<(Added, Vec<Draft>)> {
        let Prepared { drafts, given, encoded, .. } = prepared;
        let mut added = Added { failed, ..Added::default() };
        let mut items: Vec<NewItem<'_>> = Vec::with_capacity(drafts.len());
        let mut made: HashSet<&str> = HashSet::new();
        let mut seen = Vec::new();
        let mut thumbnails: Vec<(Key, &[u8])> = Vec::new();
        let mut origins: Vec<(&Draft, &Encoded)> = Vec::new();
        for ((draft, pictures), given) in drafts.iter().zip(encoded).zip(given) {
            let is_whole = pictures.len() == *given && pictures.iter().all(Encoded::is_usable);
            if draft.upsert && (*given == 0 || !is_whole) {
                continue;
            }
            let mut references = Vec::with_capacity(pictures.len());
            for picture in pictures {
                let Encoded { name, digest, file, outcome } = picture;
                let (name_known, renamed) = match outcome {
                    Outcome::Known { otherwise, gone } => {
                        added.duplicates += 1;
                        (*otherwise, *gone)
                    }
                    Outcome::New(made) => {
                        for Made { view, vectors, thumbnail } in made {
                            let (digest, view) = (*digest, *view);
                            let rows = self.models.iter().copied().zip(vectors.iter().map(Vec::as_slice));
                            thumbnails.extend(thumbnail.as_deref().map(|jpeg| (Key { digest, view }, jpeg)));
                            references.push(NewReference { name, digest, view, vectors: rows.collect() });
                        }
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
                exactly: draft.upsert.then(|| pictures.iter().map(|picture| picture.digest).collect()),
            });
        }
        let stored = self.store.add_seen(&items, &seen)?;
        self.kept.show(&thumbnails);
        for stored in &stored.items {
            let new = stored.new.iter().filter(|new| **new).count();
            added.items += usize::from(stored.created);
            added.references += new;
            added.duplicates += stored.new.len() - new;
            added.replaced += stored.removed;
        }
        added.renamed = stored.renamed;
        added.replaced += stored.replaced;
        let mut lost = Vec::new();
        for place in stored.lost {
            let (draft, picture) = origins[place];
            added.duplicates -= 1;
            if picture.file {
                let sources = vec![Source::Path(picture.name.clone().into())];
                lost.push(Draft { sources, upsert: false, ..draft.clone() });
            } else {
                let reason = "it was removed while it was being added; add it again";
                added.failed.push((format!("{}: {}", draft.id, picture.name), Error::picture(&picture.name, reason)));
            }
        }
        Ok((added, lost))
    }
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
    let path = match source {
        Source::Path(path) => path,
        Source::Part { .. } => {
            return Err(Error::picture(source.name(), "a part of it is no reference: save the part, and add that"));
        }
        _ => return Ok(source.name()),
    };
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
