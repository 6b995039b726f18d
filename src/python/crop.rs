//! `Crop`: the part of a picture that counts.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::picture::{Crop, Source};

use super::convert;
use super::error::argument;

/// A picture with the box of the part that counts.
#[pyclass(frozen, name = "Crop", module = "plushie_search._core")]
pub(super) struct PyCrop {
    image: Py<PyAny>,
    crop: Crop,
}

impl PyCrop {
    /// The part, of a picture that errors call `name`.
    pub(super) fn source(&self, py: Python<'_>, name: &str) -> PyResult<Source> {
        Ok(Source::Part { of: Box::new(convert::source(self.image.bind(py), name)?), crop: self.crop })
    }
}

#[pymethods]
impl PyCrop {
    #[new]
    #[pyo3(signature = (image, r#box))]
    fn new(image: Bound<'_, PyAny>, r#box: &Bound<'_, PyAny>) -> PyResult<Self> {
        if image.is_instance_of::<Self>() {
            return Err(argument("the picture is a Crop already: give the whole picture, and one box"));
        }
        let edges: Vec<f64> = r#box.extract().map_err(|_| {
            PyTypeError::new_err("box takes four numbers: left, top, right and bottom, as shares of the picture")
        })?;
        let edges = <[f64; 4]>::try_from(edges).map_err(|edges| {
            argument(format!("the box has {} numbers: give four, left, top, right and bottom", edges.len()))
        })?;
        Ok(Self { image: image.unbind(), crop: Crop::new(edges)? })
    }

    #[getter]
    fn image(&self, py: Python<'_>) -> Py<PyAny> {
        self.image.clone_ref(py)
    }

    #[getter]
    fn r#box(&self) -> (f64, f64, f64, f64) {
        self.crop.edges().into()
    }

    fn __eq__(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        Ok(self.crop == other.crop && self.image.bind(py).eq(&other.image)?)
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        (self.image.clone_ref(py), self.r#box()).into_pyobject(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let [left, top, right, bottom] = self.crop.edges();
        Ok(format!("Crop({}, ({left}, {top}, {right}, {bottom}))", self.image.bind(py).repr()?))
    }
}
