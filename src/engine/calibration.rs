//! Calibrates an open catalog on its own references and on labeled queries, and keeps the outcome.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::calibrate::{BEHIND, Fit, Neighbors, SAME, Typical};
use crate::engine::Engine;
use crate::engine::ensemble::Ensemble;
use crate::engine::labeled::Labeled;
use crate::engine::live::State;
use crate::engine::second::Look;
use crate::engine::weights::{Learned, Weighed};
use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::query::{Kind, Query};
use crate::store::Version;

/// The share of strangers that are taken for an item of the catalog, by default.
pub const TARGET: f64 = 0.01;

/// The setting with the calibrations and the learned weights, by the fingerprints of their models.
const SETTING: &str = "calibration";
/// The most references that are left out, one after another; fewer of a catalog of more than 100,000.
const SAMPLE: usize = 2000;
/// The pairs of references to which a larger catalog is limited, and the references that are left out in any.
const PAIRS: usize = 200_000_000;
const LEAST: usize = 300;
/// The most references of a catalog that a search calibrates.
const SMALL: usize = 1000;
/// The share of the references that may change before a calibration is made again.
const STALE: f64 = 0.2;
/// References that are looked up together: other searches get their turn in between.
const TOGETHER: usize = 64;
/// The items that a left out reference is compared with: those that are nearest without their nearest reference are among
/// them.
const COMPARED: usize = 50;
/// The items that a query is compared with: its own, the best other one, and those behind it.
pub(super) const NEAREST: usize = BEHIND + 2;
/// The most calibrations of several models together that are kept: callers choose the weights.
const MOST: usize = 8;

/// The calibration of one kind of queries, by one model or by several together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Calibration {
    pub(super) fit: Fit,
    /// How pictures are identified, if a second look tells them better.
    pub(super) second: Option<Second>,
    /// Whether that was tried with these references: a search has no need to.
    tried: bool,
    /// The sequence number that the catalog had.
    sequence: i64,
    /// How many references it had.
    references: usize,
    /// The scores of labeled queries.
    queries: Vec<Neighbors>,
}

/// A second look and the calibration of its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Second {
    pub(super) look: Look,
    fit: Fit,
    /// The scores of labeled queries.
    queries: Vec<Neighbors>,
    /// The neighbors of left out references by an adapter. The maps that had not learned from them are not kept, so these
    /// count until the next adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapted: Option<Vec<Neighbors>>,
}

/// Models by their fingerprints, with their weights.
pub(super) type Fingerprints = Vec<(String, f32)>;

/// The calibrations and learned weights that the catalog stores.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    calibrations: Vec<(Fingerprints, Kind, Calibration)>,
    learned: Option<(Fingerprints, Learned)>,
}

/// The models that a calibration is made for.
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// These models, of which several get weights that are learned; by default all that see pictures if there are
    /// references enough, or else the model that looks such queries up by default.
    Learn(Vec<String>),
    /// One model, or several with these weights.
    Given(Vec<(String, f32)>),
}

/// The calibrations of an engine.
#[derive(Default)]
pub(super) struct Calibrations {
    known: RwLock<Known>,
    /// Held by the thread that makes one.
    work: Mutex<()>,
}

