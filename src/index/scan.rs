//! One search: what it sees of each segment, and when it has seen enough.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::fusion::{self, Aggregate, Candidate, List, Moments};
use crate::index::allowed::Allowed;
use crate::index::effort::Effort;
use crate::index::faiss::{Best, inner_product};
use crate::index::segment::{Probe, Segment, Selected};
use crate::index::snapshot::{Part, Request, Snapshot};

/// Queries that are searched as one matrix.
const BLOCK: usize = 256;
/// The same where all scores of a segment are kept before the best are chosen: these are 4 MB.
const SUM_BLOCK: usize = 64;
/// Scores that are kept of a block where every reference counts.
const SCORES: usize = 8 << 20;
/// From this many queries on, the vectors that a filter allows are copied together and searched as one matrix.
const GATHER_QUERIES: usize = 8;

/// `work` on each of `things`, here or shared among the pool's threads.
fn each<'a, T: Sync, R: Send>(
    here: bool,
    things: &'a [T],
    work: impl Fn(&'a T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    if here { things.iter().map(work).collect() } else { things.par_iter().map(work).collect() }
}

/// How many rows a search for `k` items looks for: enough even if each brings all its references, unless some have far more
/// than most.
pub(super) fn width(snapshot: &Snapshot, k: usize) -> usize {
    let references = snapshot.len().div_ceil(snapshot.items().max(1)).min(4);
    k.saturating_mul(references).saturating_add(1)
}

/// The part of a segment that a search sees.
struct Place<'a> {
    number: u32,
    segment: &'a dyn Segment,
    /// How many rows may be found.
    len: usize,
    select: Select<'a>,
}

/// The rows of a segment that are scored.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    /// All, also those that may not be found.
    All,
    /// Those that may be found, or all.
    Allowed,
    /// Those that may be found, one by one if they are few.
    Few,
    /// A copy of those that may be found, unless an approximate segment finds them sooner.
    Gathered,
}

enum Select<'a> {
    All,
    /// One bit for each row.
    Bits(Cow<'a, [u8]>),
    /// Their numbers.
    Few(Cow<'a, [u32]>),
    /// A copy of the rows, and their numbers in the segment.
    Gathered(Box<dyn Segment>, Cow<'a, [u32]>),
}

impl<'a> Place<'a> {
    fn new(
        number: usize,
        segment: &'a dyn Segment,
        probes: &[Probe<'_>],
        allowed: Option<&'a Allowed>,
        seen: Seen,
    ) -> Result<Option<Self>> {
        let live = segment.live();
        let all = live.map_or(segment.items().len(), |live| live.len);
        if all == 0 {
            return Ok(None);
        }
        let every = || live.map_or(Select::All, |live| Select::Bits(Cow::Borrowed(live.bits)));
        let Some(allowed) = allowed else {
            return Ok(Some(Self { number: number as u32, segment, len: all, select: every() }));
        };
        let chosen = allowed.rows(number, segment);
        let len = chosen.len();
        let is_few = segment.is_few(probes, len);
        let select = if len == all {
            every()
        } else if seen == Seen::Few && is_few {
            Select::Few(chosen.rows())
        } else if seen == Seen::Gathered && (is_few || segment.grows()) {
            let spaces: Vec<usize> = probes.iter().map(|probe| probe.space).collect();
            let rows = chosen.rows();
            Select::Gathered(segment.gather(&rows, &spaces)?, rows)
        } else {
            Select::Bits(chosen.bits(segment.items().len()))
        };
        Ok((len > 0 || seen == Seen::All).then_some(Self { number: number as u32, segment, len, select }))
    }

    /// The segment to look into.
    fn seen(&self) -> &dyn Segment {
        if let Select::Gathered(copy, _) = &self.select { copy.as_ref() } else { self.segment }
    }

    fn bits(&self) -> Option<&[u8]> {
        if let Select::Bits(bits) = &self.select { Some(bits) } else { None }
    }

    /// The best `width` rows for each of the queries.
    fn search(&self, probes: &[Probe<'_>], queries: Range<usize>, width: usize, effort: &Effort) -> Result<Best> {
        let Select::Few(rows) = &self.select else {
            let selected = self.bits().map(|bits| Selected { bits, len: self.len });
            return self.seen().candidates(probes, queries, width, selected, effort);
        };
        let mut best = Best::default();
        for query in queries {
            let product = |probe: &Probe<'_>, row: u32| {
                inner_product(probe.part(query..query + 1), self.segment.vector(probe.space, row as usize))
            };
            let score = |row: &u32| (*row, probes.iter().map(|probe| product(probe, *row)).sum());
            best.push(rows.iter().map(score).collect(), width);
        }
        Ok(best)
    }

    /// The candidate in a row of the segment that is looked into.
    fn candidate(&self, row: usize, score: f32) -> Candidate {
        let row = if let Select::Gathered(_, rows) = &self.select { rows[row] as usize } else { row };
        Candidate {
            item: self.segment.items()[row],
            reference: self.segment.references()[row],
            score,
            segment: self.number,
            row: row as u32,
        }
    }

    /// The best rows of query number `query`, best first.
    fn found<'b>(&'b self, best: &'b Best, query: usize, width: usize) -> impl Iterator<Item = Candidate> + 'b {
        let range = query * width..(query + 1) * width;
        let pairs = best.scores[range.clone()].iter().zip(&best.rows[range]);
        pairs.filter_map(|(&score, row)| Some(self.candidate(row.get()? as usize, score)))
    }

    /// The rows that may be found, in the segment that is looked into.
    fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = self.bits();
        let allowed = move |row: &usize| bits.is_none_or(|bits| bits[row / 8] & (1 << (row % 8)) != 0);
        (0..self.seen().items().len()).filter(allowed)
    }

    /// The rows that are there, as runs.
    fn live(&self) -> Vec<Range<usize>> {
        let all = 0..self.segment.items().len();
        let Some(live) = self.segment.live() else { return vec![all] };
        let rows: Vec<usize> = all.filter(|row| live.has(*row)).collect();
        rows.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1).collect()
    }
}

/// A search that is prepared for all its queries.
pub(super) struct Search<'a> {
    request: &'a Request<'a>,
    min_score: f32,
    /// Whether it stays on the caller's thread.
    small: bool,
    probes: &'a [Probe<'a>],
    places: Vec<Place<'a>>,
    /// How many rows of each segment are looked at first.
    width: usize,
}

