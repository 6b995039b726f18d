//! Decodes a path, bytes or pixels into an upright RGB picture, within limits.
//!
//! The format is read from the first bytes, never from the file name. The size is checked in the header before memory
//! is allocated, and all decoders of the process share one memory budget. Decoding applies the EXIF orientation,
//! composites alpha over white, and reduces 16 bits to 8. A panic of a decoder becomes an error.

mod budget;
mod container;
mod crop;
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

pub use self::crop::Crop;
pub use self::foreign::{Opened, Reader, set_foreign_reader};
pub use self::limits::{MAX_FILE, MAX_PIXELS, MAX_SIDE};
pub use self::orientation::OrientationTexts;
pub use self::samples::Samples;
pub use self::transfer::extensions;

/// JPEG quality of thumbnails: small files without visible artifacts at that size.
const THUMBNAIL_QUALITY: i32 = 85;

/// An upright RGB picture: rows from top to bottom, three bytes per pixel.
#[derive(Clone, PartialEq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    full: (u32, u32),
    shrink: u32,
    /// Whether the decoder can reduce the size.
    shrinks: bool,
    /// Pixels of the full size on the left and above that do not belong to the picture.
    lead: [u32; 2],
    /// The full size of the picture that this is a part of, and the part.
    of: Option<((u32, u32), Crop)>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{}, 1/{} of {}x{})", self.width, self.height, self.shrink, self.full.0, self.full.1)
    }
}

impl Picture {
    /// Checks that a picture may have this size, before pixels are copied.
    ///
    /// # Errors
    /// [`Error::Argument`] if a side is 0 or beyond the limits.
    pub fn check_size(width: u32, height: u32) -> Result<()> {
        check_size(width, height).map_err(Error::Argument)
    }

    /// Makes a picture of `width` × `height` pixels, three bytes each, rows from top to bottom.
    ///
    /// # Errors
    /// [`Error::Argument`] if a side is 0 or beyond the limits, or `pixels` has another length.
    pub fn from_rgb(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        Self::check_size(width, height)?;
        let expected = width as usize * height as usize * 3;
        if pixels.len() != expected {
            let given = pixels.len();
            return Err(Error::argument(format!("{width}x{height} RGB pixels are {expected} bytes, not {given}")));
        }
        Ok(Self { width, height, pixels, full: (width, height), shrink: 1, shrinks: false, lead: [0; 2], of: None })
    }

    /// Makes a picture from `channels` samples per pixel: 1 is gray, 3 are red, green and blue, and a fourth is alpha,
    /// which is composited over white.
    ///
    /// # Errors
    /// [`Error::Argument`] as for [`from_rgb`](Self::from_rgb), and if floats are NaN or not from 0 to 1.
    pub fn from_samples(width: u32, height: u32, channels: usize, samples: Samples) -> Result<Self> {
        Self::from_rgb(width, height, samples.into_rgb(channels).map_err(Error::Argument)?)
    }

    /// Turns the picture as the orientation texts of its file say.
    pub fn oriented(self, texts: &OrientationTexts<'_>) -> Self {
        texts.orientation().unwrap_or_default().apply(self)
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns red, green and blue of each pixel, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Returns the pixels without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Returns width and height of the upright picture in the file, before the decoder reduced it.
    pub fn full_size(&self) -> (u32, u32) {
        self.full
    }

    /// Returns the scale at which the picture was decoded: 1, 1/2, 1/4 or 1/8 of the full size.
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

    /// Returns a small copy, neither side longer than `side` and never enlarged.
    ///
    /// # Errors
    /// [`Error::Argument`] when `side` is 0.
    pub fn reduced(&self, side: u32) -> Result<Self> {
        self.fitted(side).map_err(|reason| Error::argument(format!("a small copy {reason}")))
    }

    fn small(&self, side: u32, quality: i32) -> Result<Vec<u8>, String> {
        jpeg::encode(&self.fitted(side)?, quality)
    }

    fn fitted(&self, side: u32) -> Result<Self, String> {
        if side == 0 {
            return Err("needs a side of 1 pixel or more".into());
        }
        let (width, height) = self.full;
        let ratio = (f64::from(side) / f64::from(width.max(height))).min(1.0);
        let fit = |length: u32| ((f64::from(length) * ratio).round() as u32).max(1);
        shrink(self, fit(width), fit(height))
    }

    /// Returns the left and upper margin in pixels, from 0 to below 1, that does not belong to the full picture. It is
    /// not 0 only if the picture was decoded at a reduced scale and turned or cropped: the decoder rounds sides up at the
    /// end, turning moves the end to the front, and a part may begin within a pixel.
    pub fn margin(&self) -> [f64; 2] {
        self.lead.map(|pixels| f64::from(pixels) * self.scale())
    }
}

/// A picture to decode: a file, bytes, pixels, or a part of one of these.
///
/// ```
/// use std::sync::Arc;
///
/// use plushie_search::picture::{Picture, Source};
///
/// let picture = Picture::from_rgb(2, 1, vec![255, 0, 0, 0, 0, 255])?;
/// let source = Source::Pixels { name: "two dots".into(), picture: Arc::new(picture) };
/// let (media, file) = source.file()?;
/// assert_eq!((media, plushie_search::picture::sniff(&file)), ("image/png", Some("PNG")));
///
/// let read = Source::Bytes { name: "two dots".into(), bytes: file.into() }.decode(None)?;
/// assert_eq!((read.width(), read.height(), read.pixels()), (2, 1, &[255, 0, 0, 0, 0, 255][..]));
/// # Ok::<(), plushie_search::Error>(())
/// ```
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// The bytes of a file.
    Bytes {
        /// The name in error messages.
        name: String,
        /// A JPEG, PNG, WebP, GIF or BMP file, or one that the registered reader knows.
        bytes: Arc<[u8]>,
    },
    /// Pixels in memory.
    Pixels {
        /// The name in error messages.
        name: String,
        /// The picture.
        picture: Arc<Picture>,
    },
    /// A part of a picture.
    Part {
        /// The whole picture.
        of: Box<Source>,
        /// The part.
        crop: Crop,
    },
}

