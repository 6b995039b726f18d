//! Binds `Plush`, `render_plushes` and `plush_words`.

use numpy::ndarray::{Array3, Array4};
use numpy::{IntoPyArray, PyArray3, PyArray4};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::detached;
use crate::plush;
use crate::plush::view::{SceneKind, View};
use crate::plush::vocabulary::Language;

/// A generated plush toy.
#[pyclass(frozen, module = "plushie_search._core")]
pub(super) struct Plush(plush::Plush);

#[pymethods]
impl Plush {
    /// Makes the plush of this seed.
    #[new]
    fn new(seed: u64) -> Self {
        Self(plush::Plush::new(seed))
    }

    /// Makes a plush with the given attributes and the proportions of this seed.
    #[staticmethod]
    #[pyo3(signature = (seed, attributes))]
    fn with_attributes(py: Python<'_>, seed: u64, attributes: &Bound<'_, PyDict>) -> PyResult<Self> {
        let text: String = py.import("json")?.call_method1("dumps", (attributes,))?.extract()?;
        Ok(Self(plush::Plush::with_attributes(seed, plush::attributes::Attributes::from_json(&text)?)?))
    }

    /// Returns the seed of its proportions.
    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed()
    }

    /// Returns its attributes as a dictionary.
    #[getter]
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.0.attributes().to_json(),))
    }

    /// Returns a caption.
    #[pyo3(signature = (language = "en"))]
    fn caption(&self, language: &str) -> PyResult<String> {
        Ok(self.0.caption(Language::parse(language)?))
    }

    /// Makes a plush that differs in one visible attribute.
    fn lookalike(&self, seed: u64) -> Self {
        Self(self.0.lookalike(seed))
    }

    /// Renders a picture: height x width x 3.
    #[pyo3(signature = (*, size = 224, view = 0, scene = "studio"))]
    fn render<'py>(&self, py: Python<'py>, size: usize, view: u64, scene: &str) -> PyResult<Bound<'py, PyArray3<u8>>> {
        let scene = SceneKind::parse(scene)?;
        let pixels = detached(py, || plush::render_square(&self.0, &View::sample(view, scene), size))?;
        let array = Array3::from_shape_vec((size, size, 3), pixels).expect("size * size * 3 bytes");
        Ok(array.into_pyarray(py))
    }

    /// Renders a picture with transparency around the plush: height x width x 4.
    #[pyo3(signature = (*, size = 224, view = 0, scene = "studio"))]
    fn cutout<'py>(&self, py: Python<'py>, size: usize, view: u64, scene: &str) -> PyResult<Bound<'py, PyArray3<u8>>> {
        let scene = SceneKind::parse(scene)?;
        let pixels = detached(py, || plush::cut_out(&self.0, &View::sample(view, scene), size))?;
        let array = Array3::from_shape_vec((size, size, 4), pixels).expect("size * size * 4 bytes");
        Ok(array.into_pyarray(py))
    }

    /// Returns its surface as a binary STL file.
    fn stl<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &detached(py, || Ok(self.0.mesh().to_stl()))?))
    }

    fn __repr__(&self) -> String {
        format!("<Plush {}: {}>", self.0.seed(), self.0.caption(Language::En))
    }
}

/// Renders pictures of many plushes: n x size x size x 3.
#[pyfunction]
#[pyo3(signature = (seeds, views, *, size = 224, scene = "everyday", threads = None))]
fn render_plushes<'py>(
    py: Python<'py>,
    seeds: Vec<u64>,
    views: Vec<u64>,
    size: usize,
    scene: &str,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray4<u8>>> {
    let scene = SceneKind::parse(scene)?;
    let n = seeds.len();
    let pixels = detached(py, || plush::render_many(&seeds, &views, scene, size, threads))?;
    let array = Array4::from_shape_vec((n, size, size, 3), pixels).expect("n * size * size * 3 bytes");
    Ok(array.into_pyarray(py))
}

/// Returns the words of every attribute value: {attribute: {value: {language: word}}}.
#[pyfunction]
fn plush_words(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let words = PyDict::new(py);
    for (attribute, values) in plush::vocabulary::words() {
        let table = PyDict::new(py);
        for (tag, texts) in values {
            let row = PyDict::new(py);
            for (language, text) in Language::ALL.into_iter().zip(texts) {
                row.set_item(language.tag(), text)?;
            }
            table.set_item(tag, row)?;
        }
        words.set_item(attribute, table)?;
    }
    Ok(words)
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Plush>()?;
    module.add_function(wrap_pyfunction!(render_plushes, module)?)?;
    module.add_function(wrap_pyfunction!(plush_words, module)?)
}
