//! Encodes queries: their pictures, texts, items and vectors become one unit vector for each model.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::encoder::{Encode, Looks, query_images};
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::picture::Source;
use crate::vectors::Vectors;
use crate::words;

/// The parts of a query, each with a weight. A negative weight means "and not like this".
#[derive(Clone, Default)]
pub struct Parts {
    /// Pictures.
    pub images: Vec<(Source, f32)>,
    /// Texts.
    pub texts: Vec<(String, f32)>,
    /// Ids of items: each is the mean of its references' vectors.
    pub items: Vec<(String, f32)>,
    /// Vectors.
    pub vectors: Vec<(Given, f32)>,
}

/// Queries of one kind have scores that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pictures.
    Image,
    /// Texts.
    Text,
    /// Pictures with texts.
    Hybrid,
}

/// A vector of any length above 0.
#[derive(Debug, Clone)]
pub struct Given {
    /// The name of its model.
    pub model: Option<String>,
    /// Its numbers.
    pub values: Vec<f32>,
}

/// Pictures, texts, items and vectors to look for.
#[derive(Clone, Default)]
pub struct Query(Parts);

impl Query {
    /// A query of several weighted parts.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no part, or a weight is zero, NaN or infinite.
    pub fn new(mut parts: Parts) -> Result<Self> {
        let Parts { images, texts, items, vectors } = &mut parts;
        let weights = || images.iter().map(|(_, w)| *w).chain(texts.iter().map(|(_, w)| *w));
        let weights = || weights().chain(items.iter().map(|(_, w)| *w)).chain(vectors.iter().map(|(_, w)| *w));
        if weights().next().is_none() {
            return Err(Error::argument("a query needs at least one picture, text, item or vector"));
        }
        if let Some(bad) = weights().find(|w| !w.is_finite() || *w == 0.0) {
            return Err(Error::argument(format!("a query's weights must be finite and not zero, got {bad}")));
        }
        texts.iter_mut().for_each(|(text, _)| *text = words::visible(text).into_owned());
        Ok(Self(parts))
    }

    /// Whether there is a picture in it.
    pub fn has_images(&self) -> bool {
        !self.0.images.is_empty()
    }

    /// Whether there is a text in it.
    pub fn has_texts(&self) -> bool {
        !self.0.texts.is_empty()
    }

    /// Whether it is made of texts alone.
    pub fn is_texts(&self) -> bool {
        self.has_texts() && !self.has_images() && self.0.items.is_empty() && self.0.vectors.is_empty()
    }

    /// Its texts that hits should be like.
    pub fn wanted_texts(&self) -> impl Iterator<Item = &str> {
        self.0.texts.iter().filter(|(_, weight)| *weight > 0.0).map(|(text, _)| text.as_str())
    }

    /// Describes all of it but the content of its pictures. Of vectors it has hashes: to write out all numbers would take a
    /// tenth of a search.
    pub(crate) fn described(&self) -> String {
        let Parts { images, texts, items, vectors } = &self.0;
        let images: Vec<f32> = images.iter().map(|(_, weight)| *weight).collect();
        let hashed = |given: &Given| xxh3_64(bytemuck::cast_slice(&given.values));
        let vectors: Vec<_> = vectors.iter().map(|(given, weight)| (&given.model, hashed(given), weight)).collect();
        format!("{:?}", (images, texts, items, vectors))
    }

    /// Returns its kind; None if it has items, vectors or negative weights.
    pub fn kind(&self) -> Option<Kind> {
        let Parts { images, texts, items, vectors } = &self.0;
        let mut weights = images.iter().map(|(_, weight)| weight).chain(texts.iter().map(|(_, weight)| weight));
        if !items.is_empty() || !vectors.is_empty() || weights.any(|weight| *weight < 0.0) {
            return None;
        }
        match (images.is_empty(), texts.is_empty()) {
            (false, true) => Some(Kind::Image),
            (true, false) => Some(Kind::Text),
            _ => Some(Kind::Hybrid),
        }
    }

