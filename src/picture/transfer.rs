//! Encodes pictures as files that other programs decode identically.

use std::borrow::Cow;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::container::{self, Format};
use super::orientation::Orientation;
use super::{Picture, Source, read_file, sniff};
use crate::error::{Error, Result};

/// The largest file sent as it is; larger ones are decoded and reduced.
const LARGEST: usize = 1 << 20;
/// The extension of each format, those first that are met most.
const EXTENSIONS: [(&str, &str); 9] = [
    ("JPEG", "jpg"),
    ("PNG", "png"),
    ("WebP", "webp"),
    ("GIF", "gif"),
    ("BMP", "bmp"),
    ("HEIC", "heic"),
    ("TIFF", "tiff"),
    ("AVIF", "avif"),
    ("JPEG XL", "jxl"),
];
/// The extension of bytes of any other format.
const UNKNOWN: &str = "bin";
/// The shortest side, in pixels, to which a JPEG may be reduced.
const KEPT: u32 = 1024;

impl Source {
    /// Returns the media type and the bytes of a JPEG or PNG file of the picture. A small JPEG or PNG file that needs
    /// no turning and has no transparency is returned as it is; any other becomes a PNG file of the upright picture.
    ///
    /// # Errors
    /// Those of [`decode`](Self::decode).
    pub fn file(&self) -> Result<(&'static str, Vec<u8>)> {
        let source = self.read()?;
        if let Self::Bytes { bytes, .. } = &source
            && let Some(media) = plain(bytes)
        {
            return Ok((media, bytes.to_vec()));
        }
        let picture = source.decode(Some((KEPT, KEPT)))?;
        png(&picture).map(|bytes| ("image/png", bytes)).map_err(|error| Error::picture(self.name(), error))
    }
}

impl Source {
    /// Returns the bytes of a file that keeps the picture without loss, and its usual extension: the file's own bytes as
    /// they are, and pixels as a PNG file. Bytes of a format that is not known get "bin".
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::Picture`] when pixels cannot be written as PNG.
    pub fn original(&self) -> Result<(&'static str, Cow<'_, [u8]>)> {
        let bytes: Cow<'_, [u8]> = match self {
            Self::Bytes { bytes, .. } => Cow::Borrowed(bytes),
            Self::Path(path) => Cow::Owned(read_file(path)?),
            Self::Pixels { .. } | Self::Part { .. } => {
                let file = png(&self.decode(None)?)
                    .map_err(|error| Error::picture(self.name(), format!("cannot be written as PNG ({error})")))?;
                return Ok(("png", Cow::Owned(file)));
            }
        };
        let format = sniff(&bytes[..bytes.len().min(64)]);
        let extension =
            EXTENSIONS.iter().find(|(name, _)| format == Some(*name)).map_or(UNKNOWN, |(_, extension)| extension);
        Ok((extension, bytes))
    }
}

/// The extensions that [`Source::original`] gives.
pub fn extensions() -> impl Iterator<Item = &'static str> {
    EXTENSIONS.iter().map(|(_, extension)| *extension).chain([UNKNOWN])
}

/// Returns the media type of a file that all programs decode identically.
fn plain(bytes: &[u8]) -> Option<&'static str> {
    if bytes.len() > LARGEST {
        return None;
    }
    let format = Format::sniff(bytes).ok()?;
    if container::orientation(format, bytes) != Orientation::default() {
        return None;
    }
    match format {
        Format::Jpeg => Some("image/jpeg"),
        // Eight bits of red, green and blue, and no color that stands for transparency.
        Format::Png if bytes.get(24..26) == Some(&[8, 2]) && !bytes.windows(4).any(|word| word == b"tRNS") => {
            Some("image/png")
        }
        _ => None,
    }
}

fn png(picture: &Picture) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(
        picture.pixels(),
        picture.width(),
        picture.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::picture::jpeg;

    fn bytes(bytes: &[u8]) -> Source {
        Source::Bytes { name: "a".into(), bytes: bytes.into() }
    }

    #[test]
    fn an_original_keeps_every_bit() {
        let pixels: Vec<u8> = (0..5 * 3 * 3).collect();
        let picture = Picture::from_rgb(5, 3, pixels.clone()).unwrap();
        let jpeg = jpeg::encode(&picture, 90).unwrap();
        assert_eq!(bytes(&jpeg).original().unwrap(), ("jpg", Cow::Borrowed(&jpeg[..])));
        assert_eq!(bytes(b"a text").original().unwrap().0, "bin");
        let drawn = Source::Pixels { name: "b".into(), picture: Arc::new(picture) };
        let (extension, file) = drawn.original().unwrap();
        assert_eq!((extension, bytes(&file).decode(None).unwrap().pixels()), ("png", &pixels[..]));
        assert!(extensions().any(|known| known == "bin") && extensions().count() == 10);
    }

    #[test]
    fn plain_files_go_as_they_are_and_others_as_upright_png() {
        let pixels: Vec<u8> = (0..5 * 3 * 3).collect();
        let picture = Picture::from_rgb(5, 3, pixels.clone()).unwrap();
        let jpeg = jpeg::encode(&picture, 90).unwrap();
        assert_eq!(bytes(&jpeg).file().unwrap(), ("image/jpeg", jpeg.clone()));
        let drawn = Source::Pixels { name: "b".into(), picture: Arc::new(picture.clone()) };
        let (media, file) = drawn.file().unwrap();
        assert_eq!((media, bytes(&file).decode(None).unwrap().pixels()), ("image/png", &pixels[..]));
        assert_eq!(bytes(&file).file().unwrap(), ("image/png", file));
        // Turned by a quarter.
        let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
        let (media, file) = bytes(&turned).file().unwrap();
        let upright = bytes(&file).decode(None).unwrap();
        assert_eq!((media, upright.width(), upright.height()), ("image/png", 3, 5));
        assert_eq!(upright.pixels(), bytes(&turned).decode(None).unwrap().pixels());
        assert!(bytes(b"no picture").file().is_err());
    }
}
