//! Pictures and texts to vectors, by ONNX Runtime here or on a server: decoding and preprocessing of some overlap the
//! network of others.

mod in_flight;
mod network;
mod probe;
mod remote;
mod runtime;
mod session;
mod signature;
mod tower;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::process;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use lru::LruCache;
use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub use self::probe::{ALIKE, Probe};
pub use self::runtime::load_runtime;

use self::network::{Network, Opened};
use self::remote::{RemotePictures, RemoteTexts};
use self::signature::{Feed, Plan, Takes};
use self::tower::{Pictures, Texts};
use crate::error::{Error, Result};
use crate::model::{IMAGE_OUTPUTS, ImageTower, Model, Padding, TEXT_OUTPUTS, TextTower};
use crate::picture::Source;
use crate::preprocess::Preprocess;
use crate::service;
use crate::service::{Address, Tensors};
use crate::tokenize;
use crate::tokenize::Tokenizer;
use crate::vectors::Vectors;
use crate::workers::workers;

/// Texts whose vectors are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Pictures that go through a network together, where that saves time and changes no vector.
const TOGETHER: usize = 4;

/// Fewer pictures are not worth finding out whether it does.
const MANY: usize = 32;

/// How a model is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The most threads that compute, however many call; all cores when `None`. Encoders of as many threads share them.
    pub threads: Option<usize>,
    /// The server that runs networks of the model, if they do not all run here.
    pub service: Option<Service>,
}

/// A server that runs networks of a model.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where the network for pictures runs, if not here.
    pub image: Option<Address>,
    /// Where the network for texts runs, if not here. Where it is the same address as that for pictures, the server may
    /// lack one of them: that one runs here, if it is here.
    pub text: Option<Address>,
    /// How it is called.
    pub options: service::Options,
}

/// A model that is ready to encode, shared by any number of threads.
pub struct Encoder {
    model: Model,
    process: u32,
    workers: Arc<ThreadPool>,
    image: Option<Box<dyn Pictures>>,
    text: Option<Box<dyn Texts>>,
    /// Vectors by the hash of their text, so that long texts take no more room than short ones.
    remembered: Mutex<LruCache<[u8; 32], Arc<Vectors>>>,
    probe: Probe,
}

struct ImageEncoder {
    preprocess: Preprocess,
    network: Network,
    /// Whether pictures go through the network together, once that is known.
    together: OnceLock<bool>,
}

struct TextEncoder {
    tokenizer: Tokenizer,
    network: Network,
}

impl Encoder {
    /// Opens the networks of `model`, to run them as `options` say.
    ///
    /// What runs on a server is asked for the vectors of a fixed picture and text, which must be those of the model: of
    /// its [`facts`](Model::facts), or of its networks if they are here.
    ///
    /// # Errors
    /// [`Error::Model`] when [`load_runtime`] was not called, a network is not what the manifest says, or a server cannot
    /// be asked or runs another model; [`Error::Argument`] when an option makes no sense.
    pub fn open(model: Model, options: &Options) -> Result<Self> {
        let workers = workers(options.threads)?;
        let (mut far_image, mut far_text) = (None, None);
        if let Some(Service { image, text, options }) = &options.service {
            let one = image == text;
            let open = |address: &Address| Tensors::open(address, options, model.name()).map(Arc::new);
            let for_images = image.as_ref().map(open).transpose()?;
            let for_texts = if one { for_images.clone() } else { text.as_ref().map(open).transpose()? };
            let lacks = |service: &Tensors, what: &str| {
                let address = service.address();
                Error::model(model.name(), format!("service {address}: its model takes no {what}; name another"))
            };
            if let Some(service) = &for_images {
                far_image = RemotePictures::open(&model, service)?;
                if far_image.is_none() && !one {
                    return Err(lacks(service, "pictures that this model has"));
                }
            }
            if let Some(service) = &for_texts {
                far_text = RemoteTexts::open(&model, service)?;
                if far_text.is_none() && (!one || far_image.is_none()) {
                    return Err(lacks(service, "pictures or texts that this model has"));
                }
            }
        }
        let near_image = model.image().filter(|tower| far_image.is_none() && model.has(&tower.file));
        let near_image = near_image.map(|tower| ImageEncoder::open(&model, tower)).transpose()?;
        let near_text = model.text().filter(|tower| far_text.is_none() && model.has(&tower.file));
        let near_text = near_text.map(|tower| {
            // Both sides of one network run in the same session: its weights are in memory once.
            let same = near_image.as_ref().filter(|_| model.image().is_some_and(|image| image.file == tower.file));
            TextEncoder::open(&model, tower, same.map(|image| image.network.opened()))
        });
        let near_text = near_text.transpose()?;
        let probe = Self::probed(&model, far_image.as_ref(), far_text.as_ref(), &workers)?;
        let image = match far_image {
            Some(far) => Some(Box::new(far) as Box<dyn Pictures>),
            None => near_image.map(|near| Box::new(near) as Box<dyn Pictures>),
        };
        let text = match far_text {
            Some(far) => Some(Box::new(far) as Box<dyn Texts>),
            None => near_text.map(|near| Box::new(near) as Box<dyn Texts>),
        };
        let remembered = Mutex::new(LruCache::new(REMEMBERED));
        Ok(Self { model, process: process::id(), workers, image, text, remembered, probe })
    }

