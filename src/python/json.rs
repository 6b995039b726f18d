//! Converts Python values to JSON and JSON to Python values.

use std::cell::Cell;
use std::fmt;

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use serde_json::{Map, Number, Value};

use super::error::{argument, damaged};

/// The deepest nesting of dicts and lists, against mistakes and stack overflow.
const MAX_DEPTH: usize = 64;
/// The most memory of a converted value, in bytes. One that holds another many times is as large as if it held copies.
const MAX_SIZE: usize = 256 << 20;
/// About the memory of a value, and of an entry of an object beside its key and value.
const VALUE: usize = size_of::<Value>();
const ENTRY: usize = 64;

/// The path of a value for errors: `metadata["sizes"][3]`.
#[derive(Clone, Copy)]
struct ValuePath<'a> {
    within: Option<&'a ValuePath<'a>>,
    step: Step<'a>,
    depth: usize,
    /// The memory that is left.
    left: &'a Cell<usize>,
    /// Whether NaN means a missing value; otherwise it is an error.
    gaps: bool,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> ValuePath<'a> {
    fn of(name: &'a str, gaps: bool, left: &'a Cell<usize>) -> Self {
        Self { within: None, step: Step::Name(name), depth: 0, left, gaps }
    }

    fn at<'b>(&'b self, step: Step<'b>) -> ValuePath<'b> {
        ValuePath { within: Some(self), step, depth: self.depth + 1, left: self.left, gaps: self.gaps }
    }

    /// Returns the same path for a converted value, one level deeper, so that conversions cannot recurse forever.
    fn again(&self) -> Self {
        Self { depth: self.depth + 1, ..*self }
    }

    /// Returns the name of the whole value.
    fn root(&self) -> Self {
        let mut root = *self;
        while let Some(within) = root.within {
            root = *within;
        }
        root
    }

    /// Counts memory that a value takes.
    fn take(&self, bytes: usize) -> PyResult<()> {
        let left = self.left.get().checked_sub(bytes).ok_or_else(|| {
            argument(format!("{} takes more than {} MB of memory: give less at once", self.root(), MAX_SIZE >> 20))
        })?;
        self.left.set(left);
        Ok(())
    }
}

impl fmt::Display for ValuePath<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(within) = self.within {
            within.fmt(out)?;
        }
        match self.step {
            Step::Name(name) => out.write_str(name),
            Step::Key(key) => write!(out, "[{key:?}]"),
            Step::Index(index) => write!(out, "[{index}]"),
        }
    }
}

