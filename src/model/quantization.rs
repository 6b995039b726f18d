//! Records the precision of networks and the loss by quantization.

use serde::{Deserialize, Serialize};

/// The precision in which the networks of a model compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkPrecision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point.
    Fp16,
    /// 8-bit integers, for most of the computation.
    Int8,
}

/// The quantization of the image tower, and the similarity of its vectors to those of the original.
///
/// This is a record: it changes no vector, and so no fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// The original model's fingerprint.
    pub from: String,
    /// The method that found the ranges of activations.
    pub method: String,
    /// The number of pictures for that.
    pub pictures: u64,
    /// The number of other pictures for the comparison.
    pub held_out: u64,
    /// The mean share of the ten nearest neighbors that both models have in common.
    pub overlap_at_10: f64,
    /// The mean cosine between the vectors of both models.
    pub cosine_mean: f64,
    /// The smallest cosine.
    pub cosine_min: f64,
    /// The time from a picture file to its vector on one thread: of the original, and of this model.
    pub milliseconds: [f64; 2],
}

impl Quantization {
    /// Refuses values that cannot be measured.
    pub(super) fn check(&self) -> Result<(), String> {
        let share = 0.0..=1.0;
        // Rounding may take the cosine of unit vectors a little above 1.
        let cosine = -1.001..=1.001;
        let right = self.from.len() == 64
            && self.from.bytes().all(|byte| byte.is_ascii_hexdigit())
            && share.contains(&self.overlap_at_10)
            && cosine.contains(&self.cosine_mean)
            && cosine.contains(&self.cosine_min)
            && self.milliseconds.iter().all(|time| *time >= 0.0);
        if right {
            Ok(())
        } else {
            Err("quantized has impossible values; write it with `plushie-search models quantize`".into())
        }
    }
}
