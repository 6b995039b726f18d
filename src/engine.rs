//! An open catalog: add, search, change, keep.

mod add;
mod asked;
mod adapt;
mod calibration;
mod cursor;
mod ensemble;
mod gallery;
mod held;
mod identify;
mod index_files;
mod indexing;
mod keep;
mod kept;
mod labeled;
mod live;
mod memory;
mod phrases;
mod plan;
mod policy;
mod reencode;
mod restore;
mod salvage;
mod search;
mod second;
mod selected;
mod vectors;
mod verify;
mod weights;
mod worded;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use self::adapt::Adapting;
pub use self::add::{Added, Draft, Prepared, shown};
pub use self::calibration::{Calibrated, Scope, TARGET, few_digits};
pub use self::cursor::Cursor;
pub use self::gallery::{Gallery, Neighbors};
pub use self::held::{Held, held};
pub use self::identify::{Identified, Identify, Judged, Verdict, judge};
pub use self::keep::digest;
pub use self::kept::{Keep, Small};
pub use self::memory::Memory;
pub use self::policy::{IndexOptions, RECALL};
pub use self::reencode::{Progress, Reencoded};
pub use self::restore::{Restored, restore};
pub use self::salvage::salvage;
pub use self::search::{Answers, Hit, Search};
pub use self::vectors::Rows;
pub use self::verify::Verified;
pub use self::weights::Weighed;
pub use self::worded::Words;

use self::calibration::Calibrations;
use self::indexing::Indexing;
use self::kept::Kept;
use crate::encoder::{ALIKE, Cache, Counts, Encode, Looks, Probe, image_vectors};
use crate::engine::live::{Live, State, check_units};
use crate::error::{Error, Result, short};
use crate::expand::Expand;
use crate::index::damages;
use crate::picture::Source;
use crate::render::studio::{VIEWS, check_count};
use crate::store::{Access, Store, fork};
use crate::vectors::Vectors;
use crate::words;
use crate::workers::workers;

/// An open catalog. Share it between threads: every method takes `&self`, and searches do not wait for long writes.
///
/// It may have several models: then a picture gets a vector of each when it is added, and is looked up by one of them, or
/// by one while another looks up words.
pub struct Engine {
    /// One for each model. Each encodes pictures, unless it is alone.
    encoders: Vec<Arc<dyn Encode>>,
    /// The names of the models in this engine, in the same order.
    names: Vec<String>,
    /// The threads of the engine's own work.
    workers: Arc<ThreadPool>,
    store: Arc<Store>,
    /// The models' numbers in the store.
    models: Vec<i64>,
    live: Arc<Live>,
    indexing: Indexing,
    calibrations: Calibrations,
    kept: Kept,
    /// How the pictures of references are looked at.
    looks: Looks,
}

/// A model of an engine, and its name there.
pub struct Member {
    /// The name that searches and [`Engine::stats`] use.
    pub name: String,
    /// Its encoder.
    pub encoder: Arc<dyn Encode>,
}

/// Options of an engine, beside its models.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// The number of threads that the engine's work runs on; by default those of the first model.
    pub threads: Option<usize>,
    /// How the catalog is opened.
    pub access: Access,
    /// Copies of added pictures that are kept.
    pub keep: Keep,
    /// Whether the vector of a picture that is added is the mean of those of the whole and of its middle, as
    /// [`each_image`](crate::encoder::each_image) makes it; as before by default, and not in a new catalog.
    pub crops: Option<bool>,
    /// The views of a mesh that is added, each a reference; as before by default, and [`VIEWS`] in a new catalog.
    pub views: Option<usize>,
    /// Which index it has.
    pub index: IndexOptions,
}

