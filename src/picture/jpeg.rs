//! Decodes JPEG with libjpeg-turbo through its C interface. The safe wrapper treats every warning as a failure, and
//! photographs with a stray byte are common.
#![allow(unsafe_code)]

mod stream;

use std::ffi::CStr;

use turbojpeg::raw::{
    self, TJCS_TJCS_CMYK, TJCS_TJCS_GRAY, TJCS_TJCS_RGB, TJCS_TJCS_YCCK, TJERR_TJERR_WARNING,
    TJPARAM_TJPARAM_ARITHMETIC, TJPARAM_TJPARAM_COLORSPACE, TJPARAM_TJPARAM_JPEGHEIGHT, TJPARAM_TJPARAM_JPEGWIDTH,
    TJPARAM_TJPARAM_LOSSLESS, TJPARAM_TJPARAM_MAXMEMORY, TJPARAM_TJPARAM_PRECISION, TJPARAM_TJPARAM_PROGRESSIVE,
    TJPARAM_TJPARAM_SCANLIMIT, TJPF_TJPF_CMYK, TJPF_TJPF_GRAY, TJPF_TJPF_RGB,
};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::Picture;
use super::budget::DECODERS;
use super::limits::{check_size, max_memory, max_pixels};

use self::stream::{Stream, coefficients};

/// The largest number of scans: each scan of a progressive file costs time, and encoders write about ten.
const MAX_SCANS: i32 = 100;
/// The largest ratio of a file's pixels to the pixels that may be decoded: reading them costs time, too.
const MAX_FILE_PIXELS: u64 = 16;
/// A picture with its own end marker is complete if fewer than one in this many of its pixels are missing, because a
/// few broken bits shift the pixels that follow.
const FORGIVEN: usize = 50;

/// Decodes the stored picture without turning it, not smaller than `at_least`; `pixels` is memory to reuse.
pub(super) fn decode(bytes: &[u8], at_least: Option<(u32, u32)>, pixels: Vec<u8>) -> Result<Picture, String> {
    let (picture, complaint) = match decode_once(bytes, at_least, pixels) {
        Ok((picture, None)) => return Ok(picture),
        Ok((picture, Some(warning))) => {
            (Some(picture), format!("the JPEG data is cut off ({warning}); copy the file again"))
        }
        // Without an end marker, the decoder fails on a picture or a video that follows.
        Err(error) => (None, error),
    };
    // Pictures with stray bytes, a few broken blocks or no end marker are accepted, as every viewer does; those with
    // missing picture data are not.
    let Some(stream) = Stream::of(bytes).filter(|stream| !stream.torn) else { return Err(complaint) };
    let picture = match picture {
        Some(picture) if stream.closed => picture,
        None if stream.closed => return Err(complaint),
        _ => match decode_once(&stream.ended(bytes), at_least, Vec::new())? {
            (picture, None) => return Ok(picture),
            (picture, Some(_)) => picture,
        },
    };
    let (continued, _) = decode_once(&stream.continued(bytes), at_least, Vec::new())?;
    let ((ended, _), (continued, _)) = (picture.pixels.as_chunks::<3>(), continued.pixels.as_chunks::<3>());
    let missing = ended.iter().zip(continued).filter(|(a, b)| a != b).count();
    let forgiven = if stream.closed { ended.len() / FORGIVEN } else { 0 };
    if missing > forgiven { Err(complaint) } else { Ok(picture) }
}

