//! Python's exceptions: one root, and one class for each kind of error that a caller treats differently.

use std::ffi::CString;
use std::path::Path;

use pyo3::exceptions::{
    PyBaseException, PyException, PyFileNotFoundError, PyKeyError, PyKeyboardInterrupt, PyOSError, PyPermissionError,
    PyRuntimeError, PyUserWarning, PyValueError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{create_exception, intern};

use crate::error::Error;
use crate::tokenize;

create_exception!(plushie_search, UnreadableTextWarning, PyUserWarning, "A text of which the model knows no word.");

/// The exceptions of this package. Each is also the built-in one that its cause would be in any other library.
struct Classes {
    root: Py<PyType>,
    argument: Py<PyType>,
    unknown_item: Py<PyType>,
    file: Py<PyType>,
    missing_file: Py<PyType>,
    forbidden_file: Py<PyType>,
    picture: Py<PyType>,
    model: Py<PyType>,
    catalog: Py<PyType>,
    internal: Py<PyType>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

impl Classes {
    fn get(py: Python<'_>) -> PyResult<&'static Self> {
        CLASSES.get_or_try_init(py, || Self::new(py))
    }

    fn new(py: Python<'_>) -> PyResult<Self> {
        let root =
            class(py, "PlushieError", "The root of this package's errors.", "error", &[py.get_type::<PyException>()])?;
        root.setattr("item", py.None())?;
        root.setattr("path", py.None())?;
        let of = |name: &str, text: &str, code, built_in: Bound<'_, PyType>| {
            class(py, name, text, code, &[root.clone(), built_in]).map(Bound::unbind)
        };
        let unknown_item =
            of("UnknownItemError", "An item that is not in the catalog.", "unknown_item", py.get_type::<PyKeyError>())?;
        // A KeyError prints its message quoted.
        let plain = py.get_type::<PyBaseException>().getattr("__str__")?;
        unknown_item.bind(py).setattr("__str__", plain)?;
        let file = of("FileError", "A file that cannot be read or written.", "file", py.get_type::<PyOSError>())?;
        let of_file = |name: &str, text: &str, built_in: Bound<'_, PyType>| {
            class(py, name, text, "file", &[file.bind(py).clone(), built_in]).map(Bound::unbind)
        };
        Ok(Self {
            argument: of(
                "ArgumentError",
                "An argument that no catalog or model accepts.",
                "argument",
                py.get_type::<PyValueError>(),
            )?,
            unknown_item,
            missing_file: of_file(
                "plushie_search._core.MissingFileError",
                "A file that does not exist.",
                py.get_type::<PyFileNotFoundError>(),
            )?,
            forbidden_file: of_file(
                "plushie_search._core.ForbiddenFileError",
                "A file that this user may not read or write.",
                py.get_type::<PyPermissionError>(),
            )?,
            picture: of("PictureError", "A picture that cannot be read.", "picture", py.get_type::<PyValueError>())?,
            model: of(
                "ModelError",
                "A model or runtime library that cannot be used.",
                "model",
                py.get_type::<PyRuntimeError>(),
            )?,
            catalog: of(
                "CatalogError",
                "A catalog that cannot be opened or changed.",
                "catalog",
                py.get_type::<PyRuntimeError>(),
            )?,
            internal: of(
                "InternalError",
                "A failure of this package or of a library in it.",
                "internal",
                py.get_type::<PyRuntimeError>(),
            )?,
            file,
            root: root.unbind(),
        })
    }

    fn all(&self) -> [&Py<PyType>; 10] {
        let Self {
            root,
            argument,
            unknown_item,
            file,
            missing_file,
            forbidden_file,
            picture,
            model,
            catalog,
            internal,
        } = self;
        [root, argument, unknown_item, file, missing_file, forbidden_file, picture, model, catalog, internal]
    }
}

/// Makes an exception of several bases, which `create_exception!` does not.
fn class<'py>(
    py: Python<'py>,
    name: &str,
    text: &str,
    code: &str,
    bases: &[Bound<'py, PyType>],
) -> PyResult<Bound<'py, PyType>> {
    let (module, name) = name.rsplit_once('.').unwrap_or(("plushie_search", name));
    let body = PyDict::new(py);
    body.set_item("__module__", module)?;
    body.set_item("__doc__", text)?;
    body.set_item("code", code)?;
    Ok(py.get_type::<PyType>().call1((name, PyTuple::new(py, bases)?, body))?.cast_into()?)
}

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

