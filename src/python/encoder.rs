//! `_core.Encoder`: pictures and texts to numpy arrays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use numpy::PyArray2;
use pyo3::prelude::*;

use crate::encoder;
use crate::model::Model;

use super::convert;
use super::detached;

/// A model that is ready to encode.
#[pyclass(frozen, name = "Encoder", module = "plushie_search._core")]
pub(super) struct PyEncoder(Arc<encoder::Encoder>);

impl PyEncoder {
    pub(super) fn share(&self) -> Arc<encoder::Encoder> {
        Arc::clone(&self.0)
    }
}

#[pymethods]
impl PyEncoder {
    #[new]
    #[pyo3(signature = (model, *, runtime, threads=None, manifest=None))]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        runtime: PathBuf,
        threads: Option<usize>,
        manifest: Option<&str>,
    ) -> PyResult<Self> {
        let encoder = detached(py, || {
            encoder::load_runtime(&runtime)?;
            encoder::Encoder::open(open_model(&model, manifest)?, &encoder::Options { threads })
        });
        Ok(Self(Arc::new(encoder?)))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.model().name()
    }

    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.0.model().fingerprint()
    }

    #[getter]
    fn manifest(&self) -> String {
        self.0.model().manifest()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.0.threads()
    }

    #[getter]
    fn outputs(&self) -> HashMap<&'static str, (&str, &str)> {
        let towers = ["image", "text"].into_iter().zip(self.0.outputs());
        towers.filter_map(|(tower, output)| Some((tower, output?))).collect()
    }

    fn encode_images<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (sources, _) = convert::images(images)?;
        convert::array(py, detached(py, || self.0.images(&sources))?)
    }

    fn encode_texts<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (texts, _) = convert::texts(texts)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        convert::array(py, detached(py, || self.0.texts(&texts))?)
    }

    fn __repr__(&self) -> String {
        let model = self.0.model();
        format!(
            "Encoder({:?}, version={:?}, dim={}, threads={})",
            model.name(),
            model.version(),
            model.dim(),
            self.0.threads()
        )
    }
}

/// The model in a directory, described by a manifest in it or by one that is given.
fn open_model(dir: &Path, manifest: Option<&str>) -> crate::Result<Model> {
    match manifest {
        Some(manifest) => Model::with_manifest(dir, manifest),
        None => Model::open(dir),
    }
}

/// Opens the ONNX Runtime library for this process.
#[pyfunction]
fn load_runtime(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    detached(py, || encoder::load_runtime(&path))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyEncoder>()?;
    module.add_function(wrap_pyfunction!(load_runtime, module)?)
}