/// Converts `object` to a JSON value; `what` names it in errors. NaN is an error.
pub(super) fn to_value(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Value> {
    convert(object, &ValuePath::of(what, false, &Cell::new(MAX_SIZE)))
}

/// Converts a dict to a JSON object, with NaN as null; returns `None` for a missing value.
pub(super) fn to_object(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<Value>> {
    match convert(object, &ValuePath::of(what, true, &Cell::new(MAX_SIZE)))? {
        Value::Null => Ok(None),
        map @ Value::Object(_) => Ok(Some(map)),
        _ => Err(PyTypeError::new_err(format!("{what} must be a dict, got {}", object.get_type().name()?))),
    }
}

/// Converts a text, or a whole number as its decimal digits, as in columns of identifiers; `what` names it in errors.
pub(super) fn to_text(object: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    to_optional_text(object, what)?
        .ok_or_else(|| argument(format!("the {what} is missing: give a text or a whole number")))
}

/// Converts like [`to_text`]; returns `None` for Python's None, NaN and the missing values of pandas.
pub(super) fn to_optional_text(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<String>> {
    let py = object.py();
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(Some(text.to_str()?.to_owned()));
    }
    if is_missing(object)? || is_nan(object)? {
        return Ok(None);
    }
    if !object.is_instance_of::<PyBool>()
        && let Ok(whole) = py.import(intern!(py, "operator"))?.call_method1(intern!(py, "index"), (object,))
    {
        return Ok(Some(whole.str()?.to_str()?.to_owned()));
    }
    let kind = object.get_type();
    // What is nested too deep has no text.
    let got = object.repr().map_or_else(|_| String::new(), |text| text.to_string_lossy().chars().take(80).collect());
    Err(PyTypeError::new_err(format!("the {what} {got} is of type {}: give a text or a whole number", kind.name()?)))
}

fn convert(object: &Bound<'_, PyAny>, place: &ValuePath<'_>) -> PyResult<Value> {
    if place.depth > MAX_DEPTH {
        // The whole path would be longer than the message.
        return Err(argument(format!("{} is nested more than {MAX_DEPTH} levels deep", place.root())));
    }
    place.take(VALUE)?;
    if let Ok(value) = object.cast::<PyBool>() {
        return Ok(Value::Bool(value.is_true()));
    }
    if let Ok(value) = object.cast::<PyString>() {
        let text = value.to_str()?;
        place.take(text.len())?;
        return Ok(Value::String(text.to_owned()));
    }
    if object.is_instance_of::<PyInt>() {
        let number = object
            .extract::<i64>()
            .map_err(|_| argument(format!("{place}: the integer does not fit into 64 bits; store it as a str")))?;
        return Ok(Value::Number(number.into()));
    }
    if object.is_instance_of::<PyFloat>() {
        return real(object.extract()?, place);
    }
    if let Ok(list) = object.cast::<PyList>() {
        return members(list.iter(), place);
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return members(tuple.iter(), place);
    }
    if let Ok(map) = object.cast::<PyDict>() {
        return entries(map.iter().map(Ok), place);
    }
    if is_missing(object)? {
        return Ok(Value::Null);
    }
    if let Ok(map) = object.cast::<PyMapping>() {
        return entries(map.items()?.iter().map(|item| item.extract()), place);
    }
    other(object, place)
}

fn members<'py>(list: impl Iterator<Item = Bound<'py, PyAny>>, place: &ValuePath<'_>) -> PyResult<Value> {
    list.enumerate().map(|(index, item)| convert(&item, &place.at(Step::Index(index)))).collect()
}

type Entry<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

fn entries<'py>(items: impl Iterator<Item = PyResult<Entry<'py>>>, place: &ValuePath<'_>) -> PyResult<Value> {
    let mut out = Map::new();
    for item in items {
        let (key, value) = item?;
        let Ok(key) = key.cast::<PyString>() else {
            return Err(PyTypeError::new_err(format!("{place}: keys must be str, got {}", key.get_type().name()?)));
        };
        let key = key.to_str()?;
        place.take(ENTRY + key.len())?;
        out.insert(key.to_owned(), convert(&value, &place.at(Step::Key(key)))?);
    }
    Ok(Value::Object(out))
}

fn real(value: f64, place: &ValuePath<'_>) -> PyResult<Value> {
    if value.is_nan() && place.gaps {
        return Ok(Value::Null);
    }
    Number::from_f64(value).map(Value::Number).ok_or_else(|| {
        argument(format!("{place}: {value} is not a number that JSON can hold; for a missing value use None"))
    })
}

/// Returns whether it is None, or a missing value of pandas.
fn is_missing(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if object.is_none() {
        return Ok(true);
    }
    let kind = object.get_type();
    let name = kind.name()?;
    Ok((name == "NAType" || name == "NaTType") && kind.module()?.to_str()?.starts_with("pandas"))
}

/// Returns whether it is a NaN of Python or numpy.
fn is_nan(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    let number = object.is_instance_of::<PyFloat>()
        || object.is_instance(&py.import(intern!(py, "numpy"))?.getattr(intern!(py, "floating"))?)?;
    Ok(number && object.extract::<f64>()?.is_nan())
}

/// Converts values of other types that have a plain form in JSON.
fn other(object: &Bound<'_, PyAny>, place: &ValuePath<'_>) -> PyResult<Value> {
    let py = object.py();
    if object.hasattr(intern!(py, "isoformat"))? {
        return instant(object).map(Value::String);
    }
    if object.hasattr(intern!(py, "__array__"))? {
        return array(object, place);
    }
    let is = |module, name| -> PyResult<bool> { object.is_instance(&py.import(module)?.getattr(name)?) };
    if is("decimal", "Decimal")? {
        return decimal(object, place);
    }
    if is("uuid", "UUID")? {
        return Ok(Value::String(object.str()?.to_str()?.to_owned()));
    }
    if object.hasattr(intern!(py, "__fspath__"))? {
        let path = py.import(intern!(py, "os"))?.call_method1(intern!(py, "fspath"), (object,))?;
        return convert(&path, &place.again());
    }
    if object.hasattr(intern!(py, "__index__"))? {
        return convert(&object.call_method0(intern!(py, "__index__"))?, &place.again());
    }
    if object.hasattr(intern!(py, "__float__"))? {
        return real(object.extract()?, place);
    }
    let kind = object.get_type();
    let kind = kind.name()?;
    Err(PyTypeError::new_err(format!(
        "{place}: a value of type {kind} cannot be stored; use str, int, float, bool, None, datetime, list or dict"
    )))
}

