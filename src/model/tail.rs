//! Finds how a network makes a vector of its feature maps: walks back from its output over linear layers.

use std::collections::HashMap;

use half::f16;

use super::onnx::{Field, fields, varint};

/// The most layers between the output and a feature map.
const DEPTH: usize = 64;

/// The layers of a network behind its last feature maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    /// The tensor of the vector, before it is scaled to length 1.
    pub vector: String,
    /// How it is made.
    pub part: Part,
}

/// A tensor of one row, and how it is made of others.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// The mean or the maximum over the places of each channel of a feature map.
    Pool {
        /// The feature map.
        map: String,
        /// Whether it is the maximum.
        maximum: bool,
    },
    /// A tensor that is made in another way.
    Other(String),
    /// Several tensors behind each other.
    Joined(Vec<Part>),
    /// A tensor times a matrix, plus a bias.
    Product {
        /// What is multiplied.
        of: Box<Part>,
        /// The matrix, row by row.
        matrix: Vec<f32>,
        /// The length of the tensor and that of the product.
        shape: [usize; 2],
        /// Whether the matrix has a row for each number of the product; otherwise it has a column.
        turned: bool,
        /// What is added: nothing, one number for all, or one for each.
        bias: Vec<f32>,
    },
    /// A tensor times a number.
    Scaled {
        /// What is multiplied.
        of: Box<Part>,
        /// The number.
        by: f32,
    },
}

impl Part {
    /// The feature maps that it is made of, and the other tensors.
    pub fn tensors(&self) -> (Vec<&str>, Vec<&str>) {
        let (mut maps, mut others) = (Vec::new(), Vec::new());
        self.visit(&mut |part| match part {
            Self::Pool { map, .. } if !maps.contains(&map.as_str()) => maps.push(map.as_str()),
            Self::Other(name) if !others.contains(&name.as_str()) => others.push(name.as_str()),
            _ => {}
        });
        (maps, others)
    }

    fn visit<'a>(&'a self, seen: &mut impl FnMut(&'a Self)) {
        seen(self);
        match self {
            Self::Joined(parts) => parts.iter().for_each(|part| part.visit(seen)),
            Self::Product { of, .. } | Self::Scaled { of, .. } => of.visit(seen),
            Self::Pool { .. } | Self::Other(_) => {}
        }
    }
}

/// Returns how an output of an ONNX model is made of feature maps; None if it is not, or `bytes` is not an ONNX model.
pub(super) fn tail(bytes: &[u8], output: &str) -> Option<Tail> {
    let graph = fields(bytes)?.into_iter().find_map(|(number, field)| (number == 7).then_some(field)?.bytes())?;
    let mut network = Network::default();
    for (number, field) in fields(graph)? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => {
                let node = Node::read(bytes)?;
                for output in node.outputs.clone() {
                    network.makers.insert(output, node.clone());
                }
            }
            (5, Field::Bytes(bytes)) => _ = network.weights.insert(name(bytes)?, bytes),
            _ => {}
        }
    }
    let mut vector = output;
    while let Some(node) = network.makers.get(vector).filter(|node| network.keeps_direction(node)) {
        vector = node.inputs.first()?;
    }
    let part = network.part(vector, 0);
    let has_maps = !part.tensors().0.is_empty();
    has_maps.then(|| Tail { vector: vector.to_owned(), part })
}

/// An operator.
#[derive(Clone)]
struct Node<'a> {
    kind: &'a str,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    attributes: HashMap<&'a str, &'a [u8]>,
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = |field: Field<'a>| std::str::from_utf8(field.bytes()?).ok();
        let mut node = Self { kind: "", inputs: Vec::new(), outputs: Vec::new(), attributes: HashMap::new() };
        for (number, field) in fields(bytes)? {
            match number {
                1 => node.inputs.push(text(field)?),
                2 => node.outputs.push(text(field)?),
                4 => node.kind = text(field)?,
                5 => {
                    let attribute = field.bytes()?;
                    let name =
                        fields(attribute)?.into_iter().find_map(|(number, field)| (number == 1).then_some(field));
                    _ = node.attributes.insert(text(name?)?, attribute);
                }
                _ => {}
            }
        }
        Some(node)
    }

    /// The whole numbers of an attribute.
    fn numbers(&self, name: &str) -> Option<Vec<i64>> {
        let mut found = Vec::new();
        for (number, field) in fields(self.attributes.get(name)?)? {
            match (number, field) {
                (3 | 8, Field::Number(value)) => found.push(value.cast_signed()),
                (8, Field::Bytes(packed)) => found.extend(varints(packed)?),
                _ => {}
            }
        }
        Some(found)
    }

    fn number(&self, name: &str, otherwise: i64) -> i64 {
        self.numbers(name).and_then(|numbers| numbers.first().copied()).unwrap_or(otherwise)
    }

    /// A float attribute, 1 by default.
    fn float(&self, name: &str) -> f32 {
        let read = |attribute: &&'a [u8]| {
            fields(attribute)?.into_iter().find_map(|(number, field)| match (number, field) {
                (2, Field::Fixed(bytes)) => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
                _ => None,
            })
        };
        self.attributes.get(name).and_then(read).unwrap_or(1.0)
    }
}

