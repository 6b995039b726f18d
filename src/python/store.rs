//! Items, columns and problems of a catalog as Python sees them.

use std::iter::repeat;
use std::path::PathBuf;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::engine::{self, Engine, Gallery, Neighbors, digest};
use crate::error::Error;
use crate::index::Near;
use crate::render::studio::view_name;
use crate::store::{Item, Problem, Reference, Walked};

use super::convert;
use super::detached;
use super::error::argument;
use super::json;
use super::waiting;

/// Of an item, reference and what is wrong.
pub(super) type Found = (Option<String>, Option<String>, String);

/// (id, label, text, metadata, [(name, digest, view)]).
pub(super) fn item_row<'py>(py: Python<'py>, item: &Item) -> PyResult<Bound<'py, PyTuple>> {
    let row = |reference: &Reference| (reference.name.clone(), hex(&reference.digest), view_name(reference.view));
    let references: Vec<(String, String, Option<String>)> = item.references.iter().map(row).collect();
    let metadata = json::from_value(py, &item.metadata)?;
    (&item.id, &item.label, &item.text, metadata, references).into_pyobject(py)
}

pub(super) fn found(problem: Problem) -> Found {
    (problem.item, problem.reference, problem.problem)
}

/// Restores a catalog: the number of its items, and the directory of the one that was there.
#[pyfunction]
#[pyo3(signature = (backup, path, *, overwrite))]
pub(super) fn restore(
    py: Python<'_>,
    backup: PathBuf,
    path: PathBuf,
    overwrite: bool,
) -> PyResult<(usize, Option<PathBuf>)> {
    let restored = waiting(py, || engine::restore(&backup, &path, overwrite))?;
    Ok((restored.items, restored.moved))
}

/// Saves the readable part of a damaged catalog: the numbers of items and references, and the losses.
#[pyfunction]
pub(super) fn salvage(py: Python<'_>, path: PathBuf, out: PathBuf) -> PyResult<(usize, usize, Vec<Found>)> {
    let saved = waiting(py, || engine::salvage(&path, &out))?;
    Ok((saved.items, saved.references, saved.lost.into_iter().map(found).collect()))
}

/// Ids, which errors call by their places.
pub(super) fn ids(ids: &[Bound<'_, PyAny>]) -> PyResult<Vec<String>> {
    ids.iter().enumerate().map(|(place, id)| json::to_text(id, &format!("id ids[{place}]"))).collect()
}

/// The cells of a column, of which errors tell the place; none if it is not given.
pub(super) fn column<T>(
    column: Option<&Bound<'_, PyAny>>,
    name: &str,
    cell: impl Fn(&Bound<'_, PyAny>, &str) -> PyResult<Option<T>>,
) -> PyResult<Vec<Option<T>>> {
    let Some(column) = column else { return Ok(Vec::new()) };
    PyIterator::from_object(column)?
        .enumerate()
        .map(|(place, value)| cell(&value?, &format!("{name}[{place}]")))
        .collect()
}

/// (ids, labels, places of the references' items, names, digests, views, vectors).
pub(super) type GalleryRow<'py> = (
    Vec<String>,
    Vec<Option<String>>,
    Bound<'py, PyArray1<i64>>,
    Vec<String>,
    Vec<String>,
    Vec<Option<String>>,
    Bound<'py, PyArray2<f32>>,
);

/// (places and cosines of the nearest of the own item, and of those of other items); a place of -1 stands for none.
pub(super) type NeighborsRow<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray2<i64>>, Bound<'py, PyArray2<f32>>);

pub(super) fn gallery(py: Python<'_>, found: Gallery) -> PyResult<GalleryRow<'_>> {
    let Gallery { ids, labels, items, names, digests, views, vectors } = found;
    let digests = digests.iter().map(|digest| hex(digest)).collect();
    let views = views.into_iter().map(view_name).collect();
    Ok((ids, labels, items.into_pyarray(py), names, digests, views, convert::array(py, vectors)?))
}

pub(super) fn neighbors(py: Python<'_>, found: Neighbors, k: usize) -> PyResult<NeighborsRow<'_>> {
    let gap = Near { row: usize::MAX, score: f32::NEG_INFINITY };
    let place = |near: &Near| i64::try_from(near.row).unwrap_or(-1);
    let shape = [found.others.len(), k];
    let others: Vec<Near> =
        found.others.into_iter().flat_map(|near| near.into_iter().chain(repeat(gap)).take(k)).collect();
    let own: Vec<Near> = found.own.into_iter().map(|near| near.unwrap_or(gap)).collect();
    let places = |near: &[Near]| near.iter().map(place).collect::<Vec<_>>().into_pyarray(py);
    let scores = |near: &[Near]| near.iter().map(|near| near.score).collect::<Vec<_>>().into_pyarray(py);
    Ok((places(&own), scores(&own), places(&others).reshape(shape)?, scores(&others).reshape(shape)?))
}

/// Files with their digests.
pub(super) fn files(given: Vec<(PathBuf, Bound<'_, PyAny>)>) -> PyResult<Vec<(PathBuf, [u8; 32])>> {
    let file = |(path, value): (PathBuf, Bound<'_, PyAny>)| match to_digest(&value, "digest")? {
        Some(digest) => Ok((path, digest)),
        None => Err(argument(format!("{}: has no digest; give one", path.display()))),
    };
    given.into_iter().map(file).collect()
}

/// Calls `told` with all items, `limit` at a time: rows of (id, label, text, metadata, references), and for each model an
/// array. A reference is (name, digest, view, file of its original or None).
pub(super) fn walk(py: Python<'_>, engine: &Engine, limit: usize, told: &Bound<'_, PyAny>) -> PyResult<()> {
    let told = told.clone().unbind();
    let mut raised = None;
    let done = detached(py, || {
        engine.walk(limit, &mut |walked, files| {
            let passed = Python::attach(|py| {
                py.check_signals()?;
                let (items, vectors) = walked_rows(py, walked, files)?;
                told.call1(py, (items, vectors)).map(drop)
            });
            passed.map_err(|error| {
                raised = Some(error);
                Error::Interrupted
            })
        })
    });
    raised.map_or(done, Err)
}

type WalkedRows<'py> = (Vec<Bound<'py, PyTuple>>, Vec<Bound<'py, PyArray2<f32>>>);

fn walked_rows<'py>(py: Python<'py>, walked: Walked, files: Vec<Option<PathBuf>>) -> PyResult<WalkedRows<'py>> {
    let mut files = files.into_iter();
    let rows = walked.items.iter().map(|item| {
        let reference = |reference: &Reference| {
            (reference.name.clone(), hex(&reference.digest), reference.view, files.next().flatten())
        };
        let references: Vec<_> = item.references.iter().map(reference).collect();
        (&item.id, &item.label, &item.text, json::from_value(py, &item.metadata)?, references).into_pyobject(py)
    });
    let rows = rows.collect::<PyResult<Vec<_>>>()?;
    let count: usize = walked.items.iter().map(|item| item.references.len()).sum();
    let array = |vectors: Vec<f32>| {
        let dim = vectors.len() / count.max(1);
        vectors.into_pyarray(py).reshape([count, dim])
    };
    Ok((rows, walked.vectors.into_iter().map(array).collect::<PyResult<_>>()?))
}

/// A digest in hexadecimal digits, or none.
pub(super) fn to_digest(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<[u8; 32]>> {
    let Some(text) = json::to_optional_text(value, what)? else { return Ok(None) };
    let refuse = || argument(format!("{what}: {text:?} is not the 64 hexadecimal digits of a SHA-256"));
    digest(&text).map(Some).ok_or_else(refuse)
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
