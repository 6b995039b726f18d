//! Labeled queries, by which a catalog is calibrated beside its own references.

use crate::calibrate::Neighbors;
use crate::engine::Engine;
use crate::engine::calibration::{neighbors_of, own};
use crate::engine::live::State;
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::fusion::Candidate;
use crate::query::Query;
use crate::vectors::Vectors;

/// Labeled queries of one model: their vectors and the rows of their items.
pub(super) struct Labeled {
    pub(super) vectors: Vectors,
    pub(super) items: Vec<Option<i64>>,
}

impl Engine {
    /// Encodes labeled queries and finds their items.
    pub(super) fn labeled(&self, queries: &[Query], labels: &[Option<String>], space: usize) -> Result<Labeled> {
        let items = labels.iter().map(|id| id.as_ref().map(|id| Ok(self.get(id)?.row)).transpose());
        let items: Vec<Option<i64>> = items.collect::<Result<_>>()?;
        let mut labeled = Labeled { vectors: Vectors::new(self.encoders[space].about().dim), items: Vec::new() };
        if queries.is_empty() {
            return Ok(labeled);
        }
        let lookups = self.lookups(queries, &[(self.names[space].clone(), 1.0)])?;
        let unknown = |id: &str, _| Err(Error::UnknownItem(id.to_owned()));
        for batch in Query::encode(queries, &lookups, false, &Expand::Never, unknown)? {
            labeled.vectors.extend(&batch.parts[0].vectors);
            labeled.items.extend(batch.queries.iter().map(|number| items[*number]));
        }
        Ok(labeled)
    }

    /// Looks up labeled queries.
    pub(super) fn neighbors_of_labeled(
        &self,
        state: &State,
        space: usize,
        labeled: &Labeled,
    ) -> Result<Vec<Neighbors>> {
        let Labeled { vectors, items } = labeled;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Candidate> = state.index.rows().collect();
        let own = own(&rows, items.iter().flatten().copied().collect());
        let found = self.nearest(state, space, vectors)?;
        let one = |((vector, item), found): ((&[f32], &Option<i64>), Vec<Candidate>)| {
            let references = item.and_then(|item| own.get(&item)).into_iter().flatten();
            let best = references.map(|row| state.index.rescore(row, space, vector)).reduce(f32::max);
            neighbors_of(best, *item, &found)
        };
        Ok(vectors.rows().zip(items).zip(found).map(one).collect())
    }
}
