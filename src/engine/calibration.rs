//! Calibrates an open catalog on its own references and on labeled queries, and keeps the outcome.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::calibrate::{Fit, Neighbors, Typical};
use crate::encoder::Encode;
use crate::engine::Engine;
use crate::engine::labeled::Labeled;
use crate::engine::live::State;
use crate::engine::second::Look;
use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::index::{Part, Request};
use crate::query::{Kind, Query};
use crate::store::Version;
use crate::vectors::Vectors;

/// The share of strangers that are taken for an item of the catalog, by default.
pub const TARGET: f64 = 0.01;

/// The setting with the calibrations by the fingerprint of their model and the kind of queries.
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

/// The calibration of one model and kind of queries.
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
}

/// By fingerprint and kind.
type Table = BTreeMap<String, BTreeMap<Kind, Calibration>>;

/// The calibrations of an engine.
#[derive(Default)]
pub(super) struct Calibrations {
    known: RwLock<Known>,
    /// Held by the thread that makes one.
    work: Mutex<()>,
}

#[derive(Default)]
struct Known {
    by: HashMap<(usize, Kind), Arc<Calibration>>,
    /// The state of the catalog at the last look for those that others have stored.
    looked: Option<Version>,
}

/// What a calibration was made from, and the errors that are expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// The name of the model.
    pub model: String,
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
    /// The share of strangers that is expected to reach it.
    pub false_accept_rate: f64,
    /// The share of queries for items of the catalog that is expected not to reach it with the right item.
    pub false_reject_rate: f64,
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
    /// # Errors
    /// [`Error::UnknownItem`] for a label; [`Error::Argument`] when the queries are of several kinds or models, are of
    /// texts and too few, or have items, vectors or negative weights; those of the encoders and of the store.
    pub fn calibrate(&self, queries: &[(Query, Option<String>)], model: Option<&str>) -> Result<Calibrated> {
        let (asked, labels): (Vec<Query>, Vec<Option<String>>) = queries.iter().cloned().unzip();
        let (space, kind) = match asked.is_empty() {
            true => (self.seeing(model)?, Kind::Image),
            false => self.one_kind(&asked, model)?,
        };
        let state = self.current()?;
        let labeled = self.labeled(&asked, &labels, space)?;
        let _work = self.calibrations.work.lock().unwrap_or_else(PoisonError::into_inner);
        let made = Arc::new(self.calibration(&state, space, kind, &labeled)?);
        self.store_calibration(space, kind, &made)?;
        let mut known = self.calibrations.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by.insert((space, kind), Arc::clone(&made));
        Ok(self.report(&state, space, kind, &made))
    }

    /// Returns the model and the kind of queries that are all alike.
    pub(super) fn one_kind(&self, queries: &[Query], model: Option<&str>) -> Result<(usize, Kind)> {
        let mut kinds: Vec<Option<Kind>> = queries.iter().map(Query::kind).collect();
        kinds.dedup();
        let &[Some(kind)] = &kinds[..] else {
            return Err(Error::argument(match kinds.contains(&None) {
                true => "a query with items, vectors or negative weights cannot be calibrated: give pictures or texts",
                false => {
                    "queries of several kinds are calibrated apart: give pictures alone, texts alone, or both in each"
                }
            }));
        };
        let space = match kind {
            Kind::Image => self.seeing(model)?,
            Kind::Text => self.reading(model)?,
            Kind::Hybrid => {
                let (seeing, reading) = (self.seeing(model)?, self.reading(model)?);
                if seeing != reading {
                    return Err(Error::argument(
                        "pictures and texts that two models look up cannot be calibrated: name one model for both",
                    ));
                }
                seeing
            }
        };
        Ok((space, kind))
    }

    /// Returns the calibration of a kind of queries in a state of the catalog, if there is one.
    ///
    /// One for pictures is made if there is none, or more than a fifth of the references have changed since then: at once
    /// if the caller `waits` for it or the catalog is small, else not, and an older one is returned if there is one.
    pub(super) fn calibrated(
        &self,
        state: &State,
        space: usize,
        kind: Kind,
        waits: bool,
    ) -> Result<Option<Arc<Calibration>>> {
        let calibrations = &self.calibrations;
        let get = || {
            let known = calibrations.known.read().unwrap_or_else(PoisonError::into_inner);
            (known.by.get(&(space, kind)).cloned(), known.looked == state.version)
        };
        let (known, looked) = get();
        if !looked {
            self.look(state)?;
        }
        let known = if looked { known } else { get().0 };
        let suits = |known: &Calibration| known.is_fresh(self, state) && (known.tried || !waits);
        let is_fresh = known.as_ref().is_some_and(|known| suits(known));
        if kind != Kind::Image || is_fresh || !(waits || state.index.len() <= SMALL) {
            return Ok(known);
        }
        let work = match waits {
            true => Some(calibrations.work.lock().unwrap_or_else(PoisonError::into_inner)),
            // A search does not wait for another thread.
            false => calibrations.work.try_lock().ok(),
        };
        if work.is_none() {
            return Ok(known);
        }
        if let (Some(known), _) = get()
            && suits(&known)
        {
            return Ok(Some(known));
        }
        let made = Arc::new(self.recalibrated(state, space, known.as_deref(), waits)?);
        if state.index.len() > SMALL && self.store.check_writable().is_ok() {
            self.store_calibration(space, kind, &made)?;
        }
        let mut known = calibrations.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by.insert((space, kind), Arc::clone(&made));
        Ok(Some(made))
    }

    /// Looks for calibrations that this process or another one has stored.
    fn look(&self, state: &State) -> Result<()> {
        let stored = self.stored_calibrations()?;
        let mut known = self.calibrations.known.write().unwrap_or_else(PoisonError::into_inner);
        for (fingerprint, kinds) in stored {
            let own = |encoder: &Arc<dyn Encode>| encoder.about().fingerprint == fingerprint;
            let Some(space) = self.encoders.iter().position(own) else { continue };
            for (kind, found) in kinds {
                let newer = |held: &Arc<Calibration>| held.sequence <= found.sequence;
                if known.by.get(&(space, kind)).is_none_or(newer) {
                    known.by.insert((space, kind), Arc::new(found));
                }
            }
        }
        known.looked = state.version;
        Ok(())
    }

    /// Reads the stored calibrations; those of another version of this package count as none.
    fn stored_calibrations(&self) -> Result<Table> {
        let stored: Option<Value> = self.store.setting(SETTING)?;
        Ok(stored.and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or_default())
    }

    fn store_calibration(&self, space: usize, kind: Kind, made: &Calibration) -> Result<()> {
        if self.store.check_writable().is_err() {
            return Ok(());
        }
        let mut table = self.stored_calibrations()?;
        let held: HashSet<String> = self.store.held()?.into_iter().map(|model| model.fingerprint).collect();
        let fingerprint = self.encoders[space].about().fingerprint.clone();
        table.retain(|model, _| held.contains(model) || *model == fingerprint);
        table.entry(fingerprint).or_default().insert(kind, made.clone());
        self.store.set_setting(SETTING, Some(&table))
    }

    /// Makes a calibration: of pictures from the references, too.
    fn calibration(&self, state: &State, space: usize, kind: Kind, labeled: &Labeled) -> Result<Calibration> {
        let queries = self.neighbors_of_labeled(state, space, labeled)?;
        if kind != Kind::Image {
            return self.assembled(state, space, kind, &[], queries, None);
        }
        let (chosen, left_out) = self.left_out(state, space)?;
        let found = self.second_look(state, space, &chosen, None)?;
        let second = found.map(|(look, found)| {
            let again = look.labeled(self, state, space, &labeled.vectors, &labeled.items)?;
            self.second(state, space, look, &found, again)
        });
        let second = second.transpose()?;
        self.assembled(state, space, kind, &left_out, queries, second)
    }

    /// Makes a calibration of pictures anew after the references have changed; that of a second look, too, if it is
    /// `wanted`. The labeled queries of the one before count on, and with them the second look that has scored them.
    fn recalibrated(
        &self,
        state: &State,
        space: usize,
        before: Option<&Calibration>,
        wanted: bool,
    ) -> Result<Calibration> {
        let before = before.filter(|before| !before.queries.is_empty());
        if wanted && before.is_none() {
            let none = Labeled { vectors: Vectors::new(state.index.dims()[space]), items: Vec::new() };
            return self.calibration(state, space, Kind::Image, &none);
        }
        let (chosen, left_out) = self.left_out(state, space)?;
        let second = match before.and_then(|before| before.second.as_ref()) {
            Some(second) if wanted => self
                .second_look(state, space, &chosen, Some(&second.look))?
                .map(|(look, found)| self.second(state, space, look, &found, second.queries.clone()))
                .transpose()?,
            second => second.cloned(),
        };
        let queries = before.map_or_else(Vec::new, |before| before.queries.clone());
        let made = self.assembled(state, space, Kind::Image, &left_out, queries, second)?;
        Ok(Calibration { tried: wanted, ..made })
    }

    /// Makes a calibration of the cosines of left out references and labeled queries.
    fn assembled(
        &self,
        state: &State,
        space: usize,
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
        let fit = self.fit(state, space, kind, left_out, &queries).ok_or_else(lacks)?;
        let (sequence, references) = (state.position.sequence(), state.index.len());
        Ok(Calibration { fit, second, tried: true, sequence, references, queries })
    }

    /// Calibrates what a second look finds of left out references and of labeled queries.
    fn second(
        &self,
        state: &State,
        space: usize,
        look: Look,
        found: &[Neighbors],
        queries: Vec<Neighbors>,
    ) -> Result<Second> {
        let lacks = || Error::argument("a second look found nothing of the references: calibrate again");
        let fit = self.fit(state, space, Kind::Image, found, &queries).ok_or_else(lacks)?;
        Ok(Second { look, fit, queries })
    }

    fn fit(
        &self,
        state: &State,
        space: usize,
        kind: Kind,
        left_out: &[Neighbors],
        queries: &[Neighbors],
    ) -> Option<Fit> {
        let default = Typical::default();
        let typical = (kind == Kind::Image).then(|| self.encoders[space].typical().unwrap_or(&default));
        Fit::new(left_out, queries, typical, state.index.items().saturating_sub(1))
    }

    /// Looks up references as if each were not stored: a sample that is evenly spread, which is returned, too.
    fn left_out(&self, state: &State, space: usize) -> Result<(Vec<Candidate>, Vec<Neighbors>)> {
        let rows: Vec<Candidate> = state.index.rows().collect();
        let sample = sample_size(rows.len());
        let chosen: Vec<Candidate> = (0..sample).map(|place| rows[place * rows.len() / sample]).collect();
        let own = own(&rows, chosen.iter().map(|row| row.item).collect());
        let mut neighbors = Vec::with_capacity(chosen.len());
        for some in chosen.chunks(TOGETHER) {
            let vectors = some.iter().flat_map(|row| state.index.vector(row, space).iter().copied()).collect();
            let vectors = Vectors::normalize(state.index.dims()[space], vectors)?;
            let found = self.nearest(state, space, &vectors)?;
            for ((row, vector), found) in some.iter().zip(vectors.rows()).zip(found) {
                let others = own[&row.item].iter().filter(|other| other.reference != row.reference);
                let others = others.map(|other| state.index.rescore(other, space, vector)).reduce(f32::max);
                neighbors.push(neighbors_of(others, Some(row.item), &found));
            }
        }
        Ok((chosen, neighbors))
    }

    /// The three best items of each vector, of which two at least are others than its own.
    pub(super) fn nearest(&self, state: &State, space: usize, vectors: &Vectors) -> Result<Vec<Vec<Candidate>>> {
        let weights = vec![1.0; vectors.len()];
        let parts = [Part { space, vectors, weights: &weights, bounded: false, texts: false }];
        state.index.search(&Request { pool: Some(self.workers()), ..Request::new(&parts, 3) })
    }

    fn report(&self, state: &State, space: usize, kind: Kind, made: &Calibration) -> Calibrated {
        let items = state.index.items();
        let rates = made.identifies().rates(TARGET, items);
        Calibrated {
            model: self.names[space].clone(),
            kind,
            genuine: made.fit.genuine,
            impostors: made.fit.impostors,
            second_look: made.second.is_some(),
            queries: made.queries.len(),
            items,
            threshold: rates.threshold,
            false_accept_rate: rates.false_accept_rate,
            false_reject_rate: rates.false_reject_rate,
        }
    }

    /// Returns the calibrations that have been made or stored.
    pub(super) fn calibration_stats(&self, state: &State) -> Result<Vec<Value>> {
        if !self.models.is_empty() {
            self.look(state)?;
        }
        let known = self.calibrations.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut reports: Vec<Calibrated> =
            known.by.iter().map(|((space, kind), made)| self.report(state, *space, *kind, made)).collect();
        drop(known);
        reports.sort_by_key(|report| (self.names.iter().position(|name| *name == report.model), report.kind));
        let row = |report: Calibrated| {
            json!({
                "model": report.model,
                "kind": report.kind,
                "genuine": report.genuine,
                "impostors": report.impostors,
                "queries": report.queries,
                "items": report.items,
                "second_look": report.second_look,
                "threshold": report.threshold,
                "false_accept_rate": report.false_accept_rate,
                "false_reject_rate": report.false_reject_rate,
            })
        };
        Ok(reports.into_iter().map(row).collect())
    }
}

/// Returns how many references of a catalog are left out, one after another.
fn sample_size(references: usize) -> usize {
    references.min(SAMPLE).min((PAIRS / references.max(1)).max(LEAST))
}

/// Groups the rows of some items by item.
pub(super) fn own(rows: &[Candidate], items: HashSet<i64>) -> HashMap<i64, Vec<Candidate>> {
    let mut own: HashMap<i64, Vec<Candidate>> = HashMap::new();
    for row in rows.iter().filter(|row| items.contains(&row.item)) {
        own.entry(row.item).or_default().push(*row);
    }
    own
}

pub(super) fn neighbors_of(own: Option<f32>, item: Option<i64>, found: &[Candidate]) -> Neighbors {
    let mut others = found.iter().filter(|one| Some(one.item) != item).map(|one| one.score);
    Neighbors { own, first: others.next(), second: others.next() }
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
