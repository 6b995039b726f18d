//! Resamples like Pillow, with one buffer per thread for all pictures.

use std::error::Error;

use bytemuck::{cast_slice, cast_slice_mut};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::picture::Picture;

use super::Filter;

/// The largest buffer kept for the next picture, in bytes.
const KEPT_MEMORY: usize = 32 << 20;

/// The buffers for the steps of resampling, reused for every picture.
#[derive(Default)]
pub(super) struct Scratch {
    resizer: Resizer,
    /// The buffer of the decoded picture, between two pictures.
    pub(super) decoded: Vec<u8>,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    sums: Vec<f32>,
    pixels: Vec<u8>,
}

/// One side of the resampled region: `length` pixels from `start` become `count`.
#[derive(Clone, Copy)]
struct Span {
    start: f64,
    length: f64,
    count: usize,
    /// The first pixel under the kernel, and one past the last.
    seen: [usize; 2],
}

impl Span {
    fn new(start: f64, length: f64, limit: u32, count: usize, filter: Filter) -> Self {
        let limit = f64::from(limit);
        // Rounding errors must not lead out of the picture.
        let length = length.min(limit - start);
        let reach = filter.support() * (length / count as f64).max(1.0) + 1.0;
        let seen = [(start - reach).max(0.0) as usize, (start + length + reach).ceil().min(limit) as usize];
        Self { start, length, count, seen }
    }

    /// Returns the number of pixels under the kernel.
    fn breadth(&self) -> usize {
        self.seen[1] - self.seen[0]
    }

    /// Returns, for each new pixel, the first old one with a weight, and its weight and those that follow.
    fn weights(&self, filter: Filter) -> impl Iterator<Item = (usize, Vec<f32>)> {
        let scale = self.length / self.count as f64;
        let stretch = scale.max(1.0);
        let reach = filter.support() * stretch;
        (0..self.count).map(move |i| {
            let center = self.start + (i as f64 + 0.5) * scale;
            let first = ((center - reach).floor().max(0.0) as usize).max(self.seen[0]);
            let last = ((center + reach).ceil() as usize).min(self.seen[1]);
            let weight = |pixel: usize| filter.kernel((pixel as f64 + 0.5 - center) / stretch);
            let sum: f64 = (first..last).map(weight).sum();
            (first, (first..last).map(|pixel| (weight(pixel) / sum) as f32).collect())
        })
    }
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    /// Returns the weight at this distance; Pillow's cubic has a slope of -1/2 at 1.
    fn kernel(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0,
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic | Self::Bilinear => 0.0,
        }
    }

    fn options(self, x: f64, y: f64, width: f64, height: f64) -> ResizeOptions {
        let kernel = match self {
            Self::Bicubic => FilterType::CatmullRom,
            Self::Bilinear => FilterType::Bilinear,
        };
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel)).crop(x, y, width, height)
    }
}

impl Scratch {
    /// Resamples the region `from` (left, top, width, height, in pixels of the full size) to columns and rows.
    pub(super) fn resample(
        &mut self,
        picture: &Picture,
        filter: Filter,
        from: [f64; 4],
        (columns, rows): (usize, usize),
    ) -> Result<&[[u8; 3]], Box<dyn Error>> {
        let [left, above] = picture.margin();
        let [x, y, width, height] = from.map(|length| length * picture.scale());
        let across = Span::new(x + left, width, picture.width(), columns, filter);
        let down = Span::new(y + above, height, picture.height(), rows, filter);
        self.pixels.resize(columns * rows * 3, 0);
        if picture.scale() < 1.0 {
            self.in_floats(picture, filter, across, down)?;
        } else {
            self.in_bytes(picture, filter, across, down)?;
        }
        Ok(self.pixels.as_chunks().0)
    }

    /// Resamples rows first and columns second, rounded in between, as Pillow does. The resizer's own order is the
    /// reverse, which changes every fifth value.
    fn in_bytes(&mut self, picture: &Picture, filter: Filter, across: Span, down: Span) -> Result<(), Box<dyn Error>> {
        let (width, height) = (across.count as u32, down.breadth() as u32);
        self.bytes.resize(across.count * down.breadth() * 3, 0);
        let whole = ImageRef::new(picture.width(), picture.height(), picture.pixels(), PixelType::U8x3)?;
        let mut narrow = Image::from_slice_u8(width, height, &mut self.bytes, PixelType::U8x3)?;
        let mut target = Image::from_slice_u8(width, down.count as u32, &mut self.pixels, PixelType::U8x3)?;
        let top = down.seen[0] as f64;
        let options = filter.options(across.start, top, across.length, f64::from(height));
        self.resizer.resize(&whole, &mut narrow, &options)?;
        let options = filter.options(0.0, down.start - top, f64::from(width), down.length);
        Ok(self.resizer.resize(&narrow, &mut target, &options)?)
    }

