//! A path, bytes or pixels become an upright RGB picture, within limits.
//!
//! What a file is, is read from its first bytes, never from its name. Sizes are checked in the header, before memory is
//! taken for pixels, and all decoders of the process share one budget of memory. EXIF orientation is applied, alpha is laid over white, 16 bits become 8, and a decoder that panics
//! is an error like any other.

mod budget;
mod container;
mod foreign;
mod jpeg;
mod limits;
mod orientation;
mod png;
mod raster;
mod samples;
mod transfer;

use std::fs::{self, File};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

use self::container::Format;
use self::limits::check_size;

pub use self::foreign::{Opened, Reader, set_foreign_reader};
pub use self::limits::{MAX_FILE, MAX_PIXELS, MAX_SIDE};
pub use self::orientation::Told;
pub use self::samples::Samples;
pub use self::transfer::extensions;

/// Of thumbnails: small, and no artifact that the eye sees at that size.
const THUMBNAIL_QUALITY: i32 = 85;

/// An upright picture: rows from top to bottom, each pixel three bytes: red, green, blue.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    full: (u32, u32),
    shrink: u32,
    /// Whether its decoder makes pictures smaller.
    shrinks: bool,
    /// Whether the stored columns and rows have been turned around.
    flipped: [bool; 2],
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{}, 1/{} of {}x{})", self.width, self.height, self.shrink, self.full.0, self.full.1)
    }
}

impl Picture {
    /// Checks that a picture may have so many pixels: before memory is taken for a copy of them.
    ///
    /// # Errors
    /// [`Error::Argument`] when a side is 0 or beyond the limits.
    pub fn check_size(width: u32, height: u32) -> Result<()> {
        check_size(width, height).map_err(Error::Argument)
    }

    /// A picture of `width` × `height` pixels, three bytes each, rows from top to bottom.
    ///
    /// # Errors
    /// [`Error::Argument`] when a side is 0 or beyond the limits, or `pixels` has another length.
    pub fn from_rgb(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        Self::check_size(width, height)?;
        let expected = width as usize * height as usize * 3;
        if pixels.len() != expected {
            let given = pixels.len();
            return Err(Error::argument(format!("{width}x{height} RGB pixels are {expected} bytes, not {given}")));
        }
        Ok(Self { width, height, pixels, full: (width, height), shrink: 1, shrinks: false, flipped: [false; 2] })
    }

    /// A picture of `channels` samples for each pixel: 1 is grey, 3 are red, green, blue, and the fourth is alpha, which
    /// is laid over white.
    ///
    /// # Errors
    /// [`Error::Argument`] as for [`from_rgb`](Self::from_rgb), and when floats are NaN or not from 0 to 1.
    pub fn from_samples(width: u32, height: u32, channels: usize, samples: Samples) -> Result<Self> {
        Self::from_rgb(width, height, samples.into_rgb(channels).map_err(Error::Argument)?)
    }