impl Calibrations {
    /// Waits for the thread that makes a calibration.
    pub(super) fn work(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Known {
    by: Vec<(Ensemble, Kind, Arc<Calibration>)>,
    /// The weights that were learned last, and whose they are.
    learned: Option<(Ensemble, Learned)>,
    /// The state of the catalog at the last look for those that others have stored.
    looked: Option<Version>,
}

impl Known {
    fn get(&self, ensemble: &Ensemble, kind: Kind) -> Option<&Arc<Calibration>> {
        self.by.iter().find(|(one, of, _)| one.is(ensemble) && *of == kind).map(|(.., made)| made)
    }

    fn put(&mut self, ensemble: &Ensemble, kind: Kind, made: Arc<Calibration>) {
        self.by.retain(|(one, of, _)| !(one.is(ensemble) && *of == kind));
        self.by.push((ensemble.clone(), kind, made));
        forget(&mut self.by, |(ensemble, ..)| ensemble.is_several());
    }
}

/// Removes the oldest calibrations of several models, if there are too many.
fn forget<T>(all: &mut Vec<T>, is_several: impl Fn(&T) -> bool) {
    let several = all.iter().filter(|one| is_several(one)).count();
    let mut excess = several.saturating_sub(MOST);
    all.retain(|one| {
        let goes = excess > 0 && is_several(one);
        excess -= usize::from(goes);
        !goes
    });
}

/// What a calibration was made from, and the errors that are expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// The names of the models, with their weights.
    pub models: Vec<(String, f32)>,
    /// The kind of queries.
    pub kind: Kind,
    /// References and queries with the score of their own item.
    pub genuine: usize,
    /// References and queries with the score of another item.
    pub impostors: usize,
    /// Labeled queries among both.
    pub queries: usize,
    /// Items of the catalog now.
    pub items: usize,
    /// The [`strength`](crate::calibrate::strength) that a match reaches, so that 1 % of strangers do.
    pub threshold: f64,
    /// Whether pictures are identified by a second look at the best items.
    pub second_look: bool,
    /// Whether that goes by an adapter.
    pub adapted: bool,
    /// The share of strangers that is expected to reach it.
    pub false_accept_rate: f64,
    /// The share of queries for items of the catalog that is expected not to reach it with the right item.
    pub false_reject_rate: f64,
    /// The weights that this call has learned.
    pub learned: Option<Weighed>,
}

impl Second {
    /// The same by a map that was learned otherwise, with what that found of left out references.
    pub(super) fn by_adapter(self, found: Vec<Neighbors>) -> Self {
        Self { adapted: Some(found), ..self }
    }
}

impl Calibration {
    /// The calibration of the scores by which queries are identified.
    pub(super) fn identifies(&self) -> &Fit {
        self.second.as_ref().map_or(&self.fit, |second| &second.fit)
    }

    fn is_fresh(&self, engine: &Engine, state: &State) -> bool {
        let rows = self.sequence.abs_diff(state.position.sequence()) as f64 / engine.models.len().max(1) as f64;
        rows <= STALE * self.references as f64
    }
}

impl Engine {
    /// Calibrates queries anew: pictures on the catalog's references and on the labeled `queries`, texts and pictures with
    /// texts on these alone. The label of a query is the id of its item, or None if that is not in the catalog. Stores the
    /// outcome with the catalog, unless that was opened to be read only.
    ///
    /// If weights of several models are learned, pictures are looked up by these from now on, or by the first model as
    /// before if the weights find no more; that is what is calibrated.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] for a label; [`Error::Argument`] when the queries are of several kinds or models, are of
    /// texts and too few, or have items, vectors or negative weights, or when weights cannot be learned; those of the
    /// encoders and of the store.
    pub fn calibrate(&self, queries: &[(Query, Option<String>)], scope: &Scope) -> Result<Calibrated> {
        self.undamaged(|| self.calibrate_once(queries, scope))
    }

    fn calibrate_once(&self, queries: &[(Query, Option<String>)], scope: &Scope) -> Result<Calibrated> {
        let (asked, labels): (Vec<Query>, Vec<Option<String>>) = queries.iter().cloned().unzip();
        let kind = if asked.is_empty() { Kind::Image } else { one_kind(&asked)? };
        let state = self.current()?;
        let (spaces, chosen) = match scope {
            Scope::Learn(names) if names.len() > 1 || (names.is_empty() && self.may_learn(kind)) => {
                (self.to_weigh(names, kind)?, None)
            }
            Scope::Learn(names) => {
                let models: Vec<(String, f32)> = names.iter().map(|name| (name.clone(), 1.0)).collect();
                let ensemble = self.ensemble(&state, kind, &models)?;
                (ensemble.spaces().collect(), Some(ensemble))
            }
            Scope::Given(models) => {
                let ensemble = self.ensemble(&state, kind, models)?;
                (ensemble.spaces().collect(), Some(ensemble))
            }
        };
        let labeled = self.labeled(&asked, &labels, spaces)?;
        let _work = self.calibrations.work();
        let (ensemble, learned) = match chosen {
            Some(ensemble) => (ensemble, None),
            None => {
                let learned = self.learn(&state, &labeled, *scope == Scope::Learn(Vec::new()))?;
                let usual = match &learned {
                    Some((ensemble, learned)) if learned.is_used() => ensemble.clone(),
                    Some(_) => Ensemble::one(self.seeing(None)?),
                    None => self.ensemble(&state, kind, &[])?,
                };
                (usual, learned)
            }
        };
        let adapter = if kind == Kind::Image { self.adapter(&state, &ensemble)? } else { None };
        let made = Arc::new(self.calibration(&state, &ensemble, kind, &labeled, adapter)?);
        self.store_calibration(&ensemble, kind, &made, learned.as_ref())?;
        let mut known = self.calibrations.known.write().unwrap_or_else(PoisonError::into_inner);
        known.put(&ensemble, kind, Arc::clone(&made));
        let weighed = learned.as_ref().map(|(ensemble, learned)| self.weighed(ensemble, learned));
        if learned.is_some() {
            known.learned = learned;
        }
        Ok(Calibrated { learned: weighed, ..self.report(&state, &ensemble, kind, &made) })
    }

