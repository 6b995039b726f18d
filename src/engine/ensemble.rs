//! Models that look pictures up together: an item's score is the weighted mean of the cosines with its best reference.

use crate::engine::Engine;
use crate::engine::live::State;
use crate::error::Result;
use crate::fusion::Candidate;
use crate::index::{Part, Request, Snapshot};
use crate::vectors::Vectors;

/// Weights that differ by less are the same: users write them with few digits.
const ALIKE: f32 = 1e-4;

/// Models, by their numbers, with their weights, which sum to 1; one model counts 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ensemble(Vec<(usize, f32)>);

impl Ensemble {
    /// One model.
    pub(super) fn one(space: usize) -> Self {
        Self(vec![(space, 1.0)])
    }

    /// Models with weights of 0 or more, one of which at least is not 0; those of weight 0 are left out.
    pub(super) fn new(weights: &[(usize, f32)]) -> Self {
        let all: f32 = weights.iter().map(|(_, weight)| weight).sum();
        let mut models: Vec<(usize, f32)> =
            weights.iter().filter(|(_, weight)| *weight > 0.0).map(|(space, weight)| (*space, weight / all)).collect();
        models.sort_unstable_by_key(|(space, _)| *space);
        Self(models)
    }

    /// Whether it has the same models with the same weights, but for their last digits.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same = |(one, other): (&(usize, f32), &(usize, f32))| one.0 == other.0 && (one.1 - other.1).abs() < ALIKE;
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }

    /// The numbers and weights of the models, in the order of their numbers.
    pub(super) fn models(&self) -> &[(usize, f32)] {
        &self.0
    }

    /// The numbers of the models.
    pub(super) fn spaces(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|(space, _)| *space)
    }

    /// Whether it is several models.
    pub(super) fn is_several(&self) -> bool {
        self.0.len() > 1
    }

    /// The place of the model that counts most.
    pub(super) fn heaviest(&self) -> usize {
        (1..self.0.len()).fold(0, |best, place| if self.0[place].1 > self.0[best].1 { place } else { best })
    }

    /// The weighted mean of one value of each model.
    pub(super) fn mean(&self, values: impl Iterator<Item = f32>) -> f32 {
        self.0.iter().zip(values).map(|((_, weight), value)| weight * value).sum()
    }

    /// The vectors of some references, for each model.
    pub(super) fn vectors(&self, index: &Snapshot, rows: &[Candidate]) -> Result<Vec<Vectors>> {
        let of = |space: usize| {
            let vectors = rows.iter().flat_map(|row| index.vector(row, space).iter().copied()).collect();
            Vectors::normalize(index.dims()[space], vectors)
        };
        self.spaces().map(of).collect()
    }

    /// The score of a reference for the query whose vector is row `number` for each model.
    pub(super) fn score(&self, index: &Snapshot, reference: &Candidate, vectors: &[Vectors], number: usize) -> f32 {
        self.mean(
            self.spaces().zip(vectors).map(|(space, vectors)| index.rescore(reference, space, vectors.row(number))),
        )
    }
}

impl Engine {
    /// The best `k` items for the query of each row of the vectors of each model of an ensemble.
    pub(super) fn nearest(
        &self,
        state: &State,
        ensemble: &Ensemble,
        vectors: &[Vectors],
        k: usize,
    ) -> Result<Vec<Vec<Candidate>>> {
        let weights: Vec<Vec<f32>> = ensemble.0.iter().map(|(_, weight)| vec![*weight; vectors[0].len()]).collect();
        let part = |((space, vectors), weights)| Part { space, vectors, weights, bounded: false, texts: false };
        let parts: Vec<Part<'_>> =
            ensemble.spaces().zip(vectors).zip(weights.iter().map(Vec::as_slice)).map(part).collect();
        state.index.search(&Request { pool: Some(self.workers()), ..Request::new(&parts, k) })
    }

    /// The names of the models of an ensemble, with their weights.
    pub(super) fn named(&self, ensemble: &Ensemble) -> Vec<(String, f32)> {
        ensemble.0.iter().map(|(space, weight)| (self.names[*space].clone(), *weight)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ensemble_is_the_same_in_any_order_and_scale() {
        let one = Ensemble::new(&[(2, 3.0), (0, 1.0)]);
        assert_eq!(one.models(), [(0, 0.25), (2, 0.75)]);
        assert!(one.is(&Ensemble::new(&[(0, 0.250_01), (2, 0.75)])));
        assert!(!one.is(&Ensemble::new(&[(0, 0.26), (2, 0.74)])));
        assert!(!one.is(&Ensemble::new(&[(0, 0.25), (1, 0.75)])) && !one.is(&Ensemble::one(2)));
        assert_eq!(one.heaviest(), 1);
        assert_eq!(Ensemble::new(&[(0, 0.0), (2, 0.3)]), Ensemble::one(2));
    }
}