/// A network's operators by what they make, and its weights.
#[derive(Default)]
struct Network<'a> {
    makers: HashMap<&'a str, Node<'a>>,
    weights: HashMap<&'a str, &'a [u8]>,
}

impl<'a> Network<'a> {
    /// Whether what an operator makes has the direction of its first input.
    fn keeps_direction(&self, node: &Node<'a>) -> bool {
        let is_norm = |name: &str| {
            let mut maker = self.makers.get(name);
            // Small numbers are kept from being divided by.
            while let Some(node) = maker.filter(|node| matches!(node.kind, "Clip" | "Max" | "Add" | "Expand" | "Sqrt"))
            {
                maker = node.inputs.first().and_then(|name| self.makers.get(name));
            }
            maker.is_some_and(|node| matches!(node.kind, "ReduceL2" | "ReduceSumSquare"))
        };
        match node.kind {
            "LpNormalization" => node.number("p", 2) == 2 && matches!(node.number("axis", -1), 1 | -1),
            "Div" => node.inputs.get(1).is_some_and(|name| is_norm(name)),
            kind => is_plain(kind),
        }
    }

    fn part(&self, name: &str, depth: usize) -> Part {
        let made = self.makers.get(name).filter(|_| depth < DEPTH).and_then(|node| self.made(node, depth + 1));
        made.unwrap_or_else(|| Part::Other(name.to_owned()))
    }

    /// How an operator makes its output; None if that is not linear, or not understood.
    fn made(&self, node: &Node<'a>, depth: usize) -> Option<Part> {
        let first = node.inputs.first()?;
        let input = |at: usize| node.inputs.get(at).filter(|name| !name.is_empty());
        let of = || Box::new(self.part(first, depth));
        match node.kind {
            "GlobalAveragePool" => Some(Part::Pool { map: (*first).to_owned(), maximum: false }),
            "GlobalMaxPool" => Some(Part::Pool { map: (*first).to_owned(), maximum: true }),
            "ReduceMean" | "ReduceMax" => {
                let axes = match input(1) {
                    Some(name) => self.whole_numbers(name)?,
                    None => node.numbers("axes")?,
                };
                let places = matches!(axes[..], [2, 3] | [3, 2] | [-2, -1] | [-1, -2]);
                places.then(|| Part::Pool { map: (*first).to_owned(), maximum: node.kind == "ReduceMax" })
            }
            "Concat" => {
                let joined = || node.inputs.iter().map(|name| self.part(name, depth)).collect();
                matches!(node.number("axis", 0), 1 | -1).then(joined).map(Part::Joined)
            }
            "Gemm" => {
                let plain = node.number("transA", 0) == 0 && node.float("alpha") == 1.0 && node.float("beta") == 1.0;
                let bias = input(2).map_or(Some(Vec::new()), |name| self.floats(name).map(|(_, values)| values))?;
                let turned = node.number("transB", 0) != 0;
                plain.then(|| self.product(of(), input(1)?, turned, bias))?
            }
            "MatMul" => self.product(of(), input(1)?, false, Vec::new()),
            "Add" => match self.part(first, depth) {
                Part::Product { of, matrix, shape, turned, bias } if bias.is_empty() => {
                    let (_, bias) = self.floats(input(1)?)?;
                    [1, shape[1]].contains(&bias.len()).then_some(Part::Product { of, matrix, shape, turned, bias })
                }
                _ => None,
            },
            "Mul" => match &self.floats(input(1)?)?.1[..] {
                [by] => Some(Part::Scaled { of: of(), by: *by }),
                _ => None,
            },
            kind if is_plain(kind) => Some(self.part(first, depth)),
            _ => None,
        }
    }

    fn product(&self, of: Box<Part>, weights: &str, turned: bool, bias: Vec<f32>) -> Option<Part> {
        let (dims, matrix) = self.floats(weights)?;
        let shape = match dims[..] {
            [rows, columns] if turned => [columns, rows],
            [rows, columns] => [rows, columns],
            _ => return None,
        };
        [0, 1, shape[1]].contains(&bias.len()).then_some(Part::Product { of, matrix, shape, turned, bias })
    }

