//! The tower for pictures: they are decoded, preprocessed and run through their network, one by one or in batches.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::encoder::batch::{Room, flow};
use crate::encoder::gather::Gather;
use crate::encoder::network::{Network, Opened};
use crate::encoder::provider::Setting;
use crate::encoder::semaphore::Semaphore;
use crate::encoder::signature::{Feed, Plan, Takes};
use crate::encoder::tower::Pictures;
use crate::error::{Error, Result};
use crate::model::{IMAGE_OUTPUTS, ImageTower, Model};
use crate::preprocess::{Preprocess, SharedDecode};
use crate::vectors::Vectors;

/// Pictures that go through a network together, where that saves time and changes no vector.
const TOGETHER: usize = 4;

/// Fewer pictures are not worth finding out whether it does.
const MANY: usize = 32;

/// Batches at a time on a device with memory of its own: one is copied there while the other is computed.
const RUNNERS: usize = 2;

/// The least cosine between the vector that a picture gets in a batch and the one that it gets alone: rounding stays far
/// above, a scale that a batch shares far below.
const SAME: f32 = 0.9999;

/// Encodes pictures on this machine.
pub(super) struct ImageEncoder {
    /// Room for batches that is not in use; dropped before the session whose device it may be pinned for.
    rooms: Mutex<Vec<Room>>,
    preprocess: Preprocess,
    network: Network,
    setting: Setting,
    /// For each place with memory of its own: more batches would need more of it, from any caller.
    turns: Vec<Semaphore>,
    /// Whether pictures go through the network together, once that is known.
    together: OnceLock<bool>,
    /// Pictures of callers that bring one each, and its name, while devices with memory of their own are busy.
    single: Gather<(Vec<f32>, String), Result<Vectors>>,
}

/// A batch on its way: what it is of, its pixels, and which of them could be read.
struct Batch<'a> {
    pictures: &'a [SharedDecode],
    room: Room,
    loaded: Vec<Result<()>>,
}

/// The manifest's settings of the network for pictures.
pub(super) fn image_plan(tower: &ImageTower) -> Plan<'_> {
    let (height, width) = tower.preprocess.shape();
    Plan {
        output: tower.output.as_deref(),
        pool: tower.pool,
        favorites: IMAGE_OUTPUTS,
        takes: Takes::Pixels(height, width),
        other_pixels: (height, width),
    }
}

impl ImageEncoder {
    /// Opens the network of `tower`; `fixed` says that nothing but pictures goes through it.
    pub(super) fn open(model: &Model, tower: &ImageTower, setting: &Setting, fixed: bool) -> Result<Self> {
        let opened = Opened::new(model, &tower.file, setting, fixed)?;
        let mut network = Network::new(model, opened, &image_plan(tower))?;
        if network.is_combined() {
            let blank = vec![0.0; tower.preprocess.tensor_len()];
            network.try_out(Feed::Pixels(&blank, tower.preprocess.shape()))?;
        }
        let (preprocess, setting) = (tower.preprocess.clone(), setting.clone());
        let turns = setting.places.iter().map(|_| Semaphore::new(RUNNERS)).collect();
        let single = Gather::new(RUNNERS * setting.places.len());
        let (rooms, together) = (Mutex::default(), OnceLock::new());
        let this = Self { rooms, preprocess, network, setting, turns, together, single };
        this.warm_up()?;
        Ok(this)
    }

    /// The network, whose session the other side may share.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Each thread decodes and computes, one picture at a time, or [`TOGETHER`].
    fn few(&self, pictures: &[SharedDecode], workers: &ThreadPool, cancel: &Cancel) -> Vec<Result<Vectors>> {
        let rows: Vec<Vec<Result<Vectors>>> = workers.install(|| {
            let together = pictures.len() >= MANY && self.setting.max_batch.is_none() && self.shares();
            let size = if together { TOGETHER } else { 1 };
            let room = || vec![0.0; size * self.preprocess.tensor_len()];
            let some = |tensors: &mut Vec<f32>, pictures: &[SharedDecode]| {
                let loaded = self.load(pictures, tensors, cancel);
                self.compute(0, pictures, tensors, loaded)
            };
            pictures.par_chunks(size).with_max_len(1).map_init(room, some).collect()
        });
        rows.into_iter().flatten().collect()
    }

