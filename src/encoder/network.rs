//! One ONNX network: what it takes and gives, found by introspection, and running it from many threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::{AutoDevicePolicy, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, Tensor, TensorElementType, TensorRef, ValueType};

use crate::encoder::runtime;
use crate::error::{Error, Result};
use crate::model::{Model, Pool};
use crate::tokenize::Tokens;
use crate::vectors::Vectors;

/// What goes into a network: pictures or one text.
///
/// A network may round differently, or choose other scales when it is quantised, for another number of rows, and then
/// a vector would depend on what it happened to be encoded with. The caller makes sure that it does not.
#[derive(Clone, Copy)]
pub(super) enum Feed<'a> {
    /// Pixels of one picture, or of several one after another, and their height and width.
    Pixels(&'a [f32], (usize, usize)),
    /// Tokens of one text.
    Tokens(&'a Tokens),
}

impl Feed<'_> {
    fn rows(self) -> usize {
        match self {
            Self::Pixels(pixels, (height, width)) => pixels.len() / (3 * height * width),
            Self::Tokens(tokens) => tokens.rows,
        }
    }
}

/// One side of a network: what goes in for it, and which output it reads.
pub(super) struct Network {
    sessions: Arc<Sessions>,
    dim: usize,
    matryoshka: bool,
    pool: Option<Pool>,
    inputs: Vec<Input>,
    output: String,
}

/// The sessions that run a network, one for each thread that has wanted one at the same time.
pub(super) struct Sessions {
    model: String,
    file: String,
    path: PathBuf,
    environment: Environment,
    idle: Mutex<Vec<Session>>,
}

struct Input {
    name: String,
    role: Role,
    element: TensorElementType,
    /// Whether it takes any number of rows.
    several: bool,
    /// The shape of what an input of the other side is fed, because it must be fed something; its own is not there.
    filler: Option<Vec<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Pixels,
    Ids,
    Mask,
    Types,
    Positions,
}

/// What the manifest says about a network.
pub(super) struct Plan<'a> {
    pub(super) output: Option<&'a str>,
    pub(super) pool: Option<Pool>,
    /// Output names to look for, best first.
    pub(super) favourites: &'a [&'a str],
    pub(super) takes: Takes,
    /// Height and width of the pictures of the model, for a network that wants pixels with its tokens.
    pub(super) other_pixels: (usize, usize),
}

/// The size of what goes into a network.
pub(super) enum Takes {
    /// Height and width of the pictures.
    Pixels(usize, usize),
    /// Tokens of each text, if that is always the same.
    Tokens(Option<usize>),
}

impl Sessions {
    /// Opens a network of `model`.
    pub(super) fn open(model: &Model, file: &str) -> Result<Arc<Self>> {
        let sessions = Self {
            model: model.name().to_string(),
            file: file.to_string(),
            path: model.path(file),
            environment: runtime::environment()?,
            idle: Mutex::default(),
        };
        sessions.give_back(sessions.build()?);
        Ok(Arc::new(sessions))
    }

    fn take(&self) -> Result<Session> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.build(), Ok)
    }

    fn give_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    fn build(&self) -> Result<Session> {
        let built = builder(&self.environment).and_then(|mut builder| builder.commit_from_file(&self.path));
        built.map_err(|error| {
            let reason = error.to_string();
            let reason = reason.trim_end();
            // What files of a newer format are refused with: "Unsupported model IR version: 999, max ...", "ONNX
            // Runtime only *guarantees* support for models stamped with official released onnx opset versions".
            let newer = ["IR version", "opset"].iter().any(|word| reason.contains(word));
            let advice = if newer { "; it may be too old: pip install --upgrade onnxruntime" } else { "" };
            self.blame(format!("is not a network that this ONNX Runtime can run: {reason}{advice}"))
        })
    }

    fn blame(&self, reason: impl std::fmt::Display) -> Error {
        Error::model(&self.model, format!("{}: {reason}", self.file))
    }
}

