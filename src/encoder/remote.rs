//! Towers whose network runs on a server. Everything before and after it happens here, so that vectors are the same.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use half::f16;
use ort::value::TensorElementType;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::encoder::adaptive_batch::AdaptiveBatch;
use crate::encoder::custom::BatchError;
use crate::encoder::image::{image_plan, noise};
use crate::encoder::request_pool::RequestPool;
use crate::encoder::signature::{Feed, Input, Plan, Port, Role, Signature, Takes};
use crate::encoder::text::text_plan;
use crate::encoder::tower::{Pictures, Texts};
use crate::encoder::transport::{Declared, Failure, Numbers, Tensor, Transport};
use crate::error::{Error, Result};
use crate::model::{Model, NetworkPrecision};
use crate::preprocess::{Preprocess, SharedDecode};
use crate::tokenize;
use crate::tokenize::{Tokenizer, Tokens};
use crate::vectors::Vectors;

/// The longest vectors of which only the beginning is wanted.
const LONGEST: usize = 16_384;

/// The least pixels of which a network makes one vector before it pools them, along a side.
const PATCH: usize = 8;

/// How far a vector may lie from that of the same picture alone, where several go in together.
const SAME: f32 = 1e-5;

/// Opens the towers of `model` that run on servers: that for pictures by one transport, that for texts by another or the
/// same, whose network may then lack one of them.
pub(super) fn towers(
    model: &Model,
    image: Option<&Arc<dyn Transport>>,
    text: Option<&Arc<dyn Transport>>,
) -> Result<(Option<RemotePictures>, Option<RemoteTexts>)> {
    let one = image.zip(text).is_some_and(|(image, text)| Arc::ptr_eq(image, text));
    let for_images = image.map(|image| Service::ask(image, model)).transpose()?;
    let for_texts = if one { for_images.clone() } else { text.map(|text| Service::ask(text, model)).transpose()? };
    let lacks = |service: &Service, what: &str| {
        let address = service.transport.address();
        Error::model(model.name(), format!("service {address}: its model takes no {what}; name another"))
    };
    let (mut pictures, mut texts) = (None, None);
    if let Some(service) = &for_images {
        pictures = RemotePictures::open(model, service)?;
        if pictures.is_none() && !one {
            return Err(lacks(service, "pictures that this model has"));
        }
    }
    if let Some(service) = &for_texts {
        texts = RemoteTexts::open(model, service)?;
        if texts.is_none() && (!one || pictures.is_none()) {
            return Err(lacks(service, "pictures or texts that this model has"));
        }
    }
    Ok((pictures, texts))
}

/// A network on a server that was asked what it takes and gives.
#[derive(Clone)]
pub(super) struct Service {
    transport: Arc<dyn Transport>,
    inputs: Arc<[Declared]>,
    outputs: Arc<[Declared]>,
}

impl Service {
    fn ask(transport: &Arc<dyn Transport>, model: &Model) -> Result<Self> {
        let (inputs, outputs) = transport.signature().map_err(|failure| failure.of(model.name(), String::new).error)?;
        Ok(Self { transport: Arc::clone(transport), inputs: inputs.into(), outputs: outputs.into() })
    }
}

impl Failure {
    /// The failure of a request of model `model`, of whose rows `name` names the first.
    fn of(self, model: &str, name: impl Fn() -> String) -> BatchError {
        match self {
            Self::Said { reason, refused: true } => {
                BatchError { error: Error::model(model, format!("{reason} (for {})", name())), about_these: true }
            }
            Self::Said { reason, refused: false } => {
                BatchError { error: Error::model(model, reason), about_these: false }
            }
            Self::Raised(error) => BatchError { error, about_these: false },
        }
    }
}

/// One side of a network on a server.
struct Remote {
    transport: Arc<dyn Transport>,
    model: String,
    dim: usize,
    signature: Signature,
    /// How many numbers a vector has before it is cut.
    width: usize,
    /// Whether the output has a vector for each token.
    pooled: bool,
    /// Whether several rows may go in together, once that is known.
    together: OnceLock<bool>,
    /// How many may, as far as that is known.
    most: AdaptiveBatch,
    requests: RequestPool,
}

