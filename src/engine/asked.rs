//! The vectors by which one model looks queries up.

use crate::encoder::Looks;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::query::Query;
use crate::vectors::Vectors;

impl Engine {
    /// Returns a unit vector for each query: that by which the model of this name looks up all of it.
    ///
    /// # Errors
    /// Those of the encoder; [`Error::Argument`] if there is no such model, or the parts of a query cancel each other out.
    pub fn query_vectors(&self, queries: &[Query], model: &str) -> Result<Vectors> {
        let lookups = self.lookups(queries, &[(model.to_owned(), 1.0)])?;
        let stored = |id: &str, space| self.item_vector(id, space);
        let looks = Looks { crops: false, ..self.looks };
        let mut rows = vec![None; queries.len()];
        for batch in Query::encode(queries, &lookups, false, looks, &Expand::Never, stored)? {
            let vectors = batch.parts.into_iter().next().map(|part| part.vectors.split()).unwrap_or_default();
            batch.queries.into_iter().zip(vectors).for_each(|(number, vector)| rows[number] = Some(vector));
        }
        let mut vectors = Vectors::new(lookups.first().map_or(1, |by| by.encoder.about().dim));
        for row in rows {
            let row = row.ok_or_else(|| Error::argument(format!("model {model:?} looks up no part of the query")))?;
            vectors.extend(&row);
        }
        Ok(vectors)
    }
}
