//! Pictures, texts and weights become one unit vector for each model that looks them up.

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::index;
use crate::picture::Source;
use crate::vectors::Vectors;
use crate::words;

/// What to look for: pictures and texts, each with a weight. A negative weight means "and not like this".
#[derive(Clone, Default)]
pub struct Query {
    images: Vec<(Source, f32)>,
    texts: Vec<(String, f32)>,
}

impl Query {
    /// A query of several weighted parts.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no part, or a weight is zero, NaN or infinite.
    pub fn new(images: Vec<(Source, f32)>, texts: Vec<(String, f32)>) -> Result<Self> {
        let weights = || images.iter().map(|(_, w)| *w).chain(texts.iter().map(|(_, w)| *w));
        if weights().next().is_none() {
            return Err(Error::argument("a query needs at least one picture or text"));
        }
        if let Some(bad) = weights().find(|w| !w.is_finite() || *w == 0.0) {
            return Err(Error::argument(format!("a query's weights must be finite and not zero, got {bad}")));
        }
        let texts = texts.into_iter().map(|(text, weight)| (words::visible(&text).into_owned(), weight)).collect();
        Ok(Self { images, texts })
    }

    /// Things that look like this picture.
    pub fn image(source: Source) -> Self {
        Self { images: vec![(source, 1.0)], texts: Vec::new() }
    }

    /// Things that fit these words.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self { images: Vec::new(), texts: vec![(words::visible(text.as_ref()).into_owned(), 1.0)] }
    }

    /// Things that look like this picture and fit these words: `image_weight` of the one, the rest of the other.
    /// At 1 the text counts for nothing, at 0 the picture.
    ///
    /// # Errors
    /// [`Error::Argument`] when `image_weight` is not within 0 to 1.
    pub fn hybrid(source: Source, text: impl AsRef<str>, image_weight: f32) -> Result<Self> {
        if !(0.0..=1.0).contains(&image_weight) {
            return Err(Error::argument(format!("image_weight must be between 0 and 1, got {image_weight}")));
        }
        if image_weight == 1.0 {
            Ok(Self::image(source))
        } else if image_weight == 0.0 {
            Ok(Self::text(text))
        } else {
            Self::new(vec![(source, image_weight)], vec![(text.as_ref().to_owned(), 1.0 - image_weight)])
        }
    }

    /// Whether there is a picture in it.
    pub fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// Whether there is a text in it.
    pub fn has_texts(&self) -> bool {
        !self.texts.is_empty()
    }

    /// What queries are to the models that look them up. What one model looks up of a query becomes one vector: the
    /// weighted sum of its parts' unit vectors, scaled to length 1. Unless told, that vector counts as much as those parts'
    /// weights do without their signs; all models of a query together count 1. All pictures of all queries are encoded
    /// together, and so are all texts.
    ///
    /// # Errors
    /// Those of the encoders, and [`Error::Argument`] when the parts that one model looks up cancel each other out, or no
    /// model looks up any part of a query.
    pub fn encode(queries: &[Self], lookups: &[Lookup<'_>]) -> Result<Vec<Batch>> {
        let sources: Vec<Source> = queries.iter().flat_map(|q| q.images.iter().map(|(s, _)| s.clone())).collect();
        let words: Vec<&str> = queries.iter().flat_map(|q| q.texts.iter().map(|(t, _)| t.as_str())).collect();
        let none = |by: &Lookup<'_>| Vectors::new(by.encoder.dim());
        let read =
            |by: &Lookup<'_>| if by.texts && !words.is_empty() { by.encoder.texts(&words) } else { Ok(none(by)) };
        let encode = |by: &Lookup<'_>| Ok((none(by), read(by)?));
        let seeing: Vec<&Encoder> = lookups.iter().filter(|by| by.images).map(|by| by.encoder).collect();
        let images = Encoder::each_image_by(&seeing, &sources)?.into_iter().collect::<Result<Vec<_>>>()?;
        let mut encoded = lookups.iter().map(encode).collect::<Result<Vec<_>>>()?;
        for row in images {
            let seen = encoded.iter_mut().zip(lookups).filter(|(_, by)| by.images).map(|((seen, _), _)| seen);
            seen.zip(&row).for_each(|(seen, vector)| seen.extend(vector));
        }
        let mut rows: Vec<_> = encoded.iter().map(|(seen, read)| (seen.rows(), read.rows())).collect();

        let mut batches: Vec<Batch> = Vec::new();
        for (number, query) in queries.iter().enumerate() {
            let sums = lookups.iter().zip(&mut rows).filter_map(|(by, (seen, read))| query.sum(by, seen, read));
            let sums: Vec<Sum> = sums.collect();
            if sums.is_empty() {
                return Err(Error::argument(format!("no model looks up any part of query {number}")));
            }
            if sums.iter().any(Sum::is_nothing) {
                return Err(Error::argument(format!(
                    "the parts of query {number} cancel each other out: nothing is left"
                )));
            }
            let same = |batch: &Batch| batch.parts.iter().map(|part| part.space).eq(sums.iter().map(|sum| sum.space));
            let place = batches.iter().position(same).unwrap_or_else(|| {
                batches.push(Batch { queries: Vec::new(), parts: sums.iter().map(Sum::part).collect() });
                batches.len() - 1
            });
            let all: f32 = sums.iter().map(|sum| sum.weight).sum();
            batches[place].queries.push(number);
            for (part, sum) in batches[place].parts.iter_mut().zip(sums) {
                part.vectors.extend(&Vectors::normalize(sum.vector.len(), sum.vector)?);
                part.weights.push(sum.weight / all);
            }
        }
        Ok(batches)
    }

    /// What one model looks up of it, from the next rows of its pictures and texts; nothing if there is no such part.
    fn sum<'a>(
        &self,
        by: &Lookup<'_>,
        seen: &mut impl Iterator<Item = &'a [f32]>,
        read: &mut impl Iterator<Item = &'a [f32]>,
    ) -> Option<Sum> {
        let images = self.images.iter().map(|(_, weight)| *weight).filter(|_| by.images).zip(seen);
        let texts = self.texts.iter().map(|(_, weight)| *weight).filter(|_| by.texts).zip(read);
        let mut sum: Option<Sum> = None;
        for (weight, row) in images.chain(texts) {
            let sum = sum.get_or_insert_with(|| Sum { space: by.space, vector: vec![0.0; row.len()], weight: 0.0 });
            sum.weight += weight.abs();
            sum.vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        let mut sum = sum?;
        sum.weight = by.weight.unwrap_or(sum.weight);
        Some(sum)
    }
}

