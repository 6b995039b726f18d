//! A picture becomes a pixel tensor, as the model prescribes.
//!
//! The result is what the models were trained with: Pillow's antialiased filters, and the rounding of sides and crops
//! of the usual image processors, to within a rounding of grey levels.

use std::cell::RefCell;
use std::str::FromStr;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::picture::{Picture, Source};

/// The longest side of an input that any model could want.
const MAX_SIDE: usize = 4096;
/// A JPEG may be decoded smaller as long as this many of its pixels are left for each pixel of the tensor, each way.
const OVERSAMPLING: u32 = 2;
/// Memory above this size is not kept for the next picture.
const KEPT_MEMORY: usize = 32 << 20;

/// What CLIP subtracts, and most models after it.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// What CLIP divides by.
pub const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// The `preprocess` object of `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Fields")]
pub struct Preprocess {
    resize: Resize,
    size: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    resize_to: Option<usize>,
    filter: Filter,
    mean: [f32; 3],
    std: [f32; 3],
    fill: [u8; 3],
    channels: Channels,
}

/// How a picture of any shape becomes one of the model's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Scaled so that it covers the shape, and the middle is cut out.
    Crop,
    /// Each side scaled by itself: the picture is distorted.
    Squash,
    /// Scaled so that it fits into the shape, and the rest is filled.
    Letterbox,
}

/// How pixels are resampled; both are antialiased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Pillow's BICUBIC.
    #[default]
    Bicubic,
    /// Pillow's BILINEAR.
    Bilinear,
}

/// The order of the planes of the tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Reads a word as serde would, so that there is one list of words.
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

impl FromStr for Channels {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        parse("channels", word)
    }
}

/// What the manifest may say, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    resize: Resize,
    size: [usize; 2],
    resize_to: Option<usize>,
    #[serde(default)]
    filter: Filter,
    mean: [f32; 3],
    std: [f32; 3],
    #[serde(default = "white")]
    fill: [u8; 3],
    #[serde(default)]
    channels: Channels,
}

fn white() -> [u8; 3] {
    [255; 3]
}

impl TryFrom<Fields> for Preprocess {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        let Fields { resize, size, resize_to, filter, mean, std, fill, channels } = fields;
        Self { resize, size, resize_to, filter, mean, std, fill, channels }.checked()
    }
}

/// The part of the picture that is resampled, in pixels of its full size, and where it goes in the tensor: each the
/// left and upper corner, width and height.
#[derive(Debug, PartialEq)]
struct Plan {
    from: [f64; 4],
    to: [usize; 4],
}

/// Memory and tables that the pictures of one thread share.
#[derive(Default)]
struct Scratch {
    resizer: Resizer,
    decoded: Vec<u8>,
    resized: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Preprocess {
    /// `size` is height and width. `mean` and `std` apply to values from 0 to 1, in the order of the channels.
    ///
    /// Bicubic, filled with white, planes red, green, blue; `with_…` changes that.
    ///
    /// # Errors
    /// [`Error::Argument`] when a side is not from 1 to 4096, a number is not finite, or a `std` is 0.
    pub fn new(resize: Resize, size: [usize; 2], mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        let (filter, fill, channels) = (Filter::default(), white(), Channels::default());
        Self { resize, size, resize_to: None, filter, mean, std, fill, channels }.checked()
    }

    /// With another filter.
    pub fn with_filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// With another colour around a picture in a letterbox.
    pub fn with_fill(self, fill: [u8; 3]) -> Self {
        Self { fill, ..self }
    }

    /// With another order of planes, which is then also that of `mean` and `std`.
    pub fn with_channels(self, channels: Channels) -> Self {
        Self { channels, ..self }
    }

    /// Scales the shorter side to `side` before the middle is cut out, as with 256 and then 224.
    ///
    /// # Errors
    /// [`Error::Argument`] when it does not crop, or `side` is less than the crop.
    pub fn with_resize_to(self, side: usize) -> Result<Self> {
        Self { resize_to: Some(side), ..self }.checked()
    }

    fn checked(self) -> Result<Self> {
        let [height, width] = self.size;
        let refuse = |reason: String| Err(Error::argument(format!("preprocess: {reason}")));
        if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
            return refuse(format!("size [{height}, {width}] must be two numbers from 1 to {MAX_SIDE}"));
        }
        if let Some(side) = self.resize_to {
            if self.resize != Resize::Crop {
                return refuse(format!("resize_to {side} goes with resize \"crop\" only"));
            }
            if !(height.max(width)..=MAX_SIDE).contains(&side) {
                return refuse(format!("resize_to {side} must be from {} to {MAX_SIDE}", height.max(width)));
            }
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return refuse(format!("mean {:?} must be three finite numbers", self.mean));
        }
        if !self.std.iter().all(|std| std.is_normal()) {
            return refuse(format!("std {:?} must be three finite numbers other than 0", self.std));
        }
        Ok(self)
    }

    /// Height and width of the tensor.
    pub fn shape(&self) -> (usize, usize) {
        (self.size[0], self.size[1])
    }

    /// How many numbers the tensor of one picture has: three planes.
    pub fn tensor_len(&self) -> usize {
        3 * self.size[0] * self.size[1]
    }

    /// The width and height below which no picture should be decoded for this model.
    pub fn at_least(&self) -> (u32, u32) {
        let [height, width] = self.size.map(|side| side.max(self.resize_to.unwrap_or(0)) as u32 * OVERSAMPLING);
        (width, height)
    }

