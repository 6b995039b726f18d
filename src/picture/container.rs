//! Reads the format, the orientation and hidden frame sizes from the bytes of a file, before anything is decoded.

use std::borrow::Cow;

use super::orientation::{Orientation, OrientationTexts, XMP};
use super::png;

/// The formats decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
}

impl Format {
    /// Detects the format by the first bytes alone, because names and media types are often wrong.
    pub(super) fn sniff(bytes: &[u8]) -> Result<Self, String> {
        match Self::of(bytes) {
            Some(format) => Ok(format),
            None if bytes.is_empty() => Err("the file is empty".to_string()),
            None => Err(format!("not a JPEG, PNG, WebP, GIF or BMP file{}; convert it to one of them", guess(bytes))),
        }
    }

    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            // Many texts begin with these two letters; the length of the header that follows is one of a few.
            [b'B', b'M', ..] if bytes.len() >= 26 => {
                matches!(bytes[14..18], [12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]).then_some(Self::Bmp)
            }
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
        }
    }
}

/// Returns the name of a picture format that is recognized but not decoded here.
pub(super) fn foreign(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some("TIFF"),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', b'\r', b'\n', 0x87, b'\n', ..] => Some("JPEG XL"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
            // The major brand, a version, then the compatible brands, which decide if the major brand is a general
            // one.
            let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
            let (brands, _) = bytes[8..length.clamp(8, bytes.len())].as_chunks::<4>();
            let named = |names: &[&[u8; 4]]| brands.iter().any(|brand| names.contains(&brand));
            if named(&[b"avif", b"avis"]) {
                Some("AVIF")
            } else if named(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"])
            {
                Some("HEIC")
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Returns the name of a frequent wrong format, for the error message.
fn guess(bytes: &[u8]) -> &'static str {
    let starts = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    match foreign(bytes) {
        Some("TIFF") => " (it looks like TIFF)",
        Some("AVIF") => " (it looks like AVIF)",
        Some("HEIC") => " (it looks like HEIC)",
        Some("JPEG XL") => " (it looks like JPEG XL)",
        _ if starts(4, b"ftyp") => " (it looks like a video)",
        _ if starts(0, b"%PDF") => " (it looks like PDF)",
        _ if starts(0, b"<svg") || starts(0, b"<?xml") => " (it looks like SVG or XML)",
        _ if starts(0, b"<") => " (it looks like HTML)",
        _ if starts(0, b"\0\0\x01\0") => " (it looks like an icon)",
        _ => "",
    }
}

/// Returns the orientation that the file gives in EXIF or, without it, in texts. An unreadable one is ignored.
pub(super) fn orientation(format: Format, bytes: &[u8]) -> Orientation {
    let (exif, texts) = match format {
        Format::Jpeg => {
            let app1 = |start: &'static [u8]| {
                let app1 = jpeg_segments(bytes).filter(|(marker, _)| *marker == 0xe1);
                app1.filter_map(move |(_, payload)| payload.strip_prefix(start).map(Cow::Borrowed))
            };
            (app1(b"Exif\0\0").next(), OrientationTexts::of_xmp(app1(XMP).last()))
        }
        Format::Png => (png::exif(bytes), png::orientation_texts(bytes)),
        Format::WebP => {
            let chunk = |wanted: &[u8; 4]| {
                let mut chunks = riff_chunks(bytes.get(12..).unwrap_or_default());
                chunks.find(|(name, _)| name == wanted).map(|(_, payload)| Cow::Borrowed(payload))
            };
            (chunk(b"EXIF"), OrientationTexts::of_xmp(chunk(b"XMP ")))
        }
        Format::Gif | Format::Bmp => (None, OrientationTexts::default()),
    };
    exif.and_then(|exif| Orientation::from_exif(&exif)).or_else(|| texts.orientation()).unwrap_or_default()
}

/// Iterates over the segments of a JPEG file up to the first scan: marker and payload.
pub(super) fn jpeg_segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        // Padding and stray bytes between segments are skipped, as decoders do.
        let start = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
        let marker = rest[start + 1];
        rest = &rest[start + 2..];
        if matches!(marker, 0x01 | 0xd0..=0xd9) {
            return Some((marker, &[][..]));
        }
        let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        let payload = rest.get(2..length)?;
        rest = if marker == 0xda { &[] } else { &rest[length..] };
        Some((marker, payload))
    })
}

/// Returns width and height of a GIF file: those of its screen, enlarged to contain its first frame.
pub(super) fn gif_screen(bytes: &[u8]) -> Option<(u16, u16)> {
    let word = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    loop {
        match bytes.get(at)? {
            0x2c => {
                let far = |start: usize, length: usize| Some(word(start)?.saturating_add(word(length)?));
                return Some((word(6)?.max(far(at + 1, at + 5)?), word(8)?.max(far(at + 3, at + 7)?)));
            }
            0x21 => {
                at += 2;
                loop {
                    let length = usize::from(*bytes.get(at)?);
                    at += length + 1;
                    if length == 0 {
                        break;
                    }
                }
            }
            _ => return None,
        }
    }
}

/// Iterates over the chunks of a RIFF file or list: name and payload.
fn riff_chunks(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        let (name, payload) = (&rest[..4], &rest[8..]);
        // A truncated last chunk may still give its size.
        rest = payload.get(length + (length & 1)..).unwrap_or_default();
        Some((name, &payload[..length.min(payload.len())]))
    })
}

/// Returns width and height of each bitstream in a WebP file. They may differ from the canvas in the header, and the
/// decoder allocates memory for them before it compares.
pub(super) fn webp_frame_sizes(bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut sizes = Vec::new();
    let mut lists = vec![bytes.get(12..).unwrap_or_default()];
    while let Some(list) = lists.pop() {
        for (name, payload) in riff_chunks(list) {
            match (name, payload) {
                (b"VP8 ", [_, _, _, _, _, _, w0, w1, h0, h1, ..]) => {
                    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
                    sizes.push((side(*w0, *w1), side(*h0, *h1)));
                }
                (b"VP8L", [_, a, b, c, d, ..]) => {
                    let bits = u32::from_le_bytes([*a, *b, *c, *d]);
                    sizes.push(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
                }
                (b"ANMF", [_, _, _, _, _, _, w0, w1, w2, h0, h1, h2, _, _, _, _, frame @ ..]) => {
                    let side = |a: u8, b: u8, c: u8| u32::from_le_bytes([a, b, c, 0]) + 1;
                    sizes.push((side(*w0, *w1, *w2), side(*h0, *h1, *h2)));
                    lists.push(frame);
                }
                _ => {}
            }
        }
    }
    sizes
}
