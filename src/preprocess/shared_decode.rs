//! Decodes a picture once for several models.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::picture::Picture;
use crate::picture::Source;
use crate::preprocess::Preprocess;

/// The distinct preprocessing of several models, so that one decoded picture serves them all. It shares nothing for a
/// single model.
#[derive(Debug, Clone)]
pub struct DecodePlan(Arc<[Entry]>);

#[derive(Debug)]
struct Entry {
    by: Preprocess,
    /// The number of models with this preprocessing.
    times: usize,
}

/// A picture for several models. The first [`load`](Self::load) decodes it and resamples it for the others, except for
/// those that need another decoding scale. Each model gets the same tensor as without sharing, bit for bit.
#[derive(Debug, Clone)]
pub struct SharedDecode {
    source: Source,
    kept: Option<Arc<Kept>>,
    thumbnail: Option<Arc<Thumbnail>>,
}

/// A small copy of a picture, made from the first decoded form that is large enough.
#[derive(Debug)]
struct Thumbnail {
    side: u32,
    jpeg: OnceLock<Vec<u8>>,
}

#[derive(Debug)]
struct Kept {
    plan: DecodePlan,
    /// One state for each preprocessing of the plan.
    states: Mutex<Vec<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The number of models that have loaded it.
    had: usize,
    pixels: Option<Resampled>,
}

/// The pixels of a tensor, and their position in it.
#[derive(Debug, Clone)]
struct Resampled {
    pixels: Vec<[u8; 3]>,
    place: [usize; 3],
}

impl DecodePlan {
    /// Makes the plan for the preprocessing of `models`.
    pub fn new<'a>(models: impl Iterator<Item = &'a Preprocess>) -> Self {
        let mut plan: Vec<Entry> = Vec::new();
        for by in models {
            match plan.iter_mut().find(|entry| entry.by.has_same_pixels(by)) {
                Some(entry) => entry.times += 1,
                None => plan.push(Entry { by: by.clone(), times: 1 }),
            }
        }
        Self(plan.into())
    }

    /// Returns the most memory that is kept of a picture between two models, in bytes; 0 if nothing is shared.
    pub fn bytes(&self) -> usize {
        let all: usize = self.0.iter().map(|entry| entry.times).sum();
        if all < 2 { 0 } else { self.0.iter().map(|entry| entry.by.tensor_len()).sum() }
    }
}

impl SharedDecode {
    /// Makes a picture for a single model.
    pub fn alone(source: Source) -> Self {
        Self { source, kept: None, thumbnail: None }
    }

    /// Makes a picture for all models of `plan`.
    pub fn new(source: Source, plan: &DecodePlan) -> Self {
        // Pixels need no decoding, so they are shared as they are.
        if plan.bytes() == 0 || matches!(source, Source::Pixels { .. }) {
            return Self::alone(source);
        }
        let states = Mutex::new(vec![State::default(); plan.0.len()]);
        Self { source, kept: Some(Arc::new(Kept { plan: plan.clone(), states })), thumbnail: None }
    }

    /// Makes a thumbnail of `side` from what the first model decodes.
    pub fn with_thumbnail(self, side: u32) -> Self {
        Self { thumbnail: Some(Arc::new(Thumbnail { side, jpeg: OnceLock::new() })), ..self }
    }

    /// Returns the thumbnail, if one is wanted; decodes the picture if no model has decoded it large enough. There is none
    /// of a picture that cannot be decoded here.
    pub fn thumbnail(&self) -> Option<Vec<u8>> {
        let Thumbnail { side, jpeg } = &**self.thumbnail.as_ref()?;
        jpeg.get().cloned().or_else(|| self.source.thumbnail(*side, None).ok())
    }

    fn draw(&self, picture: &Picture) {
        if let Some(Thumbnail { side, jpeg }) = self.thumbnail.as_deref()
            && jpeg.get().is_none()
            && picture.shows(*side)
            && let Ok(small) = picture.thumbnail(*side)
        {
            jpeg.get_or_init(|| small);
        }
    }