/// Decodes, and returns the decoder's warning if it could continue.
fn decode_once(
    bytes: &[u8],
    at_least: Option<(u32, u32)>,
    mut pixels: Vec<u8>,
) -> Result<(Picture, Option<String>), String> {
    let mut decoder = Decoder::new()?;
    let full = decoder.read_header(bytes)?;
    let lossless = decoder.get(TJPARAM_TJPARAM_LOSSLESS) == 1;
    let precision = decoder.get(TJPARAM_TJPARAM_PRECISION);
    if precision != 8 {
        return Err(format!("JPEG with {precision} bits per sample is not read; save it with 8, or as a PNG"));
    }
    let shrinks = !lossless;
    let shrink = if shrinks { shrink(full, at_least) } else { 1 };
    let (width, height) = (full.0.div_ceil(shrink), full.1.div_ceil(shrink));
    check_size(width, height)?;
    let in_file = u64::from(full.0) * u64::from(full.1);
    if in_file > max_pixels()?.saturating_mul(MAX_FILE_PIXELS) {
        return Err(format!("{}x{} pixels are beyond the limit of a JPEG file; make it smaller first", full.0, full.1));
    }
    let huffman = decoder.get(TJPARAM_TJPARAM_PROGRESSIVE) == 0 && decoder.get(TJPARAM_TJPARAM_ARITHMETIC) == 0;
    // A block of 64 pixels takes two bits or more, so a file that is far too short is refused before decoding.
    if shrinks && huffman && in_file / 64 / 4 > bytes.len() as u64 {
        return Err(format!(
            "the JPEG data is cut off ({}x{} pixels cannot be in it); copy the file again",
            full.0, full.1
        ));
    }
    let color = decoder.get(TJPARAM_TJPARAM_COLORSPACE) as u32;
    let (channels, format) = match color {
        TJCS_TJCS_CMYK | TJCS_TJCS_YCCK => (4, TJPF_TJPF_CMYK),
        // The library converts no colors of lossless files.
        TJCS_TJCS_GRAY if lossless => (1, TJPF_TJPF_GRAY),
        TJCS_TJCS_RGB => (3, TJPF_TJPF_RGB),
        _ if lossless => return Err("lossless JPEG in YCbCr is not read; save it as a PNG".to_string()),
        _ => (3, TJPF_TJPF_RGB),
    };
    let row = width as usize * channels;
    let output = row as u64 * u64::from(height);
    let (needed, most) = (output + coefficients(bytes), max_memory()?);
    if needed > most {
        return Err(format!(
            "{}x{} pixels of a JPEG in several scans or of four inks need {} MiB of memory, the limit is {}; save it \
             as a baseline JPEG, make it smaller, or set PLUSHIE_MAX_PIXELS to more",
            full.0,
            full.1,
            needed >> 20,
            most >> 20
        ));
    }
    let _share = DECODERS.take(needed);
    pixels.resize(row * height as usize, 0);
    // The decoder does not report whether it reached the end in spite of a warning; a marked last row does.
    let last = pixels.len() - row;
    let mark = |i: usize| (i * 167 + 13) as u8;
    pixels[last..].iter_mut().enumerate().for_each(|(i, byte)| *byte = mark(i));
    let warning = decoder.decompress(bytes, shrink, &mut pixels, row, format)?;
    if let Some(warning) = &warning
        && pixels[last..].iter().enumerate().all(|(i, &byte)| byte == mark(i))
    {
        return Err(damaged(warning));
    }
    match channels {
        4 => to_rgb(&mut pixels),
        1 => pixels = pixels.into_iter().flat_map(|grey| [grey; 3]).collect(),
        _ => {}
    }
    Ok((Picture { width, height, pixels, full, shrink, shrinks, lead: [0; 2], of: None }, warning))
}

/// Returns the largest of 8, 4, 2 and 1 that keeps the size; other scales have no SIMD code and are slower.
pub(super) fn shrink(full: (u32, u32), at_least: Option<(u32, u32)>) -> u32 {
    let Some((width, height)) = at_least else { return 1 };
    let enough = |shrink: &u32| full.0 / shrink >= width && full.1 / shrink >= height;
    [8, 4, 2].into_iter().find(enough).unwrap_or(1)
}

fn damaged(message: &str) -> String {
    format!("damaged JPEG data ({message}); save it again from its original")
}

