//! Writes the network that finds the best rows for queries, as an ONNX file in memory: a matrix product and its greatest
//! numbers.
//!
//! Fields have the numbers of `onnx.proto`, in the encoding of protocol buffers.

/// The versions of ONNX's file and of its operators: ONNX Runtime has read these since 1.15.
const FILE: u64 = 8;
const OPERATORS: u64 = 17;

/// ONNX's numbers of element types, and of an attribute that is a whole number.
const FLOAT: u64 = 1;
const INT64: u64 = 7;
const FLOAT16: u64 = 10;
const WHOLE: u64 = 2;

/// Returns a network with the inputs `queries` (q × dim), `rows` (n × dim), `mask` (n) and `k` (1), and the outputs
/// `scores` and `places` (q × k): for each query the greatest sums of its inner product with a row and that row's mask,
/// greatest first, and the numbers of their rows. Numbers have 16 bits if `half`, else 32.
pub(super) fn best_rows(half: bool) -> Vec<u8> {
    let number = if half { FLOAT16 } else { FLOAT };
    let product = node("Gemm", &["queries", "rows", "mask"], &["products"], &[("transB", 1)]);
    let best = node("TopK", &["products", "k"], &["scores", "places"], &[("axis", 1), ("largest", 1), ("sorted", 1)]);
    let graph = [
        bytes(1, &product),
        bytes(1, &best),
        bytes(2, b"best_rows"),
        bytes(11, &value("queries", number, &["q", "dim"])),
        bytes(11, &value("rows", number, &["n", "dim"])),
        bytes(11, &value("mask", number, &["n"])),
        bytes(11, &value("k", INT64, &["one"])),
        bytes(12, &value("scores", number, &["q", "k"])),
        bytes(12, &value("places", INT64, &["q", "k"])),
    ];
    [whole(1, FILE), bytes(2, b"plushie_search"), bytes(7, &graph.concat()), bytes(8, &whole(2, OPERATORS))].concat()
}

fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, u64)]) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect();
    node.extend(outputs.iter().flat_map(|name| bytes(2, name.as_bytes())));
    node.extend(bytes(4, operator.as_bytes()));
    for (name, number) in attributes {
        node.extend(bytes(5, &[bytes(1, name.as_bytes()), whole(3, *number), whole(20, WHOLE)].concat()));
    }
    node
}

/// An input or output whose sizes have names.
fn value(name: &str, element: u64, sizes: &[&str]) -> Vec<u8> {
    let shape: Vec<u8> = sizes.iter().flat_map(|size| bytes(1, &bytes(2, size.as_bytes()))).collect();
    let tensor = [whole(1, element), bytes(2, &shape)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// A field that is a whole number.
fn whole(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

/// A field of bytes: a text or a message.
fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// Seven bits a byte, lowest first; the highest bit says that more follow.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_encoding_defines() {
        // The examples of protobuf.dev/programming-guides/encoding.
        assert_eq!(whole(1, 150), [0x08, 0x96, 0x01]);
        assert_eq!(bytes(2, b"testing"), b"\x12\x07testing");
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(u64::MAX), [&[0xff; 9][..], &[1]].concat());
    }
}
