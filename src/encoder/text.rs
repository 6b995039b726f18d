//! The tower for texts: they become tokens and run through their network, one by one or those of one length together.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::encoder::batch::flow;
use crate::encoder::gather::Gather;
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
    /// Tokens of callers that bring one text each, and its name, while devices with memory of their own are busy.
    single: Gather<(Tokens, String), Result<Vectors>>,
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
        let (setting, together) = (setting.clone(), OnceLock::new());
        let single = Gather::new(setting.places.len());
        Ok(Self { tokenizer, network, setting, together, single })
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

    /// A text that came alone goes through the network with those of other callers that have as many tokens, if all
    /// devices are busy.
    fn gathered(&self, text: &str, most: usize) -> Result<Vectors> {
        let compute = |place: usize, jobs: Vec<(Tokens, String)>| -> Vec<Result<Vectors>> {
            let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (number, (tokens, _)) in jobs.iter().enumerate() {
                lengths.entry(tokens.columns).or_default().push(number);
            }
            let alone = |number: usize| {
                let (tokens, name) = &jobs[number];
                self.network.run_on(place, Feed::Tokens(tokens), || name.clone())
            };
            let mut rows: Vec<(usize, Result<Vectors>)> = Vec::with_capacity(jobs.len());
            for numbers in lengths.values() {
                let joined = Tokens::joined(numbers.iter().map(|&number| &jobs[number].0));
                match self.network.run_on(place, Feed::Tokens(&joined), String::new) {
                    Ok(vectors) => rows.extend(numbers.iter().copied().zip(vectors.split().into_iter().map(Ok))),
                    // Each alone, so that the one which cannot be done is named.
                    Err(_) => rows.extend(numbers.iter().map(|&number| (number, alone(number)))),
                }
            }
            rows.sort_by_key(|(number, _)| *number);
            rows.into_iter().map(|(_, vectors)| vectors).collect()
        };
        let name = tokenize::name(text);
        let outcome = self.single.run((self.tokenizer.encode(&[text])?, name.clone()), most, compute);
        outcome.unwrap_or_else(|| {
            Err(Error::model(self.network.reads().0, format!("{name}: the network failed; try again")))
        })
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
        let most = self.setting.max_batch.filter(|&most| most > 1 && (texts.len() > 1 || self.setting.is_apart()));
        match most.filter(|_| self.mixes()) {
            Some(most) if texts.len() == 1 => {
                cancel.check()?;
                Ok(vec![self.gathered(texts[0], most)?])
            }
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;

    use super::*;
    use crate::encoder::device::Place;
    use crate::encoder::runtime;

    /// Callers are gathered where a device has memory of its own; the processor must give the same vectors.
    #[test]
    fn gathered_texts_have_the_vectors_that_they_have_alone() {
        if !runtime::is_loaded_for_tests() {
            return;
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/plushie_search/models/plushie-mini");
        let model = Model::open(directory).unwrap();
        let setting = Setting::new(vec![Place::Cpu], None, 2, Some(8)).unwrap();
        let encoder = TextEncoder::open(&model, model.text().unwrap(), &setting, None).unwrap();
        let texts = ["a bear", "粉色兔子", "a small pink rabbit with a hat", "a cat", "two dogs", "a"];
        thread::scope(|scope| {
            for first in 0..texts.len() {
                let (encoder, texts) = (&encoder, &texts);
                scope.spawn(move || {
                    for turn in 0..20 {
                        let text = texts[(first + turn) % texts.len()];
                        let alone = encoder.row(&encoder.tokenizer.encode(&[text]).unwrap(), text).unwrap();
                        let gathered = encoder.gathered(text, 8).unwrap();
                        assert!(cosine(gathered.as_slice(), alone.as_slice()) >= SAME, "{text}");
                    }
                });
            }
        });
    }
}
