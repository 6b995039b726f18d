//! The index of an engine: exact while that is fast, and approximate beyond. It is built aside, while searches go on, and
//! kept in a file beside the catalog.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use rayon::ThreadPool;
use serde_json::{Value, json};

use crate::cancel::{self, Cancel, Job};
use crate::encoder::{Device, Encode};
use crate::engine::Engine;
use crate::engine::index_files::{About, AboutPart, IndexFiles};
use crate::engine::live::{Live, State};
use crate::engine::phrases::phrases;
use crate::engine::policy::{CHANGED, EXACT, IndexOptions, Policy, RECALL};
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::index::{Extended, Extending, IndexFile, Sealed, Setting, Texts, Tuned, build, hold};
use crate::store::{Position, Store};
use crate::workers::workers;

/// How long an engine is searched before an index is built in the background: a program that asks once has ended by then.
const PAUSE: Duration = Duration::from_secs(5);
/// Texts that stand for searches by texts, at most.
const MOST_TEXTS: usize = 200;
/// The setting that tells what was built last.
const BUILT: &str = "index";

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
    /// The recall that was asked for.
    asked: Option<f32>,
    /// That of the index in the file.
    kept: Mutex<Option<f32>>,
    files: IndexFiles,
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
            asked: options.recall,
            kept: Mutex::default(),
            files: IndexFiles::of(store.directory()),
            turn: Mutex::default(),
            seen: Mutex::default(),
            background: Mutex::new(Background { notices, ..Background::default() }),
            called: Condvar::new(),
            cancel: Cancel::default(),
        });
        if !models.is_empty() && work.policy.is_approximate() {
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
        if !self.work.policy.is_due(&state.index) && !self.work.policy.is_long(&state.index) {
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

    /// Forgets an approximate index whose file is damaged, so that all is read from the catalog and compared.
    ///
    /// # Errors
    /// Those of [`Live::forget`].
    pub(super) fn leave(&self) -> Result<()> {
        self.work.leave()
    }

    /// The files of an approximate index that are there.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.work.files.all()
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
    fn about(&self, position: Position) -> Result<About> {
        let fingerprint = |encoder: &Arc<dyn Encode>| encoder.about().fingerprint.clone();
        Ok(About {
            catalog: self.store.id()?,
            models: self.models.iter().copied().zip(self.encoders.iter().map(fingerprint)).collect(),
            name: self.policy.name.clone(),
            recall: self.recall(),
            position,
            marks: self.store.marks(position)?,
        })
    }

    /// Begins with the index in the file, unless it was looked at before.
    fn begin(&self) -> Result<()> {
        let path = self.files.built();
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
        // That of other models, or of another policy, a lower recall or a larger memory, is of no use here.
        let is_large = match self.policy.memory {
            Some(memory) => sealed.takes() > memory.bytes()?,
            None => false,
        };
        let is_low = self.asked.is_some_and(|asked| about.recall < asked);
        if is_large || is_low || about.models != own.models || !self.policy.takes(&about.name) {
            return Ok(());
        }
        *lock(&self.kept) = Some(about.recall);
        if about.catalog != own.catalog || !self.store.has_marks(&about.marks)? {
            self.tell(format!(
                "{}: it is of another catalog, or of another state of this one: it is ignored, and the index is built \
                 anew",
                path.display()
            ));
            return Ok(());
        }
        let fits = |part: &About| {
            Ok(part.catalog == own.catalog && part.models == own.models && self.store.has_marks(&part.marks)?)
        };
        let (parts, position) = self.files.follow(sealed, about.position, fits, |notice| self.tell(notice))?;
        self.live.begin(&parts, position)?;
        // The log may have lost removals, or the catalog references that the file still has.
        let counted = self.live.current(&self.store, &self.models).map(|state| state.index.len());
        match counted {
            Ok(references) if references as u64 != self.store.stats()?.references => self.live.forget(),
            // A damaged vector is told by the searches.
            Ok(_) | Err(Error::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The recall of the next build.
    fn recall(&self) -> f32 {
        self.asked.or(*lock(&self.kept)).unwrap_or(RECALL)
    }

    fn leave(&self) -> Result<()> {
        let path = self.files.built().display().to_string();
        self.tell(format!("{path}: vectors in it are damaged: it is ignored, and the index is built anew"));
        self.live.forget()
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
        let half = thread::available_parallelism().map_or(1, |threads| threads.get().div_ceil(2));
        let pool = workers(Some(half))?;
        let state = self.live.current(&self.store, &self.models)?;
        if !self.policy.is_due(&state.index) {
            return thread::scope(|scope| Job::begin(scope, &self.cancel, || self.extend(&pool))?.join(|| false));
        }
        drop(state);
        let _alone = match self.store.check_writable() {
            // Each process has its own copy on the device.
            _ if self.policy.products.is_some() => None,
            Ok(()) => match self.files.alone()? {
                Some(file) => Some(file),
                None => return Ok(()),
            },
            Err(_) => None,
        };
        if self.policy.is_approximate() {
            self.begin()?;
        }
        if !self.policy.is_due(&self.live.current(&self.store, &self.models)?.index) {
            return Ok(());
        }
        thread::scope(|scope| Job::begin(scope, &self.cancel, || self.build(&pool))?.join(|| false))
    }

    /// Makes what was added a part of the index, by the codes that it has, and keeps it in a file of its own. Of several
    /// processes one writes it; the others have theirs in memory.
    fn extend(&self, pool: &ThreadPool) -> Result<()> {
        let _turn = lock(&self.turn);
        let state = self.live.current(&self.store, &self.models)?;
        if !self.policy.is_long(&state.index) {
            return Ok(());
        }
        let Some(extending) = Extending::of(&state.index) else { return Ok(()) };
        let alone = match self.store.check_writable() {
            Ok(()) => self.files.alone()?,
            Err(_) => None,
        };
        // Another process may have built the index anew meanwhile.
        let number = extending.number();
        let follows = extending.follows(&state.index).filter(|checksum| self.files.ends_with(number, *checksum));
        let follows = follows.filter(|_| alone.is_some());
        let mut file = follows.and_then(|_| IndexFile::new(&self.files.part(number)).ok());
        let mut extended = match extending.make(&state.index, pool, file.as_mut()) {
            Err(Error::Io { .. }) if file.is_some() => {
                file = None;
                extending.make(&state.index, pool, None)
            }
            made => made,
        }?;
        // What was read for it may be damaged, which the next search comes upon.
        if state.index.is_damaged() {
            return Ok(());
        }
        if let Some((file, follows)) = file.zip(follows)
            && let Err(error) = self.keep_part(file, follows, &mut extended, &state, pool)
        {
            self.tell(format!("a part of the index is not kept in its file: {error}"));
        }
        self.live.extend(extended, &state)
    }

    /// Keeps a part in its file, in the place of those that it has merged.
    fn keep_part(
        &self,
        file: IndexFile,
        follows: u64,
        extended: &mut Extended,
        state: &State,
        pool: &ThreadPool,
    ) -> Result<()> {
        let gone = extended.gone(&state.index);
        let number = gone.len();
        let about = AboutPart { about: self.about(state.position)?, follows, gone };
        let about = serde_json::to_value(about).map_err(Error::internal)?;
        pool.install(|| extended.keep(file, &about))?;
        self.files.forget(number + 1);
        Ok(())
    }

    /// Builds the index of the present state, and puts it in its place.
    fn build(&self, pool: &ThreadPool) -> Result<()> {
        let _turn = lock(&self.turn);
        if let Some(products) = &self.policy.products {
            let state = self.live.current(&self.store, &self.models)?;
            return self.live.adopt(&Arc::new(hold(&state.index, products)?), &state);
        }
        let Some(plan) = self.policy.plan(self.recall())? else { return Ok(()) };
        let mut state = self.live.current(&self.store, &self.models)?;
        // What was damaged must not be written again as if it were whole.
        state.index.check_vectors();
        if state.index.is_damaged() {
            self.leave()?;
            state = self.live.current(&self.store, &self.models)?;
        }
        let path = self.files.built();
        let mut file = match self.store.check_writable().map(|()| IndexFile::new(&path)) {
            Ok(Ok(file)) => Some(file),
            Ok(Err(error)) => {
                self.tell(format!("the index stays in memory alone: {error}"));
                None
            }
            Err(_) => None,
        };
        let texts = self.texts();
        let mut sealed = match build(&state.index, &plan, &texts, pool, file.as_mut()) {
            // Without room for the file, the vectors stay in memory.
            Err(error @ Error::Io { .. }) => {
                self.tell(format!("the index stays in memory alone: {error}"));
                file = None;
                build(&state.index, &plan, &texts, pool, None)
            }
            built => built,
        }?;
        if let Some(file) = file {
            self.keep(file, &mut sealed, &state, pool);
        }
        self.live.adopt(&Arc::new(sealed), &state)
    }

    /// Keeps a built index in its file.
    fn keep(&self, file: IndexFile, sealed: &mut Sealed, state: &State, pool: &ThreadPool) {
        let kept = || -> Result<()> {
            let about = serde_json::to_value(self.about(state.position)?).map_err(Error::internal)?;
            pool.install(|| file.finish(sealed, &about))?;
            self.files.forget(1);
            *lock(&self.seen) = fs::metadata(self.files.built()).and_then(|found| found.modified()).ok();
            self.store.set_setting(BUILT, Some(&described(sealed)))
        };
        if let Err(error) = kept() {
            self.tell(format!("the index is not kept in its file: {error}"));
        }
    }

    /// For each model the vectors of texts that stand for searches by texts: of labels and texts of the catalog, and of usual
    /// phrases where these are few.
    fn texts(&self) -> Vec<Texts> {
        let own = self.store.phrases(MOST_TEXTS).unwrap_or_default().into_iter().filter(|text| !text.is_empty());
        let texts: Vec<String> = own.chain(phrases()).take(MOST_TEXTS).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encoded = |encoder: &Arc<dyn Encode>| match encoder.about().texts {
            true => Expand::Never.encode(&**encoder, &texts).map_or(Texts::Unknown, Texts::Known),
            false => Texts::Unread,
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
        let is_small = policy.chooses() && state.index.len() < EXACT;
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
        let names: Vec<&str> = state.index.sealed().take(1).flat_map(|sealed| sealed.factories()).collect();
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
        let references: usize = state.index.sealed().map(|sealed| sealed.len()).sum();
        for (model, name) in models.iter_mut().zip(&self.names) {
            model["references"] = json!(references);
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
