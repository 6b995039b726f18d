//! Approximate segments: an index of codes finds the rows that are compared by their full vectors.
//!
//! The rows never change and stand in the order of the codes, so that a bit for each says which of them are left. Adding
//! goes to other segments.

use std::ops::Range;
use std::sync::Arc;

use faiss::Idx;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::index::budget::ledger_bytes;
use crate::index::coded::Coded;
use crate::index::device::Resident;
use crate::index::effort::{Effort, Tuned};
use crate::index::exact::Exact;
use crate::index::factory::{Factory, Kind};
use crate::index::faiss::{Best, add_products, inner_product, keep_best};
use crate::index::matrix::Matrix;
use crate::index::segment::{Probe, Segment, Selected};

#[cfg(test)]
mod tests;

/// Queries that one thread searches after another.
const TOGETHER: usize = 8;
/// Queries that are compared with all rows as one matrix.
const BLOCK: usize = 64;
/// Rows that are compared one by one at a time.
const STEP: usize = 16_384;
/// The rows in the lists that are probed, for each row that is wanted.
const SPREAD: usize = 4;
/// References of an item before and behind a found one that are compared, too.
const BESIDE: usize = 4;
/// How many times as much is looked at where too few rows were found.
const FURTHER: usize = 4;
/// Of so many rows that are nearest to a query, as many should be selected as of all: if they are fewer by so many standard
/// deviations, which chance does in one of a hundred cases, what is selected lies elsewhere. More rows are looked at if few are
/// selected, so that this many can be expected.
const NEAR: usize = 64;
const MOST_NEAR: usize = 256;
const EXPECTED: f64 = 10.0;
const DEVIATIONS: f64 = 2.5;
/// Codes of rows far from a query tell less: so many rows for each that is wanted are compared by their full vectors then.
const FAR_FACTOR: f32 = 128.0;
/// So many codes are compared in the time of one full vector.
const CHEAPER: usize = 8;
/// So many vectors beside each other are compared in the time of one that lies apart.
const APART: usize = 4;

/// Rows with their scores.
type Pairs = Vec<(u32, f32)>;

/// References with their vectors and codes, made once.
#[derive(Debug)]
pub struct Sealed {
    pub(super) references: Vec<i64>,
    pub(super) items: Vec<i64>,
    /// For each space the vectors, one after another.
    pub(super) vectors: Vec<Matrix>,
    /// For each space the codes.
    pub(super) coded: Vec<Coded>,
    /// For each space how much to look at.
    pub(super) tuned: Vec<Tuned>,
    /// The rows on a device that searches them in the place of codes.
    pub(super) resident: Option<Resident>,
    /// The checksum of its file, if it has one.
    pub(crate) written: Option<u64>,
}

/// A segment and those of its rows that are gone.
#[derive(Debug, Clone)]
pub struct Left {
    /// The segment.
    pub sealed: Arc<Sealed>,
    /// Numbers of rows.
    pub gone: Vec<u32>,
}

impl Left {
    /// A segment with all of its rows.
    pub fn whole(sealed: Arc<Sealed>) -> Self {
        Self { sealed, gone: Vec::new() }
    }
}

impl Sealed {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// How much searches look at in each space.
    pub fn tuned(&self) -> &[Tuned] {
        &self.tuned
    }

    /// The factory string of the codes in each space.
    pub fn factories(&self) -> impl Iterator<Item = &str> {
        self.coded.iter().map(|coded| coded.factory().as_str())
    }

    /// Whether a vector that was looked at is not as it was written to the file: what was found with it is not to be trusted.
    pub fn is_damaged(&self) -> bool {
        self.vectors.iter().any(Matrix::is_damaged)
    }

    /// Bytes of memory that it takes with the places of its rows, without pages of its file.
    pub fn takes(&self) -> usize {
        self.bytes() + ledger_bytes(self.len())
    }

    /// Its rows on a device, if one searches them.
    pub fn resident(&self) -> Option<&Resident> {
        self.resident.as_ref()
    }