impl Engine {
    /// Opens the catalog in `directory` to encode with `members`, one for each model; makes one if there is none and the
    /// options say so. Without members its items can be looked at and removed.
    ///
    /// A catalog belongs to the models that its pictures were added with. It can be searched with some of them, and
    /// added to with all of them.
    ///
    /// # Errors
    /// [`Error::Catalog`] if the directory is not a catalog, belongs to other models or cannot be written;
    /// [`Error::Argument`] if two models have one name or one fingerprint, or `threads` makes no sense;
    /// [`Error::Model`] if one of several encodes no pictures, or was opened before this process forked.
    pub fn open(directory: &Path, members: Vec<Member>, options: &EngineOptions) -> Result<Self> {
        let EngineOptions { threads, access, keep, crops, views, index } = options;
        check_members(&members)?;
        views.map_or(Ok(()), check_count)?;
        let workers = match (threads, members.first()) {
            (None, Some(first)) => Arc::clone(first.encoder.workers()),
            _ => workers(*threads)?,
        };
        let (names, encoders): (Vec<String>, Vec<Arc<dyn Encode>>) =
            members.into_iter().map(|member| (member.name, member.encoder)).unzip();
        let store = Arc::new(Store::open(directory, access)?);
        let number = |(name, encoder): (&String, &Arc<dyn Encode>)| {
            store.model(name, &encoder.about().fingerprint, encoder.about().dim)
        };
        let models = names.iter().zip(&encoders).map(number).collect::<Result<Vec<_>>>()?;
        for ((name, encoder), model) in names.iter().zip(&encoders).zip(&models) {
            check_probe(&store, name, &**encoder, *model)?;
        }
        let dims: Vec<usize> = encoders.iter().map(|encoder| encoder.about().dim).collect();
        let kept = Kept::new(store.directory(), access, keep);
        // An index has at least one space, be it for vectors that never come.
        let live = Arc::new(Live::new(if dims.is_empty() { &[1] } else { &dims })?);
        let calibrations = Calibrations::default();
        let looks = Looks {
            crops: setting(&store, CROPS, *crops, false)?,
            views: setting(&store, VIEWS_SETTING, *views, VIEWS)?,
        };
        check_count(looks.views)?;
        let indexing = Indexing::new(&live, &store, &models, &encoders, index, &workers)?;
        let engine = Self { live, indexing, calibrations, encoders, names, workers, store, models, kept, looks };
        // A damaged vector is told by the searches: its item can still be removed.
        match engine.current() {
            Ok(state) => engine.indexing.hold(&state, engine.workers())?,
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(engine)
    }

    /// Closes the catalog if nothing else uses it, and waits for a fork that is under way. Call it without the
    /// interpreter's lock.
    pub fn close(self: Arc<Self>) {
        let _active = fork::enter();
        drop(self);
    }

    // Models

    /// The names of the models, in their order.
    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// Returns the encoder of pictures: the model of that name, or the first one that encodes pictures.
    ///
    /// # Errors
    /// [`Error::Model`] if it encodes none, [`Error::Argument`] if there is no such model.
    pub fn image_encoder(&self, model: Option<&str>) -> Result<&dyn Encode> {
        Ok(&*self.encoders[self.seeing(model)?])
    }

    /// Returns the encoder of texts: the model of that name, or the first one that encodes texts.
    ///
    /// # Errors
    /// [`Error::Model`] if it encodes none, [`Error::Argument`] if there is no such model.
    pub fn text_encoder(&self, model: Option<&str>) -> Result<&dyn Encode> {
        Ok(&*self.encoders[self.reading(model)?])
    }

    /// The name of the model that [`text_encoder`](Self::text_encoder) returns.
    ///
    /// # Errors
    /// Those of [`Engine::text_encoder`].
    pub fn text_model(&self, model: Option<&str>) -> Result<&str> {
        Ok(&self.names[self.reading(model)?])
    }

    /// The name of the first model that encodes pictures, and that of the first one that encodes texts.
    pub fn defaults(&self) -> [Option<&str>; 2] {
        let first = |able: fn(&dyn Encode) -> bool| {
            self.encoders.iter().position(|encoder| able(&**encoder)).map(|space| self.names[space].as_str())
        };
        [first(sees), first(reads)]
    }

    /// The vectors of pictures, in their order, of the model of that name or the first one that encodes pictures; that of
    /// a mesh is the mean of its views.
    ///
    /// # Errors
    /// Those of [`Engine::image_encoder`], and of the first picture that gets no vector.
    pub fn encode_images(&self, sources: &[Source], model: Option<&str>) -> Result<Vectors> {
        image_vectors(self.image_encoder(model)?, sources, Looks { crops: false, ..self.looks })
    }

    /// The vectors of texts, in their order, of the model of that name or the first one that reads texts: those that a
    /// search looks up.
    ///
    /// # Errors
    /// Those of [`Engine::text_encoder`] and of the encoder.
    pub fn encode_texts(&self, texts: &[&str], model: Option<&str>, expand: &Expand) -> Result<Vectors> {
        let texts: Vec<Cow<'_, str>> = texts.iter().map(|text| words::visible(text)).collect();
        expand.encode(self.text_encoder(model)?, &texts.iter().map(|text| &**text).collect::<Vec<_>>())
    }

    /// For each text, whether all of `models` that read texts know no word of it, or the first one that reads texts if
    /// none is named: such texts have no meaning to them and one vector in common.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such model.
    pub fn unreadable(&self, texts: &[&str], models: &[(String, f32)]) -> Result<Vec<bool>> {
        let mut reading: Vec<usize> = match models {
            [] => self.able(None, reads)?.into_iter().collect(),
            _ => models.iter().map(|(name, _)| self.space(name)).collect::<Result<_>>()?,
        };
        reading.retain(|space| reads(&*self.encoders[*space]));
        let unread = |text: &&str| {
            let text = words::visible(text);
            !reading.is_empty() && reading.iter().all(|space| self.encoders[*space].cannot_read(&text))
        };
        Ok(texts.iter().map(unread).collect())
    }

    fn seeing(&self, model: Option<&str>) -> Result<usize> {
        self.able(model, sees)?.map_err(|space| match self.encoders[space].about().texts {
            false => self.encoders[space].about().lacks("image"),
            true => Error::model(
                &self.names[space],
                "has no image tower: it encodes texts only; to look up pictures, add them to a new catalog with a model \
                 that sees them, such as \"plushie-mini\"",
            ),
        })
    }

    fn reading(&self, model: Option<&str>) -> Result<usize> {
        match (self.able(model, reads)?, self.able(None, reads)?) {
            (Ok(space), _) => Ok(space),
            (Err(space), Ok(other)) => Err(Error::model(
                &self.names[space],
                format!(
                    "has no text tower: it encodes pictures only; texts are looked up by {:?}, unless another model is \
                     named",
                    self.names[other]
                ),
            )),
            (Err(space), Err(_)) if !self.encoders[space].about().images => {
                Err(self.encoders[space].about().lacks("text"))
            }
            (Err(space), Err(_)) => Err(Error::model(
                &self.names[space],
                format!(
                    "has no text tower: it encodes pictures only; to find its pictures by words, move the catalog to \
                     two models, one of which reads texts, by engine.reencode([{:?}, \"plushie-mini\"]) \
                     (`plushie-search models list` shows others: those with languages)",
                    self.names[space]
                ),
            )),
        }
    }

    /// The model of that name, or the first one that is able to; the number of one that is not if there is none.
    fn able(&self, model: Option<&str>, able: fn(&dyn Encode) -> bool) -> Result<Result<usize, usize>> {
        if self.encoders.is_empty() {
            return Err(Error::argument("this engine was opened without a model; open the catalog with one"));
        }
        let first = model.map(|name| self.space(name)).transpose()?;
        let mut choice = first.map_or(0..self.encoders.len(), |space| space..space + 1);
        let none = choice.start;
        Ok(choice.find(|space| able(&*self.encoders[*space])).ok_or(none))
    }

    /// The number of the model of that name.
    fn space(&self, name: &str) -> Result<usize> {
        self.names().iter().position(|known| *known == name).ok_or_else(|| {
            let (name, names) = (short(name), self.names());
            Error::argument(format!("this engine has no model {name}, but {names:?}: open it with that one"))
        })
    }

    /// The state of the catalog with everything that any process has committed before this call.
    fn current(&self) -> Result<Arc<State>> {
        if self.models.is_empty() {
            return Ok(self.live.state());
        }
        let state = self.live.current(&self.store, &self.models)?;
        if !state.index.is_damaged() {
            return Ok(state);
        }
        self.indexing.leave()?;
        self.live.current(&self.store, &self.models)
    }

    /// Does what looks at vectors, and does it again if the file of the index turns out to be damaged meanwhile.
    fn undamaged<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        let before = damages();
        let done = work();
        if damages() == before { done } else { work() }
    }

