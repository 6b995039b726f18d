//! PNG, WebP, GIF and BMP to RGB, by the pure-Rust decoders of `image`.

use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader, Limits};

use super::container::{Format, webp_frame_sizes};
use super::samples::to_rgb;
use super::{MAX_MEMORY, Picture, check_size};

/// The stored picture, not yet turned; of an animation the first frame.
pub(super) fn decode(format: Format, bytes: &[u8]) -> Result<Picture, String> {
    let image_format = match format {
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Gif => ImageFormat::Gif,
        Format::Bmp => ImageFormat::Bmp,
        Format::Jpeg => return Err("JPEG has a decoder of its own".to_string()),
    };
    if format == Format::WebP {
        webp_frame_sizes(bytes).into_iter().try_for_each(|(width, height)| check_size(width, height))?;
    }
    let failed = |error: image::ImageError| {
        format!("damaged or cut off {} data ({error}); save it again from its original", format.name())
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), image_format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let color = decoder.color_type();
    if decoder.total_bytes() > MAX_MEMORY {
        let (needed, limit) = (decoder.total_bytes() >> 20, MAX_MEMORY >> 20);
        return Err(format!(
            "{width}x{height} pixels of type {color:?} need {needed} MiB of memory, the limit is {limit}; \
             make it smaller or store 8 bits per channel"
        ));
    }
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples).map_err(failed)?;
    Ok(Picture {
        width,
        height,
        pixels: to_rgb(color, samples)?,
        full: (width, height),
        shrink: 1,
        shrinks: false,
        flipped: [false; 2],
    })
}