    /// Returns the models that look up such queries: these, of which several look up pictures alone, or those that do so by
    /// default.
    pub(super) fn ensemble(&self, state: &State, kind: Kind, models: &[(String, f32)]) -> Result<Ensemble> {
        let weights = self.weights(models)?;
        let name = match models {
            [] if kind == Kind::Image => match self.usual(state)? {
                Some(ensemble) => return Ok(ensemble),
                None => None,
            },
            [] => None,
            [(name, _)] => Some(name.as_str()),
            [(first, _), ..] if kind != Kind::Image => {
                return Err(Error::argument(format!(
                    "several models are calibrated for pictures alone: for texts, name one, such as {first:?}"
                )));
            }
            several => {
                several.iter().try_for_each(|(name, _)| self.seeing(Some(name)).map(drop))?;
                return Ok(Ensemble::new(&weights));
            }
        };
        let space = match kind {
            Kind::Image => self.seeing(name)?,
            Kind::Text => self.reading(name)?,
            Kind::Hybrid => {
                let (seeing, reading) = (self.seeing(name)?, self.reading(name)?);
                if seeing != reading {
                    return Err(Error::argument(
                        "pictures and texts that two models look up cannot be calibrated: name one model for both",
                    ));
                }
                seeing
            }
        };
        Ok(Ensemble::one(space))
    }

    /// Returns the models that look up pictures by default, if their weights were learned: None if the first one does.
    pub(super) fn usual(&self, state: &State) -> Result<Option<Ensemble>> {
        if self.encoders.len() < 2 {
            return Ok(None);
        }
        self.look(state)?;
        let known = self.calibrations.known.read().unwrap_or_else(PoisonError::into_inner);
        Ok(known.learned.as_ref().filter(|(_, learned)| learned.is_used()).map(|(ensemble, _)| ensemble.clone()))
    }

    /// Returns the calibration of a kind of queries in a state of the catalog, if there is one.
    ///
    /// One for pictures is made if there is none, or more than a fifth of the references have changed since then: at once
    /// if the caller `waits` for it or the catalog is small, else not, and an older one is returned if there is one. The
    /// first one for several models is made only if the caller waits.
    pub(super) fn calibrated(
        &self,
        state: &State,
        ensemble: &Ensemble,
        kind: Kind,
        waits: bool,
    ) -> Result<Option<Arc<Calibration>>> {
        let calibrations = &self.calibrations;
        self.look(state)?;
        let get = || {
            let known = calibrations.known.read().unwrap_or_else(PoisonError::into_inner);
            known.get(ensemble, kind).cloned()
        };
        let known = get();
        let suits = |known: &Calibration| known.is_fresh(self, state) && (known.tried || !waits);
        let is_fresh = known.as_ref().is_some_and(|known| suits(known));
        let is_due = state.index.len() <= SMALL && (known.is_some() || !ensemble.is_several());
        if kind != Kind::Image || is_fresh || !(waits || is_due) {
            return Ok(known);
        }
        let work = match waits {
            true => Some(calibrations.work()),
            // A search does not wait for another thread.
            false => calibrations.work.try_lock().ok(),
        };
        if work.is_none() {
            return Ok(known);
        }
        if let Some(known) = get()
            && suits(&known)
        {
            return Ok(Some(known));
        }
        let made = Arc::new(self.recalibrated(state, ensemble, known.as_deref(), waits)?);
        if state.index.len() > SMALL && self.store.check_writable().is_ok() {
            self.store_calibration(ensemble, kind, &made, None)?;
        }
        let mut known = calibrations.known.write().unwrap_or_else(PoisonError::into_inner);
        known.put(ensemble, kind, Arc::clone(&made));
        Ok(Some(made))
    }

