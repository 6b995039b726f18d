//! What a manifest says about networks of fewer bits, and about what they lose.

use serde::{Deserialize, Serialize};

/// The numbers in which the networks of a model compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Floating point of 32 bits.
    Fp32,
    /// Floating point of 16 bits.
    Fp16,
    /// Integers of 8 bits, where that is most of the time.
    Int8,
}

/// How the picture tower was made out of another model's, and how near its vectors are to that one's.
///
/// This is a record: it changes no vector, and so no fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// The other model's fingerprint.
    pub from: String,
    /// How the ranges of activations were found.
    pub method: String,
    /// From how many pictures.
    pub pictures: u64,
    /// On how many other pictures both models were compared.
    pub held_out: u64,
    /// The mean share of the ten nearest of them that are the same in both models.
    pub overlap_at_10: f64,
    /// The mean cosine between both vectors of a picture.
    pub cosine_mean: f64,
    /// The least.
    pub cosine_min: f64,
    /// From a picture file to its vector on one thread: of the other model, and of this one.
    pub milliseconds: [f64; 2],
}

impl Quantization {
    /// Refuses what cannot have been measured.
    pub(super) fn check(&self) -> Result<(), String> {
        let share = 0.0..=1.0;
        // A unit vector's rounding may take a cosine a little above 1.
        let cosine = -1.001..=1.001;
        let right = self.from.len() == 64
            && self.from.bytes().all(|byte| byte.is_ascii_hexdigit())
            && share.contains(&self.overlap_at_10)
            && cosine.contains(&self.cosine_mean)
            && cosine.contains(&self.cosine_min)
            && self.milliseconds.iter().all(|time| *time >= 0.0);
        if right { Ok(()) } else { Err("quantized is not what `plushie-search models quantize` writes".into()) }
    }
}
