//! Just enough of the ONNX file format to find the files that hold weights outside of it.

use std::collections::BTreeSet;

/// Deeper than graphs nest in practice; keeps a hostile file from exhausting the stack.
const MAX_DEPTH: usize = 64;

/// The messages on the way from a model to its tensors, as `onnx.proto` names them.
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
    /// The messages below this one that lead to tensors, by field number.
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

/// The locations of external weights that an ONNX model names, or nothing when `bytes` are no ONNX model.
pub(super) fn external_data(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let mut locations = BTreeSet::new();
    let has_graph = walk(Message::Model, bytes, &mut locations, 0)?;
    has_graph.then_some(locations)
}

/// Visits a message; says whether it has any of the messages below it.
fn walk(message: Message, mut bytes: &[u8], locations: &mut BTreeSet<String>, depth: usize) -> Option<bool> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut found = false;
    let (mut key, mut value) = (&[][..], &[][..]);
    while !bytes.is_empty() {
        let (number, field) = next_field(&mut bytes)?;
        match (message, number, field) {
            (Message::Entry, 1, Some(field)) => key = field,
            (Message::Entry, 2, Some(field)) => value = field,
            (_, _, Some(field)) => {
                if let Some((_, below)) = message.below().iter().find(|(below, _)| *below == number) {
                    walk(*below, field, locations, depth + 1)?;
                    found = true;
                }
            }
            _ => {}
        }
    }
    if key == b"location" {
        locations.insert(std::str::from_utf8(value).ok()?.to_string());
    }
    Some(found)
}

/// The next field's number and, if it has bytes, those.
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(bytes)?;
    let field = match tag & 7 {
        0 => varint(bytes).map(|_| None)?,
        1 => take(bytes, 8).map(|_| None)?,
        2 => Some(varint(bytes).and_then(|length| take(bytes, length))?),
        5 => take(bytes, 4).map(|_| None)?,
        _ => return None,
    };
    Some((tag >> 3, field)).filter(|(number, _)| *number > 0)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
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
        let found = external_data(&model).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["branch.bin", "constant.bin", "weights.bin"]);
    }

    #[test]
    fn a_model_needs_a_graph_and_nothing_may_be_cut_short() {
        let model = [vec![1 << 3, 10], field(7, &field(2, b"graph"))].concat();
        assert_eq!(external_data(&model), Some(BTreeSet::new()));
        assert_eq!(external_data(&model[..2]), None);
        assert_eq!(external_data(&model[..model.len() - 1]), None);
        assert_eq!(external_data(b""), None);
        assert_eq!(external_data(b"<html>not found</html>"), None);
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let nested = |graphs| (0..graphs).fold(vec![], |graph, _| field(1, &field(5, &field(6, &graph))));
        assert!(external_data(&field(7, &nested(20))).is_some());
        assert!(external_data(&field(7, &nested(40))).is_none());
    }
}
