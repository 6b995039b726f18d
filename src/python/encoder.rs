//! `_core.Encoder`: pictures and texts to numpy arrays.

mod object;
mod transport;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray, PyArray2, PyArray4, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use serde_json::json;

use crate::encoder;
use crate::encoder::{Encode, Looks, Options, image_vectors};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::render::studio::VIEWS;

use super::convert;
use super::error::warn_unread;
use super::{detached, patient};

/// A model that is ready to encode. In a process that was forked from the one where it was opened, it opens itself again
/// when it is first used.
#[pyclass(frozen, name = "Encoder", module = "plushie_search._core")]
pub(super) struct PyEncoder {
    origin: Origin,
    /// Locked only while attached to the interpreter, as the thread is that forks: no child finds it locked.
    opened: Mutex<Opened>,
}

#[derive(Clone)]
struct Opened {
    process: u32,
    encoder: Arc<dyn Encode>,
    /// The same if it was opened from a model directory.
    own: Option<Arc<encoder::Encoder>>,
}

impl Opened {
    fn own(encoder: encoder::Encoder) -> Self {
        let encoder = Arc::new(encoder);
        Self { process: std::process::id(), encoder: encoder.clone(), own: Some(encoder) }
    }
}

/// All that it takes to open an encoder.
enum Origin {
    Directory {
        path: PathBuf,
        runtime: PathBuf,
        manifest: Option<String>,
        facts: Option<String>,
        options: Box<Options>,
    },
    Object {
        object: Py<PyAny>,
        threads: Option<usize>,
    },
}

impl Origin {
    fn open(&self, py: Python<'_>) -> PyResult<Opened> {
        // Networks of gigabytes are read first, and Ctrl-C must not wait for that.
        match self {
            Self::Directory { path, runtime, manifest, facts, options } => patient(py, usize::MAX, || {
                encoder::load_runtime(runtime)?;
                let model = match options.service {
                    _ if options.without_networks => {
                        Model::without_networks(path, manifest.as_deref(), facts.as_deref())?
                    }
                    Some(_) => Model::without_networks(path, manifest.as_deref(), facts.as_deref())?,
                    None => open_model(path, manifest.as_deref())?,
                };
                Ok(Opened::own(encoder::Encoder::open(model, options)?))
            }),
            Self::Object { object, threads } => {
                let encoder = object::encoder(object.bind(py), *threads)?;
                Ok(Opened { process: std::process::id(), encoder, own: None })
            }
        }
    }
}

impl PyEncoder {
    fn new(py: Python<'_>, origin: Origin) -> PyResult<Self> {
        let opened = origin.open(py)?;
        Ok(Self { origin, opened: Mutex::new(opened) })
    }

    fn lock(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The encoder as it was opened here or in the process before a fork: to be asked about itself.
    fn encoder(&self) -> Arc<dyn Encode> {
        Arc::clone(&self.lock().encoder)
    }

    fn own(&self) -> Option<Arc<encoder::Encoder>> {
        self.lock().own.clone()
    }

    /// The encoder of a model directory.
    fn described(&self) -> PyResult<Arc<encoder::Encoder>> {
        let name = || self.encoder().about().name.clone();
        Ok(self.own().ok_or_else(|| Error::model(name(), "prepares pictures and texts in its own way"))?)
    }

    /// The encoder, opened in this process.
    pub(super) fn share(&self, py: Python<'_>) -> PyResult<Arc<dyn Encode>> {
        let here = std::process::id();
        let known = self.lock().clone();
        if known.process == here {
            return Ok(known.encoder);
        }
        // Its threads did not come along: to join them would take for ever.
        std::mem::forget(known);
        let again = self.origin.open(py)?;
        let mut opened = self.lock();
        if opened.process != here {
            *opened = again;
        }
        Ok(Arc::clone(&opened.encoder))
    }
}

impl Drop for PyEncoder {
    fn drop(&mut self) {
        let opened = self.lock().clone();
        if opened.process != std::process::id() {
            std::mem::forget(opened);
        }
    }
}

#[pymethods]
impl PyEncoder {
    #[new]
    #[pyo3(signature = (
        model, *, runtime, threads=None, manifest=None, device=None, precision=None, max_batch=None, service=None,
        facts=None, cache=None, networks=true
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python callers name them")]
    fn py_new(
        py: Python<'_>,
        model: PathBuf,
        runtime: PathBuf,
        threads: Option<usize>,
        manifest: Option<String>,
        device: Option<&str>,
        precision: Option<&str>,
        max_batch: Option<usize>,
        service: Option<PyService<'_>>,
        facts: Option<String>,
        cache: Option<usize>,
        networks: bool,
    ) -> PyResult<Self> {
        let service = service.map(PyService::options).transpose()?;
        let device = device.map(str::parse).transpose()?.unwrap_or_default();
        let precision = precision.map(str::parse).transpose()?;
        let without_networks = !networks;
        let options = Options { threads, device, precision, max_batch, service, without_networks, cache };
        Self::new(py, Origin::Directory { path: model, runtime, manifest, facts, options: Box::new(options) })
    }