    /// Bytes of memory that are its own, without pages of its file.
    fn bytes(&self) -> usize {
        let vectors: usize = self.vectors.iter().map(Matrix::owned_bytes).sum();
        let codes: usize = self.coded.iter().map(Coded::bytes).sum();
        vectors + codes + size_of_val(&self.references[..]) + size_of_val(&self.items[..])
    }
}

/// The rows of a [`Sealed`] that were not removed.
#[derive(Debug, Clone)]
pub(super) struct Approximate {
    pub(super) sealed: Arc<Sealed>,
    /// One bit for each row.
    live: Vec<u8>,
    count: usize,
    sorted: bool,
}

impl Approximate {
    /// All rows.
    pub(super) fn new(sealed: Arc<Sealed>) -> Self {
        let count = sealed.len();
        let mut live = vec![0xff; count.div_ceil(8)];
        if let Some(last) = live.last_mut().filter(|_| !count.is_multiple_of(8)) {
            *last = (1 << (count % 8)) - 1;
        }
        let sorted = sealed.items.is_sorted();
        Self { sealed, live, count, sorted }
    }

    /// All rows but those that are gone.
    pub(super) fn left_of(left: &Left) -> Self {
        let mut all = Self::new(Arc::clone(&left.sealed));
        left.gone.iter().for_each(|row| all.forget(*row));
        all
    }

    fn forget(&mut self, row: u32) {
        let (byte, bit) = (row as usize / 8, 1 << (row % 8));
        if let Some(live) = self.live.get_mut(byte) {
            self.count -= usize::from(*live & bit != 0);
            *live &= !bit;
        }
    }

