//! Parses the parts of an ONNX file that this crate needs: external weights, inputs and outputs, and mixed precision.

use std::collections::{BTreeSet, HashSet};

/// The operators that give random values, in spite of any seed.
const RANDOM: [&[u8]; 6] =
    [b"RandomNormal", b"RandomNormalLike", b"RandomUniform", b"RandomUniformLike", b"Multinomial", b"Bernoulli"];

/// The deepest nesting of messages. Graphs nest less in practice, and a hostile file cannot exhaust the stack.
const MAX_DEPTH: usize = 64;

/// The messages between a model and its tensors, as `onnx.proto` names them.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    Entry,
}

impl Message {
    /// Returns the messages below this one that lead to tensors, by field number.
    fn below(self) -> &'static [(u64, Message)] {
        match self {
            Self::Model => &[(7, Self::Graph), (25, Self::Function)],
            Self::Graph => &[(1, Self::Node), (5, Self::Tensor), (15, Self::SparseTensor)],
            Self::Function => &[(7, Self::Node)],
            Self::Node => &[(5, Self::Attribute)],
            Self::Attribute => &[
                (5, Self::Tensor),
                (6, Self::Graph),
                (10, Self::Tensor),
                (11, Self::Graph),
                (22, Self::SparseTensor),
                (23, Self::SparseTensor),
            ],
            Self::SparseTensor => &[(1, Self::Tensor), (2, Self::Tensor)],
            Self::Tensor => &[(13, Self::Entry)],
            Self::Entry => &[],
        }
    }
}

/// The inputs and outputs of a network.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Interface {
    pub(super) inputs: Vec<ValueInfo>,
    pub(super) outputs: Vec<ValueInfo>,
}

/// An input or output.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ValueInfo {
    pub(super) name: String,
    /// Whether its values are floats, of any precision.
    pub(super) floats: bool,
    /// The shape, with `None` for each size that is not fixed.
    pub(super) shape: Vec<Option<usize>>,
}

impl Interface {
    /// Returns the input for pixels, of shape (n, 3, height, width), if there is one.
    pub(super) fn pixels(&self) -> Option<&ValueInfo> {
        self.inputs.iter().find(|value| value.floats && value.shape.len() == 4)
    }

    /// Returns the input for tokens, of shape (n, tokens), if there is one.
    pub(super) fn tokens(&self) -> Option<&ValueInfo> {
        self.inputs.iter().find(|value| !value.floats && value.shape.len() == 2)
    }

    /// Returns the first output with one of these names, in the order of the names.
    pub(super) fn output(&self, names: &[&str]) -> Option<&ValueInfo> {
        names.iter().find_map(|name| self.outputs.iter().find(|value| value.name == *name))
    }
}

/// Returns the inputs and outputs of an ONNX model, or `None` if `bytes` is not an ONNX model.
pub(super) fn interface(bytes: &[u8]) -> Option<Interface> {
    let graph = fields(bytes)?.into_iter().find_map(|(number, field)| (number == 7).then_some(field)?.bytes())?;
    let (mut found, mut weights) = (Interface::default(), HashSet::new());
    for (number, field) in fields(graph)? {
        match (number, field) {
            (5, Field::Bytes(tensor)) => {
                weights.extend(fields(tensor)?.into_iter().filter(|(number, _)| *number == 8).map(|(_, name)| name));
            }
            (11, Field::Bytes(value)) => found.inputs.push(value_info(value)?),
            (12, Field::Bytes(value)) => found.outputs.push(value_info(value)?),
            _ => {}
        }
    }
    // Old files list their weights among the inputs.
    found.inputs.retain(|value| !weights.contains(&Field::Bytes(value.name.as_bytes())));
    Some(found)
}

fn value_info(value: &[u8]) -> Option<ValueInfo> {
    let below = |bytes, wanted| -> Option<Option<&[u8]>> {
        Some(fields(bytes)?.into_iter().find_map(|(number, field)| (number == wanted).then_some(field)?.bytes()))
    };
    let name = std::str::from_utf8(below(value, 1)?.unwrap_or_default()).ok()?.to_string();
    let tensor = below(below(value, 2)?.unwrap_or_default(), 1)?.unwrap_or_default();
    let mut info = ValueInfo { name, ..ValueInfo::default() };
    for (number, field) in fields(tensor)? {
        match (number, field) {
            // float, float16, double and bfloat16
            (1, Field::Number(element)) => info.floats = [1, 10, 11, 16].contains(&element),
            (2, Field::Bytes(shape)) => {
                for (_, dimension) in fields(shape)?.into_iter().filter(|(number, _)| *number == 1) {
                    let size = fields(dimension.bytes()?)?.into_iter().find_map(|field| match field {
                        (1, Field::Number(size)) => usize::try_from(size).ok().filter(|&size| size > 0),
                        _ => None,
                    });
                    info.shape.push(size);
                }
            }
            _ => {}
        }
    }
    Some(info)
}