/// Converts cyan, magenta, yellow and black, stored inverted as by Adobe, to RGB.
fn to_rgb(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 4;
    for i in 0..count {
        if let Some(&[cyan, magenta, yellow, black]) = pixels[i * 4..].first_chunk() {
            let rgb = [cyan, magenta, yellow].map(|ink| black - times(255 - ink, black));
            pixels[i * 3..i * 3 + 3].copy_from_slice(&rgb);
        }
    }
    pixels.truncate(count * 3);
}

/// Returns a × b / 255, rounded.
fn times(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

/// A decoder for one picture. Making one takes microseconds, and it shares no state with another.
struct Decoder(raw::tjhandle);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle came from tj3Init and is used nowhere else.
        unsafe { raw::tj3Destroy(self.0) }
    }
}

impl Decoder {
    fn new() -> Result<Self, String> {
        // SAFETY: no preconditions; null is checked.
        let handle = unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as i32) };
        if handle.is_null() {
            return Err("no memory for a JPEG decoder; end other programs".to_string());
        }
        let decoder = Self(handle);
        // The library takes a little memory beside the coefficients.
        let megabytes = i32::try_from((max_memory()? >> 20) + 16).unwrap_or(i32::MAX);
        for (parameter, value) in [(TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS), (TJPARAM_TJPARAM_MAXMEMORY, megabytes)] {
            // SAFETY: a live handle; the library checks parameter and value.
            if unsafe { raw::tj3Set(decoder.0, parameter as i32, value) } != 0 {
                return Err(format!("the JPEG decoder cannot be limited (parameter {parameter}, value {value})"));
            }
        }
        Ok(decoder)
    }

    fn get(&self, parameter: raw::TJPARAM) -> i32 {
        // SAFETY: a live handle; the library checks the parameter.
        unsafe { raw::tj3Get(self.0, parameter as i32) }
    }

    /// Returns width and height.
    fn read_header(&mut self, bytes: &[u8]) -> Result<(u32, u32), String> {
        // SAFETY: a live handle; the pointer and length are of one slice, which the library only reads.
        let status = unsafe { raw::tj3DecompressHeader(self.0, bytes.as_ptr(), bytes.len() as raw::size_t) };
        self.warning(status)?;
        // A negative side means that the header was not reached.
        let side = |parameter| u32::try_from(self.get(parameter)).map_err(|_| damaged("it has no picture"));
        Ok((side(TJPARAM_TJPARAM_JPEGWIDTH)?, side(TJPARAM_TJPARAM_JPEGHEIGHT)?))
    }

    /// Decodes into `pixels`: rows of `row` bytes, as many as the header says at this scale.
    fn decompress(
        &mut self,
        bytes: &[u8],
        shrink: u32,
        pixels: &mut [u8],
        row: usize,
        format: raw::TJPF,
    ) -> Result<Option<String>, String> {
        let scale = raw::tjscalingfactor { num: 1, denom: shrink as i32 };
        // SAFETY: a live handle. `pixels` holds the rows of the header that the library reads again from the same
        // bytes, at the scale that is set first.
        let status = unsafe {
            match raw::tj3SetScalingFactor(self.0, scale) {
                0 => raw::tj3Decompress8(
                    self.0,
                    bytes.as_ptr(),
                    bytes.len() as raw::size_t,
                    pixels.as_mut_ptr(),
                    row as i32,
                    format,
                ),
                failed => failed,
            }
        };
        self.warning(status)
    }

    /// Returns a warning of the library; a failure is an error.
    fn warning(&self, status: i32) -> Result<Option<String>, String> {
        if status == 0 {
            return Ok(None);
        }
        // SAFETY: a live handle; the text is owned by it, ends with a zero and is copied at once.
        let (code, message) =
            unsafe { (raw::tj3GetErrorCode(self.0), CStr::from_ptr(raw::tj3GetErrorStr(self.0)).to_string_lossy()) };
        if code == TJERR_TJERR_WARNING as i32 { Ok(Some(message.into_owned())) } else { Err(damaged(&message)) }
    }
}

