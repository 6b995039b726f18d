//! Encoders that are Python objects.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::encoder::{About, BatchError, Cache, Compute, Computed, Custom, Encode, Limits, Probe};
use crate::error::Error;
use crate::picture::Picture;
use crate::workers::workers;

use crate::python::vectors::many;

/// The most pictures or texts in a call by default.
const BATCH: usize = 16;

/// A Python object that encodes.
struct Object {
    object: Py<PyAny>,
    name: String,
}

/// Returns the encoder for a Python object with the attributes `name`, `dim` and `fingerprint`, and at least one of the
/// methods `encode_images`, `encode_files` and `encode_texts`. Its other attributes are optional.
pub(super) fn encoder(object: &Bound<'_, PyAny>, threads: Option<usize>) -> PyResult<Arc<dyn Encode>> {
    let kind = object.get_type();
    let needed = |name: &str| {
        object.getattr_opt(name)?.ok_or_else(|| {
            PyTypeError::new_err(format!(
                "{kind} is no encoder: it has no attribute {name:?}; an encoder has name, dim, fingerprint, and \
                 encode_images, encode_texts or both"
            ))
        })
    };
    let has = |method: &str| Ok::<_, PyErr>(object.getattr_opt(method)?.is_some_and(|method| method.is_callable()));
    let [images, files, texts] = [has("encode_images")?, has("encode_files")?, has("encode_texts")?];
    if !(images || files || texts) {
        return Err(PyTypeError::new_err(format!(
            "{kind} is no encoder: it has no method encode_images or encode_texts"
        )));
    }
    let about = About {
        name: needed("name")?.extract()?,
        version: optional(object, "version")?.unwrap_or_default(),
        fingerprint: needed("fingerprint")?.extract()?,
        dim: needed("dim")?.extract()?,
        languages: optional(object, "languages")?.unwrap_or_default(),
        device: optional(object, "device")?.unwrap_or_else(|| "object".to_owned()),
        precision: None,
        images: images || files,
        texts,
    };
    let batch = optional(object, "batch")?.unwrap_or(BATCH);
    let limits = Limits {
        images: optional(object, "image_batch")?.unwrap_or(batch),
        texts: batch,
        calls: optional(object, "requests")?.unwrap_or(1),
        files,
        at_least: optional(object, "image_size")?,
    };
    let probe = match object.getattr_opt("probe")? {
        Some(probe) if !probe.is_none() => {
            let side = |side: &str| -> PyResult<Option<Vec<f32>>> {
                probe.call_method1(intern!(object.py(), "get"), (side,))?.extract()
            };
            Probe { image: side("image")?, text: side("text")? }
        }
        _ => Probe::default(),
    };
    let cache = optional(object, "cache")?.unwrap_or(Cache::IMAGES);
    let compute = Object { object: object.clone().unbind(), name: about.name.clone() };
    Ok(Arc::new(Custom::new(about, compute, limits, probe, cache, workers(threads)?)?))
}

fn optional<'py, T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(
    object: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Option<T>> {
    match object.getattr_opt(name)? {
        Some(value) if !value.is_none() => value.extract().map(Some),
        _ => Ok(None),
    }
}

/// Returns the message of an exception about a service, and whether that refused the request: of the exceptions of the adapters here.
pub(super) fn said(py: Python<'_>, raised: &PyErr) -> Option<(String, bool)> {
    let reason = raised.value(py).getattr_opt(intern!(py, "service_reason")).ok()??;
    Some((reason.extract().ok()?, is_true(py, raised, "refused")))
}

fn is_true(py: Python<'_>, raised: &PyErr, name: &str) -> bool {
    let value = raised.value(py).getattr_opt(name).ok().flatten();
    value.is_some_and(|value| value.is_truthy().unwrap_or(false))
}

impl Object {
    /// Calls a method while attached to the interpreter, with an argument that is made there.
    fn call(
        &self,
        method: &str,
        argument: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyList>>,
    ) -> Result<Computed, BatchError> {
        Python::attach(|py| {
            let call = || {
                let rows = self.object.bind(py).call_method1(method, (argument(py)?,))?;
                let matrix = many(&rows, &format!("model {:?}: {method}", self.name))?;
                Ok(Computed { rows: matrix.rows, dim: matrix.dim, data: matrix.data })
            };
            call().map_err(|raised: PyErr| match said(py, &raised) {
                Some((reason, about_these)) => BatchError { error: Error::model(&self.name, reason), about_these },
                None => {
                    let about_these = is_true(py, &raised, "refused");
                    BatchError {
                        error: Error::Encoder { name: self.name.clone(), source: Box::new(raised) },
                        about_these,
                    }
                }
            })
        })
    }
}

impl Compute for Object {
    fn images(&self, pictures: &[Arc<Picture>]) -> Result<Computed, BatchError> {
        self.call("encode_images", |py| {
            let array = |picture: &Arc<Picture>| {
                let shape = [picture.height() as usize, picture.width() as usize, 3];
                picture.pixels().to_vec().into_pyarray(py).reshape(shape)
            };
            PyList::new(py, pictures.iter().map(array).collect::<PyResult<Vec<_>>>()?)
        })
    }

    fn files(&self, files: &[(&'static str, Vec<u8>)]) -> Result<Computed, BatchError> {
        self.call("encode_files", |py| {
            PyList::new(py, files.iter().map(|(media, bytes)| (*media, PyBytes::new(py, bytes))))
        })
    }

    fn texts(&self, texts: &[&str]) -> Result<Computed, BatchError> {
        self.call("encode_texts", |py| PyList::new(py, texts))
    }
}
