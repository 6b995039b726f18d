//! Pictures and texts to vectors, by ONNX Runtime: decoding and preprocessing of some overlap the network of others.

mod network;
mod runtime;
mod session;
mod signature;

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

pub use self::runtime::load_runtime;

use self::network::{Network, Opened};
use self::signature::{Feed, Plan, Takes};
use crate::error::{Error, Result};
use crate::model::{IMAGE_OUTPUTS, ImageTower, Model, Padding, TEXT_OUTPUTS, TextTower};
use crate::picture::Source;
use crate::preprocess::Preprocess;
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
}

/// A model that is ready to encode, shared by any number of threads.
pub struct Encoder {
    model: Model,
    process: u32,
    workers: Arc<ThreadPool>,
    image: Option<ImageEncoder>,
    text: Option<TextEncoder>,
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
    /// Vectors by the hash of their text, so that long texts take no more room than short ones.
    remembered: Mutex<LruCache<[u8; 32], Arc<Vectors>>>,
}

impl Encoder {
    /// Opens the networks of `model`, to run them as `options` say.
    ///
    /// # Errors
    /// [`Error::Model`] when [`load_runtime`] was not called or a network is not what the manifest says,
    /// [`Error::Argument`] when there would be no threads.
    pub fn open(model: Model, options: &Options) -> Result<Self> {
        let workers = workers(options.threads)?;
        let image = model.image().map(|tower| ImageEncoder::open(&model, tower)).transpose()?;
        let text = model.text().map(|tower| {
            // Both sides of one network run in the same session: its weights are in memory once.
            let same = image.as_ref().filter(|_| model.image().is_some_and(|image| image.file == tower.file));
            TextEncoder::open(&model, tower, same.map(|image| image.network.opened()))
        });
        let text = text.transpose()?;
        Ok(Self { model, process: process::id(), workers, image, text })
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

    /// From which output of which file the vectors of pictures, and those of texts, are read.
    pub fn outputs(&self) -> [Option<(&str, &str)>; 2] {
        [self.image.as_ref().map(|tower| &tower.network), self.text.as_ref().map(|tower| &tower.network)]
            .map(|network| network.map(Network::reads))
    }

    /// The vectors of pictures, in their order.
    ///
    /// # Errors
    /// The first picture's that cannot be read, or [`Error::Model`] when the model has no image tower.
    pub fn images(&self, sources: &[Source]) -> Result<Vectors> {
        self.image_tower()?;
        self.gather(self.image_rows(sources))
    }

    /// The vector of each picture, or why it has none: one bad picture spoils no other.
    pub fn each_image(&self, sources: &[Source]) -> Vec<Result<Vec<f32>>> {
        self.image_rows(sources).into_iter().map(|row| row.map(Vectors::into_inner)).collect()
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
            let mut remembered = tower.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, text) in keys.iter().zip(texts) {
                match remembered.get(key) {
                    Some(row) => drop(rows.insert(*key, row.clone())),
                    None => drop(missing.insert(*key, *text)),
                }
            }
        }
        if !missing.is_empty() {
            let missing: Vec<_> = missing.into_iter().collect();
            let fresh: Vec<_> = self.workers.install(|| {
                missing
                    .par_iter()
                    .with_max_len(1)
                    .map(|(key, text)| Ok((*key, tower.row(text)?)))
                    .collect::<Result<_>>()
            })?;
            let mut remembered = tower.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, row) in fresh {
                remembered.put(key, row.clone());
                rows.insert(key, row);
            }
        }
        self.gather(keys.iter().map(|key| Ok(&*rows[key])))
    }

    fn image_rows(&self, sources: &[Source]) -> Vec<Result<Vectors>> {
        let Ok(tower) = self.image_tower() else {
            return sources.iter().map(|_| self.image_tower().map(|_| Vectors::new(self.dim()))).collect();
        };
        let rows: Vec<Vec<Result<Vectors>>> = self.workers.install(|| {
            let size = if sources.len() >= MANY && tower.shares() { TOGETHER } else { 1 };
            let room = || vec![0.0; size * tower.preprocess.tensor_len()];
            sources.par_chunks(size).with_max_len(1).map_init(room, |tensors, some| tower.rows(some, tensors)).collect()
        });
        rows.into_iter().flatten().collect()
    }

    fn gather<R: Borrow<Vectors>>(&self, rows: impl IntoIterator<Item = Result<R>>) -> Result<Vectors> {
        let mut vectors = Vectors::new(self.dim());
        for row in rows {
            vectors.extend(row?.borrow());
        }
        Ok(vectors)
    }

    fn image_tower(&self) -> Result<&ImageEncoder> {
        self.check_process()?;
        let none = || Error::model(self.model.name(), "has no image tower: it encodes texts only");
        self.image.as_ref().ok_or_else(none)
    }

    fn text_tower(&self) -> Result<&TextEncoder> {
        self.check_process()?;
        let none = || Error::model(self.model.name(), "has no text tower: it encodes pictures only");
        self.text.as_ref().ok_or_else(none)
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
        let (height, width) = tower.preprocess.shape();
        let plan = Plan {
            output: tower.output.as_deref(),
            pool: tower.pool,
            favourites: IMAGE_OUTPUTS,
            takes: Takes::Pixels(height, width),
            other_pixels: (height, width),
        };
        let mut network = Network::new(model, Opened::new(model, &tower.file)?, &plan)?;
        if network.is_combined() {
            let blank = vec![0.0; tower.preprocess.tensor_len()];
            network.try_out(Feed::Pixels(&blank, (height, width)))?;
        }
        Ok(Self { preprocess: tower.preprocess.clone(), network, together: OnceLock::new() })
    }

    /// The vectors of up to [`TOGETHER`] pictures; `tensors` is room for all of them.
    fn rows(&self, sources: &[Source], tensors: &mut [f32]) -> Vec<Result<Vectors>> {
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
        let plan = Plan {
            output: tower.output.as_deref(),
            pool: tower.pool,
            favourites: TEXT_OUTPUTS,
            takes: Takes::Tokens((tower.padding == Padding::Fixed).then_some(tower.max_length)),
            other_pixels: model.image().map_or((224, 224), |image| image.preprocess.shape()),
        };
        let mut network = Network::new(model, opened, &plan)?;
        let tokenizer = Tokenizer::open(model)?;
        try_out(&mut network, &tokenizer, model, tower)?;
        let remembered = Mutex::new(LruCache::new(REMEMBERED));
        Ok(Self { tokenizer, network, remembered })
    }

    fn row(&self, text: &str) -> Result<Arc<Vectors>> {
        let tokens = self.tokenizer.encode(&[text])?;
        self.network.run(Feed::Tokens(&tokens), || tokenize::name(text)).map(Arc::new)
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
