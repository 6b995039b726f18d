//! Blurs a picture so far that no detail of it is left.

use crate::error::Result;
use crate::picture::Picture;

/// The standard deviation of the blur, as a share of the longer side.
const SPREAD: f64 = 0.1;
/// Three means in a row come close to a Gaussian.
const ROUNDS: usize = 3;

/// Returns the picture under a blur of about a Gaussian, whose standard deviation is a tenth of the longer side. Beyond the
/// edges the nearest pixel goes on.
pub(super) fn blurred(picture: &Picture) -> Result<Picture> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let sigma = SPREAD * width.max(height) as f64;
    // The mean of 2r + 1 pixels has the variance r(r + 1) / 3.
    let variance = 3.0 * sigma * sigma / ROUNDS as f64;
    let radius = (((1.0 + 4.0 * variance).sqrt() - 1.0) / 2.0).round().max(1.0) as usize;
    let mut levels: Vec<f32> = picture.pixels().iter().map(|&level| f32::from(level)).collect();
    let mut line = Vec::with_capacity(width.max(height));
    for _ in 0..ROUNDS {
        for row in 0..height {
            for channel in 0..3 {
                mean(&mut levels, row * width * 3 + channel, 3, width, radius, &mut line);
            }
        }
        for column in 0..width {
            for channel in 0..3 {
                mean(&mut levels, column * 3 + channel, width * 3, height, radius, &mut line);
            }
        }
    }
    let pixels = levels.into_iter().map(|level| level.round() as u8).collect();
    Picture::from_rgb(picture.width(), picture.height(), pixels)
}

/// Replaces `count` values from `start` on, each `step` behind the one before, by the means of those around them.
fn mean(values: &mut [f32], start: usize, step: usize, count: usize, radius: usize, line: &mut Vec<f32>) {
    line.clear();
    line.extend((0..count).map(|place| values[start + place * step]));
    let at = |place: isize| f64::from(line[place.clamp(0, count as isize - 1) as usize]);
    let reach = radius as isize;
    let mut sum: f64 = (-reach..=reach).map(at).sum();
    for place in 0..count as isize {
        values[start + place as usize * step] = (sum / (2 * reach + 1) as f64) as f32;
        sum += at(place + reach + 1) - at(place - reach);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_keeps_the_mean_and_comes_close_to_a_gaussian() {
        let size = 101_usize;
        let dot = |at: usize| if at == size / 2 * size + size / 2 { 255.0 } else { 0.0 };
        let mut levels: Vec<f32> = (0..size * size).map(dot).collect();
        let mut line = Vec::new();
        let radius = 5;
        for _ in 0..ROUNDS {
            (0..size).for_each(|row| mean(&mut levels, row * size, 1, size, radius, &mut line));
            (0..size).for_each(|column| mean(&mut levels, column, size, size, radius, &mut line));
        }
        let sum: f32 = levels.iter().sum();
        assert!((sum - 255.0).abs() < 0.01, "{sum}");
        let variance: f32 = (levels.iter().enumerate())
            .map(|(at, level)| level * ((at % size) as f32 - (size / 2) as f32).powi(2) / sum)
            .sum();
        let wanted = (radius * (radius + 1)) as f32;
        assert!((variance - wanted).abs() < 0.1, "{variance}");
    }

    #[test]
    fn one_color_stays_and_details_go() {
        let plain = Picture::from_rgb(30, 20, vec![77; 1800]).unwrap();
        assert_eq!(blurred(&plain).unwrap(), plain);
        let checks = (0..1600_u32).flat_map(|at| [if (at / 40 + at) % 2 == 0 { 255 } else { 0 }; 3]).collect();
        let blurred = blurred(&Picture::from_rgb(40, 40, checks).unwrap()).unwrap();
        assert!(blurred.pixels().iter().all(|level| (100..156).contains(level)));
        assert!(super::blurred(&Picture::from_rgb(1, 1, vec![9; 3]).unwrap()).is_ok());
    }
}
