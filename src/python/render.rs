//! Binds `render_mesh`.

use numpy::ndarray::Array4;
use numpy::{IntoPyArray, PyArray4};
use pyo3::prelude::*;

use crate::render::studio::{View, check_count, draw_all};
use crate::views;
use crate::workers::workers;

use super::{convert, detached};

/// Renders a mesh from many sides: (names of the views, an array of n x size x size x 3).
#[pyfunction]
#[pyo3(signature = (mesh, *, views, size, turntable, threads))]
fn render_mesh<'py>(
    py: Python<'py>,
    mesh: &Bound<'py, PyAny>,
    views: usize,
    size: usize,
    turntable: bool,
    threads: Option<usize>,
) -> PyResult<(Vec<String>, Bound<'py, PyArray4<u8>>)> {
    let source = convert::source(mesh, "mesh")?;
    let (around, pixels) = detached(py, || {
        check_count(views)?;
        let mesh = views::read_mesh(&source)?;
        let around = if turntable { View::turntable(views) } else { View::around(views) };
        let pixels = workers(threads)?.install(|| draw_all(&mesh, &around, size))?;
        Ok((around, pixels))
    })?;
    let array = Array4::from_shape_vec((around.len(), size, size, 3), pixels).expect("a byte for each place");
    Ok((around.iter().map(View::to_string).collect(), array.into_pyarray(py)))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(render_mesh, module)?)
}
