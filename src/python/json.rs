//! Python values become JSON and JSON becomes Python values.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value};

use super::error::CatalogError;

/// How deep dicts and lists may be nested; deeper ones are a mistake or an attack on the stack.
const MAX_DEPTH: usize = 64;

/// The JSON value of `object`; `what` names it in errors.
pub(super) fn to_value(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Value> {
    convert(object, what, 0)
}

/// The JSON object of a dict; `None` for Python's None.
pub(super) fn to_object(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<Value>> {
    match to_value(object, what)? {
        Value::Null => Ok(None),
        map @ Value::Object(_) => Ok(Some(map)),
        _ => Err(PyTypeError::new_err(format!("{what} must be a dict, got {}", object.get_type().name()?))),
    }
}

fn convert(object: &Bound<'_, PyAny>, what: &str, depth: usize) -> PyResult<Value> {
    if depth > MAX_DEPTH {
        return Err(PyValueError::new_err(format!("{what} is nested more than {MAX_DEPTH} levels deep")));
    }
    if object.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(value) = object.cast::<PyBool>() {
        return Ok(Value::Bool(value.is_true()));
    }
    if let Ok(value) = object.cast::<PyString>() {
        return Ok(Value::String(value.to_str()?.to_owned()));
    }
    if let Ok(map) = object.cast::<PyDict>() {
        let mut out = Map::with_capacity(map.len());
        for (key, value) in map {
            let Ok(key) = key.cast::<PyString>() else {
                return Err(PyTypeError::new_err(format!("{what}: keys must be str, got {}", key.get_type().name()?)));
            };
            out.insert(key.to_str()?.to_owned(), convert(&value, what, depth + 1)?);
        }
        return Ok(Value::Object(out));
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        return object
            .try_iter()?
            .map(|item| convert(&item?, what, depth + 1))
            .collect::<PyResult<_>>()
            .map(Value::Array);
    }
    if object.is_instance_of::<PyInt>() {
        let number = object.extract::<i64>().map_err(|_| {
            PyValueError::new_err(format!(
                "{what}: the integer {object} does not fit into 64 bits; store it as a string"
            ))
        })?;
        return Ok(Value::Number(number.into()));
    }
    // numpy's scalars are neither int nor float, but say which of them they are.
    if object.is_instance_of::<PyFloat>() || object.hasattr("__float__")? {
        if object.hasattr("__index__")? {
            return convert(&object.call_method0("__index__")?, what, depth);
        }
        let value: f64 = object.extract()?;
        return Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| PyValueError::new_err(format!("{what}: {value} is not a number that JSON can hold")));
    }
    let kind = object.get_type().name()?;
    Err(PyTypeError::new_err(format!("{what}: {kind} cannot be stored; use str, int, float, bool, None, list or dict")))
}

/// The Python value of `value`.
pub(super) fn from_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into_pyobject(py)?.into_any(),
            None => number.as_f64().into_pyobject(py)?.into_any(),
        },
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let items = items.iter().map(|item| from_value(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Object(map) => from_object(py, map)?.into_any(),
    })
}

/// The Python value of JSON text.
pub(super) fn from_text<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| CatalogError::new_err(format!("stored metadata is no JSON ({error}); update the item")))?;
    from_value(py, &value)
}

/// The Python dict of a JSON object.
pub(super) fn from_object<'py>(py: Python<'py>, map: &Map<String, Value>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in map {
        dict.set_item(key, from_value(py, value)?)?;
    }
    Ok(dict)
}
