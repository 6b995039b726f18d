//! Labeled queries, by which a catalog is calibrated beside its own references.

use crate::calibrate::Neighbors;
use crate::encoder::Looks;
use crate::engine::Engine;
use crate::engine::calibration::{NEAREST, by_item, neighbors_of};
use crate::engine::ensemble::Ensemble;
use crate::engine::live::State;
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::fusion::Candidate;
use crate::query::Query;
use crate::vectors::Vectors;

/// Labeled queries: their vectors for each of several models, and the rows of their items.
pub(super) struct Labeled {
    pub(super) spaces: Vec<usize>,
    pub(super) vectors: Vec<Vectors>,
    pub(super) items: Vec<Option<i64>>,
}

impl Labeled {
    /// No queries of these models.
    pub(super) fn none(engine: &Engine, spaces: impl Iterator<Item = usize>) -> Self {
        let spaces: Vec<usize> = spaces.collect();
        let none = |space: &usize| Vectors::new(engine.encoders[*space].about().dim);
        Self { vectors: spaces.iter().map(none).collect(), spaces, items: Vec::new() }
    }

    /// The vectors for each model of an ensemble of these models.
    pub(super) fn of(&self, ensemble: &Ensemble) -> Vec<Vectors> {
        let of = |space| self.spaces.iter().zip(&self.vectors).find(|(known, _)| **known == space);
        ensemble.spaces().filter_map(of).map(|(_, vectors)| vectors.clone()).collect()
    }
}

impl Engine {
    /// Encodes labeled queries by these models and finds their items. Several models look up pictures alone.
    pub(super) fn labeled(&self, queries: &[Query], labels: &[Option<String>], spaces: Vec<usize>) -> Result<Labeled> {
        let items = labels.iter().map(|id| id.as_ref().map(|id| Ok(self.get(id)?.row)).transpose());
        let items: Vec<Option<i64>> = items.collect::<Result<_>>()?;
        let mut labeled = Labeled::none(self, spaces.into_iter());
        if queries.is_empty() {
            return Ok(labeled);
        }
        let models: Vec<(String, f32)> =
            labeled.spaces.iter().map(|space| (self.name(*space).to_owned(), 1.0)).collect();
        let lookups = self.lookups(queries, &models)?;
        let unknown = |id: &str, _| Err(Error::UnknownItem(id.to_owned()));
        let looks = Looks { crops: false, ..self.looks };
        for batch in Query::encode(queries, &lookups, false, looks, &Expand::Never, unknown)? {
            labeled.vectors.iter_mut().zip(&batch.parts).for_each(|(vectors, part)| vectors.extend(&part.vectors));
            labeled.items.extend(batch.queries.iter().map(|number| items[*number]));
        }
        Ok(labeled)
    }

    /// Looks up labeled queries by the vectors of the models of an ensemble.
    pub(super) fn neighbors_of_labeled(
        &self,
        state: &State,
        ensemble: &Ensemble,
        vectors: &[Vectors],
        items: &[Option<i64>],
    ) -> Result<Vec<Neighbors>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Candidate> = state.index.rows().collect();
        let own = by_item(&rows, items.iter().flatten().copied().collect());
        let found = self.nearest(state, ensemble, vectors, NEAREST)?;
        let one = |(number, (item, found)): (usize, (&Option<i64>, Vec<Candidate>))| {
            let references = item.and_then(|item| own.get(&item)).into_iter().flatten();
            let best = references.map(|row| ensemble.score(&state.index, row, vectors, number)).reduce(f32::max);
            neighbors_of(best, *item, &found)
        };
        Ok(items.iter().zip(found).enumerate().map(one).collect())
    }
}
