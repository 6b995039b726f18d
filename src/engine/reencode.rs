//! Moves a catalog to other models, or gives it further ones: encodes its pictures, and switches to their vectors at once.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use rayon::prelude::*;

use crate::cancel::{self, Cancel, Job};
use crate::encoder::{Encode, NoEncoder, each_image};
use crate::engine::{Engine, Member, check_members};
use crate::error::{Error, Result, short};
use crate::picture::Source;
use crate::store::staged::{Origin, Staged, StagedRow};
use crate::store::{ModelRow, Moved, NewModel, Reference};

/// The least and the most references that are encoded together.
const LEAST: usize = 64;
const MOST: usize = 1024;
/// The most bytes of files that are in memory for them, but for a last file.
const BYTES: u64 = 128 << 20;
/// Batches that are encoded at a time: with two, no thread waits for the last picture of one.
const AHEAD: usize = 2;
/// References that are listed at a time.
const PAGE: usize = 4096;
/// References that an error names.
const NAMED: usize = 5;

/// Called with the references that are done, all references, and the item that comes next; may stop the work.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize, &str) -> ControlFlow<()>;

/// The outcome of [`Engine::reencode`] and [`Engine::add_models`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reencoded {
    /// Whether the catalog had other models before, or had them in another order.
    pub changed: bool,
    /// References by the source of their vectors; only all of them are counted if nothing changed.
    pub moved: Moved,
}

/// The models that a catalog is moved to.
struct Target<'a> {
    members: &'a [Member],
    /// For each of them, its row if the catalog has its vectors already.
    held: Vec<Option<ModelRow>>,
}

/// A reference and the id of its item.
pub(super) type Listed = (String, Reference);

/// A reference that cannot be encoded, and why.
type Lacking = (Listed, String);

/// The vectors of a reference with their source, or why there are none.
pub(super) type Encoded = Result<(Origin, Vec<Vec<f32>>), String>;

impl Engine {
    /// Moves the catalog to other models, which encode the picture of each reference: its original in `media/` or the file
    /// that it was added from, if the content is still the same, and else its thumbnail. Vectors of models that the catalog
    /// has already are kept.
    ///
    /// The new vectors are staged in a file of the catalog, so that running it again after an interruption goes on there.
    /// The last step is one transaction. Open the catalog again afterwards: this engine, too, refuses to add then, and to
    /// search by models that do not stay. `sources` has the name or directory of the models by their fingerprints, where
    /// these are known.
    ///
    /// # Errors
    /// [`Error::Catalog`] if references have no picture any more, the catalog cannot be written or another call moves it,
    /// too; [`Error::Model`] if a model encodes no pictures; [`Error::Argument`] if no model is given, or two are the same;
    /// [`Error::Interrupted`], and those of the encoders. The catalog stays as it was then.
    pub fn reencode(
        &self,
        members: &[Member],
        sources: &BTreeMap<String, String>,
        progress: Progress<'_>,
    ) -> Result<Reencoded> {
        if members.is_empty() {
            return Err(Error::argument("no model is given: name the one that the catalog is moved to"));
        }
        check_members(members)?;
        self.store.check_writable()?;
        let references = self.store.stats()?.references as usize;
        let target = self.target(members)?;
        if references == 0 || target.is_reached(&self.store.held()?) {
            return Ok(Reencoded { changed: false, moved: Moved { references, ..Moved::default() } });
        }
        if let Some(blind) = target.fresh().find(|member| !member.encoder.about().images) {
            let reason = "encodes no pictures, so that it cannot encode those of the catalog: name a model that does";
            return Err(Error::model(&blind.name, reason));
        }
        self.store.check_turn()?;
        let of = |member: &Member| (member.encoder.about().fingerprint.clone(), member.encoder.about().dim);
        let models: Vec<(String, usize)> = members.iter().map(of).collect();
        let named: Vec<(&str, usize)> = models.iter().map(|(fingerprint, dim)| (fingerprint.as_str(), *dim)).collect();
        let fingerprints: Vec<&str> = named.iter().map(|(fingerprint, _)| *fingerprint).collect();
        let new: Vec<NewModel> = members.iter().map(new_model).collect();
        if target.fresh().next().is_none() {
            let (key, value) = self.sources(sources, &fingerprints)?;
            if self.store.leave_out(&new, (key, &value))? {
                return Ok(Reencoded { changed: true, moved: Moved { references, ..Moved::default() } });
            }
        }
        let mut staged = Staged::open(self.store.directory(), self.store.id()?, &named)?;
        staged.reserve(references)?;
        loop {
            self.stage(&self.target(members)?, &mut staged, progress)?;
            staged.trim()?;
            let (key, value) = self.sources(sources, &fingerprints)?;
            // References that others have added meanwhile are staged in the next round.
            if let Some(moved) = self.store.switch(&new, (key, &value), &mut staged)? {
                staged.remove();
                return Ok(Reencoded { changed: true, moved });
            }
        }
    }