impl Network {
    /// Checks that a network of `model` can be fed what `plan` says.
    pub(super) fn new(model: &Model, sessions: Arc<Sessions>, plan: &Plan<'_>) -> Result<Self> {
        let (dim, matryoshka) = (model.dim(), model.matryoshka());
        let session = sessions.take()?;
        let inputs = inputs(session.inputs(), plan).map_err(|reason| sessions.blame(reason))?;
        let output = output(session.outputs(), plan, dim, matryoshka).map_err(|reason| sessions.blame(reason))?;
        sessions.give_back(session);
        Ok(Self { sessions, dim, matryoshka, pool: plan.pool, inputs, output })
    }

    /// What runs it, to share with the other side.
    pub(super) fn sessions(&self) -> Arc<Sessions> {
        self.sessions.clone()
    }

    /// Whether the network has inputs for the other side, too.
    pub(super) fn is_combined(&self) -> bool {
        self.inputs.iter().any(|input| input.filler.is_some())
    }

    /// Runs once and looks only at whether that works.
    ///
    /// A network for both sides is offered an empty batch of the other side first, then one row of it: not every
    /// network can do without, and those that can are faster.
    pub(super) fn try_out(&mut self, feed: Feed<'_>) -> Result<()> {
        let mut session = self.sessions.take()?;
        let mut tried = self.run_in(&mut session, feed).map(drop);
        if tried.is_err() && self.is_combined() {
            for input in &mut self.inputs {
                if let Some([rows, ..]) = input.filler.as_deref_mut() {
                    *rows = 1;
                }
            }
            tried = self.run_in(&mut session, feed).map(drop);
        }
        self.sessions.give_back(session);
        tried.map_err(|reason| self.sessions.blame(reason))
    }

    /// Whether several pictures may go in together.
    pub(super) fn takes_several(&self) -> bool {
        self.inputs.iter().all(|input| input.several && input.filler.is_none())
    }

    /// The file, and the output of it that has the vectors.
    pub(super) fn reads(&self) -> (&str, &str) {
        (&self.sessions.file, &self.output)
    }

    /// The unit vectors of pictures or the one of a text, which errors call `name`.
    pub(super) fn run(&self, feed: Feed<'_>, name: impl FnOnce() -> String) -> Result<Vectors> {
        let mut session = self.sessions.take()?;
        let vectors = self.run_in(&mut session, feed);
        self.sessions.give_back(session);
        let blame = |reason: String| self.sessions.blame(reason);
        Vectors::normalize(self.dim, vectors.map_err(blame)?)
            .map_err(|_| blame(format!("gave NaN, infinity or only zeros for {}; it is of no use there", name())))
    }

    fn run_in(&self, session: &mut Session, feed: Feed<'_>) -> Result<Vec<f32>, String> {
        let inputs = self
            .inputs
            .iter()
            .map(|input| Ok((input.name.as_str(), input.value(feed)?)))
            .collect::<ort::Result<Vec<_>>>()
            .map_err(|error| error.to_string())?;
        let outputs = session.run(inputs).map_err(|error| format!("cannot run: {error}"))?;
        let output = &outputs[self.output.as_str()];
        let values = match output.data_type() {
            TensorElementType::Float16 => {
                output.try_extract_tensor::<f16>().map(|(_, v)| v.iter().map(|v| v.to_f32()).collect())
            }
            TensorElementType::Float64 => {
                output.try_extract_tensor::<f64>().map(|(_, v)| v.iter().map(|&v| v as f32).collect())
            }
            _ => output.try_extract_tensor::<f32>().map(|(_, v)| v.to_vec()),
        };
        let values: Vec<f32> = values.map_err(|error| format!("output {:?}: {error}", self.output))?;
        let shape: Vec<i64> = output.shape().to_vec();
        match &shape[..] {
            [rows, row @ ..] if *rows == feed.rows() as i64 && !values.is_empty() => {
                let row: Vec<i64> = [&[1], row].concat();
                let parts = values.chunks_exact(values.len() / feed.rows());
                Ok(parts.map(|part| self.pooled(part, &row, feed)).collect::<Result<Vec<_>, _>>()?.concat())
            }
            _ => Err(wrong_shape(&self.output, &shape)),
        }
    }

