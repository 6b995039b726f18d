//! One state of an index, which searches share and nothing changes.

use std::sync::Arc;

use rayon::ThreadPool;

use crate::error::{Error, Result};
use crate::fusion::{Aggregate, Candidate, Fusion};
use crate::index::allowed::Allowed;
use crate::index::approximate::Sealed;
use crate::index::effort::Effort;
use crate::index::matrix::Matrix;
use crate::index::scan::Search;
use crate::index::segment::Segment;
use crate::selection::Rows;
use crate::vectors::Vectors;

/// Up to this many multiplications a search is done sooner on the caller's thread than handed to others.
const SMALL: usize = 4 << 20;

/// The queries of a batch in one space: for each a unit vector, and its weight.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The number of the space.
    pub space: usize,
    /// One vector for each query.
    pub vectors: &'a Vectors,
    /// One weight for each query.
    pub weights: &'a [f32],
    /// Whether they are pictures that words of another part go with.
    pub bounded: bool,
    /// Whether they are texts alone.
    pub texts: bool,
}

/// A search for the best items of each query of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The queries in each space that is searched.
    pub parts: &'a [Part<'a>],
    /// How many items, at least 1.
    pub k: usize,
    /// Only these items.
    pub allowed: Option<&'a Allowed>,
    /// Only items with at least this score.
    pub min_score: Option<f32>,
    /// Combines the scores of the parts.
    pub fusion: Fusion,
    /// Combines the scores of an item's references.
    pub aggregate: Aggregate,
    /// How much of approximate segments is looked at.
    pub effort: Effort,
    /// The threads that share the work if it is much; by default those of the rayon pool that the caller is in.
    pub pool: Option<&'a ThreadPool>,
}

impl<'a> Request<'a> {
    /// The best `k` items by the weighted sum of cosines, each by its best reference.
    pub fn new(parts: &'a [Part<'a>], k: usize) -> Self {
        let (fusion, aggregate) = (Fusion::Sum, Aggregate::Max);
        Self { parts, k, allowed: None, min_score: None, fusion, aggregate, effort: Effort::default(), pool: None }
    }

    /// Whether a score is a sum of cosines, of which one is no more than its cosine.
    pub(super) fn is_sum(&self) -> bool {
        self.fusion == Fusion::Sum || (self.fusion == Fusion::Weighted && self.parts.len() == 1)
    }
}

/// References with their vectors, in segments of bounded size. A copy shares the segments.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) dims: Vec<usize>,
    pub(super) segments: Vec<Arc<dyn Segment>>,
    pub(super) references: usize,
    pub(super) items: usize,
}

impl Snapshot {
    pub(super) fn new(dims: &[usize]) -> Self {
        Self { dims: dims.into(), segments: Vec::new(), references: 0, items: 0 }
    }

    /// Numbers in each vector, for each space.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// How many references there are.
    pub fn len(&self) -> usize {
        self.references
    }

    /// Whether there are no references.
    pub fn is_empty(&self) -> bool {
        self.references == 0
    }

