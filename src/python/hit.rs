//! `_core.Hit`: an item that a search has found.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::calibrate::similarity;
use crate::engine::Hit;
use crate::render::studio::{view_name, view_number};
use crate::store::Entry;

use super::error::argument;
use super::json;

/// One item that was found, and the reference of it that matched best.
#[pyclass(frozen, name = "Hit", module = "plushie_search._core")]
pub(super) struct PyHit {
    rank: usize,
    score: f64,
    probability: Option<f64>,
    entry: Arc<Entry>,
    models: Arc<[String]>,
    scores: Vec<f64>,
    /// A vector for each model, if the search asked for vectors.
    vectors: Vec<Vec<f32>>,
    matched: Vec<String>,
    /// Made when it is asked for first.
    metadata: PyOnceLock<Py<PyDict>>,
}

impl PyHit {
    /// The hit in place `place`, from 0.
    pub(super) fn new(place: usize, hit: Hit) -> Self {
        Self {
            rank: place + 1,
            score: hit.score.into(),
            probability: hit.probability,
            entry: hit.entry,
            models: hit.models,
            scores: hit.scores.into_iter().map(f64::from).collect(),
            vectors: hit.vectors,
            matched: hit.matched,
            metadata: PyOnceLock::new(),
        }
    }

    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let arguments = PyDict::new(py);
        arguments.set_item("rank", self.rank)?;
        arguments.set_item("item", &self.entry.id)?;
        arguments.set_item("score", self.score)?;
        arguments.set_item("scores", self.scores(py)?)?;
        arguments.set_item("probability", self.probability)?;
        arguments.set_item("matched", self.matched(py)?)?;
        arguments.set_item("reference", &self.entry.reference)?;
        arguments.set_item("digest", self.digest())?;
        arguments.set_item("view", self.view())?;
        arguments.set_item("label", &self.entry.label)?;
        arguments.set_item("text", &self.entry.text)?;
        arguments.set_item("metadata", self.metadata(py)?)?;
        Ok(arguments)
    }
}

#[pymethods]
impl PyHit {
    #[new]
    #[pyo3(signature = (rank, item, score, *, reference="", digest=None, view=None, label=None, text=None, metadata=None, scores=None, probability=None, matched=None, vectors=None))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn make(
        rank: usize,
        item: String,
        score: f64,
        reference: &str,
        digest: Option<&str>,
        view: Option<&str>,
        label: Option<String>,
        text: Option<String>,
        metadata: Option<Bound<'_, PyDict>>,
        scores: Option<Bound<'_, PyDict>>,
        probability: Option<f64>,
        matched: Option<Vec<String>>,
        vectors: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let digest = digest.map_or(Ok([0; 32]), bytes_of)?;
        let number = |view: &str| view_number(view).ok_or_else(|| unknown_view(view));
        let view = view.map_or(Ok(0), number)?;
        let entry = Entry { id: item, label, text, metadata: "{}".into(), reference: reference.into(), digest, view };
        let (mut models, mut all) = (Vec::new(), Vec::new());
        for (model, score) in scores.into_iter().flatten() {
            models.push(model.extract::<String>()?);
            all.push(score.extract::<f64>()?);
        }
        let mut numbers = Vec::new();
        for (model, vector) in vectors.into_iter().flatten() {
            if models.get(numbers.len()) != Some(&model.extract::<String>()?) {
                return Err(argument("vectors needs the models of scores, in their order"));
            }
            numbers.push(vector.extract::<Vec<f32>>()?);
        }
        let kept = PyOnceLock::new();
        if let Some(metadata) = metadata {
            _ = kept.set(metadata.py(), metadata.clone().unbind());
        }
        let (entry, models, matched) = (Arc::new(entry), models.into(), matched.unwrap_or_default());
        Ok(Self { rank, score, probability, entry, models, scores: all, vectors: numbers, matched, metadata: kept })
    }

    #[getter]
    fn rank(&self) -> usize {
        self.rank
    }

    #[getter]
    fn item(&self) -> &str {
        &self.entry.id
    }

    #[getter]
    fn score(&self) -> f64 {
        self.score
    }

    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let scores = PyDict::new(py);
        self.models.iter().zip(&self.scores).try_for_each(|(model, score)| scores.set_item(model, score))?;
        Ok(scores)
    }

    #[getter]
    fn probability(&self) -> Option<f64> {
        self.probability
    }

    #[getter]
    fn matched<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.matched)
    }

    #[getter]
    fn similarity(&self) -> f64 {
        similarity(self.probability, self.score, &self.scores)
    }

    #[getter]
    fn reference(&self) -> &str {
        &self.entry.reference
    }

    #[getter]
    fn digest(&self) -> String {
        self.entry.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[getter]
    fn view(&self) -> Option<String> {
        view_name(self.entry.view)
    }

    #[getter]
    fn label(&self) -> Option<&str> {
        self.entry.label.as_deref()
    }

    #[getter]
    fn text(&self) -> Option<&str> {
        self.entry.text.as_deref()
    }

    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let read = || Ok::<_, PyErr>(json::from_text(py, &self.entry.metadata, &self.entry.id)?.cast_into()?.unbind());
        Ok(self.metadata.get_or_try_init(py, read)?.bind(py).clone())
    }

    #[getter]
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        if self.vectors.is_empty() {
            return Ok(None);
        }
        let vectors = PyDict::new(py);
        for (model, vector) in self.models.iter().zip(&self.vectors) {
            let vector: Bound<'py, PyArray1<f32>> = vector.clone().into_pyarray(py);
            vectors.set_item(model, vector)?;
        }
        Ok(Some(vectors))
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.arguments(py)?;
        dict.set_item("matched", &self.matched)?;
        if !self.vectors.is_empty() {
            let vectors = PyDict::new(py);
            self.models.iter().zip(&self.vectors).try_for_each(|(model, vector)| vectors.set_item(model, vector))?;
            dict.set_item("vectors", vectors)?;
        }
        Ok(dict)
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented()) };
        let other = other.get();
        let same = self.vectors == other.vectors && self.arguments(py)?.eq(other.arguments(py)?)?;
        Ok(same.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let fields = self.arguments(py)?.iter().map(|(name, value)| Ok(format!("{name}={}", value.repr()?)));
        Ok(format!("Hit({})", fields.collect::<PyResult<Vec<_>>>()?.join(", ")))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let arguments = self.arguments(py)?;
        arguments.set_item("vectors", self.vectors(py)?)?;
        let class = PyType::new::<Self>(py);
        let call = py.import("functools")?.call_method("partial", (class,), Some(&arguments))?;
        Ok((call, PyTuple::empty(py)))
    }
}

fn unknown_view(view: &str) -> PyErr {
    argument(format!("view {view:?}: give view:azimuth,elevation in degrees, such as \"view:45,35\""))
}

/// The bytes of a digest in hexadecimal digits.
fn bytes_of(digest: &str) -> PyResult<[u8; 32]> {
    let digits: Option<Vec<u8>> = digest.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let bytes: Option<Vec<u8>> =
        digits.map(|digits| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    bytes
        .filter(|_| digest.len() == 64)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| argument(format!("digest {digest:?}: give 64 hexadecimal digits")))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyHit>()
}
