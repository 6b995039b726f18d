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
use crate::stop::interruptible;

/// Runs `work` without the GIL and turns its error into a Python exception.
fn detached<T: Send>(py: Python<'_>, work: impl Send + FnOnce() -> Result<T>) -> PyResult<T> {
    py.detach(work).map_err(PyErr::from)
}

/// Fewer pictures or texts are encoded before anybody can press a key.
const MANY: usize = 16;

/// As [`detached`], for work on `count` pictures or texts: if these are many, Ctrl-C calls it off.
fn patient<T: Send>(py: Python<'_>, count: usize, work: impl Send + FnOnce() -> Result<T>) -> PyResult<T> {
    if count < MANY {
        return detached(py, work);
    }
    let mut raised = None;
    let mut pressed = || {
        // Python runs its handlers of signals when it is asked to, and in its first thread only.
        raised = Python::attach(|py| py.check_signals()).err();
        raised.is_some()
    };
    let done = py.detach(|| {
        let mut called_off = false;
        interruptible(work, || {
            called_off = called_off || pressed();
            called_off
        })
    });
    match raised {
        Some(raised) => Err(raised),
        None => done.map_err(PyErr::from),
    }
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