    /// Looks for calibrations that this process or another one has stored since the last look.
    fn look(&self, state: &State) -> Result<()> {
        if self.calibrations.known.read().unwrap_or_else(PoisonError::into_inner).looked == state.version {
            return Ok(());
        }
        let stored = self.stored_calibrations()?;
        let own = |models: &Fingerprints| -> Option<Ensemble> {
            let place =
                |fingerprint: &str| self.encoders.iter().position(|encoder| encoder.about().fingerprint == fingerprint);
            let models = models.iter().map(|(fingerprint, weight)| Some((place(fingerprint)?, *weight)));
            Some(Ensemble::new(&models.collect::<Option<Vec<_>>>()?))
        };
        let mut known = self.calibrations.known.write().unwrap_or_else(PoisonError::into_inner);
        for (models, kind, mut found) in stored.calibrations {
            let Some(ensemble) = own(&models) else { continue };
            if let Some(second) = &mut found.second {
                // Another engine may have had the models in another order.
                let place = |space: usize| {
                    models.iter().position(|(model, _)| *model == self.encoders[space].about().fingerprint)
                };
                let Some(look) = second.look.ordered(ensemble.spaces().map(place)) else { continue };
                second.look = look;
            }
            if known.get(&ensemble, kind).is_none_or(|held| held.sequence <= found.sequence) {
                known.put(&ensemble, kind, Arc::new(found));
            }
        }
        if let Some((models, found)) = stored.learned
            && let Some(ensemble) = own(&models)
            && known.learned.as_ref().is_none_or(|(_, held)| held.sequence <= found.sequence)
        {
            known.learned = Some((ensemble, found));
        }
        known.looked = state.version;
        Ok(())
    }

    /// Reads what is stored; that of another version of this package counts as nothing.
    fn stored_calibrations(&self) -> Result<Stored> {
        let stored: Option<Value> = self.store.setting(SETTING)?;
        Ok(stored.and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or_default())
    }

    /// Stores a calibration, and weights if they were learned.
    fn store_calibration(
        &self,
        ensemble: &Ensemble,
        kind: Kind,
        made: &Calibration,
        learned: Option<&(Ensemble, Learned)>,
    ) -> Result<()> {
        if self.store.check_writable().is_err() {
            return Ok(());
        }
        let Stored { mut calibrations, learned: before } = self.stored_calibrations()?;
        let held: HashSet<String> = self.store.held()?.into_iter().map(|model| model.fingerprint).collect();
        let fingerprints = |ensemble: &Ensemble| -> Fingerprints {
            let of = |(space, weight): &(usize, f32)| (self.encoders[*space].about().fingerprint.clone(), *weight);
            ensemble.models().iter().map(of).collect()
        };
        let models = fingerprints(ensemble);
        calibrations.retain(|(other, of, _)| {
            let is_held = other.iter().all(|(model, _)| held.contains(model));
            (is_held || *other == models) && !(*other == models && *of == kind)
        });
        calibrations.push((models, kind, made.clone()));
        forget(&mut calibrations, |(models, ..)| models.len() > 1);
        let learned = learned.map(|(ensemble, learned)| (fingerprints(ensemble), learned.clone())).or(before);
        self.store.set_setting(SETTING, Some(&Stored { calibrations, learned }))
    }