    /// The vectors of the probe by the towers that run on a server, which are compared with what is known of them.
    fn probed(
        model: &Model,
        image: Option<&RemotePictures>,
        text: Option<&RemoteTexts>,
        workers: &ThreadPool,
    ) -> Result<Probe> {
        let of_picture = |tower: &dyn Pictures| -> Result<Vec<f32>> {
            let mut rows = tower.rows(&[probe::picture()?], workers)?;
            rows.remove(0).map(Vectors::into_inner)
        };
        let of_text = |tower: &dyn Texts| -> Result<Vec<f32>> {
            tower.rows(&[probe::TEXT], workers).map(|mut rows| rows.remove(0).into_inner())
        };
        let found = Probe {
            image: image.map(|tower| of_picture(tower)).transpose()?,
            text: text.map(|tower| of_text(tower)).transpose()?,
        };
        let (mut known, facts) = (Probe::default(), model.facts());
        known.image = match (&facts.image, model.image().filter(|tower| image.is_some() && model.has(&tower.file))) {
            (Some(vector), _) => Some(vector.clone()),
            (None, Some(tower)) => Some(of_picture(&ImageEncoder::open(model, tower)?)?),
            (None, None) => None,
        };
        known.text = match (&facts.text, model.text().filter(|tower| text.is_some() && model.has(&tower.file))) {
            (Some(vector), _) => Some(vector.clone()),
            (None, Some(tower)) => Some(of_text(&TextEncoder::open(model, tower, None)?)?),
            (None, None) => None,
        };
        let Some((side, cosine)) = found.differs(&known) else { return Ok(found) };
        let address = match side {
            "image" => image.map(|tower| tower.reads().0),
            _ => text.map(|tower| tower.reads().0),
        };
        Err(Error::model(
            model.name(),
            format!(
                "service {}: its vector of the {side} that tells models apart has the cosine {cosine:.4} with this \
                 model's, and {ALIKE} is the least: it runs another model, or this one in a form that changes vectors; \
                 give the address or the name of the model that belongs to the other",
                address.unwrap_or_default()
            ),
        ))
    }

    /// What the towers that run on a server make of a fixed picture and text: a catalog knows by it whether they still
    /// are what they were.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The threads that everything this encoder computes runs on; share them rather than start others.
    pub fn workers(&self) -> &ThreadPool {
        &self.workers
    }

    /// Numbers in a vector.
    pub fn dim(&self) -> usize {
        self.model.dim()
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.workers.current_num_threads()
    }

    /// From which output of which file or service the vectors of pictures, and those of texts, are read.
    pub fn outputs(&self) -> [Option<(&str, &str)>; 2] {
        [self.image.as_ref().map(|tower| tower.reads()), self.text.as_ref().map(|tower| tower.reads())]
    }

    /// The vectors of pictures, in their order.
    ///
    /// # Errors
    /// The first picture's that cannot be read, or [`Error::Model`] when the model has no image tower.
    pub fn images(&self, sources: &[Source]) -> Result<Vectors> {
        self.gather(self.image_tower()?.rows(sources, &self.workers)?)
    }

