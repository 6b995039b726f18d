//! Converts the windows of `explain`, and spreads values over maps.

use numpy::{IntoPyArray, PyArray2, PyArray3, PyArrayMethods};
use pyo3::prelude::*;

use crate::encoder::FeatureMaps;
use crate::explain::{Activation, Windows, mesh, spread};

use super::convert;

/// ((width, height), how many are small, boxes (n, 4), vectors (n, dim), the vector of the blurred picture (1, dim)).
pub(super) type WindowsRow<'py> =
    ((u32, u32), usize, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>);

pub(super) fn windows(py: Python<'_>, windows: Windows) -> PyResult<WindowsRow<'_>> {
    let Windows { size, small, boxes, vectors, blurred } = windows;
    let count = boxes.len();
    let boxes = boxes.concat().into_pyarray(py).reshape([count, 4])?;
    Ok((size, small, boxes, convert::array(py, vectors)?, convert::array(py, blurred)?))
}

/// ((width, height), map (h, w), what belongs to no place, the cosine).
pub(super) type ActivationRow<'py> = ((u32, u32), Bound<'py, PyArray2<f32>>, f32, f32);

pub(super) fn activation(py: Python<'_>, (size, found): ((u32, u32), Activation)) -> PyResult<ActivationRow<'_>> {
    let Activation { mesh: (rows, columns), map, rest, cosine } = found;
    Ok((size, map.into_pyarray(py).reshape([rows, columns])?, rest, cosine))
}

/// (feature maps (channels, h, w), what they cover of the picture).
pub(super) type MapsRow<'py> = (Vec<Bound<'py, PyArray3<f32>>>, [f64; 4]);

/// Converts the maps in the order in which the vector is made of them.
pub(super) fn maps<'py>(py: Python<'py>, features: &FeatureMaps) -> PyResult<MapsRow<'py>> {
    let (names, _) = features.tail.part.tensors();
    let named = names.into_iter().filter_map(|name| features.maps.get(name));
    let maps = named.map(|map| map.values.clone().into_pyarray(py).reshape(map.shape)).collect::<PyResult<_>>()?;
    Ok((maps, features.covered))
}

/// Spreads values of windows over the map of a picture of this width and height.
#[pyfunction]
fn spread_windows<'py>(
    py: Python<'py>,
    boxes: Vec<[f64; 4]>,
    values: Vec<f32>,
    size: (u32, u32),
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (rows, columns) = mesh(size);
    py.detach(|| spread(&boxes, &values, (rows, columns))).into_pyarray(py).reshape([rows, columns])
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(spread_windows, module)?)
}
