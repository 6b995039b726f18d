//! Converts a picture into the pixel tensor of a model.
//!
//! The tensor has the values of the model's training: those of Pillow's antialiased filters and of the usual image
//! processors' rounding of sides and crops, to within one gray level.
//!
//! ```
//! use std::sync::Arc;
//!
//! use plushie_search::picture::{Picture, Source};
//! use plushie_search::preprocess::{Preprocess, Resize};
//!
//! let picture = Picture::from_rgb(4, 2, [[255, 0, 0]; 8].concat())?;
//! let source = Source::Pixels { name: "red".into(), picture: Arc::new(picture) };
//! let preprocess = Preprocess::new(Resize::Crop, [2, 2], [0.5; 3], [0.5; 3])?;
//! assert_eq!(preprocess.load_all(&[source])?, [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]);
//! # Ok::<(), plushie_search::Error>(())
//! ```

mod options;
mod resample;
mod shared_decode;
mod view;

use std::array;
use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::picture::{Picture, Source};

use self::resample::Scratch;

pub use self::options::{Center, Channels, Filter, Resize};
pub use self::shared_decode::{DecodePlan, SharedDecode};
pub use self::view::View;

/// The longest side of a tensor.
const MAX_SIDE: usize = 4096;
/// The pixels that a reduced JPEG keeps for each pixel of the tensor, along each side.
const OVERSAMPLING: u32 = 2;

/// The mean that CLIP subtracts, as most models after it.
pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// The standard deviation that CLIP divides by.
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
    #[serde(skip_serializing_if = "Center::is_default")]
    center: Center,
}

/// The manifest's fields, before they are checked.
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
    #[serde(default)]
    center: Center,
}

fn white() -> [u8; 3] {
    [255; 3]
}

impl TryFrom<Fields> for Preprocess {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        let Fields { resize, size, resize_to, filter, mean, std, fill, channels, center } = fields;
        Self { resize, size, resize_to, filter, mean, std, fill, channels, center }.checked()
    }
}

