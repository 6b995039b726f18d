//! Segments on a device: it finds rows by rounded vectors, and these are compared as they are on the processor.
//!
//! The answer is exact: a device is asked for more rows until none that it has not named can be among the best, by the
//! bound of its error. Rows stand as in an approximate segment, so that a bit for each says which are left; adding goes to
//! other segments.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::encoder::{DeviceRows, Products};
use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::index::approximate::{Approximate, Sealed};
use crate::index::effort::Effort;
use crate::index::faiss::{Best, inner_product, keep_best};
use crate::index::matrix::Matrix;
use crate::index::segment::{Probe, Segment, Selected};
use crate::index::snapshot::Snapshot;

/// Rows that a device multiplies together: enough to keep it busy, and few enough for their scores.
const CHUNK: usize = 1 << 20;
/// Scores of one run: in 32 bits, 1 GiB of the device's memory.
const SCORES: usize = 1 << 28;
/// Rows that are asked for beside those that are wanted, and how many times as many where these do not suffice.
const MORE: usize = 32;
const FURTHER: usize = 4;
/// More than one in so many rows is found sooner by the processor.
const SPREAD: usize = 4;
/// Up to so many selected rows are compared sooner by the processor.
const FEW: usize = 4096;
/// About how many rows the processor compares for a query.
const COMPARED: usize = 128;
/// Scores below this are those of rows that may not be found.
const MASKED: f32 = -8.0;

/// Rows with their scores.
type Scored = Vec<(u32, f32)>;

/// The rows of a segment on a device.
#[derive(Debug)]
pub struct Resident {
    /// For each space, and each place of the device, its parts.
    spaces: Vec<Vec<Vec<Chunk>>>,
}

/// Some of the rows, from `start` on: a multiple of 8, where a byte of selected rows begins.
#[derive(Debug)]
struct Chunk {
    start: usize,
    held: DeviceRows,
}

impl Resident {
    /// Copies the vectors of each space to a device, of which each place gets as many.
    fn new(products: &Arc<Products>, vectors: &[Matrix], rows: usize, chunk: usize) -> Result<Self> {
        let each = rows.div_ceil(products.places()).min(chunk).max(1).next_multiple_of(8);
        let space = |matrix: &Matrix| -> Result<Vec<Vec<Chunk>>> {
            let mut places: Vec<Vec<Chunk>> = (0..products.places()).map(|_| Vec::new()).collect();
            for (number, start) in (0..rows).step_by(each).enumerate() {
                Cancel::current().check()?;
                let place = number % products.places();
                let part = matrix.rows(start..rows.min(start + each));
                places[place].push(Chunk { start, held: products.hold(place, matrix.dim(), part)? });
            }
            Ok(places)
        };
        let spaces = vectors.iter().map(space).collect::<Result<_>>()?;
        Ok(Self { spaces })
    }

    /// Bytes of the device's memory that the rows take.
    pub fn bytes(&self) -> usize {
        self.spaces.iter().flatten().flatten().map(|chunk| chunk.held.bytes()).sum()
    }

    /// For each unit query the best `k` rows of each part, and a score that no other row exceeds.
    fn look(
        &self,
        space: usize,
        dim: usize,
        queries: &[f32],
        k: usize,
        selected: Option<&[u8]>,
    ) -> Result<Vec<Looked>> {
        let count = queries.len() / dim;
        let of_place = |chunks: &Vec<Chunk>| -> Result<Vec<Looked>> {
            let mut looked: Vec<Looked> = (0..count).map(|_| Looked::default()).collect();
            for Chunk { start, held } in chunks {
                let bits = selected.map(|bits| &bits[start / 8..(start + held.len()).div_ceil(8)]);
                let some = (SCORES / held.len().max(1)).clamp(1, count.max(1));
                for (queries, looked) in queries.chunks(some * dim).zip(looked.chunks_mut(some)) {
                    Cancel::current().check()?;
                    for (best, looked) in held.best(queries, k, bits)?.into_iter().zip(looked) {
                        looked.add(*start, &best, best.len() == held.len(), held.error());
                    }
                }
            }
            Ok(looked)
        };
        let places = &self.spaces[space];
        // On a thread of a pool, others may help.
        let all: Vec<Vec<Looked>> = match rayon::current_thread_index() {
            Some(_) if places.len() > 1 => places.par_iter().map(of_place).collect::<Result<_>>()?,
            _ => places.iter().map(of_place).collect::<Result<_>>()?,
        };
        let joined = all.into_iter().reduce(|mut all, one| {
            all.iter_mut().zip(one).for_each(|(all, one)| all.join(one));
            all
        });
        Ok(joined.unwrap_or_default())
    }
}