    /// One vector from an output of the shape `[1, dim]` or `[1, tokens, dim]`.
    fn pooled(&self, values: &[f32], shape: &[i64], feed: Feed<'_>) -> Result<Vec<f32>, String> {
        let dims = essential(shape);
        let (rows, dim) = match (dims, self.pool) {
            ([1, dim], _) => (1, *dim),
            ([1, rows, dim], Some(_)) => (*rows, *dim),
            _ => return Err(wrong_shape(&self.output, shape)),
        };
        if !fits(dim, self.dim, self.matryoshka) {
            return Err(wrong_dimension(&self.output, dim, self.dim));
        }
        if rows < 1 {
            return Err(wrong_shape(&self.output, shape));
        }
        let width = dim as usize;
        if self.pool == Some(Pool::Mean) && dims.len() == 3 {
            let counts = |row: usize| match feed {
                Feed::Tokens(tokens) => tokens.mask.get(row) != Some(&0),
                Feed::Pixels(..) => true,
            };
            let mut sums = vec![0.0_f64; self.dim];
            for (_, row) in values.chunks_exact(width).enumerate().filter(|(row, _)| counts(*row)) {
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            let count = (0..rows as usize).filter(|&row| counts(row)).count().max(1) as f64;
            return Ok(sums.into_iter().map(|sum| (sum / count) as f32).collect());
        }
        Ok(values[..self.dim].to_vec())
    }
}

/// A session works on the thread that calls it and starts none of its own: the caller's threads are the only ones.
fn builder(environment: &Environment) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // Patterns are kept for each length of text; what they save is not worth it.
        .with_memory_pattern(false)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        // Errors reach the caller, and do not belong on stderr as well.
        .with_log_level(LogLevel::Fatal)?;
    Ok(builder)
}

