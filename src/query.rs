//! Pictures, texts and weights become one unit vector.

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::picture::Source;
use crate::vectors::Vectors;

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
        Ok(Self { images, texts })
    }

    /// Things that look like this picture.
    pub fn image(source: Source) -> Self {
        Self { images: vec![(source, 1.0)], texts: Vec::new() }
    }

    /// Things that fit these words.
    pub fn text(text: impl Into<String>) -> Self {
        Self { images: Vec::new(), texts: vec![(text.into(), 1.0)] }
    }

    /// Things that look like this picture and fit these words: `image_weight` of the one, the rest of the other.
    /// At 1 the text counts for nothing, at 0 the picture.
    ///
    /// # Errors
    /// [`Error::Argument`] when `image_weight` is not within 0 to 1.
    pub fn hybrid(source: Source, text: impl Into<String>, image_weight: f32) -> Result<Self> {
        if !(0.0..=1.0).contains(&image_weight) {
            return Err(Error::argument(format!("image_weight must be between 0 and 1, got {image_weight}")));
        }
        if image_weight == 1.0 {
            Ok(Self::image(source))
        } else if image_weight == 0.0 {
            Ok(Self::text(text))
        } else {
            Self::new(vec![(source, image_weight)], vec![(text.into(), 1.0 - image_weight)])
        }
    }

    /// One unit vector per query: the weighted sum of its parts' unit vectors, scaled to length 1. All pictures of all
    /// queries are encoded together, and so are all texts.
    ///
    /// # Errors
    /// Those of the encoder, and [`Error::Argument`] when the parts of a query cancel each other out.
    pub fn encode(queries: &[Self], encoder: &Encoder) -> Result<Vectors> {
        let sources: Vec<Source> = queries.iter().flat_map(|q| q.images.iter().map(|(s, _)| s.clone())).collect();
        let texts: Vec<&str> = queries.iter().flat_map(|q| q.texts.iter().map(|(t, _)| t.as_str())).collect();
        let images = if sources.is_empty() { Vectors::new(encoder.dim()) } else { encoder.images(&sources)? };
        let words = if texts.is_empty() { Vectors::new(encoder.dim()) } else { encoder.texts(&texts)? };

        let (mut images, mut words) = (images.rows(), words.rows());
        let mut sums = Vec::with_capacity(queries.len() * encoder.dim());
        for (number, query) in queries.iter().enumerate() {
            let mut sum = vec![0.0f32; encoder.dim()];
            let weighted = query.images.iter().map(|(_, w)| w).zip(&mut images);
            add_all(&mut sum, weighted);
            let weighted = query.texts.iter().map(|(_, w)| w).zip(&mut words);
            add_all(&mut sum, weighted);
            if sum.iter().map(|v| v * v).sum::<f32>() < 1e-12 {
                return Err(Error::argument(format!(
                    "the parts of query {number} cancel each other out: nothing is left"
                )));
            }
            sums.append(&mut sum);
        }
        Vectors::normalize(encoder.dim(), sums)
    }
}

fn add_all<'a>(sum: &mut [f32], rows: impl Iterator<Item = (&'a f32, &'a [f32])>) {
    for (weight, row) in rows {
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += weight * v);
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
