//! Tensors as the Open Inference Protocol has them: a name, a datatype, a shape, and numbers as bytes or as JSON.

use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::service::retry::Failure;

#[cfg(target_endian = "big")]
compile_error!("the binary form of tensors is little-endian, and so must this machine be");

/// An input or output as a server declares it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its datatype: "FP32", "INT64", ...
    pub datatype: String,
    /// Its shape; negative where a size is not fixed.
    #[serde(default)]
    pub shape: Vec<i64>,
}

/// What goes in.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// The name of the input.
    pub name: &'a str,
    /// How many numbers there are along each axis.
    pub shape: Vec<usize>,
    /// The numbers, in C order.
    pub numbers: Numbers<'a>,
}

/// The numbers of a tensor.
#[derive(Debug, Clone)]
pub enum Numbers<'a> {
    /// FP32.
    Floats(Cow<'a, [f32]>),
    /// FP16.
    Halves(Vec<f16>),
    /// INT64.
    Longs(Cow<'a, [i64]>),
    /// INT32.
    Ints(Vec<i32>),
}

impl Numbers<'_> {
    /// What the protocol calls their type.
    pub fn datatype(&self) -> &'static str {
        match self {
            Self::Floats(_) => "FP32",
            Self::Halves(_) => "FP16",
            Self::Longs(_) => "INT64",
            Self::Ints(_) => "INT32",
        }
    }

    /// Little-endian.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Floats(numbers) => bytemuck::cast_slice(numbers),
            // The bits of a half are those of a u16, of which `half` gives no slice without a feature of its own.
            Self::Halves(numbers) => half_bytes(numbers),
            Self::Longs(numbers) => bytemuck::cast_slice(numbers),
            Self::Ints(numbers) => bytemuck::cast_slice(numbers),
        }
    }
}

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Floats(numbers) => numbers.serialize(serializer),
            Self::Halves(numbers) => serializer.collect_seq(numbers.iter().map(|number| number.to_f32())),
            Self::Longs(numbers) => numbers.serialize(serializer),
            Self::Ints(numbers) => numbers.serialize(serializer),
        }
    }
}

/// What comes out, as 32-bit floats whatever it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// How many numbers there are along each axis.
    pub shape: Vec<i64>,
    /// The numbers, in C order.
    pub values: Vec<f32>,
}

impl Output {
    /// Checks that there are as many numbers as the shape says.
    pub(super) fn new(name: &str, shape: Vec<i64>, values: Vec<f32>) -> Result<Self, Failure> {
        let size = shape.iter().try_fold(1_usize, |size, &side| size.checked_mul(usize::try_from(side).ok()?));
        match size == Some(values.len()) {
            true => Ok(Self { shape, values }),
            false => Err(Failure::lasting(format!(
                "answers with {} numbers for the output {name:?}, but with the shape {shape:?}",
                values.len()
            ))),
        }
    }
}

/// The numbers of an output in binary form.
pub(super) fn floats(datatype: &str, bytes: &[u8]) -> Result<Vec<f32>, Failure> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Option<Vec<f32>> {
        let (numbers, rest) = bytes.as_chunks::<N>();
        rest.is_empty().then(|| numbers.iter().map(|&bytes| number(bytes)).collect())
    }
    let read = match datatype {
        "FP32" => each(bytes, f32::from_le_bytes),
        "FP16" => each(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
        "BF16" => each(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        "FP64" => each(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        _ => return Err(Failure::lasting(format!("answers with {datatype:?}, which are no floats"))),
    };
    read.ok_or_else(|| Failure::lasting(format!("answers with {} bytes, which are not whole {datatype}", bytes.len())))
}

fn half_bytes(numbers: &[f16]) -> &[u8] {
    bytemuck::cast_slice(half::slice::HalfFloatSliceExt::reinterpret_cast(numbers))
}

/// Numbers in JSON, in lists of any depth.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Flat(pub(super) Vec<f32>);

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = Vec::new();
        deserializer.deserialize_seq(Lists(&mut numbers))?;
        Ok(Self(numbers))
    }
}

struct Lists<'a>(&'a mut Vec<f32>);

impl<'de> Visitor<'de> for Lists<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or lists of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }
}

struct Element<'a>(&'a mut Vec<f32>);

impl<'de> serde::de::DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a list of numbers")
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    /// Some servers write NaN like this.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(E::custom("null is no number; did the model give NaN?"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        Lists(self.0).visit_seq(list).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_in_both_forms() {
        let floats = [0.1_f32, -1.5, 3e-30, f32::MAX];
        let numbers = Numbers::Floats(Cow::Borrowed(&floats));
        assert_eq!(super::floats("FP32", numbers.bytes()).unwrap(), floats);
        let json = serde_json::to_string(&numbers).unwrap();
        assert_eq!(serde_json::from_str::<Flat>(&json).unwrap().0, floats);
        assert_eq!(Numbers::Longs(Cow::Borrowed(&[1, -1])).bytes()[..9], [1, 0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(Numbers::Ints(vec![258]).bytes(), [2, 1, 0, 0]);
        assert_eq!(Numbers::Halves(vec![f16::from_f32(1.0)]).bytes(), [0x00, 0x3c]);
    }

    #[test]
    fn outputs_of_other_floats_are_read_too() {
        assert_eq!(floats("FP16", &[0x00, 0x3c]).unwrap(), [1.0]);
        assert_eq!(floats("BF16", &[0x80, 0x3f]).unwrap(), [1.0]);
        assert_eq!(floats("FP64", &0.5_f64.to_le_bytes()).unwrap(), [0.5]);
        assert!(floats("FP32", &[0; 5]).is_err() && floats("BYTES", &[0; 4]).is_err());
    }

    #[test]
    fn lists_may_be_nested_and_hold_nothing_but_numbers() {
        let flat = |text: &str| serde_json::from_str::<Flat>(text);
        assert_eq!(flat("[[1, 2.5], [[-3]], []]").unwrap().0, [1.0, 2.5, -3.0]);
        for bad in ["[null]", "[\"1\"]", "1", "[1", "[NaN]", &"[".repeat(100_000)] {
            assert!(flat(bad).is_err(), "{}", &bad[..bad.len().min(10)]);
        }
    }

    #[test]
    fn a_shape_must_fit_its_numbers() {
        assert!(Output::new("out", vec![2, 3], vec![0.0; 6]).is_ok());
        for shape in [vec![2, 2], vec![-1, 6], vec![i64::MAX, i64::MAX, 6]] {
            assert!(Output::new("out", shape, vec![0.0; 6]).is_err());
        }
    }
}
