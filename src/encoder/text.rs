//! The tower for texts: they become tokens and run through their network, one by one or those of one length together.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::encoder::batch::flow;
use crate::encoder::image::cosine;
use crate::encoder::network::{Network, Opened};
use crate::encoder::provider::Setting;
use crate::encoder::signature::{Feed, Plan, Takes};
use crate::encoder::tower::Texts;
use crate::error::{Error, Result};
use crate::model::{Model, Padding, TEXT_OUTPUTS, TextTower};
use crate::tokenize;
use crate::tokenize::{Tokenizer, Tokens};
use crate::vectors::Vectors;

/// The least cosine between the vector that a text gets in a batch and the one that it gets alone.
const SAME: f32 = 0.9999;

/// Encodes texts on this machine.
pub(super) struct TextEncoder {
    tokenizer: Tokenizer,
    network: Network,
    setting: Setting,
    /// Whether texts go through the network together, once that is known.
    together: OnceLock<bool>,
}

/// The manifest's settings of the network for texts.
pub(super) fn text_plan<'a>(model: &Model, tower: &'a TextTower) -> Plan<'a> {
    Plan {
        output: tower.output.as_deref(),
        pool: tower.pool,
        favorites: TEXT_OUTPUTS,
        takes: Takes::Tokens((tower.padding == Padding::Fixed).then_some(tower.max_length)),
        other_pixels: model.image().map_or((224, 224), |image| image.preprocess.shape()),
    }
}

impl TextEncoder {
    /// Opens the network of `tower`, unless it is `opened` already.
    pub(super) fn open(
        model: &Model,
        tower: &TextTower,
        setting: &Setting,
        opened: Option<Arc<Opened>>,
    ) -> Result<Self> {
        let open = || Opened::new(model, &tower.file, setting, tower.padding == Padding::Fixed);
        let opened = opened.map_or_else(open, Ok)?;
        let mut network = Network::new(model, opened, &text_plan(model, tower))?;
        let tokenizer = Tokenizer::open(model)?;
        try_out(&mut network, &tokenizer, model, tower)?;
        Ok(Self { tokenizer, network, setting: setting.clone(), together: OnceLock::new() })
    }

    /// Texts of as many tokens go together.
    fn batches(&self, texts: &[&str], most: usize, workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Vectors>> {
        let encode = |text: &&str| self.tokenizer.encode(&[text]);
        let tokens: Vec<Tokens> = workers.install(|| texts.par_iter().map(encode).collect::<Result<_>>())?;
        let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, tokens) in tokens.iter().enumerate() {
            lengths.entry(tokens.columns).or_default().push(number);
        }
        let apart = self.setting.is_apart();
        let places = if apart { self.setting.places.len() } else { workers.current_num_threads() };
        // Few texts are spread over all places rather than given to the first.
        let most = most.min(texts.len().div_ceil(places)).max(1);
        let parts: Vec<&[usize]> = lengths.values().flat_map(|numbers| numbers.chunks(most)).collect();
        let runners = if apart { 2 * places } else { places };
        // A thread of the pool must not wait for others of it.
        let runners = if workers.current_thread_index().is_some() { 0 } else { runners };
        let make = |number: usize| parts[number];
        let compute = |place: usize, numbers: &[usize]| -> Result<Vec<Vectors>> {
            cancel.check()?;
            let joined = Tokens::joined(numbers.iter().map(|&number| &tokens[number]));
            let run = || match self.network.run_on(place, Feed::Tokens(&joined), String::new) {
                Ok(vectors) => Ok(vectors.split()),
                // Each alone, so that the one which cannot be done is named.
                Err(_) => numbers.iter().map(|&number| self.row(&tokens[number], texts[number])).collect(),
            };
            if apart { run() } else { workers.install(run) }
        };
        let mut rows: Vec<(usize, Vectors)> = Vec::with_capacity(texts.len());
        for (numbers, vectors) in parts.iter().zip(flow(parts.len(), runners, make, compute)) {
            rows.extend(numbers.iter().copied().zip(vectors?));
        }
        rows.sort_by_key(|(number, _)| *number);
        Ok(rows.into_iter().map(|(_, vectors)| vectors).collect())
    }

    fn row(&self, tokens: &Tokens, text: &str) -> Result<Vectors> {
        self.network.run(Feed::Tokens(tokens), || tokenize::name(text))
    }

    /// Whether texts may go through the network together and get the vectors that they get alone, but for rounding;
    /// tried once.
    fn mixes(&self) -> bool {
        *self.together.get_or_init(|| self.network.takes_several() && self.try_mixed().unwrap_or(false))
    }

    fn try_mixed(&self) -> Result<bool> {
        let tokens = ["a", "b", "1"].map(|text| self.tokenizer.encode(&[text]));
        let tokens = tokens.into_iter().collect::<Result<Vec<_>>>()?;
        let alike: Vec<&Tokens> = tokens.iter().filter(|other| other.columns == tokens[0].columns).collect();
        let mixed = self.network.run_on(0, Feed::Tokens(&Tokens::joined(alike.iter().copied())), String::new)?;
        let alone = alike.iter().map(|tokens| self.network.run_on(0, Feed::Tokens(tokens), String::new));
        let alone = alone.collect::<Result<Vec<_>>>()?;
        Ok(mixed.rows().zip(&alone).all(|(one, other)| cosine(one, other.as_slice()) >= SAME))
    }

    /// Returns the vectors of some texts, to compare the network with another.
    pub(super) fn samples(&self) -> Result<Vectors> {
        let mut vectors = Vectors::new(self.network.dim());
        for text in ["a", "a photo of two small brown bears", "12 34", "?"] {
            vectors.extend(&self.row(&self.tokenizer.encode(&[text])?, text)?);
        }
        Ok(vectors)
    }
}

impl Texts for TextEncoder {
    fn rows(&self, texts: &[&str], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Vectors>> {
        match self.setting.max_batch.filter(|&most| most > 1 && texts.len() > 1 && self.mixes()) {
            Some(most) => self.batches(texts, most, workers, cancel),
            None => {
                let row = |text: &&str| {
                    cancel.check()?;
                    self.row(&self.tokenizer.encode(&[text])?, text)
                };
                workers.install(|| texts.par_iter().with_max_len(1).map(row).collect())
            }
        }
    }

    fn cannot_read(&self, text: &str) -> bool {
        self.tokenizer.is_out_of_vocabulary(text)
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