    /// While some batches are computed, all threads decode the next.
    fn batches(
        &self,
        pictures: &[SharedDecode],
        most: usize,
        workers: &ThreadPool,
        cancel: &Cancel,
    ) -> Vec<Result<Vectors>> {
        let apart = self.setting.is_apart();
        let places = if apart { self.setting.places.len() } else { workers.current_num_threads() };
        // Few pictures are spread over all places rather than given to the first.
        let size = most.min(pictures.len().div_ceil(places)).max(1);
        // A thread of the pool must not wait for others of it.
        let runners = if apart { RUNNERS * places } else { places };
        let runners = if workers.current_thread_index().is_some() { 0 } else { runners };
        let parts: Vec<&[SharedDecode]> = pictures.chunks(size).collect();
        let make = |number: usize| {
            let pictures = parts[number];
            let mut room = self.take_room(most);
            let tensors = room.numbers().par_chunks_mut(self.preprocess.tensor_len());
            let load = || {
                let pairs = pictures.par_iter().zip(tensors).with_max_len(1);
                pairs.map(|(picture, tensor)| self.load_one(picture, tensor, cancel)).collect()
            };
            let loaded = workers.install(load);
            Batch { pictures, room, loaded }
        };
        let compute = |runner: usize, Batch { pictures, mut room, loaded }: Batch<'_>| {
            let rows = match apart {
                true => {
                    let _turn = self.turns[runner % self.turns.len()].take();
                    self.compute(runner, pictures, room.numbers(), loaded)
                }
                false => workers.install(|| self.compute(runner, pictures, room.numbers(), loaded)),
            };
            self.give_back(room, runners + 1);
            rows
        };
        flow(parts.len(), runners, make, compute).into_iter().flatten().collect()
    }

    /// A picture that came alone goes through the network with those of other callers, if all devices are busy.
    fn gathered(&self, picture: &SharedDecode, most: usize, workers: &ThreadPool, cancel: &Cancel) -> Result<Vectors> {
        let mut tensor = vec![0.0; self.preprocess.tensor_len()];
        workers.install(|| self.load_one(picture, &mut tensor, cancel))?;
        let compute = |runner: usize, jobs: Vec<(Vec<f32>, String)>| -> Vec<Result<Vectors>> {
            let _turn = self.turns[runner % self.turns.len()].take();
            let alone = |(tensor, name): &(Vec<f32>, String)| self.run(runner, tensor, || name.clone());
            let size = self.preprocess.tensor_len();
            let mut room = self.take_room(most);
            for ((tensor, _), place) in jobs.iter().zip(room.numbers().chunks_exact_mut(size)) {
                place.copy_from_slice(tensor);
            }
            let together = self.run(runner, &room.numbers()[..jobs.len() * size], || jobs[0].1.clone());
            self.give_back(room, RUNNERS * self.turns.len() + 1);
            match together {
                Ok(vectors) => vectors.split().into_iter().map(Ok).collect(),
                Err(error) if jobs.len() == 1 => vec![Err(error)],
                // Each alone, so that the one which cannot be done is named.
                Err(_) => jobs.iter().map(alone).collect(),
            }
        };
        let name = picture.source().name().to_string();
        let outcome = self.single.run((tensor, format!("picture {name}")), most, compute);
        outcome.unwrap_or_else(|| {
            Err(Error::model(self.network.reads().0, format!("picture {name}: the network failed; try again")))
        })
    }

    fn load(&self, pictures: &[SharedDecode], tensors: &mut [f32], cancel: &Cancel) -> Vec<Result<()>> {
        let tensors = tensors.chunks_exact_mut(self.preprocess.tensor_len());
        pictures.iter().zip(tensors).map(|(picture, tensor)| self.load_one(picture, tensor, cancel)).collect()
    }

    fn load_one(&self, picture: &SharedDecode, tensor: &mut [f32], cancel: &Cancel) -> Result<()> {
        cancel.check()?;
        picture.load(&self.preprocess, tensor)
    }

    /// The vectors of pictures that are in `tensors`, but for those that could not be read.
    fn compute(
        &self,
        place: usize,
        pictures: &[SharedDecode],
        tensors: &mut [f32],
        loaded: Vec<Result<()>>,
    ) -> Vec<Result<Vectors>> {
        let size = self.preprocess.tensor_len();
        // Those that could be read move together.
        let good: Vec<usize> = (0..loaded.len()).filter(|&number| loaded[number].is_ok()).collect();
        for (to, &from) in good.iter().enumerate() {
            if to != from {
                tensors.copy_within(from * size..(from + 1) * size, to * size);
            }
        }
        let tensors = &tensors[..good.len() * size];
        // A picture that the network cannot do must spoil no other: then each goes alone, and is named.
        let together = match good.len() {
            0 | 1 => None,
            // Only as many as were tried together are known to get the same bits.
            count if self.setting.max_batch.is_none() && count < TOGETHER => None,
            _ => self.run(place, tensors, String::new).ok(),
        };
        let alone = |(&number, tensor): (&usize, &[f32])| {
            self.run(place, tensor, || format!("picture {}", pictures[number].source().name()))
        };
        let vectors: Vec<Result<Vectors>> = match together {
            Some(vectors) => vectors.split().into_iter().map(Ok).collect(),
            None => good.iter().zip(tensors.chunks_exact(size)).map(alone).collect(),
        };
        let mut vectors = vectors.into_iter();
        loaded
            .into_iter()
            .map(|loaded| loaded.and_then(|()| vectors.next().expect("one for each that is loaded")))
            .collect()
    }

    fn run(&self, place: usize, tensors: &[f32], name: impl FnOnce() -> String) -> Result<Vectors> {
        self.network.run_on(place, Feed::Pixels(tensors, self.preprocess.shape()), name)
    }

    fn take_room(&self, pictures: usize) -> Room {
        let len = pictures * self.preprocess.tensor_len();
        let idle = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| self.network.room(len))
    }

    fn give_back(&self, room: Room, most: usize) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() < most {
            rooms.push(room);
        }
    }

    /// Whether pictures may go through the network together; tried once, when there are many for the first time.
    fn shares(&self) -> bool {
        *self.together.get_or_init(|| self.network.takes_several() && self.try_together().unwrap_or(false))
    }

    /// Whether noise of different strengths gets the same vectors together as one by one, bit by bit, and no later.
    fn try_together(&self) -> Result<bool> {
        let size = self.preprocess.tensor_len();
        let noise = noise(size);
        let first = self.run(0, &noise, String::new)?;
        let start = Instant::now();
        let alone = noise.chunks_exact(size).map(|tensor| self.run(0, tensor, String::new));
        let alone = alone.collect::<Result<Vec<_>>>()?;
        let (one_by_one, start) = (start.elapsed(), Instant::now());
        let again = self.run(0, &noise, String::new)?;
        let faster = start.elapsed() <= one_by_one;
        let same = |vectors: &Vectors| vectors.rows().eq(alone.iter().flat_map(Vectors::rows));
        Ok(faster && same(&first) && same(&again))
    }

    /// Whether batches of up to `most` are possible and change no vector by more than rounding; tried once.
    fn mixes(&self, most: usize) -> bool {
        let mixes = || self.network.takes_several() && self.try_mixed(most).unwrap_or(false);
        most > 1 && *self.together.get_or_init(mixes)
    }

    fn try_mixed(&self, most: usize) -> Result<bool> {
        let size = self.preprocess.tensor_len();
        let noise = &noise(size)[..most.min(TOGETHER) * size];
        let mixed = self.run(0, noise, String::new)?;
        let alone = noise.chunks_exact(size).map(|tensor| self.run(0, tensor, String::new));
        let alone = alone.collect::<Result<Vec<_>>>()?;
        Ok(mixed.rows().zip(&alone).all(|(one, other)| cosine(one, other.as_slice()) >= SAME))
    }

    /// Runs once at each place that has memory of its own: what a provider needs, it may miss only then. TensorRT
    /// compiles the network for the smallest and the largest batch now rather than while a caller waits.
    fn warm_up(&self) -> Result<()> {
        if !self.setting.is_apart() {
            return Ok(());
        }
        let most = self.setting.max_batch.filter(|_| self.setting.compiles() && self.network.takes_several());
        for place in 0..self.setting.places.len() {
            for rows in [most.unwrap_or(1), 1] {
                let blank = vec![0.0; rows * self.preprocess.tensor_len()];
                self.network.check_on(place, Feed::Pixels(&blank, self.preprocess.shape()))?;
            }
        }
        Ok(())
    }

    /// Returns the vectors of some pixels, to compare the network with another.
    pub(super) fn samples(&self) -> Result<Vectors> {
        let mut vectors = Vectors::new(self.network.dim());
        for tensor in noise(self.preprocess.tensor_len()).chunks_exact(self.preprocess.tensor_len()) {
            vectors.extend(&self.run(0, tensor, || "noise".into())?);
        }
        Ok(vectors)
    }
}