/// Returns the fields of a message, by number.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        fields.push(next_field(&mut bytes)?);
    }
    Some(fields)
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A number of fixed width, little-endian.
    Fixed(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// The properties of an ONNX model's tensors and operators.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// The locations of external weights.
    pub(super) locations: BTreeSet<String>,
    /// Whether it has fp16 tensors, or casts a transposed tensor.
    pub(super) mixed: bool,
    /// An operator with random output.
    pub(super) random: Option<String>,
}

/// Returns the properties of an ONNX model, or `None` if `bytes` is not an ONNX model.
pub(super) fn contents(bytes: &[u8]) -> Option<Contents> {
    let mut seen = Seen::default();
    let has_graph = walk(Message::Model, bytes, &mut seen, 0)?;
    let mixed = seen.halves || !seen.cast.is_disjoint(&seen.transposed);
    has_graph.then_some(Contents { locations: seen.locations, mixed, random: seen.random })
}

/// The findings of a walk over a model.
#[derive(Default)]
struct Seen<'a> {
    locations: BTreeSet<String>,
    halves: bool,
    random: Option<String>,
    /// The outputs of `Transpose`.
    transposed: HashSet<&'a [u8]>,
    /// The inputs of `Cast`.
    cast: HashSet<&'a [u8]>,
}