/// The rows that a device has found for a query.
struct Looked {
    rows: Vec<u32>,
    /// No other row has a greater score.
    bar: f32,
}

impl Default for Looked {
    fn default() -> Self {
        Self { rows: Vec::new(), bar: f32::NEG_INFINITY }
    }
}

impl Looked {
    /// Takes the best of a part, greatest first; `all` says that it has no others.
    fn add(&mut self, start: usize, best: &[(u32, f32)], all: bool, error: f32) {
        let found = best.iter().filter(|(_, score)| *score > MASKED);
        self.rows.extend(found.map(|(row, _)| start as u32 + row));
        // Behind a row that may not be found there are no others that may.
        if let Some((_, least)) = best.last().filter(|(_, least)| !all && *least > MASKED) {
            self.bar = self.bar.max(least + error);
        }
    }

    fn join(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.bar = self.bar.max(other.bar);
    }
}

/// Copies all references of a snapshot to a device.
///
/// # Errors
/// [`Error::Runtime`](crate::error::Error::Runtime) if its memory does not suffice;
/// [`Error::Interrupted`](crate::error::Error::Interrupted) when it is called off.
pub fn hold(snapshot: &Snapshot, products: &Arc<Products>) -> Result<Sealed> {
    hold_in(snapshot, products, CHUNK)
}

/// The same in parts of at most so many rows, and a few more.
pub(super) fn hold_in(snapshot: &Snapshot, products: &Arc<Products>, chunk: usize) -> Result<Sealed> {
    let mut rows: Vec<Candidate> = snapshot.rows().collect();
    rows.sort_unstable_by_key(|row| (row.item, row.reference));
    let gathered = |(space, dim): (usize, &usize)| {
        let data = rows.iter().flat_map(|row| snapshot.vector(row, space)).copied().collect();
        Matrix::new(*dim, data)
    };
    let vectors: Vec<Matrix> = snapshot.dims().iter().enumerate().map(gathered).collect();
    let resident = Some(Resident::new(products, &vectors, rows.len(), chunk)?);
    let references = rows.iter().map(|row| row.reference).collect();
    let items = rows.iter().map(|row| row.item).collect();
    Ok(Sealed { references, items, vectors, coded: Vec::new(), tuned: Vec::new(), resident, written: None })
}

/// The rows of a [`Sealed`] on a device that were not removed.
#[derive(Debug, Clone)]
pub(super) struct OnDevice(Approximate);

impl OnDevice {
    pub(super) fn new(sealed: &Arc<Sealed>) -> Self {
        Self(Approximate::new(Arc::clone(sealed)))
    }

    fn resident(&self) -> Result<&Resident> {
        self.0.sealed.resident.as_ref().ok_or_else(|| Error::internal("a segment lacks its device"))
    }

    /// The best `width` of the rows that were found for a query, compared as they are; `None` if others may be better.
    fn settled(&self, probe: &Probe<'_>, query: usize, looked: &Looked, width: usize) -> Option<Scored> {
        let query = probe.part(query..query + 1);
        let score = |row: &u32| (*row, inner_product(query, self.0.vector(probe.space, *row as usize)));
        let mut pairs: Scored = looked.rows.iter().map(score).collect();
        keep_best(&mut pairs, width);
        let least = pairs.iter().map(|(_, score)| *score).fold(f32::INFINITY, f32::min);
        // Those that score the same go by their rows, which the device does not know.
        let certain = looked.bar == f32::NEG_INFINITY || (pairs.len() == width && least > looked.bar * length(query));
        certain.then_some(pairs)
    }