    /// Gives the catalog further models, beside those that it has, as [`reencode`](Self::reencode) does. The engine goes on
    /// with its own models, and other engines with theirs; to add pictures, open the catalog with all of them.
    ///
    /// # Errors
    /// As [`reencode`](Self::reencode), and [`Error::Catalog`] for a catalog of vectors alone.
    pub fn add_models(
        &self,
        members: Vec<Member>,
        sources: &BTreeMap<String, String>,
        progress: Progress<'_>,
    ) -> Result<Reencoded> {
        if members.is_empty() {
            return Err(Error::argument("no model is given: name the one that the catalog gets"));
        }
        let mut all = Vec::new();
        for held in self.store.held()? {
            if NoEncoder::is_no_model(&held.fingerprint, held.dim) {
                let reason = "has vectors alone, beside which no model can encode new pictures: move it to a model by \
                              reencode, or add everything to a new catalog";
                return Err(Error::catalog(self.store.directory(), reason));
            }
            if !members.iter().any(|member| is_same(&held, member)) {
                let encoder = NoEncoder::of(held.name.clone(), held.fingerprint, held.dim, None)?;
                all.push(Member { name: held.name, encoder: Arc::new(encoder) });
            }
        }
        all.extend(members);
        self.reencode(&all, sources, progress)
    }

    fn target<'a>(&self, members: &'a [Member]) -> Result<Target<'a>> {
        let held = self.store.held()?;
        let row = |member: &Member| held.iter().find(|held| is_same(held, member)).cloned();
        Ok(Target { members, held: members.iter().map(row).collect() })
    }

    /// Stages the vectors of all references that lack them.
    fn stage(&self, target: &Target<'_>, staged: &mut Staged, progress: Progress<'_>) -> Result<()> {
        let (mut done, total) = self.survey(target, staged)?;
        let mut waiting = Waiting { engine: self, limit: target.batch(), after: 0, page: VecDeque::new() };
        let cancel = Cancel::default();
        let mut lacking: Vec<Lacking> = Vec::new();
        thread::scope(|scope| {
            let mut begun = VecDeque::new();
            let mut work = || loop {
                while begun.len() < AHEAD
                    && let Some(batch) = waiting.next(staged)?
                {
                    let (item, count) = (batch[0].0.clone(), batch.len());
                    begun.push_back((item, count, Job::begin(scope, &cancel, || self.encode_again(target, batch))?));
                }
                cancel::poll()?;
                let item = begun.front().map_or("", |(item, _, _)| item);
                if progress(done, total.max(done), item).is_break() {
                    return Err(Error::Interrupted);
                }
                let Some((_, count, job)) = begun.pop_front() else { return Ok(()) };
                let (rows, without) = job.join(|| cancel::poll().is_err())?;
                staged.put(&rows)?;
                lacking.extend(without);
                done += count;
            };
            // Work that was begun and will not be staged ends soon.
            work().inspect_err(|_| cancel.cancel())
        })?;
        self.check_lacking(&lacking, total)
    }

    /// Looks at all references: how many are staged, and how many there are. Those that have no picture to be encoded are
    /// refused before others are encoded for hours.
    fn survey(&self, target: &Target<'_>, staged: &Staged) -> Result<(usize, usize)> {
        let (mut done, mut total, mut after) = (0, 0, 0);
        let (mut lacking, needed) = (Vec::new(), target.fresh().next().is_some());
        loop {
            let page = self.store.references_after(after, PAGE)?;
            let Some((_, last)) = page.last() else { break };
            after = last.row;
            total += page.len();
            cancel::poll()?;
            for listed in page {
                let reference = &listed.1;
                if staged.has(reference.row, &reference.digest) {
                    done += 1;
                } else if needed && self.original_path(reference).is_none() && self.read_thumbnail(reference).is_none()
                {
                    lacking.push((listed, GONE.to_owned()));
                }
            }
        }
        self.check_lacking(&lacking, total)?;
        Ok((done, total))
    }

    fn check_lacking(&self, lacking: &[Lacking], total: usize) -> Result<()> {
        if lacking.is_empty() {
            return Ok(());
        }
        let name = |((item, reference), reason): &Lacking| {
            format!("item {}, reference {} ({reason})", short(item), short(&reference.name))
        };
        let named: Vec<String> = lacking.iter().take(NAMED).map(name).collect();
        let more =
            lacking.len().checked_sub(NAMED + 1).map_or(String::new(), |more| format!("; and {} more", more + 1));
        Err(Error::catalog(
            self.store.directory(),
            format!(
                "{} of {total} references have no picture to encode, so that nothing was moved: {}{more}. Put these files \
                 back, or remove the references, and run it again",
                lacking.len(),
                named.join("; ")
            ),
        ))
    }

    /// Encodes a batch, and returns what can be staged of it and what cannot be encoded.
    fn encode_again(&self, target: &Target<'_>, batch: Vec<Listed>) -> Result<(Vec<StagedRow>, Vec<Lacking>)> {
        let rows: Vec<i64> = batch.iter().map(|(_, reference)| reference.row).collect();
        let mut kept = Vec::new();
        for held in target.held.iter().flatten() {
            kept.push(self.store.vectors_of(&rows, held.row, held.dim)?.into_iter());
        }
        let fresh: Vec<Arc<dyn Encode>> = target.fresh().map(|member| Arc::clone(&member.encoder)).collect();
        let encoded = self.encode_pictures(&fresh, &batch)?;
        let (mut staged, mut lacking) = (Vec::new(), Vec::new());
        for (listed, encoded) in batch.into_iter().zip(encoded) {
            let old: Option<Vec<Vec<f32>>> = kept.iter_mut().map(|vectors| vectors.next().flatten()).collect();
            // Without its old vector it has just been removed.
            let Some(old) = old else { continue };
            match encoded {
                Ok((origin, new)) => {
                    let (mut old, mut new) = (old.into_iter(), new.into_iter());
                    let next = |held: &Option<ModelRow>| if held.is_some() { old.next() } else { new.next() };
                    let vectors = target.held.iter().filter_map(next).flatten().collect();
                    let (reference, digest) = (listed.1.row, listed.1.digest);
                    staged.push(StagedRow { reference, digest, origin, vectors });
                }
                Err(reason) => lacking.push((listed, reason)),
            }
        }
        Ok((staged, lacking))
    }

    /// Encodes references by their originals, and those whose original is gone or cannot be used by their thumbnails.
    pub(super) fn encode_pictures(&self, encoders: &[Arc<dyn Encode>], batch: &[Listed]) -> Result<Vec<Encoded>> {
        if encoders.is_empty() {
            return Ok(batch.iter().map(|_| Ok((Origin::Stored, Vec::new()))).collect());
        }
        let encoders: Vec<&dyn Encode> = encoders.iter().map(|encoder| &**encoder).collect();
        let mut encoded: Vec<Encoded> = batch.iter().map(|_| Err(GONE.to_owned())).collect();
        for find in [Self::read_original, Self::read_thumbnail] {
            let open = |(place, row): (usize, &Encoded)| {
                let (origin, source) = row.as_ref().err().and_then(|_| find(self, &batch[place].1))?;
                Some(((place, origin), source))
            };
            let found = || encoded.par_iter().enumerate().filter_map(open).collect::<Vec<_>>();
            let (places, sources): (Vec<(usize, Origin)>, Vec<Source>) =
                self.workers().install(found).into_iter().unzip();
            let rows = each_image(&encoders, &sources, None, self.looks)?;
            // Pictures that were left then must not count as pictures that cannot be used.
            Cancel::current().check()?;
            for ((place, origin), row) in places.into_iter().zip(rows) {
                encoded[place] = row
                    .map(|row| (origin, row.vectors.into_iter().map(|vector| vector.into_inner()).collect()))
                    .map_err(|error| error.to_string());
            }
        }
        Ok(encoded)
    }
}

