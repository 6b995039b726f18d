//! Rows rounded to bytes: a fourth of the memory to read tells which rows may be among the best, and only these are compared
//! as they are. The answer is exact: the error of each rounded product has a bound, which no row of the best exceeds.
//!
//! A row is x = s·a + e with bytes a, and a query q = t·b + f with 16-bit numbers b, so that q·x differs from s·t·(a·b) by no
//! more than |q|·|e| + |f|·|s·a| (Cauchy and Schwarz).

use std::cmp::Ordering;

use crate::index::faiss::{Best, Flat, inner_product};

/// The largest byte that is used.
const BYTE: f32 = 127.0;
/// Of the length of a query and a row, a bound for the errors of sums of 32-bit numbers.
const SLACK: f32 = 1e-5;

/// The rows of a flat index, rounded.
#[derive(Debug, Clone)]
pub(super) struct Rounded {
    dim: usize,
    bytes: Vec<i8>,
    lengths: Vec<Lengths>,
}

/// Of a row x = s·a + e.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    /// s
    scale: f32,
    /// |s·a|
    rounded: f32,
    /// |e|
    error: f32,
}

/// A query q = t·b + f.
struct Query {
    numbers: Vec<i16>,
    /// t
    scale: f32,
    /// |q|
    length: f32,
    /// |f|
    error: f32,
}

impl Rounded {
    pub(super) fn new(dim: usize) -> Self {
        Self { dim, bytes: Vec::new(), lengths: Vec::new() }
    }

    /// Appends rows.
    pub(super) fn add(&mut self, vectors: &[f32]) {
        self.bytes.reserve(vectors.len());
        for row in vectors.chunks_exact(self.dim) {
            let scale = scale(row, BYTE);
            let start = self.bytes.len();
            self.bytes.extend(row.iter().map(|value| (value / scale).round_ties_even() as i8));
            let bytes = &self.bytes[start..];
            let back = || bytes.iter().map(|byte| f32::from(*byte) * scale);
            let error = length(row.iter().zip(back()).map(|(value, back)| value - back));
            self.lengths.push(Lengths { scale, rounded: length(back()), error });
        }
    }

    /// Removes row `rows[i]` for each i in order, each time moving the last row into its place.
    pub(super) fn swap_remove(&mut self, rows: &[usize]) {
        for row in rows {
            self.lengths.swap_remove(*row);
            let last = self.lengths.len();
            self.bytes.copy_within(last * self.dim..(last + 1) * self.dim, row * self.dim);
            self.bytes.truncate(last * self.dim);
        }
    }

    /// A copy of some rows.
    pub(super) fn copied(&self, rows: &[u32]) -> Self {
        let row = |row: &u32| *row as usize;
        let bytes = |row: usize| &self.bytes[row * self.dim..(row + 1) * self.dim];
        Self {
            dim: self.dim,
            bytes: rows.iter().map(row).flat_map(bytes).copied().collect(),
            lengths: rows.iter().map(row).map(|row| self.lengths[row]).collect(),
        }
    }

    /// All rows, one after another.
    pub(super) fn data(&self) -> &[i8] {
        &self.bytes
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&self.lengths[..])
    }

    /// The best `width` rows for each query, of all or of those whose bit is set in `selected`; `flat` has the rows as they
    /// are.
    pub(super) fn search(&self, flat: &Flat, queries: &[f32], width: usize, selected: Option<&[u8]>) -> Best {
        let mut best = Best::default();
        let mut products = vec![0; self.lengths.len()];
        for query in queries.chunks_exact(self.dim) {
            let rounded = Query::new(query);
            dot_products(&self.bytes, &rounded.numbers, &mut products);
            let is_selected = |row: usize| selected.is_none_or(|bits| bits[row / 8] & (1 << (row % 8)) != 0);
            // Each with the least and the most that its product may be.
            let bounds = self.lengths.iter().zip(&products).map(|(of, product)| {
                let about = of.scale * rounded.scale * *product as f32;
                let slack = SLACK * rounded.length * (of.rounded + of.error);
                let error = rounded.length * of.error + rounded.error * of.rounded + slack;
                (about - error, about + error)
            });
            let bounds: Vec<(usize, (f32, f32))> = bounds.enumerate().filter(|(row, _)| is_selected(*row)).collect();
            let least = nth_largest(bounds.iter().map(|(_, (least, _))| *least), width);
            let near = bounds.iter().filter(|(_, (_, most))| *most >= least);
            let exact = near.map(|(row, _)| (*row as u32, inner_product(query, flat.row(*row))));
            best.push(exact.collect(), width);
        }
        best
    }
}

impl Query {
    fn new(query: &[f32]) -> Self {
        // So that a sum of products with bytes is a number of 32 bits.
        let largest = (i32::MAX as f32 / BYTE / query.len() as f32).min(f32::from(i16::MAX)).floor() - 1.0;
        let scale = scale(query, largest);
        let numbers: Vec<i16> = query.iter().map(|value| (value / scale).round_ties_even() as i16).collect();
        let error = query.iter().zip(&numbers).map(|(value, number)| value - f32::from(*number) * scale);
        Self { scale, length: length(query.iter().copied()), error: length(error), numbers }
    }
}

/// The step between rounded numbers of which the largest is `largest`.
fn scale(row: &[f32], largest: f32) -> f32 {
    let most = row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    if most > 0.0 { most / largest } else { 1.0 }
}

fn length(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|value| value * value).sum::<f32>().sqrt()
}

/// The `count`-th largest value; less than all if there are not so many.
fn nth_largest(values: impl Iterator<Item = f32>, count: usize) -> f32 {
    let mut values: Vec<f32> = values.collect();
    if count == 0 || values.len() < count {
        return f32::NEG_INFINITY;
    }
    *values.select_nth_unstable_by(count - 1, |a, b| b.partial_cmp(a).unwrap_or(Ordering::Equal)).1
}