/// Encodes a JPEG file without metadata.
pub(super) fn encode(picture: &Picture, quality: i32) -> Result<Vec<u8>, String> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let image = Image { pixels: picture.pixels(), width, pitch: width * 3, height, format: PixelFormat::RGB };
    let compress = || {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(quality)?;
        compressor.set_subsamp(Subsamp::Sub2x2)?;
        compressor.compress_to_vec(image)
    };
    compress().map_err(|error| format!("cannot be written as JPEG ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> Picture {
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x * 2) as u8, (y * 2) as u8, 100])).collect();
        Picture::from_rgb(width, height, pixels).unwrap()
    }

    #[test]
    fn the_smallest_sufficient_scale_is_chosen() {
        assert_eq!(shrink((1280, 960), None), 1);
        assert_eq!(shrink((1280, 960), Some((448, 448))), 2);
        assert_eq!(shrink((4000, 3000), Some((448, 448))), 4);
        assert_eq!(shrink((4000, 3584), Some((448, 448))), 8);
        assert_eq!(shrink((4000, 3583), Some((448, 448))), 4);
        assert_eq!(shrink((895, 895), Some((448, 448))), 1);
        assert_eq!(shrink((10, 10), Some((u32::MAX, 1))), 1);
    }

    #[test]
    fn a_round_trip_keeps_the_picture() {
        let picture = gradient(120, 100);
        let bytes = encode(&picture, 95).unwrap();
        let decoded = decode(&bytes, None, vec![1; 7]).unwrap();
        assert_eq!((decoded.width, decoded.height, decoded.full, decoded.shrink), (120, 100, (120, 100), 1));
        let worst = decoded.pixels.iter().zip(&picture.pixels).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(8), "{worst:?}");
        let half = decode(&bytes, Some((60, 50)), Vec::new()).unwrap();
        assert_eq!((half.width, half.height, half.full, half.shrink), (60, 50, (120, 100), 2));
    }

    #[test]
    fn a_missing_end_is_forgiven_and_missing_data_is_not() {
        let bytes = encode(&gradient(120, 100), 95).unwrap();
        let whole = decode(&bytes, None, Vec::new()).unwrap();
        assert_eq!(decode(&bytes[..bytes.len() - 2], None, Vec::new()).unwrap(), whole);
        for cut in [bytes.len() - 40, bytes.len() / 2, 300, 30, 4, 3] {
            assert!(decode(&bytes[..cut], None, Vec::new()).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn stray_bytes_are_forgiven() {
        let bytes = encode(&gradient(120, 100), 95).unwrap();
        let whole = decode(&bytes, None, Vec::new()).unwrap();
        let stray = [&bytes[..2], &[0, 0, 0], &bytes[2..]].concat();
        assert_eq!(decode(&stray, None, Vec::new()).unwrap(), whole);
    }

    #[test]
    fn four_inks_become_rgb() {
        // Stored inverted: no ink is 255. White, black, pure yellow, half black over cyan.
        let mut pixels = vec![255, 255, 255, 255, 255, 255, 255, 0, 255, 255, 0, 255, 0, 255, 255, 128];
        to_rgb(&mut pixels);
        assert_eq!(pixels, [255, 255, 255, 0, 0, 0, 255, 255, 0, 0, 128, 128]);
        // The library stores such pixels as YCCK.
        let inks: Vec<u8> = [200, 100, 50, 230].repeat(64);
        let image = Image { pixels: &inks[..], width: 8, pitch: 32, height: 8, format: PixelFormat::CMYK };
        let mut compressor = Compressor::new().unwrap();
        compressor.set_quality(100).unwrap();
        compressor.set_subsamp(Subsamp::None).unwrap();
        let decoded = decode(&compressor.compress_to_vec(image).unwrap(), None, Vec::new()).unwrap();
        let worst = decoded.pixels.iter().zip([180u8, 90, 45].repeat(64)).map(|(a, b)| a.abs_diff(b)).max();
        assert!(worst <= Some(2), "{:?}", &decoded.pixels[..3]);
    }
}
