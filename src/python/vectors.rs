//! Converts Python's vectors and row numbers to those of the core.

use numpy::{PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::error::argument;

/// Rows of numbers. `single` vectors were given as one row.
pub(super) struct Matrix {
    pub(super) single: bool,
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) data: Vec<f32>,
}

/// Converts vectors of any numeric type, as an array, a list of lists or a tensor, to float32. `what` names them in
/// errors.
pub(super) fn matrix(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Matrix> {
    let array = as_array(value, what)?;
    let (single, rows, dim) = match *array.shape() {
        [dim] => (true, 1, dim),
        [rows, dim] => (false, rows, dim),
        _ => {
            let shape = array.getattr(intern!(value.py(), "shape"))?;
            return Err(argument(format!("{what}: shape {shape} is not (dim,) or (n, dim)")));
        }
    };
    let (kind, size) = (array.dtype().kind(), array.dtype().itemsize());
    let data = match kind {
        b'f' if size <= 4 => numbers_of(&array, "float32", what)?,
        // In float64 first, because numpy warns of values beyond float32, which are refused later.
        _ => numbers_of::<f64>(&array, "float64", what)?.into_iter().map(|number| number as f32).collect(),
    };
    Ok(Matrix { single, rows, dim, data })
}

/// Converts many vectors, never a single one.
pub(super) fn many(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Matrix> {
    let matrix = matrix(value, what)?;
    match matrix.single {
        false => Ok(matrix),
        // An input without rows is as empty as (0, dim).
        true if matrix.dim == 0 => Ok(Matrix { rows: 0, ..matrix }),
        true => Err(argument(format!("{what}: shape ({},) is not (n, dim); one vector is [vector]", matrix.dim))),
    }
}

/// Converts a list of whole numbers.
pub(super) fn numbers(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<i64>> {
    let array = as_array(value, what)?;
    let shape = array.getattr(intern!(value.py(), "shape"))?;
    if array.ndim() != 1 {
        return Err(argument(format!("{what}: shape {shape} is not (n,)")));
    }
    if array.len() > 0 && !matches!(array.dtype().kind(), b'i' | b'u') {
        return Err(PyTypeError::new_err(format!("{what}: numbers of type {} are not whole numbers", array.dtype())));
    }
    numbers_of(&array, "int64", what)
}

fn as_array<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = value.py();
    let numpy = py.import(intern!(py, "numpy"))?;
    let refuse = |error: PyErr| argument(format!("{what}: not an array of numbers: {}", error.value(py)));
    let array = match value.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => {
            numpy.call_method1(intern!(py, "asarray"), (value,)).map_err(refuse)?.cast_into::<PyUntypedArray>()?
        }
    };
    // A column of a table holds each row as a separate object.
    let rows = array.dtype().kind() == b'O' && array.ndim() == 1 && array.len() > 0;
    if rows && array.get_item(0)?.hasattr(intern!(py, "__len__"))? {
        let rows = array.call_method0(intern!(py, "tolist"))?;
        return Ok(numpy.call_method1(intern!(py, "asarray"), (rows,)).map_err(refuse)?.cast_into()?);
    }
    Ok(array)
}

/// Copies in C order and native byte order.
fn numbers_of<T: numpy::Element + Copy>(
    array: &Bound<'_, PyUntypedArray>,
    dtype: &str,
    what: &str,
) -> PyResult<Vec<T>> {
    // The most frequent case, without numpy, which takes longer than a search of a small catalog.
    if let Ok(array) = array.cast::<PyArrayDyn<T>>() {
        let (array, mut copied) = (array.readonly(), Vec::new());
        // A view may repeat a few numbers more often than memory holds, and to fail there would end the process.
        copied.try_reserve_exact(array.len()).map_err(|_| {
            argument(format!("{what}: {} numbers do not fit into memory: give fewer at once", array.len()))
        })?;
        copied.extend(array.as_array().iter().copied());
        return Ok(copied);
    }
    let py = array.py();
    if matches!(array.dtype().kind(), b'f' | b'i' | b'u' | b'b' | b'O') {
        let array = py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "ascontiguousarray"), (array, dtype));
        if let Ok(array) = array {
            return Ok(array.cast::<PyArrayDyn<T>>()?.readonly().as_slice()?.to_vec());
        }
    }
    let shape = array.getattr(intern!(py, "shape"))?;
    Err(PyTypeError::new_err(format!("{what}: an array of shape {shape} and type {} is not numbers", array.dtype())))
}
