//! Encoders that are brought along: batches, decoding and checks around what computes the vectors.

use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::encoder::adaptive_batch::AdaptiveBatch;
use crate::encoder::cache::Cache;
use crate::encoder::encode::{About, Encode};
use crate::encoder::probe::Probe;
use crate::encoder::request_pool::in_flight;
use crate::encoder::semaphore::Semaphore;
use crate::error::{Error, Result};
use crate::picture::{Picture, Source};
use crate::preprocess::SharedDecode;
use crate::tokenize;
use crate::vectors::Vectors;

/// A failure to compute a batch of rows.
pub struct BatchError {
    /// The failure.
    pub error: Error,
    /// Whether it is about these rows alone, and others may well be computed.
    pub about_these: bool,
}

impl BatchError {
    /// The same, with the name of the picture or text that it is about.
    fn about(self, name: impl Fn() -> String) -> Self {
        match self.error {
            Error::Model { name: model, reason } if self.about_these => {
                Self { error: Error::model(model, format!("{reason} (for {})", name())), ..self }
            }
            error => Self { error, ..self },
        }
    }
}

/// Rows of numbers as they were computed.
pub struct Computed {
    /// The number of rows.
    pub rows: usize,
    /// The numbers in each row.
    pub dim: usize,
    /// All numbers, row by row.
    pub data: Vec<f32>,
}

/// Computes one batch after another, or several at a time if [`Limits::calls`] says so.
pub trait Compute: Send + Sync {
    /// Computes a row for each upright picture.
    ///
    /// # Errors
    /// [`BatchError`] says whether a smaller batch may help.
    fn images(&self, pictures: &[Arc<Picture>]) -> Result<Computed, BatchError>;

