//! Items, columns and problems of a catalog as Python sees them.

use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::engine::digest;
use crate::store::{Item, Problem};

use super::error::argument;
use super::json;

/// Of an item, reference and what is wrong.
pub(super) type Found = (Option<String>, Option<String>, String);

/// (id, label, text, metadata, [(name, digest)]).
pub(super) fn item_row<'py>(py: Python<'py>, item: &Item) -> PyResult<Bound<'py, PyTuple>> {
    let references: Vec<(&str, String)> =
        item.references.iter().map(|reference| (reference.name.as_str(), hex(&reference.digest))).collect();
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

/// A digest in hexadecimal digits, or none.
pub(super) fn to_digest(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<[u8; 32]>> {
    let Some(text) = json::to_optional_text(value, what)? else { return Ok(None) };
    let refuse = || argument(format!("{what}: {text:?} is not the 64 hexadecimal digits of a SHA-256"));
    digest(&text).map(Some).ok_or_else(refuse)
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