/// Formats a date or time as ISO 8601, with a time zone in UTC, so that texts sort by time.
fn instant(object: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = object.py();
    let aware = object.hasattr(intern!(py, "astimezone"))? && !object.call_method0(intern!(py, "utcoffset"))?.is_none();
    let text = if aware {
        let utc = py.import(intern!(py, "datetime"))?.getattr(intern!(py, "timezone"))?.getattr(intern!(py, "utc"))?;
        object.call_method1(intern!(py, "astimezone"), (utc,))?.call_method0(intern!(py, "isoformat"))?
    } else {
        object.call_method0(intern!(py, "isoformat"))?
    };
    text.extract()
}

/// Converts to a number if that keeps all digits, because prices must compare exactly.
fn decimal(object: &Bound<'_, PyAny>, place: &ValuePath<'_>) -> PyResult<Value> {
    let py = object.py();
    if object.call_method0(intern!(py, "is_finite"))?.extract()? {
        let whole: Bound<'_, PyAny> = object.call_method0(intern!(py, "__int__"))?;
        if whole.eq(object)? && whole.extract::<i64>().is_ok() {
            return convert(&whole, place);
        }
        let float = py.get_type::<PyFloat>().call1((object,))?;
        if object.get_type().call1((float.repr()?,))?.eq(object)? {
            return convert(&float, place);
        }
    }
    Err(argument(format!("{place}: {object} has more digits than a number of JSON; store it as a str")))
}

/// Converts the elements of an array, or the value of an array without dimensions.
fn array(object: &Bound<'_, PyAny>, place: &ValuePath<'_>) -> PyResult<Value> {
    let py = object.py();
    let numpy = py.import(intern!(py, "numpy"))?;
    // A masked array converts masked values to None by itself.
    let array = match object.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => numpy.call_method1(intern!(py, "asarray"), (object,))?.cast_into::<PyUntypedArray>()?,
    };
    let dtype = array.dtype();
    let list = match (dtype.kind(), dtype.itemsize()) {
        (b'M', _) => {
            let texts = numpy.call_method1(intern!(py, "datetime_as_string"), (&array,))?;
            return Ok(plain_instants(convert(&texts.call_method0(intern!(py, "tolist"))?, &place.again())?));
        }
        (b'f', 9..) => array.call_method1(intern!(py, "astype"), ("float64",))?.call_method0(intern!(py, "tolist"))?,
        (b'b' | b'i' | b'u' | b'f' | b'U' | b'O', _) => array.call_method0(intern!(py, "tolist"))?,
        _ => {
            return Err(PyTypeError::new_err(format!(
                "{place}: an array of type {dtype} cannot be stored; convert it to numbers or text"
            )));
        }
    };
    convert(&list, &place.again())
}

/// Formats numpy's dates like Python's: no fraction of a second if it is 0, otherwise six digits, and null for a
/// missing date.
fn plain_instants(value: Value) -> Value {
    match value {
        Value::String(text) if text == "NaT" => Value::Null,
        Value::String(text) => {
            // Python writes seconds from hours on.
            let text = match text.len() - text.find('T').unwrap_or(text.len()) {
                3 => text + ":00:00",
                6 => text + ":00",
                _ => text,
            };
            Value::String(match text.split_once('.') {
                None => text,
                Some((seconds, digits)) => match digits.trim_end_matches('0').len() {
                    0 => seconds.to_owned(),
                    1..=6 => format!("{seconds}.{:0<6}", &digits[..digits.len().min(6)]),
                    _ => text,
                },
            })
        }
        Value::Array(list) => list.into_iter().map(plain_instants).collect(),
        other => other,
    }
}

/// Converts `value` to a Python value.
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

/// Converts the stored metadata of an item to a Python value.
pub(super) fn from_text<'py>(py: Python<'py>, text: &str, id: &str) -> PyResult<Bound<'py, PyAny>> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        damaged(py, id, format!("the metadata of item {id:?} is damaged ({error}); update or remove that item"))
    })?;
    from_value(py, &value)
}

/// Converts a JSON object to a Python dict.
pub(super) fn from_object<'py>(py: Python<'py>, map: &Map<String, Value>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in map {
        dict.set_item(key, from_value(py, value)?)?;
    }
    Ok(dict)
}
