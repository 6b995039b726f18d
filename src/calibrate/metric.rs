//! Measures how alike vectors are where pictures of one item differ little.
//!
//! Within-class covariance normalization (Hatch, Kajarekar and Stolcke, Interspeech 2006): the more pictures of one item
//! differ along a direction, the less that direction tells about items. The covariance is regularized by its mean variance,
//! and only its largest directions are kept: those of 240 pictures already are the ones of any more.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most directions.
const DIRECTIONS: usize = 32;
/// Steps of orthogonal iteration: rough directions do as well as exact ones.
const STEPS: usize = 6;
/// The factor by which numbers of directions are whole.
const WHOLE: f32 = 32_767.0;

/// Directions along which vectors of one item differ, how much of its extent along each a vector keeps, and how an item is
/// then compared. A map that was learned otherwise turns what it changes along a direction onto another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Numbers", into = "Numbers")]
pub struct Metric {
    dim: usize,
    /// Of length 1, each perpendicular to the others.
    directions: Vec<f32>,
    /// The direction onto which each is turned; empty if each stays as it is.
    onto: Vec<f32>,
    /// From 0 to 1 where directions stay as they are.
    kept: Vec<f32>,
    /// How much the best vector of an item counts beside the mean of all, from 0 to 1.
    best: f32,
}

/// The same in few digits.
#[derive(Serialize, Deserialize)]
struct Numbers {
    dim: usize,
    directions: Vec<i16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    onto: Vec<i16>,
    kept: Vec<f32>,
    #[serde(default = "half")]
    best: f32,
}

/// How much the best vector of an item counts by default.
fn half() -> f32 {
    0.5
}

impl From<Metric> for Numbers {
    fn from(Metric { dim, directions, onto, kept, best }: Metric) -> Self {
        let whole = |rows: Vec<f32>| rows.into_iter().map(|value| (value * WHOLE).round() as i16).collect();
        Self { dim, directions: whole(directions), onto: whole(onto), kept, best }
    }
}

impl TryFrom<Numbers> for Metric {
    type Error = Error;

    fn try_from(Numbers { dim, directions, onto, kept, best }: Numbers) -> Result<Self> {
        let turns = !onto.is_empty();
        let is_whole = directions.len() == dim * kept.len() && (!turns || onto.len() == directions.len());
        let fits = |share: &f32| if turns { share.is_finite() } else { (0.0..=1.0).contains(share) };
        if !(is_whole && kept.iter().all(fits) && (0.0..=1.0).contains(&best)) {
            return Err(Error::argument("a metric needs directions of its dimension, and a share from 0 to 1 of each"));
        }
        let parts = |rows: Vec<i16>| rows.into_iter().map(|value| f32::from(value) / WHOLE).collect();
        Ok(Self { dim, directions: parts(directions), onto: parts(onto), kept, best })
    }
}

/// Mapped vectors of an item, and the direction of their mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    vectors: Vec<Vec<f32>>,
    mean: Vec<f32>,
    best: f32,
}

/// How alike a vector and an item are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alike {
    /// The place of the nearest vector of the item.
    pub nearest: usize,
    /// The mean of the cosine with it, and of the cosine with the mean of all its vectors, by their weights.
    pub score: f32,
}

impl Metric {
    /// A map that was learned otherwise: a vector gains (kept - 1) times its extent along each direction, onto the other
    /// one; along itself if `onto` is empty. All rows have the length 1.
    ///
    /// # Errors
    /// [`Error::Argument`] when rows have other dimensions or numbers, or a number is out of its bounds.
    pub fn new(dim: usize, directions: Vec<f32>, onto: Vec<f32>, kept: Vec<f32>, best: f32) -> Result<Self> {
        // What is stored is what is used.
        Self::try_from(Numbers::from(Self { dim, directions, onto, kept, best }))
    }

