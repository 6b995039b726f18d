//! Models of which nothing is here: a server takes pictures and texts themselves.

use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::encoder::custom::Trouble;
use crate::encoder::halving::Most;
use crate::encoder::in_flight::Requests;
use crate::encoder::probe;
use crate::encoder::tower::{Pictures, Texts};
use crate::error::{Error, Result};
use crate::preprocess::{Preprocess, SharedDecode};
use crate::service::{Embeddings, Failure, File};
use crate::tokenize;
use crate::vectors::Vectors;

/// What a server with a whole model can do, found by asking it for the probe.
pub(super) struct Whole {
    pub(super) dim: usize,
    pub(super) image: Option<Vec<f32>>,
    pub(super) text: Option<Vec<f32>>,
}

/// One side of a whole model.
struct Side {
    service: Arc<Embeddings>,
    address: String,
    model: String,
    dim: usize,
    most: Most,
    requests: Requests,
}

/// What turns pictures into vectors, on a server.
pub(super) struct WholePictures(Side);

/// What turns texts into vectors, on a server.
pub(super) struct WholeTexts(Side);

impl Whole {
    /// Asks a server for the vectors of the probe. A server that refuses pictures or texts has no tower for them.
    pub(super) fn ask(service: &Embeddings, model: &str) -> Result<Self> {
        let blame = |failure: Failure| Error::model(model, failure);
        let refused = |answer: std::result::Result<Vec<Vec<f32>>, Failure>| match answer {
            Ok(mut vectors) => Ok(Ok(vectors.remove(0))),
            Err(failure) if failure.is_refusal() => Ok(Err(failure)),
            Err(failure) => Err(blame(failure)),
        };
        let text = refused(service.texts(&[probe::TEXT], None))?;
        let image = match service.most_pictures() {
            0 => None,
            _ => {
                let (media, bytes) = probe::picture()?.file()?;
                Some(refused(service.pictures(&[File { media, bytes }], None))?)
            }
        };
        let (image, text) = match (image, text) {
            (None | Some(Err(_)), Err(failure)) => return Err(blame(failure)),
            (image, text) => (image.and_then(std::result::Result::ok), text.ok()),
        };
        let dims: Vec<usize> = image.iter().chain(&text).map(Vec::len).collect();
        if let [one, other] = dims[..]
            && one != other
        {
            let address = service.address();
            let reason =
                format!("gives pictures vectors of {one} numbers, and texts of {other}: it is of no use for both");
            return Err(Error::model(model, format!("service {address}: {reason}")));
        }
        let unit = |vector: Option<Vec<f32>>| vector.map(|v| Vectors::normalize(v.len(), v).map(Vectors::into_inner));
        let pointless = |_| {
            let address = service.address();
            Error::model(
                model,
                format!("service {address}: gave NaN, infinity or only zeros for a plain picture or text"),
            )
        };
        let (image, text) = (unit(image).transpose(), unit(text).transpose());
        Ok(Self { dim: dims[0], image: image.map_err(pointless)?, text: text.map_err(pointless)? })
    }
}

impl Side {
    fn new(service: &Arc<Embeddings>, model: &str, dim: usize, most: usize) -> Self {
        let address = service.address().to_string();
        let requests = Requests::new(service.options().requests);
        Self { service: Arc::clone(service), address, model: model.into(), dim, most: Most::new(most), requests }
    }

    /// The unit vectors of an answer.
    fn read(
        &self,
        answer: std::result::Result<Vec<Vec<f32>>, Failure>,
        name: impl Fn() -> String,
    ) -> Result<Vectors, Trouble> {
        let vectors = answer.map_err(|failure| match failure.is_refusal() {
            true => {
                Trouble { error: Error::model(&self.model, format!("{failure} (for {})", name())), about_these: true }
            }
            false => Trouble { error: Error::model(&self.model, failure), about_these: false },
        })?;
        Vectors::normalize(self.dim, vectors.concat()).map_err(|_| {
            let reason = format!("service {}: gave NaN, infinity or only zeros for {}", self.address, name());
            Trouble { error: Error::model(&self.model, reason), about_these: true }
        })
    }
}

impl WholePictures {
    pub(super) fn new(service: &Arc<Embeddings>, model: &str, dim: usize) -> Self {
        Self(Side::new(service, model, dim, service.most_pictures()))
    }

    fn some(&self, pictures: &[SharedDecode], workers: &ThreadPool) -> Result<Vec<Result<Vectors>>> {
        let files: Vec<Result<File>> = workers.install(|| {
            let file = |picture: &SharedDecode| picture.source().file().map(|(media, bytes)| File { media, bytes });
            pictures.par_iter().map(file).collect()
        });
        let good: Vec<usize> = (0..pictures.len()).filter(|&i| files[i].is_ok()).collect();
        let (mut ready, mut read) = (Vec::with_capacity(good.len()), Vec::with_capacity(files.len()));
        for file in files {
            read.push(file.map(|file| ready.push(file)));
        }
        let run = |rows: Range<usize>| {
            let answer = self.0.service.pictures(&ready[rows.clone()], Some(self.0.dim));
            self.0.read(answer, || format!("picture {}", pictures[good[rows.start]].source().name()))
        };
        let mut vectors = self.0.most.run(0..ready.len(), &run)?.into_iter();
        let each = read.into_iter().map(|read| {
            read?;
            vectors.next().expect("as many vectors as good pictures")
        });
        Ok(each.collect())
    }
}

impl Pictures for WholePictures {
    fn rows(&self, pictures: &[SharedDecode], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Result<Vectors>>> {
        let parts: Vec<&[SharedDecode]> = pictures.chunks(self.0.most.get()).collect();
        let rows = self.0.requests.run(&parts, workers, |some| {
            cancel.check()?;
            self.some(some, workers)
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn preprocess(&self) -> Option<&Preprocess> {
        None
    }

    fn preferred_batch(&self, _: &ThreadPool) -> usize {
        self.0.requests.most() * self.0.most.get()
    }

    fn reads(&self) -> (&str, &str) {
        (&self.0.address, "embedding")
    }
}

impl WholeTexts {
    pub(super) fn new(service: &Arc<Embeddings>, model: &str, dim: usize) -> Self {
        Self(Side::new(service, model, dim, service.options().batch))
    }
}

impl Texts for WholeTexts {
    fn rows(&self, texts: &[&str], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Vectors>> {
        let parts: Vec<&[&str]> = texts.chunks(self.0.most.get()).collect();
        let rows = self.0.requests.run(&parts, workers, |some| {
            cancel.check()?;
            let run = |rows: Range<usize>| {
                let answer = self.0.service.texts(&some[rows.clone()], Some(self.0.dim));
                self.0.read(answer, || tokenize::name(some[rows.start]))
            };
            self.0.most.run(0..some.len(), &run)?.into_iter().collect::<Result<Vec<_>>>()
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn reads(&self) -> (&str, &str) {
        (&self.0.address, "embedding")
    }
}
