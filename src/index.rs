//! Exact search by inner product over the vectors of references, one hit for each item.
//!
//! The vectors lie in segments of bounded size, each a flat faiss index: a single query runs on all threads of the
//! caller's rayon pool, one segment each, and a removal touches one segment only.

mod flat;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::filter::Rows;
use crate::index::flat::{Best, Flat};
use crate::vectors::Vectors;

/// Rows in a segment: few enough to share 100 000 vectors among several threads.
const SEGMENT_ROWS: usize = 16_384;
/// Queries that are searched as one matrix.
const BLOCK: usize = 256;
/// From this many queries on, the vectors that a filter allows are copied together and searched as one matrix.
const GATHER_QUERIES: usize = 8;

/// Up to this many multiplications a search is done sooner on the caller's thread than handed to others.
const SMALL: usize = 4 << 20;

/// Vectors of references, searched exactly; each reference belongs to an item.
#[derive(Debug)]
pub struct Index {
    dim: usize,
    segment_rows: usize,
    segments: Vec<Segment>,
    /// Segment and row of each reference.
    places: HashMap<i64, (u32, u32)>,
    /// How many references each item has.
    counts: HashMap<i64, u32>,
}

#[derive(Debug)]
struct Segment {
    flat: Flat,
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

impl Index {
    /// An index without vectors.
    ///
    /// # Errors
    /// [`Error::Argument`] when `dim` is 0 or above 65 536.
    pub fn new(dim: usize) -> Result<Self> {
        Self::with_segment_rows(dim, SEGMENT_ROWS)
    }

    pub(crate) fn with_segment_rows(dim: usize, segment_rows: usize) -> Result<Self> {
        Flat::new(dim)?;
        Ok(Self { dim, segment_rows, segments: Vec::new(), places: HashMap::new(), counts: HashMap::new() })
    }

    /// Numbers in each vector.
    pub fn dim(&self) -> usize {
        self.dim
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

    /// Adds references, each with its item and its vector (`vectors` has one after another); a reference that is there
    /// already is replaced.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit, a reference is given twice, or a vector has NaN or infinity.
    /// Then nothing is changed.
    pub fn add(&mut self, references: &[i64], items: &[i64], vectors: &[f32]) -> Result<()> {
        if references.len() != items.len() || vectors.len() != references.len() * self.dim {
            return Err(Error::argument(format!(
                "{} references, {} items and {} numbers do not make vectors of {}",
                references.len(),
                items.len(),
                vectors.len(),
                self.dim
            )));
        }
        if let Some(bad) = vectors.iter().position(|value| !value.is_finite()) {
            return Err(Error::argument(format!("vector {} has NaN or infinite values", bad / self.dim)));
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
            segment.flat.add(&vectors[start * self.dim..end * self.dim])?;
            for (&reference, &item) in references[start..end].iter().zip(&items[start..end]) {
                self.places.insert(reference, (number as u32, segment.items.len() as u32));
                *self.counts.entry(item).or_default() += 1;
                segment.references.push(reference);
                segment.items.push(item);
            }
            if segment.items.len() == self.segment_rows {
                segment.flat.use_huge_pages();
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
        self.segments.push(Segment { flat: Flat::new(self.dim)?, references: Vec::new(), items: Vec::new() });
        Ok(self.segments.len() - 1)
    }

    /// Removes references; those that are not there are passed over. Returns how many were there.
    ///
    /// # Errors
    /// [`Error::Argument`] when faiss fails, which it has no reason to.
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
            self.segments[number as usize].flat.swap_remove(&rows)?;
        }
        Ok(removed)
    }

    /// For each query the best `k` items, best first, each with its best reference; equal scores go by smaller row.
    /// Only the `allowed` items count, and only scores of at least `min_score`.
    ///
    /// A query alone and the same query in a batch are summed in another order, so that their scores may differ in the
    /// last bits.
    ///
    /// # Errors
    /// [`Error::Argument`] when `k` is 0 or the queries have another dimension.
    pub fn search(
        &self,
        queries: &Vectors,
        k: usize,
        allowed: Option<&Rows>,
        min_score: Option<f32>,
    ) -> Result<Vec<Vec<Found>>> {
        if k == 0 {
            return Err(Error::argument("k must be at least 1"));
        }
        if queries.dim() != self.dim {
            return Err(Error::argument(format!(
                "queries of {} numbers cannot be compared with vectors of {}",
                queries.dim(),
                self.dim
            )));
        }
        let gather = queries.len() >= GATHER_QUERIES;
        let small = self.is_small(queries.len());
        let part = |segment| Part::new(segment, self.dim, allowed, gather);
        let parts: Vec<Part<'_>> = each(small, &self.segments, part)?.into_iter().flatten().collect();
        let min_score = min_score.unwrap_or(f32::NEG_INFINITY);
        let search = Search { dim: self.dim, k, min_score, small, parts: &parts };
        // Enough items even if each brings all its references, unless some have far more than most.
        let references = self.len().div_ceil(self.counts.len().max(1)).min(4);
        let width = k.saturating_mul(references).saturating_add(1);
        if small {
            return search.block(queries.as_slice(), width);
        }
        let threads = rayon::current_num_threads();
        let block = if parts.len() >= threads { BLOCK } else { queries.len().div_ceil(threads).clamp(1, BLOCK) };
        let blocks: Vec<Vec<Vec<Found>>> = queries
            .as_slice()
            .par_chunks(block * self.dim)
            .map(|block| search.block(block, width))
            .collect::<Result<_>>()?;
        Ok(blocks.into_iter().flatten().collect())
    }

    /// Whether [`Index::search`] for that many queries stays on the caller's thread; otherwise it shares the work among
    /// the threads of the rayon pool that it is called in.
    pub fn is_small(&self, queries: usize) -> bool {
        queries.saturating_mul(self.len()).saturating_mul(self.dim) <= SMALL
    }
}

/// `work` on each of `things`, here or shared among the pool's threads.
fn each<'a, T: Sync, R: Send>(
    here: bool,
    things: &'a [T],
    work: impl Fn(&'a T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    if here { things.iter().map(work).collect() } else { things.par_iter().map(work).collect() }
}

/// What a search sees of a segment.
struct Part<'a> {
    segment: &'a Segment,
    /// How many rows may be found.
    len: usize,
    select: Select,
}

enum Select {
    All,
    /// One bit for each row.
    Bits(Vec<u8>),
    /// A copy of the rows, and their numbers in the segment.
    Copied(Flat, Vec<u32>),
}

impl<'a> Part<'a> {
    fn new(segment: &'a Segment, dim: usize, allowed: Option<&Rows>, gather: bool) -> Result<Option<Self>> {
        let all = segment.items.len();
        if all == 0 {
            return Ok(None);
        }
        let Some(allowed) = allowed else {
            return Ok(Some(Self { segment, len: all, select: Select::All }));
        };
        let rows = segment.items.iter().enumerate().filter(|&(_, &item)| allowed.contains(item));
        let rows: Vec<u32> = rows.map(|(row, _)| row as u32).collect();
        let len = rows.len();
        let select = if len == all {
            Select::All
        } else if gather {
            let mut flat = Flat::new(dim)?;
            let data = segment.flat.data();
            for run in rows.chunk_by(|a, b| a + 1 == *b) {
                let start = run[0] as usize * dim;
                flat.add(&data[start..start + run.len() * dim])?;
            }
            Select::Copied(flat, rows)
        } else {
            let mut bits = vec![0; all.div_ceil(8)];
            rows.iter().for_each(|row| bits[*row as usize / 8] |= 1 << (row % 8));
            Select::Bits(bits)
        };
        Ok((len > 0).then_some(Self { segment, len, select }))
    }

