//! Holds rows of unit vectors, validated and normalized when they are made. All vectors of the crate have this form.

use crate::error::{Error, Result};

/// How far from 1 the length of a unit vector is at most, once its values are rounded to float32.
const ROUNDED: f64 = f32::EPSILON as f64 / 2.0;

/// `len` rows of `dim` float32 values in C order, each of Euclidean length 1.
///
/// ```
/// use plushie_search::vectors::Vectors;
///
/// let vectors = Vectors::normalize(2, vec![3.0, 4.0, 0.0, -2.0])?;
/// assert_eq!((vectors.len(), vectors.dim()), (2, 2));
/// assert_eq!(vectors.row(0), [0.6, 0.8]);
/// assert!(Vectors::normalize(2, vec![0.0, 0.0]).is_err());
/// # Ok::<(), plushie_search::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    dim: usize,
    data: Vec<f32>,
}

impl Vectors {
    /// Makes an empty list of vectors of dimension `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim, data: Vec::new() }
    }

    /// Scales each row of `data` to length 1. A row that has been scaled before stays as it is, bit for bit.
    ///
    /// # Errors
    /// [`Error::Argument`] if `data` is not whole rows of `dim`, or a row is zero or has NaN or infinite values.
    pub fn normalize(dim: usize, data: Vec<f32>) -> Result<Self> {
        Self::normalize_named(dim, data, |row| format!("vector {row}"))
    }

    /// Normalizes like [`Vectors::normalize`]; `name` gives the name of a row in errors.
    ///
    /// # Errors
    /// Those of [`Vectors::normalize`].
    pub fn normalize_named(dim: usize, mut data: Vec<f32>, name: impl Fn(usize) -> String) -> Result<Self> {
        if dim == 0 {
            return Err(Error::argument("the dimension of the vectors is 0: give at least one number each"));
        }
        if !data.len().is_multiple_of(dim) {
            return Err(Error::argument(format!("{} numbers do not make whole rows of dimension {dim}", data.len())));
        }
        for (row, values) in data.chunks_exact_mut(dim).enumerate() {
            // In f64, so that tiny and huge values keep their length.
            let length = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            if !length.is_finite() {
                return Err(Error::argument(format!("{} has NaN or infinite values", name(row))));
            }
            if length < 1e-20 {
                return Err(Error::argument(format!("{} is all zeros: leave it out", name(row))));
            }
            if (length - 1.0).abs() <= ROUNDED {
                continue;
            }
            let scale = 1.0 / length;
            values.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
        }
        Ok(Self { dim, data })
    }

    /// Returns the dimension.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// Iterates over the rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.dim)
    }

    /// Returns all rows as one slice of `len * dim` values.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// Splits the rows into single vectors, in order.
    pub fn split(&self) -> Vec<Self> {
        self.rows().map(|row| Self { dim: self.dim, data: row.to_vec() }).collect()
    }

    /// Returns the values of all rows, `len * dim` of them, without a copy.
    pub fn into_inner(self) -> Vec<f32> {
        self.data
    }

    /// Appends the rows of `other`.
    ///
    /// # Panics
    /// If the dimensions differ.
    pub fn extend(&mut self, other: &Self) {
        assert_eq!(self.dim, other.dim, "cannot append vectors of another dimension");
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
    fn rows_that_were_scaled_stay_as_they_are() {
        for dim in 1..40 {
            let number = |place: usize| (((place * 7919 + dim * 104_729) % 1000) as f32 - 499.5) / 7.0;
            let once = Vectors::normalize(dim, (0..100 * dim).map(number).collect()).unwrap();
            assert_eq!(Vectors::normalize(dim, once.as_slice().to_vec()).unwrap(), once);
        }
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
        assert_eq!(error.to_string(), "the dimension of the vectors is 0: give at least one number each");
        let error = Vectors::normalize_named(1, vec![1.0, 0.0], |row| format!("the vector of {row}")).unwrap_err();
        assert_eq!(error.to_string(), "the vector of 1 is all zeros: leave it out");
    }
}
