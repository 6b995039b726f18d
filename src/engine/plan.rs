//! Plans which model looks up what of queries.

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::query::{Lookup, Query};

impl Engine {
    /// Models by their numbers, each with its weight.
    pub(super) fn weights(&self, models: &[(String, f32)]) -> Result<Vec<(usize, f32)>> {
        let mut weights: Vec<(usize, f32)> = Vec::with_capacity(models.len());
        for (name, weight) in models {
            let space = self.space(name)?;
            if !(weight.is_finite() && *weight > 0.0) {
                return Err(Error::argument(format!("model {name:?} cannot count {weight}: give a number above 0")));
            }
            if weights.iter().any(|(known, _)| *known == space) {
                return Err(Error::argument(format!("model {name:?} is named twice")));
            }
            weights.push((space, *weight));
        }
        Ok(weights)
    }

    /// Plans which model looks up what of the queries.
    pub(super) fn lookups(&self, queries: &[Query], models: &[(String, f32)]) -> Result<Vec<Lookup<'_>>> {
        let weights = self.weights(models)?;
        let mut lookups: Vec<Lookup<'_>> = Vec::new();
        let by = |space: usize, weight| Lookup {
            encoder: &*self.encoders[space],
            name: self.name(space),
            space,
            images: false,
            texts: false,
            items: false,
            unnamed: false,
            weight,
        };
        let images = queries.iter().any(Query::has_images);
        let texts = queries.iter().any(Query::has_texts);
        let (items, unnamed) =
            (queries.iter().any(|query| query.items().len() > 0), queries.iter().any(Query::has_unnamed));
        if weights.len() > 1 {
            let several = |&(space, weight): &(usize, f32)| Lookup {
                images: true,
                texts: self.encoders[space].about().texts,
                items: true,
                ..by(space, Some(weight))
            };
            lookups = weights.iter().map(several).collect();
            if texts && !lookups.iter().any(|by| by.texts) {
                self.reading(Some(&models[0].0))?;
            }
            if unnamed {
                return Err(Error::argument("a vector belongs to one model: name it, or give a vector of each model"));
            }
        } else {
            let model = models.first().map(|(name, _)| name.as_str());
            let mut place = |space: usize| {
                lookups.iter().position(|by| by.space == space).unwrap_or_else(|| {
                    lookups.push(by(space, None));
                    lookups.len() - 1
                })
            };
            let seeing = images.then(|| self.seeing(model)).transpose()?.map(&mut place);
            let reading = texts.then(|| self.reading(model)).transpose()?.map(&mut place);
            let first = (items || unnamed).then(|| place(weights.first().map_or(0, |(space, _)| *space)));
            match weights.first() {
                Some((space, _)) => _ = place(*space),
                None => {
                    queries.iter().flat_map(Query::named).try_for_each(|name| self.space(name).map(|s| _ = place(s)))?
                }
            }
            seeing.into_iter().for_each(|place| lookups[place].images = true);
            reading.into_iter().for_each(|place| lookups[place].texts = true);
            first.into_iter().for_each(|place| (lookups[place].items, lookups[place].unnamed) = (items, unnamed));
        }
        self.check_vectors(queries, &lookups, &weights)?;
        Ok(lookups)
    }

    /// Checks that the models which have vectors in the queries, and those that have weights, are the same.
    fn check_vectors(&self, queries: &[Query], lookups: &[Lookup<'_>], weights: &[(usize, f32)]) -> Result<()> {
        for name in queries.iter().flat_map(Query::named) {
            let space = self.space(name)?;
            if lookups.iter().all(|by| by.space != space) {
                return Err(Error::argument(format!("model {name:?} has vectors, but no weight")));
            }
        }
        for query in queries.iter().filter(|query| query.is_named_vectors()) {
            let lacks = |(space, _): &&(usize, f32)| query.named().all(|name| name != self.name(*space));
            if let Some((space, _)) = weights.iter().find(lacks) {
                return Err(Error::argument(format!("model {:?} has a weight, but no vectors", self.name(*space))));
            }
        }
        Ok(())
    }
}
