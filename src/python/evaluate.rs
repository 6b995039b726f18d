//! Binds `Rankings`, `bootstrap_mean`, `open_set` and `confusions`.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use numpy::{AllowTypeChange, IntoPyArray, PyArray1, PyArrayLike1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::error::{Error, Result};
use crate::evaluate;
use crate::evaluate::{Bootstrap, Interval};

use super::detached;

/// Ranked lists and the positions of their relevant items.
#[pyclass(frozen, module = "plushie_search._core")]
pub(super) struct Rankings(evaluate::Rankings);

type Floats<'py> = Bound<'py, PyArray1<f64>>;
type Numbers<'py, T> = PyArrayLike1<'py, T, AllowTypeChange>;
/// (value, low, high)
type Bounds = (f64, f64, f64);

/// An item's name.
#[derive(FromPyObject, Clone, PartialEq, Eq, Hash)]
enum Id {
    Text(String),
    Number(i64),
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

#[pymethods]
impl Rankings {
    #[new]
    fn new(py: Python<'_>, ranked: &Bound<'_, PyAny>, relevant: &Bound<'_, PyAny>) -> PyResult<Self> {
        let lists = ranked.try_iter()?.map(|list| ids(&list?)).collect::<PyResult<Vec<_>>>()?;
        let grades = relevant.try_iter()?.map(|one| grades(&one?)).collect::<PyResult<Vec<_>>>()?;
        if lists.len() != grades.len() {
            let (lists, grades) = (lists.len(), grades.len());
            return Err(Error::argument(format!("{lists} ranked lists but {grades} sets of relevant items")).into());
        }
        let queries: Vec<_> = lists.into_iter().zip(grades).collect();
        detached(py, || Ok(Self(evaluate::Rankings::new(&queries)?)))
    }

    #[staticmethod]
    fn from_ranks(ranks: Numbers<'_, i64>) -> PyResult<Self> {
        let ranks = ranks.as_array();
        if let Some(bad) = ranks.iter().find(|rank| **rank < 0) {
            return Err(
                Error::argument(format!("rank {bad} is negative: ranks start at 1, and 0 means not found")).into()
            );
        }
        Ok(Self(evaluate::Rankings::from_ranks(ranks.iter().map(|&rank| NonZeroUsize::new(rank as usize)))))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn ranks<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.0.ranks().into_iter().map(|rank| rank as i64).collect::<Vec<_>>().into_pyarray(py)
    }

    fn hit<'py>(&self, py: Python<'py>, k: i64) -> PyResult<Floats<'py>> {
        self.each(py, Some(k), evaluate::Rankings::hit)
    }

    fn precision<'py>(&self, py: Python<'py>, k: i64) -> PyResult<Floats<'py>> {
        self.each(py, Some(k), evaluate::Rankings::precision)
    }

    fn recall<'py>(&self, py: Python<'py>, k: i64) -> PyResult<Floats<'py>> {
        self.each(py, Some(k), evaluate::Rankings::recall)
    }

    #[pyo3(signature = (k=None))]
    fn average_precision<'py>(&self, py: Python<'py>, k: Option<i64>) -> PyResult<Floats<'py>> {
        self.each(py, k, evaluate::Rankings::average_precision)
    }

    #[pyo3(signature = (k=None))]
    fn reciprocal_rank<'py>(&self, py: Python<'py>, k: Option<i64>) -> PyResult<Floats<'py>> {
        self.each(py, k, evaluate::Rankings::reciprocal_rank)
    }

    #[pyo3(signature = (k=None))]
    fn ndcg<'py>(&self, py: Python<'py>, k: Option<i64>) -> PyResult<Floats<'py>> {
        self.each(py, k, evaluate::Rankings::ndcg)
    }

    fn __repr__(&self) -> String {
        format!("Rankings(queries={})", self.0.len())
    }
}

impl Rankings {
    /// Computes one value per query; without `k`, for the whole list.
    fn each<'py>(
        &self,
        py: Python<'py>,
        k: Option<i64>,
        figure: impl Send + FnOnce(&evaluate::Rankings, NonZeroUsize) -> Vec<f64>,
    ) -> PyResult<Floats<'py>> {
        let positive = |k: i64| usize::try_from(k).ok().and_then(NonZeroUsize::new);
        let k = k.map_or(Some(NonZeroUsize::MAX), positive);
        let k = k.ok_or_else(|| Error::argument("k must be at least 1"))?;
        Ok(detached(py, || Ok(figure(&self.0, k)))?.into_pyarray(py))
    }
}

