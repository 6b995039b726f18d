//! Encodes pictures and texts into unit vectors: a model directory with ONNX Runtime, or any other implementation of
//! [`Encode`].

mod absent;
mod adaptive_batch;
mod batch;
mod cache;
mod custom;
mod device;
mod encode;
mod features;
mod gather;
mod graph;
mod image;
mod local;
mod network;
mod onnx;
mod probe;
mod products;
mod provider;
mod remote;
mod request_pool;
mod runtime;
mod semaphore;
mod session;
mod several;
mod signature;
mod text;
mod tower;
mod transport;

pub use self::absent::NoEncoder;
pub use self::cache::{Cache, Counts};
pub use self::custom::{BatchError, Compute, Computed, Custom, Limits};
pub use self::device::{Device, Precision};
pub use self::encode::{About, Encode};
pub use self::features::{FeatureMaps, Map};
pub use self::onnx::{Encoder, Options, Service};
pub use self::probe::{ALIKE, Probe, Question};
pub use self::products::{DeviceRows, Products};
#[cfg(test)]
pub(crate) use self::runtime::is_loaded_for_tests as load_for_tests;
pub use self::runtime::load_runtime;
pub use self::several::{Looks, Seen, each_image, image_vectors, means, mesh_images, query_images};
pub use self::transport::{Declared, Failure, Numbers, Output, Tensor, Transport};