    /// The picture turned as the texts of its file tell.
    pub fn turned(self, told: &Told<'_>) -> Self {
        told.orientation().unwrap_or_default().apply(self)
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green, blue of each pixel, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Gives the pixels up.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Width and height of the upright picture in its file, before the decoder made it smaller.
    pub fn full_size(&self) -> (u32, u32) {
        self.full
    }

    /// How many of its pixels stand for one pixel of the full size, along each side: 1, or 1/2, 1/4, 1/8.
    pub fn scale(&self) -> f64 {
        1.0 / f64::from(self.shrink)
    }

    /// Whether none of its longer side is missing for a thumbnail of `side`: the decoder did not make it smaller than that.
    pub fn shows(&self, side: u32) -> bool {
        self.width.max(self.height) >= side.min(self.full.0.max(self.full.1))
    }

    /// A small copy as a JPEG file, neither side longer than `side` and never enlarged; no metadata goes with it.
    ///
    /// # Errors
    /// [`Error::Argument`] when `side` is 0 or the JPEG cannot be made.
    pub fn thumbnail(&self, side: u32) -> Result<Vec<u8>> {
        self.small(side, THUMBNAIL_QUALITY).map_err(|reason| Error::argument(format!("a thumbnail {reason}")))
    }

    fn small(&self, side: u32, quality: i32) -> Result<Vec<u8>, String> {
        if side == 0 {
            return Err("needs a side of 1 pixel or more".into());
        }
        let (width, height) = self.full;
        let ratio = (f64::from(side) / f64::from(width.max(height))).min(1.0);
        let fit = |length: u32| ((f64::from(length) * ratio).round() as u32).max(1);
        jpeg::encode(&shrink(self, fit(width), fit(height))?, quality)
    }

    /// Whether it would be the same, had it been decoded for no less than `at_least`.
    pub fn serves(&self, at_least: (u32, u32)) -> bool {
        !self.shrinks || jpeg::shrink(self.full, Some(at_least)) == self.shrink
    }

    /// Where the full picture begins: the part of a pixel that it leaves on the left and above. Only of a picture that
    /// was decoded smaller and turned: the decoder rounds sides up at the end, and turning brings the end to the front.
    pub fn margin(&self) -> [f64; 2] {
        let excess = |side: u32, full: u32| f64::from(side) - f64::from(full) * self.scale();
        let [left, above] = self.flipped;
        [
            if left { excess(self.width, self.full.0) } else { 0.0 },
            if above { excess(self.height, self.full.1) } else { 0.0 },
        ]
    }
}

/// Where a picture comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// The bytes of a file.
    Bytes {
        /// What to call it in messages.
        name: String,
        /// A JPEG, PNG, WebP, GIF or BMP file, or one that the registered reader knows.
        bytes: Arc<[u8]>,
    },
    /// Pixels that somebody else has decoded or drawn.
    Pixels {
        /// What to call it in messages.
        name: String,
        /// The picture.
        picture: Arc<Picture>,
    },
}

impl Source {
    /// The path, or what the caller calls it.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Bytes { name, .. } | Self::Pixels { name, .. } => name.clone(),
        }
    }

    /// Reads a file once: its bytes, named by the path. Anything else is already in memory and is only shared.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Picture`] when it is no plain file or too large.
    pub fn read(&self) -> Result<Self> {
        Ok(match self {
            Self::Path(path) => Self::Bytes { name: self.name(), bytes: read_file(path)?.into() },
            other => other.clone(),
        })
    }

    /// SHA-256 of the file's bytes; of pixels, SHA-256 of width, height (little-endian, 4 bytes each) and pixels.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn digest(&self) -> Result<[u8; 32]> {
        Ok(match self {
            Self::Path(path) => Sha256::digest(read_file(path)?).into(),
            Self::Bytes { bytes, .. } => Sha256::digest(bytes).into(),
            Self::Pixels { picture, .. } => Sha256::new()
                .chain_update(picture.width.to_le_bytes())
                .chain_update(picture.height.to_le_bytes())
                .chain_update(&picture.pixels)
                .finalize()
                .into(),
        })
    }

    /// The upright picture.
    ///
    /// A JPEG whose width and height are far above `at_least` is decoded at 1/2, 1/4 or 1/8 of its size, which is much
    /// faster, but never below `at_least` (of the upright picture). `None` decodes every pixel.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::Picture`] when it is no picture, damaged, or beyond the limits.
    pub fn decode(&self, at_least: Option<(u32, u32)>) -> Result<Picture> {
        self.decode_into(at_least, Vec::new())
    }

    /// [`decode`](Self::decode) into memory that has served before.
    pub(crate) fn decode_into(&self, at_least: Option<(u32, u32)>, memory: Vec<u8>) -> Result<Picture> {
        let decoded = match self {
            Self::Path(path) => decode(&read_file(path)?, at_least, memory),
            Self::Bytes { bytes, .. } => decode(bytes, at_least, memory),
            Self::Pixels { picture, .. } => return Ok(Picture::clone(picture)),
        };
        decoded.map_err(|reason| Error::picture(self.name(), reason))
    }

    /// A small copy as a JPEG file, neither side longer than `side` and never enlarged; no metadata goes with it.
    /// `quality` is libjpeg's, 1 to 100; without it no artifact can be seen.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); [`Error::Argument`] when `side` is 0 or `quality` is not from 1 to 100.
    pub fn thumbnail(&self, side: u32, quality: Option<u8>) -> Result<Vec<u8>> {
        if side == 0 {
            return Err(Error::argument("a thumbnail needs a side of 1 pixel or more"));
        }
        let quality = quality.map_or(THUMBNAIL_QUALITY, i32::from);
        if !(1..=100).contains(&quality) {
            return Err(Error::argument(format!("a JPEG of quality {quality}: use 1 to 100")));
        }
        // A long side of 2 × `side` is enough for a clean reduction; the short side follows the shape.
        let picture = self.decode(Some((side.saturating_mul(2), side.saturating_mul(2))))?;
        picture.small(side, quality).map_err(|reason| Error::picture(self.name(), reason))
    }
}