/// Returns the exception for an argument that cannot be used.
pub(super) fn argument(reason: impl Into<String>) -> PyErr {
    Error::Argument(reason.into()).into()
}

/// Returns the exception for an entry of `item` that is not as it was written.
pub(super) fn damaged(py: Python<'_>, item: &str, reason: String) -> PyErr {
    let raise = || {
        let value = Classes::get(py)?.catalog.bind(py).call1((reason,))?;
        value.setattr(intern!(py, "code"), "damaged")?;
        value.setattr(intern!(py, "item"), item)?;
        Ok(PyErr::from_value(value))
    };
    raise().unwrap_or_else(|failed| failed)
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Interrupted => PyKeyboardInterrupt::new_err(error.to_string()),
            Error::Encoder { name, source } => match source.downcast::<Self>() {
                Ok(raised) => *raised,
                Err(source) => Error::model(name, source).into(),
            },
            error => Python::attach(|py| raised(py, &error).unwrap_or_else(|failed| failed)),
        }
    }
}

fn raised(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let classes = Classes::get(py)?;
    let (class, arguments) = match error {
        Error::Io { path, source } => os_error(py, classes, path, source)?,
        _ => (class_of(classes, error), (bounded(error.to_string()),).into_pyobject(py)?),
    };
    let value = class.bind(py).call1(arguments)?;
    value.setattr(intern!(py, "code"), error.code())?;
    if let Some(item) = error.item() {
        value.setattr(intern!(py, "item"), item)?;
    }
    if let Some(path) = error.path() {
        value.setattr(intern!(py, "path"), path.as_os_str())?;
    }
    Ok(PyErr::from_value(value))
}

fn class_of<'a>(classes: &'a Classes, error: &Error) -> &'a Py<PyType> {
    match error {
        Error::Argument(_) => &classes.argument,
        Error::UnknownItem(_) | Error::UnknownReference { .. } => &classes.unknown_item,
        Error::Io { .. } => &classes.file,
        Error::Picture { .. } | Error::Mesh { .. } => &classes.picture,
        Error::Model { .. } | Error::Runtime(_) | Error::Encoder { .. } => &classes.model,
        Error::Catalog { .. } | Error::Busy { .. } | Error::Full { .. } | Error::Damaged { .. } => &classes.catalog,
        Error::Internal(_) | Error::Interrupted => &classes.internal,
    }
}

/// Picks the class as Python does for an OSError of that number, and its arguments (number, text, file).
fn os_error<'py, 'a>(
    py: Python<'py>,
    classes: &'a Classes,
    path: &Path,
    source: &std::io::Error,
) -> PyResult<(&'a Py<PyType>, Bound<'py, PyTuple>)> {
    let Some(number) = source.raw_os_error() else {
        return Ok((&classes.file, (bounded(format!("{}: {source}", path.display())),).into_pyobject(py)?));
    };
    let text = source.to_string();
    let text = text.split(" (os error").next().unwrap_or_default(); // Python says the number
    let class = match source.kind() {
        std::io::ErrorKind::NotFound => &classes.missing_file,
        std::io::ErrorKind::PermissionDenied => &classes.forbidden_file,
        _ => &classes.file,
    };
    let name = bounded(path.display().to_string());
    match name.len() > LONGEST {
        // No file has such a name: it is shown in part.
        true => Ok((class, (number, text, name).into_pyobject(py)?)),
        false => Ok((class, (number, text, path.as_os_str()).into_pyobject(py)?)),
    }
}

/// The longest message that is shown whole, in bytes.
const LONGEST: usize = 2000;

/// Returns a message without its middle if it is longer than any but one that repeats an input: its beginning tells the
/// symptom, and its end the cure.
fn bounded(message: String) -> String {
    if message.len() <= LONGEST {
        return message;
    }
    let (begin, end) =
        (message.floor_char_boundary(LONGEST / 2), message.ceil_char_boundary(message.len() - LONGEST / 2));
    format!("{} [...] {}", &message[..begin], &message[end..])
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    for class in Classes::get(py)?.all() {
        let class = class.bind(py);
        module.add(class.name()?, class)?;
    }
    module.add("UnreadableTextWarning", py.get_type::<UnreadableTextWarning>())
}