/// The products of a query with each row of `bytes`, in `products`.
fn dot_products(bytes: &[i8], query: &[i16], products: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512bw")]
        fn wide(bytes: &[i8], query: &[i16], products: &mut [i32]) {
            dot_each(bytes, query, products);
        }
        #[target_feature(enable = "avx2")]
        fn narrow(bytes: &[i8], query: &[i16], products: &mut [i32]) {
            dot_each(bytes, query, products);
        }
        if is_x86_feature_detected!("avx512bw") {
            // SAFETY: the processor has the instructions.
            #[allow(unsafe_code)]
            return unsafe { wide(bytes, query, products) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions.
            #[allow(unsafe_code)]
            return unsafe { narrow(bytes, query, products) };
        }
    }
    dot_each(bytes, query, products);
}

#[inline(always)]
fn dot_each(bytes: &[i8], query: &[i16], products: &mut [i32]) {
    for (row, product) in bytes.chunks_exact(query.len()).zip(products) {
        *product = row.iter().zip(query).map(|(byte, number)| i32::from(*byte) * i32::from(*number)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 to 1 that look random (Steele, Lea and Flood, OOPSLA 2014).
    fn numbers(seed: u64) -> impl Iterator<Item = f32> {
        let mut state = seed;
        std::iter::from_fn(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some(((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32)
        })
    }

    fn both(dim: usize, rows: &[f32]) -> (Rounded, Flat) {
        let (mut rounded, mut flat) = (Rounded::new(dim), Flat::new(dim).unwrap());
        rounded.add(rows);
        flat.add(rows).unwrap();
        (rounded, flat)
    }

    /// Whether the found rows are the best of those that are selected, and have their products.
    fn check(rounded: &Rounded, flat: &Flat, query: &[f32], width: usize, selected: Option<&[u8]>) {
        let found = rounded.search(flat, query, width, selected);
        let product = |row: &u32| -> f64 {
            flat.row(*row as usize).iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let is_selected = |row: &u32| selected.is_none_or(|bits| bits[*row as usize / 8] & (1 << (row % 8)) != 0);
        let mut all: Vec<(u32, f64)> =
            (0..flat.len() as u32).filter(is_selected).map(|row| (row, product(&row))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let close = 1e-6 * query.len() as f64;
        for (place, (row, score)) in found.rows.iter().zip(&found.scores).enumerate() {
            let Some(row) = row.get() else {
                assert!(place >= all.len());
                continue;
            };
            assert!(is_selected(&(row as u32)));
            assert!(
                (product(&(row as u32)) - all[place].1).abs() < close
                    && (f64::from(*score) - all[place].1).abs() < close
            );
        }
        let mut rows: Vec<Option<u64>> = found.rows.iter().map(|row| row.get()).take(all.len()).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), width.min(all.len()), "a row twice");
    }

    #[test]
    fn the_best_rows_are_found() {
        for (dim, spread) in [(3, 1.0), (64, 0.01), (96, 1.0), (512, 0.02)] {
            // Near each other, so that rounding would change their order.
            let center: Vec<f32> = numbers(1).take(dim).map(|value| value - 0.5).collect();
            let data: Vec<f32> = (numbers(2).map(|value| spread * (value - 0.5)))
                .zip(center.iter().cycle())
                .map(|(value, center)| center + value)
                .take(700 * dim)
                .collect();
            let (rounded, flat) = both(dim, &data);
            let bits: Vec<u8> = numbers(3).map(|value| (value * 256.0) as u8).take(88).collect();
            for query in [&center[..], &data[5 * dim..6 * dim], &vec![0.0; dim]] {
                for width in [1, 10, 200, 700] {
                    check(&rounded, &flat, query, width, None);
                    check(&rounded, &flat, query, width, Some(&bits));
                }
            }
        }
    }

    #[test]
    fn products_are_within_their_bounds() {
        let dim = 200;
        let data: Vec<f32> = numbers(4).map(|value| (value - 0.5).powi(3)).take(300 * dim).collect();
        let query: Vec<f32> = numbers(5).map(|value| value - 0.3).take(dim).collect();
        let (rounded, flat) = both(dim, &data);
        let of_query = Query::new(&query);
        let mut products = vec![0; 300];
        dot_products(rounded.data(), &of_query.numbers, &mut products);
        for (row, (of, product)) in rounded.lengths.iter().zip(products).enumerate() {
            let exact: f64 = flat.row(row).iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let about = f64::from(of.scale) * f64::from(of_query.scale) * f64::from(product);
            let bound = of_query.length * of.error + of_query.error * of.rounded;
            assert!((exact - about).abs() <= f64::from(bound) * 1.0001 && bound < 0.02 * of_query.length * of.rounded);
        }
    }

    #[test]
    fn rows_come_and_go_with_those_of_the_index() {
        let dim = 8;
        let data: Vec<f32> = numbers(6).take(40 * dim).collect();
        let (mut rounded, mut flat) = both(dim, &data);
        rounded.swap_remove(&[3, 39 - 1, 0]);
        flat.swap_remove(&[3, 39 - 1, 0]).unwrap();
        rounded.add(&data[..2 * dim]);
        flat.add(&data[..2 * dim]).unwrap();
        let (few, of_flat) = (rounded.copied(&[1, 5, 38]), flat.copied(&[1, 5, 38]).unwrap());
        for (rounded, flat) in [(&rounded, &flat), (&few, &of_flat)] {
            let mut anew = Rounded::new(dim);
            anew.add(flat.data());
            assert_eq!(rounded.data(), anew.data());
            check(rounded, flat, &data[..dim], flat.len(), None);
        }
    }
}