    /// The dimension of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Learns from the vectors of dimension `dim` of several items. Returns None if too few items have two or more.
    pub fn fit(items: &[Vec<&[f32]>], dim: usize) -> Option<Self> {
        let apart = apart(items, dim);
        let freedom: usize = items.iter().map(|one| one.len().saturating_sub(1)).sum();
        let count = DIRECTIONS.min(freedom / 2).min(dim / 4);
        if count == 0 {
            return None;
        }
        let mut directions = start(count, dim);
        for _ in 0..STEPS {
            let mut next = vec![0.0; count * dim];
            for row in apart.chunks_exact(dim) {
                for (direction, next) in directions.chunks_exact(dim).zip(next.chunks_exact_mut(dim)) {
                    add(next, dot(row, direction), row);
                }
            }
            perpendicular(&mut next, dim);
            directions = next;
        }
        let all: f32 = apart.iter().map(|value| value * value).sum();
        let mean = all / (freedom * dim) as f32;
        let variance = |direction: &[f32]| {
            apart.chunks_exact(dim).map(|row| dot(row, direction).powi(2)).sum::<f32>() / freedom as f32
        };
        let kept = directions.chunks_exact(dim).map(|direction| {
            let variance = variance(direction);
            if mean > 0.0 { (mean / (variance + mean)).sqrt() } else { 1.0 }
        });
        let kept = kept.collect();
        Self::new(dim, directions, Vec::new(), kept, half()).ok()
    }

    /// Maps a vector: what it has along each direction is reduced to the share that is kept. Its length is 1 again.
    pub fn map(&self, vector: &[f32]) -> Vec<f32> {
        let mut mapped = vector.to_vec();
        let onto = if self.onto.is_empty() { &self.directions } else { &self.onto };
        let turned = self.directions.chunks_exact(self.dim).zip(onto.chunks_exact(self.dim));
        for ((direction, onto), kept) in turned.zip(&self.kept) {
            add(&mut mapped, (kept - 1.0) * dot(vector, direction), onto);
        }
        unit(mapped)
    }

    /// Maps the vectors of an item, of which there must be one.
    pub fn group<'a>(&self, vectors: impl Iterator<Item = &'a [f32]>) -> Group {
        let vectors: Vec<Vec<f32>> = vectors.map(|vector| self.map(vector)).collect();
        let mut mean = vec![0.0; self.dim];
        vectors.iter().for_each(|vector| add(&mut mean, 1.0, vector));
        Group { vectors, mean: unit(mean), best: self.best }
    }
}

impl Group {
    /// Compares a mapped vector with the item.
    pub fn compare(&self, mapped: &[f32]) -> Alike {
        let cosines = self.vectors.iter().map(|vector| dot(vector, mapped)).enumerate();
        let (nearest, best) = cosines.reduce(|best, one| if one.1 > best.1 { one } else { best }).unwrap_or_default();
        Alike { nearest, score: self.best * best + (1.0 - self.best) * dot(&self.mean, mapped) }
    }
}

/// How far each vector is from the mean of its item, one after another.
fn apart(items: &[Vec<&[f32]>], dim: usize) -> Vec<f32> {
    let mut apart = Vec::new();
    for vectors in items.iter().filter(|vectors| vectors.len() > 1) {
        let mut mean = vec![0.0; dim];
        vectors.iter().for_each(|vector| add(&mut mean, 1.0 / vectors.len() as f32, vector));
        apart.extend(vectors.iter().flat_map(|vector| vector.iter().zip(&mean).map(|(value, mean)| value - mean)));
    }
    apart
}

/// Perpendicular directions that are the same each time.
fn start(count: usize, dim: usize) -> Vec<f32> {
    let mut seed = 1_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let mut directions = (0..count * dim).map(|_| next()).collect::<Vec<f32>>();
    perpendicular(&mut directions, dim);
    directions
}

/// Makes rows perpendicular to those before them, and of length 1 (Gram-Schmidt, twice against rounding). A row that
/// nothing is left of becomes 0.
fn perpendicular(rows: &mut [f32], dim: usize) {
    for place in 0..rows.len() / dim {
        let (before, rest) = rows.split_at_mut(place * dim);
        let row = &mut rest[..dim];
        let whole = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(dim) {
                let along = dot(row, other);
                add(row, -along, other);
            }
        }
        let left = dot(row, row).sqrt();
        let scale = if left > 1e-4 * whole { 1.0 / left } else { 0.0 };
        row.iter_mut().for_each(|value| *value *= scale);
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

fn add(sum: &mut [f32], share: f32, vector: &[f32]) {
    sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += share * value);
}