    fn workers(&self) -> &ThreadPool {
        &self.workers
    }

    /// The form of an id in this catalog: composed, unless an item has it as it was given, in a catalog that was filled
    /// when ids were kept so.
    pub(super) fn spelling<'a>(&self, id: &'a str) -> Result<Cow<'a, str>> {
        match words::composed(id) {
            Cow::Owned(composed) if !self.store.contains(id)? => Ok(Cow::Owned(composed)),
            _ => Ok(Cow::Borrowed(id)),
        }
    }

    // Looking

    /// The vectors of an item's references, in their order, of the model of that name or the first one.
    ///
    /// # Errors
    /// [`Error::UnknownItem`]; [`Error::Argument`] when there is no such model.
    pub fn vectors(&self, id: &str, model: Option<&str>) -> Result<Vectors> {
        let space = model.map_or(Ok(0), |name| self.space(name))?;
        self.store.check_search(&self.models[space..=space])?;
        let id = self.spelling(id)?;
        let mut rows = Vec::new();
        for (reference, vector) in self.store.vectors(&id, self.models[space])? {
            check_units(&self.store, &[reference], &vector)?;
            rows.extend(vector);
        }
        Vectors::normalize(self.encoders[space].about().dim, rows)
    }

    /// How many items there are.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn len(&self) -> Result<usize> {
        self.store.len()
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        self.store.is_empty()
    }

    /// Counts, sizes, the models and the index; what is said of one model without its name is said of the first.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the catalog cannot be read.
    pub fn stats(&self) -> Result<Map<String, Value>> {
        let stored = self.store.stats()?;
        let state = self.current()?;
        let (indexed, index_bytes) = (state.index.len(), state.index.bytes());
        let (calibrations, learned) = self.calibration_stats(&state)?;
        let others = self.store.held()?.into_iter().filter(|held| !self.models.contains(&held.row));
        let model = |(name, encoder): (&String, &Arc<dyn Encode>)| {
            let about = encoder.about();
            json!({
                "name": name,
                "version": about.version,
                "fingerprint": about.fingerprint,
                "dimension": about.dim,
                "languages": about.languages,
                "image": about.images,
                "text": about.texts,
                "indexed": indexed,
                "device": about.device,
                "precision": about.precision,
            })
        };
        let first = self.encoders.first().map(|encoder| encoder.about());
        let counts = |of: fn(&Cache) -> Counts| {
            let all = self.encoders.iter().map(|encoder| of(encoder.cache()));
            let (hits, misses) = all.fold((0, 0), |(h, m), Counts { hits, misses }| (h + hits, m + misses));
            json!({"hits": hits, "misses": misses})
        };
        let Value::Object(stats) = json!({
            "path": self.store.directory().to_string_lossy(),
            "items": stored.items,
            "references": stored.references,
            "bytes": stored.bytes,
            "model": self.names.first(),
            "version": first.map(|about| &about.version),
            "fingerprint": first.map(|about| &about.fingerprint),
            "dimension": first.map(|about| about.dim),
            "languages": first.map(|about| &about.languages),
            "index": Self::index_name(&state),
            "approximate": self.index_stats(&state),
            "index_bytes": index_bytes,
            "index_device": self.device_stats(&state),
            "indexed": indexed,
            "threads": self.workers().current_num_threads(),
            "device": first.map(|about| &about.device),
            "precision": first.and_then(|about| about.precision.as_ref()),
            "crops": self.looks.crops,
            "views": self.looks.views,
            "calibration": calibrations,
            "learned_weights": learned,
            "cache": {"images": counts(Cache::image_counts), "texts": counts(Cache::text_counts)},
            "models": self.names.iter().zip(&self.encoders).map(model).collect::<Vec<_>>(),
            "other_models": others.map(|model| model.name).collect::<Vec<_>>(),
        }) else {
            unreachable!("json! of braces is an object")
        };
        Ok(stats)
    }
}

