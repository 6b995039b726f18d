//! The connection to a network on a server, in any protocol: tensors go in and come out.

use std::borrow::Cow;

use half::f16;

use crate::error::Error;

#[cfg(target_endian = "big")]
compile_error!("tensors travel as little-endian bytes, and so must this machine have them");

/// An input or output as a server declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its datatype in the Open Inference Protocol: "FP32", "INT64", ...
    pub datatype: String,
    /// Its shape; negative where a size is not fixed.
    pub shape: Vec<i64>,
}

/// A tensor that goes in.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// The name of the input.
    pub name: &'a str,
    /// The size of each axis.
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
    /// The numbers as little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Floats(numbers) => bytemuck::cast_slice(numbers),
            // The bits of a half are those of a u16, of which `half` gives no slice without a feature of its own.
            Self::Halves(numbers) => {
                bytemuck::cast_slice(half::slice::HalfFloatSliceExt::reinterpret_cast(&numbers[..]))
            }
            Self::Longs(numbers) => bytemuck::cast_slice(numbers),
            Self::Ints(numbers) => bytemuck::cast_slice(numbers),
        }
    }
}

/// A tensor that came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The size of each axis.
    pub shape: Vec<i64>,
    /// The numbers, in C order.
    pub values: Vec<f32>,
}

/// A request that gave no answer that can be used.
pub enum Failure {
    /// The reason in words that name the service, and whether the server understood the request and refused it.
    Said {
        /// Why, and what to do.
        reason: String,
        /// Whether another request may be accepted.
        refused: bool,
    },
    /// An error of another kind.
    Raised(Error),
}

/// Calls one network on a server, from any number of threads.
pub trait Transport: Send + Sync {
    /// The address of the network.
    fn address(&self) -> &str;

    /// The most rows in a request.
    fn batch(&self) -> usize;

    /// The most requests at a time.
    fn requests(&self) -> usize;

    /// Asks what the network takes and what it gives.
    ///
    /// # Errors
    /// [`Failure`] if the server cannot be asked.
    fn signature(&self) -> Result<(Vec<Declared>, Vec<Declared>), Failure>;

    /// Runs the network and returns its output `wanted`, which has at most so many numbers.
    ///
    /// # Errors
    /// [`Failure`] if the server gives no answer that can be used.
    fn infer(&self, inputs: &[Tensor<'_>], wanted: &str, most: usize) -> Result<Output, Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian() {
        assert_eq!(Numbers::Longs(Cow::Borrowed(&[1, -1])).bytes()[..9], [1, 0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(Numbers::Ints(vec![258]).bytes(), [2, 1, 0, 0]);
        assert_eq!(Numbers::Halves(vec![f16::from_f32(1.0)]).bytes(), [0x00, 0x3c]);
        assert_eq!(Numbers::Floats(Cow::Borrowed(&[0.5])).bytes(), [0, 0, 0, 0x3f]);
    }
}
