//! `_core.Engine`: an open catalog.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use numpy::PyArray2;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyTuple};

use crate::engine::{Draft, Engine, Hit, Prepared, Search};
use crate::error::{Error, Result};
use crate::ingest::in_memory;
use crate::picture::Source;
use crate::query::Query;
use crate::store::{Access, Item, Update};
use crate::vectors::Vectors;

use super::convert;
use super::encoder::PyEncoder;
use super::error::{argument, warn_unread};
use super::ingest;
use super::json;
use super::vectors::{Matrix, many, matrix};
use super::{detached, patient, waiting};

/// An open catalog; `plushie_search.Engine` is its public face.
#[pyclass(frozen, name = "Engine", module = "plushie_search._core")]
pub(super) struct PyEngine {
    engine: RwLock<Option<Arc<Engine>>>,
    path: PathBuf,
    process: u32,
}

impl PyEngine {
    fn open(&self) -> PyResult<Arc<Engine>> {
        if std::process::id() != self.process {
            return Err(PyRuntimeError::new_err(
                "this engine was opened before a fork and its threads and files did not come along: open it again here",
            ));
        }
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.clone().ok_or_else(|| argument("this engine is closed: open the catalog again"))
    }
}

impl Drop for PyEngine {
    fn drop(&mut self) {
        // Its threads did not come along through a fork: what joins them would wait for ever.
        if std::process::id() != self.process {
            std::mem::forget(self.engine.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// The rows of one result: (item, score, reference, label, metadata).
type Rows<'py> = Vec<Bound<'py, PyTuple>>;
/// The parts of a query, each with its weight.
type Weighted<T> = Vec<(T, f32)>;

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (path, encoders, *, create=true, read_only=false, busy_timeout=30.0))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        encoders: Vec<Bound<'_, PyEncoder>>,
        create: bool,
        read_only: bool,
        busy_timeout: f64,
    ) -> PyResult<Self> {
        let encoders = encoders.iter().map(|encoder| encoder.get().share()).collect();
        let patience = Duration::try_from_secs_f64(busy_timeout);
        let patience =
            patience.map_err(|_| argument(format!("busy_timeout {busy_timeout}: give seconds, 0 or more")))?;
        let access = Access { create, read_only, patience };
        let engine = waiting(py, || Engine::open(&path, encoders, &access))?;
        Ok(Self { engine: RwLock::new(Some(Arc::new(engine))), path, process: std::process::id() })
    }

    #[getter]
    fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    #[getter]
    fn models(&self) -> PyResult<Vec<String>> {
        Ok(self.open()?.names().into_iter().map(str::to_owned).collect())
    }

    #[getter]
    fn image_model(&self) -> PyResult<Option<String>> {
        Ok(self.open()?.image_encoder(None).ok().map(|encoder| encoder.model().name().to_owned()))
    }

    #[getter]
    fn text_model(&self) -> PyResult<Option<String>> {
        Ok(self.open()?.text_encoder(None).ok().map(|encoder| encoder.model().name().to_owned()))
    }

    #[pyo3(signature = (id, images, *, label=None, metadata=None, text=None))]
    fn add(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        images: &Bound<'_, PyAny>,
        label: Option<&Bound<'_, PyAny>>,
        metadata: Option<&Bound<'_, PyAny>>,
        text: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(usize, usize)> {
        let engine = self.open()?;
        let bare = draft(id, label, metadata, text)?;
        let mut pictures = convert::pictures(images)?.0.into_iter().peekable();
        let mut prepared: Option<Prepared> = None;
        while prepared.is_none() || pictures.peek().is_some() {
            py.check_signals()?;
            let part = Draft { sources: convert::group(&mut pictures)?, ..bare.clone() };
            let part = waiting(py, || engine.prepare_whole(part))?;
            match &mut prepared {
                Some(prepared) => prepared.extend(part),
                None => prepared = Some(part),
            }
        }
        let prepared = prepared.expect("the first group is prepared even if it is empty");
        let added = waiting(py, || engine.commit(prepared))?;
        Ok((added.references, added.duplicates))
    }

    #[pyo3(signature = (folder, *, progress=None))]
    fn add_folder<'py>(
        &self,
        py: Python<'py>,
        folder: PathBuf,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        ingest::add_folder(py, &*self.open()?, folder, progress)?.into_pyobject(py)
    }

    #[pyo3(signature = (items, *, listed=false, total=None, progress=None))]
    fn add_items<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        listed: bool,
        total: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        ingest::add_rows(py, &*self.open()?, items, listed, total, progress)?.into_pyobject(py)
    }