fn ids(list: &Bound<'_, PyAny>) -> PyResult<Vec<Id>> {
    // A str would be a list of its characters.
    if list.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!("got the str {list:?}; give a list or set of items")));
    }
    list.try_iter()?.map(|id| id?.extract()).collect()
}

/// Converts a set of items, all equally relevant, or a dict of grades.
fn grades(relevant: &Bound<'_, PyAny>) -> PyResult<HashMap<Id, f64>> {
    match relevant.cast::<PyDict>() {
        Ok(grades) => grades.extract(),
        Err(_) => Ok(ids(relevant)?.into_iter().map(|id| (id, 1.0)).collect()),
    }
}

/// Returns the mean of values with its interval: (value, low, high).
#[pyfunction]
#[pyo3(signature = (values, *, groups=None, rounds=2000, confidence=0.95, seed=0))]
fn bootstrap_mean(
    py: Python<'_>,
    values: Numbers<'_, f64>,
    groups: Option<Numbers<'_, i64>>,
    rounds: usize,
    confidence: f64,
    seed: u64,
) -> PyResult<Bounds> {
    let (values, groups) = (vector(&values), groups.as_ref().map(vector));
    let bootstrap = Bootstrap { rounds, confidence, seed };
    detached(py, || Ok(bounds(bootstrap.mean(&values, groups.as_deref())?)))
}

/// Returns (area under the curve, false accepts, share of false rejects, threshold); the first two as (value, low,
/// high).
#[pyfunction]
#[pyo3(signature = (known, unknown, *, false_reject_rate=0.05, groups=None, rounds=2000, confidence=0.95, seed=0))]
#[allow(clippy::too_many_arguments)] // Python's keywords
fn open_set(
    py: Python<'_>,
    known: Numbers<'_, f64>,
    unknown: Numbers<'_, f64>,
    false_reject_rate: f64,
    groups: Option<Numbers<'_, i64>>,
    rounds: usize,
    confidence: f64,
    seed: u64,
) -> PyResult<(Bounds, Bounds, f64, f64)> {
    let (known, unknown, groups) = (vector(&known), vector(&unknown), groups.as_ref().map(vector));
    let bootstrap = Bootstrap { rounds, confidence, seed };
    let found = detached(py, || evaluate::open_set(&known, &unknown, false_reject_rate, groups.as_deref(), bootstrap))?;
    Ok((bounds(found.auroc), bounds(found.false_accept_rate), found.false_reject_rate, found.threshold))
}

/// Returns the most frequent confusions: (item, instead, times, queries).
#[pyfunction]
#[pyo3(signature = (items, wrong, *, worst=20))]
fn confusions(
    py: Python<'_>,
    items: Vec<String>,
    wrong: Vec<Option<String>>,
    worst: usize,
) -> PyResult<Vec<(String, String, usize, usize)>> {
    if items.len() != wrong.len() {
        let (items, wrong) = (items.len(), wrong.len());
        return Err(
            Error::argument(format!("{items} items but {wrong} wrong ones: give one, or None, for each")).into()
        );
    }
    let queries: Vec<_> = items.into_iter().zip(wrong).collect();
    let rows = detached(py, || Result::Ok(evaluate::confusions(&queries, worst)))?.into_iter();
    Ok(rows.map(|row| (row.item, row.instead, row.times, row.queries)).collect())
}

fn bounds(interval: Interval) -> Bounds {
    (interval.value, interval.low, interval.high)
}

fn vector<T: Copy + numpy::Element>(array: &Numbers<'_, T>) -> Vec<T> {
    array.as_array().iter().copied().collect()
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Rankings>()?;
    module.add_function(wrap_pyfunction!(bootstrap_mean, module)?)?;
    module.add_function(wrap_pyfunction!(open_set, module)?)?;
    module.add_function(wrap_pyfunction!(confusions, module)?)
}