    /// Computes a row for each JPEG or PNG file, given with its media type.
    ///
    /// # Errors
    /// [`BatchError`] says whether a smaller batch may help.
    fn files(&self, files: &[(&'static str, Vec<u8>)]) -> Result<Computed, BatchError>;

    /// Computes a row for each text.
    ///
    /// # Errors
    /// [`BatchError`] says whether a smaller batch may help.
    fn texts(&self, texts: &[&str]) -> Result<Computed, BatchError>;
}

/// Limits of the calls to [`Compute`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most pictures in a call.
    pub images: usize,
    /// The most texts in a call.
    pub texts: usize,
    /// The most calls at a time.
    pub calls: usize,
    /// Whether pictures are given as files.
    pub files: bool,
    /// A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as it has this width and height; in full if None.
    pub at_least: Option<(u32, u32)>,
}

/// An encoder around [`Compute`].
pub struct Custom<C> {
    about: About,
    compute: C,
    limits: Limits,
    images: AdaptiveBatch,
    texts: AdaptiveBatch,
    calls: Semaphore,
    probe: Probe,
    workers: Arc<ThreadPool>,
    cache: Cache,
}

impl<C: Compute> Custom<C> {
    /// An encoder that computes with `compute`, and prepares pictures on `workers`.
    ///
    /// # Errors
    /// [`Error::Argument`] if a limit or the dimension makes no sense, or the name or the fingerprint is empty.
    pub fn new(
        about: About,
        compute: C,
        limits: Limits,
        probe: Probe,
        cache: usize,
        workers: Arc<ThreadPool>,
    ) -> Result<Self> {
        let check = |right: bool, reason: &str| match right {
            true => Ok(()),
            false => Err(Error::argument(format!("model {:?}: {reason}", about.name))),
        };
        check(!about.name.is_empty(), "its name must not be empty")?;
        check(!about.name.contains(char::is_control), "its name must have no control characters")?;
        check(!about.fingerprint.is_empty(), "its fingerprint must not be empty")?;
        check((1..=1 << 16).contains(&about.dim), "its dim must be 1 to 65536")?;
        check(
            (1..=65_536).contains(&limits.images) && (1..=65_536).contains(&limits.texts),
            "batch must be 1 to 65536",
        )?;
        check((1..=64).contains(&limits.calls), "requests must be 1 to 64")?;
        Ok(Self {
            images: AdaptiveBatch::new(limits.images),
            texts: AdaptiveBatch::new(limits.texts),
            calls: Semaphore::new(limits.calls),
            cache: Cache::new(cache),
            about,
            compute,
            limits,
            probe,
            workers,
        })
    }

    /// Runs `work` on parts of so many rows. One part is prepared while the others are computed.
    fn in_parts<T: Sync, R: Send>(
        &self,
        all: &[T],
        most: usize,
        work: impl Fn(&[T]) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let parts: Vec<&[T]> = all.chunks(most).collect();
        // A thread of the pool does it all by itself: those that it waited for might need it.
        match self.workers.current_thread_index() {
            Some(_) => parts.into_iter().map(work).collect(),
            None => in_flight(&parts, self.limits.calls + 1, |part| work(part)),
        }
    }

    fn some_images(&self, pictures: &[SharedDecode], stop: &Cancel) -> Result<Vec<Result<Vectors>>> {
        match self.limits.files {
            true => self.each(pictures, stop, Source::file, |files| self.compute.files(files)),
            false => {
                let decode = |source: &Source| match source {
                    Source::Pixels { picture, .. } => Ok(Arc::clone(picture)),
                    _ => source.decode(self.limits.at_least).map(Arc::new),
                };
                self.each(pictures, stop, decode, |pictures| self.compute.images(pictures))
            }
        }
    }

    /// Prepares the pictures of one call on all threads, and computes those that could be read.
    fn each<T: Send>(
        &self,
        pictures: &[SharedDecode],
        stop: &Cancel,
        prepare: impl Fn(&Source) -> Result<T> + Sync,
        compute: impl Fn(&[T]) -> Result<Computed, BatchError>,
    ) -> Result<Vec<Result<Vectors>>> {
        let prepare = |picture: &SharedDecode| {
            stop.check()?;
            prepare(picture.source())
        };
        let prepared: Vec<Result<T>> =
            self.workers.install(|| pictures.par_iter().with_max_len(1).map(prepare).collect());
        let (mut ready, mut names, mut read) = (Vec::new(), Vec::new(), Vec::with_capacity(prepared.len()));
        for (picture, prepared) in pictures.iter().zip(prepared) {
            read.push(prepared.map(|prepared| {
                ready.push(prepared);
                names.push(picture.source());
            }));
        }
        let run = |rows: Range<usize>| {
            stop.check().map_err(|error| BatchError { error, about_these: false })?;
            let name = || format!("picture {}", names[rows.start].name());
            let _turn = self.calls.take();
            let computed = compute(&ready[rows.clone()]).map_err(|trouble| trouble.about(name))?;
            self.rows(computed, rows.len(), name)
        };
        let mut vectors = self.images.run(0..ready.len(), &run)?.into_iter();
        Ok(read
            .into_iter()
            .map(|read| read.and_then(|()| vectors.next().expect("one for each picture that could be read")))
            .collect())
    }

    /// Checks and scales what was computed for so many pictures or texts, of which errors name the first.
    fn rows(&self, computed: Computed, wanted: usize, name: impl Fn() -> String) -> Result<Vectors, BatchError> {
        let Computed { rows, dim, data } = computed;
        if (rows, dim) != (wanted, self.about.dim) {
            let reason = format!("its vectors have the shape ({rows}, {dim}), and not ({wanted}, {})", self.about.dim);
            return Err(BatchError { error: Error::model(&self.about.name, reason), about_these: false });
        }
        Vectors::normalize(dim, data).map_err(|_| {
            let reason = format!("gave NaN, infinity or only zeros for {}; it is of no use there", name());
            BatchError { error: Error::model(&self.about.name, reason), about_these: true }
        })
    }
}

impl<C: Compute> Encode for Custom<C> {
    fn about(&self) -> &About {
        &self.about
    }

    fn workers(&self) -> &Arc<ThreadPool> {
        &self.workers
    }

    fn cache(&self) -> &Cache {
        &self.cache
    }

    fn preferred_batch(&self) -> usize {
        self.limits.calls * self.images.get()
    }

    fn image_rows(&self, pictures: &[SharedDecode]) -> Result<Vec<Result<Vectors>>> {
        if !self.about.images {
            return Err(self.about.lacks("image"));
        }
        let stop = Cancel::current();
        let rows = self.in_parts(pictures, self.images.get(), |some| self.some_images(some, &stop))?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn text_rows(&self, texts: &[&str]) -> Result<Vec<Vectors>> {
        let stop = Cancel::current();
        let rows = self.in_parts(texts, self.texts.get(), |some| {
            let run = |rows: Range<usize>| {
                stop.check().map_err(|error| BatchError { error, about_these: false })?;
                let name = || tokenize::name(some[rows.start]);
                let _turn = self.calls.take();
                let computed = self.compute.texts(&some[rows.clone()]).map_err(|trouble| trouble.about(name))?;
                self.rows(computed, rows.len(), name)
            };
            self.texts.run(0..some.len(), &run)?.into_iter().collect::<Result<Vec<_>>>()
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn probe(&self) -> Probe {
        self.probe.clone()
    }

    fn outputs(&self) -> [Option<(&str, &str)>; 2] {
        [self.about.images, self.about.texts].map(|able| able.then_some((self.about.device.as_str(), "embedding")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::workers::workers;

    /// Computes the first pixel of a picture, and the length of a text; refuses more rows than `most`.
    struct Simple {
        most: usize,
        asked: Mutex<Vec<usize>>,
    }

    impl Simple {
        fn answer(&self, data: Vec<[f32; 2]>) -> Result<Computed, BatchError> {
            self.asked.lock().unwrap().push(data.len());
            if data.len() > self.most {
                return Err(BatchError { error: Error::argument("too many"), about_these: true });
            }
            Ok(Computed { rows: data.len(), dim: 2, data: data.concat() })
        }
    }

    impl Compute for Simple {
        fn images(&self, pictures: &[Arc<Picture>]) -> Result<Computed, BatchError> {
            let row = |picture: &Arc<Picture>| match picture.pixels()[0] {
                0 => [f32::NAN, 1.0],
                red => [f32::from(red), 1.0],
            };
            self.answer(pictures.iter().map(row).collect())
        }

        fn files(&self, files: &[(&'static str, Vec<u8>)]) -> Result<Computed, BatchError> {
            self.answer(files.iter().map(|(_, bytes)| [bytes.len() as f32, 1.0]).collect())
        }

        fn texts(&self, texts: &[&str]) -> Result<Computed, BatchError> {
            self.answer(texts.iter().map(|text| [text.len() as f32, 1.0]).collect())
        }
    }

    fn custom(most: usize, batch: usize, dim: usize) -> Result<Custom<Simple>> {
        let about = About {
            name: "simple".into(),
            version: String::new(),
            fingerprint: "f".into(),
            dim,
            languages: vec![],
            device: "cpu".into(),
            precision: None,
            images: true,
            texts: true,
        };
        let limits = Limits { images: batch, texts: batch, calls: 1, files: false, at_least: None };
        let compute = Simple { most, asked: Mutex::default() };
        Custom::new(about, compute, limits, Probe::default(), 10, workers(Some(2)).unwrap())
    }

    fn pictures(reds: impl IntoIterator<Item = u8>) -> Vec<SharedDecode> {
        let picture = |red| Source::Pixels {
            name: format!("red {red}"),
            picture: Arc::new(Picture::from_rgb(1, 1, vec![red, 0, 0]).unwrap()),
        };
        reds.into_iter().map(|red| SharedDecode::alone(picture(red))).collect()
    }

    #[test]
    fn rows_are_normalized_in_batches_and_in_order() {
        let custom = custom(100, 4, 2).unwrap();
        let rows = custom.image_rows(&pictures(1..12)).unwrap();
        for (number, row) in rows.into_iter().enumerate() {
            let wanted = Vectors::normalize(2, vec![(number + 1) as f32, 1.0]).unwrap();
            assert_eq!(row.unwrap(), wanted, "{number}");
        }
        let mut asked = custom.compute.asked.lock().unwrap().clone();
        asked.sort_unstable();
        assert_eq!(asked, [3, 4, 4]);
        let texts = custom.texts(&["a", "bcd", "a"]).unwrap();
        assert_eq!(texts.row(1), Vectors::normalize(2, vec![3.0, 1.0]).unwrap().row(0));
        assert_eq!(texts.row(0), texts.row(2));
    }

    #[test]
    fn a_batch_that_is_too_large_is_halved_and_a_bad_picture_spoils_no_other() {
        let custom = custom(2, 4, 2).unwrap();
        let rows = custom.image_rows(&pictures([1, 2, 0, 4])).unwrap();
        assert_eq!(rows.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
        let error = rows[2].as_ref().unwrap_err().to_string();
        assert_eq!(error, "model simple: gave NaN, infinity or only zeros for picture red 0; it is of no use there");
    }

    #[test]
    fn vectors_of_another_shape_are_refused() {
        let error = custom(10, 4, 3).unwrap().image_rows(&pictures([1])).unwrap_err();
        assert_eq!(error.to_string(), "model simple: its vectors have the shape (1, 2), and not (1, 3)");
        assert!(custom(10, 0, 3).is_err() && custom(10, 4, 0).is_err());
    }
}