    fn update(&self, py: Python<'_>, id: &Bound<'_, PyAny>, changes: &Bound<'_, PyDict>) -> PyResult<()> {
        let engine = self.open()?;
        let id = json::to_text(id, "id")?;
        let text = |key| changes.get_item(key)?.map(|value| json::to_optional_text(&value, key)).transpose();
        let (label, description) = (text("label")?, text("text")?);
        let metadata = changes.get_item("metadata")?.map(|value| json::to_object(&value, "metadata")).transpose()?;
        let update = Update {
            label: label.as_ref().map(Option::as_deref),
            text: description.as_ref().map(Option::as_deref),
            metadata: metadata.as_ref().map(Option::as_ref),
        };
        waiting(py, || engine.update(&id, &update))
    }

    fn remove(&self, py: Python<'_>, ids: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let engine = self.open()?;
        let ids = texts_of(&ids)?;
        waiting(py, || engine.remove(&ids))
    }

    fn add_vectors(
        &self,
        py: Python<'_>,
        ids: Vec<Bound<'_, PyAny>>,
        vectors: Vec<(Option<String>, Bound<'_, PyAny>)>,
    ) -> PyResult<(usize, usize)> {
        let engine = self.open()?;
        let ids = texts_of(&ids)?;
        let parts = vectors.into_iter().map(|(model, array)| {
            let what = model.as_ref().map_or("vectors".to_owned(), |model| format!("vectors[{model:?}]"));
            Ok((model, many(&array, &what)?))
        });
        let parts = parts.collect::<PyResult<Vec<_>>>()?;
        let added = waiting(py, || {
            let name = |row| match ids.get(row) {
                Some(id) => format!("vector {row} (item {id:?})"),
                None => format!("vector {row}"),
            };
            let unit = |(model, part): (_, Matrix)| {
                // No rows have any dimension.
                let dim = if part.rows == 0 { part.dim.max(1) } else { part.dim };
                Ok((model, Vectors::normalize_named(dim, part.data, name)?))
            };
            engine.add_vectors(&ids, &parts.into_iter().map(unit).collect::<Result<Vec<_>>>()?)
        })?;
        Ok((added.references, added.duplicates))
    }

    fn get<'py>(&self, py: Python<'py>, id: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let engine = self.open()?;
        let id = json::to_text(id, "id")?;
        item_row(py, &detached(py, || engine.get(&id))?)
    }

