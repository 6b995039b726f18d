//! An open catalog: add, search, change, keep.

mod add;
mod keep;
mod kept;
mod live;
mod search;
mod vectors;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;
use serde_json::{Map, Value, json};

pub use self::add::{Added, Draft, Prepared, shown};
pub use self::keep::digest;
pub use self::kept::{Keep, Small};
pub use self::search::{Hit, Search};
pub use self::vectors::Rows;

use self::kept::Kept;
use crate::encoder::{ALIKE, Encoder, Probe};
use crate::engine::live::{Live, State, check_units};
use crate::error::{Error, Result, short};
use crate::store::{Access, Store, fork};
use crate::vectors::Vectors;
use crate::words;

/// An open catalog. Share it between threads: every method takes `&self`, and searches do not wait for long writes.
///
/// It may have several models: then a picture gets a vector of each when it is added, and is looked up by one of them, or
/// by one while another looks up words.
pub struct Engine {
    /// One for each model. Each has an image tower, unless it is alone.
    encoders: Vec<Arc<Encoder>>,
    store: Store,
    /// The models' numbers in the store.
    models: Vec<i64>,
    live: Live,
    kept: Kept,
}

impl Engine {
    /// Opens the catalog in `directory` to encode with `encoders`, one for each model, on the threads of the first, where
    /// the engine's work runs too; makes one if there is none and `access` says so. `keep` says what is kept of pictures.
    ///
    /// A catalog belongs to the models that its pictures were added with. It can be searched with some of them, and
    /// added to with all of them.
    ///
    /// # Errors
    /// [`Error::Catalog`] when the directory is not a catalog, belongs to other models or cannot be written;
    /// [`Error::Argument`] when there is no model or two have one name, [`Error::Model`] when one of several has no image
    /// tower.
    pub fn open(directory: &Path, encoders: Vec<Arc<Encoder>>, access: &Access, keep: &Keep) -> Result<Self> {
        let names: Vec<&str> = encoders.iter().map(|encoder| encoder.model().name()).collect();
        if names.is_empty() {
            return Err(Error::argument("a catalog needs at least one model"));
        }
        for (number, name) in names.iter().enumerate() {
            if names[..number].contains(name) {
                return Err(Error::argument(format!(
                    "two models are called {name:?}: leave one out, or give one another name in its model.json"
                )));
            }
            if names.len() > 1 && !sees(&encoders[number]) {
                return Err(Error::model(
                    name,
                    "has no image tower, so its texts would find no picture: leave it out, or take a model with both \
                     towers in its place",
                ));
            }
        }
        let store = Store::open(directory, access)?;
        let number =
            |encoder: &Arc<Encoder>| store.model(encoder.model().name(), encoder.model().fingerprint(), encoder.dim());
        let models = encoders.iter().map(number).collect::<Result<Vec<_>>>()?;
        encoders.iter().zip(&models).try_for_each(|(encoder, &model)| check_probe(&store, encoder, model))?;
        let kept = Kept::new(store.directory(), access, keep);
        let engine = Self { live: Live::new(&dims(&encoders))?, encoders, store, models, kept };
        // A damaged vector is told by the searches: its item can still be removed.
        match engine.current() {
            Ok(_) | Err(Error::Damaged { .. }) => {}
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
        self.encoders.iter().map(|encoder| encoder.model().name()).collect()
    }

    /// What pictures become vectors with: the model of that name, or the first one that sees pictures.
    ///
    /// # Errors
    /// [`Error::Model`] when it sees none, [`Error::Argument`] when there is no such model.
    pub fn image_encoder(&self, model: Option<&str>) -> Result<&Encoder> {
        Ok(&self.encoders[self.seeing(model)?])
    }

    /// What texts become vectors with: the model of that name, or the first one that reads texts.
    ///
    /// # Errors
    /// [`Error::Model`] when it reads none, [`Error::Argument`] when there is no such model.
    pub fn text_encoder(&self, model: Option<&str>) -> Result<&Encoder> {
        Ok(&self.encoders[self.reading(model)?])
    }

    /// The vectors of texts, in their order, of the model of that name or the first one that reads texts: those that a
    /// search looks up.
    ///
    /// # Errors
    /// Those of [`Engine::text_encoder`] and of the encoder.
    pub fn encode_texts(&self, texts: &[&str], model: Option<&str>) -> Result<Vectors> {
        let texts: Vec<Cow<'_, str>> = texts.iter().map(|text| words::visible(text)).collect();
        self.text_encoder(model)?.texts(&texts.iter().map(|text| &**text).collect::<Vec<_>>())
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
        reading.retain(|space| reads(&self.encoders[*space]));
        let unread = |text: &&str| {
            let text = words::visible(text);
            !reading.is_empty() && reading.iter().all(|space| self.encoders[*space].cannot_read(&text))
        };
        Ok(texts.iter().map(unread).collect())
    }

    fn seeing(&self, model: Option<&str>) -> Result<usize> {
        self.able(model, sees)?.map_err(|name| {
            Error::model(
                name,
                "has no image tower: it encodes texts only; to look up pictures, add them to a new catalog with a model \
                 that sees them, such as \"plushie-mini\"",
            )
        })
    }

    fn reading(&self, model: Option<&str>) -> Result<usize> {
        match (self.able(model, reads)?, self.able(None, reads)?) {
            (Ok(space), _) => Ok(space),
            (Err(name), Ok(other)) => Err(Error::model(
                name,
                format!(
                    "has no text tower: it encodes pictures only; texts are looked up by {:?}, unless another model is \
                     named",
                    self.encoders[other].model().name()
                ),
            )),
            (Err(name), Err(_)) => Err(Error::model(
                name,
                format!(
                    "has no text tower: it encodes pictures only; to find its pictures by words, add them to a new \
                     catalog with a second model that reads texts, as model=[{name:?}, \"plushie-mini\"] (`plushie-search \
                     models list` shows others: those with languages)"
                ),
            )),
        }
    }

    /// The model of that name, or the first one that is able to; the name of one that is not if there is none.
    fn able(&self, model: Option<&str>, able: impl Fn(&Encoder) -> bool) -> Result<Result<usize, &str>> {
        let first = model.map(|name| self.space(name)).transpose()?;
        let mut choice = first.map_or(0..self.encoders.len(), |space| space..space + 1);
        let none = self.encoders[choice.start].model().name();
        Ok(choice.find(|space| able(&self.encoders[*space])).ok_or(none))
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
        self.live.current(&self.store, &self.models)
    }

    fn workers(&self) -> &ThreadPool {
        self.encoders[0].workers()
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
        let id = self.spelling(id)?;
        let mut rows = Vec::new();
        for (reference, vector) in self.store.vectors(&id, self.models[space])? {
            check_units(&self.store, &[reference], &vector)?;
            rows.extend(vector);
        }
        Vectors::normalize(self.encoders[space].dim(), rows)
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
        let others = self.store.held()?.into_iter().filter(|held| !self.models.contains(&held.row));
        let model = |encoder: &Arc<Encoder>| {
            let model = encoder.model();
            json!({
                "name": model.name(),
                "version": model.version(),
                "fingerprint": model.fingerprint(),
                "dimension": model.dim(),
                "languages": model.languages(),
                "image": model.image().is_some(),
                "text": model.text().is_some(),
                "indexed": indexed,
                "device": encoder.device().to_string(),
                "precision": encoder.precision().map(|precision| precision.to_string()),
            })
        };
        let first = self.encoders[0].model();
        let device = self.encoders[0].device().to_string();
        let precision = self.encoders[0].precision().map(|precision| precision.to_string());
        let Value::Object(stats) = json!({
            "path": self.store.directory().to_string_lossy(),
            "items": stored.items,
            "references": stored.references,
            "bytes": stored.bytes,
            "model": first.name(),
            "version": first.version(),
            "fingerprint": first.fingerprint(),
            "dimension": first.dim(),
            "languages": first.languages(),
            "index": "exact",
            "index_bytes": index_bytes,
            "indexed": indexed,
            "threads": self.workers().current_num_threads(),
            "device": device,
            "precision": precision,
            "models": self.encoders.iter().map(model).collect::<Vec<_>>(),
            "other_models": others.map(|model| model.name).collect::<Vec<_>>(),
        }) else {
            unreachable!("json! of braces is an object")
        };
        Ok(stats)
    }
}

/// Returns how many numbers the vectors of each model have.
fn dims(encoders: &[Arc<Encoder>]) -> Vec<usize> {
    encoders.iter().map(|encoder| encoder.dim()).collect()
}

/// Refuses a server that runs another model than when the catalog was filled by it.
fn check_probe(store: &Store, encoder: &Encoder, model: i64) -> Result<()> {
    let found = encoder.probe();
    if found.is_empty() {
        return Ok(());
    }
    let [image, text] = store.probe(model, &[found.image.clone(), found.text.clone()])?;
    let Some((side, cosine)) = found.differs(&Probe { image, text }) else { return Ok(()) };
    let [at_image, at_text] = encoder.outputs();
    let address = if side == "image" { at_image } else { at_text }.map_or("", |(address, _)| address);
    Err(Error::model(
        encoder.model().name(),
        format!(
            "service {address}: it runs another model than when this catalog was filled: its vector of the {side} that \
             tells models apart has the cosine {cosine:.4} with that of then, and {ALIKE} is the least; run that model \
             there again, or add everything to a new catalog"
        ),
    ))
}

fn sees(encoder: &Encoder) -> bool {
    // One that is described and missing says itself what to do.
    encoder.sees() || encoder.model().image().is_some()
}

fn reads(encoder: &Encoder) -> bool {
    encoder.reads() || encoder.model().text().is_some()
}
