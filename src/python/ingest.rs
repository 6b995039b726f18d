//! Rows of Python values and folders, as an ingest takes them; `folder_items`.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;

use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::engine::Progress as Told;
use crate::engine::{Draft, Engine};
use crate::error::{Error, Result};
use crate::ingest::{self, Failure, Next, Progress, Watch};
use crate::picture::Source;
use crate::words::composed;

use super::error::argument;
use super::{convert, detached, json, waiting};

/// How many bytes of pictures in memory are converted at a time.
const CHUNK: u64 = 4 << 20;

/// Told (pictures done, pictures in all or None, the item that comes next).
type Callback = Option<Py<PyAny>>;

/// (new items, new references, duplicates, [(name, reason)], renamed, replaced, moved, [(name, note)]).
type Report = (usize, usize, usize, Vec<(String, String)>, usize, usize, usize, Vec<(String, String)>);

/// Adds the pictures of a folder.
pub(super) fn add_folder(py: Python<'_>, engine: &Engine, folder: PathBuf, progress: Callback) -> PyResult<Report> {
    let found = detached(py, || ingest::folder(&folder))?;
    let total = found.drafts.iter().map(|draft| draft.sources.len()).sum();
    let failed = found.failed.into_iter().map(|(name, error)| Err(Failure { name, error, pictures: 0 }));
    let mut next = failed.chain(found.drafts.into_iter().map(Ok));
    let mut watcher = Watcher { progress, raised: None };
    let done = waiting(py, || ingest::run(engine, || Ok(next.next()), Some(total), &mut watcher));
    report(done, watcher.raised)
}

/// Adds rows as they come.
pub(super) fn add_rows(
    py: Python<'_>,
    engine: &Engine,
    mut rows: Rows,
    total: Option<usize>,
    progress: Callback,
) -> PyResult<Report> {
    let mut watcher = Watcher { progress, raised: None };
    let done = waiting(py, || ingest::run(engine, || rows.next(), total, &mut watcher));
    report(done, rows.raised.or(watcher.raised))
}

fn report(done: PyResult<ingest::Report>, raised: Option<PyErr>) -> PyResult<Report> {
    if let Some(raised) = raised {
        return Err(raised);
    }
    let done = done?;
    let failed = done.failed.into_iter().map(|(name, why)| (name, why.to_string())).collect();
    let counts = (done.renamed, done.replaced, done.moved);
    Ok((done.items, done.references, done.duplicates, failed, counts.0, counts.1, counts.2, done.notes))
}