impl<'a> Seen<'a> {
    fn node(&mut self, node: &'a [u8]) -> Option<()> {
        let fields = fields(node)?;
        let all = |wanted| fields.iter().filter(move |(number, _)| *number == wanted).filter_map(|(_, f)| f.bytes());
        match all(4).next() {
            Some(b"Transpose") => self.transposed.extend(all(2)),
            Some(operator) if RANDOM.contains(&operator) => {
                self.random = Some(String::from_utf8_lossy(operator).into_owned());
            }
            Some(b"Cast") => {
                self.cast.extend(all(1));
                for attribute in all(5) {
                    self.halves |= self::fields(attribute)?.iter().any(|&(number, to)| number == 3 && is_half(to));
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// Returns whether an element type is float16 or bfloat16.
fn is_half(kind: Field<'_>) -> bool {
    matches!(kind, Field::Number(10 | 16))
}

/// Visits a message; returns whether it has any of the messages below it, or `None` if it is damaged.
fn walk<'a>(message: Message, mut bytes: &'a [u8], seen: &mut Seen<'a>, depth: usize) -> Option<bool> {
    if depth > MAX_DEPTH {
        return None;
    }
    if let Message::Node = message {
        seen.node(bytes)?;
    }
    let mut found = false;
    let (mut key, mut value) = (&[][..], &[][..]);
    while !bytes.is_empty() {
        let (number, field) = next_field(&mut bytes)?;
        match (message, number, field) {
            (Message::Entry, 1, Field::Bytes(field)) => key = field,
            (Message::Entry, 2, Field::Bytes(field)) => value = field,
            (Message::Tensor, 2, kind) => seen.halves |= is_half(kind),
            (_, _, Field::Bytes(field)) => {
                if let Some((_, below)) = message.below().iter().find(|(below, _)| *below == number) {
                    walk(*below, field, seen, depth + 1)?;
                    found = true;
                }
            }
            _ => {}
        }
    }
    if key == b"location" {
        seen.locations.insert(std::str::from_utf8(value).ok()?.to_string());
    }
    Some(found)
}

/// Returns the next field's number and value.
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(bytes)?;
    let field = match tag & 7 {
        0 => Field::Number(varint(bytes)?),
        1 => take(bytes, 8).map(Field::Fixed)?,
        2 => Field::Bytes(varint(bytes).and_then(|length| take(bytes, length))?),
        5 => take(bytes, 4).map(Field::Fixed)?,
        _ => return None,
    };
    Some((tag >> 3, field)).filter(|(number, _)| *number > 0)
}

pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length as u8 | 0x80, (length >> 7) as u8], bytes].concat()
    }

    fn tensor(location: &str) -> Vec<u8> {
        let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
        let offset = [field(1, b"offset"), field(2, b"0")].concat();
        [field(13, &entry), field(13, &offset), field(8, b"weight")].concat()
    }

    #[test]
    fn locations_are_found_in_graphs_and_their_subgraphs() {
        let constant = field(1, &field(5, &field(5, &tensor("constant.bin"))));
        let branch = field(1, &field(5, &field(6, &field(5, &tensor("branch.bin")))));
        let graph = [field(5, &tensor("weights.bin")), constant, branch].concat();
        let model = [vec![1 << 3, 10], field(7, &graph)].concat();
        let found = contents(&model).unwrap();
        assert!(!found.mixed);
        assert_eq!(found.locations.into_iter().collect::<Vec<_>>(), ["branch.bin", "constant.bin", "weights.bin"]);
    }

    #[test]
    fn a_model_needs_a_graph_and_nothing_may_be_cut_short() {
        let model = [vec![1 << 3, 10], field(7, &field(2, b"graph"))].concat();
        assert_eq!(contents(&model), Some(Contents::default()));
        assert_eq!(contents(&model[..2]), None);
        assert_eq!(contents(&model[..model.len() - 1]), None);
        assert_eq!(contents(b""), None);
        assert_eq!(contents(b"<html>not found</html>"), None);
    }

    #[test]
    fn inputs_and_outputs_have_names_types_and_shapes() {
        let number = |field: u8, value: u8| vec![field << 3, value];
        let size = |size: u8| field(1, &number(1, size));
        let value = |name: &[u8], element: u8, shape: Vec<u8>| {
            [field(1, name), field(2, &field(1, &[number(1, element), field(2, &shape)].concat()))].concat()
        };
        let any = field(1, &field(2, b"batch"));
        let graph = [
            field(5, &field(8, b"weight")),
            field(11, &value(b"weight", 1, size(9))),
            field(11, &value(b"ids", 7, [any.clone(), size(77)].concat())),
            field(11, &value(b"pixels", 10, [any.clone(), size(3), size(8), size(4)].concat())),
            field(12, &value(b"embeds", 1, [any, size(5)].concat())),
        ];
        let found = interface(&field(7, &graph.concat())).unwrap();
        let names: Vec<&str> = found.inputs.iter().map(|value| value.name.as_str()).collect();
        assert_eq!(names, ["ids", "pixels"]);
        assert_eq!(found.tokens().unwrap().shape, [None, Some(77)]);
        assert_eq!(found.pixels().unwrap().shape, [None, Some(3), Some(8), Some(4)]);
        assert_eq!(found.output(&["none", "embeds"]).unwrap().shape, [None, Some(5)]);
        assert!(found.output(&["none"]).is_none());
        assert!(interface(b"").is_none());
        let cut = graph.concat();
        assert!(interface(&field(7, &cut[..cut.len() - 1])).is_none());
    }

    #[test]
    fn numbers_of_several_sizes_are_seen() {
        let node = |kind: &[u8], input: &[u8], output: &[u8]| {
            [field(1, input), field(2, output), field(3, b"any"), field(4, kind)].concat()
        };
        let mixed = |parts: &[Vec<u8>]| contents(&field(7, &parts.concat())).unwrap().mixed;
        let (transpose, cast) = (field(1, &node(b"Transpose", b"a", b"b")), field(1, &node(b"Cast", b"b", b"c")));
        assert!(mixed(&[cast.clone(), transpose.clone()]));
        assert!(!mixed(&[transpose.clone(), field(1, &node(b"Cast", b"a", b"c"))]));
        assert!(!mixed(&[transpose, field(1, &node(b"Neg", b"b", b"c"))]));
        let attribute = |to: u8| field(5, &[field(1, b"to"), vec![3 << 3, to]].concat());
        for (kind, wanted) in [(1, false), (7, false), (10, true), (16, true)] {
            assert_eq!(mixed(&[field(5, &[2 << 3, kind])]), wanted);
            let constant = field(5, &field(5, &[2 << 3, kind]));
            assert_eq!(mixed(&[field(1, &[node(b"Constant", b"", b"a"), constant].concat())]), wanted);
            assert_eq!(mixed(&[field(1, &[node(b"Cast", b"a", b"c"), attribute(kind)].concat())]), wanted);
            assert!(!mixed(&[field(1, &[node(b"Concat", b"a", b"c"), attribute(kind)].concat())]));
        }
    }

    #[test]
    fn operators_that_draw_lots_are_seen() {
        let random = |kind: &[u8]| {
            let node = field(1, &[field(2, b"a"), field(4, kind)].concat());
            contents(&field(7, &node)).unwrap().random
        };
        assert_eq!(random(b"RandomNormal").as_deref(), Some("RandomNormal"));
        assert_eq!(random(b"Bernoulli").as_deref(), Some("Bernoulli"));
        assert_eq!(random(b"Dropout"), None);
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let nested = |graphs| (0..graphs).fold(vec![], |graph, _| field(1, &field(5, &field(6, &graph))));
        assert!(contents(&field(7, &nested(20))).is_some());
        assert!(contents(&field(7, &nested(40))).is_none());
    }
}