    /// The best `width` rows for each query, by the device; `None` for queries that the processor is to look up.
    fn found(
        &self,
        probe: &Probe<'_>,
        queries: Range<usize>,
        width: usize,
        selected: Option<Selected<'_>>,
    ) -> Result<Vec<Option<Scored>>> {
        let (first, rows, resident) = (queries.start, self.0.items().len(), self.resident()?);
        let mut found: Vec<Option<Scored>> = vec![None; queries.len()];
        let usable = |query: &usize| length(probe.part(*query..*query + 1)).is_normal();
        let mut open: Vec<usize> = queries.filter(usable).collect();
        let mut fetched = width.saturating_mul(2).saturating_add(MORE);
        while !open.is_empty() && fetched.saturating_mul(SPREAD) < rows {
            let mut units = Vec::with_capacity(open.len() * probe.dim);
            for query in &open {
                let query = probe.part(*query..*query + 1);
                let length = length(query);
                units.extend(query.iter().map(|value| value / length));
            }
            let bits = selected.map(|selected| selected.bits);
            let looked = resident.look(probe.space, probe.dim, &units, fetched, bits)?;
            let settle = |(query, looked): (&usize, &Looked)| self.settled(probe, *query, looked, width);
            let settled: Vec<Option<Scored>> = match rayon::current_thread_index() {
                Some(_) => open.par_iter().zip(&looked).map(settle).collect(),
                None => open.iter().zip(&looked).map(settle).collect(),
            };
            for (query, pairs) in open.iter().zip(settled) {
                found[query - first] = pairs;
            }
            open.retain(|query| found[query - first].is_none());
            fetched = fetched.saturating_mul(FURTHER);
        }
        Ok(found)
    }
}

fn length(query: &[f32]) -> f32 {
    query.iter().map(|value| value * value).sum::<f32>().sqrt()
}

impl Segment for OnDevice {
    fn references(&self) -> &[i64] {
        self.0.references()
    }

    fn items(&self) -> &[i64] {
        self.0.items()
    }

    fn live(&self) -> Option<Selected<'_>> {
        self.0.live()
    }

    fn is_sorted(&self) -> bool {
        self.0.is_sorted()
    }

    fn grows(&self) -> bool {
        false
    }

    fn is_apart(&self) -> bool {
        true
    }

    fn is_few(&self, _: &[Probe<'_>], selected: usize) -> bool {
        selected <= FEW.min(self.0.items().len() / SPREAD)
    }

    fn compared(&self) -> usize {
        COMPARED.min(self.0.items().len())
    }

    fn add(&mut self, references: &[i64], items: &[i64], vectors: &[&[f32]]) -> Result<()> {
        self.0.add(references, items, vectors)
    }

    fn seal(&mut self) {}

    fn remove(&mut self, references: &[(i64, u32)]) -> Result<Vec<(i64, u32)>> {
        self.0.remove(references)
    }

    fn duplicate(&self) -> Result<Arc<dyn Segment>> {
        Ok(Arc::new(self.clone()))
    }

    fn gather(&self, rows: &[u32], spaces: &[usize]) -> Result<Box<dyn Segment>> {
        self.0.gather(rows, spaces)
    }

    fn candidates(
        &self,
        probes: &[Probe<'_>],
        queries: Range<usize>,
        width: usize,
        selected: Option<Selected<'_>>,
        _: &Effort,
    ) -> Result<Best> {
        let [probe] = probes else { return Ok(self.0.scan(probes, queries, width, selected)) };
        let found = self.found(probe, queries.clone(), width, selected)?;
        if found.iter().all(Option::is_none) {
            return Ok(self.0.scan(probes, queries, width, selected));
        }
        let mut all = Best::default();
        for (query, pairs) in queries.zip(found) {
            match pairs {
                Some(pairs) => all.push(pairs, width),
                None => {
                    let one = self.0.scan(probes, query..query + 1, width, selected);
                    all.scores.extend(one.scores);
                    all.rows.extend(one.rows);
                }
            }
        }
        Ok(all)
    }

    fn add_scores(&self, probe: &Probe<'_>, queries: Range<usize>, scores: &mut [f32]) {
        self.0.add_scores(probe, queries, scores);
    }

    fn vector(&self, space: usize, row: usize) -> &[f32] {
        self.0.vector(space, row)
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn sealed(&self) -> Option<&Arc<Sealed>> {
        self.0.sealed()
    }
}

#[cfg(test)]
mod tests;