    /// The vector of each picture, or why it has none: one bad picture spoils no other.
    ///
    /// # Errors
    /// [`Error::Model`] when no picture could have one: the model has no image tower, or its server cannot be used.
    pub fn each_image(&self, sources: &[Source]) -> Result<Vec<Result<Vec<f32>>>> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.image_tower()?.rows(sources, &self.workers)?;
        Ok(rows.into_iter().map(|row| row.map(Vectors::into_inner)).collect())
    }

    /// The vectors of texts, in their order.
    ///
    /// # Errors
    /// [`Error::Argument`] when a text is empty or too long, [`Error::Model`] when the model has no text tower.
    pub fn texts(&self, texts: &[&str]) -> Result<Vectors> {
        let tower = self.text_tower()?;
        for text in texts {
            tokenize::check(text)?;
        }
        let keys: Vec<[u8; 32]> = texts.iter().map(|text| Sha256::digest(text).into()).collect();
        let mut rows: HashMap<[u8; 32], Arc<Vectors>> = HashMap::with_capacity(keys.len());
        let mut missing = HashMap::new();
        {
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, text) in keys.iter().zip(texts) {
                match remembered.get(key) {
                    Some(row) => drop(rows.insert(*key, row.clone())),
                    None => drop(missing.insert(*key, *text)),
                }
            }
        }
        if !missing.is_empty() {
            let (keys, texts): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
            let fresh = tower.rows(&texts, &self.workers)?.into_iter().map(Arc::new);
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, row) in keys.into_iter().zip(fresh) {
                remembered.put(key, row.clone());
                rows.insert(key, row);
            }
        }
        self.gather(keys.iter().map(|key| Ok(&*rows[key])))
    }

    fn gather<R: Borrow<Vectors>>(&self, rows: impl IntoIterator<Item = Result<R>>) -> Result<Vectors> {
        let mut vectors = Vectors::new(self.dim());
        for row in rows {
            vectors.extend(row?.borrow());
        }
        Ok(vectors)
    }

    fn image_tower(&self) -> Result<&dyn Pictures> {
        self.check_process()?;
        self.image.as_deref().ok_or_else(|| self.without(self.model.image().is_some(), ["image", "texts"]))
    }

    fn text_tower(&self) -> Result<&dyn Texts> {
        self.check_process()?;
        self.text.as_deref().ok_or_else(|| self.without(self.model.text().is_some(), ["text", "pictures"]))
    }

    fn without(&self, described: bool, [tower, other]: [&str; 2]) -> Error {
        let reason = match described {
            true => {
                format!("its {tower} network is neither here nor on the service: copy it here, or name its service")
            }
            false => format!("has no {tower} tower: it encodes {other} only"),
        };
        Error::model(self.model.name(), reason)
    }

    /// Threads do not survive a fork; without this check the child would wait for them for ever.
    fn check_process(&self) -> Result<()> {
        match process::id() == self.process {
            true => Ok(()),
            false => Err(Error::model(self.model.name(), "was opened before this process forked; open it again here")),
        }
    }
}

impl ImageEncoder {
    fn open(model: &Model, tower: &ImageTower) -> Result<Self> {
        let mut network = Network::new(model, Opened::new(model, &tower.file)?, &image_plan(tower))?;
        if network.is_combined() {
            let blank = vec![0.0; tower.preprocess.tensor_len()];
            network.try_out(Feed::Pixels(&blank, tower.preprocess.shape()))?;
        }
        Ok(Self { preprocess: tower.preprocess.clone(), network, together: OnceLock::new() })
    }

    /// The vectors of up to [`TOGETHER`] pictures; `tensors` is room for all of them.
    fn some(&self, sources: &[Source], tensors: &mut [f32]) -> Vec<Result<Vectors>> {
        let size = self.preprocess.tensor_len();
        let rooms = tensors.chunks_exact_mut(size);
        let loaded: Vec<Result<()>> =
            sources.iter().zip(rooms).map(|(source, room)| self.preprocess.load(source, room)).collect();
        // A picture that is damaged, or that the network cannot do, must spoil no other.
        if sources.len() == TOGETHER
            && loaded.iter().all(Result::is_ok)
            && let Ok(vectors) = self.run(tensors, String::new)
        {
            return vectors.split().into_iter().map(Ok).collect();
        }
        let each = loaded.into_iter().zip(sources).zip(tensors.chunks_exact(size));
        each.map(|((loaded, source), tensor)| {
            loaded?;
            self.run(tensor, || format!("picture {}", source.name()))
        })
        .collect()
    }

    fn run(&self, tensors: &[f32], name: impl FnOnce() -> String) -> Result<Vectors> {
        self.network.run(Feed::Pixels(tensors, self.preprocess.shape()), name)
    }

    /// Whether pictures may go through the network together; tried once, when there are many for the first time.
    fn shares(&self) -> bool {
        *self.together.get_or_init(|| self.network.takes_several() && self.try_together().unwrap_or(false))
    }

