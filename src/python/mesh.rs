//! Binds `mesh_shape`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;

use crate::mesh::shape::Shape;
use crate::views;

use super::{convert, detached};

/// (triangles, size, area, volume, spread, hand, distances).
type ShapeRow<'py> = (usize, [f64; 3], f64, Option<f64>, [f64; 3], i8, Bound<'py, PyArray1<f32>>);

/// Measures a mesh.
#[pyfunction]
fn mesh_shape<'py>(py: Python<'py>, mesh: &Bound<'py, PyAny>) -> PyResult<ShapeRow<'py>> {
    let source = convert::source(mesh, "mesh")?;
    let shape = detached(py, || Ok(Shape::of(&views::read_mesh(&source)?)))?;
    let Shape { triangles, size, area, volume, spread, hand, distances } = shape;
    Ok((triangles, size, area, volume, spread, hand, distances.into_pyarray(py)))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(mesh_shape, module)?)
}