impl Input {
    fn value<'a>(&self, feed: Feed<'a>) -> ort::Result<SessionInputValue<'a>> {
        if let Some(shape) = &self.filler {
            return filler(self.element, shape);
        }
        let tokens = match feed {
            Feed::Pixels(pixels, (height, width)) => {
                let shape = [feed.rows(), 3, height, width];
                return Ok(match self.element {
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
        let numbers = match self.role {
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
        Ok(match self.element {
            TensorElementType::Int32 => {
                let numbers: Vec<i32> = numbers.iter().map(|&number| number as i32).collect();
                Tensor::from_array((shape, numbers))?.into()
            }
            _ => Tensor::from_array((shape, numbers.clone()))?.into(),
        })
    }
}

/// Ones for tokens and zeros for pixels, for the side of a network that nobody asks for.
fn filler(element: TensorElementType, shape: &[usize]) -> ort::Result<SessionInputValue<'static>> {
    let (shape, count) = (shape.to_vec(), shape.iter().product());
    Ok(match element {
        TensorElementType::Int32 => Tensor::from_array((shape, vec![1_i32; count]))?.into(),
        TensorElementType::Int64 => Tensor::from_array((shape, vec![1_i64; count]))?.into(),
        TensorElementType::Float16 => Tensor::from_array((shape, vec![f16::ZERO; count]))?.into(),
        _ => Tensor::from_array((shape, vec![0.0_f32; count]))?.into(),
    })
}

/// Finds out what each input of a network wants.
fn inputs(outlets: &[Outlet], plan: &Plan<'_>) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::with_capacity(outlets.len());
    let takes = &plan.takes;
    let mut kinds = Vec::with_capacity(outlets.len());
    for outlet in outlets {
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
            return Err(format!("input {:?} is no tensor", outlet.name()));
        };
        kinds.push((outlet.name(), *ty, &shape[..]));
    }
    let float = |ty| matches!(ty, TensorElementType::Float32 | TensorElementType::Float16);
    let integer = |ty| matches!(ty, TensorElementType::Int64 | TensorElementType::Int32);
    let pixels = kinds.iter().filter(|(_, ty, shape)| float(*ty) && shape.len() == 4).count();
    let tokens = kinds.iter().filter(|(_, ty, shape)| integer(*ty) && shape.len() == 2).count();
    // A network for both sides has inputs of both kinds; in any other, all inputs are of the side that is asked for.
    let combined = pixels == 1 && tokens >= 1 && pixels + tokens == kinds.len();
    for &(name, ty, shape) in &kinds {
        let side_of_pixels = if combined { float(ty) } else { matches!(takes, Takes::Pixels(..)) };
        let role = if side_of_pixels { Role::Pixels } else { text_role(name, kinds.len() - usize::from(combined)) };
        let filler = (combined && side_of_pixels != matches!(takes, Takes::Pixels(..))).then(|| {
            let declared = |place: usize, otherwise: usize| match shape[place] {
                size if size > 0 => size as usize,
                _ => otherwise,
            };
            let (height, width) = plan.other_pixels;
            match role {
                Role::Pixels => vec![declared(0, 0), 3, declared(2, height), declared(3, width)],
                _ => vec![1, declared(1, 1)],
            }
        });
        if filler.is_none() {
            check_input((name, ty, shape), role, takes)?;
        }
        let several = shape.first().is_some_and(|&rows| rows < 0);
        inputs.push(Input { name: name.to_string(), role, element: ty, several, filler });
    }
    let of = |role: Role| inputs.iter().filter(|input| input.role == role).count();
    let plain_texts = [Role::Mask, Role::Types, Role::Positions].iter().all(|&role| of(role) <= 1);
    match takes {
        Takes::Pixels(..) if of(Role::Pixels) == 1 && (combined || inputs.len() == 1) => Ok(inputs),
        Takes::Tokens(_) if of(Role::Ids) == 1 && plain_texts => Ok(inputs),
        _ => {
            let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
            let wanted = match takes {
                Takes::Pixels(..) => "one input, the pixels",
                Takes::Tokens(_) => "input_ids and perhaps attention_mask, token_type_ids, position_ids",
            };
            Err(format!("takes the inputs {names:?}; a tower takes {wanted}"))
        }
    }
}

/// Whether an input can be fed what its role gives.
fn check_input((name, ty, shape): (&str, TensorElementType, &[i64]), role: Role, takes: &Takes) -> Result<(), String> {
    let wanted = match takes {
        Takes::Pixels(height, width) => vec![1, 3, *height as i64, *width as i64],
        Takes::Tokens(columns) => vec![1, columns.map_or(-1, |columns| columns as i64)],
    };
    let right_type = match role {
        Role::Pixels => matches!(ty, TensorElementType::Float32 | TensorElementType::Float16),
        _ => matches!(ty, TensorElementType::Int64 | TensorElementType::Int32),
    };
    if !right_type {
        let right = if role == Role::Pixels { "float32 or float16" } else { "int64 or int32" };
        return Err(format!("input {name:?} takes {ty}; a tower for this takes {right}"));
    }
    let fits = shape.len() == wanted.len() && shape.iter().zip(&wanted).all(|(&has, &want)| has < 0 || has == want);
    if fits { Ok(()) } else { Err(unfit(name, shape, takes)) }
}

fn text_role(name: &str, inputs: usize) -> Role {
    let name = name.to_lowercase();
    match () {
        () if inputs == 1 => Role::Ids,
        () if name.contains("mask") => Role::Mask,
        () if name.contains("type") || name.contains("segment") => Role::Types,
        () if name.contains("position") => Role::Positions,
        () => Role::Ids,
    }
}

fn unfit(name: &str, shape: &[i64], takes: &Takes) -> String {
    let shape: Vec<String> = shape.iter().map(|&size| if size < 0 { "?".into() } else { size.to_string() }).collect();
    let shape = shape.join(", ");
    match takes {
        Takes::Pixels(height, width) => format!(
            "input {name:?} has the shape [{shape}], which does not fit pictures of [1, 3, {height}, {width}]; \
             correct image.preprocess.size in model.json, or export the network with pixels as [batch, 3, height, width]"
        ),
        Takes::Tokens(_) => format!(
            "input {name:?} has the shape [{shape}], which does not fit one text; give text.padding \"fixed\" and \
             text.max_length in model.json its length, or export the network with [batch, tokens]"
        ),
    }
}

/// Finds the output that has the vectors.
fn output(outlets: &[Outlet], plan: &Plan<'_>, dim: usize, matryoshka: bool) -> Result<String, String> {
    let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
    let favourite = plan.favourites.iter().copied().find(|favourite| names.contains(favourite));
    let name = match (plan.output, favourite, &names[..]) {
        (Some(name), ..) if names.contains(&name) => name,
        (Some(name), ..) => return Err(format!("has no output {name:?}; it has {names:?}")),
        (None, Some(name), _) => name,
        (None, None, [name]) => name,
        _ => return Err(format!("has the outputs {names:?}; say in model.json which one has the vectors: \"output\"")),
    };
    let outlet = outlets.iter().find(|outlet| outlet.name() == name).expect("the name is one of the outlets'");
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(format!("output {name:?} is no tensor; name another in model.json"));
    };
    if !matches!(ty, TensorElementType::Float32 | TensorElementType::Float16 | TensorElementType::Float64) {
        return Err(format!("output {name:?} has {ty} values; vectors need floats"));
    }
    // An output without a declared shape has rank 0 here; it is checked when it is there.
    match essential(shape) {
        [] => {}
        [_, has] | [_, _, has] if *has >= 0 && !fits(*has, dim, matryoshka) => {
            return Err(wrong_dimension(name, *has, dim));
        }
        [_, _] => {}
        [_, _, _] if plan.pool.is_some() => {}
        _ => return Err(wrong_shape(name, shape)),
    }
    Ok(name.to_string())
}