    /// Whether noise of different strengths gets the same vectors together as one by one, bit by bit, and no later.
    fn try_together(&self) -> Result<bool> {
        let size = self.preprocess.tensor_len();
        let noise = noise(size);
        let first = self.run(&noise, String::new)?;
        let start = Instant::now();
        let alone = noise.chunks_exact(size).map(|tensor| self.run(tensor, String::new));
        let alone = alone.collect::<Result<Vec<_>>>()?;
        let (one_by_one, start) = (start.elapsed(), Instant::now());
        let again = self.run(&noise, String::new)?;
        let faster = start.elapsed() <= one_by_one;
        let same = |vectors: &Vectors| vectors.rows().eq(alone.iter().flat_map(Vectors::rows));
        Ok(faster && same(&first) && same(&again))
    }
}

impl Pictures for ImageEncoder {
    fn rows(&self, sources: &[Source], workers: &ThreadPool) -> Result<Vec<Result<Vectors>>> {
        let rows: Vec<Vec<Result<Vectors>>> = workers.install(|| {
            let size = if sources.len() >= MANY && self.shares() { TOGETHER } else { 1 };
            let room = || vec![0.0; size * self.preprocess.tensor_len()];
            sources.par_chunks(size).with_max_len(1).map_init(room, |tensors, some| self.some(some, tensors)).collect()
        });
        Ok(rows.into_iter().flatten().collect())
    }

    fn reads(&self) -> (&str, &str) {
        self.network.reads()
    }
}

/// What the manifest says about the network for pictures.
fn image_plan(tower: &ImageTower) -> Plan<'_> {
    let (height, width) = tower.preprocess.shape();
    Plan {
        output: tower.output.as_deref(),
        pool: tower.pool,
        favourites: IMAGE_OUTPUTS,
        takes: Takes::Pixels(height, width),
        other_pixels: (height, width),
    }
}

/// What the manifest says about the network for texts.
fn text_plan<'a>(model: &Model, tower: &'a TextTower) -> Plan<'a> {
    Plan {
        output: tower.output.as_deref(),
        pool: tower.pool,
        favourites: TEXT_OUTPUTS,
        takes: Takes::Tokens((tower.padding == Padding::Fixed).then_some(tower.max_length)),
        other_pixels: model.image().map_or((224, 224), |image| image.preprocess.shape()),
    }
}

/// Tensors for [`TOGETHER`] pictures of `size` numbers each: a scale that they share would show in every vector.
fn noise(size: usize) -> Vec<f32> {
    let strengths: [f32; TOGETHER] = [1.0, 4.0, 0.25, 2.0];
    let mut state = 1_u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    strengths.iter().flat_map(|strength| vec![*strength; size]).map(|strength| strength * number()).collect()
}

impl TextEncoder {
    fn open(model: &Model, tower: &TextTower, opened: Option<Arc<Opened>>) -> Result<Self> {
        let opened = opened.map_or_else(|| Opened::new(model, &tower.file), Ok)?;
        let mut network = Network::new(model, opened, &text_plan(model, tower))?;
        let tokenizer = Tokenizer::open(model)?;
        try_out(&mut network, &tokenizer, model, tower)?;
        Ok(Self { tokenizer, network })
    }
}

impl Texts for TextEncoder {
    fn rows(&self, texts: &[&str], workers: &ThreadPool) -> Result<Vec<Vectors>> {
        let row = |text: &&str| {
            let tokens = self.tokenizer.encode(&[text])?;
            self.network.run(Feed::Tokens(&tokens), || tokenize::name(text))
        };
        workers.install(|| texts.par_iter().with_max_len(1).map(row).collect())
    }

    fn reads(&self) -> (&str, &str) {
        self.network.reads()
    }
}

/// Shows a network the highest id of the tokenizer: one that it does not know would end some later search.
fn try_out(network: &mut Network, tokenizer: &Tokenizer, model: &Model, tower: &TextTower) -> Result<()> {
    let Some((highest, tokens)) = tokenizer.extreme() else { return Ok(()) };
    let Err(error) = network.try_out(Feed::Tokens(&tokens)) else { return Ok(()) };
    if !error.to_string().contains("out of data bounds") {
        // If it cannot run at all, that is what to say.
        network.try_out(Feed::Tokens(&tokenizer.encode(&["a"])?))?;
    }
    let TextTower { file, tokenizer, .. } = tower;
    Err(Error::model(
        model.name(),
        format!(
            "{tokenizer} gives ids up to {highest}, which {file} does not know: they belong to different models, or \
             text.pad_id is wrong; copy both from the same place ({error})"
        ),
    ))
}