    /// The ids of its items.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.items.iter().map(|(id, _)| id.as_str())
    }

    /// Whether there is a vector in it that names no model.
    pub fn has_unnamed(&self) -> bool {
        self.0.vectors.iter().any(|(given, _)| given.model.is_none())
    }

    /// The models that its vectors name.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.0.vectors.iter().filter_map(|(given, _)| given.model.as_deref())
    }

    /// Whether it is made of vectors alone that each name a model.
    pub fn is_named_vectors(&self) -> bool {
        let alone = !self.has_images() && !self.has_texts() && self.0.items.is_empty();
        alone && !self.has_unnamed()
    }

    /// Encodes each query to one unit vector per model: the weighted sum of the unit vectors of the parts that the model
    /// looks up, scaled to length 1. If texts are `apart`, those have a vector of their own. Pictures are encoded as
    /// `looks` says, and a text is looked up as `expand` says. A vector's share of the score is the sum of the absolute weights of its parts, unless [`Lookup::weight`] sets that of a model; the shares of a
    /// query sum to 1. All pictures of all queries are encoded together, and so are all texts. `stored` returns the mean
    /// vector of an item in a space.
    ///
    /// # Errors
    /// Those of the encoders and of `stored`, and [`Error::Argument`] when the parts that one model looks up cancel each
    /// other out, no model looks up any part of a query, or a vector is of another dimension or has no direction.
    pub fn encode(
        queries: &[Self],
        lookups: &[Lookup<'_>],
        apart: bool,
        looks: Looks,
        expand: &Expand,
        stored: impl Fn(&str, usize) -> Result<Vec<f32>>,
    ) -> Result<Vec<Batch>> {
        let sources: Vec<Source> = queries.iter().flat_map(|q| q.0.images.iter().map(|(s, _)| s.clone())).collect();
        let words: Vec<&str> = queries.iter().flat_map(|q| q.0.texts.iter().map(|(t, _)| t.as_str())).collect();
        let none = |by: &Lookup<'_>| Vectors::new(by.encoder.about().dim);
        let read = |by: &Lookup<'_>| match by.texts && !words.is_empty() {
            true => expand.encode(by.encoder, &words),
            false => Ok(none(by)),
        };
        let encode = |by: &Lookup<'_>| Ok((none(by), read(by)?));
        let seeing: Vec<&dyn Encode> = lookups.iter().filter(|by| by.images).map(|by| by.encoder).collect();
        let images = query_images(&seeing, &sources, looks)?;
        let mut encoded = lookups.iter().map(encode).collect::<Result<Vec<_>>>()?;
        for row in images {
            let seen = encoded.iter_mut().zip(lookups).filter(|(_, by)| by.images).map(|((seen, _), _)| seen);
            seen.zip(&row).for_each(|(seen, vector)| seen.extend(vector));
        }
        let mut rows: Vec<_> = encoded.iter().map(|(seen, read)| (seen.rows(), read.rows())).collect();

        let mut batches: Vec<Batch> = Vec::new();
        for (number, query) in queries.iter().enumerate() {
            let mut sums: Vec<Sum> = Vec::new();
            for (by, (seen, read)) in lookups.iter().zip(&mut rows) {
                let given = query.given(by, &stored)?;
                sums.extend(query.sums(by, number, seen, read, &given, apart)?);
            }
            if sums.is_empty() {
                return Err(Error::argument(format!("no model looks up any part of query {number}")));
            }
            let same = |batch: &Batch| {
                batch.parts.iter().map(|part| (part.space, part.says)).eq(sums.iter().map(|sum| (sum.space, sum.says)))
            };
            let place = batches.iter().position(same).unwrap_or_else(|| {
                batches.push(Batch { queries: Vec::new(), parts: sums.iter().map(Sum::part).collect() });
                batches.len() - 1
            });
            let all: f32 = sums.iter().map(|sum| sum.weight).sum();
            batches[place].queries.push(number);
            for (part, sum) in batches[place].parts.iter_mut().zip(sums) {
                part.vectors.extend(&sum.vector);
                part.weights.push(sum.weight / all);
            }
        }
        Ok(batches)
    }

    /// The items and vectors of it that one model looks up.
    fn given(&self, by: &Lookup<'_>, stored: &impl Fn(&str, usize) -> Result<Vec<f32>>) -> Result<Vec<Raw<'_>>> {
        let mut given = Vec::new();
        for (id, weight) in self.0.items.iter().filter(|_| by.items) {
            given.push(Raw { values: Cow::Owned(stored(id, by.space)?), weight: *weight, item: Some(id) });
        }
        let looks_up = |model: &Option<String>| model.as_ref().map_or(by.unnamed, |model| *model == by.name);
        for (Given { values, .. }, weight) in self.0.vectors.iter().filter(|(given, _)| looks_up(&given.model)) {
            if values.len() != by.encoder.about().dim {
                return Err(Error::argument(format!(
                    "queries of {} numbers cannot be compared with vectors of {}",
                    values.len(),
                    by.encoder.about().dim
                )));
            }
            given.push(Raw { values: Cow::Borrowed(values), weight: *weight, item: None });
        }
        Ok(given)
    }

    /// Returns what one model looks up, from the next rows of its pictures and texts and from what is `given`: one sum, or
    /// two if there are texts beside other things that are to stay `apart`, or none.
    fn sums<'a>(
        &self,
        by: &Lookup<'_>,
        number: usize,
        seen: &mut impl Iterator<Item = &'a [f32]>,
        read: &mut impl Iterator<Item = &'a [f32]>,
        given: &[Raw<'_>],
        apart: bool,
    ) -> Result<Vec<Sum>> {
        let images = self.0.images.iter().map(|(_, weight)| *weight).filter(|_| by.images).zip(seen);
        let texts = self.0.texts.iter().map(|(_, weight)| *weight).filter(|_| by.texts).zip(read);
        let (mut images, mut texts): (Vec<_>, Vec<_>) = (images.collect(), texts.collect());
        if !apart {
            images.append(&mut texts);
        }
        let sums = [self.sum(by, number, &images, given, false)?, self.sum(by, number, &texts, &[], true)?];
        let mut sums: Vec<Sum> = sums.into_iter().flatten().collect();
        match (&mut sums[..], by.weight) {
            ([sum], Some(share)) => sum.weight = share,
            ([seen, read], Some(share)) => {
                let all = seen.weight + read.weight;
                (seen.weight, read.weight) = (share * seen.weight / all, share * read.weight / all);
            }
            _ => {}
        }
        Ok(sums)
    }

    /// Returns the weighted sum of vectors of one model; nothing if there are none.
    fn sum(
        &self,
        by: &Lookup<'_>,
        number: usize,
        encoded: &[(f32, &[f32])],
        given: &[Raw<'_>],
        says: bool,
    ) -> Result<Option<Sum>> {
        let dim = by.encoder.about().dim;
        let weights = encoded.iter().map(|(weight, _)| weight).chain(given.iter().map(|raw| &raw.weight));
        let weight: f32 = weights.map(|weight| weight.abs()).sum();
        let vector = match (encoded, given) {
            ([], []) => return Ok(None),
            // Scaled once, so that not a bit of it changes.
            ([], [raw]) => raw.unit(dim, raw.weight.signum(), number)?,
            (encoded, given) => {
                let mut sum = vec![0.0; dim];
                let mut add = |weight: f32, row: &[f32]| {
                    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
                };
                encoded.iter().for_each(|(weight, row)| add(*weight, row));
                for raw in given {
                    add(raw.weight, raw.unit(dim, 1.0, number)?.as_slice());
                }
                // Only the ratios of weights count, however small or large they are.
                sum.iter_mut().for_each(|value| *value /= weight);
                if sum.iter().map(|value| value * value).sum::<f32>() < 1e-12 {
                    return Err(Error::argument(format!(
                        "the parts of query {number} cancel each other out: nothing is left"
                    )));
                }
                Vectors::normalize(dim, sum)?
            }
        };
        Ok(Some(Sum { space: by.space, says, vector, weight }))
    }
}

/// An item's mean or a given vector, of any length.
struct Raw<'a> {
    values: Cow<'a, [f32]>,
    weight: f32,
    item: Option<&'a str>,
}

