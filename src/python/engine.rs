//! `_core.Engine`: an open catalog.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use numpy::PyArray2;
use pyo3::exceptions::{PyRuntimeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::encoder::{Encode, NoEncoder};
use crate::engine::{
    Cursor, Draft, Engine, EngineOptions, Held, Hit, Identify, IndexOptions, Keep, Member, Memory, Prepared, Reencoded,
    Rows, Search, Small, held,
};
use crate::error::{Error, Result};
use crate::explain::{Activation, Windows};
use crate::ingest::in_memory;
use crate::picture::Source;
use crate::query::Query;
use crate::store::{Access, Moved, Update, Version};
use crate::vectors::Vectors;

use super::calibrate::{self, CalibratedRow, IdentifiedRow};
use super::convert;
use super::encoder::PyEncoder;
use super::error::{argument, warn_unread};
use super::explain;
use super::hit::PyHit;
use super::ingest;
use super::json;
use super::query;
use super::store;
use super::vectors::{Matrix, many};
use super::{detached, patient, waiting};

/// (new references, duplicates, replaced, [(name, note)]).
type AddedRow = (usize, usize, usize, Vec<(String, String)>);

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

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (path, encoders, *, dim, absent, threads, create, read_only, busy_timeout, durability,
        thumbnails, media, crops, views, index, recall, memory, index_device))]
    #[expect(clippy::too_many_arguments, reason = "Python callers name them")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        encoders: Vec<NamedEncoder<'_>>,
        dim: Option<usize>,
        absent: Vec<(String, String, usize)>,
        threads: Option<usize>,
        create: bool,
        read_only: bool,
        busy_timeout: f64,
        durability: &str,
        thumbnails: Option<bool>,
        media: Option<bool>,
        crops: Option<bool>,
        views: Option<usize>,
        index: String,
        recall: Option<f32>,
        memory: Option<f64>,
        index_device: Option<&str>,
    ) -> PyResult<Self> {
        let mut members = members(py, &encoders)?;
        if let Some(dim) = dim {
            let encoder = NoEncoder::new(dim, threads)?;
            members.push(Member { name: encoder.about().name.clone(), encoder: Arc::new(encoder) });
        }
        for (name, fingerprint, dim) in absent {
            let encoder = Arc::new(NoEncoder::of(name.clone(), fingerprint, dim, threads)?);
            members.push(Member { name, encoder });
        }
        let access = Access { create, read_only, patience: seconds(busy_timeout)?, durability: durability.parse()? };
        let thumbnails = match thumbnails {
            None => Small::Auto,
            Some(true) => Small::All,
            Some(false) => Small::None,
        };
        let device = index_device.map(str::parse).transpose()?;
        let index = IndexOptions { index, recall, memory: memory.map(Memory::parse).transpose()?, device };
        let options = EngineOptions { threads, access, keep: Keep { thumbnails, media }, crops, views, index };
        let engine = waiting(py, || Engine::open(&path, members, &options))?;
        tell(py, &engine)?;
        Ok(Self { engine: RwLock::new(Some(Arc::new(engine))), path, process: std::process::id() })
    }

    #[getter]
    fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    #[getter]
    fn migrated(&self) -> PyResult<Option<i64>> {
        Ok(self.open()?.migrated())
    }

    #[getter]
    fn models(&self) -> PyResult<Vec<String>> {
        Ok(self.open()?.names().into_iter().map(str::to_owned).collect())
    }

    #[getter]
    fn image_model(&self) -> PyResult<Option<String>> {
        Ok(self.open()?.defaults()[0].map(str::to_owned))
    }

    #[getter]
    fn text_model(&self) -> PyResult<Option<String>> {
        Ok(self.open()?.defaults()[1].map(str::to_owned))
    }

    #[pyo3(signature = (id, images, *, names=None, label=None, metadata=None, text=None, upsert=false))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn add(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        images: &Bound<'_, PyAny>,
        names: Option<&Bound<'_, PyAny>>,
        label: Option<&Bound<'_, PyAny>>,
        metadata: Option<&Bound<'_, PyAny>>,
        text: Option<&Bound<'_, PyAny>>,
        upsert: bool,
    ) -> PyResult<AddedRow> {
        let engine = self.open()?;
        let bare = Draft { upsert, ..draft(id, label, metadata, text)? };
        let pictures = convert::pictures(images)?.0;
        let mut names = names.map_or_else(|| Ok(VecDeque::new()), |names| convert::names(names, pictures.len()))?;
        let mut pictures = pictures.into_iter().peekable();
        let mut prepared: Option<Prepared> = None;
        while prepared.is_none() || pictures.peek().is_some() {
            py.check_signals()?;
            let name = |source: Source| match names.pop_front().flatten() {
                Some(name) => source.named(name),
                None => Ok(source),
            };
            let sources = convert::group(&mut pictures)?.into_iter().map(name).collect::<Result<Vec<_>>>()?;
            let part = Draft { sources, ..bare.clone() };
            let part = waiting(py, || engine.prepare_whole(part))?;
            match &mut prepared {
                Some(prepared) => prepared.append(part),
                None => prepared = Some(part),
            }
        }
        let prepared = prepared.expect("the first group is prepared even if it is empty");
        let added = waiting(py, || engine.commit(prepared))?;
        tell(py, &engine)?;
        Ok((added.references, added.duplicates, added.replaced, added.notes))
    }

    #[pyo3(signature = (folder, *, progress=None))]
    fn add_folder<'py>(
        &self,
        py: Python<'py>,
        folder: PathBuf,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let engine = self.open()?;
        let report = ingest::add_folder(py, &engine, folder, progress)?;
        tell(py, &engine)?;
        report.into_pyobject(py)
    }

    #[pyo3(signature = (items, *, listed=false, upsert=false, total=None, progress=None))]
    fn add_items<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        listed: bool,
        upsert: bool,
        total: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let engine = self.open()?;
        let report = ingest::add_rows(py, &engine, ingest::Rows::new(items, listed, upsert)?, total, progress)?;
        tell(py, &engine)?;
        report.into_pyobject(py)
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

    fn remove(&self, py: Python<'_>, ids: Vec<Bound<'_, PyAny>>) -> PyResult<usize> {
        let engine = self.open()?;
        let ids = store::ids(&ids)?;
        waiting(py, || engine.remove(&ids))
    }

    fn remove_where(&self, py: Python<'_>, r#where: &Bound<'_, PyAny>) -> PyResult<usize> {
        let engine = self.open()?;
        let filter = json::to_value(r#where, "where")?;
        waiting(py, || engine.remove_where(&filter))
    }

    fn remove_reference(&self, py: Python<'_>, id: &Bound<'_, PyAny>, reference: &str) -> PyResult<usize> {
        let engine = self.open()?;
        let id = json::to_text(id, "id")?;
        waiting(py, || engine.remove_reference(&id, reference))
    }

    #[pyo3(signature = (ids, vectors, *, references=None, digests=None, labels=None, metadata=None, texts=None,
        views=None, by_digest=false))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn add_vectors<'py>(
        &self,
        py: Python<'py>,
        ids: Vec<Bound<'py, PyAny>>,
        vectors: Vec<(Option<String>, Bound<'py, PyAny>)>,
        references: Option<&Bound<'py, PyAny>>,
        digests: Option<&Bound<'py, PyAny>>,
        labels: Option<&Bound<'py, PyAny>>,
        metadata: Option<&Bound<'py, PyAny>>,
        texts: Option<&Bound<'py, PyAny>>,
        views: Option<Vec<i64>>,
        by_digest: bool,
    ) -> PyResult<(usize, usize, usize)> {
        let engine = self.open()?;
        let mut rows = Rows {
            by_digest,
            views: views.unwrap_or_default(),
            ids: store::ids(&ids)?,
            vectors: Vec::new(),
            references: store::column(references, "references", json::to_optional_text)?,
            digests: store::column(digests, "digests", store::to_digest)?,
            labels: store::column(labels, "labels", json::to_optional_text)?,
            metadata: store::column(metadata, "metadata", json::to_object)?,
            texts: store::column(texts, "texts", json::to_optional_text)?,
        };
        let parts = vectors.into_iter().map(|(model, array)| {
            let what = model.as_ref().map_or("vectors".to_owned(), |model| format!("vectors[{model:?}]"));
            Ok((model, many(&array, &what)?))
        });
        let parts = parts.collect::<PyResult<Vec<_>>>()?;
        let added = waiting(py, || {
            let name = |row| match rows.ids.get(row) {
                Some(id) => format!("vector {row} (item {id:?})"),
                None => format!("vector {row}"),
            };
            let unit = |(model, part): (_, Matrix)| {
                // No rows have any dimension.
                let dim = if part.rows == 0 { part.dim.max(1) } else { part.dim };
                Ok((model, Vectors::normalize_named(dim, part.data, name)?))
            };
            rows.vectors = parts.into_iter().map(unit).collect::<Result<_>>()?;
            engine.add_vectors(&rows)
        })?;
        Ok((added.references, added.duplicates, added.replaced))
    }

    /// Keeps the originals of references: files, each with its digest.
    fn keep_files(&self, py: Python<'_>, files: Vec<(PathBuf, Bound<'_, PyAny>)>) -> PyResult<()> {
        let engine = self.open()?;
        let files = store::files(files)?;
        waiting(py, || engine.keep_files(&files))
    }

    /// Calls `told` with all items as they are now, `limit` at a time.
    fn walk(&self, py: Python<'_>, limit: usize, told: &Bound<'_, PyAny>) -> PyResult<()> {
        let engine = self.open()?;
        store::walk(py, &engine, limit, told)
    }

    fn get<'py>(&self, py: Python<'py>, id: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let engine = self.open()?;
        let id = json::to_text(id, "id")?;
        store::item_row(py, &detached(py, || engine.get(&id))?)
    }

    fn get_all<'py>(&self, py: Python<'py>, ids: Vec<Bound<'py, PyAny>>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let engine = self.open()?;
        let ids = store::ids(&ids)?;
        let items = detached(py, || engine.get_all(&ids))?;
        items.iter().map(|item| store::item_row(py, item)).collect()
    }

    #[pyo3(signature = (id, reference=None))]
    fn thumbnail<'py>(
        &self,
        py: Python<'py>,
        id: &Bound<'py, PyAny>,
        reference: Option<&str>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let engine = self.open()?;
        let id = json::to_text(id, "id")?;
        Ok(detached(py, || engine.thumbnail(&id, reference))?.map(|jpeg| PyBytes::new(py, &jpeg)))
    }

    #[pyo3(signature = (id, reference=None))]
    fn original(&self, py: Python<'_>, id: &Bound<'_, PyAny>, reference: Option<&str>) -> PyResult<Option<PathBuf>> {
        let engine = self.open()?;
        let id = json::to_text(id, "id")?;
        detached(py, || engine.original(&id, reference))
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

    /// All references with their vectors.
    #[pyo3(signature = (*, r#where, model))]
    fn gallery<'py>(
        &self,
        py: Python<'py>,
        r#where: Option<&Bound<'py, PyAny>>,
        model: Option<&str>,
    ) -> PyResult<store::GalleryRow<'py>> {
        let engine = self.open()?;
        let filter = r#where.map(|object| json::to_value(object, "where")).transpose()?;
        store::gallery(py, detached(py, || engine.gallery(filter.as_ref(), model))?)
    }

    /// All references with their vectors, and the neighbors of each.
    #[pyo3(signature = (k, *, r#where, model))]
    fn neighbors<'py>(
        &self,
        py: Python<'py>,
        k: usize,
        r#where: Option<&Bound<'py, PyAny>>,
        model: Option<&str>,
    ) -> PyResult<(store::GalleryRow<'py>, store::NeighborsRow<'py>)> {
        let engine = self.open()?;
        let filter = r#where.map(|object| json::to_value(object, "where")).transpose()?;
        let (gallery, found) = patient(py, usize::MAX, || {
            let gallery = engine.gallery(filter.as_ref(), model)?;
            let found = engine.neighbors(&gallery, k)?;
            Ok((gallery, found))
        })?;
        Ok((store::gallery(py, gallery)?, store::neighbors(py, found, k)?))
    }

    /// The sequence number of the last change of a vector, and a number of the last change of any kind.
    fn position(&self, py: Python<'_>) -> PyResult<(i64, Option<(i64, i64)>)> {
        let engine = self.open()?;
        let (sequence, version) = detached(py, || engine.position())?;
        Ok((sequence, version.map(Version::numbers)))
    }

    #[pyo3(signature = (*, r#where, limit, offset))]
    fn items<'py>(
        &self,
        py: Python<'py>,
        r#where: Option<&Bound<'py, PyAny>>,
        limit: Option<query::Whole>,
        offset: query::Whole,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let engine = self.open()?;
        let filter = r#where.map(|object| json::to_value(object, "where")).transpose()?;
        let items = detached(py, || engine.items(filter.as_ref(), offset.count(), limit.map(query::Whole::count)))?;
        items.iter().map(|item| store::item_row(py, item)).collect()
    }

    /// The next items after a row, and the row of the last of them.
    #[pyo3(signature = (after, limit, *, r#where=None))]
    fn items_after<'py>(
        &self,
        py: Python<'py>,
        after: query::Whole,
        limit: query::Whole,
        r#where: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(i64, Vec<Bound<'py, PyTuple>>)> {
        let engine = self.open()?;
        let filter = r#where.map(|object| json::to_value(object, "where")).transpose()?;
        let (after, limit) = (after.number(), limit.count());
        let items = detached(py, || engine.items_after(filter.as_ref(), after, limit))?;
        let last = items.last().map_or(after, |item| item.row);
        Ok((last, items.iter().map(|item| store::item_row(py, item)).collect::<PyResult<_>>()?))
    }

    #[pyo3(signature = (*, r#where=None))]
    fn count(&self, py: Python<'_>, r#where: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        let engine = self.open()?;
        let filter = r#where.map(|object| json::to_value(object, "where")).transpose()?;
        detached(py, || engine.count(filter.as_ref()))
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

    #[pyo3(signature = (queries, *, k, after, r#where, min_score, exclude, mmr, models, fusion, rrf_k, aggregate, temperature,
        query_crops, expand, words, nprobe, ef_search, k_factor, vectors))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyList>,
        k: query::Whole,
        after: Option<&str>,
        r#where: Option<&Bound<'_, PyAny>>,
        min_score: Option<f32>,
        exclude: Option<&Bound<'_, PyAny>>,
        mmr: Option<f32>,
        models: Option<&Bound<'_, PyAny>>,
        fusion: &str,
        rrf_k: f32,
        aggregate: &str,
        temperature: f32,
        query_crops: bool,
        expand: Option<&Bound<'_, PyAny>>,
        words: Option<&Bound<'_, PyAny>>,
        nprobe: Option<query::Whole>,
        ef_search: Option<query::Whole>,
        k_factor: Option<f32>,
        vectors: bool,
    ) -> PyResult<FoundRow> {
        let k = Some(k.count()).filter(|k| *k > 0);
        let search = Search {
            k: k.ok_or_else(|| Error::argument("k must be at least 1"))?,
            after: after.map(Cursor::parse).transpose()?,
            filter: r#where.map(|object| json::to_value(object, "where")).transpose()?,
            min_score,
            exclude: exclude.map(|ids| query::ids(ids, "exclude")).transpose()?.unwrap_or_default(),
            mmr,
            models: models.map(query::models).transpose()?.unwrap_or_default(),
            fusion: query::fusion(fusion, rrf_k)?,
            aggregate: query::aggregate(aggregate, temperature)?,
            query_crops,
            expand: query::expand(expand)?,
            words: query::words(words)?,
            effort: query::effort(nprobe, ef_search, k_factor)?,
            vectors,
        };
        let engine = self.open()?;
        let count = queries.len();
        search.check(count)?;
        let before = search.after.map_or(0, |after| after.seen());
        let mut queries = queries.iter().enumerate().peekable();
        let mut answers = Vec::with_capacity(count);
        let (mut encoding, mut searching) = (Duration::ZERO, Duration::ZERO);
        loop {
            // No more pictures are converted at a time than fit into memory well.
            let (mut group, mut bytes) = (Vec::new(), 0);
            while bytes < convert::CONVERTED
                && let Some((number, query)) = queries.next()
            {
                let parts = query::parts(&query, if count == 1 { None } else { Some(number) })?;
                bytes += parts.images.iter().map(|(image, _)| in_memory(image)).sum::<u64>();
                group.push(Query::new(parts)?);
            }
            let found = patient(py, group.len(), || engine.search(&group, &search))?;
            let hits = |hits: Vec<Hit>| (before..).zip(hits).map(|(place, hit)| PyHit::new(place, hit)).collect();
            answers.extend(found.hits.into_iter().map(hits));
            encoding += found.encoding;
            searching += found.searching;
            if queries.peek().is_none() {
                // Scores of a batch may differ from those of a query alone in their last bits.
                let cursor = found.cursors.into_iter().flatten().next().filter(|_| count == 1);
                tell(py, &engine)?;
                return Ok((
                    answers,
                    cursor.map(|cursor| cursor.text()),
                    encoding.as_secs_f64(),
                    searching.as_secs_f64(),
                ));
            }
            py.check_signals()?;
        }
    }

    #[pyo3(signature = (queries, *, target_fpr, prior, k, r#where, models, query_crops))]
    #[allow(clippy::too_many_arguments)] // Python's keywords
    fn identify(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyList>,
        target_fpr: f64,
        prior: f64,
        k: query::Whole,
        r#where: Option<&Bound<'_, PyAny>>,
        models: Option<&Bound<'_, PyAny>>,
        query_crops: bool,
    ) -> PyResult<Vec<IdentifiedRow>> {
        let k = k.count();
        let filter = r#where.map(|object| json::to_value(object, "where")).transpose()?;
        let models = models.map(query::models).transpose()?.unwrap_or_default();
        let options = Identify { target_fpr, prior, k, filter, models, query_crops };
        let engine = self.open()?;
        let queries = calibrate::queries(queries)?;
        let found = patient(py, queries.len(), || engine.identify(&queries, &options))?;
        Ok(found.into_iter().map(calibrate::identified).collect())
    }

    /// The calibration of the cosines of pictures, as JSON that `judge` takes.
    #[pyo3(signature = (*, models=None))]
    fn fit_of_pictures(&self, py: Python<'_>, models: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
        let models = models.map(query::models).transpose()?.unwrap_or_default();
        let engine = self.open()?;
        let fit = detached(py, || engine.fit_of_pictures(&models))?;
        serde_json::to_string(&fit).map_err(|error| super::error::argument(format!("calibration: {error}")))
    }

    #[pyo3(signature = (queries, labels, *, models))]
    fn calibrate(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyList>,
        labels: Vec<Option<Bound<'_, PyAny>>>,
        models: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<CalibratedRow> {
        let engine = self.open()?;
        let label = |label: Option<Bound<'_, PyAny>>| label.map(|id| json::to_text(&id, "item")).transpose();
        let labels = labels.into_iter().map(label).collect::<PyResult<Vec<_>>>()?;
        let queries: Vec<_> = calibrate::queries(queries)?.into_iter().zip(labels).collect();
        let scope = calibrate::scope(models)?;
        Ok(calibrate::calibrated(patient(py, queries.len(), || engine.calibrate(&queries, &scope))?))
    }

    /// Identifies pictures by a map: that of all items, and that of the other parts for each part of them.
    #[pyo3(signature = (whole, parts, items, *, model))]
    fn adapt(
        &self,
        py: Python<'_>,
        whole: calibrate::MapRow,
        parts: Vec<calibrate::MapRow>,
        items: Vec<(String, usize)>,
        model: Option<&str>,
    ) -> PyResult<CalibratedRow> {
        let engine = self.open()?;
        let given = calibrate::adapting(whole, parts, items)?;
        Ok(calibrate::calibrated(patient(py, usize::MAX, || engine.adapt(model, &given))?))
    }

    /// Forgets the map, and says whether there was one.
    #[pyo3(signature = (*, model))]
    fn forget_adapter(&self, py: Python<'_>, model: Option<&str>) -> PyResult<bool> {
        let engine = self.open()?;
        patient(py, usize::MAX, || engine.forget_adapter(model))
    }

    #[pyo3(signature = (images, *, model=None))]
    fn encode_images<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        model: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let engine = self.open()?;
        convert::array(py, convert::encoded(py, images, |sources| engine.encode_images(sources, model))?)
    }

    /// The windows of a picture, and their vectors.
    #[pyo3(signature = (image, *, detail, model))]
    fn windows<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        detail: i64,
        model: &str,
    ) -> PyResult<explain::WindowsRow<'py>> {
        let engine = self.open()?;
        let (source, detail) = (convert::image(image)?, detail.to_string().parse()?);
        let encode = || Windows::encode(engine.image_encoder(Some(model))?, &source, detail);
        explain::windows(py, patient(py, usize::MAX, encode)?)
    }

    /// The cosine between a picture and a vector, divided among the places of the picture.
    fn activation<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        vector: Vec<f32>,
        model: &str,
    ) -> PyResult<explain::ActivationRow<'py>> {
        let engine = self.open()?;
        let source = convert::image(image)?;
        let divide = || {
            let features = engine.image_encoder(Some(model))?.feature_maps(&source)?;
            Ok((features.size, Activation::of(&features, &vector)?))
        };
        explain::activation(py, detached(py, divide)?)
    }

    /// The last feature maps of a picture.
    fn feature_maps<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        model: &str,
    ) -> PyResult<explain::MapsRow<'py>> {
        let engine = self.open()?;
        let source = convert::image(image)?;
        explain::maps(py, &detached(py, || engine.image_encoder(Some(model))?.feature_maps(&source))?)
    }

    /// The vectors by which a model looks queries up.
    #[pyo3(signature = (queries, *, model))]
    fn query_vectors<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyList>,
        model: &str,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let engine = self.open()?;
        let queries = calibrate::queries(queries)?;
        convert::array(py, patient(py, queries.len(), || engine.query_vectors(&queries, model))?)
    }

    #[pyo3(signature = (texts, *, model=None, expand=None))]
    fn encode_texts<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        model: Option<&str>,
        expand: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let engine = self.open()?;
        let expand = query::expand(expand)?;
        let (texts, _) = convert::texts(texts)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (vectors, unread) = patient(py, texts.len(), || {
            let vectors = engine.encode_texts(&texts, model, &expand)?;
            let models = [(engine.text_model(model)?.to_owned(), 1.0)];
            Ok((vectors, engine.unreadable(&texts, &models)?))
        })?;
        let unread: Vec<&str> = texts.iter().zip(unread).filter(|(_, bad)| *bad).map(|(text, _)| *text).collect();
        // The line that called `plushie_search.Engine`, not the one in there.
        warn_unread(py, engine.text_model(model)?, &unread, 2)?;
        convert::array(py, vectors)
    }

    /// For each text, whether all models that look it up know no word of it.
    #[pyo3(signature = (texts, *, models=None))]
    fn unreadable(&self, py: Python<'_>, texts: Vec<String>, models: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<bool>> {
        let engine = self.open()?;
        let models = models.map(query::models).transpose()?.unwrap_or_default();
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
        tell(py, &engine)?;
        json::from_object(py, &stats)
    }

    fn backup(&self, py: Python<'_>, directory: PathBuf) -> PyResult<()> {
        let engine = self.open()?;
        detached(py, || engine.backup(&directory))
    }

    #[pyo3(signature = (*, repair=false))]
    fn verify(&self, py: Python<'_>, repair: bool) -> PyResult<[Vec<store::Found>; 3]> {
        let engine = self.open()?;
        let verified = waiting(py, || if repair { engine.repair() } else { engine.verify() })?;
        let all = [verified.problems, verified.remarks, verified.repaired];
        Ok(all.map(|problems| problems.into_iter().map(store::found).collect()))
    }

    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        let engine = self.open()?;
        waiting(py, || engine.compact())?;
        tell(py, &engine)
    }

    fn optimize(&self, py: Python<'_>) -> PyResult<()> {
        let engine = self.open()?;
        waiting(py, || engine.optimize())?;
        tell(py, &engine)
    }

    #[pyo3(signature = (encoders, *, sources, progress))]
    fn reencode(
        &self,
        py: Python<'_>,
        encoders: Vec<NamedEncoder<'_>>,
        sources: BTreeMap<String, String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<ReencodedRow> {
        let engine = self.open()?;
        let members = members(py, &encoders)?;
        let done = ingest::watched(py, progress, |told| engine.reencode(&members, &sources, told))?;
        tell(py, &engine)?;
        Ok(reencoded_row(done))
    }

    #[pyo3(signature = (encoders, *, sources, progress))]
    fn add_models(
        &self,
        py: Python<'_>,
        encoders: Vec<NamedEncoder<'_>>,
        sources: BTreeMap<String, String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<ReencodedRow> {
        let engine = self.open()?;
        let members = members(py, &encoders)?;
        let done = ingest::watched(py, progress, |told| engine.add_models(members, &sources, told))?;
        tell(py, &engine)?;
        Ok(reencoded_row(done))
    }

    fn remember_sources(&self, py: Python<'_>, sources: BTreeMap<String, String>) -> PyResult<()> {
        let engine = self.open()?;
        waiting(py, || engine.remember_sources(&sources))
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

/// An encoder, and its name in the engine if that is another than its own.
type NamedEncoder<'py> = (Option<String>, Bound<'py, PyEncoder>);

fn members(py: Python<'_>, encoders: &[NamedEncoder<'_>]) -> PyResult<Vec<Member>> {
    let member = |(name, encoder): &NamedEncoder<'_>| {
        let encoder = encoder.get().share(py)?;
        Ok(Member { name: name.clone().unwrap_or_else(|| encoder.about().name.clone()), encoder })
    };
    encoders.iter().map(member).collect()
}