    /// Keeps a calibration of pictures in place of the one before, here and in the catalog.
    pub(super) fn keep_calibration(&self, ensemble: &Ensemble, made: Calibration) -> Result<()> {
        self.store_calibration(ensemble, Kind::Image, &made, None)?;
        let mut known = self.calibrations.known.write().unwrap_or_else(PoisonError::into_inner);
        known.put(ensemble, Kind::Image, Arc::new(made));
        Ok(())
    }

    /// Returns the second look of pictures that goes by an adapter, if one is kept.
    pub(super) fn adapter(&self, state: &State, ensemble: &Ensemble) -> Result<Option<Second>> {
        self.look(state)?;
        let known = self.calibrations.known.read().unwrap_or_else(PoisonError::into_inner);
        let second = known.get(ensemble, Kind::Image).and_then(|known| known.second.clone());
        Ok(second.filter(|second| second.adapted.is_some()))
    }

    /// Makes a calibration: of pictures from the references, too, and with an adapter if there is one.
    pub(super) fn calibration(
        &self,
        state: &State,
        ensemble: &Ensemble,
        kind: Kind,
        labeled: &Labeled,
        adapter: Option<Second>,
    ) -> Result<Calibration> {
        let vectors = labeled.of(ensemble);
        let queries = self.neighbors_of_labeled(state, ensemble, &vectors, &labeled.items)?;
        if kind != Kind::Image {
            return self.assembled(state, ensemble, kind, &[], queries, None);
        }
        let (chosen, left_out) = self.left_out(state, ensemble)?;
        let (found, adapted) = match adapter {
            Some(Second { look, adapted: Some(found), .. }) => (Some((look, found.clone())), Some(found)),
            _ => (self.second_look(state, ensemble, &chosen, None)?, None),
        };
        let second = found.map(|(look, found)| {
            let again = look.labeled(self, state, ensemble, &vectors, &labeled.items)?;
            let second = self.second(state, ensemble, look, &found, again)?;
            Ok(Second { adapted, ..second })
        });
        let second = second.transpose()?;
        self.assembled(state, ensemble, kind, &left_out, queries, second)
    }

    /// Makes a calibration of pictures anew after the references have changed; that of a second look, too, if it is
    /// `wanted`. The labeled queries of the one before count on, and with them the second look that has scored them.
    fn recalibrated(
        &self,
        state: &State,
        ensemble: &Ensemble,
        before: Option<&Calibration>,
        wanted: bool,
    ) -> Result<Calibration> {
        let is_adapted = |known: &Calibration| known.second.as_ref().is_some_and(|second| second.adapted.is_some());
        let before = before.filter(|before| !before.queries.is_empty() || is_adapted(before));
        if wanted && before.is_none() {
            return self.calibration(state, ensemble, Kind::Image, &Labeled::none(self, ensemble.spaces()), None);
        }
        let (chosen, left_out) = self.left_out(state, ensemble)?;
        let second = match before.and_then(|before| before.second.as_ref()) {
            Some(second @ Second { adapted: Some(found), .. }) => {
                let made = self.second(state, ensemble, second.look.clone(), found, second.queries.clone())?;
                Some(Second { adapted: second.adapted.clone(), ..made })
            }
            Some(second) if wanted => self
                .second_look(state, ensemble, &chosen, Some(&second.look))?
                .map(|(look, found)| self.second(state, ensemble, look, &found, second.queries.clone()))
                .transpose()?,
            second => second.cloned(),
        };
        let queries = before.map_or_else(Vec::new, |before| before.queries.clone());
        let made = self.assembled(state, ensemble, Kind::Image, &left_out, queries, second)?;
        Ok(Calibration { tried: wanted, ..made })
    }

    /// Makes a calibration of the cosines of left out references and labeled queries.
    pub(super) fn assembled(
        &self,
        state: &State,
        ensemble: &Ensemble,
        kind: Kind,
        left_out: &[Neighbors],
        queries: Vec<Neighbors>,
        second: Option<Second>,
    ) -> Result<Calibration> {
        let lacks = || {
            Error::argument(format!(
                "{} labeled queries are too few to calibrate texts: give 10 or more for items of the catalog, which has \
                 {}",
                queries.len(),
                state.index.items()
            ))
        };
        let fit = self.fit(state, ensemble, kind, left_out, &queries).ok_or_else(lacks)?;
        let (sequence, references) = (state.position.sequence(), state.index.len());
        Ok(Calibration { fit, second, tried: true, sequence, references, queries })
    }

