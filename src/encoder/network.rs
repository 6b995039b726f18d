//! One ONNX network: what it takes and gives, found by introspection, and running it from many threads at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{Outlet, Tensor, TensorElementType, TensorRef, ValueType};

use crate::encoder::batch::Room;
use crate::encoder::device::Place;
use crate::encoder::provider::{Setting, unfused};
use crate::encoder::runtime;
use crate::encoder::session::Shared;
use crate::encoder::signature::{Feed, Input, Plan, Port, Role, Signature};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::vectors::Vectors;

/// One side of a network: what goes in for it, and which output it reads.
pub(super) struct Network {
    opened: Arc<Opened>,
    dim: usize,
    signature: Signature,
}

/// A network in memory, which both sides of a model may share.
pub(super) struct Opened {
    model: String,
    file: String,
    /// One for each place that shares the work.
    sessions: Vec<Shared>,
    next: AtomicUsize,
}

impl Opened {
    /// Opens a network of `model`; `fixed` says that everything that goes in has the same size, but for the batch.
    pub(super) fn new(model: &Model, file: &str, setting: &Setting, fixed: bool) -> Result<Arc<Self>> {
        let environment = runtime::environment()?;
        let open = |place: &Place| {
            runtime::logged();
            let name = fixed.then(|| format!("{}-{}", model.fingerprint(), file.replace(['/', '\\'], "-")));
            let built = setting.builder(&environment, place, name.as_deref());
            let built = built.and_then(|builder| if model.is_mixed(file) { unfused(builder) } else { Ok(builder) });
            let session = built.and_then(|mut builder| builder.commit_from_file(model.path(file)));
            session.map(|session| Shared::new(session, place.clone())).map_err(|error| {
                let reason = error.to_string();
                let reason = reason.trim_end();
                let advice = place.advice(reason, &runtime::logged());
                Error::model(
                    model.name(),
                    match place {
                        Place::Cpu => {
                            format!("{file}: is not a network that this ONNX Runtime can run: {reason}{advice}")
                        }
                        // A colon announces the whole reason.
                        _ if advice.starts_with(':') => format!("{file}: cannot be opened on {place}{advice}"),
                        _ => format!("{file}: cannot be opened on {place}{advice} ({reason})"),
                    },
                )
            })
        };
        let sessions = setting.places.iter().map(open).collect::<Result<_>>()?;
        Ok(Arc::new(Self { model: model.name().into(), file: file.into(), sessions, next: AtomicUsize::new(0) }))
    }

    fn blame(&self, reason: impl std::fmt::Display) -> Error {
        Error::model(&self.model, format!("{}: {reason}", self.file))
    }
}

impl Network {
    /// Checks that a network of `model` can be fed what `plan` says.
    pub(super) fn new(model: &Model, opened: Arc<Opened>, plan: &Plan<'_>) -> Result<Self> {
        let (inputs, outputs) = (ports(opened.sessions[0].inputs()), ports(opened.sessions[0].outputs()));
        let signature = Signature::new(&inputs, &outputs, plan, (model.dim(), model.matryoshka()));
        let signature = signature.map_err(|reason| opened.blame(reason))?;
        Ok(Self { opened, dim: model.dim(), signature })
    }

    /// Numbers in a vector.
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// The sessions that run it, to share with the other side.
    pub(super) fn opened(&self) -> Arc<Opened> {
        self.opened.clone()
    }

    /// Whether the network has inputs for the other side, too.
    pub(super) fn is_combined(&self) -> bool {
        self.signature.is_combined()
    }

    /// Runs once and looks only at whether that works.
    ///
    /// A network for both sides is offered an empty batch of the other side first, then one row of it: not every
    /// network can do without, and those that can are faster.
    pub(super) fn try_out(&mut self, feed: Feed<'_>) -> Result<()> {
        let tried = self.check_on(0, feed);
        if tried.is_ok() || !self.is_combined() {
            return tried;
        }
        for input in &mut self.signature.inputs {
            if let Some([rows, ..]) = input.filler.as_deref_mut() {
                *rows = 1;
            }
        }
        self.check_on(0, feed)
    }

    /// Runs once at a certain place and looks only at whether that works.
    pub(super) fn check_on(&self, place: usize, feed: Feed<'_>) -> Result<()> {
        self.values(place, feed).map(drop).map_err(|reason| self.opened.blame(reason))
    }

    /// Whether several pictures may go in together.
    pub(super) fn takes_several(&self) -> bool {
        self.signature.takes_several()
    }

    /// The file, and the output of it that has the vectors.
    pub(super) fn reads(&self) -> (&str, &str) {
        (&self.opened.file, &self.signature.output)
    }