/// Whether an output of `has` numbers gives vectors of `dim`.
fn fits(has: i64, dim: usize, matryoshka: bool) -> bool {
    has == dim as i64 || (matryoshka && has > dim as i64)
}

/// A shape without ones at its end, as convolutional networks leave them for height and width.
fn essential(mut shape: &[i64]) -> &[i64] {
    while let [rest @ .., 1] = shape
        && rest.len() >= 2
    {
        shape = rest;
    }
    shape
}

fn wrong_shape(name: &str, shape: &[i64]) -> String {
    format!(
        "output {name:?} has the shape {shape:?}, not [batch, dimension]; name another output in model.json, or say how \
         [batch, tokens, dimension] becomes one vector: \"pool\": \"cls\" or \"mean\""
    )
}

fn wrong_dimension(name: &str, has: i64, wanted: usize) -> String {
    format!(
        "output {name:?} gives {has} numbers, but model.json says \"dimension\": {wanted}; correct it or the output{}",
        if has > wanted as i64 { ", or say \"matryoshka\": true where the first numbers are enough" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_at_the_end_of_a_shape_do_not_count() {
        assert_eq!(essential(&[1, 1000, 1, 1]), [1, 1000]);
        assert_eq!(essential(&[1, 50, 768]), [1, 50, 768]);
        assert_eq!(essential(&[1, 1]), [1, 1]);
        assert_eq!(essential(&[1, 1, 1]), [1, 1]);
        assert!(essential(&[]).is_empty());
    }

    #[test]
    fn inputs_of_texts_are_known_by_their_names() {
        assert_eq!(text_role("text", 1), Role::Ids);
        let names = ["input_ids", "attention_mask", "token_type_ids", "segment_ids", "position_ids"];
        let roles = [Role::Ids, Role::Mask, Role::Types, Role::Types, Role::Positions];
        assert_eq!(names.map(|name| text_role(name, 5)), roles);
    }
}
