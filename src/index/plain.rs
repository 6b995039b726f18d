//! Exact search over vectors as they are, whatever their length: by inner products or by Euclidean distances.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::index::faiss::{inner_products, set_up, squared_distances};
use crate::selection::Rows;

/// The longest vectors, as of an index by cosines.
const LONGEST: usize = 1 << 16;
/// Times as many rows are looked at until as many items are found as are wanted.
const MORE: usize = 4;

/// The measure by which vectors of any length are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The inner product: more is nearer.
    InnerProduct,
    /// The squared Euclidean distance: less is nearer.
    Euclidean,
}

/// Vectors of references, each of which belongs to an item.
#[derive(Debug)]
pub struct Plain {
    metric: Metric,
    dim: usize,
    data: Vec<f32>,
    references: Vec<i64>,
    items: Vec<i64>,
    /// The row of each reference.
    rows: HashMap<i64, usize>,
    /// How many references each item has.
    counts: HashMap<i64, u32>,
}

impl Plain {
    /// An index without vectors, for vectors of `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dim` is 0 or more than 65,536.
    pub fn new(dim: usize, metric: Metric) -> Result<Self> {
        if !(1..=LONGEST).contains(&dim) {
            return Err(Error::argument(format!("dim {dim}: give 1 to {LONGEST}")));
        }
        set_up();
        Ok(Self {
            metric,
            dim,
            data: Vec::new(),
            references: Vec::new(),
            items: Vec::new(),
            rows: HashMap::new(),
            counts: HashMap::new(),
        })
    }

    /// Numbers in each vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The measure.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How many references there are.
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether there are no references.
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// How many items have references.
    pub fn items(&self) -> usize {
        self.counts.len()
    }

    /// Adds references with their items and vectors, which stand one after another; one that is there is replaced.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers differ, or a vector has NaN or infinite values; then nothing is added.
    pub fn add(&mut self, references: &[i64], items: &[i64], vectors: &[f32]) -> Result<()> {
        if items.len() != references.len() || vectors.len() != references.len() * self.dim {
            return Err(Error::argument(format!(
                "{} references, {} items and {} numbers: give an item and {} numbers for each reference",
                references.len(),
                items.len(),
                vectors.len(),
                self.dim
            )));
        }
        check(self.dim, vectors)?;
        for ((reference, item), vector) in references.iter().zip(items).zip(vectors.chunks_exact(self.dim)) {
            *self.counts.entry(*item).or_default() += 1;
            match self.rows.get(reference) {
                Some(&row) => {
                    let before = std::mem::replace(&mut self.items[row], *item);
                    self.forget(before);
                    self.data[row * self.dim..(row + 1) * self.dim].copy_from_slice(vector);
                }
                None => {
                    self.rows.insert(*reference, self.references.len());
                    self.references.push(*reference);
                    self.items.push(*item);
                    self.data.extend_from_slice(vector);
                }
            }
        }
        Ok(())
    }

    /// Removes references, passes over those that are not there, and returns how many were.
    pub fn remove(&mut self, references: &[i64]) -> usize {
        let mut removed = 0;
        for reference in references {
            let Some(row) = self.rows.remove(reference) else { continue };
            let last = self.references.len() - 1;
            self.references.swap_remove(row);
            let item = self.items.swap_remove(row);
            self.forget(item);
            self.data.copy_within(last * self.dim.., row * self.dim);
            self.data.truncate(last * self.dim);
            if let Some(moved) = self.references.get(row) {
                self.rows.insert(*moved, row);
            }
            removed += 1;
        }
        removed
    }

