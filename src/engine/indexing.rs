//! The index of an engine: exact while that is fast, and approximate beyond. It is built aside, while searches go on, and
//! kept in a file beside the catalog.

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cancel::{self, Cancel, Job};
use crate::encoder::{Device, Encode, Products};
use crate::engine::Engine;
use crate::engine::live::{Live, State};
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::index::{Factory, Plan, Sealed, Setting, Snapshot, Tuned, build, hold};
use crate::store::{Mark, Position, Store};
use crate::vectors::Vectors;
use crate::workers::workers;

/// Up to about so many references every one is compared: one search takes 10 ms for 256 numbers each.
const EXACT: usize = 100_000;
/// An index is built anew when more than one in so many references has come or gone.
const CHANGED: usize = 4;
/// From so many references on a device compares them sooner than the processor.
const ON_DEVICE: usize = 10_000;
/// Fewer of them cost nothing.
const FEW: usize = 10_000;
/// How long an engine is searched before an index is built in the background: a program that asks once has ended by then.
const PAUSE: Duration = Duration::from_secs(5);
/// Texts that stand for searches by texts, at most and at least.
const MOST_TEXTS: usize = 200;
const LEAST_TEXTS: usize = 50;
/// The share of the exact best 10 items that searches find by default.
pub const RECALL: f32 = 0.98;
/// The setting that tells what was built last.
const BUILT: &str = "index";

/// Which index an engine has.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexOptions {
    /// `"auto"`: exact up to about 100,000 references, and approximate beyond; `"exact"`; or a factory string of faiss.
    pub index: String,
    /// The share of the exact best 10 items that searches are to find in an approximate index: above 0, and at most 1.
    pub recall: f32,
    /// The device that compares every reference by ONNX Runtime; by default the processor does, without it.
    pub device: Option<Device>,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self { index: "auto".to_owned(), recall: RECALL, device: None }
    }
}

/// When an approximate index is made, and how.
#[derive(Debug, Clone)]
struct Policy {
    /// None if every reference is always compared.
    plan: Option<Plan>,
    /// The device that compares every reference.
    products: Option<Arc<Products>>,
    /// The factory string, or how it is chosen.
    name: String,
    /// The fewest references.
    least: usize,
}

impl Policy {
    fn new(options: &IndexOptions, dims: &[usize]) -> Result<Self> {
        let IndexOptions { index, recall, .. } = options;
        if !(*recall > 0.0 && *recall <= 1.0) {
            return Err(Error::argument(format!("recall {recall}: give a number above 0 and at most 1")));
        }
        let (plan, least) = match index.as_str() {
            "exact" | "Flat" => (None, 0),
            "auto" => (Some(Plan { factories: None, recall: *recall }), EXACT),
            text => {
                let factories = dims.iter().map(|dim| Factory::parse(text, *dim)).collect::<Result<Vec<_>>>()?;
                let least = factories.iter().map(Factory::least_rows).max().unwrap_or_default();
                (Some(Plan { factories: Some(factories), recall: *recall }), least)
            }
        };
        Ok(Self { plan, products: None, name: index.clone(), least })
    }

    /// The same, on a device.
    fn on_device(options: &IndexOptions, device: &Device, threads: usize) -> Result<Self> {
        let IndexOptions { index, .. } = options;
        if !["auto", "exact", "Flat"].contains(&index.as_str()) {
            return Err(Error::argument(format!(
                "index {index:?} with index_device {device}: a device compares every reference; leave one of them out"
            )));
        }
        let products = Some(Products::open(device, threads)?);
        Ok(Self { plan: None, products, name: "exact".to_owned(), least: ON_DEVICE })
    }

    /// Whether there is ever something to build.
    fn builds(&self) -> bool {
        self.plan.is_some() || self.products.is_some()
    }

    /// Whether an index is missing, or old.
    fn is_due(&self, index: &Snapshot) -> bool {
        let sealed: usize = index.sealed().map(|sealed| sealed.len()).sum();
        let changed = index.exact() + (sealed + index.exact() - index.len());
        let is_old = changed > FEW.min(self.least) && changed > sealed / CHANGED;
        self.builds() && index.len() >= self.least && is_old
    }

    /// Whether an index of that name is what it wants.
    fn takes(&self, name: &str) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.factories.is_none() || self.name == name)
    }
}