/// The region that is resampled, in pixels of the full size, and its position in the tensor: left, top, width and
/// height of each.
#[derive(Debug, PartialEq)]
struct Placement {
    from: [f64; 4],
    to: [usize; 4],
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Preprocess {
    /// Makes the preprocessing for `size`, height and width. `mean` and `std` apply to values from 0 to 1, in the
    /// order of the channels.
    ///
    /// By default it is bicubic, fills with white, and has planes in the order red, green, blue; the `with_…` methods
    /// change that.
    ///
    /// # Errors
    /// [`Error::Argument`] if a side is not from 1 to 4096, a number is not finite, or a `std` is 0.
    pub fn new(resize: Resize, size: [usize; 2], mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        let (filter, fill, channels) = (Filter::default(), white(), Channels::default());
        Self { resize, size, resize_to: None, filter, mean, std, fill, channels, center: Center::default() }.checked()
    }

    /// Sets the filter.
    pub fn with_filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Sets the color around a letterboxed picture.
    pub fn with_fill(self, fill: [u8; 3]) -> Self {
        Self { fill, ..self }
    }

    /// Sets the order of the planes, `mean` and `std`.
    pub fn with_channels(self, channels: Channels) -> Self {
        Self { channels, ..self }
    }

    /// Sets the position of the center when an odd number of rows or columns is cropped.
    pub fn with_center(self, center: Center) -> Self {
        Self { center, ..self }
    }

    /// Scales the shorter side to `side` before the center crop, as with 256 and then 224.
    ///
    /// # Errors
    /// [`Error::Argument`] if it does not crop, or `side` is less than the crop.
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

    /// Returns height and width of the tensor.
    pub fn shape(&self) -> (usize, usize) {
        (self.size[0], self.size[1])
    }

    /// Returns the number of values in the tensor of one picture: three planes.
    pub fn tensor_len(&self) -> usize {
        3 * self.size[0] * self.size[1]
    }

    /// Returns the least width and height at which a picture may be decoded for this model.
    pub fn at_least(&self) -> (u32, u32) {
        let [height, width] = self.size.map(|side| side.max(self.resize_to.unwrap_or(0)) as u32 * OVERSAMPLING);
        (width, height)
    }

    /// Returns the tensors of many pictures, one after another.
    ///
    /// # Errors
    /// Those of [`load`](Self::load), for the first picture that fails.
    pub fn load_all(&self, sources: &[Source]) -> Result<Vec<f32>> {
        let mut tensors = vec![0.0; sources.len() * self.tensor_len()];
        let outs = tensors.chunks_exact_mut(self.tensor_len());
        sources.iter().zip(outs).try_for_each(|(source, out)| self.load(source, out))?;
        Ok(tensors)
    }

    /// Decodes, resizes and normalizes a picture into `out`: three planes of rows.
    ///
    /// # Errors
    /// Those of [`Source::decode`]; [`Error::Argument`] if `out` does not have [`tensor_len`](Self::tensor_len)
    /// values.
    pub fn load(&self, source: &Source, out: &mut [f32]) -> Result<()> {
        self.decoded(source, |picture| self.apply(picture, out))
    }

    /// Calls `then` with the picture, decoded for this model.
    fn decoded(&self, source: &Source, then: impl FnOnce(&Picture) -> Result<()>) -> Result<()> {
        if let Source::Pixels { picture, .. } = source {
            return then(picture);
        }
        let memory = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.decoded));
        let picture = source.decode_into(Some(self.at_least()), memory)?;
        then(&picture)?;
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.decoded = picture.into_pixels();
            scratch.tidy();
        });
        Ok(())
    }

    /// Resizes and normalizes a picture into `out`: three planes of rows.
    ///
    /// # Errors
    /// [`Error::Argument`] if `out` does not have [`tensor_len`](Self::tensor_len) values.
    pub fn apply(&self, picture: &Picture, out: &mut [f32]) -> Result<()> {
        self.check_len(out)?;
        self.resampled(picture, |pixels, place| self.normalize(pixels, place, out))
    }

    /// Calls `then` with the pixels of the tensor and their position in it: left, top, columns.
    fn resampled<T>(&self, picture: &Picture, then: impl FnOnce(&[[u8; 3]], [usize; 3]) -> T) -> Result<T> {
        let Placement { from, to: [left, top, columns, rows] } = self.placement(picture.full_size());
        SCRATCH.with_borrow_mut(|scratch| {
            let pixels = scratch.resample(picture, self.filter, from, (columns, rows)).map_err(|error| {
                Error::argument(format!("{picture:?} cannot be resized to {columns}x{rows}: {error}"))
            })?;
            let done = then(pixels, [left, top, columns]);
            scratch.tidy();
            Ok(done)
        })
    }

    fn check_len(&self, out: &[f32]) -> Result<()> {
        let (given, expected) = (out.len(), self.tensor_len());
        match given == expected {
            true => Ok(()),
            false => Err(Error::argument(format!("the tensor has {given} values; pass one of {expected}"))),
        }
    }

    /// Returns whether `other` has the same pixels, apart from their normalization.
    fn has_same_pixels(&self, other: &Self) -> bool {
        let seen = |by: &Self| (by.resize, by.size, by.resize_to, by.filter, by.center);
        seen(self) == seen(other)
    }

    /// Plans the resampling of a picture of this width and height.
    fn placement(&self, full: (u32, u32)) -> Placement {
        let [height, width] = self.size.map(|side| side as u64);
        let (w, h) = (u64::from(full.0), u64::from(full.1));
        let whole = [0.0, 0.0, w as f64, h as f64];
        match self.resize {
            Resize::Squash => Placement { from: whole, to: [0, 0, self.size[1], self.size[0]] },
            Resize::Letterbox => {
                let ratio = (height as f64 / h as f64).min(width as f64 / w as f64);
                let fit = |length: u64, limit: u64| ((length as f64 * ratio).round_ties_even() as u64).clamp(1, limit);
                let (columns, rows) = (fit(w, width), fit(h, height));
                let to = [(width - columns) / 2, (height - rows) / 2, columns, rows];
                Placement { from: whole, to: to.map(|length| length as usize) }
            }
            Resize::Crop => {
                let (cover_w, cover_h) = self.resize_to.map_or((width, height), |side| (side as u64, side as u64));
                // The longer side is rounded down.
                let (columns, rows) =
                    if w * cover_h <= h * cover_w { (cover_w, cover_w * h / w) } else { (cover_h * w / h, cover_h) };
                let (across, down) = (w as f64 / columns as f64, h as f64 / rows as f64);
                let (left, top) = (self.center.before(columns - width), self.center.before(rows - height));
                let from = [left as f64 * across, top as f64 * down, width as f64 * across, height as f64 * down];
                Placement { from, to: [0, 0, self.size[1], self.size[0]] }
            }
        }
    }

    /// Writes the pixels into the planes, at `left` and `top` with `columns` per row.
    fn normalize(&self, pixels: &[[u8; 3]], place: [usize; 3], out: &mut [f32]) {
        let ([left, top, columns], [height, width]) = (place, self.size);
        let channels = if self.channels == Channels::Bgr { [2, 1, 0] } else { [0, 1, 2] };
        let level = |plane: usize, level: usize| {
            let (mean, std) = (f64::from(self.mean[plane]), f64::from(self.std[plane]));
            ((level as f64 / 255.0 - mean) / std) as f32
        };
        let levels: [[f32; 256]; 3] = array::from_fn(|plane| array::from_fn(|value| level(plane, value)));
        if self.resize == Resize::Letterbox {
            for (plane, values) in out.chunks_exact_mut(height * width).enumerate() {
                values.fill(levels[plane][usize::from(self.fill[channels[plane]])]);
            }
        }
        let (first, rest) = out.split_at_mut(height * width);
        let (second, third) = rest.split_at_mut(height * width);
        for (row, pixels) in pixels.chunks_exact(columns).enumerate() {
            let start = (top + row) * width + left;
            let [a, b, c] = [&mut *first, second, third].map(|plane| &mut plane[start..start + columns]);
            for (((a, b), c), pixel) in a.iter_mut().zip(b).zip(c).zip(pixels) {
                *a = levels[0][usize::from(pixel[channels[0]])];
                *b = levels[1][usize::from(pixel[1])];
                *c = levels[2][usize::from(pixel[channels[2]])];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preprocess(resize: Resize, size: [usize; 2]) -> Preprocess {
        Preprocess::new(resize, size, [0.0; 3], [1.0 / 255.0; 3]).unwrap()
    }

    #[test]
    fn the_middle_is_cut_out_of_the_covering_size() {
        // 640x480 becomes 298x224 (298.67 rounded down), of which 37 columns go on either side.
        let plan = preprocess(Resize::Crop, [224, 224]).placement((640, 480));
        let across = 640.0 / 298.0;
        assert_eq!(plan, Placement { from: [37.0 * across, 0.0, 224.0 * across, 480.0], to: [0, 0, 224, 224] });
        // 100x301: the longer side becomes 674, and of the odd 450 rows 225 go above.
        let plan = preprocess(Resize::Crop, [224, 224]).placement((100, 301));
        let down = 301.0 / 674.0;
        assert_eq!(plan, Placement { from: [0.0, 225.0 * down, 100.0, 224.0 * down], to: [0, 0, 224, 224] });
    }

    #[test]
    fn an_odd_number_of_columns_has_two_middles() {
        // 299 and 301 columns, of which 224 remain: 75 and 77 are cut off.
        for (width, down, even) in [(299, 37.0, 38.0), (301, 38.0, 38.0)] {
            let settings = preprocess(Resize::Crop, [224, 224]);
            assert_eq!(settings.placement((width, 224)).from, [down, 0.0, 224.0, 224.0]);
            assert_eq!(settings.with_center(Center::Even).placement((width, 224)).from, [even, 0.0, 224.0, 224.0]);
        }
    }

    #[test]
    fn the_shorter_side_may_be_longer_than_the_crop() {
        let settings = preprocess(Resize::Crop, [224, 224]).with_resize_to(256).unwrap();
        assert_eq!(
            settings.placement((512, 512)),
            Placement { from: [32.0, 32.0, 448.0, 448.0], to: [0, 0, 224, 224] }
        );
        assert_eq!(settings.at_least(), (512, 512));
        assert!(settings.clone().with_resize_to(200).is_err());
    }

    #[test]
    fn a_letterbox_is_centerd_and_never_empty() {
        let settings = preprocess(Resize::Letterbox, [100, 200]);
        assert_eq!(settings.placement((50, 100)).to, [75, 0, 50, 100]);
        assert_eq!(settings.placement((1000, 100)).to, [0, 40, 200, 20]);
        assert_eq!(settings.placement((16_384, 1)).to, [0, 49, 200, 1]);
    }

    #[test]
    fn planes_follow_the_channels() {
        let picture = Picture::from_rgb(2, 1, vec![10, 20, 30, 40, 50, 60]).unwrap();
        let settings = Preprocess::new(Resize::Squash, [1, 2], [0.0, 0.5, 1.0], [1.0, 0.5, 2.0]).unwrap();
        let mut tensor = vec![0.0; 6];
        settings.apply(&picture, &mut tensor).unwrap();
        let level = |value: f32, mean: f32, std: f32| (value / 255.0 - mean) / std;
        let close = |tensor: &[f32], expected: [f32; 6]| tensor.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        let plane = |a, b, mean, std| [level(a, mean, std), level(b, mean, std)];
        let rgb = [plane(10.0, 40.0, 0.0, 1.0), plane(20.0, 50.0, 0.5, 0.5), plane(30.0, 60.0, 1.0, 2.0)].concat();
        assert!(close(&tensor, rgb.try_into().unwrap()), "{tensor:?}");
        settings.with_channels(Channels::Bgr).apply(&picture, &mut tensor).unwrap();
        let bgr = [plane(30.0, 60.0, 0.0, 1.0), plane(20.0, 50.0, 0.5, 0.5), plane(10.0, 40.0, 1.0, 2.0)].concat();
        assert!(close(&tensor, bgr.try_into().unwrap()), "{tensor:?}");
    }

    #[test]
    fn fill_surrounds_a_letterbox() {
        let picture = Picture::from_rgb(1, 1, vec![7, 8, 9]).unwrap();
        let settings = preprocess(Resize::Letterbox, [1, 3]).with_fill([100, 110, 120]);
        let mut tensor = vec![0.0; 9];
        settings.apply(&picture, &mut tensor).unwrap();
        let rounded: Vec<i32> = tensor.iter().map(|value| value.round() as i32).collect();
        assert_eq!(rounded, [100, 7, 100, 110, 8, 110, 120, 9, 120]);
        assert!(settings.apply(&picture, &mut tensor[1..]).is_err());
    }

    #[test]
    fn the_manifest_is_checked() {
        let read = |text: &str| serde_json::from_str::<Preprocess>(text).map_err(|error| error.to_string());
        let plain = r#"{"resize": "squash", "size": [2, 3], "mean": [0, 0, 0], "std": [1, 1, 1]}"#;
        let settings = read(plain).unwrap();
        assert_eq!((settings.shape(), settings.tensor_len(), settings.fill), ((2, 3), 18, [255; 3]));
        assert_eq!(read(&serde_json::to_string(&settings).unwrap()).unwrap(), settings);
        for (from, to, says) in [
            ("squash", "stretch", "unknown variant `stretch`"),
            ("[2, 3]", "[0, 3]", "size [0, 3] must be"),
            ("[1, 1, 1]", "[1, 0, 1]", "other than 0"),
            ("\"mean\"", "\"means\"", "unknown field `means`"),
            ("[0, 0, 0]", "[0, 0]", "array of length 3"),
            ("\"size\"", "\"resize_to\": 5, \"size\"", "goes with resize"),
        ] {
            let error = read(&plain.replace(from, to)).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