/// The inner product; in 16 sums, which the processor adds to at a time.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let (ones, others) = (one.chunks_exact(16), other.chunks_exact(16));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in ones.zip(others) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs that differ by ±spread along the first number, and by a tenth of that along the second.
    fn pairs(spread: f32) -> Vec<[Vec<f32>; 2]> {
        let pair = |place: usize| {
            [1.0_f32, -1.0].map(|side| {
                let mut vector = vec![0.0; 16];
                vector[4 + place % 12] = 1.0;
                vector[place % 2] += side * spread * if place.is_multiple_of(2) { 1.0 } else { 0.1 };
                vector
            })
        };
        (0..12).map(pair).collect()
    }

    fn fit(pairs: &[[Vec<f32>; 2]]) -> Metric {
        let items: Vec<Vec<&[f32]>> = pairs.iter().map(|pair| pair.iter().map(Vec::as_slice).collect()).collect();
        Metric::fit(&items, 16).unwrap()
    }

    #[test]
    fn shares_are_those_of_the_regularized_covariance() {
        let metric = fit(&pairs(0.5));
        // Of 12 pairs, 6 have the squares 2 · .5² along the first axis and 6 have 2 · .05² along the second.
        let variances = [6.0 * 2.0 * 0.25 / 12.0, 6.0 * 2.0 * 0.0025 / 12.0];
        let mean = (variances[0] + variances[1]) / 16.0;
        for (axis, variance) in variances.iter().enumerate() {
            let mut vector = vec![0.0; 16];
            vector[axis] = 0.6;
            vector[15] = 0.8;
            let mapped = metric.map(&vector);
            let expected = f32::sqrt(mean / (variance + mean)) * 0.6 / 0.8;
            assert!((mapped[axis] / mapped[15] - expected).abs() < 1e-3, "{axis}: {mapped:?}");
            assert!((dot(&mapped, &mapped) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn an_item_is_as_near_as_its_best_vector_and_its_mean() {
        let metric = Metric::new(2, Vec::new(), Vec::new(), Vec::new(), 0.5).unwrap();
        let vectors: [&[f32]; 2] = [&[1.0, 0.0], &[0.0, 1.0]];
        let found = metric.group(vectors.into_iter()).compare(&metric.map(&[0.6, 0.8]));
        assert_eq!(found.nearest, 1);
        assert!((found.score - 0.5 * (0.8 + 1.4 / 2.0_f32.sqrt())).abs() < 1e-6);
    }

    #[test]
    fn a_map_turns_what_it_changes_onto_another_direction() {
        let metric = Metric::new(3, vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![3.0], 0.25).unwrap();
        // (.6, 0, .8) gains 2 · .6 along the second axis.
        let length = f32::sqrt(0.36 + 1.44 + 0.64);
        let mapped = metric.map(&[0.6, 0.0, 0.8]);
        for (value, expected) in mapped.iter().zip([0.6, 1.2, 0.8]) {
            assert!((value - expected / length).abs() < 1e-4, "{mapped:?}");
        }
        let plain = Metric::new(2, Vec::new(), Vec::new(), Vec::new(), 0.25).unwrap();
        let vectors: [&[f32]; 2] = [&[1.0, 0.0], &[0.0, 1.0]];
        let found = plain.group(vectors.into_iter()).compare(&[0.6, 0.8]);
        assert!((found.score - (0.25 * 0.8 + 0.75 * 1.4 / 2.0_f32.sqrt())).abs() < 1e-6);
        let stored = serde_json::to_string(&metric).unwrap();
        assert_eq!(serde_json::from_str::<Metric>(&stored).unwrap(), metric);
        for (onto, kept, best) in [(vec![1.0], 2.0, 0.5), (vec![0.0; 3], f32::NAN, 0.5), (Vec::new(), 0.5, 2.0)] {
            assert!(Metric::new(3, vec![1.0, 0.0, 0.0], onto, vec![kept], best).is_err());
        }
    }

    #[test]
    fn items_of_one_vector_teach_nothing() {
        let vector = [1.0, 0.0, 0.0, 0.0];
        assert!(Metric::fit(&[vec![&vector], vec![&vector]], 4).is_none());
        assert!(Metric::fit(&[], 4).is_none());
        // Nor do vectors that are the same; but they break nothing.
        let same = Metric::fit(&[vec![&vector; 3], vec![&vector; 3]], 4).unwrap();
        assert_eq!(same.map(&vector), vector);
    }

    #[test]
    fn what_is_stored_is_what_is_used() {
        let metric = fit(&pairs(0.5));
        let stored = serde_json::to_string(&metric).unwrap();
        assert_eq!(serde_json::from_str::<Metric>(&stored).unwrap(), metric);
        assert!(serde_json::from_str::<Metric>(r#"{"dim": 2, "directions": [1], "kept": [0.5]}"#).is_err());
        assert!(serde_json::from_str::<Metric>(r#"{"dim": 1, "directions": [1], "kept": [2]}"#).is_err());
    }
}
