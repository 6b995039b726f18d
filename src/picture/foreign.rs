//! Decodes TIFF, HEIC, AVIF and JPEG XL with a registered reader of another library.

use std::sync::OnceLock;

use super::Picture;
use super::budget::DECODERS;
use super::limits::check_size;

/// A file with its header read.
pub struct Opened {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Decodes the upright picture.
    pub decode: Box<dyn FnOnce() -> Result<Picture, String>>,
}

/// Opens the bytes of a file of this format. An error gives the cause and a cure.
pub type Reader = fn(format: &'static str, bytes: &[u8]) -> Result<Opened, String>;

static READER: OnceLock<Reader> = OnceLock::new();

/// Registers the reader of TIFF, HEIC, AVIF and JPEG XL; later calls have no effect.
pub fn set_foreign_reader(reader: Reader) {
    READER.get_or_init(|| reader);
}

pub(super) fn decode(format: &'static str, bytes: &[u8]) -> Result<Picture, String> {
    let Some(reader) = READER.get() else {
        return Err(format!("{format} is not supported without a registered reader; convert it to JPEG or PNG"));
    };
    let opened = reader(format, bytes)?;
    let (width, height) = opened.size;
    check_size(width, height)?;
    // Four channels, and a copy of them.
    let _share = DECODERS.take(u64::from(width) * u64::from(height) * 8);
    (opened.decode)()
}