    fn search(&self, queries: &[f32], width: usize) -> Result<Best> {
        match &self.select {
            Select::All => self.segment.flat.search(queries, width, None),
            Select::Bits(bits) => self.segment.flat.search(queries, width, Some(bits)),
            Select::Copied(flat, _) => flat.search(queries, width, None),
        }
    }

    /// The best rows of query number `query`, best first.
    fn found<'b>(&'b self, best: &'b Best, query: usize, width: usize) -> impl Iterator<Item = Found> + 'b {
        let range = query * width..(query + 1) * width;
        let pairs = best.scores[range.clone()].iter().zip(&best.rows[range]);
        pairs.filter_map(|(&score, row)| {
            let row = row.get()? as usize;
            let row = if let Select::Copied(_, rows) = &self.select { rows[row] as usize } else { row };
            Some(Found { item: self.segment.items[row], reference: self.segment.references[row], score })
        })
    }
}

struct Search<'a> {
    dim: usize,
    k: usize,
    min_score: f32,
    small: bool,
    parts: &'a [Part<'a>],
}

impl Search<'_> {
    fn block(&self, queries: &[f32], width: usize) -> Result<Vec<Vec<Found>>> {
        let search = |part: &Part<'_>| part.search(queries, width.min(part.len));
        let bests = each(self.small, self.parts, search)?;
        let queries: Vec<(usize, &[f32])> = queries.chunks_exact(self.dim).enumerate().collect();
        each(self.small, &queries, |&(number, query)| self.settle(query, number, width, &bests))
    }

    /// Groups what the parts have found for one query. A part whose worst row could still be surpassed by one that it
    /// has not shown is asked for more, until the answer is certain.
    fn settle(&self, query: &[f32], number: usize, width: usize, bests: &[Best]) -> Result<Vec<Found>> {
        let mut widths: Vec<usize> = self.parts.iter().map(|part| width.min(part.len)).collect();
        let mut lists: Vec<Vec<Found>> = (self.parts.iter().zip(bests).zip(&widths))
            .map(|((part, best), &width)| part.found(best, number, width).collect())
            .collect();
        loop {
            let top = self.top(&lists);
            let bar = top.get(self.k - 1).map_or(self.min_score, |last| last.score);
            let certain = |list: &[Found]| list.last().is_none_or(|last| last.score < bar);
            let mut settled = true;
            for ((part, width), list) in self.parts.iter().zip(&mut widths).zip(&mut lists) {
                if *width < part.len && !certain(list) {
                    *width = width.saturating_mul(4).min(part.len);
                    *list = part.found(&part.search(query, *width)?, 0, *width).collect();
                    settled = false;
                }
            }
            if settled {
                return Ok(top);
            }
        }
    }

    /// The best `k` items in `lists`.
    fn top(&self, lists: &[Vec<Found>]) -> Vec<Found> {
        let mut all: Vec<Found> =
            lists.iter().flatten().filter(|found| found.score >= self.min_score).copied().collect();
        all.sort_unstable_by(|a, b| {
            b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)).then(a.reference.cmp(&b.reference))
        });
        let mut top: Vec<Found> = Vec::with_capacity(self.k.min(all.len()));
        let mut seen = std::collections::HashSet::new();
        for found in all {
            if top.len() == self.k {
                break;
            }
            if seen.insert(found.item) {
                top.push(found);
            }
        }
        top
    }
}