    /// Calibrates what a second look finds of left out references and of labeled queries.
    pub(super) fn second(
        &self,
        state: &State,
        ensemble: &Ensemble,
        look: Look,
        found: &[Neighbors],
        queries: Vec<Neighbors>,
    ) -> Result<Second> {
        let lacks = || Error::argument("a second look found nothing of the references: calibrate again");
        let fit = self.fit(state, ensemble, Kind::Image, found, &queries).ok_or_else(lacks)?;
        Ok(Second { look, fit, queries, adapted: None })
    }

    fn fit(
        &self,
        state: &State,
        ensemble: &Ensemble,
        kind: Kind,
        left_out: &[Neighbors],
        queries: &[Neighbors],
    ) -> Option<Fit> {
        let typical = (kind == Kind::Image).then(|| {
            let of = |(space, weight): &(usize, f32)| {
                (self.encoders[*space].typical().cloned().unwrap_or_default(), f64::from(*weight))
            };
            Typical::together(&ensemble.models().iter().map(of).collect::<Vec<_>>())
        });
        Fit::new(left_out, queries, typical.as_ref(), state.index.items().saturating_sub(1))
    }

    /// Looks up references as if each were not stored: a sample that is evenly spread, which is returned, too.
    ///
    /// A photo that comes later is of a scene of its own. So is a left out reference beside the others of its item, but not
    /// beside other items: studio pictures of different toys are more alike than two pictures of one toy. Therefore each
    /// item is compared without the reference that is most like the left out one, as its own item is. Where every picture is
    /// of a scene of its own, a second look finds more, which is calibrated with all references.
    pub(super) fn left_out(&self, state: &State, ensemble: &Ensemble) -> Result<(Vec<Candidate>, Vec<Neighbors>)> {
        let rows: Vec<Candidate> = state.index.rows().collect();
        let sample = sample_size(rows.len());
        let chosen: Vec<Candidate> = (0..sample).map(|place| rows[place * rows.len() / sample]).collect();
        let mut nearest = Vec::with_capacity(chosen.len());
        for some in chosen.chunks(TOGETHER) {
            let vectors = ensemble.vectors(&state.index, some)?;
            nearest.extend(self.nearest(state, ensemble, &vectors, COMPARED)?);
        }
        let compared = nearest.iter().flatten().chain(&chosen).map(|one| one.item).collect();
        let references = by_item(&rows, compared);
        let mut neighbors = Vec::with_capacity(chosen.len());
        for (some, nearest) in chosen.chunks(TOGETHER).zip(nearest.chunks(TOGETHER)) {
            let vectors = ensemble.vectors(&state.index, some)?;
            for (number, (row, nearest)) in some.iter().zip(nearest).enumerate() {
                let scores = |item: i64| {
                    let others = references[&item].iter().filter(|other| other.reference != row.reference);
                    others.map(|other| ensemble.score(&state.index, other, &vectors, number)).collect::<Vec<f32>>()
                };
                let own = scores(row.item).into_iter().reduce(f32::max);
                let others = nearest.iter().filter(|one| one.item != row.item);
                let mut others: Vec<f32> = others.filter_map(|one| without_nearest(scores(one.item))).collect();
                others.sort_unstable_by(|a, b| b.total_cmp(a));
                neighbors.push(Neighbors::new(own, &others));
            }
        }
        Ok((chosen, neighbors))
    }

    pub(super) fn report(&self, state: &State, ensemble: &Ensemble, kind: Kind, made: &Calibration) -> Calibrated {
        let items = state.index.items();
        let rates = made.identifies().rates(TARGET, items);
        Calibrated {
            models: self.named(ensemble),
            kind,
            genuine: made.fit.genuine,
            impostors: made.fit.impostors,
            second_look: made.second.is_some(),
            adapted: made.second.as_ref().is_some_and(|second| second.adapted.is_some()),
            queries: made.queries.len(),
            items,
            threshold: rates.threshold,
            false_accept_rate: rates.false_accept_rate,
            false_reject_rate: rates.false_reject_rate,
            learned: None,
        }
    }

