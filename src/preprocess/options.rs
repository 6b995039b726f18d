//! Defines the options of preprocessing, which manifests and callers write as words.

use std::str::FromStr;

use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a picture of any shape gets the shape of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Scaled to cover the shape, and center-cropped.
    Crop,
    /// Each side scaled independently, which distorts the picture.
    Squash,
    /// Scaled to fit into the shape, and padded.
    Letterbox,
}

/// The resampling filter; both are antialiased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Pillow's BICUBIC.
    #[default]
    Bicubic,
    /// Pillow's BILINEAR.
    Bilinear,
}

/// The order of the tensor's planes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// The position of the center when an odd number of rows or columns is cropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Center {
    /// Crops the odd one below or on the right, as transformers' image processors.
    #[default]
    Down,
    /// Rounds half to even, so that half of the time the odd one is cropped above or on the left, as torchvision's
    /// transforms and open_clip.
    Even,
}

impl Center {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the part of `surplus` before the center.
    pub(super) fn before(self, surplus: u64) -> u64 {
        match self {
            Self::Down => surplus / 2,
            Self::Even => (surplus as f64 / 2.0).round_ties_even() as u64,
        }
    }
}

/// Parses a word with serde, so that the words are listed once.
fn parse<'a, T: Deserialize<'a>>(what: &str, word: &'a str) -> Result<T> {
    let word: StrDeserializer<'a, ValueError> = word.into_deserializer();
    T::deserialize(word).map_err(|error| Error::argument(format!("{what}: {error}")))
}

impl FromStr for Resize {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        parse("resize", word)
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        parse("filter", word)
    }
}

impl FromStr for Center {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        parse("center", word)
    }
}

impl FromStr for Channels {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        parse("channels", word)
    }
}