    /// Returns the source of the picture.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Decodes, resizes and normalizes for `by` into `out`: three planes of rows.
    ///
    /// # Errors
    /// Those of [`Preprocess::load`].
    pub fn load(&self, by: &Preprocess, out: &mut [f32]) -> Result<()> {
        let Some(kept) = &self.kept else {
            return by.decoded(&self.source, |picture| {
                by.apply(picture, out)?;
                self.draw(picture);
                Ok(())
            });
        };
        by.check_len(out)?;
        if let Some(Resampled { pixels, place }) = kept.take(by) {
            by.normalize(&pixels, place, out);
            return Ok(());
        }
        by.decoded(&self.source, |picture| {
            by.apply(picture, out)?;
            self.draw(picture);
            kept.fill(|other| {
                let keep = |pixels: &[[u8; 3]], place| Resampled { pixels: pixels.to_vec(), place };
                picture.serves(other.at_least()).then(|| other.resampled(picture, keep)).transpose()
            })
        })
    }
}

impl Kept {
    /// Returns the pixels kept for `by`, if there are any.
    fn take(&self, by: &Preprocess) -> Option<Resampled> {
        let place = self.plan.0.iter().position(|entry| entry.by.has_same_pixels(by))?;
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut states[place];
        state.had += 1;
        if state.had < self.plan.0[place].times { state.pixels.clone() } else { state.pixels.take() }
    }

