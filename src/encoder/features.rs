//! Feature maps: what a network says of each place of a picture, before it becomes one vector.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorElementType, TensorRef, ValueType};

use crate::encoder::device::{Device, Place};
use crate::encoder::provider::{Setting, unfused};
use crate::encoder::runtime;
use crate::error::{Error, Result};
use crate::model::{ImageTower, Model, Tail};
use crate::picture::Source;
use crate::preprocess::Preprocess;

/// One feature map: a number of each channel for each place.
#[derive(Debug, Clone)]
pub struct Map {
    /// Channels, rows and columns.
    pub shape: [usize; 3],
    /// All numbers, channel by channel, row by row.
    pub values: Vec<f32>,
}

/// The last feature maps of a picture, and how its vector is made of them.
#[derive(Debug, Clone)]
pub struct FeatureMaps {
    /// Width and height of the upright picture.
    pub size: (u32, u32),
    /// The rectangle that the maps cover: left, top, right and bottom in shares of the picture, which may lie beyond 0 and 1.
    pub covered: [f64; 4],
    /// The maps, by their names in `tail`.
    pub maps: HashMap<String, Map>,
    /// The other tensors that the vector is made of.
    pub others: HashMap<String, Vec<f32>>,
    /// The vector, of any length above 0.
    pub vector: Vec<f32>,
    /// How it is made.
    pub tail: Arc<Tail>,
}

impl FeatureMaps {
    /// The error for a model without them.
    pub(super) fn none(model: &str) -> Error {
        let reason = "its vectors are not made by global pooling of feature maps, as those of ResNet, MobileNet and \
                      plushie-mini are: use method=\"windows\", which works with every model";
        Error::model(model, reason)
    }
}

/// A network with its feature maps as further outputs. It runs on the processor, whatever the model runs on.
pub(super) struct Features {
    model: String,
    session: Mutex<Session>,
    input: String,
    half: bool,
    preprocess: Preprocess,
    tail: Arc<Tail>,
}

impl Features {
    /// Opens the network of a tower; None if no feature maps are pooled in it.
    pub(super) fn open(model: &Model, tower: &ImageTower, output: &str) -> Result<Option<Self>> {
        let Some((tail, bytes)) = model.with_maps(&tower.file, output)? else { return Ok(None) };
        let blame = |error: ort::Error| {
            Error::model(model.name(), format!("{}: its feature maps cannot be read: {error}", tower.file))
        };
        let environment = runtime::environment()?;
        let setting = Setting::new(Device::Cpu.places(), None, 1, None)?;
        let built = setting.builder(&environment, &Place::Cpu, None);
        let built = built.and_then(|builder| if model.is_mixed(&tower.file) { unfused(builder) } else { Ok(builder) });
        let session = built.and_then(|mut builder| builder.commit_from_memory(&bytes)).map_err(blame)?;
        let [input] = session.inputs() else { return Ok(None) };
        let half = matches!(input.dtype(), ValueType::Tensor { ty: TensorElementType::Float16, .. });
        let (input, preprocess) = (input.name().to_owned(), tower.preprocess.clone());
        let model = model.name().to_owned();
        Ok(Some(Self { model, session: Mutex::new(session), input, half, preprocess, tail: Arc::new(tail) }))
    }

    /// Computes the maps of a picture.
    pub(super) fn compute(&self, source: &Source) -> Result<FeatureMaps> {
        let picture = source.decode(Some(self.preprocess.at_least()))?;
        let mut pixels = vec![0.0; self.preprocess.tensor_len()];
        self.preprocess.apply(&picture, &mut pixels)?;
        let size = picture.full_size();
        let (maps, others) = self.tail.part.tensors();
        let found = self.run(&pixels, &maps, &others);
        let (maps, others, vector) =
            found.map_err(|reason| Error::model(&self.model, format!("feature maps: {reason}")))?;
        let (covered, tail) = (self.preprocess.covered(size), Arc::clone(&self.tail));
        Ok(FeatureMaps { size, covered, maps, others, vector, tail })
    }

    #[allow(clippy::type_complexity)] // maps, other tensors, the vector
    fn run(
        &self,
        pixels: &[f32],
        maps: &[&str],
        others: &[&str],
    ) -> Result<(HashMap<String, Map>, HashMap<String, Vec<f32>>, Vec<f32>), String> {
        let (height, width) = self.preprocess.shape();
        let shape = [1, 3, height, width];
        let input: SessionInputValue<'_> = match self.half {
            true => {
                let pixels: Vec<f16> = pixels.iter().map(|&value| f16::from_f32(value)).collect();
                Tensor::from_array((shape, pixels)).map_err(|error| error.to_string())?.into()
            }
            false => TensorRef::from_array_view((shape, pixels)).map_err(|error| error.to_string())?.into(),
        };
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(vec![(self.input.as_str(), input)]).map_err(|error| error.to_string())?;
        let read = |name: &str| numbers(outputs.get(name).ok_or_else(|| format!("no tensor {name:?}"))?);
        let map = |name: &&str| {
            let (shape, values) = read(name)?;
            match shape[..] {
                [1, channels, rows, columns] if rows * columns > 0 => {
                    Ok(((*name).to_owned(), Map { shape: [channels, rows, columns], values }))
                }
                _ => Err(format!("{name:?} has the shape {shape:?}")),
            }
        };
        let other = |name: &&str| Ok(((*name).to_owned(), read(name)?.1));
        let maps = maps.iter().map(map).collect::<Result<_, String>>()?;
        let others = others.iter().map(other).collect::<Result<_, String>>()?;
        Ok((maps, others, read(&self.tail.vector)?.1))
    }
}

/// The shape and the numbers of a tensor.
fn numbers(value: &DynValue) -> Result<(Vec<usize>, Vec<f32>), String> {
    let shape = value.shape().iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    let values = match value.data_type() {
        TensorElementType::Float16 => {
            value.try_extract_tensor::<f16>().map(|(_, values)| values.iter().map(|v| v.to_f32()).collect())
        }
        _ => value.try_extract_tensor::<f32>().map(|(_, values)| values.to_vec()),
    };
    Ok((shape, values.map_err(|error| error.to_string())?))
}
