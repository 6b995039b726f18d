//! `Index`: exact search over vectors of the caller's own.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::index::{Index, Metric, Part, Plain, Request};
use crate::selection::Rows;
use crate::vectors::Vectors;

use super::detached;
use super::error::argument;
use super::vectors::{Matrix, many, numbers};

/// Exact search over vectors, grouped by item.
#[pyclass(name = "Index", module = "plushie_search", frozen)]
pub struct PyIndex(RwLock<Held>);

/// Unit vectors, or vectors as they are.
enum Held {
    Unit(Box<Index>),
    Plain(Plain),
}

type Arrays<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<i64>>, Bound<'py, PyArray2<i64>>);

#[pymethods]
impl PyIndex {
    #[new]
    #[pyo3(signature = (dim, *, metric="cosine"))]
    fn new(dim: usize, metric: &str) -> PyResult<Self> {
        let held = match metric {
            "cosine" => Held::Unit(Box::new(Index::new(&[dim])?)),
            "ip" => Held::Plain(Plain::new(dim, Metric::InnerProduct)?),
            "l2" => Held::Plain(Plain::new(dim, Metric::Euclidean)?),
            other => return Err(argument(format!("metric {other:?}: give \"cosine\", \"ip\" or \"l2\""))),
        };
        Ok(Self(held.into()))
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
            let mut held = self.write();
            let wanted = held.dim();
            if dim != wanted {
                return Err(Error::argument(format!("vectors of {dim} numbers in an index of {wanted}")));
            }
            match &mut *held {
                Held::Unit(index) => {
                    let vectors = Vectors::normalize(dim, data)?;
                    index.add(&references, &items, &[vectors.as_slice()])
                }
                Held::Plain(index) => index.add(&references, &items, &data),
            }
        })
    }

    fn remove(&self, py: Python<'_>, references: &Bound<'_, PyAny>) -> PyResult<usize> {
        let references = numbers(references, "references")?;
        detached(py, || match &mut *self.write() {
            Held::Unit(index) => index.remove(&references),
            Held::Plain(index) => Ok(index.remove(&references)),
        })
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
        let allowed = allowed.map(|items| numbers(items, "allowed")).transpose()?.map(Rows::from_iter);
        let (width, found, gap) = detached(py, || {
            let held = self.read();
            let found = held.search(dim, data, k, allowed, min_score)?;
            Ok((k.min(held.items()), found, held.gap()))
        })?;
        let scores = padded(&found, width, gap, |hit| hit.score);
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
        self.read().dim()
    }

    #[getter]
    fn metric(&self) -> &'static str {
        self.read().metric()
    }

    fn __len__(&self) -> usize {
        self.read().len()
    }

    fn __repr__(&self) -> String {
        let held = self.read();
        format!("Index(dim={}, references={}, items={})", held.dim(), held.len(), held.items())
    }
}

impl PyIndex {
    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn dim(&self) -> usize {
        match self {
            Self::Unit(index) => index.snapshot().dims()[0],
            Self::Plain(index) => index.dim(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Unit(index) => index.snapshot().len(),
            Self::Plain(index) => index.len(),
        }
    }

    fn items(&self) -> usize {
        match self {
            Self::Unit(index) => index.snapshot().items(),
            Self::Plain(index) => index.items(),
        }
    }

    fn metric(&self) -> &'static str {
        match self {
            Self::Unit(_) => "cosine",
            Self::Plain(index) if index.metric() == Metric::InnerProduct => "ip",
            Self::Plain(_) => "l2",
        }
    }

    /// The score where there is no hit.
    fn gap(&self) -> f32 {
        if self.metric() == "l2" { f32::INFINITY } else { f32::NEG_INFINITY }
    }

    fn search(
        &self,
        dim: usize,
        data: Vec<f32>,
        k: usize,
        allowed: Option<Rows>,
        min_score: Option<f32>,
    ) -> Result<Vec<Vec<Candidate>>> {
        match self {
            Self::Unit(index) => {
                let queries = Vectors::normalize(dim, data)?;
                let weights = vec![1.0; queries.len()];
                let parts = [Part { space: 0, vectors: &queries, weights: &weights, bounded: false, texts: false }];
                let allowed = allowed.map(|items| index.snapshot().allow(items));
                index.search(&Request { allowed: allowed.as_ref(), min_score, ..Request::new(&parts, k) })
            }
            Self::Plain(index) => index.search(dim, &data, k, allowed.as_ref(), min_score),
        }
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
