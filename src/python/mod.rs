//! The Python face: each function converts, calls the core without the GIL, and converts back.

mod calibrate;
mod convert;
mod encoder;
mod engine;
mod error;
mod evaluate;
mod explain;
mod formats;
mod hit;
mod index;
mod ingest;
mod json;
mod mesh;
mod picture;
mod plush;
mod preprocess;
mod query;
mod render;
mod store;
mod vectors;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use crate::cancel::{cancellable, polling};
use crate::error::{Error, Result, said};
use crate::store::fork;

/// Runs `work` without the GIL and turns its error into a Python exception.
///
/// A panic becomes an InternalError: PyO3's own class for it is none that `except Exception` catches, so that one such
/// call would end a server.
fn detached<T: Send>(py: Python<'_>, work: impl Send + FnOnce() -> Result<T>) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(done) => done.map_err(PyErr::from),
        Err(panic) => Err(PyErr::from(Error::internal(format!(
            "this is a bug in plushie_search: {}; report it with the call that led here",
            said(&*panic)
        )))),
    }
}

/// Fewer pictures or texts are encoded before Ctrl-C can be pressed.
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
    let done = detached(py, || {
        let mut called_off = false;
        cancellable(work, || {
            called_off = called_off || pressed();
            called_off
        })
    });
    raised.map_or(done, Err)
}

/// As [`detached`], for work that may wait for others to write: Ctrl-C ends the waiting.
fn waiting<T: Send>(py: Python<'_>, work: impl Send + FnOnce() -> Result<T>) -> PyResult<T> {
    let raised = Arc::new(Mutex::new(None));
    let done = detached(py, || {
        let raised = Arc::clone(&raised);
        // Python tells of each signal once, and the work may ask again before it ends.
        let pressed = move || {
            let mut raised = raised.lock().unwrap_or_else(PoisonError::into_inner);
            *raised = raised.take().or_else(|| Python::attach(|py| py.check_signals()).err());
            raised.is_some()
        };
        polling(pressed, work)
    });
    let raised = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (done, raised) {
        (Err(_), Some(raised)) => Err(raised),
        (done, _) => done,
    }
}

/// Waits for running transactions and closes every connection to a catalog, before this process forks.
#[pyfunction]
fn before_fork(py: Python<'_>) {
    py.detach(fork::before_fork);
}

/// Lets this process use its catalogs again, after it has forked.
#[pyfunction]
fn after_fork_in_parent() {
    fork::after_fork_in_parent();
}

/// Forgets the catalogs of the process from which this one was forked.
#[pyfunction]
fn after_fork_in_child() {
    fork::after_fork_in_child();
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    error::register(module)?;
    index::register(module)?;
    ingest::register(module)?;
    encoder::register(module)?;
    hit::register(module)?;
    module.add_class::<picture::PyCrop>()?;
    query::register(module)?;
    calibrate::register(module)?;
    module.add_class::<engine::PyEngine>()?;
    module.add_function(wrap_pyfunction!(engine::held_models, module)?)?;
    module.add_function(wrap_pyfunction!(store::restore, module)?)?;
    module.add_function(wrap_pyfunction!(store::salvage, module)?)?;
    module.add_function(wrap_pyfunction!(before_fork, module)?)?;
    module.add_function(wrap_pyfunction!(after_fork_in_parent, module)?)?;
    module.add_function(wrap_pyfunction!(after_fork_in_child, module)?)?;
    evaluate::register(module)?;
    explain::register(module)?;
    plush::register(module)?;
    preprocess::register(module)?;
    mesh::register(module)?;
    render::register(module)?;
    formats::register();
    Ok(())
}
