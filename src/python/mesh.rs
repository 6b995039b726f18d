//! Binds `mesh_shape`, and registers the reader of STEP files, which runs Python.

use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyImportError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::mesh::set_step_reader;
use crate::mesh::shape::Shape;
use crate::views;

use super::{convert, detached};

/// (triangles, size, area, volume, spread, hand, distances, notes).
type ShapeRow<'py> = (usize, [f64; 3], f64, Option<f64>, [f64; 3], i8, Bound<'py, PyArray1<f32>>, Bound<'py, PyTuple>);

/// Measures a mesh.
#[pyfunction]
fn mesh_shape<'py>(py: Python<'py>, mesh: &Bound<'py, PyAny>) -> PyResult<ShapeRow<'py>> {
    let source = convert::source(mesh, "mesh")?;
    let shape = detached(py, || Ok(Shape::of(&views::read_mesh(&source)?)))?;
    let Shape { triangles, size, area, volume, spread, hand, distances, notes } = shape;
    let notes = PyTuple::new(py, notes)?;
    Ok((triangles, size, area, volume, spread, hand, distances.into_pyarray(py), notes))
}

/// Makes a GLB file of a STEP file.
fn read_step(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let told = |py: Python<'_>, error: PyErr| match error.is_instance_of::<PyImportError>(py) {
        true => error.value(py).to_string(),
        false => format!("the STEP file cannot be read ({}): export the part as STL", error.value(py)),
    };
    Python::attach(|py| {
        let read = || {
            let module = py.import(intern!(py, "plushie_search._step"))?;
            module.call_method1(intern!(py, "read_step"), (PyBytes::new(py, bytes),))?.extract()
        };
        read().map_err(|error| told(py, error))
    })
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    set_step_reader(read_step);
    module.add_function(wrap_pyfunction!(mesh_shape, module)?)
}
