//! Rows of numbers, in memory or in pages of a file.

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::index::mapping::Mapping;

/// Rows of `dim` numbers, one after another.
#[derive(Debug)]
pub(super) struct Matrix {
    dim: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Owned(Vec<f32>),
    /// Bytes of a file, at a multiple of 4.
    Mapped(Arc<Mapping>, Range<usize>),
}

impl Matrix {
    pub(super) fn new(dim: usize, data: Vec<f32>) -> Self {
        Self { dim, data: Data::Owned(data) }
    }

    /// The bytes in `range` of a file, which are numbers of this machine.
    pub(super) fn mapped(dim: usize, file: &Arc<Mapping>, range: Range<usize>) -> Self {
        Self { dim, data: Data::Mapped(Arc::clone(file), range) }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self[row * self.dim..(row + 1) * self.dim]
    }

    /// Bytes of memory that are its own.
    pub(super) fn owned_bytes(&self) -> usize {
        match &self.data {
            Data::Owned(data) => size_of_val(&data[..]),
            Data::Mapped(..) => 0,
        }
    }
}

impl Deref for Matrix {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.data {
            Data::Owned(data) => data,
            Data::Mapped(file, range) => bytemuck::cast_slice(&file[range.clone()]),
        }
    }
}