    /// Counts one reference less of an item.
    fn forget(&mut self, item: i64) {
        if let Some(count) = self.counts.get_mut(&item) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&item);
            }
        }
    }

    /// Returns for each query, which stand one after another, the best `k` items, best first, each with its best
    /// reference; equal scores go by smaller reference. Only `allowed` items count, and scores that are as near as
    /// `limit` or nearer.
    ///
    /// # Errors
    /// [`Error::Argument`] if `k` is 0, or the queries are of another dimension or have NaN; [`Error::Interrupted`] when it
    /// is called off.
    pub fn search(
        &self,
        dim: usize,
        queries: &[f32],
        k: usize,
        allowed: Option<&Rows>,
        limit: Option<f32>,
    ) -> Result<Vec<Vec<Candidate>>> {
        if k == 0 {
            return Err(Error::argument("k must be at least 1"));
        }
        if dim != self.dim {
            return Err(Error::argument(format!("queries of {dim} numbers for vectors of {}", self.dim)));
        }
        check(dim, queries)?;
        let cancel = Cancel::current();
        queries
            .par_chunks_exact(dim)
            .map(|query| cancel.check().map(|()| self.best(query, k, allowed, limit)))
            .collect()
    }

    fn best(&self, query: &[f32], k: usize, allowed: Option<&Rows>, limit: Option<f32>) -> Vec<Candidate> {
        let mut scores = vec![0.0; self.len()];
        match self.metric {
            Metric::InnerProduct => inner_products(query, &self.data, &mut scores),
            Metric::Euclidean => squared_distances(query, &self.data, &mut scores),
        }
        let fits = |row: &usize| {
            allowed.is_none_or(|items| items.contains(self.items[*row]))
                && limit.is_none_or(|limit| self.nearer(scores[*row], limit) != Ordering::Greater)
        };
        let mut rows: Vec<usize> = (0..self.len()).filter(fits).collect();
        let order = |a: &usize, b: &usize| {
            self.nearer(scores[*a], scores[*b]).then(self.references[*a].cmp(&self.references[*b]))
        };
        let mut width = k;
        loop {
            if width < rows.len() {
                rows.select_nth_unstable_by(width, order);
            }
            let looked = width.min(rows.len());
            rows[..looked].sort_unstable_by(order);
            let mut seen = HashSet::new();
            let firsts = rows[..looked].iter().filter(|row| seen.insert(self.items[**row])).take(k);
            let found: Vec<Candidate> = firsts.map(|row| self.candidate(*row, scores[*row])).collect();
            if found.len() == k || looked == rows.len() {
                return found;
            }
            width = width.saturating_mul(MORE);
        }
    }

    fn candidate(&self, row: usize, score: f32) -> Candidate {
        Candidate { item: self.items[row], reference: self.references[row], score, segment: 0, row: row as u32 }
    }

    /// The order of scores, the nearer one first.
    fn nearer(&self, a: f32, b: f32) -> Ordering {
        match self.metric {
            Metric::InnerProduct => b.total_cmp(&a),
            Metric::Euclidean => a.total_cmp(&b),
        }
    }
}

fn check(dim: usize, vectors: &[f32]) -> Result<()> {
    match vectors.chunks_exact(dim).position(|vector| !vector.iter().all(|number| number.is_finite())) {
        Some(row) => Err(Error::argument(format!("vector {row} has NaN or infinite values"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 1e6 - 8.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn it_finds_what_a_loop_finds() {
        for metric in [Metric::InnerProduct, Metric::Euclidean] {
            let (dim, count) = (5, 200);
            let data = numbers(count * dim, 1);
            let references: Vec<i64> = (0..count as i64).collect();
            let items: Vec<i64> = references.iter().map(|row| row / 3).collect();
            let mut index = Plain::new(dim, metric).unwrap();
            index.add(&references, &items, &data).unwrap();
            assert_eq!(index.remove(&[7, 500, 199, 0]), 3);
            let query = numbers(dim, 9);
            let score = |row: &i64| -> f32 {
                let vector = &data[*row as usize * dim..][..dim];
                let terms = vector.iter().zip(&query);
                match metric {
                    Metric::InnerProduct => -terms.map(|(a, b)| a * b).sum::<f32>(),
                    Metric::Euclidean => terms.map(|(a, b)| (a - b) * (a - b)).sum(),
                }
            };
            let mut left: Vec<i64> = references.into_iter().filter(|row| ![7, 199, 0].contains(row)).collect();
            left.sort_by(|a, b| score(a).total_cmp(&score(b)));
            let mut wanted: Vec<i64> = Vec::new();
            left.iter().map(|row| row / 3).for_each(|item| {
                if !wanted.contains(&item) {
                    wanted.push(item)
                }
            });
            let found = index.search(dim, &query, 1000, None, None).unwrap().remove(0);
            assert_eq!(found.iter().map(|one| one.item).collect::<Vec<_>>(), wanted);
            let few = index.search(dim, &query, 4, None, None).unwrap().remove(0);
            assert_eq!(few, found[..4]);
        }
    }
}
