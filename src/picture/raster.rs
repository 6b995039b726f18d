//! PNG, WebP, GIF and BMP to RGB, by the pure-Rust decoders of `image`.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::container::{Format, webp_frame_sizes};
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
    Ok(Picture { width, height, pixels: to_rgb(color, samples)?, full: (width, height), shrink: 1 })
}

/// Samples in native byte order to RGB, transparent ones over white.
fn to_rgb(color: ColorType, mut samples: Vec<u8>) -> Result<Vec<u8>, String> {
    let word = |bytes: [u8; 2]| u16::from_ne_bytes(bytes);
    Ok(match color {
        ColorType::Rgb8 => samples,
        ColorType::L8 => samples.iter().flat_map(|&grey| [grey; 3]).collect(),
        ColorType::La8 => {
            samples.as_chunks().0.iter().flat_map(|&[grey, alpha]| [over_white(grey, alpha); 3]).collect()
        }
        ColorType::L16 => samples.as_chunks().0.iter().flat_map(|&grey| [to_byte(word(grey)); 3]).collect(),
        // From here on a pixel gets smaller, and the memory serves again.
        ColorType::Rgba8 => {
            compact(&mut samples, |&[r, g, b, a]: &[u8; 4]| [over_white(r, a), over_white(g, a), over_white(b, a)]);
            samples
        }
        ColorType::La16 => {
            compact(&mut samples, |&[g0, g1, a0, a1]: &[u8; 4]| [over_white_16(word([g0, g1]), word([a0, a1])); 3]);
            samples
        }
        ColorType::Rgb16 => {
            compact(&mut samples, |&[r0, r1, g0, g1, b0, b1]: &[u8; 6]| {
                [[r0, r1], [g0, g1], [b0, b1]].map(|sample| to_byte(word(sample)))
            });
            samples
        }
        ColorType::Rgba16 => {
            compact(&mut samples, |&[r0, r1, g0, g1, b0, b1, a0, a1]: &[u8; 8]| {
                [[r0, r1], [g0, g1], [b0, b1]].map(|sample| over_white_16(word(sample), word([a0, a1])))
            });
            samples
        }
        other => return Err(format!("pixels of type {other:?} are not supported; save it with 8 bits per channel")),
    })
}

/// Replaces each pixel of `N` bytes by three, from the front, and gives the rest of the memory back.
fn compact<const N: usize>(samples: &mut Vec<u8>, rgb: impl Fn(&[u8; N]) -> [u8; 3]) {
    let count = samples.len() / N;
    for i in 0..count {
        if let Some(pixel) = samples[i * N..].first_chunk() {
            let pixel = rgb(pixel);
            samples[i * 3..i * 3 + 3].copy_from_slice(&pixel);
        }
    }
    samples.truncate(count * 3);
    samples.shrink_to_fit();
}

/// 65535 becomes 255, and what is between is rounded.
fn to_byte(sample: u16) -> u8 {
    ((u32::from(sample) * 255 + 32_767) / 65_535) as u8
}

fn over_white(sample: u8, alpha: u8) -> u8 {
    let (sample, alpha) = (u32::from(sample), u32::from(alpha));
    ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

fn over_white_16(sample: u16, alpha: u16) -> u8 {
    let (sample, alpha) = (u64::from(sample), u64::from(alpha));
    // Both steps in one, so that it is rounded once.
    ((255 * (sample * alpha + 65_535 * (65_535 - alpha)) + 65_535 * 32_767) / (65_535 * 65_535)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_are_rounded_to_eight() {
        assert_eq!([0, 128, 129, 32_767, 65_406, 65_407, 65_535].map(to_byte), [0, 0, 1, 127, 254, 255, 255]);
        for sample in 0..=u16::MAX {
            assert_eq!(to_byte(sample), (f64::from(sample) / 257.0).round() as u8);
            assert_eq!(over_white_16(sample, u16::MAX), to_byte(sample));
            assert_eq!(over_white_16(sample, 0), 255);
        }
    }

    #[test]
    fn alpha_is_laid_over_white() {
        for sample in 0..=255 {
            for alpha in 0..=255 {
                let share = f64::from(alpha) / 255.0;
                let exact = f64::from(sample) * share + 255.0 * (1.0 - share);
                assert!((f64::from(over_white(sample, alpha)) - exact).abs() <= 0.5 + 1e-9);
            }
        }
    }

    #[test]
    fn every_layout_becomes_rgb() {
        let wide = |samples: &[u16]| samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect::<Vec<_>>();
        let rgb = |color, samples: Vec<u8>| to_rgb(color, samples).unwrap();
        assert_eq!(rgb(ColorType::L8, vec![7, 9]), [7, 7, 7, 9, 9, 9]);
        assert_eq!(rgb(ColorType::La8, vec![7, 255, 9, 0]), [7, 7, 7, 255, 255, 255]);
        assert_eq!(rgb(ColorType::Rgb8, vec![1, 2, 3]), [1, 2, 3]);
        assert_eq!(rgb(ColorType::Rgba8, vec![1, 2, 3, 255, 9, 9, 9, 0]), [1, 2, 3, 255, 255, 255]);
        assert_eq!(rgb(ColorType::L16, wide(&[257, 514])), [1, 1, 1, 2, 2, 2]);
        assert_eq!(rgb(ColorType::La16, wide(&[257, 65_535, 9, 0])), [1, 1, 1, 255, 255, 255]);
        assert_eq!(rgb(ColorType::Rgb16, wide(&[257, 514, 771, 0, 257, 0])), [1, 2, 3, 0, 1, 0]);
        assert_eq!(rgb(ColorType::Rgba16, wide(&[257, 514, 771, 65_535, 0, 0, 0, 0])), [1, 2, 3, 255, 255, 255]);
    }
}