    #[pyo3(signature = (id, *, model=None))]
    fn vectors<'py>(
        &self,
        py: Python<'py>,
        id: &Bound<'py, PyAny>,
        model: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let engine = self.open()?;
        let id = json::to_text(id, "id")?;
        convert::array(py, detached(py, || engine.vectors(&id, model))?)
    }

    #[pyo3(signature = (*, r#where=None, limit=None, offset=0))]
    fn items<'py>(
        &self,
        py: Python<'py>,
        r#where: Option<&Bound<'py, PyAny>>,
        limit: Option<usize>,
        offset: usize,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let engine = self.open()?;
        let filter = r#where.map(|object| json::to_value(object, "where")).transpose()?;
        let items = detached(py, || engine.items(filter.as_ref(), offset, limit))?;
        items.iter().map(|item| item_row(py, item)).collect()
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let engine = self.open()?;
        detached(py, || engine.len())
    }

    /// Of what can be no id, there is none.
    fn contains(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let engine = self.open()?;
        let Ok(id) = json::to_text(id, "id") else { return Ok(false) };
        detached(py, || engine.contains(&id))
    }

    #[pyo3(signature = (image, *, k=5, r#where=None, min_score=None, model=None))]
    fn search_image<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        k: i64,
        r#where: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        model: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(bool, Vec<Rows<'py>>)> {
        let (pictures, single) = convert::pictures(image)?;
        let queries = pictures.iter().map(|(name, picture)| Ok(sized(convert::source(picture, name)?, Query::image)));
        Ok((single, self.answer(py, queries, search(k, r#where, min_score, model)?)?))
    }

    #[pyo3(signature = (text, *, k=5, r#where=None, min_score=None, model=None))]
    fn search_text<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        k: i64,
        r#where: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        model: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(bool, Vec<Rows<'py>>)> {
        let (texts, single) = convert::texts(text)?;
        let queries = texts.into_iter().map(|text| Ok((0, Query::text(text))));
        Ok((single, self.answer(py, queries, search(k, r#where, min_score, model)?)?))
    }

    #[pyo3(signature = (image, text, *, image_weight=0.6, k=5, r#where=None, min_score=None, model=None))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn search_hybrid<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        text: &Bound<'py, PyAny>,
        image_weight: f32,
        k: i64,
        r#where: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        model: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(bool, Vec<Rows<'py>>)> {
        let (pictures, single) = convert::pictures(image)?;
        let (texts, single_text) = convert::texts(text)?;
        if single != single_text || pictures.len() != texts.len() {
            return Err(argument(format!(
                "a hybrid search takes one picture and one text, or lists of the same length; got {} and {}",
                if single { "one picture".to_owned() } else { format!("{} pictures", pictures.len()) },
                if single_text { "one text".to_owned() } else { format!("{} texts", texts.len()) },
            )));
        }
        let queries = pictures.iter().zip(texts).map(|((name, picture), text)| {
            let (bytes, query) =
                sized(convert::source(picture, name)?, |source| Query::hybrid(source, text, image_weight));
            Ok((bytes, query?))
        });
        Ok((single, self.answer(py, queries, search(k, r#where, min_score, model)?)?))
    }

    #[pyo3(signature = (queries, *, k=5, r#where=None, min_score=None, model=None))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyList>,
        k: i64,
        r#where: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        model: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Rows<'py>>> {
        let queries = queries.iter().map(|query| {
            let (images, texts): (Weighted<Bound<'_, PyAny>>, Weighted<String>) = query.extract()?;
            let images = images.iter().map(|(image, weight)| Ok((convert::image(image)?, *weight)));
            let images = images.collect::<PyResult<Vec<_>>>()?;
            let bytes = images.iter().map(|(image, _)| in_memory(image)).sum();
            Ok((bytes, Query::new(images, texts)?))
        });
        self.answer(py, queries, search(k, r#where, min_score, model)?)
    }

    #[pyo3(signature = (vector, *, k=5, r#where=None, min_score=None, model=None))]
    fn search_vector<'py>(
        &self,
        py: Python<'py>,
        vector: &Bound<'py, PyAny>,
        k: i64,
        r#where: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        model: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(bool, Vec<Rows<'py>>)> {
        let engine = self.open()?;
        let search = search(k, r#where, min_score, model)?;
        let Ok(mapping) = vector.cast::<PyMapping>() else {
            let Matrix { single, dim, data, .. } = matrix(vector, "vector")?;
            let hits = detached(py, || engine.search_vectors(&Vectors::normalize(dim, data)?, &search))?;
            return Ok((single, rows(py, &hits)?));
        };
        let mut single = true;
        let mut parts = Vec::new();
        for item in mapping.items()? {
            let (name, array): (String, Bound<'_, PyAny>) = item.extract()?;
            let part = matrix(&array, &format!("vector[{name:?}]"))?;
            single &= part.single;
            parts.push((name, part.dim, part.data));
        }
        let hits = detached(py, || {
            let unit = |(name, dim, data)| Ok((name, Vectors::normalize(dim, data)?));
            engine.search_vectors_of_each(&parts.into_iter().map(unit).collect::<Result<Vec<_>>>()?, &search)
        })?;
        Ok((single, rows(py, &hits)?))
    }

    #[pyo3(signature = (images, *, model=None))]
    fn encode_images<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        model: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let engine = self.open()?;
        convert::array(py, convert::encoded(py, images, |sources| engine.image_encoder(model)?.images(sources))?)
    }

    #[pyo3(signature = (texts, *, model=None))]
    fn encode_texts<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        model: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let engine = self.open()?;
        let (texts, _) = convert::texts(texts)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (vectors, unread) = patient(py, texts.len(), || {
            let vectors = engine.encode_texts(&texts, model)?;
            let models = [(engine.text_encoder(model)?.model().name().to_owned(), 1.0)];
            Ok((vectors, engine.unreadable(&texts, &models)?))
        })?;
        let unread: Vec<&str> = texts.iter().zip(unread).filter(|(_, bad)| *bad).map(|(text, _)| *text).collect();
        // The line that called `plushie_search.Engine`, not the one in there.
        warn_unread(py, engine.text_encoder(model)?.model().name(), &unread, 2)?;
        convert::array(py, vectors)
    }

    /// For each text, whether all models that look it up know no word of it.
    #[pyo3(signature = (texts, *, model=None))]
    fn unreadable(&self, py: Python<'_>, texts: Vec<String>, model: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<bool>> {
        let engine = self.open()?;
        let models = model.map(models).transpose()?.unwrap_or_default();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        detached(py, || engine.unreadable(&texts, &models))
    }

    /// The keys of the metadata that a filter names and no item has.
    fn unknown_keys(&self, py: Python<'_>, r#where: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let engine = self.open()?;
        let filter = json::to_value(r#where, "where")?;
        detached(py, || engine.unknown_keys(&filter))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.open()?;
        let stats = detached(py, || engine.stats())?;
        json::from_object(py, &stats)
    }

    fn close(&self, py: Python<'_>) {
        let engine = self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        // Closing the database and the sessions takes a while; other threads go on meanwhile.
        py.detach(|| engine.map(Engine::close));
    }

    fn __repr__(&self) -> String {
        match self.open() {
            Ok(engine) => format!("<Engine {} model={}>", self.path.display(), engine.names().join("+")),
            Err(_) => format!("<Engine {} closed>", self.path.display()),
        }
    }
}

impl PyEngine {
    /// Answers queries, each given with the bytes of its pictures in memory, of which no more are converted at a time
    /// than fit into memory well.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        queries: impl Iterator<Item = PyResult<(u64, Query)>>,
        search: Search,
    ) -> PyResult<Vec<Rows<'py>>> {
        let engine = self.open()?;
        let mut queries = queries.peekable();
        let mut answers = Vec::new();
        loop {
            let (mut group, mut bytes) = (Vec::new(), 0);
            while bytes < convert::CONVERTED
                && let Some(next) = queries.next()
            {
                let (size, query) = next?;
                bytes += size;
                group.push(query);
            }
            answers.extend(rows(py, &patient(py, group.len(), || engine.search(&group, &search))?)?);
            if queries.peek().is_none() {
                return Ok(answers);
            }
            py.check_signals()?;
        }
    }
}

/// A query for a picture, and the bytes that this has in memory.
fn sized<T>(source: Source, query: impl FnOnce(Source) -> T) -> (u64, T) {
    (in_memory(&source), query(source))
}

fn search(
    k: i64,
    filter: Option<&Bound<'_, PyAny>>,
    min_score: Option<f32>,
    model: Option<&Bound<'_, PyAny>>,
) -> PyResult<Search> {
    let k = usize::try_from(k).ok().filter(|k| *k > 0);
    let k = k.ok_or_else(|| Error::argument("k must be at least 1"))?;
    let filter = filter.map(|object| json::to_value(object, "where")).transpose()?;
    Ok(Search { k, filter, min_score, models: model.map(models).transpose()?.unwrap_or_default() })
}

/// A name, or weights by name.
fn models(model: &Bound<'_, PyAny>) -> PyResult<Vec<(String, f32)>> {
    if let Ok(name) = model.extract::<String>() {
        return Ok(vec![(name, 1.0)]);
    }
    let Ok(mapping) = model.cast::<PyMapping>() else {
        return Err(PyTypeError::new_err("model takes a name, or a dict with a weight for each name"));
    };
    mapping.items()?.iter().map(|item| item.extract()).collect()
}

/// Ids, which errors call by their places.
fn texts_of(ids: &[Bound<'_, PyAny>]) -> PyResult<Vec<String>> {
    ids.iter().enumerate().map(|(place, id)| json::to_text(id, &format!("id ids[{place}]"))).collect()
}

/// An item without its pictures.
fn draft(
    id: &Bound<'_, PyAny>,
    label: Option<&Bound<'_, PyAny>>,
    metadata: Option<&Bound<'_, PyAny>>,
    text: Option<&Bound<'_, PyAny>>,
) -> PyResult<Draft> {
    let optional = |value: Option<&Bound<'_, PyAny>>, what| {
        value.map(|value| json::to_optional_text(value, what)).transpose().map(Option::flatten)
    };
    Ok(Draft {
        id: json::to_text(id, "id")?,
        label: optional(label, "label")?,
        metadata: metadata.map(|object| json::to_object(object, "metadata")).transpose()?.flatten(),
        text: optional(text, "text")?,
        sources: Vec::new(),
    })
}

fn rows<'py>(py: Python<'py>, batch: &[Vec<Hit>]) -> PyResult<Vec<Rows<'py>>> {
    let row = |hit: &Hit| {
        let entry = &hit.entry;
        (&entry.id, hit.score, &entry.reference, &entry.label, json::from_text(py, &entry.metadata, &entry.id)?)
            .into_pyobject(py)
    };
    batch.iter().map(|hits| hits.iter().map(row).collect()).collect()
}

/// (id, label, text, metadata, [(name, digest)]).
fn item_row<'py>(py: Python<'py>, item: &Item) -> PyResult<Bound<'py, PyTuple>> {
    let references: Vec<(&str, String)> =
        item.references.iter().map(|reference| (reference.name.as_str(), hex(&reference.digest))).collect();
    let metadata = json::from_value(py, &item.metadata)?;
    (&item.id, &item.label, &item.text, metadata, references).into_pyobject(py)
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
