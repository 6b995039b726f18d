//! Rows of unit vectors, checked when they are made: the only form in which vectors travel.

use crate::error::{Error, Result};

/// `len` rows of `dim` floats in C order, each of Euclidean length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    dim: usize,
    data: Vec<f32>,
}

impl Vectors {
    /// No rows yet.
    pub fn new(dim: usize) -> Self {
        Self { dim, data: Vec::new() }
    }

    /// Scales each row of `data` to length 1.
    ///
    /// # Errors
    /// [`Error::Argument`] when `data` is not whole rows, or a row has NaN, infinity or no length.
    pub fn normalize(dim: usize, data: Vec<f32>) -> Result<Self> {
        Self::normalize_named(dim, data, |row| format!("vector {row}"))
    }

    /// As [`Vectors::normalize`], where `name` is what errors call a row.
    ///
    /// # Errors
    /// Those of [`Vectors::normalize`].
    pub fn normalize_named(dim: usize, mut data: Vec<f32>, name: impl Fn(usize) -> String) -> Result<Self> {
        if dim == 0 {
            return Err(Error::argument("vectors have at least one number, and these have none"));
        }
        if !data.len().is_multiple_of(dim) {
            return Err(Error::argument(format!("{} numbers are not rows of {dim}", data.len())));
        }
        for (row, values) in data.chunks_exact_mut(dim).enumerate() {
            // In f64, so that neither tiny nor huge values lose their length.
            let length = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            if !length.is_finite() {
                return Err(Error::argument(format!("{} has NaN or infinite values", name(row))));
            }
            if length < 1e-20 {
                return Err(Error::argument(format!("{} is all zeros and points nowhere", name(row))));
            }
            let scale = 1.0 / length;
            values.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
        }
        Ok(Self { dim, data })
    }

    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.dim)
    }

    /// All rows, one after another.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// Each row by itself, in order.
    pub fn split(&self) -> Vec<Self> {
        self.rows().map(|row| Self { dim: self.dim, data: row.to_vec() }).collect()
    }

    /// Gives the rows up, one after another.
    pub fn into_inner(self) -> Vec<f32> {
        self.data
    }

    /// Appends the rows of `other`.
    ///
    /// # Panics
    /// When the dimensions differ: vectors of two models have met, which is a bug.
    pub fn extend(&mut self, other: &Self) {
        assert_eq!(self.dim, other.dim, "vectors of two dimensions");
        self.data.extend_from_slice(&other.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_scaled_to_length_one() {
        let vectors = Vectors::normalize(2, vec![3.0, 4.0, 0.0, -2.0]).unwrap();
        assert_eq!(vectors.as_slice(), [0.6, 0.8, 0.0, -1.0]);
        assert_eq!((vectors.len(), vectors.dim()), (2, 2));
        assert_eq!(vectors.row(1), [0.0, -1.0]);
    }

    #[test]
    fn extreme_lengths_survive() {
        let vectors = Vectors::normalize(2, vec![3e-18, 4e-18, 3e30, 4e30]).unwrap();
        // The inputs are no exact multiples of 3 and 4 themselves.
        let distance = vectors.as_slice().iter().zip([0.6f32, 0.8, 0.6, 0.8]).map(|(&a, b)| (a - b).abs());
        assert!(distance.fold(0.0, f32::max) < 1e-6, "{vectors:?}");
    }

    #[test]
    fn rows_that_point_nowhere_are_refused() {
        for bad in [[f32::NAN, 1.0], [f32::INFINITY, 1.0], [0.0, 0.0]] {
            let error = Vectors::normalize(2, [vec![1.0, 0.0], bad.to_vec()].concat()).unwrap_err();
            assert!(error.to_string().starts_with("vector 1 "), "{error}");
        }
        assert!(Vectors::normalize(2, vec![1.0; 3]).is_err());
        let error = Vectors::normalize(0, vec![]).unwrap_err();
        assert_eq!(error.to_string(), "vectors have at least one number, and these have none");
        let error = Vectors::normalize_named(1, vec![1.0, 0.0], |row| format!("the vector of {row}")).unwrap_err();
        assert_eq!(error.to_string(), "the vector of 1 is all zeros and points nowhere");
    }
}
