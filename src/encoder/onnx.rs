//! Encodes with a model directory: its networks run here with ONNX Runtime, or on a server.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::calibrate::Typical;
use crate::cancel::Cancel;
use crate::encoder::cache::Cache;
use crate::encoder::device::{Device, Precision};
use crate::encoder::encode::{About, Encode};
use crate::encoder::features::{FeatureMaps, Features};
use crate::encoder::image::ImageEncoder;
use crate::encoder::local;
use crate::encoder::probe::{ALIKE, Probe, Question};
use crate::encoder::provider::Setting;
use crate::encoder::remote;
use crate::encoder::remote::{RemotePictures, RemoteTexts};
use crate::encoder::text::TextEncoder;
use crate::encoder::tower::{Pictures, Texts};
use crate::encoder::transport::Transport;
use crate::error::{Error, Result};
use crate::model::{Model, Prompts};
use crate::picture::Source;
use crate::preprocess::{Preprocess, SharedDecode};
use crate::tokenize;
use crate::tokenize::{Tokenizer, Tokens};
use crate::vectors::Vectors;
use crate::workers::workers;

/// How a model is run.
#[derive(Clone, Default)]
pub struct Options {
    /// The most threads that compute, however many call; all cores when `None`. Encoders of as many threads share them.
    pub threads: Option<usize>,
    /// The device of the networks that run here.
    pub device: Device,
    /// The numbers to compute in; `None` is what the networks are made of, on every device.
    pub precision: Option<Precision>,
    /// The most pictures, or texts of one length, that go through a network together, 1 to 1024. `None` is 32 on GPUs;
    /// elsewhere one, and four where that changes no bit of a vector.
    pub max_batch: Option<usize>,
    /// The server that runs networks of the model, if they do not all run here.
    pub service: Option<Service>,
    /// Whether to open no network that runs here: the encoder then only prepares pictures and texts.
    pub without_networks: bool,
    /// The number of pictures of searches whose vectors are remembered; [`Cache::IMAGES`] by default.
    pub cache: Option<usize>,
}

/// The servers that run networks of a model.
#[derive(Clone)]
pub struct Service {
    /// Calls the network for pictures, if it does not run here.
    pub image: Option<Arc<dyn Transport>>,
    /// Calls the network for texts, if it does not run here. If both are one transport, its network may lack one of
    /// them: that one runs here, if it is here.
    pub text: Option<Arc<dyn Transport>>,
    /// The probe by which servers show whether they run the model.
    pub question: Question,
}

impl Options {
    /// Devices and numbers to try in turn, of which the last has to do; `computes` says whether any network runs here.
    fn attempts(&self, computes: bool) -> Vec<(Device, Option<Precision>)> {
        match &self.device {
            Device::Auto if computes => {
                let gpu = Device::Cuda(vec![0]);
                // Fast on a GPU in other numbers than asked for is still better than slow.
                let plain = self.precision.map(|_| (gpu.clone(), None));
                [(gpu, self.precision)].into_iter().chain(plain).chain([(Device::Cpu, None)]).collect()
            }
            Device::Auto => vec![(Device::Cpu, None)],
            device => vec![(device.clone(), self.precision)],
        }
    }
}

/// A model that is ready to encode, shared by any number of threads.
pub struct Encoder {
    model: Model,
    about: About,
    process: u32,
    workers: Arc<ThreadPool>,
    image: Option<Box<dyn Pictures>>,
    text: Option<Box<dyn Texts>>,
    /// Opened when it is first asked for by itself.
    tokenizer: Mutex<Option<Arc<Tokenizer>>>,
    /// Opened when feature maps are first asked for; None within if the model has none.
    features: Mutex<Option<Option<Arc<Features>>>>,
    cache: Cache,
    probe: Probe,
    device: Device,
    setting: Setting,
    fallback: Option<String>,
}

