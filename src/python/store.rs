//! Items, columns and problems of a catalog as Python sees them.

use std::iter::repeat;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::engine::{Gallery, Neighbors, digest};
use crate::index::Near;
use crate::render::studio::view_name;
use crate::store::{Item, Problem, Reference};

use super::convert;
use super::error::argument;
use super::json;

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

/// A digest in hexadecimal digits, or none.
pub(super) fn to_digest(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<[u8; 32]>> {
    let Some(text) = json::to_optional_text(value, what)? else { return Ok(None) };
    let refuse = || argument(format!("{what}: {text:?} is not the 64 hexadecimal digits of a SHA-256"));
    digest(&text).map(Some).ok_or_else(refuse)
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