/// Keeps every other thread from beginning to decode; see [`crate::store::fork`].
pub(crate) fn hold() -> impl Sized {
    budget::DECODERS.hold()
}

/// The picture format of a file by its first 64 bytes, whatever its name: one that is decoded here ("JPEG", "PNG",
/// "WebP", "GIF", "BMP") or one that another program reads ("TIFF", "HEIC", "AVIF", "JPEG XL"). Shorter heads tell less.
pub fn sniff(head: &[u8]) -> Option<&'static str> {
    Format::of(head).map(Format::name).or_else(|| container::foreign(head))
}

fn shrink(picture: &Picture, width: u32, height: u32) -> Result<Picture, String> {
    let source = ImageRef::new(picture.width, picture.height, &picture.pixels, PixelType::U8x3);
    let mut small = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    source
        .map_err(|error| error.to_string())
        .and_then(|source| Resizer::new().resize(&source, &mut small, &options).map_err(|error| error.to_string()))?;
    Ok(Picture {
        width,
        height,
        pixels: small.into_vec(),
        full: (width, height),
        shrink: 1,
        shrinks: false,
        flipped: [false; 2],
    })
}

fn decode(bytes: &[u8], at_least: Option<(u32, u32)>, memory: Vec<u8>) -> Result<Picture, String> {
    let format = match container::foreign(bytes) {
        Some(format) => return foreign::decode(format, bytes),
        None => Format::sniff(bytes)?,
    };
    let orientation = container::orientation(format, bytes);
    // No state outlives a panic: the thread's JPEG decoder is C and does not unwind, the rest is made for the call.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Jpeg => {
            let at_least = at_least.map(|(w, h)| if orientation.swaps_sides() { (h, w) } else { (w, h) });
            jpeg::decode(bytes, at_least, memory)
        }
        Format::Png | Format::WebP | Format::Gif | Format::Bmp => raster::decode(format, bytes),
    }));
    let picture = decoded.unwrap_or_else(|_| {
        Err("the decoder gave up on damaged data; save the picture again from its original".to_string())
    })?;
    Ok(orientation.apply(picture))
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let too_large = || {
        let reason = format!("the file is larger than {} MiB; make the picture smaller first", MAX_FILE >> 20);
        Error::picture(path.display(), reason)
    };
    // Before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(Error::picture(path.display(), "not a plain file; give the path of a picture"));
    }
    if metadata.len() > MAX_FILE {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_FILE { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_must_fit_their_size() {
        assert!(Picture::from_rgb(2, 1, vec![0; 6]).is_ok());
        for (width, height, length) in [(2, 1, 5), (0, 1, 0), (65_536, 1, 65_536 * 3), (20_000, 10_000, 3)] {
            assert!(Picture::from_rgb(width, height, vec![0; length]).is_err(), "{width}x{height}");
        }
    }

    #[test]
    fn a_format_is_told_by_the_first_bytes() {
        let box_of =
            |brands: &[&[u8]]| [&[0, 0, 0, 8 + 4 * brands.len() as u8], &b"ftyp"[..], &brands.concat()].concat();
        let bmp = |header: u8| [b"BM", &[0; 12][..], &[header], &[0; 60]].concat();
        for (head, format) in [
            (&b"\xff\xd8\xff\xe0"[..], Some("JPEG")),
            (b"\x89PNG\r\n\x1a\n", Some("PNG")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("WebP")),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"GIF89a", Some("GIF")),
            (&bmp(40), Some("BMP")),
            (&bmp(41), None),
            (b"BM is how this text of some length begins", None),
            (b"II*\0\x08\0\0\0", Some("TIFF")),
            (b"MM\0\x2b\0\x08\0\0", Some("TIFF")),
            (b"\xff\x0a\x01", Some("JPEG XL")),
            (b"\0\0\0\x0cJXL \r\n\x87\n", Some("JPEG XL")),
            (&box_of(&[b"heic", b"\0\0\0\0"]), Some("HEIC")),
            (&box_of(&[b"mif1", b"\0\0\0\0", b"mif1", b"avif"]), Some("AVIF")),
            (&box_of(&[b"mif1", b"\0\0\0\0", b"mif1", b"heic"]), Some("HEIC")),
            (&box_of(&[b"isom", b"\0\0\0\0", b"mp42"]), None),
            (b"%PDF-1.7", None),
            (b"", None),
        ] {
            assert_eq!(sniff(head), format, "{head:?}");
        }
    }

    #[test]
    fn a_file_is_read_once_and_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gif");
        fs::write(&path, b"some bytes").unwrap();
        let source = Source::Path(path.clone());
        let read = source.read().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read.name(), path.display().to_string());
        assert_eq!(read.digest().unwrap()[..], Sha256::digest(b"some bytes")[..]);
        let error = read.decode(None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("picture {}: not a JPEG", path.display())), "{error}");
        assert!(matches!(source.digest(), Err(Error::Io { .. })));
        assert!(matches!(Source::Path(folder.path().into()).read(), Err(Error::Picture { .. })));
    }

    #[test]
    fn the_digest_of_pixels_knows_their_shape() {
        let digest = |width, height| {
            let picture = Arc::new(Picture::from_rgb(width, height, vec![7; 18]).unwrap());
            Source::Pixels { name: "pixels".into(), picture }.digest().unwrap()
        };
        assert_eq!(digest(2, 3), digest(2, 3));
        assert_ne!(digest(2, 3), digest(3, 2));
    }

    #[test]
    fn turning_moves_the_partial_pixel_to_the_front() {
        // 101x51 at 1/2 is 51x26: half a pixel too much on the right and below.
        let pixels = (0..51).flat_map(|y| (0..101).flat_map(move |x| [x as u8, y as u8, 0])).collect();
        let bytes = jpeg::encode(&Picture::from_rgb(101, 51, pixels).unwrap(), 90).unwrap();
        let margin = |orientation: u8| {
            let exif =
                [&b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation], &[0; 7]];
            let turned = [&bytes[..2], &exif.concat(), &bytes[2..]].concat();
            let picture = decode(&turned, Some((20, 20)), Vec::new()).unwrap();
            assert_eq!(picture.scale(), 0.5);
            let serves = [(20, 20), (13, 13), (12, 12), (25, 40), (40, 25), (26, 26)].map(|size| picture.serves(size));
            let wide = orientation < 5;
            assert_eq!(serves, [true, true, false, !wide, wide, false]);
            assert_eq!(picture.full_size(), if orientation < 5 { (101, 51) } else { (51, 101) });
            picture.margin()
        };
        let margins: Vec<[f64; 2]> = (1..=8).map(margin).collect();
        let (no, half) = (0.0, 0.5);
        let expected = [[no, no], [half, no], [half, half], [no, half], [no, no], [half, no], [half, half], [no, half]];
        assert_eq!(margins, expected);
    }
}