impl Search<'_> {
    /// Searches for the `count` queries of a request.
    pub(super) fn run(
        snapshot: &Snapshot,
        request: &Request<'_>,
        count: usize,
        small: bool,
    ) -> Result<Vec<Vec<Candidate>>> {
        let by_sum = request.is_sum();
        let queries: Vec<Cow<'_, [f32]>> = (request.parts.iter())
            .map(|part| match by_sum {
                true => fusion::weighted(part.vectors, part.weights),
                false => Cow::Borrowed(part.vectors.as_slice()),
            })
            .collect();
        let probes = request.parts.iter().zip(&queries);
        let probes: Vec<Probe<'_>> = probes
            .map(|(part, queries)| Probe { space: part.space, dim: part.vectors.dim(), queries, texts: part.texts })
            .collect();
        let segments: Vec<(usize, &dyn Segment)> =
            snapshot.segments.iter().map(|segment| segment.as_ref()).enumerate().collect();
        let seen = if !by_sum {
            Seen::All
        } else if count >= GATHER_QUERIES {
            Seen::Gathered
        } else if request.aggregate == Aggregate::Max {
            Seen::Few
        } else {
            Seen::Allowed
        };
        let place = |(number, segment): &(usize, _)| Place::new(*number, *segment, &probes, request.allowed, seen);
        let places = shared(request, small, || each(small, &segments, place))?.into_iter().flatten().collect();
        let width = width(snapshot, request.k);
        let min_score = request.min_score.unwrap_or(f32::NEG_INFINITY);
        Search { request, min_score, small, probes: &probes, places, width }.blocks(count)
    }

    /// Searches block by block. Threads that wait for the same pool get their turn after every round of blocks.
    fn blocks(&self, count: usize) -> Result<Vec<Vec<Candidate>>> {
        if self.small {
            return self.block(0..count);
        }
        let threads = self.request.pool.map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads());
        let most = if !self.is_certain() {
            let lists = if self.request.is_sum() { 1 } else { self.probes.len() };
            let rows: usize = self.places.iter().map(|place| place.seen().items().len()).sum();
            (SCORES / (rows * lists).max(1)).clamp(1, SUM_BLOCK)
        } else if self.probes.len() == 1 {
            BLOCK
        } else {
            SUM_BLOCK
        };
        let together = self.places.len() >= threads || self.places.iter().any(|place| place.segment.is_apart());
        let block = if together { most } else { count.div_ceil(threads).clamp(1, most) };
        let starts: Vec<usize> = (0..count).step_by(block).collect();
        let mut found = Vec::with_capacity(count);
        for starts in starts.chunks(threads) {
            Cancel::current().check()?;
            let work = |start: &usize| self.block(*start..count.min(start + block));
            found.extend(shared(self.request, false, || each(false, starts, work))?.into_iter().flatten());
        }
        Ok(found)
    }

    /// Whether the best rows of each segment can make an answer certain.
    fn is_certain(&self) -> bool {
        self.request.is_sum() && self.request.aggregate == Aggregate::Max
    }

    fn block(&self, queries: Range<usize>) -> Result<Vec<Vec<Candidate>>> {
        if !self.is_certain() {
            return self.all(queries);
        }
        let search = |place: &Place<'_>| {
            place.search(self.probes, queries.clone(), self.width.min(place.len), &self.request.effort)
        };
        let bests = each(self.small, &self.places, search)?;
        let numbers: Vec<usize> = queries.clone().collect();
        each(self.small, &numbers, |&number| self.settle(number, number - queries.start, &bests))
    }

    /// Groups what the places have found for query `number`, the one at `row` in `bests`. A place whose worst row could
    /// still be surpassed by one that it has not shown is asked for more, until the answer is certain.
    fn settle(&self, number: usize, row: usize, bests: &[Best]) -> Result<Vec<Candidate>> {
        let Request { k, aggregate, .. } = *self.request;
        let mut widths: Vec<usize> = self.places.iter().map(|place| self.width.min(place.len)).collect();
        let mut lists: Vec<Vec<Candidate>> = (self.places.iter().zip(bests).zip(&widths))
            .map(|((place, best), &width)| place.found(best, row, width).collect())
            .collect();
        loop {
            let top = fusion::group(lists.concat(), k, self.min_score, aggregate);
            let bar = top.get(k - 1).map_or(self.min_score, |last| last.score);
            let certain = |list: &[Candidate]| list.last().is_none_or(|last| last.score < bar);
            let mut settled = true;
            for ((place, width), list) in self.places.iter().zip(&mut widths).zip(&mut lists) {
                if *width < place.len && !certain(list) {
                    *width = width.saturating_mul(4).min(place.len);
                    let best = place.search(self.probes, number..number + 1, *width, &self.request.effort)?;
                    *list = place.found(&best, 0, *width).collect();
                    settled = false;
                }
            }
            if settled {
                return Ok(top);
            }
        }
    }

    /// Scores every allowed reference for each query, fuses the scores and groups them.
    fn all(&self, queries: Range<usize>) -> Result<Vec<Vec<Candidate>>> {
        let by_sum = self.request.is_sum();
        // For each list and place, the scores of all its rows, query after query.
        let lists: Vec<&[Probe<'_>]> = if by_sum { vec![self.probes] } else { self.probes.chunks(1).collect() };
        let score = |probes: &[Probe<'_>], place: &Place<'_>| {
            let mut scores = vec![0.0; queries.len() * place.seen().items().len()];
            probes.iter().for_each(|probe| place.seen().add_scores(probe, queries.clone(), &mut scores));
            scores
        };
        let of_places = |probes: &&[Probe<'_>]| each(self.small, &self.places, |place| Ok(score(probes, place)));
        let scores: Vec<Vec<Vec<f32>>> = lists.iter().map(of_places).collect::<Result<_>>()?;
        let live: Vec<Vec<Range<usize>>> =
            if by_sum { Vec::new() } else { self.places.iter().map(Place::live).collect() };
        let of = |number: usize| {
            let row = number - queries.start;
            let mut candidates = Vec::new();
            let mut fused: Vec<Vec<f32>> = vec![Vec::new(); lists.len()];
            for (place_number, place) in self.places.iter().enumerate() {
                let rows = place.seen().items().len();
                let at = |list: usize, of: usize| scores[list][place_number][row * rows + of];
                for of in place.rows() {
                    candidates.push(place.candidate(of, at(0, of)));
                    if !by_sum {
                        fused.iter_mut().enumerate().for_each(|(list, scores)| scores.push(at(list, of)));
                    }
                }
            }
            if !by_sum {
                let list = |(number_of, part): (usize, &Part<'_>)| {
                    let all = scores[number_of].iter().zip(&live);
                    let moments = Moments::of(all.flat_map(|(scores, live)| {
                        let first = row * (scores.len() / queries.len());
                        live.iter().map(move |run| &scores[first + run.start..first + run.end])
                    }));
                    let weight = part.weights[number];
                    List { scores: &fused[number_of], weight, moments, bounded: part.bounded }
                };
                let lists: Vec<List<'_>> = self.request.parts.iter().enumerate().map(list).collect();
                fusion::fuse(&mut candidates, &lists, self.request.fusion);
            }
            fusion::group(candidates, self.request.k, self.min_score, self.request.aggregate)
        };
        Ok(queries.clone().map(of).collect())
    }
}

/// Does `work` in the pool of a request, or on this thread if it is small.
fn shared<T: Send>(request: &Request<'_>, small: bool, work: impl FnOnce() -> T + Send) -> T {
    match request.pool {
        Some(pool) if !small => pool.install(work),
        _ => work(),
    }
}
