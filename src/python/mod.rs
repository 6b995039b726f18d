//! The Python face: each function converts, calls the core without the GIL, and converts back.

mod convert;
mod encoder;
mod engine;
mod error;
mod evaluate;
mod index;
mod ingest;
mod json;
mod plush;
mod preprocess;

use pyo3::prelude::*;

use crate::error::Result;

/// Runs `work` without the GIL and turns its error into a Python exception.
fn detached<T: Send>(py: Python<'_>, work: impl Send + FnOnce() -> Result<T>) -> PyResult<T> {
    py.detach(work).map_err(PyErr::from)
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    error::register(module)?;
    index::register(module)?;
    ingest::register(module)?;
    encoder::register(module)?;
    module.add_class::<engine::PyEngine>()?;
    evaluate::register(module)?;
    plush::register(module)?;
    preprocess::register(module)?;
    Ok(())
}
