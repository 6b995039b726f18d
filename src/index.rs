//! Exact search by inner product over the vectors of references, one hit for each item.
//!
//! A reference has one vector in each *space*, which is what one model sees in it; a search asks one space, or adds what
//! several say. The vectors lie in segments of bounded size, for each space a flat faiss index: a single query runs on
//! all threads of the caller's rayon pool, one segment each, and a removal touches one segment only.

mod flat;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::index::flat::Flat;
use crate::index::scan::{Place, Probe, Search, each};
use crate::selection::Rows;
use crate::vectors::Vectors;

/// Rows in a segment: few enough to share 100 000 vectors among several threads.
const SEGMENT_ROWS: usize = 16_384;
/// Queries that are searched as one matrix.
const BLOCK: usize = 256;
/// The same where all scores are kept before the best are chosen: these are 4 MB for each segment.
const SUM_BLOCK: usize = 64;
/// From this many queries on, the vectors that a filter allows are copied together and searched as one matrix.
const GATHER_QUERIES: usize = 8;

/// Up to this many multiplications a search is done sooner on the caller's thread than handed to others.
const SMALL: usize = 4 << 20;

/// Vectors of references, searched exactly; each reference belongs to an item.
#[derive(Debug)]
pub struct Index {
    dims: Vec<usize>,
    segment_rows: usize,
    segments: Vec<Segment>,
    /// Segment and row of each reference.
    places: HashMap<i64, (u32, u32)>,
    /// How many references each item has.
    counts: HashMap<i64, u32>,
}

#[derive(Debug)]
struct Segment {
    /// The vectors in each space, in the same order.
    flats: Vec<Flat>,
    references: Vec<i64>,
    items: Vec<i64>,
}

/// An item that a search has found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The item's row.
    pub item: i64,
    /// The row of its best reference.
    pub reference: i64,
    /// The inner product of that reference's vector with the query: for unit vectors, their cosine.
    pub score: f32,
}

/// What each query of a batch is in one space: a unit vector, and how much it counts.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The number of the space.
    pub space: usize,
    /// One vector for each query.
    pub vectors: &'a Vectors,
    /// One weight for each query.
    pub weights: &'a [f32],
}

impl Index {
    /// An index without vectors, for vectors of `dims[i]` numbers in space `i`.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no space, or one of 0 or more than 65 536 numbers.
    pub fn new(dims: &[usize]) -> Result<Self> {
        Self::with_segment_rows(dims, SEGMENT_ROWS)
    }

    pub(crate) fn with_segment_rows(dims: &[usize], segment_rows: usize) -> Result<Self> {
        if dims.is_empty() {
            return Err(Error::argument("an index needs at least one kind of vectors"));
        }
        flats(dims)?;
        Ok(Self {
            dims: dims.into(),
            segment_rows,
            segments: Vec::new(),
            places: HashMap::new(),
            counts: HashMap::new(),
        })
    }

    /// Numbers in each vector, for each space.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// How many references there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no references.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many items have references.
    pub fn items(&self) -> usize {
        self.counts.len()
    }