/// Why a reference has no picture.
const GONE: &str = "neither its original nor a thumbnail is there";

impl Target<'_> {
    /// The models whose vectors the catalog lacks.
    fn fresh(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().zip(&self.held).filter(|(_, held)| held.is_none()).map(|(member, _)| member)
    }

    /// Whether the catalog has the vectors of these models in this order, and of no others.
    fn is_reached(&self, held: &[ModelRow]) -> bool {
        self.held.iter().map(Option::as_ref).eq(held.iter().map(Some))
    }

    /// References of a batch, which keep everything busy that encodes them.
    fn batch(&self) -> usize {
        let busy = self.fresh().map(|member| member.encoder.preferred_batch()).max();
        busy.map_or(MOST, |busy| (2 * busy).clamp(LEAST, MOST))
    }
}

/// The references that are not staged, as batches.
struct Waiting<'a> {
    engine: &'a Engine,
    limit: usize,
    after: i64,
    page: VecDeque<Listed>,
}

impl Waiting<'_> {
    fn next(&mut self, staged: &Staged) -> Result<Option<Vec<Listed>>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < self.limit && bytes < BYTES {
            let Some(listed) = self.page.pop_front() else {
                self.page = self.engine.store.references_after(self.after, PAGE)?.into();
                let Some((_, last)) = self.page.back() else { break };
                self.after = last.row;
                continue;
            };
            let (_, reference) = &listed;
            if !staged.has(reference.row, &reference.digest) {
                let size = |path| fs::metadata(path).map_or(0, |found| found.len());
                bytes += self.engine.original_path(reference).map_or(0, size);
                batch.push(listed);
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

fn is_same(held: &ModelRow, member: &Member) -> bool {
    let about = member.encoder.about();
    held.fingerprint == about.fingerprint && held.dim == about.dim
}

fn new_model(member: &Member) -> NewModel {
    let (about, probe) = (member.encoder.about(), member.encoder.probe());
    NewModel {
        name: member.name.clone(),
        fingerprint: about.fingerprint.clone(),
        dim: about.dim,
        probes: [probe.image, probe.text],
    }
}
