//! `folder_items`.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::ingest;
use crate::picture::Source;

use super::detached;

/// What adding a folder would add: (item, paths of its pictures).
#[pyfunction]
fn folder_items(py: Python<'_>, folder: PathBuf) -> PyResult<Vec<(String, Vec<PathBuf>)>> {
    let drafts = detached(py, || ingest::folder(&folder))?;
    let path = |source| if let Source::Path(path) = source { Some(path) } else { None };
    Ok(drafts.into_iter().map(|draft| (draft.id, draft.sources.into_iter().filter_map(path).collect())).collect())
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(folder_items, module)?)
}
