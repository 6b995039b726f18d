//! `Index`: exact search over vectors of the caller's own.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::error::Error;
use crate::fusion::Candidate;
use crate::index::{Index, Part, Request};
use crate::selection::Rows;
use crate::vectors::Vectors;

use super::detached;
use super::vectors::{Matrix, many, numbers};

/// Exact search over vectors, grouped by item.
#[pyclass(name = "Index", module = "plushie_search", frozen)]
pub struct PyIndex(RwLock<Index>);

type Arrays<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<i64>>, Bound<'py, PyArray2<i64>>);

#[pymethods]
impl PyIndex {
    #[new]
    fn new(dim: usize) -> PyResult<Self> {
        Ok(Self(Index::new(&[dim])?.into()))
    }

    #[pyo3(signature = (references, vectors, *, items=None))]
    fn add(
        &self,
        py: Python<'_>,
        references: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        items: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let references = numbers(references, "references")?;
        let items = items.map_or_else(|| Ok(references.clone()), |items| numbers(items, "items"))?;
        let Matrix { rows, dim, data, .. } = many(vectors, "vectors")?;
        detached(py, || {
            if rows == 0 && references.is_empty() {
                return Ok(());
            }
            let vectors = Vectors::normalize(dim, data)?;
            let mut index = self.write();
            let (given, wanted) = (vectors.dim(), index.snapshot().dims()[0]);
            if given != wanted {
                return Err(Error::argument(format!("vectors of {given} numbers in an index of {wanted}")));
            }
            index.add(&references, &items, &[vectors.as_slice()])
        })
    }

    fn remove(&self, py: Python<'_>, references: &Bound<'_, PyAny>) -> PyResult<usize> {
        let references = numbers(references, "references")?;
        detached(py, || self.write().remove(&references))
    }

    #[pyo3(signature = (queries, *, k=10, allowed=None, min_score=None))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        k: usize,
        allowed: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
    ) -> PyResult<Arrays<'py>> {
        let Matrix { rows: count, dim, data, .. } = many(queries, "queries")?;
        let allowed = allowed.map(|items| numbers(items, "allowed")).transpose()?;
        let (width, found) = detached(py, || {
            let queries = Vectors::normalize(dim, data)?;
            let allowed: Option<Rows> = allowed.map(Rows::from_iter);
            let weights = vec![1.0; queries.len()];
            let parts = [Part { space: 0, vectors: &queries, weights: &weights, bounded: false, texts: false }];
            let index = self.read();
            let allowed = allowed.map(|items| index.snapshot().allow(items));
            let request = Request { allowed: allowed.as_ref(), min_score, ..Request::new(&parts, k) };
            Ok((k.min(index.snapshot().items()), index.search(&request)?))
        })?;
        let scores = padded(&found, width, f32::NEG_INFINITY, |hit| hit.score);
        let items = padded(&found, width, -1, |hit| hit.item);
        let references = padded(&found, width, -1, |hit| hit.reference);
        let shape = [count, width];
        Ok((
            PyArray1::from_vec(py, scores).reshape(shape)?,
            PyArray1::from_vec(py, items).reshape(shape)?,
            PyArray1::from_vec(py, references).reshape(shape)?,
        ))
    }

    #[getter]
    fn dim(&self) -> usize {
        self.read().snapshot().dims()[0]
    }

    fn __len__(&self) -> usize {
        self.read().snapshot().len()
    }

    fn __repr__(&self) -> String {
        let index = self.read();
        let index = index.snapshot();
        format!("Index(dim={}, references={}, items={})", index.dims()[0], index.len(), index.items())
    }
}

impl PyIndex {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One value of each hit, with `gap` where a query has fewer than `width`.
fn padded<T: Copy>(found: &[Vec<Candidate>], width: usize, gap: T, value: impl Fn(&Candidate) -> T) -> Vec<T> {
    let row = |hits: &Vec<Candidate>| -> Vec<T> {
        hits.iter().map(&value).chain(std::iter::repeat(gap)).take(width).collect()
    };
    found.iter().flat_map(row).collect()
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyIndex>()
}
