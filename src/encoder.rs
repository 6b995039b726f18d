//! Encodes pictures and texts into unit vectors: a model directory with ONNX Runtime, or any other implementation of
//! [`Encode`].

mod absent;
mod batch;
mod cache;
mod custom;
mod device;
mod encode;
mod halving;
mod image;
mod in_flight;
mod local;
mod network;
mod onnx;
mod permits;
mod probe;
mod provider;
mod remote;
mod runtime;
mod session;
mod several;
mod signature;
mod text;
mod tower;
mod whole;

pub use self::absent::NoEncoder;
pub use self::cache::{Cache, Counts};
pub use self::custom::{Compute, Computed, Custom, Limits, Trouble};
pub use self::device::{Device, Precision};
pub use self::encode::{About, Encode};
pub use self::onnx::{Encoder, Options, Service};
pub use self::probe::{ALIKE, Probe};
pub use self::runtime::load_runtime;
pub use self::several::{Seen, each_image, query_images};
