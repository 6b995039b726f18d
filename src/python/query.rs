//! Converts Python's queries and the options of a search.

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};

use crate::engine::Words;
use crate::error::{Error, Result};
use crate::expand::{Expand, Templates};
use crate::fusion::{Aggregate, Fusion};
use crate::index::Effort;
use crate::query::{Given, Parts};

use super::convert;
use super::error::argument;
use super::json;
use super::vectors::{Matrix, matrix};

/// The parts of a query, each with its weight.
type Weighted<T> = Vec<(T, f32)>;
/// Pictures, texts, ids of items, and vectors with the names of their models.
type Row<'py> = (
    Weighted<Bound<'py, PyAny>>,
    Weighted<String>,
    Weighted<Bound<'py, PyAny>>,
    Weighted<(Option<String>, Bound<'py, PyAny>)>,
);

/// The parts of the query in place `number`, or of a query alone.
pub(super) fn parts(query: &Bound<'_, PyAny>, number: Option<usize>) -> PyResult<Parts> {
    let (images, texts, items, vectors): Row<'_> = query.extract()?;
    let name = number.map_or("image".to_owned(), |number| format!("image {number}"));
    let images = images.iter().map(|(image, weight)| Ok((convert::source(image, &name)?, *weight)));
    let items = items.iter().map(|(id, weight)| Ok((json::to_text(id, "item")?, *weight)));
    let vectors = vectors.into_iter().map(|((model, vector), weight)| {
        let what = model.as_ref().map_or("vector".to_owned(), |model| format!("vector[{model:?}]"));
        let Matrix { single, rows, dim, data } = matrix(&vector, &what)?;
        if !single {
            return Err(argument(format!("{what}: shape ({rows}, {dim}) is not (dim,)")));
        }
        Ok((Given { model, values: data }, weight))
    });
    Ok(Parts {
        images: images.collect::<PyResult<_>>()?,
        texts,
        items: items.collect::<PyResult<_>>()?,
        vectors: vectors.collect::<PyResult<_>>()?,
    })
}

/// A name, or weights by name.
pub(super) fn models(models: &Bound<'_, PyAny>) -> PyResult<Vec<(String, f32)>> {
    if let Ok(name) = models.extract::<String>() {
        return Ok(vec![(name, 1.0)]);
    }
    let Ok(mapping) = models.cast::<PyMapping>() else {
        return Err(PyTypeError::new_err("models takes a name, or a dict with a weight for each name"));
    };
    mapping.items()?.iter().map(|item| item.extract()).collect()
}

pub(super) fn fusion(name: &str, rrf_k: f32) -> PyResult<Fusion> {
    match name {
        "weighted" => Ok(Fusion::Weighted),
        "sum" => Ok(Fusion::Sum),
        "rrf" => Ok(Fusion::ReciprocalRank { offset: rrf_k }),
        "dbsf" => Ok(Fusion::Distribution),
        _ => Err(argument(format!("fusion {name:?}: give \"weighted\", \"sum\", \"rrf\" or \"dbsf\""))),
    }
}

/// The ids of items, one or several.
pub(super) fn ids(ids: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<String>> {
    match ids.try_iter() {
        Ok(several) if !ids.is_instance_of::<PyString>() => several.map(|id| json::to_text(&id?, name)).collect(),
        _ => Ok(vec![json::to_text(ids, name)?]),
    }
}

pub(super) fn aggregate(name: &str, temperature: f32) -> PyResult<Aggregate> {
    match name {
        "max" => Ok(Aggregate::Max),
        "mean" => Ok(Aggregate::Mean),
        "softmax" => Ok(Aggregate::Softmax { temperature }),
        _ => Err(argument(format!("aggregate {name:?}: give \"max\", \"mean\" or \"softmax\""))),
    }
}

/// A whole number. One beyond 64 bits counts as the largest or smallest of them.
#[derive(Clone, Copy)]
pub(super) struct Whole(i64);

impl<'py> FromPyObject<'_, 'py> for Whole {
    type Error = PyErr;

    fn extract(number: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match number.extract::<i64>() {
            Ok(number) => Ok(Self(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(number.py()) => {
                Ok(Self(if number.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Whole {
    /// As a count, 0 if it is negative.
    pub(super) fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or_default()
    }

    /// As it is.
    pub(super) fn number(self) -> i64 {
        self.0
    }
}

/// Numbers of a search in an approximate index.
pub(super) fn effort(nprobe: Option<Whole>, ef_search: Option<Whole>, k_factor: Option<f32>) -> Result<Effort> {
    let count = |name: &str, given: Option<Whole>| match given {
        Some(given) if given.number() < 1 => {
            Err(Error::argument(format!("{name} {}: give at least 1", given.number())))
        }
        given => Ok(given.map(Whole::count)),
    };
    Ok(Effort { nprobe: count("nprobe", nprobe)?, ef_search: count("ef_search", ef_search)?, k_factor })
}

/// None, a truth value, the name of a field, or a list of names.
pub(super) fn words(words: Option<&Bound<'_, PyAny>>) -> PyResult<Words> {
    let Some(words) = words else { return Ok(Words::Auto) };
    if let Ok(count) = words.extract::<bool>() {
        return Ok(if count { Words::Always } else { Words::Never });
    }
    if let Ok(name) = words.extract::<String>() {
        return Ok(Words::In(vec![name]));
    }
    let names = words.extract::<Vec<String>>();
    names.map(Words::In).map_err(|_| PyTypeError::new_err("words takes True, False, or a list of the names of fields"))
}

/// None, a truth value, or a list of templates.
pub(super) fn expand(expand: Option<&Bound<'_, PyAny>>) -> PyResult<Expand> {
    let Some(expand) = expand else { return Ok(Expand::Never) };
    if let Ok(on) = expand.extract::<bool>() {
        return Ok(if on { Expand::Auto } else { Expand::Never });
    }
    match expand.extract::<Vec<String>>() {
        Ok(templates) => Ok(Expand::By(Templates::new(templates)?)),
        Err(_) => {
            Err(PyTypeError::new_err("expand takes True, False, or a list of templates such as [\"a photo of {}\"]"))
        }
    }
}

/// One picture or many as a list, and whether it was one.
#[pyfunction]
fn each_image<'py>(images: &Bound<'py, PyAny>) -> PyResult<(Vec<Bound<'py, PyAny>>, bool)> {
    let (pictures, single) = convert::pictures(images)?;
    Ok((pictures.into_iter().map(|(_, picture)| picture).collect(), single))
}

/// One text or many as a list, and whether it was one.
#[pyfunction]
fn each_text(texts: &Bound<'_, PyAny>) -> PyResult<(Vec<String>, bool)> {
    convert::texts(texts)
}

/// One vector or many as rows, and whether it was one.
#[pyfunction]
fn each_vector<'py>(vectors: &Bound<'py, PyAny>, name: &str) -> PyResult<(Bound<'py, PyArray2<f32>>, bool)> {
    let Matrix { single, rows, dim, data } = matrix(vectors, name)?;
    Ok((PyArray1::from_vec(vectors.py(), data).reshape([rows, dim])?, single))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(each_image, module)?)?;
    module.add_function(wrap_pyfunction!(each_text, module)?)?;
    module.add_function(wrap_pyfunction!(each_vector, module)?)
}