impl Remote {
    /// Nothing when the model on the server does not have this side.
    fn open(model: &Model, service: &Service, plan: &Plan<'_>) -> Result<Option<Self>> {
        let ports = |ports: &[Declared]| -> Vec<Port> { ports.iter().map(port).collect() };
        let (inputs, outputs) = (ports(&service.inputs), ports(&service.outputs));
        let address = service.transport.address();
        let blame = |reason: String| Error::model(model.name(), format!("service {address}: {reason}"));
        if inputs.is_empty() || outputs.is_empty() {
            return Err(blame("does not say what its model takes and gives; make its metadata name them".into()));
        }
        if !inputs.iter().any(|port| is_of(port, &plan.takes)) {
            return Ok(None);
        }
        let signature = Signature::new(&inputs, &outputs, plan, (model.dim(), model.matryoshka())).map_err(blame)?;
        Ok(Some(Self {
            transport: Arc::clone(&service.transport),
            model: model.name().to_string(),
            dim: model.dim(),
            signature,
            width: if model.matryoshka() { model.dim().max(LONGEST) } else { model.dim() },
            pooled: plan.pool.is_some(),
            together: OnceLock::new(),
            most: AdaptiveBatch::new(service.transport.batch()),
            requests: RequestPool::new(service.transport.requests()),
        }))
    }

    fn run(&self, feed: Feed<'_>, name: impl Fn() -> String) -> Result<Vectors, BatchError> {
        let inputs: Vec<Tensor<'_>> = self.signature.inputs.iter().map(|input| tensor(input, feed)).collect();
        // The server's own declaration is no limit.
        let tokens = match feed {
            _ if !self.pooled => 1,
            Feed::Pixels(_, (height, width)) => 64 + height.div_ceil(PATCH) * width.div_ceil(PATCH),
            Feed::Tokens(tokens) => tokens.columns,
        };
        let numbers = feed.rows() * tokens * self.width;
        let output = self.transport.infer(&inputs, &self.signature.output, numbers);
        let output = output.map_err(|failure| failure.of(&self.model, &name))?;
        let blame =
            |reason: String| Error::model(&self.model, format!("service {}: {reason}", self.transport.address()));
        let values = self
            .signature
            .read(&output.values, &output.shape, feed)
            .map_err(|reason| BatchError { error: blame(reason), about_these: false })?;
        Vectors::normalize(self.dim, values).map_err(|_| {
            let error = blame(format!("gave NaN, infinity or only zeros for {}; it is of no use there", name()));
            BatchError { error, about_these: true }
        })
    }

    /// How many rows go into a request, of `wanted` in all.
    fn batch(&self, wanted: usize, try_together: impl FnOnce() -> Result<bool, BatchError>) -> usize {
        let most = self.most.get();
        if wanted < 2 || most < 2 || !self.signature.takes_several() {
            return 1;
        }
        let together = match self.together.get() {
            Some(together) => *together,
            None => match try_together() {
                Ok(together) => *self.together.get_or_init(|| together),
                // A refusal would come again; anything else says nothing about this.
                Err(trouble) if trouble.about_these => *self.together.get_or_init(|| false),
                Err(_) => false,
            },
        };
        if together { most } else { 1 }
    }

    /// Whether rows get the vectors together that they get one by one.
    fn same_together<'a>(&self, together: Feed<'_>, alone: impl Fn(usize) -> Feed<'a>) -> Result<bool, BatchError> {
        let vectors = self.run(together, String::new)?;
        for (row, vector) in vectors.rows().enumerate() {
            let other = self.run(alone(row), String::new)?;
            if vector.iter().zip(other.row(0)).any(|(a, b)| (a - b).abs() > SAME) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn reads(&self) -> (&str, &str) {
        (self.transport.address(), &self.signature.output)
    }
}

/// The picture tower of a model whose network runs on a server.
pub(super) struct RemotePictures {
    preprocess: Preprocess,
    remote: Remote,
}

impl RemotePictures {
    /// Nothing when the model has no tower for pictures, or the server's has none.
    pub(super) fn open(model: &Model, service: &Service) -> Result<Option<Self>> {
        let Some(tower) = model.image() else { return Ok(None) };
        let remote = Remote::open(model, service, &image_plan(tower))?;
        Ok(remote.map(|remote| Self { preprocess: tower.preprocess.clone(), remote }))
    }

