//! Divides a cosine among the places of a picture, exactly, for models that pool feature maps.
//!
//! The vector of such a model is a linear function of pooled feature maps (class activation mapping, Zhou et al. 2016; for
//! embeddings Zhu et al. 2021, arXiv 1909.12977): of an average each place has its share, of a maximum the place where it is.

use crate::encoder::{FeatureMaps, Map};
use crate::error::{Error, Result};
use crate::model::Part;

use super::spread::mesh;

/// How far the sum may be from the cosine.
const EXACT: f64 = 1e-3;

/// A cosine, divided among the places of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// Rows and columns.
    pub mesh: (usize, usize),
    /// The share of each cell, row by row.
    pub map: Vec<f32>,
    /// The share of the score that belongs to no place of the picture: biases, parts of the vector that are not linear, margins.
    pub rest: f32,
    /// The cosine, the sum of all.
    pub cosine: f32,
}

impl Activation {
    /// Divides the cosine between a picture and a unit vector.
    ///
    /// # Errors
    /// [`Error::Argument`] if the vector has another dimension; [`Error::Model`] if the network's last layers do not add up
    /// to its vector.
    pub fn of(features: &FeatureMaps, target: &[f32]) -> Result<Self> {
        let length = features.vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if target.len() != features.vector.len() {
            let (given, wanted) = (target.len(), features.vector.len());
            return Err(Error::argument(format!("a vector of {given} numbers cannot be compared with {wanted}")));
        }
        let target: Vec<f64> = target.iter().map(|&value| f64::from(value) / length).collect();
        let cosine: f64 = target.iter().zip(&features.vector).map(|(a, &b)| a * f64::from(b)).sum();
        let mut sums = Sums { features, places: Vec::new(), rest: 0.0 };
        sums.divide(&features.tail.part, &target)?;
        let (rows, columns) = mesh(features.size);
        let mut map = vec![0.0; rows * columns];
        let mut rest = sums.rest;
        for (place, share) in &sums.places {
            rest += share - lay(*place, *share, (rows, columns), &mut map);
        }
        let sum = map.iter().sum::<f64>() + rest;
        let off = (sum - cosine).abs();
        if off.is_nan() || off > EXACT {
            let reason = format!("its layers add up to {sum:.4} and its vector to {cosine:.4}: use method=\"windows\"");
            return Err(Error::model(&features.tail.vector, reason));
        }
        let map = map.into_iter().map(|share| share as f32).collect();
        Ok(Self { mesh: (rows, columns), map, rest: rest as f32, cosine: cosine as f32 })
    }
}

/// The shares of places, each a box in shares of the picture, and of what has none.
struct Sums<'a> {
    features: &'a FeatureMaps,
    places: Vec<([f64; 4], f64)>,
    rest: f64,
}

impl Sums<'_> {
    /// Divides the product of a tensor and of as many weights.
    fn divide(&mut self, part: &Part, weights: &[f64]) -> Result<()> {
        match part {
            Part::Pool { map, maximum } => self.pooled(map, *maximum, weights),
            Part::Other(name) => {
                let other = self.other(name)?;
                self.rest += other.iter().zip(weights).map(|(&value, weight)| f64::from(value) * weight).sum::<f64>();
                self.check(other.len(), weights)
            }
            Part::Scaled { of, by } => {
                self.divide(of, &weights.iter().map(|weight| weight * f64::from(*by)).collect::<Vec<_>>())
            }
            Part::Joined(parts) => {
                let mut left = weights;
                for part in parts {
                    let (own, others) = left.split_at(self.length(part)?.min(left.len()));
                    self.divide(part, own)?;
                    left = others;
                }
                self.check(weights.len() - left.len(), weights)
            }
            Part::Product { of, matrix, shape: [inputs, outputs], turned, bias } => {
                self.check(*outputs, weights)?;
                let bias = |at: usize| bias.get(at % bias.len().max(1)).map_or(0.0, |&value| f64::from(value));
                self.rest += weights.iter().enumerate().map(|(at, weight)| weight * bias(at)).sum::<f64>();
                let at = |input: usize, output: usize| match turned {
                    true => output * inputs + input,
                    false => input * outputs + output,
                };
                let sum = |input: usize| -> f64 {
                    (0..*outputs).map(|output| weights[output] * f64::from(matrix[at(input, output)])).sum()
                };
                self.divide(of, &(0..*inputs).map(sum).collect::<Vec<_>>())
            }
        }
    }

    fn pooled(&mut self, name: &str, maximum: bool, weights: &[f64]) -> Result<()> {
        let map = self.map(name)?;
        let [channels, rows, columns] = map.shape;
        self.check(channels, weights)?;
        let count = rows * columns;
        let mut shares = vec![0.0; count];
        for (values, weight) in map.values.chunks_exact(count).zip(weights) {
            if maximum {
                let most = (0..count).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0);
                shares[most] += weight * f64::from(values[most]);
            } else {
                let weight = weight / count as f64;
                shares.iter_mut().zip(values).for_each(|(share, &value)| *share += weight * f64::from(value));
            }
        }
        let [left, top, right, bottom] = self.features.covered;
        let x = |column: usize| left + (right - left) * column as f64 / columns as f64;
        let y = |row: usize| top + (bottom - top) * row as f64 / rows as f64;
        let place = |at: usize| {
            let (row, column) = (at / columns, at % columns);
            [x(column), y(row), x(column + 1), y(row + 1)]
        };
        self.places.extend(shares.into_iter().enumerate().map(|(at, share)| (place(at), share)));
        Ok(())
    }

    /// The numbers in a tensor.
    fn length(&self, part: &Part) -> Result<usize> {
        Ok(match part {
            Part::Pool { map, .. } => self.map(map)?.shape[0],
            Part::Other(name) => self.other(name)?.len(),
            Part::Joined(parts) => parts.iter().map(|part| self.length(part)).sum::<Result<usize>>()?,
            Part::Product { shape, .. } => shape[1],
            Part::Scaled { of, .. } => self.length(of)?,
        })
    }

    fn map(&self, name: &str) -> Result<&Map> {
        self.features.maps.get(name).ok_or_else(|| Error::model(name, "its feature map is missing"))
    }

    fn other(&self, name: &str) -> Result<Vec<f32>> {
        self.features.others.get(name).cloned().ok_or_else(|| Error::model(name, "its tensor is missing"))
    }

    fn check(&self, length: usize, weights: &[f64]) -> Result<()> {
        match length == weights.len() {
            true => Ok(()),
            false => {
                let reason = format!("its layers have {length} and {} numbers: use method=\"windows\"", weights.len());
                Err(Error::model(&self.features.tail.vector, reason))
            }
        }
    }
}