/// The header of the file: the catalog and the settings of its index.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct About {
    catalog: [u8; 16],
    /// Number and fingerprint of each model.
    models: Vec<(i64, String)>,
    /// The policy that made it.
    name: String,
    recall: f32,
    position: Position,
    marks: Vec<Mark>,
}

/// Builds the index of an engine.
pub(super) struct Indexing {
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The inputs of a build, which may outlast a call.
struct Work {
    live: Arc<Live>,
    store: Arc<Store>,
    models: Vec<i64>,
    encoders: Vec<Arc<dyn Encode>>,
    policy: Policy,
    /// One build at a time.
    turn: Mutex<()>,
    /// When the file was written that was looked at last.
    seen: Mutex<Option<SystemTime>>,
    background: Mutex<Background>,
    called: Condvar,
    cancel: Cancel,
}

#[derive(Default)]
struct Background {
    is_running: bool,
    is_ended: bool,
    /// How many references there were when a build failed: it is tried again when they have grown.
    failed: Option<usize>,
    notices: Vec<String>,
}

/// The locked file that keeps other processes from building.
struct Alone(File);

impl Drop for Alone {
    fn drop(&mut self) {
        // A process that was forked meanwhile has the file, too, and closing it here would not end the lock.
        drop(self.0.unlock());
    }
}

impl Indexing {
    /// Makes ready, and begins with the index in the catalog's file if it is there and can be used.
    ///
    /// # Errors
    /// [`Error::Argument`] for options that make no sense; those of the store.
    pub(super) fn new(
        live: &Arc<Live>,
        store: &Arc<Store>,
        models: &[i64],
        encoders: &[Arc<dyn Encode>],
        options: &IndexOptions,
        pool: &ThreadPool,
    ) -> Result<Self> {
        let dims: Vec<usize> = encoders.iter().map(|encoder| encoder.about().dim).collect();
        let mut policy = Policy::new(options, &dims)?;
        let mut notices = Vec::new();
        if let Some(device) = &options.device {
            match Policy::on_device(options, device, pool.current_num_threads()) {
                Ok(on_device) => policy = on_device,
                Err(error @ Error::Argument(_)) => return Err(error),
                Err(error) if *device == Device::Auto => {
                    notices.push(format!("index_device auto searches on the processor: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        let work = Arc::new(Work {
            live: Arc::clone(live),
            store: Arc::clone(store),
            models: models.into(),
            encoders: encoders.into(),
            policy,
            turn: Mutex::default(),
            seen: Mutex::default(),
            background: Mutex::new(Background { notices, ..Background::default() }),
            called: Condvar::new(),
            cancel: Cancel::default(),
        });
        if !models.is_empty() && work.policy.plan.is_some() {
            pool.install(|| work.begin())?;
        }
        Ok(Self { work, thread: Mutex::default() })
    }

    /// Copies the references to the device, if there is one and they are many.
    ///
    /// # Errors
    /// [`Error::Runtime`] if its memory does not suffice; those of the store.
    pub(super) fn hold(&self, state: &State, pool: &ThreadPool) -> Result<()> {
        match self.work.policy.products.is_some() && self.work.policy.is_due(&state.index) {
            true => self.work.build(pool),
            false => Ok(()),
        }
    }

    /// Builds an index in the background if one is due.
    pub(super) fn look(&self, state: &State) {
        if !self.work.policy.is_due(&state.index) {
            return;
        }
        let mut background = lock(&self.work.background);
        let failed = background.failed.is_some_and(|count| state.index.len() < count + count / CHANGED);
        if background.is_running || background.is_ended || failed {
            return;
        }
        let work = Arc::clone(&self.work);
        let begun = thread::Builder::new().name("plushie-index".to_owned()).spawn(move || work.in_background());
        match begun {
            Ok(thread) => {
                background.is_running = true;
                // One that was there before has ended.
                *lock(&self.thread) = Some(thread);
            }
            Err(_) => background.failed = Some(state.index.len()),
        }
    }

    /// The file of an approximate index.
    pub(super) fn file(&self) -> PathBuf {
        self.work.path()
    }

    /// Returns messages since the last call.
    pub(super) fn notices(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.work.background).notices)
    }
}

impl Drop for Indexing {
    fn drop(&mut self) {
        lock(&self.work.background).is_ended = true;
        self.work.cancel.cancel();
        self.work.called.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // It has told of what went wrong.
            drop(thread.join());
        }
    }
}

impl Work {
    fn path(&self) -> PathBuf {
        self.store.directory().join("index").join("approximate")
    }