    fn feed<'a>(&self, tensors: &'a [f32]) -> Feed<'a> {
        Feed::Pixels(tensors, self.preprocess.shape())
    }

    /// The vectors of the pictures of one request, which are decoded here meanwhile by all threads.
    fn some(&self, pictures: &[SharedDecode], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Result<Vectors>>> {
        cancel.check()?;
        let size = self.preprocess.tensor_len();
        let mut tensors = vec![0.0; pictures.len() * size];
        let loaded: Vec<Result<()>> = workers.install(|| {
            let rooms = tensors.par_chunks_exact_mut(size);
            pictures.par_iter().zip(rooms).map(|(picture, room)| picture.load(&self.preprocess, room)).collect()
        });
        // Pictures that cannot be read leave no gap.
        let good: Vec<usize> = (0..pictures.len()).filter(|&i| loaded[i].is_ok()).collect();
        for (place, &i) in good.iter().enumerate() {
            tensors.copy_within(i * size..(i + 1) * size, place * size);
        }
        tensors.truncate(good.len() * size);
        let run = |rows: Range<usize>| {
            let name = || format!("picture {}", pictures[good[rows.start]].source().name());
            self.remote.run(self.feed(&tensors[rows.start * size..rows.end * size]), name)
        };
        let mut vectors = self.remote.most.run(0..good.len(), &run)?.into_iter();
        let each = loaded.into_iter().map(|loaded| {
            loaded?;
            vectors.next().expect("as many vectors as good pictures")
        });
        Ok(each.collect())
    }
}

