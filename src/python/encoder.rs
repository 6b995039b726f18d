//! `_core.Encoder`: pictures and texts to numpy arrays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use numpy::PyArray2;
use pyo3::prelude::*;

use crate::encoder;
use crate::error::Error;
use crate::model::Model;
use crate::service::{self, Address};

use super::convert;
use super::error::warn_unread;
use super::{detached, patient};

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
    #[pyo3(signature = (
        model, *, runtime, threads=None, manifest=None, device=None, precision=None, max_batch=None, service=None,
        facts=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python callers name them")]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        runtime: PathBuf,
        threads: Option<usize>,
        manifest: Option<&str>,
        device: Option<&str>,
        precision: Option<&str>,
        max_batch: Option<usize>,
        service: Option<PyService>,
        facts: Option<&str>,
    ) -> PyResult<Self> {
        let service = service.map(PyService::options).transpose()?;
        // Networks of gigabytes are read first, and Ctrl-C must not wait for that.
        let encoder = patient(py, usize::MAX, || {
            let device = device.map(str::parse).transpose()?.unwrap_or_default();
            let precision = precision.map(str::parse).transpose()?;
            encoder::load_runtime(&runtime)?;
            let model = match service {
                Some(_) => Model::without_networks(&model, manifest, facts)?,
                None => open_model(&model, manifest)?,
            };
            let options = encoder::Options { threads, device, precision, max_batch, service };
            encoder::Encoder::open(model, &options)
        });
        Ok(Self(Arc::new(encoder?)))
    }

    #[staticmethod]
    #[pyo3(signature = (service, *, name=None, threads=None))]
    fn of_service(py: Python<'_>, service: PyService, name: Option<&str>, threads: Option<usize>) -> PyResult<Self> {
        let service = Some(service.options()?);
        let options = encoder::Options { threads, service, ..encoder::Options::default() };
        Ok(Self(Arc::new(detached(py, || encoder::Encoder::of_service(name, &options))?)))
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
    fn device(&self) -> String {
        self.0.device().to_string()
    }

    #[getter]
    fn precision(&self) -> Option<String> {
        self.0.precision().map(|precision| precision.to_string())
    }

    #[getter]
    fn max_batch(&self) -> Option<usize> {
        self.0.max_batch()
    }

    #[getter]
    fn fallback(&self) -> Option<&str> {
        self.0.fallback()
    }

    #[getter]
    fn outputs(&self) -> HashMap<&'static str, (&str, &str)> {
        let towers = ["image", "text"].into_iter().zip(self.0.outputs());
        towers.filter_map(|(tower, output)| Some((tower, output?))).collect()
    }

    fn encode_images<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        convert::array(py, convert::encoded(py, images, |sources| self.0.images(sources))?)
    }

    fn encode_texts<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (texts, _) = convert::texts(texts)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (vectors, unread) = patient(py, texts.len(), || {
            let vectors = self.0.texts(&texts)?;
            Ok((vectors, self.0.unread(&texts)))
        })?;
        warn_unread(py, self.0.model().name(), &unread, 1)?;
        convert::array(py, vectors)
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

/// Where networks run that do not run here, and how they are called.
#[derive(FromPyObject)]
pub(super) struct PyService {
    image: Option<String>,
    text: Option<String>,
    timeout: f64,
    retries: u32,
    batch: usize,
    requests: usize,
}

impl PyService {
    fn options(self) -> Result<encoder::Service, Error> {
        let address = |text: Option<String>| text.as_deref().map(Address::parse).transpose();
        let timeout = Duration::try_from_secs_f64(self.timeout)
            .map_err(|_| Error::argument("timeout must be more than 0 s, and at most a day"))?;
        let Self { retries, batch, requests, .. } = self;
        let options = service::Options { timeout, retries, batch, requests };
        Ok(encoder::Service { image: address(self.image)?, text: address(self.text)?, options })
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