    /// The tensors of many pictures, one after another.
    ///
    /// # Errors
    /// As [`load`](Self::load), of the first picture that fails.
    pub fn load_all(&self, sources: &[Source]) -> Result<Vec<f32>> {
        let mut tensors = vec![0.0; sources.len() * self.tensor_len()];
        let outs = tensors.chunks_exact_mut(self.tensor_len());
        sources.iter().zip(outs).try_for_each(|(source, out)| self.load(source, out))?;
        Ok(tensors)
    }

    /// Decodes, resizes and normalises into `out`: three planes of rows.
    ///
    /// # Errors
    /// As [`Source::decode`]; [`Error::Argument`] when `out` has another length than [`tensor_len`](Self::tensor_len).
    pub fn load(&self, source: &Source, out: &mut [f32]) -> Result<()> {
        if let Source::Pixels { picture, .. } = source {
            return self.apply(picture, out);
        }
        let memory = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.decoded));
        let picture = source.decode_into(Some(self.at_least()), memory)?;
        self.apply(&picture, out)?;
        let memory = picture.into_pixels();
        if memory.capacity() <= KEPT_MEMORY {
            SCRATCH.with_borrow_mut(|scratch| scratch.decoded = memory);
        }
        Ok(())
    }

    /// Resizes and normalises a picture into `out`: three planes of rows.
    ///
    /// # Errors
    /// [`Error::Argument`] when `out` has another length than [`tensor_len`](Self::tensor_len).
    pub fn apply(&self, picture: &Picture, out: &mut [f32]) -> Result<()> {
        if out.len() != self.tensor_len() {
            let (given, expected) = (out.len(), self.tensor_len());
            return Err(Error::argument(format!("a tensor of {expected} numbers was expected, not of {given}")));
        }
        let plan = self.plan(picture.full_size());
        SCRATCH.with_borrow_mut(|scratch| {
            let [x, y, width, height] = plan.from.map(|length| length * picture.scale());
            // The scaled picture may have a fraction of a pixel less than its size says.
            let width = width.min(f64::from(picture.width()) - x);
            let height = height.min(f64::from(picture.height()) - y);
            let [left, top, columns, rows] = plan.to;
            scratch.resized.resize(columns * rows * 3, 0);
            let filter = match self.filter {
                Filter::Bicubic => FilterType::CatmullRom,
                Filter::Bilinear => FilterType::Bilinear,
            };
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(x, y, width, height);
            let failed = |error: &dyn std::fmt::Display| {
                Error::argument(format!("{picture:?} cannot be resized to {columns}x{rows}: {error}"))
            };
            let source = ImageRef::new(picture.width(), picture.height(), picture.pixels(), PixelType::U8x3)
                .map_err(|error| failed(&error))?;
            let mut target = Image::from_slice_u8(columns as u32, rows as u32, &mut scratch.resized, PixelType::U8x3)
                .map_err(|error| failed(&error))?;
            scratch.resizer.resize(&source, &mut target, &options).map_err(|error| failed(&error))?;
            if scratch.resizer.size_of_internal_buffers() > KEPT_MEMORY {
                scratch.resizer.reset_internal_buffers();
            }
            self.normalize(&scratch.resized, [left, top, columns], out);
            Ok(())
        })
    }

    /// What to resample and where to put it, for a picture of this width and height.
    fn plan(&self, full: (u32, u32)) -> Plan {
        let [height, width] = self.size.map(|side| side as u64);
        let (w, h) = (u64::from(full.0), u64::from(full.1));
        let whole = [0.0, 0.0, w as f64, h as f64];
        match self.resize {
            Resize::Squash => Plan { from: whole, to: [0, 0, self.size[1], self.size[0]] },
            Resize::Letterbox => {
                let ratio = (height as f64 / h as f64).min(width as f64 / w as f64);
                let fit = |length: u64, limit: u64| ((length as f64 * ratio).round_ties_even() as u64).clamp(1, limit);
                let (columns, rows) = (fit(w, width), fit(h, height));
                let to = [(width - columns) / 2, (height - rows) / 2, columns, rows];
                Plan { from: whole, to: to.map(|length| length as usize) }
            }
            Resize::Crop => {
                let (cover_w, cover_h) = self.resize_to.map_or((width, height), |side| (side as u64, side as u64));
                // The longer side is rounded down, and the odd pixel is cut off on the right and below.
                let (columns, rows) =
                    if w * cover_h <= h * cover_w { (cover_w, cover_w * h / w) } else { (cover_h * w / h, cover_h) };
                let (across, down) = (w as f64 / columns as f64, h as f64 / rows as f64);
                let (left, top) = ((columns - width) / 2, (rows - height) / 2);
                let from = [left as f64 * across, top as f64 * down, width as f64 * across, height as f64 * down];
                Plan { from, to: [0, 0, self.size[1], self.size[0]] }
            }
        }
    }

    /// Spreads the pixels over the planes, at `left` and `top` with `columns` in a row.
    fn normalize(&self, pixels: &[u8], [left, top, columns]: [usize; 3], out: &mut [f32]) {
        let [height, width] = self.size;
        for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
            let colour = if self.channels == Channels::Bgr { 2 - channel } else { channel };
            let (mean, std) = (f64::from(self.mean[channel]), f64::from(self.std[channel]));
            let levels: [f32; 256] = std::array::from_fn(|level| ((level as f64 / 255.0 - mean) / std) as f32);
            if self.resize == Resize::Letterbox {
                plane.fill(levels[usize::from(self.fill[colour])]);
            }
            let rows = plane.chunks_exact_mut(width).skip(top);
            for (row, pixels) in rows.zip(pixels.chunks_exact(columns * 3)) {
                let (pixels, _) = pixels.as_chunks::<3>();
                for (value, pixel) in row[left..].iter_mut().zip(pixels) {
                    *value = levels[usize::from(pixel[colour])];
                }
            }
        }
    }
}