/// (hits of each query, the cursor behind those of one, seconds of encoding, seconds of searching).
type FoundRow = (Vec<Vec<PyHit>>, Option<String>, f64, f64);

/// (whether anything changed, references, those of files, of originals in `media/`, of thumbnails).
type ReencodedRow = (bool, usize, usize, usize, usize);

fn reencoded_row(done: Reencoded) -> ReencodedRow {
    let Moved { references, files, media, thumbnails } = done.moved;
    (done.changed, references, files, media, thumbnails)
}

/// A model that a catalog has vectors of: (name, fingerprint, dimension, source).
type HeldRow = (String, String, usize, Option<String>);

/// Returns the models that a catalog has vectors of, and the older format that it had, if opening it has migrated it.
#[pyfunction]
#[pyo3(signature = (path, *, read_only, busy_timeout))]
pub(super) fn held_models(
    py: Python<'_>,
    path: PathBuf,
    read_only: bool,
    busy_timeout: f64,
) -> PyResult<(Vec<HeldRow>, Option<i64>)> {
    let access = Access { read_only, patience: seconds(busy_timeout)?, ..Access::existing() };
    let row = |held: Held| (held.name, held.fingerprint, held.dim, held.source);
    let (models, migrated) = waiting(py, || held(&path, &access))?;
    Ok((models.into_iter().map(row).collect(), migrated))
}

fn seconds(busy_timeout: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(busy_timeout)
        .map_err(|_| argument(format!("busy_timeout {busy_timeout}: give seconds, 0 or more")))
}

/// Warns of what has happened to the thumbnails and the index, at the line that called `plushie_search.Engine`.
fn tell(py: Python<'_>, engine: &Engine) -> PyResult<()> {
    for notice in engine.notices() {
        let notice = CString::new(notice.replace('\0', " "))?;
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &notice, 2)?;
    }
    Ok(())
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
        upsert: false,
    })
}