/// The setting that says whether the middles of references are encoded, too.
const CROPS: &str = "crops";

/// The setting that says how many views of a mesh are encoded.
const VIEWS_SETTING: &str = "views";

/// Returns a setting of this catalog, `usual` in a new one, and stores what is asked for.
fn setting<T>(store: &Store, key: &str, asked: Option<T>, usual: T) -> Result<T>
where
    T: Copy + PartialEq + Serialize + DeserializeOwned,
{
    let stored = store.setting(key)?.unwrap_or(usual);
    let value = asked.unwrap_or(stored);
    if value != stored && store.check_writable().is_ok() {
        store.set_setting(key, Some(&value))?;
    }
    Ok(value)
}

/// Refuses models that cannot be those of one engine.
fn check_members(members: &[Member]) -> Result<()> {
    for (number, Member { name, encoder }) in members.iter().enumerate() {
        encoder.check_process()?;
        let about = encoder.about();
        if members[..number].iter().any(|other| other.name == *name) {
            return Err(Error::argument(format!(
                "two models are called {name:?}: leave one out, or name them, as model={{\"first\": ..., \
                 \"second\": ...}}"
            )));
        }
        let same = |other: &&Member| other.encoder.about().fingerprint == about.fingerprint;
        if let Some(other) = members[..number].iter().find(same) {
            return Err(Error::argument(format!(
                "models {:?} and {name:?} are the same, by their fingerprint: leave one out",
                other.name
            )));
        }
        if members.len() > 1 && about.texts && !about.images {
            return Err(Error::model(
                name,
                "has no image tower, so its texts would find no picture: leave it out, or take a model that encodes \
                 both in its place",
            ));
        }
    }
    Ok(())
}

/// Refuses a server that runs another model than when the catalog was filled by it.
fn check_probe(store: &Store, name: &str, encoder: &dyn Encode, model: i64) -> Result<()> {
    let found = encoder.probe();
    if found.is_empty() {
        return Ok(());
    }
    let [image, text] = store.probe(model, &[found.image.clone(), found.text.clone()])?;
    let Some((side, cosine)) = found.differs(&Probe { image, text }) else { return Ok(()) };
    let [at_image, at_text] = encoder.outputs();
    let address = if side == "image" { at_image } else { at_text }.map_or("", |(address, _)| address);
    Err(Error::model(
        name,
        format!(
            "service {address}: it runs another model than when this catalog was filled: its vector of the {side} that \
             tells models apart has the cosine {cosine:.4} with that of then, and {ALIKE} is the least; run that model \
             there again, or add everything to a new catalog"
        ),
    ))
}

fn sees(encoder: &dyn Encode) -> bool {
    encoder.about().images
}

fn reads(encoder: &dyn Encode) -> bool {
    encoder.about().texts
}
