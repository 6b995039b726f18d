//! Converts samples to RGB bytes: gray, alpha, 16 bits, floats.

use image::ColorType;

/// The samples of a picture: rows from top to bottom, the channels of a pixel together.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// From 0 to 255.
    Bytes(Vec<u8>),
    /// From 0 to 65535.
    Words(Vec<u16>),
    /// From 0 to 1.
    Floats(Vec<f32>),
}

/// The tolerance of floats below 0 and above 1, for rounding errors.
const TOLERANCE: f32 = 1e-5;

impl Samples {
    /// Returns RGB bytes; one channel is gray, the fourth is alpha.
    pub(super) fn into_rgb(self, channels: usize) -> Result<Vec<u8>, String> {
        let bytes = |channels| match channels {
            1 => Ok(ColorType::L8),
            3 => Ok(ColorType::Rgb8),
            4 => Ok(ColorType::Rgba8),
            _ => Err(format!("{channels} channels per pixel are not supported; use 1, 3 or 4")),
        };
        match self {
            Self::Bytes(samples) => to_rgb(bytes(channels)?, samples),
            Self::Words(samples) => {
                let color = match bytes(channels)? {
                    ColorType::L8 => ColorType::L16,
                    ColorType::Rgb8 => ColorType::Rgb16,
                    _ => ColorType::Rgba16,
                };
                to_rgb(color, samples.into_iter().flat_map(u16::to_ne_bytes).collect())
            }
            Self::Floats(samples) => {
                let valid = -TOLERANCE..=1.0 + TOLERANCE;
                if let Some(sample) = samples.iter().find(|sample| !valid.contains(*sample)) {
                    let least = samples.iter().copied().fold(f32::INFINITY, f32::min);
                    let most = samples.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    return Err(if sample.is_nan() {
                        "the floats of the picture have NaN; use floats from 0 to 1".to_string()
                    } else {
                        format!("the floats of the picture are from {least} to {most}; use floats from 0 to 1")
                    });
                }
                // The conversion saturates, so a value just outside becomes the end of the range.
                let samples = samples.into_iter().map(|sample| (sample * 255.0).round() as u8).collect();
                to_rgb(bytes(channels)?, samples)
            }
        }
    }
}

/// Converts samples in native byte order to RGB; transparent pixels are composited over white.
pub(super) fn to_rgb(color: ColorType, mut samples: Vec<u8>) -> Result<Vec<u8>, String> {
    let word = |bytes: [u8; 2]| u16::from_ne_bytes(bytes);
    Ok(match color {
        ColorType::Rgb8 => samples,
        ColorType::L8 => samples.iter().flat_map(|&grey| [grey; 3]).collect(),
        ColorType::La8 => {
            samples.as_chunks().0.iter().flat_map(|&[grey, alpha]| [over_white(grey, alpha); 3]).collect()
        }
        ColorType::L16 => samples.as_chunks().0.iter().flat_map(|&grey| [to_byte(word(grey)); 3]).collect(),
        // Below, a pixel shrinks, and its memory is reused.
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

/// Replaces each pixel of `N` bytes by three, from the front, and frees the rest of the memory.
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

/// Scales 0..=65535 to 0..=255, rounded.
fn to_byte(sample: u16) -> u8 {
    ((u32::from(sample) * 255 + 32_767) / 65_535) as u8
}

fn over_white(sample: u8, alpha: u8) -> u8 {
    let (sample, alpha) = (u32::from(sample), u32::from(alpha));
    ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

fn over_white_16(sample: u16, alpha: u16) -> u8 {
    let (sample, alpha) = (u64::from(sample), u64::from(alpha));
    // Both steps in one, to round once.
    ((255 * (sample * alpha + 65_535 * (65_535 - alpha)) + 65_535 * 65_535 / 2) / (65_535 * 65_535)) as u8
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

    #[test]
    fn floats_are_rounded_and_checked() {
        let rgb = |samples: &[f32]| Samples::Floats(samples.to_vec()).into_rgb(1);
        assert_eq!(rgb(&[0.0, 0.5, 1.0]).unwrap(), [0, 0, 0, 128, 128, 128, 255, 255, 255]);
        assert_eq!(rgb(&[-1e-6, 1.000_001]).unwrap(), [0, 0, 0, 255, 255, 255]);
        assert!(rgb(&[0.5, 2.0]).unwrap_err().contains("from 0.5 to 2; use"));
        assert!(rgb(&[0.5, f32::NAN]).unwrap_err().contains("NaN"));
        assert!(rgb(&[f32::NEG_INFINITY]).is_err());
    }

    #[test]
    fn channels_are_one_three_or_four() {
        assert_eq!(Samples::Words(vec![257, 514, 771]).into_rgb(3).unwrap(), [1, 2, 3]);
        assert_eq!(Samples::Bytes(vec![1, 2, 3, 0]).into_rgb(4).unwrap(), [255, 255, 255]);
        assert!(Samples::Bytes(vec![1, 2]).into_rgb(2).is_err());
    }
}