/// Runs a long work on all references of a catalog, whose progress is told.
pub(super) fn watched<T: Send>(
    py: Python<'_>,
    progress: Callback,
    work: impl Send + FnOnce(Told<'_>) -> Result<T>,
) -> PyResult<T> {
    let mut watcher = Watcher { progress, raised: None };
    let done =
        waiting(py, || work(&mut |done, total, item| watcher.progress(Progress { done, total: Some(total), item })));
    watcher.raised.map_or(done, Err)
}

/// Asks Python.
struct Watcher {
    progress: Callback,
    raised: Option<PyErr>,
}

impl Watcher {
    fn ask(&mut self, told: impl FnOnce(Python<'_>, Option<&Py<PyAny>>) -> PyResult<()>) -> ControlFlow<()> {
        if self.raised.is_none() {
            self.raised = Python::attach(|py| {
                py.check_signals()?;
                told(py, self.progress.as_ref())
            })
            .err();
        }
        if self.raised.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Watch for Watcher {
    fn progress(&mut self, now: Progress<'_>) -> ControlFlow<()> {
        self.ask(|py, call| call.map_or(Ok(()), |call| call.call1(py, (now.done, now.total, now.item)).map(drop)))
    }

    fn tick(&mut self) -> ControlFlow<()> {
        self.ask(|_, _| Ok(()))
    }
}

/// Rows that are converted one by one, so that no more than a few pictures are copied before they are encoded.
pub(super) struct Rows {
    rows: Py<PyIterator>,
    listed: bool,
    /// For rows that take the place of items, the number of the row that each id came with.
    came: Option<HashMap<String, usize>>,
    number: usize,
    /// The row whose pictures are being converted.
    current: Option<Current>,
    raised: Option<PyErr>,
}

struct Current {
    bare: Draft,
    /// The pictures that are to come, with their names.
    pictures: VecDeque<(String, Py<PyAny>)>,
    /// The names that the pictures get; fewer if the others keep theirs.
    names: VecDeque<Option<String>>,
    /// A picture that could not be converted, to be reported next.
    failed: Option<Failure>,
}

impl Rows {
    /// Takes `(id, images, label, metadata, text, names)`. If they are `listed`, row i has picture i of one list, and calls it so;
    /// with `upsert` each becomes what its item is.
    pub(super) fn new(rows: &Bound<'_, PyAny>, listed: bool, upsert: bool) -> PyResult<Self> {
        let came = upsert.then(HashMap::new);
        Ok(Self { rows: rows.try_iter()?.unbind(), listed, came, number: 0, current: None, raised: None })
    }

    /// A row without its pictures.
    fn bare(&mut self, row: &Bound<'_, PyTuple>, number: usize) -> PyResult<Draft> {
        let draft = Draft { upsert: self.came.is_some(), ..bare(row)? };
        if let Some(came) = &mut self.came {
            let id = composed(&draft.id).into_owned();
            if let Some(first) = came.get(&id) {
                let id = &draft.id;
                return Err(argument(format!(
                    "row {first} has the id {id:?}, too: with upsert=True give all pictures of an item in one row"
                )));
            }
            came.insert(id, number);
        }
        Ok(draft)
    }

    fn next(&mut self) -> Result<Option<Next>> {
        Python::attach(|py| self.convert(py)).map_err(|raised| {
            self.raised = Some(raised);
            Error::Interrupted
        })
    }

    fn convert(&mut self, py: Python<'_>) -> PyResult<Option<Next>> {
        loop {
            py.check_signals()?;
            if let Some(current) = &mut self.current {
                if let Some(next) = current.next(py)? {
                    return Ok(Some(next));
                }
                self.current = None;
            }
            let Some(row) = self.rows.bind(py).clone().next() else { return Ok(None) };
            let row = row?.cast_into::<PyTuple>()?;
            let number = self.number;
            self.number += 1;
            let images = row.get_item(1)?;
            let many = convert::many(&images)?;
            let pictures = many.as_ref().map_or(1, Vec::len);
            let cells =
                self.bare(&row, number).and_then(|bare| Ok((bare, convert::names(&row.get_item(5)?, pictures)?)));
            match cells {
                Ok((bare, _)) if pictures == 0 => return Ok(Some(Ok(bare))),
                Ok((bare, names)) => {
                    let pictures = match many {
                        Some(items) => {
                            let first = if self.listed { number } else { 0 };
                            let named = |(place, item): (usize, Bound<'_, PyAny>)| {
                                (format!("image {}", first + place), item.unbind())
                            };
                            items.into_iter().enumerate().map(named).collect()
                        }
                        None => [("image".to_owned(), images.unbind())].into(),
                    };
                    self.current = Some(Current { bare, pictures, names, failed: None });
                }
                Err(error) => {
                    let id = row.get_item(0)?.repr()?;
                    let id: String = id.to_string_lossy().chars().take(80).collect();
                    let name = format!("row {number} ({id})");
                    return Ok(Some(Err(Failure { name, error: reason(py, error)?, pictures })));
                }
            }
        }
    }
}

impl Current {
    /// The item with some of its pictures, or one that cannot be used.
    fn next(&mut self, py: Python<'_>) -> PyResult<Option<Next>> {
        if let Some(failed) = self.failed.take() {
            return Ok(Some(Err(failed)));
        }
        let mut draft = self.bare.clone();
        let (mut bytes, pictures) = (0, self.pictures.len());
        while (bytes < CHUNK || draft.upsert)
            && let Some((name, picture)) = self.pictures.pop_front()
        {
            let named = |source: Source| match self.names.pop_front().flatten() {
                Some(name) => source.named(name).map_err(PyErr::from),
                None => Ok(source),
            };
            match convert::source(picture.bind(py), &name).and_then(named) {
                Ok(source) => {
                    bytes += ingest::in_memory(&source);
                    draft.sources.push(source);
                }
                Err(error) => {
                    let name = format!("{}: {name}", self.bare.id);
                    let failure = Failure { name, error: reason(py, error)?, pictures: 1 };
                    if draft.upsert {
                        self.pictures.clear();
                        return Ok(Some(Err(Failure { pictures, ..failure })));
                    }
                    self.failed = Some(failure);
                    break;
                }
            }
        }
        if draft.sources.is_empty() { Ok(self.failed.take().map(Err)) } else { Ok(Some(Ok(draft))) }
    }
}

/// A row without its pictures.
fn bare(row: &Bound<'_, PyTuple>) -> PyResult<Draft> {
    let cell = |place| row.get_item(place);
    let draft = Draft {
        id: json::to_text(&cell(0)?, "id")?,
        sources: Vec::new(),
        label: json::to_optional_text(&cell(2)?, "label")?,
        metadata: json::to_object(&cell(3)?, "metadata")?,
        text: json::to_optional_text(&cell(4)?, "text")?,
        upsert: false,
    };
    draft.check()?;
    Ok(draft)
}

/// Why something cannot be used; what is no fault of it ends the ingest.
fn reason(py: Python<'_>, error: PyErr) -> PyResult<Error> {
    if !error.is_instance_of::<PyException>(py) || error.is_instance_of::<PyMemoryError>(py) {
        return Err(error);
    }
    Ok(Error::Argument(error.value(py).to_string()))
}

/// Returns the items that adding a folder would add: (item, paths of its pictures).
#[pyfunction]
fn folder_items(py: Python<'_>, folder: PathBuf) -> PyResult<Vec<(String, Vec<PathBuf>)>> {
    let drafts = detached(py, || ingest::folder(&folder))?.drafts;
    let path = |source| if let Source::Path(path) = source { Some(path) } else { None };
    Ok(drafts.into_iter().map(|draft| (draft.id, draft.sources.into_iter().filter_map(path).collect())).collect())
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(folder_items, module)?)
}