    /// Keeps the pixels that `make` returns for the models that have not loaded yet.
    fn fill(&self, make: impl Fn(&Preprocess) -> Result<Option<Resampled>>) -> Result<()> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (entry, state) in self.plan.0.iter().zip(&mut *states) {
            if state.pixels.is_none() && state.had < entry.times {
                state.pixels = make(&entry.by)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Picture;
    use crate::preprocess::{Center, Filter, Resize};

    fn preprocess(resize: Resize, side: usize, mean: f32) -> Preprocess {
        Preprocess::new(resize, [side, side], [mean; 3], [0.5; 3]).unwrap()
    }

    fn noise(width: u32, height: u32) -> Picture {
        let pixels = (0..width * height * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        Picture::from_rgb(width, height, pixels).unwrap()
    }

    fn jpeg(width: u32, height: u32) -> Source {
        let drawn = Source::Pixels { name: "drawn".into(), picture: Arc::new(noise(width, height)) };
        Source::Bytes { name: "jpeg".into(), bytes: drawn.thumbnail(width.max(height), Some(90)).unwrap().into() }
    }

    fn tensor(by: &Preprocess, load: impl FnOnce(&mut [f32]) -> Result<()>) -> Vec<f32> {
        let mut out = vec![0.0; by.tensor_len()];
        load(&mut out).unwrap();
        out
    }

    /// Returns the number of models that found their pixels ready.
    fn served(source: &Source, models: &[Preprocess]) -> usize {
        let shared = SharedDecode::new(source.clone(), &DecodePlan::new(models.iter()));
        let mut ready = 0;
        for by in models {
            let kept = shared.kept.as_ref().unwrap();
            let place = kept.plan.0.iter().position(|entry| entry.by.has_same_pixels(by)).unwrap();
            ready += usize::from(kept.states.lock().unwrap()[place].pixels.is_some());
            assert_eq!(tensor(by, |out| shared.load(by, out)), tensor(by, |out| by.load(source, out)));
        }
        assert!(shared.kept.unwrap().states.lock().unwrap().iter().all(|state| state.pixels.is_none()));
        ready
    }

    #[test]
    fn what_is_decoded_alike_is_decoded_once() {
        let all = [
            preprocess(Resize::Squash, 16, 0.0),
            preprocess(Resize::Crop, 17, 0.5),
            preprocess(Resize::Letterbox, 16, 0.5),
            preprocess(Resize::Crop, 16, 0.5).with_filter(Filter::Bilinear),
            preprocess(Resize::Crop, 17, 0.5).with_center(Center::Even),
        ];
        assert_eq!(served(&jpeg(100, 70), &all), 4);
    }

    #[test]
    fn those_that_see_the_same_need_not_be_the_same() {
        let all = [0.0, 0.25, 0.5].map(|mean| preprocess(Resize::Letterbox, 20, mean).with_fill([mean as u8 * 80; 3]));
        assert_eq!(DecodePlan::new(all.iter()).bytes(), 20 * 20 * 3);
        assert_eq!(served(&jpeg(90, 120), &all), 2);
    }

    #[test]
    fn other_scales_are_decoded_by_themselves() {
        // 200x160 at 1/4 has 40 rows: enough for 20, not for 24.
        let sides = |sides: &[usize]| -> Vec<Preprocess> {
            sides.iter().map(|&side| preprocess(Resize::Squash, side, 0.5)).collect()
        };
        assert_eq!(served(&jpeg(200, 160), &sides(&[20, 24])), 0);
        assert_eq!(served(&jpeg(200, 160), &sides(&[20, 24, 18, 30])), 2);
        assert_eq!(served(&jpeg(200, 160), &sides(&[100, 90])), 1);
    }

    #[test]
    fn one_model_or_pixels_keep_nothing() {
        let one = preprocess(Resize::Squash, 8, 0.0);
        assert!(SharedDecode::new(jpeg(20, 20), &DecodePlan::new([&one].into_iter())).kept.is_none());
        let pixels = Source::Pixels { name: "drawn".into(), picture: Arc::new(noise(20, 20)) };
        assert!(SharedDecode::new(pixels, &DecodePlan::new([&one, &one].into_iter())).kept.is_none());
    }

    #[test]
    fn a_thumbnail_is_made_of_what_is_decoded_if_that_is_enough() {
        let (small, large) = (preprocess(Resize::Squash, 8, 0.0), preprocess(Resize::Squash, 40, 0.0));
        for (models, made) in [(vec![&small], false), (vec![&large], true), (vec![&small, &large], true)] {
            let source = jpeg(200, 160);
            let shared = SharedDecode::new(source.clone(), &DecodePlan::new(models.iter().copied())).with_thumbnail(64);
            for by in models {
                assert_eq!(tensor(by, |out| shared.load(by, out)), tensor(by, |out| by.load(&source, out)));
            }
            assert_eq!(shared.thumbnail.as_ref().unwrap().jpeg.get().is_some(), made);
            let bytes: Arc<[u8]> = shared.thumbnail().unwrap().into();
            let small = Source::Bytes { name: "small".into(), bytes }.decode(None).unwrap();
            assert_eq!((small.width(), small.height()), (64, 51));
            let full = Source::Bytes { name: "full".into(), bytes: source.thumbnail(64, None).unwrap().into() };
            let full = full.decode(None).unwrap();
            let apart = small.pixels().iter().zip(full.pixels()).map(|(a, b)| a.abs_diff(*b));
            assert!(apart.map(u64::from).sum::<u64>() < 12 * small.pixels().len() as u64);
        }
        let pixels = Source::Pixels { name: "drawn".into(), picture: Arc::new(noise(20, 10)) };
        let shared = SharedDecode::new(pixels, &DecodePlan::new([&small].into_iter()));
        assert!(shared.thumbnail().is_none());
        assert!(shared.with_thumbnail(64).thumbnail().is_some());
    }

    #[test]
    fn a_picture_that_cannot_be_decoded_fails_for_each() {
        let one = preprocess(Resize::Squash, 8, 0.0);
        let bad = Source::Bytes { name: "bad".into(), bytes: (*b"GIF89a").into() };
        let shared = SharedDecode::new(bad, &DecodePlan::new([&one, &one].into_iter()));
        let mut out = vec![0.0; one.tensor_len()];
        for _ in 0..2 {
            assert!(shared.load(&one, &mut out).unwrap_err().to_string().starts_with("picture bad: "));
        }
        assert!(shared.load(&one, &mut out[1..]).is_err());
    }
}