    /// The best `width` rows for each query, each compared by its full vector; of all rows, or those that are selected.
    pub(super) fn scan(
        &self,
        probes: &[Probe<'_>],
        queries: Range<usize>,
        width: usize,
        selected: Option<Selected<'_>>,
    ) -> Best {
        match selected {
            Some(selected) if queries.len() * APART * selected.len < self.sealed.len() => {
                let mut all = Best::default();
                queries.for_each(|query| all.push(self.scan_selected(probes, query, width, selected), width));
                all
            }
            _ => self.scan_for(probes, queries, &[(selected, width)]).pop().unwrap_or_default(),
        }
    }

    /// The same for one query, row by row.
    fn scan_selected(&self, probes: &[Probe<'_>], query: usize, width: usize, selected: Selected<'_>) -> Pairs {
        let score = |row: usize| -> f32 {
            let product =
                |probe: &Probe<'_>| inner_product(probe.part(query..query + 1), self.vector(probe.space, row));
            probes.iter().map(product).sum()
        };
        let mut found = Vec::with_capacity(width + STEP);
        for (byte, bits) in selected.bits.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            let rows = (8 * byte..8 * byte + 8).filter(|row| bits & (1 << (row % 8)) != 0);
            found.extend(rows.map(|row| (row as u32, score(row))));
            if found.len() >= width + STEP {
                keep_best(&mut found, width);
            }
        }
        found
    }

    /// For each selection and its width the best rows for each query.
    fn scan_for(
        &self,
        probes: &[Probe<'_>],
        queries: Range<usize>,
        selections: &[(Option<Selected<'_>>, usize)],
    ) -> Vec<Best> {
        let (rows, count) = (self.sealed.len(), queries.len());
        let mut found: Vec<Vec<Pairs>> = vec![vec![Pairs::new(); count]; selections.len()];
        for start in (0..rows).step_by(STEP) {
            let part = start..rows.min(start + STEP);
            let is_seen = |row: usize| selections.iter().any(|(selected, _)| selected.is_none_or(|one| one.has(row)));
            if !part.clone().any(is_seen) {
                continue;
            }
            let mut scores = vec![0.0; count * part.len()];
            for probe in probes {
                let data = self.sealed.vectors[probe.space].rows(part.clone());
                add_products(data, probe.dim, probe.part(queries.clone()), &mut scores);
            }
            for (found, (selected, width)) in found.iter_mut().zip(selections) {
                let is_selected = |row: &usize| selected.is_none_or(|selected| selected.has(*row));
                for (found, scores) in found.iter_mut().zip(scores.chunks_exact(part.len())) {
                    let pairs = part.clone().zip(scores).filter(|(row, _)| is_selected(row));
                    found.extend(pairs.map(|(row, score)| (row as u32, *score)));
                    keep_best(found, *width);
                }
            }
        }
        let best = |(found, (_, width)): (Vec<Pairs>, &(_, usize))| {
            let mut all = Best::default();
            found.into_iter().for_each(|pairs| all.push(pairs, *width));
            all
        };
        found.into_iter().zip(selections).map(best).collect()
    }

    /// For each selection and its width the exact best rows for each of `count` queries, shared among the threads of this pool.
    pub(super) fn exact(
        &self,
        probe: &Probe<'_>,
        count: usize,
        selections: &[(Option<Selected<'_>>, usize)],
    ) -> Result<Vec<Vec<Vec<Candidate>>>> {
        let starts: Vec<usize> = (0..count).step_by(BLOCK).collect();
        let cancel = Cancel::current();
        let found = starts.par_iter().map(|start| {
            cancel.check()?;
            Ok(self.scan_for(&[*probe], *start..count.min(start + BLOCK), selections))
        });
        let mut all: Vec<Vec<Vec<Candidate>>> = vec![Vec::with_capacity(count); selections.len()];
        for bests in found.collect::<Result<Vec<Vec<Best>>>>()? {
            for ((all, best), (_, width)) in all.iter_mut().zip(&bests).zip(selections) {
                all.extend(self.listed(best, *width));
            }
        }
        Ok(all)
    }

    /// The rows that were found for each query.
    pub(super) fn listed<'a>(&'a self, best: &'a Best, width: usize) -> impl Iterator<Item = Vec<Candidate>> + 'a {
        let candidate = |(row, score): (&Idx, &f32)| {
            let row = row.get()? as usize;
            let (item, reference) = (self.sealed.items[row], self.sealed.references[row]);
            Some(Candidate { item, reference, score: *score, segment: 0, row: row as u32 })
        };
        let lists = best.rows.chunks(width).zip(best.scores.chunks(width));
        lists.map(move |(rows, scores)| rows.iter().zip(scores).filter_map(candidate).collect())
    }

    /// The best `width` rows for one query.
    fn look(
        &self,
        probe: &Probe<'_>,
        query: usize,
        width: usize,
        selected: Option<Selected<'_>>,
        effort: &Effort,
    ) -> Result<Pairs> {
        let (space, rows) = (probe.space, self.sealed.len());
        let coded = &self.sealed.coded[space];
        let factory = coded.factory();
        let len = selected.map_or(rows, |selected| selected.len);
        let tuned = &self.sealed.tuned[space];
        let look = tuned.look(probe.texts, width, rows as f64 / len.max(1) as f64);
        let mut fetched = (width as f32 * effort.k_factor.unwrap_or(look.k_factor)).ceil() as usize;
        let (mut looked, most) = match factory.kind {
            Kind::Codes => (1, 1),
            Kind::Graph => (effort.ef_search.unwrap_or(look.looked.max(fetched)), rows),
            Kind::Lists => {
                // No fewer rows that may be found are compared than of all.
                let probed = self.probed(fetched, factory).saturating_mul(rows).div_ceil(len.max(1));
                (effort.nprobe.unwrap_or(look.looked.max(probed)), factory.lists)
            }
        };
        looked = looked.min(most);
        let data = probe.part(query..query + 1);
        let bits = selected.map(|selected| selected.bits);
        let (is_few, is_measured) = (CHEAPER * len < rows, *effort == Effort::default());
        // A graph seldom leads to one of few selected rows, and the codes of many lists take longer than their vectors.
        let mut is_exact = is_measured
            && selected.is_some()
            && match factory.kind {
                Kind::Codes => false,
                Kind::Graph => is_few,
                Kind::Lists => tuned.few > 0 && len < looked.saturating_mul(rows / factory.lists) / CHEAPER,
            };
        if let Some(selected) = selected.filter(|_| is_measured && !is_exact)
            && self.is_apart(probe, query, selected)?
        {
            is_exact = is_few || factory.kind == Kind::Graph;
            (looked, fetched) = (most, fetched.max((width as f32 * FAR_FACTOR) as usize));
        }
        loop {
            if is_exact || fetched >= len || SPREAD * fetched >= rows {
                break;
            }
            let found = coded.search(data, fetched, bits, looked)?;
            let found: Vec<usize> = found.rows.iter().filter_map(|row| Some(row.get()? as usize)).collect();
            if found.len() >= width.min(len) {
                let score = |row: usize| (row as u32, inner_product(data, self.vector(space, row)));
                return Ok(self.with_others(found, selected).into_iter().map(score).collect());
            }
            if looked >= most {
                break;
            }
            looked = looked.saturating_mul(FURTHER).min(most);
        }
        let found = self.scan(&[*probe], query..query + 1, width, selected);
        Ok(found.rows.iter().zip(found.scores).filter_map(|(row, score)| Some((row.get()? as u32, score))).collect())
    }

    /// Whether what is selected lies apart from a query: of the rows that are nearest to it, far fewer are selected than of
    /// all. The nearest of a selection such as a category are then not where those of all rows are.
    fn is_apart(&self, probe: &Probe<'_>, query: usize, selected: Selected<'_>) -> Result<bool> {
        let (space, rows) = (probe.space, self.sealed.len());
        let coded = &self.sealed.coded[space];
        let looked = self.sealed.tuned[space].of(probe.texts).looked;
        let rate = selected.len as f64 / self.count.max(1) as f64;
        let near = ((EXPECTED / rate) as usize).clamp(NEAR, MOST_NEAR);
        let looked = match coded.factory().kind {
            Kind::Codes => return Ok(false),
            _ if selected.len == self.count || SPREAD * near >= rows => return Ok(false),
            Kind::Graph => looked.max(near),
            Kind::Lists => looked.max(self.probed(near, coded.factory())).min(coded.factory().lists),
        };
        let bits = self.live().map(|live| live.bits);
        let found = coded.search(probe.part(query..query + 1), near, bits, looked)?;
        let found: Vec<usize> = found.rows.iter().filter_map(|row| Some(row.get()? as usize)).collect();
        let passing = found.iter().filter(|row| selected.has(**row)).count();
        let expected = rate * found.len() as f64;
        Ok((passing as f64) < expected - DEVIATIONS * (expected * (1.0 - rate)).sqrt())
    }

    /// Adds to rows those of the same items that lie beside them, so that an item is not scored by another reference than
    /// its best one.
    fn with_others(&self, mut found: Vec<usize>, selected: Option<Selected<'_>>) -> Vec<usize> {
        let items = &self.sealed.items;
        for place in 0..found.len() {
            let row = found[place];
            let is_own = |other: &usize| items[*other] == items[row];
            let before = (0..row).rev().take(BESIDE).take_while(is_own);
            let after = (row + 1..items.len()).take(BESIDE).take_while(is_own);
            found.extend(before.chain(after).filter(|other| selected.is_none_or(|selected| selected.has(*other))));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// How many lists are probed at least for so many rows to fetch.
    fn probed(&self, fetched: usize, factory: &Factory) -> usize {
        (SPREAD * fetched).div_ceil((self.sealed.len() / factory.lists).max(1))
    }
}

impl Segment for Approximate {
    fn references(&self) -> &[i64] {
        &self.sealed.references
    }

    fn items(&self) -> &[i64] {
        &self.sealed.items
    }

    fn live(&self) -> Option<Selected<'_>> {
        (self.count < self.sealed.len()).then_some(Selected { bits: &self.live, len: self.count })
    }

    fn is_sorted(&self) -> bool {
        self.sorted
    }

    fn grows(&self) -> bool {
        false
    }

    fn is_few(&self, probes: &[Probe<'_>], selected: usize) -> bool {
        let [probe] = probes else { return false };
        let (rows, tuned) = (self.sealed.len(), &self.sealed.tuned[probe.space]);
        let factory = self.sealed.coded[probe.space].factory();
        let rarity = rows as f64 / selected.max(1) as f64;
        let more = match factory.kind {
            Kind::Codes => 0,
            // As many times as much is looked at.
            Kind::Graph => (tuned.few as f64 * (rarity - 1.0)) as usize,
            Kind::Lists => {
                let looked = tuned.of(probe.texts).at(rarity).looked.min(factory.lists);
                looked.saturating_sub(tuned.pictures.looked) * (rows / factory.lists) / CHEAPER
            }
        };
        tuned.few > 0 && selected <= tuned.few + more
    }

    fn compared(&self) -> usize {
        self.sealed.tuned.iter().map(|tuned| tuned.few).max().unwrap_or_default()
    }

    fn add(&mut self, _: &[i64], _: &[i64], _: &[&[f32]]) -> Result<()> {
        Err(Error::internal("an approximate segment does not grow"))
    }

    fn seal(&mut self) {}

    fn remove(&mut self, references: &[(i64, u32)]) -> Result<Vec<(i64, u32)>> {
        references.iter().for_each(|(_, row)| self.forget(*row));
        Ok(Vec::new())
    }

    fn duplicate(&self) -> Result<Arc<dyn Segment>> {
        Ok(Arc::new(self.clone()))
    }

    fn gather(&self, rows: &[u32], spaces: &[usize]) -> Result<Box<dyn Segment>> {
        let pick = |of: &[i64]| -> Vec<i64> { rows.iter().map(|row| of[*row as usize]).collect() };
        let gathered = |space: usize| -> Vec<f32> {
            match spaces.contains(&space) {
                true => rows.iter().flat_map(|row| self.vector(space, *row as usize)).copied().collect(),
                false => Vec::new(),
            }
        };
        let dims: Vec<usize> = self.sealed.vectors.iter().map(Matrix::dim).collect();
        let vectors: Vec<Vec<f32>> = (0..dims.len()).map(gathered).collect();
        Ok(Box::new(Exact::of(&dims, pick(&self.sealed.references), pick(&self.sealed.items), &vectors)?))
    }

    fn candidates(
        &self,
        probes: &[Probe<'_>],
        queries: Range<usize>,
        width: usize,
        selected: Option<Selected<'_>>,
        effort: &Effort,
    ) -> Result<Best> {
        let [probe] = probes else { return Ok(self.scan(probes, queries, width, selected)) };
        let numbers: Vec<usize> = queries.collect();
        let look = |number: &usize| self.look(probe, *number, width, selected, effort);
        // On a thread of a pool, others may help.
        let found: Vec<Pairs> = match rayon::current_thread_index() {
            Some(_) if numbers.len() > TOGETHER => {
                numbers.par_iter().with_min_len(TOGETHER).map(look).collect::<Result<_>>()?
            }
            _ => numbers.iter().map(look).collect::<Result<_>>()?,
        };
        let mut all = Best::default();
        found.into_iter().for_each(|pairs| all.push(pairs, width));
        Ok(all)
    }

    fn add_scores(&self, probe: &Probe<'_>, queries: Range<usize>, scores: &mut [f32]) {
        let vectors = &self.sealed.vectors[probe.space];
        add_products(vectors.rows(0..vectors.len()), probe.dim, probe.part(queries), scores);
    }

    fn vector(&self, space: usize, row: usize) -> &[f32] {
        self.sealed.vectors[space].row(row)
    }

    fn bytes(&self) -> usize {
        self.sealed.bytes() + self.live.len()
    }

    fn sealed(&self) -> Option<&Arc<Sealed>> {
        Some(&self.sealed)
    }
}