    /// The bytes of a weight, whether it is listed, the value of an operator, or another one in other numbers.
    fn weight(&self, name: &str) -> Option<&'a [u8]> {
        if let Some(weight) = self.weights.get(name) {
            return Some(weight);
        }
        let maker = self.makers.get(name)?;
        match maker.kind {
            "Cast" | "Identity" => self.weights.get(maker.inputs.first()?).copied(),
            "Constant" => (fields(maker.attributes.get("value")?)?.into_iter())
                .find_map(|(number, field)| (number == 5).then_some(field)?.bytes()),
            _ => None,
        }
    }

    /// The shape and the numbers of a weight.
    fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let (mut dims, mut kind, mut values) = (Vec::new(), 0, Vec::new());
        let mut raw: &[u8] = &[];
        for (number, field) in fields(self.weight(name)?)? {
            match (number, field) {
                (1, Field::Number(size)) => dims.push(usize::try_from(size).ok()?),
                (1, Field::Bytes(packed)) => {
                    dims.extend(varints(packed)?.into_iter().map_while(|size| usize::try_from(size).ok()));
                }
                (2, Field::Number(number)) => kind = number,
                (4, Field::Fixed(bytes) | Field::Bytes(bytes)) => values.extend(singles(bytes)),
                (9, Field::Bytes(bytes)) => raw = bytes,
                _ => {}
            }
        }
        match kind {
            1 => values.extend(singles(raw)),
            10 => values.extend(raw.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32())),
            _ => return None,
        }
        let count = dims.iter().try_fold(1_usize, |all, size| all.checked_mul(*size))?;
        (values.len() == count).then_some((dims, values))
    }

    fn whole_numbers(&self, name: &str) -> Option<Vec<i64>> {
        let mut found = Vec::new();
        for (number, field) in fields(self.weight(name)?)? {
            match (number, field) {
                (7, Field::Number(value)) => found.push(value.cast_signed()),
                (7, Field::Bytes(packed)) => found.extend(varints(packed)?),
                (9, Field::Bytes(raw)) => {
                    found.extend(raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)))
                }
                _ => {}
            }
        }
        Some(found)
    }
}

/// Whether an operator changes no number of a row.
fn is_plain(kind: &str) -> bool {
    matches!(kind, "Identity" | "Cast" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Dropout")
}

/// The name of a tensor.
fn name(tensor: &[u8]) -> Option<&str> {
    let name = fields(tensor)?.into_iter().find_map(|(number, field)| (number == 8).then_some(field)?.bytes())?;
    std::str::from_utf8(name).ok()
}

fn singles(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

fn varints(mut bytes: &[u8]) -> Option<Vec<i64>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        found.push(varint(&mut bytes)?.cast_signed());
    }
    Some(found)
}

/// Returns what gives an ONNX model further outputs when it follows the model's bytes: a message may be written in parts,
/// and this is one with outputs alone.
pub(super) fn outputs(names: &[&str]) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(content);
        bytes
    };
    let values: Vec<u8> = names.iter().flat_map(|name| field(12, &field(1, name.as_bytes()))).collect();
    field(7, &values)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::onnx::interface;
    use super::*;

    fn mini() -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/plushie_search/models/plushie-mini/image.onnx"))
            .unwrap()
    }

    #[test]
    fn the_built_in_model_is_pooled_and_multiplied() {
        let bytes = mini();
        let tail = tail(&bytes, "image_embeds").unwrap();
        let (maps, others) = tail.part.tensors();
        assert!(maps.len() >= 3 && others.len() <= 1, "{maps:?} {others:?}");
        let Part::Joined(parts) = &tail.part else { panic!("{:?}", tail.vector) };
        let Part::Scaled { of, by } = &parts[2] else { panic!("no factor") };
        assert!(*by > 0.0);
        let Part::Product { of, shape, turned, matrix, bias } = &**of else { panic!("no product") };
        assert_eq!((shape, *turned, matrix.len(), bias.len()), (&[2752, 256], true, 2752 * 256, 256));
        let Part::Joined(pools) = &**of else { panic!("no pools") };
        let maxima: Vec<bool> = pools.iter().map(|pool| matches!(pool, Part::Pool { maximum: true, .. })).collect();
        assert_eq!(maxima, [false, true, false, true]);
        assert!(super::tail(&bytes[..1000], "image_embeds").is_none());
        assert!(super::tail(&bytes, "nothing").is_none());
    }

    #[test]
    fn further_outputs_are_seen_behind_the_model() {
        let bytes = [mini(), outputs(&["a", &"b".repeat(200)])].concat();
        let graphs: Vec<&[u8]> = fields(&bytes)
            .unwrap()
            .into_iter()
            .filter(|(number, _)| *number == 7)
            .filter_map(|(_, f)| f.bytes())
            .collect();
        assert_eq!(graphs.len(), 2);
        let found = interface(&outputs(&["a", &"b".repeat(200)])).unwrap();
        let names: Vec<String> = found.outputs.into_iter().map(|value| value.name).collect();
        assert_eq!(names, ["a".to_owned(), "b".repeat(200)]);
    }
}