    /// Returns the calibrations that have been made or stored, and the weights that were learned last.
    pub(super) fn calibration_stats(&self, state: &State) -> Result<(Vec<Value>, Option<Value>)> {
        if !self.models.is_empty() {
            self.look(state)?;
        }
        let known = self.calibrations.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<&(Ensemble, Kind, Arc<Calibration>)> = known.by.iter().collect();
        all.sort_by_key(|(ensemble, kind, _)| (ensemble.spaces().collect::<Vec<_>>(), *kind));
        let row = |(ensemble, kind, made): &(Ensemble, Kind, Arc<Calibration>)| {
            let report = self.report(state, ensemble, *kind, made);
            json!({
                "model": report.model(),
                "weights": weights(&report.models),
                "kind": report.kind,
                "genuine": report.genuine,
                "impostors": report.impostors,
                "queries": report.queries,
                "items": report.items,
                "second_look": report.second_look,
                "adapted": report.adapted,
                "threshold": report.threshold,
                "false_accept_rate": report.false_accept_rate,
                "false_reject_rate": report.false_reject_rate,
            })
        };
        let learned = known.learned.as_ref().map(|(ensemble, learned)| {
            let Weighed { models, gain, is_used } = self.weighed(ensemble, learned);
            let gain = json!({"value": gain.value, "low": gain.low, "high": gain.high});
            json!({"weights": weights(&models), "gain": gain, "used": is_used})
        });
        Ok((all.into_iter().map(row).collect(), learned))
    }
}

impl Calibrated {
    /// The names of the models.
    pub fn model(&self) -> String {
        self.models.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" + ")
    }
}

/// The weights of models by their names.
fn weights(models: &[(String, f32)]) -> Map<String, Value> {
    models.iter().map(|(name, weight)| (name.clone(), json!(few_digits(*weight)))).collect()
}

/// A weight without the digits that its conversion from 32 bits adds.
pub fn few_digits(weight: f32) -> f64 {
    (f64::from(weight) * 1e6).round() / 1e6
}

/// Returns the kind of queries that are all alike.
pub(super) fn one_kind(queries: &[Query]) -> Result<Kind> {
    let mut kinds: Vec<Option<Kind>> = queries.iter().map(Query::kind).collect();
    kinds.dedup();
    match kinds[..] {
        [Some(kind)] => Ok(kind),
        _ => Err(Error::argument(match kinds.contains(&None) {
            true => "a query with items, vectors or negative weights cannot be calibrated: give pictures or texts",
            false => "queries of several kinds are calibrated apart: give pictures alone, texts alone, or both in each",
        })),
    }
}

/// Returns how many references of a catalog are left out, one after another.
pub(super) fn sample_size(references: usize) -> usize {
    references.min(SAMPLE).min((PAIRS / references.max(1)).max(LEAST))
}

/// Groups the rows of some items by item.
pub(super) fn by_item(rows: &[Candidate], items: HashSet<i64>) -> HashMap<i64, Vec<Candidate>> {
    let mut found: HashMap<i64, Vec<Candidate>> = HashMap::with_capacity(items.len());
    for row in rows.iter().filter(|row| items.contains(&row.item)) {
        found.entry(row.item).or_default().push(*row);
    }
    found
}

/// Returns the second best score, or else the only one: an item whose picture is stored under another one keeps it.
fn without_nearest(mut scores: Vec<f32>) -> Option<f32> {
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    match scores[..] {
        [best, next, ..] if best < SAME => Some(next),
        _ => scores.first().copied(),
    }
}

pub(super) fn neighbors_of(own: Option<f32>, item: Option<i64>, found: &[Candidate]) -> Neighbors {
    let others: Vec<f32> = found.iter().filter(|one| Some(one.item) != item).map(|one| one.score).collect();
    Neighbors::new(own, &others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_catalog_is_sampled_so_that_it_takes_no_longer() {
        let sizes = [0, 1, 299, 2000, 100_000, 200_000, 10_000_000];
        assert_eq!(sizes.map(sample_size), [0, 1, 299, 2000, 2000, 1000, 300]);
    }
}