impl Raw<'_> {
    /// It, or its opposite if the sign is -1, as a unit vector in query `number`.
    fn unit(&self, dim: usize, sign: f32, number: usize) -> Result<Vectors> {
        let name = |_| match self.item {
            Some(id) => format!("the mean vector of item {id:?}"),
            None => format!("vector {number}"),
        };
        Vectors::normalize_named(dim, self.values.iter().map(|value| sign * value).collect(), name)
    }
}

/// A model that looks up queries.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// The encoder of the model.
    pub encoder: &'a dyn Encode,
    /// Its name.
    pub name: &'a str,
    /// Its number among the models of an engine.
    pub space: usize,
    /// Whether it looks up their pictures.
    pub images: bool,
    /// Whether it looks up their texts.
    pub texts: bool,
    /// Whether it looks up their items.
    pub items: bool,
    /// Whether it looks up their vectors that name no model.
    pub unnamed: bool,
    /// How much it counts beside other models.
    pub weight: Option<f32>,
}

/// Queries that the same models look up.
#[derive(Debug, Default)]
pub struct Batch {
    /// The numbers of these queries among all.
    pub queries: Vec<usize>,
    /// Their vectors for each of the models.
    pub parts: Vec<Part>,
}

/// The vectors of the queries of a batch for one model.
#[derive(Debug)]
pub struct Part {
    /// The number of the model.
    pub space: usize,
    /// Whether they are of texts alone.
    pub says: bool,
    /// A unit vector for each query.
    pub vectors: Vectors,
    /// How much that counts, for each query: together with the other parts 1.
    pub weights: Vec<f32>,
}

/// The weighted sum of things that one model looks up of a query.
struct Sum {
    space: usize,
    says: bool,
    vector: Vectors,
    weight: f32,
}

impl Sum {
    /// Returns the part of its model, without queries yet.
    fn part(&self) -> Part {
        let vectors = Vectors::new(self.vector.dim());
        Part { space: self.space, says: self.says, vectors, weights: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Source {
        Source::Path("a.jpg".into())
    }

    #[test]
    fn weights_must_mean_something() {
        let images = |weight| Parts { images: vec![(picture(), weight)], ..Parts::default() };
        assert!(Query::new(Parts::default()).is_err());
        for bad in [0.0, f32::NAN, f32::INFINITY] {
            assert!(Query::new(images(bad)).is_err(), "{bad}");
        }
        assert!(Query::new(Parts { texts: vec![("hat".into(), -0.4)], ..images(1.0) }).is_ok());
    }
}
