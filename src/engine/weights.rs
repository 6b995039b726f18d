//! Learns how much each model counts where several look pictures up together.

use serde::{Deserialize, Serialize};

use crate::calibrate::{LEAST, Question, SAME, choose};
use crate::engine::Engine;
use crate::engine::calibration::sample_size;
use crate::engine::ensemble::Ensemble;
use crate::engine::labeled::Labeled;
use crate::engine::live::State;
use crate::engine::second::{Items, NOTHING};
use crate::error::{Error, Result};
use crate::evaluate::Interval;
use crate::fusion::Candidate;
use crate::index::Snapshot;
use crate::query::Kind;
use crate::vectors::Vectors;

/// The most references that are left out, one after another.
const SAMPLE: usize = 1000;
/// The nearest items by each model that a query is compared with.
const DEPTH: usize = 20;
/// References that are looked up together: other searches get their turn in between.
const TOGETHER: usize = 64;

/// The gain of learned weights, and the sequence number that the catalog had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Learned {
    gain: Interval,
    pub(super) sequence: i64,
}

impl Learned {
    /// Whether pictures are looked up by these weights: they find more than the first model alone.
    pub(super) fn is_used(&self) -> bool {
        self.gain.low > 0.0
    }
}

/// The right item of a query, and its reference that does not count: the query itself.
struct Right {
    item: i64,
    hidden: Option<i64>,
}

/// Weights of models that were learned from a catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// The names of the models, with their weights, which sum to 1; those that are left out count nothing.
    pub models: Vec<(String, f32)>,
    /// By how much the share of queries whose item comes first is larger than by the first model alone.
    pub gain: Interval,
    /// Whether pictures are looked up by these weights by default.
    pub is_used: bool,
}

impl Engine {
    /// Whether queries of a kind are looked up by several models that may be weighed.
    pub(super) fn may_learn(&self, kind: Kind) -> bool {
        kind == Kind::Image && self.encoders.len() > 1
    }

    /// Returns the models that are to be weighed by their names, or all of them, for queries of a kind.
    pub(super) fn to_weigh(&self, names: &[String], kind: Kind) -> Result<Vec<usize>> {
        if names.is_empty() {
            return Ok((0..self.encoders.len()).collect());
        }
        let models: Vec<(String, f32)> = names.iter().map(|name| (name.clone(), 1.0)).collect();
        let spaces: Vec<usize> = self.weights(&models)?.into_iter().map(|(space, _)| space).collect();
        names.iter().try_for_each(|name| self.seeing(Some(name)).map(drop))?;
        if kind != Kind::Image {
            return Err(Error::argument(format!(
                "weights of models are learned for pictures alone: to calibrate texts, name one model, such as {:?}",
                names[0]
            )));
        }
        let usual = self.seeing(None)?;
        match spaces.contains(&usual) {
            true => Ok(spaces),
            false => Err(Error::argument(format!(
                "weights of models are compared with the first model alone: name {:?}, too",
                self.name(usual)
            ))),
        }
    }

    /// Learns the weights of the models of labeled queries, from references that are left out one after another and from
    /// the labeled queries. Returns None if these are too few and that `may` be.
    pub(super) fn learn(&self, state: &State, labeled: &Labeled, may: bool) -> Result<Option<(Ensemble, Learned)>> {
        let spaces = &labeled.spaces;
        let mut questions = self.left_out_questions(state, spaces)?;
        questions.extend(self.labeled_questions(state, labeled)?);
        let usual = self.seeing(None)?;
        let alone = spaces.iter().position(|space| *space == usual).unwrap_or_default();
        let Some(choice) = choose(&questions, spaces.len(), alone)? else {
            return match may {
                true => Ok(None),
                false => Err(Error::argument(format!(
                    "weights of models cannot be learned from {} references and queries of items that have other \
                     references, beside other items: add references until there are {LEAST} of several items, or give a \
                     dict with a weight for each model",
                    questions.len()
                ))),
            };
        };
        let weights: Vec<(usize, f32)> = spaces.iter().copied().zip(choice.weights).collect();
        Ok(Some((Ensemble::new(&weights), Learned { gain: choice.gain, sequence: state.position.sequence() })))
    }

