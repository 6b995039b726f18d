//! Reads the inputs and outputs of one side of a network from their declarations.

use ort::value::TensorElementType;

use crate::model::Pool;
use crate::tokenize::Tokens;

/// The subjects of a network: pictures or texts.
///
/// A network may round differently, or choose other scales when it is quantized, for another number of rows, and then
/// a vector would depend on what it happened to be encoded with. The caller makes sure that it does not.
#[derive(Clone, Copy)]
pub(super) enum Feed<'a> {
    /// Pixels of one picture, or of several one after another, and their height and width.
    Pixels(&'a [f32], (usize, usize)),
    /// Tokens of texts.
    Tokens(&'a Tokens),
}

impl Feed<'_> {
    pub(super) fn rows(self) -> usize {
        match self {
            Self::Pixels(pixels, (height, width)) => pixels.len() / (3 * height * width),
            Self::Tokens(tokens) => tokens.rows,
        }
    }
}

/// An input or output as a network declares it.
pub(super) struct Port {
    pub(super) name: String,
    /// Nothing for what is no tensor.
    pub(super) element: Option<TensorElementType>,
    /// Negative where a size is not fixed; empty where none is declared.
    pub(super) shape: Vec<i64>,
}

/// The most numbers that go in for the side that is not asked for: more than pictures of 4096 x 4096 have.
const MOST_FILLED: usize = 1 << 26;

/// The inputs of one side of a network, and the output that is read.
pub(super) struct Signature {
    dim: usize,
    matryoshka: bool,
    pool: Option<Pool>,
    pub(super) inputs: Vec<Input>,
    pub(super) output: String,
}

/// The declaration of an input.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) element: TensorElementType,
    /// Whether it takes any number of rows.
    pub(super) several: bool,
    /// The shape of what an input of the other side is fed, because it must be fed something; its own is not there.
    pub(super) filler: Option<Vec<usize>>,
}

/// The kind of values that an input takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    Pixels,
    Ids,
    Mask,
    Types,
    Positions,
}

/// The manifest's settings of a network.
pub(super) struct Plan<'a> {
    pub(super) output: Option<&'a str>,
    pub(super) pool: Option<Pool>,
    /// Output names to look for, best first.
    pub(super) favorites: &'a [&'a str],
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

impl Signature {
    /// Checks that a network with these inputs and outputs can be fed what `plan` says, and gives vectors of `dim`.
    pub(super) fn new(
        inputs: &[Port],
        outputs: &[Port],
        plan: &Plan<'_>,
        (dim, matryoshka): (usize, bool),
    ) -> Result<Self, String> {
        let inputs = find_inputs(inputs, plan)?;
        let output = find_output(outputs, plan, dim, matryoshka)?;
        Ok(Self { dim, matryoshka, pool: plan.pool, inputs, output })
    }

    /// Whether the network has inputs for the other side, too.
    pub(super) fn is_combined(&self) -> bool {
        self.inputs.iter().any(|input| input.filler.is_some())
    }

    /// Whether several rows may go in together.
    pub(super) fn takes_several(&self) -> bool {
        self.inputs.iter().all(|input| input.several && input.filler.is_none())
    }

    /// A vector for each row of `feed`, one after another, from the values of the output.
    pub(super) fn read(&self, values: &[f32], shape: &[i64], feed: Feed<'_>) -> Result<Vec<f32>, String> {
        match shape {
            [rows, row @ ..] if *rows == feed.rows() as i64 && !values.is_empty() => {
                let row: Vec<i64> = [&[1], row].concat();
                let parts = values.chunks_exact(values.len() / feed.rows());
                let vectors = parts.enumerate().map(|(place, part)| self.pooled(part, &row, feed, place));
                Ok(vectors.collect::<Result<Vec<_>, _>>()?.concat())
            }
            _ => Err(wrong_shape(&self.output, shape)),
        }
    }

    /// One vector from an output of the shape `[1, dim]` or `[1, tokens, dim]`, which is that of row `place`.
    fn pooled(&self, values: &[f32], shape: &[i64], feed: Feed<'_>, place: usize) -> Result<Vec<f32>, String> {
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
                Feed::Tokens(tokens) => tokens.mask.get(place * tokens.columns + row) != Some(&0),
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

/// Finds out what each input of a network wants.
fn find_inputs(ports: &[Port], plan: &Plan<'_>) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::with_capacity(ports.len());
    let takes = &plan.takes;
    let mut kinds = Vec::with_capacity(ports.len());
    for port in ports {
        let element = port.element.ok_or_else(|| format!("input {:?} is no tensor", port.name))?;
        kinds.push((port.name.as_str(), element, &port.shape[..]));
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
        match &filler {
            None => check_input((name, ty, shape), role, takes)?,
            // A batch of none may become one of one.
            Some(sizes) => match sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size.max(1))) {
                Some(..=MOST_FILLED) => {}
                _ => {
                    return Err(format!(
                        "input {name:?} takes {shape:?} numbers even when it is not asked for: too many"
                    ));
                }
            },
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
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
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
fn find_output(ports: &[Port], plan: &Plan<'_>, dim: usize, matryoshka: bool) -> Result<String, String> {
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    let favorite = plan.favorites.iter().copied().find(|favorite| names.contains(favorite));
    let name = match (plan.output, favorite, &names[..]) {
        (Some(name), ..) if names.contains(&name) => name,
        (Some(name), ..) => return Err(format!("has no output {name:?}; it has {names:?}")),
        (None, Some(name), _) => name,
        (None, None, [name]) => name,
        _ => return Err(format!("has the outputs {names:?}; say in model.json which one has the vectors: \"output\"")),
    };
    let port = ports.iter().find(|port| port.name == name).expect("the name is one of the ports'");
    let Some(ty) = port.element else {
        return Err(format!("output {name:?} is no tensor; name another in model.json"));
    };
    if !matches!(ty, TensorElementType::Float32 | TensorElementType::Float16 | TensorElementType::Float64) {
        return Err(format!("output {name:?} has {ty} values; vectors need floats"));
    }
    // An output without a declared shape has rank 0 here; it is checked when it is there.
    match essential(&port.shape) {
        [] => {}
        [_, has] | [_, _, has] if *has >= 0 && !fits(*has, dim, matryoshka) => {
            return Err(wrong_dimension(name, *has, dim));
        }
        [_, _] => {}
        [_, _, _] if plan.pool.is_some() => {}
        _ => return Err(wrong_shape(name, &port.shape)),
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
