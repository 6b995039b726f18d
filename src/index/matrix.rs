//! Rows of numbers, in memory or in pages of a file.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::index::mapping::Mapping;

/// Bytes of a block, about: a page, which is read as a whole anyway.
const BLOCK: usize = 4096;

/// How often this process has come upon a damaged block.
static DAMAGES: AtomicUsize = AtomicUsize::new(0);

/// Rows of `dim` numbers, one after another.
#[derive(Debug)]
pub(super) struct Matrix {
    dim: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Owned(Vec<f32>),
    /// Bytes of a file, at a multiple of 4, with their checksums unless this process has just written them.
    Mapped(Arc<Mapping>, Range<usize>, Option<Blocks>),
}

/// Checksums of blocks of rows, each compared when a row of its block is first looked at.
#[derive(Debug)]
struct Blocks {
    /// In the file, 8 bytes each.
    checksums: Range<usize>,
    /// A bit for each block that was found whole.
    whole: Vec<AtomicU64>,
    is_damaged: AtomicBool,
}

impl Matrix {
    pub(super) fn new(dim: usize, data: Vec<f32>) -> Self {
        Self { dim, data: Data::Owned(data) }
    }

    /// The bytes in `range` of a file, which are numbers of this machine and need no check.
    pub(super) fn written(dim: usize, file: &Arc<Mapping>, range: Range<usize>) -> Self {
        Self { dim, data: Data::Mapped(Arc::clone(file), range, None) }
    }

    /// The same with the checksums of [`checksums`](Self::checksums) in another range.
    pub(super) fn mapped(dim: usize, file: &Arc<Mapping>, range: Range<usize>, checksums: Range<usize>) -> Self {
        let whole = (0..(checksums.len() / 8).div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let blocks = Blocks { checksums, whole, is_damaged: AtomicBool::new(false) };
        Self { dim, data: Data::Mapped(Arc::clone(file), range, Some(blocks)) }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.all().len() / self.dim
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        self.rows(row..row + 1)
    }

    /// Some rows, one after another. If one of them is damaged, [`is_damaged`](Self::is_damaged) says so from then on.
    pub(super) fn rows(&self, rows: Range<usize>) -> &[f32] {
        self.check_rows(&rows);
        &self.all()[rows.start * self.dim..rows.end * self.dim]
    }

    /// Looks at all rows.
    pub(super) fn check(&self) {
        self.check_rows(&(0..self.len()));
    }

    fn check_rows(&self, rows: &Range<usize>) {
        if let Data::Mapped(file, _, Some(blocks)) = &self.data
            && !rows.is_empty()
        {
            let each = block_rows(self.dim);
            (rows.start / each..=(rows.end - 1) / each).for_each(|block| blocks.check(block, file, self));
        }
    }

    /// Whether a row that was looked at is not as it was written.
    pub(super) fn is_damaged(&self) -> bool {
        match &self.data {
            Data::Mapped(_, _, Some(blocks)) => blocks.is_damaged.load(Ordering::Acquire),
            Data::Owned(_) | Data::Mapped(..) => false,
        }
    }

    /// Bytes of memory that are its own.
    pub(super) fn owned_bytes(&self) -> usize {
        match &self.data {
            Data::Owned(data) => size_of_val(&data[..]),
            Data::Mapped(..) => 0,
        }
    }

    /// The checksums of rows of `dim` numbers that are written to a file.
    pub(super) fn checksums(dim: usize, rows: &[f32]) -> impl Iterator<Item = u64> {
        rows.chunks(block_rows(dim) * dim).map(|block| xxh3_64(bytemuck::cast_slice(block)))
    }

    fn all(&self) -> &[f32] {
        match &self.data {
            Data::Owned(data) => data,
            Data::Mapped(file, range, _) => bytemuck::cast_slice(&file[range.clone()]),
        }
    }
}

impl Blocks {
    fn check(&self, block: usize, file: &Mapping, matrix: &Matrix) {
        let (word, bit) = (&self.whole[block / 64], 1 << (block % 64));
        if word.load(Ordering::Relaxed) & bit != 0 {
            return;
        }
        let numbers = block_rows(matrix.dim) * matrix.dim;
        let all = matrix.all();
        let data = &all[block * numbers..all.len().min((block + 1) * numbers)];
        let stored = &file[self.checksums.clone()][8 * block..8 * (block + 1)];
        if stored == xxh3_64(bytemuck::cast_slice(data)).to_ne_bytes() {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.is_damaged.store(true, Ordering::Release);
            DAMAGES.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// How often this process has come upon a damaged block of an index file: if the number has grown during some work, its
/// outcome is not to be trusted.
pub fn damages() -> usize {
    DAMAGES.load(Ordering::Acquire)
}

/// How many rows of `dim` numbers a block has.
pub(super) fn block_rows(dim: usize) -> usize {
    (BLOCK / (size_of::<f32>() * dim)).max(1)
}