impl Pictures for ImageEncoder {
    fn rows(&self, pictures: &[SharedDecode], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Result<Vectors>>> {
        Ok(match self.setting.max_batch {
            Some(most) if pictures.len() == 1 && self.setting.is_apart() && self.mixes(most) => {
                vec![self.gathered(&pictures[0], most, workers, cancel)]
            }
            Some(most) if self.mixes(most) => self.batches(pictures, most, workers, cancel),
            Some(_) if self.setting.is_apart() => self.batches(pictures, 1, workers, cancel),
            _ => self.few(pictures, workers, cancel),
        })
    }

    fn preprocess(&self) -> Option<&Preprocess> {
        Some(&self.preprocess)
    }

    fn preferred_batch(&self, workers: &ThreadPool) -> usize {
        let places = if self.setting.is_apart() { self.setting.places.len() } else { workers.current_num_threads() };
        places * self.setting.max_batch.unwrap_or(TOGETHER)
    }

    fn reads(&self) -> (&str, &str) {
        self.network.reads()
    }
}

/// Of unit vectors.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Tensors for [`TOGETHER`] pictures of `size` numbers each: a scale that they share would show in every vector.
pub(super) fn noise(size: usize) -> Vec<f32> {
    let strengths: [f32; TOGETHER] = [1.0, 4.0, 0.25, 2.0];
    let mut state = 1_u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    strengths.iter().flat_map(|strength| vec![*strength; size]).map(|strength| strength * number()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::encoder::device::Place;
    use crate::encoder::runtime;
    use crate::picture::{Picture, Source};

    /// Callers are gathered where a device has memory of its own; the processor must give the same vectors.
    #[test]
    fn gathered_pictures_have_the_vectors_that_they_have_alone() {
        if !runtime::is_loaded_for_tests() {
            return;
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/plushie_search/models/plushie-mini");
        let model = Model::open(directory).unwrap();
        let setting = Setting::new(vec![Place::Cpu], None, 2, Some(4)).unwrap();
        let encoder = ImageEncoder::open(&model, model.image().unwrap(), &setting, true).unwrap();
        let workers = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let picture = |shade: u8| {
            let pixels = (0..40 * 40 * 3).map(|i| (i as u32 * u32::from(shade) % 251) as u8).collect();
            let picture = Arc::new(Picture::from_rgb(40, 40, pixels).unwrap());
            SharedDecode::alone(Source::Pixels { name: format!("shade {shade}"), picture })
        };
        let pictures: Vec<SharedDecode> = (1..25).map(picture).collect();
        let alone = encoder.few(&pictures, &workers, &Cancel::current());
        thread::scope(|scope| {
            for part in pictures.chunks(3).zip(alone.chunks(3)) {
                let (encoder, workers) = (&encoder, &workers);
                scope.spawn(move || {
                    for (picture, vector) in part.0.iter().zip(part.1) {
                        let gathered = encoder.gathered(picture, 4, workers, &Cancel::current()).unwrap();
                        assert!(cosine(gathered.as_slice(), vector.as_ref().unwrap().as_slice()) >= SAME);
                    }
                });
            }
        });
        let missing = SharedDecode::alone(Source::Path("none.jpg".into()));
        assert!(encoder.gathered(&missing, 4, &workers, &Cancel::current()).is_err());
    }
}