impl Encoder {
    /// Opens the networks of `model`, to run them as `options` say.
    ///
    /// A server is asked for the vectors of a fixed picture and text, which must be those of the model: of
    /// its [`facts`](Model::facts), or of its networks if they are here.
    ///
    /// # Errors
    /// [`Error::Model`] if [`load_runtime`](crate::encoder::load_runtime) was not called, a network is not what the manifest
    /// says, a server cannot be asked or runs another model, or the device cannot be used; [`Error::Argument`] if an option
    /// makes no sense.
    pub fn open(model: Model, options: &Options) -> Result<Self> {
        let workers = workers(options.threads)?;
        let setting = |device: &Device, precision| {
            Setting::new(device.places(), precision, workers.current_num_threads(), options.max_batch)
        };
        if options.device != Device::Auto {
            setting(&options.device, options.precision)?; // what makes no sense is said before any server is asked
        }
        // However many devices are tried, each server is asked once.
        let (far_image, far_text) = match &options.service {
            Some(Service { image, text, .. }) => remote::towers(&model, image.as_ref(), text.as_ref())?,
            None => (None, None),
        };
        let wanted = [far_image.is_none(), far_text.is_none()].map(|near| near && !options.without_networks);
        let near = |device: &Device, precision| {
            let setting = setting(device, precision)?;
            local::towers(&model, &setting, wanted).map(|towers| (setting, towers))
        };
        let computes = wanted[0] && model.image().is_some() || wanted[1] && model.text().is_some();
        let (mut attempts, mut fallback) = (options.attempts(computes).into_iter(), None);
        let (device, (setting, (near_image, near_text))) = loop {
            let (device, precision) = attempts.next().expect("the last attempt ends the loop");
            match near(&device, precision) {
                Ok(opened) => break (device, opened),
                // A fault of the model is one on the processor, too.
                Err(error) if attempts.len() == 0 => return Err(error),
                Err(error) => fallback = Some(error.to_string()),
            }
        };
        let probe = match &options.service {
            Some(Service { question, .. }) => {
                Self::probed(&model, far_image.as_ref(), far_text.as_ref(), question, &workers)?
            }
            None => Probe::default(),
        };
        let image = match far_image {
            Some(far) => Some(Box::new(far) as Box<dyn Pictures>),
            None => near_image.map(|near| Box::new(near) as Box<dyn Pictures>),
        };
        let text = match far_text {
            Some(far) => Some(Box::new(far) as Box<dyn Texts>),
            None => near_text.map(|near| Box::new(near) as Box<dyn Texts>),
        };
        Ok(Self {
            about: about(&model, (image.is_some(), text.is_some()), &device, &setting),
            model,
            process: process::id(),
            workers,
            image,
            text,
            tokenizer: Mutex::new(None),
            features: Mutex::new(None),
            cache: Cache::new(options.cache.unwrap_or(Cache::IMAGES)),
            probe,
            device,
            setting,
            fallback,
        })
    }

