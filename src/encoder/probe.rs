//! Compares models by their vectors of a fixed picture and a fixed text.

use crate::picture::Source;

/// The least cosine between two vectors that may be of one model: formats of numbers and machines round differently.
pub const ALIKE: f64 = 0.999;

/// The picture and the text of which models are asked for their vectors, the same ones on every machine.
#[derive(Debug, Clone)]
pub struct Question {
    /// The picture.
    pub picture: Source,
    /// The text.
    pub text: String,
}

/// The vectors of the probe, of the towers that run on a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probe {
    /// The picture's.
    pub image: Option<Vec<f32>>,
    /// The text's.
    pub text: Option<Vec<f32>>,
}

impl Probe {
    /// The first side whose vectors in both are not of one model, with their cosine; a side that one lacks is not
    /// compared.
    pub fn differs(&self, other: &Self) -> Option<(&'static str, f64)> {
        let sides = [("image", &self.image, &other.image), ("text", &self.text, &other.text)];
        sides.into_iter().find_map(|(side, one, other)| {
            let cosine = cosine(one.as_ref()?, other.as_ref()?);
            (cosine < ALIKE || cosine.is_nan()).then_some((side, cosine))
        })
    }

    /// Whether it has no vector.
    pub fn is_empty(&self) -> bool {
        self.image.is_none() && self.text.is_none()
    }
}

/// The cosine of two vectors of any length but 0; NaN when they have not as many numbers.
fn cosine(one: &[f32], other: &[f32]) -> f64 {
    if one.len() != other.len() {
        return f64::NAN;
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_compared_where_both_have_one() {
        let probe = |image: &[f32], text: Option<&[f32]>| Probe {
            image: Some(image.to_vec()),
            text: text.map(<[f32]>::to_vec),
        };
        let one = probe(&[0.6, 0.8], Some(&[1.0, 0.0]));
        assert_eq!(one.differs(&one), None);
        assert_eq!(one.differs(&probe(&[0.61, 0.79], None)), None);
        assert_eq!(one.differs(&probe(&[6.0, 8.0], None)), None);
        let (side, cosine) = one.differs(&probe(&[0.6, 0.8], Some(&[0.0, 1.0]))).unwrap();
        assert_eq!((side, cosine), ("text", 0.0));
        for other in [&[0.6][..], &[f32::NAN, 1.0], &[0.0, 0.0]] {
            assert!(one.differs(&probe(other, None)).unwrap().1.is_nan());
        }
        assert_eq!(Probe::default().differs(&one), None);
    }
}