impl Pictures for RemotePictures {
    fn rows(&self, pictures: &[SharedDecode], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Result<Vectors>>> {
        let batch = self.remote.batch(pictures.len(), || {
            let size = self.preprocess.tensor_len();
            let noise = noise(size);
            self.remote.same_together(self.feed(&noise), |row| self.feed(&noise[row * size..(row + 1) * size]))
        });
        let parts: Vec<&[SharedDecode]> = pictures.chunks(batch).collect();
        let rows = self.remote.requests.run(&parts, workers, |some| self.some(some, workers, cancel))?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn preprocess(&self) -> Option<&Preprocess> {
        Some(&self.preprocess)
    }

    fn preferred_batch(&self, _: &ThreadPool) -> usize {
        self.remote.requests.most() * self.remote.most.get()
    }

    fn reads(&self) -> (&str, &str) {
        self.remote.reads()
    }
}

/// The text tower of a model whose network runs on a server.
pub(super) struct RemoteTexts {
    tokenizer: Tokenizer,
    remote: Remote,
    /// Whether a network that computes in few bits lets the texts of a request share their scales.
    alone: bool,
}

impl RemoteTexts {
    /// Nothing when the model has no tower for texts, or the server's has none.
    pub(super) fn open(model: &Model, service: &Service) -> Result<Option<Self>> {
        let Some(tower) = model.text() else { return Ok(None) };
        let Some(remote) = Remote::open(model, service, &text_plan(model, tower))? else { return Ok(None) };
        Ok(Some(Self {
            tokenizer: Tokenizer::open(model)?,
            remote,
            alone: model.precision() == Some(NetworkPrecision::Int8),
        }))
    }
}

impl Texts for RemoteTexts {
    fn rows(&self, texts: &[&str], workers: &ThreadPool, cancel: &Cancel) -> Result<Vec<Vectors>> {
        let tokens: Vec<Tokens> =
            workers.install(|| texts.par_iter().map(|text| self.tokenizer.encode(&[text])).collect::<Result<_>>())?;
        let batch = self.remote.batch(texts.len(), || {
            if self.alone {
                return Ok(false);
            }
            let one = &tokens[0];
            let turned = Tokens { ids: one.ids.iter().rev().copied().collect(), ..one.clone() };
            let both = Tokens::joined([one, &turned].into_iter());
            self.remote.same_together(Feed::Tokens(&both), |row| Feed::Tokens([one, &turned][row]))
        });
        let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, tokens) in tokens.iter().enumerate() {
            lengths.entry(tokens.columns).or_default().push(place);
        }
        let parts: Vec<&[usize]> = lengths.values().flat_map(|places| places.chunks(batch)).collect();
        let found = self.remote.requests.run(&parts, workers, |places| {
            cancel.check()?;
            let run = |rows: Range<usize>| {
                let together = Tokens::joined(places[rows.clone()].iter().map(|&place| &tokens[place]));
                self.remote.run(Feed::Tokens(&together), || tokenize::name(texts[places[rows.start]]))
            };
            self.remote.most.run(0..places.len(), &run)?.into_iter().collect::<Result<Vec<_>>>()
        })?;
        let mut rows: Vec<Option<Vectors>> = texts.iter().map(|_| None).collect();
        for (&place, vector) in parts.iter().copied().flatten().zip(found.into_iter().flatten()) {
            rows[place] = Some(vector);
        }
        Ok(rows.into_iter().map(|row| row.expect("each text is in one request")).collect())
    }

    fn reads(&self) -> (&str, &str) {
        self.remote.reads()
    }
}

fn port(port: &Declared) -> Port {
    let element = match port.datatype.as_str() {
        "FP32" => Some(TensorElementType::Float32),
        "FP16" => Some(TensorElementType::Float16),
        "BF16" => Some(TensorElementType::Bfloat16),
        "FP64" => Some(TensorElementType::Float64),
        "INT64" => Some(TensorElementType::Int64),
        "INT32" => Some(TensorElementType::Int32),
        "INT16" => Some(TensorElementType::Int16),
        "INT8" => Some(TensorElementType::Int8),
        "UINT8" => Some(TensorElementType::Uint8),
        "BOOL" => Some(TensorElementType::Bool),
        _ => None,
    };
    Port { name: port.name.clone(), element, shape: port.shape.clone() }
}

/// Whether an input is for pictures, or for texts.
fn is_of(port: &Port, takes: &Takes) -> bool {
    use TensorElementType::{Float16, Float32, Int32, Int64};
    match takes {
        Takes::Pixels(..) => port.shape.len() == 4 && matches!(port.element, Some(Float32 | Float16)),
        Takes::Tokens(_) => port.shape.len() == 2 && matches!(port.element, Some(Int64 | Int32)),
    }
}

/// The values of an input.
fn tensor<'a>(input: &'a Input, feed: Feed<'a>) -> Tensor<'a> {
    let name = input.name.as_str();
    if let Some([_, row @ ..]) = input.filler.as_deref() {
        // One row, because servers want as many for every input.
        let shape = [&[1], row].concat();
        let count = shape.iter().product();
        let numbers = match input.element {
            TensorElementType::Int32 => Numbers::Ints(vec![1; count]),
            TensorElementType::Int64 => Numbers::Longs(vec![1; count].into()),
            TensorElementType::Float16 => Numbers::Halves(vec![f16::ZERO; count]),
            _ => Numbers::Floats(vec![0.0; count].into()),
        };
        return Tensor { name, shape, numbers };
    }
    match feed {
        Feed::Pixels(pixels, (height, width)) => {
            let numbers = match input.element {
                TensorElementType::Float16 => Numbers::Halves(pixels.iter().map(|&v| f16::from_f32(v)).collect()),
                _ => Numbers::Floats(pixels.into()),
            };
            Tensor { name, shape: vec![feed.rows(), 3, height, width], numbers }
        }
        Feed::Tokens(tokens) => {
            let numbers: Cow<'a, [i64]> = match input.role {
                Role::Mask => (&tokens.mask).into(),
                Role::Ids | Role::Pixels => (&tokens.ids).into(),
                Role::Types => vec![0; tokens.ids.len()].into(),
                Role::Positions => (0..tokens.ids.len()).map(|i| (i % tokens.columns) as i64).collect(),
            };
            let numbers = match input.element {
                TensorElementType::Int32 => Numbers::Ints(numbers.iter().map(|&number| number as i32).collect()),
                _ => Numbers::Longs(numbers),
            };
            Tensor { name, shape: vec![tokens.rows, tokens.columns], numbers }
        }
    }
}