    /// The vectors of the probe by the towers that run on a server, which are compared with what is known of them.
    fn probed(
        model: &Model,
        image: Option<&RemotePictures>,
        text: Option<&RemoteTexts>,
        question: &Question,
        workers: &ThreadPool,
    ) -> Result<Probe> {
        let of_picture = |tower: &dyn Pictures| -> Result<Vec<f32>> {
            let mut rows = tower.rows(&[SharedDecode::alone(question.picture.clone())], workers, &Cancel::current())?;
            rows.remove(0).map(Vectors::into_inner)
        };
        let of_text = |tower: &dyn Texts| -> Result<Vec<f32>> {
            tower
                .rows(&[question.text.as_str()], workers, &Cancel::current())
                .map(|mut rows| rows.remove(0).into_inner())
        };
        let found = Probe {
            image: image.map(|tower| of_picture(tower)).transpose()?,
            text: text.map(|tower| of_text(tower)).transpose()?,
        };
        let (mut known, facts) = (Probe::default(), model.facts());
        let here = Setting::new(Device::Cpu.places(), None, workers.current_num_threads(), None)?;
        known.image = match (&facts.image, model.image().filter(|tower| image.is_some() && model.has(&tower.file))) {
            (Some(vector), _) => Some(vector.clone()),
            (None, Some(tower)) => Some(of_picture(&ImageEncoder::open(model, tower, &here, false)?)?),
            (None, None) => None,
        };
        known.text = match (&facts.text, model.text().filter(|tower| text.is_some() && model.has(&tower.file))) {
            (Some(vector), _) => Some(vector.clone()),
            (None, Some(tower)) => Some(of_text(&TextEncoder::open(model, tower, &here, None)?)?),
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

    /// Returns the device of the networks that run here; never [`Device::Auto`].
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The numbers that the device was asked to compute in, if it was.
    pub fn precision(&self) -> Option<Precision> {
        self.setting.precision
    }

    /// The most rows that go through a network together, if that is not left to what was seen to change no bit.
    pub fn max_batch(&self) -> Option<usize> {
        self.setting.max_batch
    }

    /// Why [`Device::Auto`] did not become a GPU that computes in the precision asked for, if it did not.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Decodes pictures and prepares them as the model sees them: their tensors, one after another, and the height and width
    /// of each. No network is needed.
    ///
    /// # Errors
    /// That of the first picture that cannot be read; [`Error::Model`] if the model has no image tower.
    pub fn preprocess_images(&self, sources: &[Source]) -> Result<(Vec<f32>, (usize, usize))> {
        self.check_process()?;
        let preprocess = &self.model.image().ok_or_else(|| self.about.lacks("image"))?.preprocess;
        let mut tensors = vec![0.0; sources.len() * preprocess.tensor_len()];
        let stop = Cancel::current();
        self.workers.install(|| {
            let rooms = tensors.par_chunks_exact_mut(preprocess.tensor_len());
            sources.par_iter().zip(rooms).with_max_len(1).try_for_each(|(source, room)| {
                stop.check()?;
                preprocess.load(source, room)
            })
        })?;
        Ok((tensors, preprocess.shape()))
    }

    /// Tokenizes texts as the model reads them, padded to one length. No network is needed.
    ///
    /// # Errors
    /// [`Error::Argument`] if a text is empty or too long; [`Error::Model`] if the model has no text tower.
    pub fn tokenize(&self, texts: &[&str]) -> Result<Tokens> {
        texts.iter().try_for_each(|text| tokenize::check(text))?;
        if self.model.text().is_none() {
            return Err(self.about.lacks("text"));
        }
        let opened = {
            let mut tokenizer = self.tokenizer.lock().unwrap_or_else(PoisonError::into_inner);
            match &*tokenizer {
                Some(opened) => Arc::clone(opened),
                None => Arc::clone(tokenizer.insert(Arc::new(Tokenizer::open(&self.model)?))),
            }
        };
        opened.encode(texts)
    }

    fn image_tower(&self) -> Result<&dyn Pictures> {
        self.check_process()?;
        self.image.as_deref().ok_or_else(|| self.lacks(self.model.image().is_some(), "image"))
    }

    fn text_tower(&self) -> Result<&dyn Texts> {
        self.check_process()?;
        self.text.as_deref().ok_or_else(|| self.lacks(self.model.text().is_some(), "text"))
    }

    fn lacks(&self, described: bool, side: &str) -> Error {
        if !described {
            return self.about.lacks(side);
        }
        let reason =
            format!("its {side} network is neither here nor on the service: copy it here, or name its service");
        Error::model(self.model.name(), reason)
    }
}

impl Encode for Encoder {
    fn about(&self) -> &About {
        &self.about
    }

    fn check_process(&self) -> Result<()> {
        match process::id() == self.process {
            true => Ok(()),
            false => Err(Error::model(self.model.name(), "was opened before this process forked; open it again here")),
        }
    }

    fn workers(&self) -> &Arc<ThreadPool> {
        &self.workers
    }

    fn cache(&self) -> &Cache {
        &self.cache
    }

    fn preprocess(&self) -> Option<&Preprocess> {
        self.image.as_ref()?.preprocess()
    }

    fn preferred_batch(&self) -> usize {
        self.image.as_ref().map_or(1, |tower| tower.preferred_batch(&self.workers))
    }

    fn image_rows(&self, pictures: &[SharedDecode]) -> Result<Vec<Result<Vectors>>> {
        let tower = self.image_tower()?;
        if pictures.is_empty() { Ok(Vec::new()) } else { tower.rows(pictures, &self.workers, &Cancel::current()) }
    }

    fn text_rows(&self, texts: &[&str]) -> Result<Vec<Vectors>> {
        self.text_tower()?.rows(texts, &self.workers, &Cancel::current())
    }

    fn feature_maps(&self, picture: &Source) -> Result<FeatureMaps> {
        self.check_process()?;
        let none = || FeatureMaps::none(self.model.name());
        let tower = self.model.image().filter(|tower| self.model.has(&tower.file)).ok_or_else(none)?;
        let opened = {
            let mut features = self.features.lock().unwrap_or_else(PoisonError::into_inner);
            match &*features {
                Some(opened) => opened.clone(),
                None => {
                    let output =
                        self.image.as_deref().map_or(tower.output.as_deref().unwrap_or_default(), |t| t.reads().1);
                    features.insert(Features::open(&self.model, tower, output)?.map(Arc::new)).clone()
                }
            }
        };
        self.workers.install(|| opened.ok_or_else(none)?.compute(picture))
    }

    fn cannot_read(&self, text: &str) -> bool {
        self.text.as_ref().is_some_and(|tower| tower.cannot_read(text))
    }

    fn probe(&self) -> Probe {
        self.probe.clone()
    }

    fn typical(&self) -> Option<&Typical> {
        self.model.calibration()
    }

    fn prompts(&self) -> Option<&Prompts> {
        self.model.prompts()
    }

    fn outputs(&self) -> [Option<(&str, &str)>; 2] {
        [self.image.as_ref().map(|tower| tower.reads()), self.text.as_ref().map(|tower| tower.reads())]
    }
}

/// Describes a model of which these towers are open. A tower that is described and missing says itself what to do.
fn about(model: &Model, (image, text): (bool, bool), device: &Device, setting: &Setting) -> About {
    About {
        name: model.name().to_owned(),
        version: model.version().to_owned(),
        fingerprint: model.fingerprint().to_owned(),
        dim: model.dim(),
        languages: model.languages().to_vec(),
        device: device.to_string(),
        precision: setting.precision.map(|precision| precision.to_string()),
        images: image || model.image().is_some(),
        texts: text || model.text().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_tries_no_device_twice_in_the_same_numbers() {
        let attempts = |precision, computes| {
            let options = Options { device: Device::Auto, precision, ..Options::default() };
            options.attempts(computes)
        };
        let (gpu, half) = (Device::Cuda(vec![0]), Some(Precision::Fp16));
        assert_eq!(attempts(None, true), [(gpu.clone(), None), (Device::Cpu, None)]);
        assert_eq!(attempts(half, true), [(gpu.clone(), half), (gpu.clone(), None), (Device::Cpu, None)]);
        assert_eq!(attempts(half, false), [(Device::Cpu, None)]);
        let told = Options { device: gpu.clone(), precision: half, ..Options::default() };
        assert_eq!(told.attempts(true), [(gpu, half)]);
    }
}