    #[staticmethod]
    #[pyo3(signature = (object, *, threads=None))]
    fn of_object(py: Python<'_>, object: Py<PyAny>, threads: Option<usize>) -> PyResult<Self> {
        Self::new(py, Origin::Object { object, threads })
    }

    #[getter]
    fn name(&self) -> String {
        self.encoder().about().name.clone()
    }

    #[getter]
    fn directory(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Directory { path, .. } => Some(path),
            Origin::Object { .. } => None,
        }
    }

    #[getter]
    fn dim(&self) -> usize {
        self.encoder().about().dim
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.encoder().about().fingerprint.clone()
    }

    #[getter]
    fn manifest(&self) -> String {
        let encoder = self.encoder();
        let about = encoder.about();
        let brief = || {
            json!({
                "name": about.name,
                "version": about.version,
                "dimension": about.dim,
                "languages": about.languages,
            })
        };
        self.own().map_or_else(|| brief().to_string(), |own| own.model().manifest())
    }

    #[getter]
    fn threads(&self) -> usize {
        self.encoder().workers().current_num_threads()
    }

    #[getter]
    fn device(&self) -> String {
        self.encoder().about().device.clone()
    }

    #[getter]
    fn precision(&self) -> Option<String> {
        self.encoder().about().precision.clone()
    }

    #[getter]
    fn max_batch(&self) -> Option<usize> {
        self.own()?.max_batch()
    }

    #[getter]
    fn fallback(&self) -> Option<String> {
        self.own()?.fallback().map(str::to_owned)
    }

    #[getter]
    fn outputs(&self) -> HashMap<&'static str, (String, String)> {
        let owned = |(from, output): (&str, &str)| (from.to_owned(), output.to_owned());
        let encoder = self.encoder();
        let towers = ["image", "text"].into_iter().zip(encoder.outputs());
        towers.filter_map(|(tower, output)| Some((tower, owned(output?)))).collect()
    }

    fn encode_images<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (encoder, looks) = (self.share(py)?, Looks { crops: false, views: VIEWS });
        convert::array(py, convert::encoded(py, images, |sources| image_vectors(&*encoder, sources, looks))?)
    }

    fn encode_texts<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let encoder = self.share(py)?;
        let (texts, _) = convert::texts(texts)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (vectors, unread) = patient(py, texts.len(), || {
            let vectors = encoder.texts(&texts)?;
            Ok((vectors, encoder.unread(&texts)))
        })?;
        warn_unread(py, &encoder.about().name, &unread, 1)?;
        convert::array(py, vectors)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("an Encoder cannot be pickled or copied: open it again by open_encoder"))
    }

    fn preprocess_images<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray4<f32>>> {
        let encoder = self.described()?;
        let (sources, _) = convert::images(images)?;
        let (tensors, (height, width)) = patient(py, sources.len(), || encoder.preprocess_images(&sources))?;
        tensors.into_pyarray(py).reshape([sources.len(), 3, height, width])
    }

    fn tokenize<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
    ) -> PyResult<HashMap<&'static str, Bound<'py, PyArray2<i64>>>> {
        let encoder = self.described()?;
        let (texts, _) = convert::texts(texts)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = detached(py, || encoder.tokenize(&texts))?;
        let array = |numbers: Vec<i64>| numbers.into_pyarray(py).reshape([tokens.rows, tokens.columns]);
        Ok(HashMap::from([("input_ids", array(tokens.ids)?), ("attention_mask", array(tokens.mask)?)]))
    }

    fn __repr__(&self) -> String {
        let encoder = self.encoder();
        let about = encoder.about();
        let (name, version, dim) = (&about.name, &about.version, about.dim);
        let threads = encoder.workers().current_num_threads();
        format!("Encoder({name:?}, version={version:?}, dim={dim}, threads={threads})")
    }
}

/// The networks that run on servers, and what the servers are asked first.
#[derive(FromPyObject)]
pub(super) struct PyService<'py> {
    image: Option<Bound<'py, PyAny>>,
    text: Option<Bound<'py, PyAny>>,
    picture: Bound<'py, PyAny>,
    words: String,
}

impl PyService<'_> {
    fn options(self) -> PyResult<encoder::Service> {
        let image = self.image.as_ref().map(transport::transport).transpose()?;
        let text = match (&self.image, &self.text, &image) {
            (Some(one), Some(other), Some(image)) if one.is(other) => Some(Arc::clone(image)),
            (_, text, _) => text.as_ref().map(transport::transport).transpose()?,
        };
        let question = encoder::Question { picture: convert::source(&self.picture, "probe")?, text: self.words };
        Ok(encoder::Service { image, text, question })
    }
}

/// The model in a directory, described by a manifest in it or by one that is given.
fn open_model(dir: &Path, manifest: Option<&str>) -> Result<Model> {
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
