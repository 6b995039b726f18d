//! Pictures as files that any other program reads as we do.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::container::{self, Format};
use super::orientation::Orientation;
use super::{Picture, Source};
use crate::error::{Error, Result};

/// Larger files are decoded here and sent as what a model may need of them.
const LARGEST: usize = 1 << 20;
/// A JPEG may be decoded smaller as long as its sides keep this many pixels.
const KEPT: u32 = 1024;

impl Source {
    /// A JPEG or PNG file of the picture, with its media type: the file itself if it is one, is small, and needs no
    /// turning and has no transparency, about which programs differ; otherwise a PNG file of the upright picture.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
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

/// The media type of a file that everybody reads alike.
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
