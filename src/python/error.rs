//! One Python exception for each kind of error that a caller would treat differently.

use std::ffi::CString;

use pyo3::create_exception;
use pyo3::exceptions::{PyKeyError, PyKeyboardInterrupt, PyOSError, PyRuntimeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;

use crate::error::Error;
use crate::tokenize;

create_exception!(plushie_search, PictureError, PyValueError, "A picture or mesh that cannot be read.");
create_exception!(plushie_search, ModelError, PyRuntimeError, "A model or runtime library that cannot be used.");
create_exception!(plushie_search, CatalogError, PyRuntimeError, "A catalog that cannot be opened or changed.");
create_exception!(plushie_search, UnreadableTextWarning, PyUserWarning, "A text of which the model knows no word.");

/// Warns of texts of which the model `name` knows no word, if there are any.
pub(super) fn warn_unread(py: Python<'_>, name: &str, unread: &[&str], stack: i32) -> PyResult<()> {
    let Some(first) = unread.first() else { return Ok(()) };
    let more = if unread.len() > 1 { format!(", and of {} more", unread.len() - 1) } else { String::new() };
    let message = format!(
        "model {name:?} knows no word of {}{more}: the vector is that of any such text, and means nothing; use words of \
         its languages, or a model that reads this one",
        tokenize::name(first)
    );
    let message = CString::new(message.replace('\0', " "))?;
    PyErr::warn(py, &py.get_type::<UnreadableTextWarning>(), &message, stack)
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Argument(_) => PyValueError::new_err(message),
            Error::UnknownItem(_) => PyKeyError::new_err(message),
            // With (errno, text, file) Python picks the class: FileNotFoundError, PermissionError ...
            Error::Io { path, source } => match source.raw_os_error() {
                Some(code) => {
                    let text = source.to_string();
                    let text = text.split(" (os error").next().unwrap_or_default().to_string(); // Python says the number
                    PyOSError::new_err((code, text, path.into_os_string()))
                }
                None => PyOSError::new_err(message),
            },
            Error::Picture { .. } | Error::Mesh { .. } => PictureError::new_err(message),
            Error::Model { .. } | Error::Runtime(_) => ModelError::new_err(message),
            Error::Catalog { .. } | Error::Damaged { .. } => CatalogError::new_err(message),
            Error::Interrupted => PyKeyboardInterrupt::new_err(message),
        }
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("PictureError", py.get_type::<PictureError>())?;
    module.add("UnreadableTextWarning", py.get_type::<UnreadableTextWarning>())?;
    module.add("ModelError", py.get_type::<ModelError>())?;
    module.add("CatalogError", py.get_type::<CatalogError>())
}