    /// Memory for `len` numbers that go in.
    pub(super) fn room(&self, len: usize) -> Room {
        let pinned = self.opened.sessions.first().and_then(|session| session.pinned(len));
        pinned.map_or_else(|| Room::Plain(vec![0.0; len]), Room::Pinned)
    }

    /// The unit vectors of pictures or texts, which errors call `name`; the places take turns.
    pub(super) fn run(&self, feed: Feed<'_>, name: impl FnOnce() -> String) -> Result<Vectors> {
        self.run_on(self.opened.next.fetch_add(1, Ordering::Relaxed), feed, name)
    }

    /// The same at a certain place; counting begins again after the last one.
    pub(super) fn run_on(&self, place: usize, feed: Feed<'_>, name: impl FnOnce() -> String) -> Result<Vectors> {
        let blame = |reason: String| self.opened.blame(reason);
        Vectors::normalize(self.dim, self.values(place, feed).map_err(blame)?)
            .map_err(|_| blame(format!("gave NaN, infinity or only zeros for {}; it is of no use there", name())))
    }

    /// Runs the network on `feed`; returns one vector after another, of any length.
    fn values(&self, place: usize, feed: Feed<'_>) -> Result<Vec<f32>, String> {
        let inputs = self
            .signature
            .inputs
            .iter()
            .map(|input| Ok((input.name.as_str(), value(input, feed)?)))
            .collect::<ort::Result<Vec<_>>>()
            .map_err(|error| error.to_string())?;
        let sessions = &self.opened.sessions;
        let output = sessions[place % sessions.len()].run(&inputs, &self.signature.output);
        let output = output.map_err(|error| format!("cannot run: {error}"))?;
        let values = match output.data_type() {
            TensorElementType::Float16 => {
                output.try_extract_tensor::<f16>().map(|(_, v)| v.iter().map(|v| v.to_f32()).collect())
            }
            TensorElementType::Float64 => {
                output.try_extract_tensor::<f64>().map(|(_, v)| v.iter().map(|&v| v as f32).collect())
            }
            _ => output.try_extract_tensor::<f32>().map(|(_, v)| v.to_vec()),
        };
        let values: Vec<f32> = values.map_err(|error| format!("output {:?}: {error}", self.signature.output))?;
        let shape: Vec<i64> = output.shape().to_vec();
        self.signature.read(&values, &shape, feed)
    }
}

fn ports(outlets: &[Outlet]) -> Vec<Port> {
    let port = |outlet: &Outlet| {
        let (element, shape) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => (Some(*ty), shape.to_vec()),
            _ => (None, vec![]),
        };
        Port { name: outlet.name().to_string(), element, shape }
    };
    outlets.iter().map(port).collect()
}

/// The values of an input.
fn value<'a>(input: &Input, feed: Feed<'a>) -> ort::Result<SessionInputValue<'a>> {
    if let Some(shape) = &input.filler {
        return filler(input.element, shape);
    }
    let tokens = match feed {
        Feed::Pixels(pixels, (height, width)) => {
            let shape = [feed.rows(), 3, height, width];
            return Ok(match input.element {
                TensorElementType::Float16 => {
                    let pixels: Vec<f16> = pixels.iter().map(|&value| f16::from_f32(value)).collect();
                    Tensor::from_array((shape, pixels))?.into()
                }
                _ => TensorRef::from_array_view((shape, pixels))?.into(),
            });
        }
        Feed::Tokens(tokens) => tokens,
    };
    let shape = [tokens.rows, tokens.columns];
    let made: Vec<i64>;
    let numbers = match input.role {
        Role::Mask => &tokens.mask,
        Role::Ids | Role::Pixels => &tokens.ids,
        Role::Types => {
            made = vec![0; tokens.ids.len()];
            &made
        }
        Role::Positions => {
            made = (0..tokens.ids.len()).map(|i| (i % tokens.columns) as i64).collect();
            &made
        }
    };
    Ok(match input.element {
        TensorElementType::Int32 => {
            let numbers: Vec<i32> = numbers.iter().map(|&number| number as i32).collect();
            Tensor::from_array((shape, numbers))?.into()
        }
        _ => Tensor::from_array((shape, numbers.clone()))?.into(),
    })
}

/// Ones for tokens and zeros for pixels, for the side of a network that is not asked for.
fn filler(element: TensorElementType, shape: &[usize]) -> ort::Result<SessionInputValue<'static>> {
    let (shape, count) = (shape.to_vec(), shape.iter().product());
    Ok(match element {
        TensorElementType::Int32 => Tensor::from_array((shape, vec![1_i32; count]))?.into(),
        TensorElementType::Int64 => Tensor::from_array((shape, vec![1_i64; count]))?.into(),
        TensorElementType::Float16 => Tensor::from_array((shape, vec![f16::ZERO; count]))?.into(),
        _ => Tensor::from_array((shape, vec![0.0_f32; count]))?.into(),
    })
}