impl Source {
    /// Returns the picture by another name.
    ///
    /// # Errors
    /// [`Error::Argument`] for a file, whose name is its path.
    pub fn named(self, name: String) -> Result<Self> {
        match self {
            Self::Bytes { bytes, .. } => Ok(Self::Bytes { name, bytes }),
            Self::Pixels { picture, .. } => Ok(Self::Pixels { name, picture }),
            Self::Part { of, crop } => Ok(Self::Part { of: Box::new(of.named(name)?), crop }),
            Self::Path(path) => Err(Error::argument(format!(
                "name {name:?}: the picture is the file {}, whose path is its name; give None in its place",
                path.display()
            ))),
        }
    }

    /// Returns the path, or the name that the caller gave.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Bytes { name, .. } | Self::Pixels { name, .. } => name.clone(),
            Self::Part { of, .. } => of.name(),
        }
    }

    /// Reads a file into memory, named by its path. Other sources are shared, not copied.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Picture`] if it is not a regular file or too large.
    pub fn read(&self) -> Result<Self> {
        Ok(match self {
            Self::Path(path) => Self::Bytes { name: self.name(), bytes: read_file(path)?.into() },
            Self::Part { of, crop } => Self::Part { of: Box::new(of.read()?), crop: *crop },
            other => other.clone(),
        })
    }

    /// Returns the SHA-256 of the file's bytes. For pixels, returns the SHA-256 of width and height (little-endian, 4
    /// bytes each) and the pixels; for a part, that of the whole picture's digest and the box (little-endian, 8 bytes each).
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
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
            Self::Part { of, crop } => Sha256::new()
                .chain_update(of.digest()?)
                .chain_update(crop.edges().map(f64::to_le_bytes).concat())
                .finalize()
                .into(),
        })
    }

    /// Decodes the upright picture.
    ///
    /// A JPEG far larger than `at_least` (width and height of the upright picture) is decoded at 1/2, 1/4 or 1/8 of
    /// its size, which is much faster, but never below `at_least`. `None` decodes every pixel.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and [`Error::Picture`] if the data is not a picture, damaged, or beyond the
    /// limits.
    pub fn decode(&self, at_least: Option<(u32, u32)>) -> Result<Picture> {
        self.decode_into(at_least, Vec::new())
    }

    /// [`decode`](Self::decode) into reused memory.
    pub(crate) fn decode_into(&self, at_least: Option<(u32, u32)>, memory: Vec<u8>) -> Result<Picture> {
        let decoded = match self {
            Self::Path(path) => decode(&read_file(path)?, at_least, memory),
            Self::Bytes { bytes, .. } => decode(bytes, at_least, memory),
            Self::Pixels { picture, .. } => return Ok(Picture::clone(picture)),
            Self::Part { of, crop } => {
                let whole = at_least.map(|at_least| crop.around(at_least));
                return Ok(of.decode_into(whole, memory)?.cropped(*crop));
            }
        };
        decoded.map_err(|reason| Error::picture(self.name(), reason))
    }

    /// Makes a reduced copy as a JPEG file: no side longer than `side`, never enlarged, without metadata. `quality` is
    /// libjpeg's, 1 to 100, by default 85.
    ///
    /// # Errors
    /// Those of [`decode`](Self::decode); [`Error::Argument`] if `side` is 0 or `quality` is not from 1 to 100.
    pub fn thumbnail(&self, side: u32, quality: Option<u8>) -> Result<Vec<u8>> {
        if side == 0 {
            return Err(Error::argument("the side of a thumbnail is 0: use 1 or more pixels"));
        }
        let quality = quality.map_or(THUMBNAIL_QUALITY, i32::from);
        if !(1..=100).contains(&quality) {
            return Err(Error::argument(format!("JPEG quality {quality}: use 1 to 100")));
        }
        // A long side of 2 × `side` is enough for a clean reduction; the short side keeps the aspect ratio.
        let picture = self.decode(Some((side.saturating_mul(2), side.saturating_mul(2))))?;
        picture.small(side, quality).map_err(|reason| Error::picture(self.name(), reason))
    }
}

/// Keeps other threads from starting to decode; see [`crate::store::fork`].
pub(crate) fn hold() -> impl Sized {
    budget::DECODERS.hold()
}

/// Returns the picture format of a file by its first 64 bytes: one decoded here ("JPEG", "PNG", "WebP", "GIF", "BMP")
/// or one decoded by another library ("TIFF", "HEIC", "AVIF", "JPEG XL"). Fewer bytes may not suffice.
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
        lead: [0; 2],
        of: None,
    })
}

fn decode(bytes: &[u8], at_least: Option<(u32, u32)>, memory: Vec<u8>) -> Result<Picture, String> {
    let format = match container::foreign(bytes) {
        Some(format) => return foreign::decode(format, bytes),
        None => Format::sniff(bytes)?,
    };
    let orientation = container::orientation(format, bytes);
    // No state outlives a panic: the JPEG decoder is C and does not unwind, and the others are made for the call.
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
    // Before opening, because opening a pipe waits for a writer.
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(Error::picture(path.display(), "not a regular file; give the path of a picture"));
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