    /// Adds references, each with its item and its vectors (`vectors` has for each space one after another); a reference
    /// that is there already is replaced.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit, a reference is given twice, or a vector has NaN or infinity.
    /// Then nothing is changed.
    pub fn add<V: AsRef<[f32]>>(&mut self, references: &[i64], items: &[i64], vectors: &[V]) -> Result<()> {
        let vectors: Vec<&[f32]> = vectors.iter().map(AsRef::as_ref).collect();
        let numbers: Vec<usize> = vectors.iter().map(|vectors| vectors.len()).collect();
        let wanted: Vec<usize> = self.dims.iter().map(|dim| references.len() * dim).collect();
        if references.len() != items.len() || numbers != wanted {
            let sum = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" + ");
            return Err(Error::argument(format!(
                "{} references, {} items and {} numbers do not make vectors of {}",
                references.len(),
                items.len(),
                sum(&numbers),
                sum(&self.dims)
            )));
        }
        for (vectors, dim) in vectors.iter().zip(&self.dims) {
            if let Some(bad) = vectors.iter().position(|value| !value.is_finite()) {
                return Err(Error::argument(format!("vector {} has NaN or infinite values", bad / dim)));
            }
        }
        // References that come from a catalog grow.
        if !references.is_sorted_by(|a, b| a < b) {
            let mut sorted = references.to_vec();
            sorted.sort_unstable();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Error::argument(format!("reference {} is given twice", pair[0])));
            }
        }
        self.remove(references)?;
        let mut start = 0;
        while start < references.len() {
            let number = self.segment_with_room()?;
            let segment = &mut self.segments[number];
            let end = references.len().min(start + self.segment_rows - segment.items.len());
            for ((flat, vectors), dim) in segment.flats.iter_mut().zip(&vectors).zip(&self.dims) {
                flat.add(&vectors[start * dim..end * dim])?;
            }
            for (&reference, &item) in references[start..end].iter().zip(&items[start..end]) {
                self.places.insert(reference, (number as u32, segment.items.len() as u32));
                *self.counts.entry(item).or_default() += 1;
                segment.references.push(reference);
                segment.items.push(item);
            }
            if segment.items.len() == self.segment_rows {
                segment.flats.iter().for_each(Flat::use_huge_pages);
            }
            start = end;
        }
        Ok(())
    }

    fn segment_with_room(&mut self) -> Result<usize> {
        let room = |segment: &Segment| segment.items.len() < self.segment_rows;
        if let Some(number) = self.segments.iter().position(room) {
            return Ok(number);
        }
        self.segments.push(Segment { flats: flats(&self.dims)?, references: Vec::new(), items: Vec::new() });
        Ok(self.segments.len() - 1)
    }

    /// Removes references; those that are not there are passed over. Returns how many were there.
    ///
    /// # Errors
    /// [`Error::Internal`] when faiss fails, which it has no reason to.
    pub fn remove(&mut self, references: &[i64]) -> Result<usize> {
        let mut gaps: HashMap<u32, Vec<usize>> = HashMap::new();
        let mut removed = 0;
        for reference in references {
            // Look up one after another: each removal moves another reference to the gap.
            let Some((number, row)) = self.places.remove(reference) else { continue };
            let segment = &mut self.segments[number as usize];
            segment.references.swap_remove(row as usize);
            let item = segment.items.swap_remove(row as usize);
            if let Some(&moved) = segment.references.get(row as usize) {
                self.places.insert(moved, (number, row));
            }
            if let Some(count) = self.counts.get_mut(&item) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&item);
                }
            }
            gaps.entry(number).or_default().push(row as usize);
            removed += 1;
        }
        for (number, rows) in gaps {
            self.segments[number as usize].flats.iter_mut().try_for_each(|flat| flat.swap_remove(&rows))?;
        }
        Ok(removed)
    }

    /// For each query the best `k` items by its vector in a space, best first, each with its best reference; equal scores
    /// go by smaller row. Only the `allowed` items count, and only scores of at least `min_score`.
    ///
    /// A query alone and the same query in a batch are summed in another order, so that their scores may differ in the
    /// last bits.
    ///
    /// # Errors
    /// [`Error::Argument`] when `k` is 0, or the space is not there or of another dimension.
    pub fn search(
        &self,
        space: usize,
        queries: &Vectors,
        k: usize,
        allowed: Option<&Rows>,
        min_score: Option<f32>,
    ) -> Result<Vec<Vec<Found>>> {
        self.check(k, space, queries)?;
        let probe = Probe { space, dim: queries.dim(), queries: queries.as_slice() };
        self.scan(&[probe], queries.len(), k, allowed, min_score)
    }

    /// As [`Index::search`], but a reference's score is the sum of its scores in the space of each part, times that
    /// part's weight.
    ///
    /// # Errors
    /// Those of [`Index::search`]; [`Error::Argument`] when there is no part, or the parts have not as many queries.
    pub fn search_sum(
        &self,
        parts: &[Part<'_>],
        k: usize,
        allowed: Option<&Rows>,
        min_score: Option<f32>,
    ) -> Result<Vec<Vec<Found>>> {
        let count = parts.first().map_or(0, |part| part.weights.len());
        if parts.is_empty() || parts.iter().any(|part| part.vectors.len() != count || part.weights.len() != count) {
            return Err(Error::argument("each part of a search needs a vector and a weight for each query"));
        }
        let weighted = |part: &Part<'_>| -> Result<Vec<f32>> {
            self.check(k, part.space, part.vectors)?;
            let rows = part.vectors.rows().zip(part.weights);
            Ok(rows.flat_map(|(row, weight)| row.iter().map(move |value| value * weight)).collect())
        };
        let weighted = parts.iter().map(weighted).collect::<Result<Vec<_>>>()?;
        let probe = |(part, queries): (&Part<'_>, _)| Probe { space: part.space, dim: part.vectors.dim(), queries };
        let probes: Vec<Probe<'_>> = parts.iter().zip(weighted.iter().map(Vec::as_slice)).map(probe).collect();
        self.scan(&probes, count, k, allowed, min_score)
    }

    fn check(&self, k: usize, space: usize, queries: &Vectors) -> Result<()> {
        if k == 0 {
            return Err(Error::argument("k must be at least 1"));
        }
        match self.dims.get(space) {
            Some(&dim) if dim == queries.dim() => Ok(()),
            dim => Err(Error::argument(format!(
                "queries of {} numbers cannot be compared with vectors of {}",
                queries.dim(),
                dim.copied().unwrap_or_default()
            ))),
        }
    }

    fn scan(
        &self,
        probes: &[Probe<'_>],
        count: usize,
        k: usize,
        allowed: Option<&Rows>,
        min_score: Option<f32>,
    ) -> Result<Vec<Vec<Found>>> {
        let gather = count >= GATHER_QUERIES;
        let small = self.is_small(count, probes.iter().map(|probe| probe.dim).sum());
        let place = |segment| Place::new(segment, probes, allowed, gather);
        let places: Vec<Place<'_>> = each(small, &self.segments, place)?.into_iter().flatten().collect();
        let min_score = min_score.unwrap_or(f32::NEG_INFINITY);
        let search = Search { k, min_score, small, probes, places: &places };
        // Enough items even if each brings all its references, unless some have far more than most.
        let references = self.len().div_ceil(self.counts.len().max(1)).min(4);
        let width = k.saturating_mul(references).saturating_add(1);
        if small {
            return search.block(0..count, width);
        }
        let threads = rayon::current_num_threads();
        let most = if probes.len() == 1 { BLOCK } else { SUM_BLOCK };
        let block = if places.len() >= threads { most } else { count.div_ceil(threads).clamp(1, most) };
        let starts: Vec<usize> = (0..count).step_by(block).collect();
        let blocks: Vec<Vec<Vec<Found>>> = starts
            .into_par_iter()
            .map(|start| search.block(start..count.min(start + block), width))
            .collect::<Result<_>>()?;
        Ok(blocks.into_iter().flatten().collect())
    }

    /// Whether a search for that many queries, in spaces of `dims` numbers together, stays on the caller's thread;
    /// otherwise it shares the work among the threads of the rayon pool that it is called in.
    pub fn is_small(&self, queries: usize, dims: usize) -> bool {
        queries.saturating_mul(self.len()).saturating_mul(dims) <= SMALL
    }
}

/// An empty matrix for each space.
fn flats(dims: &[usize]) -> Result<Vec<Flat>> {
    dims.iter().map(|dim| Flat::new(*dim)).collect()
}