/// Lays a share over the cells that its box covers, each as much as it does; returns how much of it lies in the picture.
fn lay([left, top, right, bottom]: [f64; 4], share: f64, (rows, columns): (usize, usize), map: &mut [f64]) -> f64 {
    let spans = |start: f64, end: f64, count: usize| -> Vec<(usize, f64)> {
        let (start, end) = (start * count as f64, end * count as f64);
        let cells = (start.max(0.0) as usize).min(count)..(end.max(0.0).ceil() as usize).min(count);
        cells.map(|cell| (cell, (end.min(cell as f64 + 1.0) - start.max(cell as f64)) / (end - start))).collect()
    };
    let across = spans(left, right, columns);
    let mut laid = 0.0;
    for (row, high) in spans(top, bottom, rows) {
        for (column, wide) in &across {
            let part = share * high * wide;
            map[row * columns + column] += part;
            laid += part;
        }
    }
    laid
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::Tail;

    #[test]
    fn shares_add_up_to_the_cosine_and_lie_where_they_come_from() {
        // Two channels of 1 × 2 places: their means and maxima, times a matrix, beside another tensor.
        let pools = [false, true].map(|maximum| Part::Pool { map: "m".into(), maximum });
        let product = Part::Product {
            of: Box::new(Part::Joined(pools.into())),
            matrix: vec![1.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 2.0],
            shape: [4, 2],
            turned: false,
            bias: vec![0.5, -0.5],
        };
        let part = Part::Joined(vec![Part::Scaled { of: Box::new(product), by: 2.0 }, Part::Other("o".into())]);
        let map = Map { shape: [2, 1, 2], values: vec![1.0, 3.0, 4.0, 0.0] };
        let vector = vec![2.0 * (2.0 + 6.0 + 0.5), 2.0 * (2.0 + 8.0 - 0.5), 1.0];
        let length = vector.iter().map(|value: &f32| value * value).sum::<f32>().sqrt();
        let features = FeatureMaps {
            size: (64, 32),
            covered: [0.0, 0.0, 1.0, 1.0],
            maps: HashMap::from([("m".to_owned(), map)]),
            others: HashMap::from([("o".to_owned(), vec![1.0])]),
            vector,
            tail: Arc::new(Tail { vector: "v".into(), part }),
        };
        let found = Activation::of(&features, &[0.6, 0.8, 0.0]).unwrap();
        let left = 2.0 * (0.6 * 0.5 + 0.8 * (2.0 + 8.0)) / length;
        let right = 2.0 * (0.6 * (1.5 + 6.0)) / length;
        let rest = 2.0 * (0.6 * 0.5 - 0.8 * 0.5) / length;
        let sum = |from: usize| (0..16).flat_map(|row| &found.map[row * 32 + from..][..16]).sum::<f32>();
        assert_eq!(found.mesh, (16, 32));
        assert!((sum(0) - left).abs() < 1e-5 && (sum(16) - right).abs() < 1e-5 && (found.rest - rest).abs() < 1e-6);
        assert!((found.cosine - left - right - rest).abs() < 1e-5);
        assert!(Activation::of(&features, &[1.0, 0.0]).is_err());
        let wrong = FeatureMaps { vector: vec![1.0, 1.0, 5.0], ..features };
        assert!(matches!(Activation::of(&wrong, &[0.6, 0.8, 0.0]), Err(Error::Model { .. })));
    }

    #[test]
    fn what_lies_in_a_margin_is_no_part_of_the_picture() {
        let mut map = vec![0.0; 4];
        assert!((lay([-0.5, 0.0, 0.5, 1.0], 1.0, (2, 2), &mut map) - 0.5).abs() < 1e-12);
        assert_eq!(map, [0.25, 0.0, 0.25, 0.0]);
        assert_eq!(lay([1.5, 0.0, 2.0, 1.0], 1.0, (2, 2), &mut map), 0.0);
    }
}
