//! Decodes PNG, WebP, GIF and BMP to RGB with the pure-Rust decoders of `image`.

use std::borrow::Cow;
use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::Picture;
use super::budget::DECODERS;
use super::container::{Format, gif_screen, webp_frame_sizes};
use super::limits::{check_size, max_memory};
use super::png;
use super::samples::to_rgb;

/// Decodes the stored picture without turning it; of an animation, the first frame.
pub(super) fn decode(format: Format, file: &[u8]) -> Result<Picture, String> {
    let mut bytes = Cow::Borrowed(file);
    let image_format = match format {
        Format::Png => {
            bytes = png::readable(file)?;
            ImageFormat::Png
        }
        Format::WebP => {
            webp_frame_sizes(file).into_iter().try_for_each(|(width, height)| check_size(width, height))?;
            ImageFormat::WebP
        }
        Format::Gif => {
            if let Some(&[w0, w1, h0, h1]) = file.get(6..10).and_then(<[u8]>::first_chunk) {
                // An empty screen grows to its first frame.
                let side = |low, high| u32::from(u16::from_le_bytes([low, high])).max(1);
                check_size(side(w0, w1), side(h0, h1))?;
            }
            let (width, height) = gif_screen(file).ok_or("damaged or cut off GIF data (it has no picture)")?;
            // The first frame may reach beyond the screen, which then grows.
            let [w0, w1] = width.to_le_bytes();
            let [h0, h1] = height.to_le_bytes();
            if bytes[6..10] != [w0, w1, h0, h1] {
                bytes.to_mut()[6..10].copy_from_slice(&[w0, w1, h0, h1]);
            }
            ImageFormat::Gif
        }
        Format::Bmp => ImageFormat::Bmp,
        Format::Jpeg => return Err("JPEG has a separate decoder".to_string()),
    };
    let failed = |error: image::ImageError| {
        format!("damaged or cut off {} data ({error}); save it again from its original", format.name())
    };
    let most = max_memory()?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(most);
    let mut reader = ImageReader::with_format(Cursor::new(&bytes[..]), image_format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let color = decoder.color_type();
    let needed = decoder.total_bytes();
    if needed > most {
        return Err(format!(
            "{width}x{height} pixels of type {color:?} need {} MiB of memory, the limit is {}; \
             make it smaller or store 8 bits per channel",
            needed >> 20,
            most >> 20
        ));
    }
    let pixels = u64::from(width) * u64::from(height);
    let copies = match color {
        ColorType::L8 | ColorType::La8 | ColorType::L16 => 3 * pixels,
        _ => 0,
    };
    // These two keep a frame beside the pixels.
    let frame = if matches!(format, Format::WebP | Format::Gif) { 4 * pixels } else { 0 };
    let _share = DECODERS.take(needed + copies + frame);
    let mut samples = vec![0; needed as usize];
    decoder.read_image(&mut samples).map_err(failed)?;
    if format == Format::Bmp && color == ColorType::Rgba8 {
        fill_unused_alpha(&mut samples);
    }
    Ok(Picture {
        width,
        height,
        pixels: to_rgb(color, samples)?,
        full: (width, height),
        shrink: 1,
        shrinks: false,
        lead: [0; 2],
        of: None,
    })
}

/// Makes a BMP opaque if its alpha is 0 everywhere, as many programs write it.
fn fill_unused_alpha(samples: &mut [u8]) {
    let (pixels, _) = samples.as_chunks_mut::<4>();
    if pixels.iter().all(|pixel| pixel[3] == 0) {
        pixels.iter_mut().for_each(|pixel| pixel[3] = 255);
    }
}