    /// Resamples a picture that was decoded at a reduced scale in floats, columns first, which is less work. Each of
    /// its pixels stands for many, so rounding in between would add up.
    fn in_floats(&mut self, picture: &Picture, filter: Filter, across: Span, down: Span) -> Result<(), Box<dyn Error>> {
        let (row, left) = (picture.width() as usize * 3, across.seen[0] * 3);
        self.sums.resize(across.breadth() * down.count * 3, 0.0);
        for (sums, (first, weights)) in self.sums.chunks_exact_mut(across.breadth() * 3).zip(down.weights(filter)) {
            weigh(&picture.pixels()[first * row + left..], row, &weights, sums);
        }
        self.floats.resize(across.count * down.count * 3, 0.0);
        let (breadth, rows) = (across.breadth() as u32, down.count as u32);
        let short = ImageRef::new(breadth, rows, cast_slice(&self.sums), PixelType::F32x3)?;
        let floats = cast_slice_mut(&mut self.floats);
        let mut target = Image::from_slice_u8(across.count as u32, rows, floats, PixelType::F32x3)?;
        let options = filter.options(across.start - across.seen[0] as f64, 0.0, across.length, f64::from(rows));
        self.resizer.resize(&short, &mut target, &options)?;
        for (byte, value) in self.pixels.iter_mut().zip(&self.floats) {
            // 2^23 leaves no bits for a fraction, so the sum is rounded and its low bits are the integer; this is
            // several times faster than a cast.
            *byte = (value.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8;
        }
        Ok(())
    }

    /// Frees the buffers of an unusually large picture.
    pub(super) fn tidy(&mut self) {
        if self.resizer.size_of_internal_buffers() > KEPT_MEMORY {
            self.resizer.reset_internal_buffers();
        }
        for bytes in [&mut self.decoded, &mut self.bytes, &mut self.pixels] {
            if bytes.capacity() > KEPT_MEMORY {
                *bytes = Vec::new();
            }
        }
        for floats in [&mut self.floats, &mut self.sums] {
            if floats.capacity() * size_of::<f32>() > KEPT_MEMORY {
                *floats = Vec::new();
            }
        }
    }
}

/// Adds up as many rows as there are weights, each `row` samples after the other.
fn weigh(samples: &[u8], row: usize, weights: &[f32], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(samples: &[u8], row: usize, weights: &[f32], sums: &mut [f32]) {
            weigh_blocks(samples, row, weights, sums);
        }
        // SAFETY: the processor has what the function is compiled for.
        #[allow(unsafe_code)]
        return unsafe { wide(samples, row, weights, sums) };
    }
    weigh_blocks(samples, row, weights, sums);
}

/// Sums blocks in registers, with the same steps on every processor: no fused multiplication.
#[inline(always)]
fn weigh_blocks(samples: &[u8], row: usize, weights: &[f32], sums: &mut [f32]) {
    const BLOCK: usize = 32;
    let (blocks, rest) = sums.as_chunks_mut::<BLOCK>();
    let done = blocks.len() * BLOCK;
    for (i, block) in blocks.iter_mut().enumerate() {
        let mut sums = [0.0; BLOCK];
        for (k, &weight) in weights.iter().enumerate() {
            let samples = &samples[k * row + i * BLOCK..][..BLOCK];
            for (sum, &sample) in sums.iter_mut().zip(samples) {
                *sum += weight * f32::from(sample);
            }
        }
        *block = sums;
    }
    for (i, sum) in rest.iter_mut().enumerate() {
        *sum = weights.iter().enumerate().map(|(k, weight)| weight * f32::from(samples[k * row + done + i])).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_weighed() {
        let samples: Vec<u8> = (0..3 * 70).map(|i| (i * 37 % 251) as u8).collect();
        let mut sums = vec![0.0; 69];
        weigh(&samples[1..], 70, &[0.5, 0.25], &mut sums);
        for (i, sum) in sums.iter().enumerate() {
            assert_eq!(*sum, 0.5 * f32::from(samples[1 + i]) + 0.25 * f32::from(samples[71 + i]));
        }
    }

    #[test]
    fn weights_sum_to_one_and_are_symmetric() {
        for filter in [Filter::Bicubic, Filter::Bilinear] {
            let side = Span::new(3.0, 20.0, 26, 7, filter);
            let weights: Vec<_> = side.weights(filter).collect();
            assert_eq!(weights.len(), 7);
            for (first, weights) in &weights {
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                assert!(*first >= side.seen[0] && first + weights.len() <= side.seen[1]);
            }
            let middle = &weights[3].1;
            assert!(middle.iter().zip(middle.iter().rev()).all(|(a, b)| (a - b).abs() < 1e-6), "{middle:?}");
        }
    }

    #[test]
    fn floats_and_bytes_agree_to_a_rounding() {
        let pixels = (0..60 * 50 * 3).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let picture = Picture::from_rgb(60, 50, pixels).unwrap();
        for filter in [Filter::Bicubic, Filter::Bilinear] {
            let mut scratch = Scratch::default();
            let size = (23, 31);
            let bytes = scratch.resample(&picture, filter, [5.5, 4.0, 50.0, 40.25], size).unwrap().to_vec();
            let across = Span::new(5.5, 50.0, 60, 23, filter);
            let down = Span::new(4.0, 40.25, 50, 31, filter);
            scratch.in_floats(&picture, filter, across, down).unwrap();
            let worst = scratch.pixels.iter().zip(bytes.as_flattened()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst <= Some(2), "{worst:?}");
        }
    }
}