    /// Compares references with the others, of their own items and of those that are nearest by any of the models.
    fn left_out_questions(&self, state: &State, spaces: &[usize]) -> Result<Vec<Question>> {
        let rows: Vec<Candidate> = state.index.rows().collect();
        let sample = sample_size(rows.len()).min(SAMPLE);
        let chosen: Vec<Candidate> = (0..sample).map(|place| rows[place * rows.len() / sample]).collect();
        let mut questions = Vec::with_capacity(sample);
        for some in chosen.chunks(TOGETHER) {
            let vectors = spaces.iter().map(|space| Ensemble::one(*space).vectors(&state.index, some));
            let vectors: Vec<Vectors> = vectors.map(|one| one.map(|mut one| one.remove(0))).collect::<Result<_>>()?;
            let right = |row: &Candidate| Some(Right { item: row.item, hidden: Some(row.reference) });
            questions.extend(self.questions(state, spaces, &vectors, &some.iter().map(right).collect::<Vec<_>>())?);
        }
        Ok(questions)
    }

    /// Compares labeled queries for items of the catalog with the references.
    fn labeled_questions(&self, state: &State, labeled: &Labeled) -> Result<Vec<Question>> {
        let right = |item: &Option<i64>| item.map(|item| Right { item, hidden: None });
        let right: Vec<Option<Right>> = labeled.items.iter().map(right).collect();
        match right.is_empty() {
            true => Ok(Vec::new()),
            false => self.questions(state, &labeled.spaces, &labeled.vectors, &right),
        }
    }

    /// Compares queries with the references of the right item and of those that are nearest by any of the models. Of each
    /// query the right item is known, if it is in the catalog. Those with nothing to compare are left out, and those whose
    /// picture is stored under another item.
    fn questions(
        &self,
        state: &State,
        spaces: &[usize],
        vectors: &[Vectors],
        right: &[Option<Right>],
    ) -> Result<Vec<Question>> {
        let index: &Snapshot = &state.index;
        let mut near: Vec<Vec<Candidate>> = vec![Vec::new(); right.len()];
        for (space, vectors) in spaces.iter().zip(vectors) {
            let found = self.nearest(state, &Ensemble::one(*space), std::slice::from_ref(vectors), DEPTH + 1)?;
            near.iter_mut().zip(found).for_each(|(near, found)| near.extend(found));
        }
        let own: Vec<Candidate> = right.iter().flatten().map(|one| Candidate { item: one.item, ..NOTHING }).collect();
        let items = Items::of(index, near.iter().flatten().chain(&own));
        let question = |number: usize| {
            let Right { item, hidden } = right[number].as_ref()?;
            let cosines = |rows: &[&Candidate]| -> Vec<f32> {
                let of = |row: &&Candidate| {
                    let each = spaces.iter().zip(vectors);
                    each.map(|(space, vectors)| index.rescore(row, *space, vectors.row(number))).collect::<Vec<_>>()
                };
                rows.iter().flat_map(of).collect()
            };
            let own: Vec<&Candidate> =
                items.rows.get(item)?.iter().filter(|row| Some(row.reference) != *hidden).collect();
            let mut others: Vec<i64> = near[number].iter().map(|one| one.item).filter(|other| other != item).collect();
            others.sort_unstable();
            others.dedup();
            let others: Vec<&Candidate> = others.iter().flat_map(|other| &items.rows[other]).collect();
            let question = Question { item: *item, own: cosines(&own), others: cosines(&others) };
            let is_stored = question.others.chunks(spaces.len()).any(|row| row.iter().all(|cosine| *cosine >= SAME));
            (!own.is_empty() && !others.is_empty() && !is_stored).then_some(question)
        };
        Ok((0..right.len()).filter_map(question).collect())
    }

    /// Tells of learned weights by the names of their models.
    pub(super) fn weighed(&self, ensemble: &Ensemble, learned: &Learned) -> Weighed {
        Weighed { models: self.named(ensemble), gain: learned.gain, is_used: learned.is_used() }
    }
}