/// A model that looks up queries.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// What makes vectors of them.
    pub encoder: &'a Encoder,
    /// Its number among the models of an engine.
    pub space: usize,
    /// Whether it looks up their pictures.
    pub images: bool,
    /// Whether it looks up their texts.
    pub texts: bool,
    /// How much it counts beside other models, whatever it looks up.
    pub weight: Option<f32>,
}

/// Queries that the same models look up.
#[derive(Debug)]
pub struct Batch {
    /// The numbers of these queries among all.
    pub queries: Vec<usize>,
    /// What they are to each of the models.
    pub parts: Vec<Part>,
}

/// What the queries of a batch are to one model.
#[derive(Debug)]
pub struct Part {
    /// The number of the model.
    pub space: usize,
    /// A unit vector for each query.
    pub vectors: Vectors,
    /// How much that counts, for each query: together with the other parts 1.
    pub weights: Vec<f32>,
}

impl Part {
    /// The same for a search of the index.
    pub fn borrowed(&self) -> index::Part<'_> {
        index::Part { space: self.space, vectors: &self.vectors, weights: &self.weights }
    }
}

/// The weighted sum of what one model looks up of a query.
struct Sum {
    space: usize,
    vector: Vec<f32>,
    weight: f32,
}

impl Sum {
    /// What its model looks up, without queries yet.
    fn part(&self) -> Part {
        Part { space: self.space, vectors: Vectors::new(self.vector.len()), weights: Vec::new() }
    }

    fn is_nothing(&self) -> bool {
        self.vector.iter().map(|value| value * value).sum::<f32>() < 1e-12
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
        assert!(Query::new(vec![], vec![]).is_err());
        for bad in [0.0, f32::NAN, f32::INFINITY] {
            assert!(Query::new(vec![(picture(), bad)], vec![]).is_err(), "{bad}");
        }
        for bad in [-0.1, 1.1, f32::NAN] {
            let error = Query::hybrid(picture(), "hat", bad).err().unwrap().to_string();
            assert!(error.starts_with("image_weight must be between 0 and 1"), "{error}");
        }
        assert!(Query::new(vec![(picture(), 1.0)], vec![("hat".into(), -0.4)]).is_ok());
    }

    #[test]
    fn a_hybrid_at_its_ends_is_a_plain_query() {
        let all_image = Query::hybrid(picture(), "hat", 1.0).unwrap();
        assert_eq!((all_image.images.len(), all_image.texts.len()), (1, 0));
        let all_text = Query::hybrid(picture(), "hat", 0.0).unwrap();
        assert_eq!((all_text.images.len(), all_text.texts.len()), (0, 1));
    }
}
