//! One search: what it sees of each segment, and when it has seen enough.

use std::collections::HashSet;
use std::ops::Range;

use rayon::prelude::*;

use crate::error::Result;
use crate::index::flat::{Best, Flat};
use crate::index::{Found, Segment};
use crate::selection::Rows;

/// The queries of a batch in one space.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    pub(super) space: usize,
    pub(super) dim: usize,
    /// One after another.
    pub(super) queries: &'a [f32],
}

impl<'a> Probe<'a> {
    fn part(&self, queries: Range<usize>) -> &'a [f32] {
        &self.queries[queries.start * self.dim..queries.end * self.dim]
    }
}

/// `work` on each of `things`, here or shared among the pool's threads.
pub(super) fn each<'a, T: Sync, R: Send>(
    here: bool,
    things: &'a [T],
    work: impl Fn(&'a T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    if here { things.iter().map(work).collect() } else { things.par_iter().map(work).collect() }
}

/// What a search sees of a segment.
pub(super) struct Place<'a> {
    segment: &'a Segment,
    /// How many rows may be found.
    len: usize,
    select: Select,
}

enum Select {
    All,
    /// One bit for each row.
    Bits(Vec<u8>),
    /// A copy of the rows for each probe, and their numbers in the segment.
    Copied(Vec<Flat>, Vec<u32>),
}

impl<'a> Place<'a> {
    pub(super) fn new(
        segment: &'a Segment,
        probes: &[Probe<'_>],
        allowed: Option<&Rows>,
        gather: bool,
    ) -> Result<Option<Self>> {
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
            let copies = probes.iter().map(|probe| segment.flats[probe.space].copied(&rows));
            Select::Copied(copies.collect::<Result<_>>()?, rows)
        } else {
            let mut bits = vec![0; all.div_ceil(8)];
            rows.iter().for_each(|row| bits[*row as usize / 8] |= 1 << (row % 8));
            Select::Bits(bits)
        };
        Ok((len > 0).then_some(Self { segment, len, select }))
    }

    /// The best `width` rows for each of the queries.
    fn search(&self, probes: &[Probe<'_>], queries: Range<usize>, width: usize) -> Result<Best> {
        let flat = |number: usize| match &self.select {
            Select::Copied(copies, _) => &copies[number],
            _ => &self.segment.flats[probes[number].space],
        };
        let bits = if let Select::Bits(bits) = &self.select { Some(bits.as_slice()) } else { None };
        if let [probe] = probes {
            return flat(0).search(probe.part(queries), width, bits);
        }
        let rows = flat(0).len();
        let mut scores = vec![0.0; queries.len() * rows];
        for (number, probe) in probes.iter().enumerate() {
            flat(number).add_products(probe.part(queries.clone()), &mut scores);
        }
        Ok(Best::of(&scores, rows, width, bits))
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

pub(super) struct Search<'a> {
    pub(super) k: usize,
    pub(super) min_score: f32,
    pub(super) small: bool,
    pub(super) probes: &'a [Probe<'a>],
    pub(super) places: &'a [Place<'a>],
}

impl Search<'_> {
    pub(super) fn block(&self, queries: Range<usize>, width: usize) -> Result<Vec<Vec<Found>>> {
        let search = |place: &Place<'_>| place.search(self.probes, queries.clone(), width.min(place.len));
        let bests = each(self.small, self.places, search)?;
        let numbers: Vec<usize> = queries.clone().collect();
        each(self.small, &numbers, |&number| self.settle(number, number - queries.start, width, &bests))
    }

    /// Groups what the places have found for query `number`, the one at `row` in `bests`. A place whose worst row could
    /// still be surpassed by one that it has not shown is asked for more, until the answer is certain.
    fn settle(&self, number: usize, row: usize, width: usize, bests: &[Best]) -> Result<Vec<Found>> {
        let mut widths: Vec<usize> = self.places.iter().map(|place| width.min(place.len)).collect();
        let mut lists: Vec<Vec<Found>> = (self.places.iter().zip(bests).zip(&widths))
            .map(|((place, best), &width)| place.found(best, row, width).collect())
            .collect();
        loop {
            let top = self.top(&lists);
            let bar = top.get(self.k - 1).map_or(self.min_score, |last| last.score);
            let certain = |list: &[Found]| list.last().is_none_or(|last| last.score < bar);
            let mut settled = true;
            for ((place, width), list) in self.places.iter().zip(&mut widths).zip(&mut lists) {
                if *width < place.len && !certain(list) {
                    *width = width.saturating_mul(4).min(place.len);
                    *list = place.found(&place.search(self.probes, number..number + 1, *width)?, 0, *width).collect();
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
        let mut seen = HashSet::new();
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