    fn about(&self, position: Position) -> Result<About> {
        let fingerprint = |encoder: &Arc<dyn Encode>| encoder.about().fingerprint.clone();
        Ok(About {
            catalog: self.store.id()?,
            models: self.models.iter().copied().zip(self.encoders.iter().map(fingerprint)).collect(),
            name: self.policy.name.clone(),
            recall: self.policy.plan.as_ref().map_or(1.0, |plan| plan.recall),
            position,
            marks: self.store.marks(position)?,
        })
    }

    /// Begins with the index in the file, unless it was looked at before.
    fn begin(&self) -> Result<()> {
        let path = self.path();
        let written = fs::metadata(&path).and_then(|found| found.modified()).ok();
        if written.is_none() || std::mem::replace(&mut *lock(&self.seen), written) == written {
            return Ok(());
        }
        let (sealed, about) = match Sealed::open(&path) {
            Ok(opened) => opened,
            Err(error) => {
                self.tell(format!("{error}: it is ignored, and the index is built anew"));
                return Ok(());
            }
        };
        let Ok(about) = serde_json::from_value::<About>(about) else { return Ok(()) };
        let own = self.about(about.position)?;
        // That of other models, or of another policy, is of no use here.
        if about.models != own.models || !self.policy.takes(&about.name) || about.recall < own.recall {
            return Ok(());
        }
        if about.catalog != own.catalog || !self.store.has_marks(&about.marks)? {
            self.tell(format!(
                "{}: it is of another catalog, or of another state of this one: it is ignored, and the index is built \
                 anew",
                path.display()
            ));
            return Ok(());
        }
        self.live.begin(&Arc::new(sealed), about.position)?;
        // The log may have lost removals, or the catalog references that the file still has.
        let counted = self.live.current(&self.store, &self.models).map(|state| state.index.len());
        match counted {
            Ok(references) if references as u64 != self.store.stats()?.references => self.live.forget(),
            // A damaged vector is told by the searches.
            Ok(_) | Err(Error::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tell(&self, notice: String) {
        lock(&self.background).notices.push(notice);
    }

    fn in_background(&self) {
        let (background, _) = self
            .called
            .wait_timeout_while(lock(&self.background), PAUSE, |background| !background.is_ended)
            .unwrap_or_else(PoisonError::into_inner);
        let is_ended = background.is_ended;
        drop(background);
        let built = if is_ended { Ok(()) } else { self.build_aside() };
        let mut background = lock(&self.background);
        background.is_running = false;
        match built {
            Ok(()) | Err(Error::Interrupted) => background.failed = None,
            Err(error) => {
                background.failed = Some(self.live.state().index.len());
                background.notices.push(format!("the index could not be built, so that all is compared: {error}"));
            }
        }
    }

    /// Builds by half of the threads, so that searches have the others. Of several processes one builds; the others take
    /// what it has built.
    fn build_aside(&self) -> Result<()> {
        let _alone = match self.store.check_writable() {
            // Each process has its own copy on the device.
            _ if self.policy.products.is_some() => None,
            Ok(()) => match self.alone()? {
                Some(file) => Some(file),
                None => return Ok(()),
            },
            Err(_) => None,
        };
        if self.policy.plan.is_some() {
            self.begin()?;
        }
        if !self.policy.is_due(&self.live.current(&self.store, &self.models)?.index) {
            return Ok(());
        }
        let half = thread::available_parallelism().map_or(1, |threads| threads.get().div_ceil(2));
        let pool = workers(Some(half))?;
        thread::scope(|scope| Job::begin(scope, &self.cancel, || self.build(&pool))?.join(|| false))
    }

    /// Returns the locked file that keeps other processes from building, or none if one of them builds.
    fn alone(&self) -> Result<Option<Alone>> {
        let path = self.path().with_extension("lock");
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let file = File::create(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Alone(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
        }
    }

    /// Builds the index of the present state, and puts it in its place.
    fn build(&self, pool: &ThreadPool) -> Result<()> {
        let _turn = lock(&self.turn);
        if let Some(products) = &self.policy.products {
            let state = self.live.current(&self.store, &self.models)?;
            return self.live.adopt(&Arc::new(hold(&state.index, products)?), &state);
        }
        let Some(plan) = &self.policy.plan else { return Ok(()) };
        let state = self.live.current(&self.store, &self.models)?;
        let sealed = build(&state.index, plan, &self.texts(), pool)?;
        let sealed = match self.store.check_writable() {
            Ok(()) => self.keep(sealed, &state, pool),
            Err(_) => Arc::new(sealed),
        };
        self.live.adopt(&sealed, &state)
    }

    /// Keeps a built index in the file, and returns the one that lies there; the built one if that fails.
    fn keep(&self, sealed: Sealed, state: &State, pool: &ThreadPool) -> Arc<Sealed> {
        let path = self.path();
        let kept = || -> Result<Sealed> {
            let about = serde_json::to_value(self.about(state.position)?).map_err(Error::internal)?;
            pool.install(|| sealed.save(&path, &about))?;
            *lock(&self.seen) = fs::metadata(&path).and_then(|found| found.modified()).ok();
            self.store.set_setting(BUILT, Some(&described(&sealed)))?;
            Ok(pool.install(|| Sealed::open(&path))?.0)
        };
        match kept() {
            Ok(kept) => Arc::new(kept),
            Err(error) => {
                self.tell(format!("the index stays in memory alone: {error}"));
                Arc::new(sealed)
            }
        }
    }

    /// For each model vectors of labels and texts of the catalog, if it reads texts and there are enough.
    fn texts(&self) -> Vec<Option<Vectors>> {
        let phrases = self.store.phrases(MOST_TEXTS).unwrap_or_default();
        let texts: Vec<&str> = phrases.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        let encoded = |encoder: &Arc<dyn Encode>| {
            let reads = encoder.about().texts && texts.len() >= LEAST_TEXTS;
            // Without them, other vectors stand for texts.
            reads.then(|| Expand::Never.encode(&**encoder, &texts).ok()).flatten()
        };
        self.encoders.iter().map(encoded).collect()
    }
}

impl Engine {
    /// Builds the approximate index anew and measures how much searches must look at, and returns when that is done. What
    /// was added since stays among the references that are compared one by one until the next time. Where all are compared,
    /// for the catalog is small or the engine was opened so, it does nothing; with a device it copies all references there.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are fewer references than a factory string needs; [`Error::Interrupted`]; those of
    /// the store.
    pub fn optimize(&self) -> Result<()> {
        let state = self.current()?;
        let policy = &self.indexing.work.policy;
        let is_small = policy.plan.as_ref().is_some_and(|plan| plan.factories.is_none()) && state.index.len() < EXACT;
        if !policy.builds() || is_small || state.index.is_empty() || self.models.is_empty() {
            return Ok(());
        }
        drop(state);
        let cancel = Cancel::default();
        thread::scope(|scope| {
            let job = Job::begin(scope, &cancel, || self.indexing.work.build(self.workers()))?;
            job.join(|| cancel::poll().is_err())
        })
    }

    /// The name of the index: `"exact"`, or the factory strings of its models.
    pub(super) fn index_name(state: &State) -> String {
        let names: Vec<&str> = state.index.sealed().flat_map(|sealed| sealed.factories()).collect();
        if names.is_empty() { "exact".to_owned() } else { names.join(" + ") }
    }

    /// Returns the device that compares references, how many it has and the bytes of its memory that they take; null
    /// without one.
    pub(super) fn device_stats(&self, state: &State) -> Value {
        let Some(products) = &self.indexing.work.policy.products else { return Value::Null };
        let held = state.index.sealed().find_map(|sealed| Some((sealed.len(), sealed.resident()?.bytes())));
        let (references, bytes) = held.unwrap_or_default();
        json!({"device": products.device().to_string(), "references": references, "bytes": bytes})
    }

    /// Returns the chosen index, and the measured settings and recall of each model.
    pub(super) fn index_stats(&self, state: &State) -> Value {
        let described = state.index.sealed().next().map(|sealed| described(sealed));
        let Some(Value::Array(mut models)) = described else { return json!([]) };
        for (model, name) in models.iter_mut().zip(&self.names) {
            model["model"] = json!(name);
        }
        Value::Array(models)
    }
}

/// Describes the measured settings and recall of each space.
fn described(sealed: &Sealed) -> Value {
    let setting =
        |setting: &Setting| json!({"looked": setting.looked, "k_factor": setting.k_factor, "recall": setting.recall});
    let space = |(factory, tuned): (&str, &Tuned)| {
        json!({
            "index": factory,
            "references": sealed.len(),
            "pictures": setting(&tuned.pictures),
            "texts": setting(&tuned.texts),
        })
    };
    sealed.factories().zip(sealed.tuned()).map(space).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