    /// How many items have references.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Bytes of memory that the vectors and their row numbers take.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes()).sum()
    }

    /// Returns for each query the best items, best first, each with its best reference; equal scores go by smaller row.
    ///
    /// The sum of cosines with the best reference of each item looks only at as many references as make the answer
    /// certain, among those that approximate segments find; any other fusion or aggregate scores every allowed reference. Means and spreads of scores are those of
    /// all references, whether allowed or not.
    ///
    /// A query alone and the same query in a batch are summed in another order, so that their scores may differ in the
    /// last bits.
    ///
    /// # Errors
    /// [`Error::Argument`] when `k` is 0, a space is not there or of another dimension, there is no part, the parts have
    /// not as many queries, or a temperature or an offset is out of its bounds; [`Error::Interrupted`] when it is called off.
    pub fn search(&self, request: &Request<'_>) -> Result<Vec<Vec<Candidate>>> {
        let count = request.parts.first().map_or(0, |part| part.weights.len());
        let uneven = |part: &Part<'_>| part.vectors.len() != count || part.weights.len() != count;
        if request.parts.is_empty() || request.parts.iter().any(uneven) {
            return Err(Error::argument("each part of a search needs a vector and a weight for each query"));
        }
        if request.k == 0 {
            return Err(Error::argument("k must be at least 1"));
        }
        if let Aggregate::Softmax { temperature } = request.aggregate
            && !(temperature.is_finite() && temperature > 0.0)
        {
            return Err(Error::argument(format!("temperature {temperature}: give a finite number above 0")));
        }
        if let Fusion::ReciprocalRank { offset } = request.fusion
            && !(offset.is_finite() && offset >= 0.0)
        {
            return Err(Error::argument(format!("rrf_k {offset}: give a finite number, 0 or more")));
        }
        request.effort.check()?;
        request.parts.iter().try_for_each(|part| self.check(part))?;
        let dims: usize = request.parts.iter().map(|part| part.vectors.dim()).sum();
        let small = count.saturating_mul(self.compared(request)).saturating_mul(dims) <= SMALL;
        Search::run(self, request, count, small)
    }

    /// How many rows a query of a request is compared with, about.
    fn compared(&self, request: &Request<'_>) -> usize {
        if !request.is_sum() || request.parts.len() > 1 || request.aggregate != Aggregate::Max {
            return self.len();
        }
        let all = self.segments.iter().map(|segment| segment.compared()).sum();
        let each = self.len().div_ceil(self.items().max(1));
        request.allowed.map_or(all, |allowed| allowed.items().len().saturating_mul(each).min(all))
    }

    /// Lets searches of this snapshot find these items alone.
    pub fn allow(&self, items: Rows) -> Allowed {
        Allowed::new(items, self.segments.len())
    }

    /// What its approximate segments were made from.
    pub fn sealed(&self) -> impl Iterator<Item = &Arc<Sealed>> {
        self.segments.iter().filter_map(|segment| segment.sealed())
    }

    /// Whether vectors that were looked at are damaged, so that what was found cannot be trusted.
    pub fn is_damaged(&self) -> bool {
        self.sealed().any(|sealed| sealed.is_damaged())
    }

    /// Looks at all vectors in files, so that [`is_damaged`](Self::is_damaged) tells of every one.
    pub fn check_vectors(&self) {
        self.sealed().flat_map(|sealed| &sealed.vectors).for_each(Matrix::check);
    }

    /// How many references are compared one by one.
    pub fn exact(&self) -> usize {
        self.segments.iter().filter(|segment| segment.grows()).map(|segment| segment.items().len()).sum()
    }

    /// Returns a candidate of score 0 for each reference, in the order of the segments.
    pub fn rows(&self) -> impl Iterator<Item = Candidate> + '_ {
        (0_u32..).zip(&self.segments).flat_map(|(segment, held)| {
            let rows = held.items().iter().zip(held.references());
            let live = held.live();
            let is_live = move |row: &u32| live.is_none_or(|live| live.has(*row as usize));
            (0_u32..).zip(rows).filter(move |(row, _)| is_live(row)).map(move |(row, (&item, &reference))| Candidate {
                item,
                reference,
                score: 0.0,
                segment,
                row,
            })
        })
    }

    /// Returns a candidate of score 0 for each reference of some items, in the order of these.
    pub fn rows_of(&self, items: Rows) -> Vec<Candidate> {
        let allowed = self.allow(items);
        let mut found = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            let rows = allowed.rows(number, segment.as_ref());
            found.extend(rows.rows().iter().map(|row| Candidate {
                item: segment.items()[*row as usize],
                reference: segment.references()[*row as usize],
                score: 0.0,
                segment: number as u32,
                row: *row,
            }));
        }
        found.sort_unstable_by_key(|one| (one.item, one.reference));
        found
    }

    /// The cosine between a candidate of this snapshot and a unit vector in a space.
    pub fn rescore(&self, candidate: &Candidate, space: usize, query: &[f32]) -> f32 {
        self.segments[candidate.segment as usize].rescore(space, candidate.row as usize, query)
    }

    /// The vector of a candidate of this snapshot in a space.
    pub fn vector(&self, candidate: &Candidate, space: usize) -> &[f32] {
        self.segments[candidate.segment as usize].vector(space, candidate.row as usize)
    }

    fn check(&self, part: &Part<'_>) -> Result<()> {
        match self.dims.get(part.space) {
            Some(&dim) if dim == part.vectors.dim() => Ok(()),
            dim => Err(Error::argument(format!(
                "queries of {} numbers cannot be compared with vectors of {}",
                part.vectors.dim(),
                dim.copied().unwrap_or_default()
            ))),
        }
    }
}
