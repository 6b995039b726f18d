//! A bounded part of an index: some references with their vectors in each space.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::index::approximate::Sealed;
use crate::index::effort::Effort;
use crate::index::faiss::Best;

/// The queries of a search in one space.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    pub(super) space: usize,
    pub(super) dim: usize,
    /// One after another.
    pub(super) queries: &'a [f32],
    /// Whether they are of texts alone.
    pub(super) texts: bool,
}

impl<'a> Probe<'a> {
    pub(super) fn part(&self, queries: Range<usize>) -> &'a [f32] {
        &self.queries[queries.start * self.dim..queries.end * self.dim]
    }
}

/// Some rows of a segment: one bit for each row, and how many are set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selected<'a> {
    pub(super) bits: &'a [u8],
    pub(super) len: usize,
}

impl Selected<'_> {
    /// Whether a row is among them.
    pub(super) fn has(&self, row: usize) -> bool {
        self.bits[row / 8] & (1 << (row % 8)) != 0
    }
}

/// References in rows numbered from 0. Searches share a segment; a change needs it alone.
pub(super) trait Segment: Debug + Send + Sync {
    /// The reference in each row.
    fn references(&self) -> &[i64];

    /// The item of each row.
    fn items(&self) -> &[i64];

    /// The rows that are still there, if others were removed in place.
    fn live(&self) -> Option<Selected<'_>>;

    /// Whether the items grow with the rows.
    fn is_sorted(&self) -> bool;

    /// Whether references can be added.
    fn grows(&self) -> bool;

    /// Whether a device with memory of its own searches it, which takes queries together sooner than in parts.
    fn is_apart(&self) -> bool {
        false
    }

    /// Whether so many selected rows are found sooner by comparing each of them.
    fn is_few(&self, probes: &[Probe<'_>], selected: usize) -> bool;

    /// How many rows a query is compared with, about.
    fn compared(&self) -> usize;

    /// Appends references with their items and, for each space, their vectors.
    fn add(&mut self, references: &[i64], items: &[i64], vectors: &[&[f32]]) -> Result<()>;

    /// Finishes a segment that grows no more.
    fn seal(&mut self);

    /// Removes references one after another, each given with its present row; another row may move into a gap. Returns
    /// the references that have moved, with their new rows.
    fn remove(&mut self, references: &[(i64, u32)]) -> Result<Vec<(i64, u32)>>;

    /// Copies all of it that can change.
    fn duplicate(&self) -> Result<Arc<dyn Segment>>;

    /// Copies some rows, whose numbers grow, with their vectors in some spaces.
    fn gather(&self, rows: &[u32], spaces: &[usize]) -> Result<Box<dyn Segment>>;

    /// Finds the best `width` rows for each query by the sum of its inner products in the probed spaces; among all rows,
    /// or those that are selected.
    fn candidates(
        &self,
        probes: &[Probe<'_>],
        queries: Range<usize>,
        width: usize,
        selected: Option<Selected<'_>>,
        effort: &Effort,
    ) -> Result<Best>;

    /// Adds each query's inner product with each row to `scores`, query after query.
    fn add_scores(&self, probe: &Probe<'_>, queries: Range<usize>, scores: &mut [f32]);

    /// The vector of a row in a space.
    fn vector(&self, space: usize, row: usize) -> &[f32];

    /// The exact inner product of a row's vector in a space with a query.
    fn rescore(&self, space: usize, row: usize, query: &[f32]) -> f32 {
        self.vector(space, row).iter().zip(query).map(|(a, b)| a * b).sum()
    }

    /// Bytes of memory that its vectors and row numbers take.
    fn bytes(&self) -> usize;

    /// What it was made from, if it is approximate.
    fn sealed(&self) -> Option<&Arc<Sealed>>;
}
