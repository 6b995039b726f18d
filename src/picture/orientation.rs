//! Reads and applies the EXIF orientation: eight ways in which a camera is held.

use std::borrow::Cow;

use super::Picture;
use super::png::raw_profile;

/// The prefix of an EXIF block in a JPEG file.
const EXIF: &[u8] = b"Exif\0\0";
/// The prefix of XMP in a JPEG file.
pub(super) const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// The namespace of the orientation in XMP.
const TIFF: &str = "http://ns.adobe.com/tiff/1.0/";

/// The most places searched in a text, against hostile files.
const MOST: usize = 32;

/// Texts of a file, beside its EXIF block, that may give the orientation. The first one that has it decides.
#[derive(Debug, Clone, Default)]
pub struct OrientationTexts<'a> {
    /// The XMP packet.
    pub xmp: Option<Cow<'a, [u8]>>,
    /// ImageMagick's `Raw profile type APP1` of a PNG: the APP1 segment of a JPEG file.
    pub app1: Option<Cow<'a, [u8]>>,
    /// ImageMagick's `Raw profile type xmp` of a PNG.
    pub raw_xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> OrientationTexts<'a> {
    /// Makes it from an XMP packet alone.
    pub(super) fn of_xmp(xmp: Option<Cow<'a, [u8]>>) -> Self {
        Self { xmp, ..Self::default() }
    }

    /// Returns the orientation; `None` if no text has one.
    pub(super) fn orientation(&self) -> Option<Orientation> {
        let xmp = |xmp: &[u8]| Orientation::from_xmp(xmp.strip_prefix(XMP).unwrap_or(xmp));
        let block = |profile: &Option<Cow<'_, [u8]>>| raw_profile(profile.as_deref()?);
        let app1 = |block: Vec<u8>| Orientation::from_exif(&block).or_else(|| xmp(&block));
        self.xmp
            .as_deref()
            .and_then(xmp)
            .or_else(|| block(&self.app1).and_then(app1))
            .or_else(|| block(&self.raw_xmp).and_then(|block| xmp(&block)))
    }
}

/// Decodes XML. It is UTF-16 if it begins with that byte order mark or with a zero byte beside a character.
fn decoded(xml: &[u8]) -> Cow<'_, str> {
    let unit: fn([u8; 2]) -> u16 = match xml {
        [0xff, 0xfe, ..] | [1..=127, 0, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] | [0, 1..=127, ..] => u16::from_be_bytes,
        _ => return String::from_utf8_lossy(xml),
    };
    let units: Vec<u16> = xml.as_chunks().0.iter().copied().map(unit).collect();
    Cow::Owned(String::from_utf16_lossy(&units))
}

/// Iterates over the text after each occurrence of `name`.
fn after<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(name).map(|(at, found)| &text[at + found.len()..])
}

/// Returns the number in a text whose only white space is spaces, after any prefix bound to the namespace.
fn bound(text: &str) -> Option<u32> {
    let others = after(text, "xmlns:").take(MOST).filter_map(|rest| {
        let (prefix, rest) = rest.split_once('=')?;
        (quoted(rest)? == TIFF).then(|| prefix.trim_end())
    });
    let names = std::iter::once("tiff")
        .chain(others)
        .flat_map(|prefix| [format!("<{prefix}:Orientation"), format!(" {prefix}:Orientation")]);
    names.take(MOST).find_map(|name| after(text, &name).take(MOST).find_map(number))
}

/// Returns the number that an attribute or an element has behind its name.
fn number(rest: &str) -> Option<u32> {
    let value = match rest.trim_start().strip_prefix('=') {
        Some(rest) => quoted(rest)?,
        None => {
            let (tag, rest) = rest.split_once('>')?;
            let opens = tag.is_empty() || tag.starts_with(' ') && !tag.ends_with('/');
            if !opens {
                return None;
            }
            rest.split('<').next()?
        }
    };
    value.trim().parse().ok()
}

/// Returns the text between the quotation marks with which it begins.
fn quoted(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let mark = text.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
    text[1..].split_once(mark).map(|(value, _)| value)
}

/// An EXIF orientation, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Default for Orientation {
    fn default() -> Self {
        Self(1)
    }
}

impl Orientation {
    /// Reads the TIFF structure inside an EXIF block; returns `None` if it has no orientation.
    pub(super) fn from_tiff(tiff: &[u8]) -> Option<Self> {
        let little = match tiff.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let word = |at: usize| {
            let bytes = [*tiff.get(at)?, *tiff.get(at + 1)?];
            Some(u32::from(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }))
        };
        let long = |at: usize| {
            let (first, second) = (word(at)?, word(at + 2)?);
            Some(if little { second << 16 | first } else { first << 16 | second })
        };
        let directory = long(4)? as usize;
        let entries = word(directory)? as usize;
        let entry = (0..entries).map(|i| directory + 2 + 12 * i).find(|&entry| word(entry) == Some(0x112))?;
        // Cameras write a SHORT, some phones a LONG; other types are ignored.
        let value = match (word(entry + 2)?, long(entry + 4)?) {
            (3 | 8, 1) => word(entry + 8)?,
            (4 | 9, 1) => long(entry + 8)?,
            _ => 1,
        };
        Some(Self::from_number(value))
    }

    /// Reads an EXIF block. PNG and WebP hold the bare TIFF structure, but some writers keep the prefix of JPEG.
    pub(super) fn from_exif(exif: &[u8]) -> Option<Self> {
        Self::from_tiff(exif.strip_prefix(EXIF).unwrap_or(exif))
    }

    /// Reads XMP: an attribute or an element, first where Pillow finds it, then wherever XML allows it.
    fn from_xmp(xmp: &[u8]) -> Option<Self> {
        let text = decoded(xmp);
        let plain = after(&text, "tiff:Orientation").find_map(|rest| {
            let digit = rest.strip_prefix("=\"").or_else(|| rest.strip_prefix('>'))?.chars().next()?;
            digit.to_digit(10)
        });
        plain.or_else(|| bound(&text.replace(char::is_whitespace, " "))).map(Self::from_number)
    }

    fn from_number(number: u32) -> Self {
        match number {
            1..=8 => Self(number as u8),
            _ => Self::default(),
        }
    }

    /// Returns whether width and height are swapped.
    pub(super) fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// Turns a stored picture upright.
    pub(super) fn apply(self, picture: Picture) -> Picture {
        if self.0 == 1 {
            return picture;
        }
        let (w, h) = (picture.width as isize, picture.height as isize);
        // The stored pixel of the upper left corner, and the steps to the next pixel on the right and below.
        let (corner, right, below) = match self.0 {
            2 => (w - 1, -1, w),
            3 => (w * h - 1, -1, -w),
            4 => (w * (h - 1), 1, -w),
            5 => (0, w, 1),
            6 => (w * (h - 1), -w, 1),
            7 => (w * h - 1, -w, -1),
            8 => (w - 1, w, -1),
            _ => (0, 1, w),
        };
        let (width, height) = if self.swaps_sides() { (h, w) } else { (w, h) };
        let (stored, _) = picture.pixels.as_chunks::<3>();
        let mut pixels = Vec::with_capacity(picture.pixels.len());
        for y in 0..height {
            let row = corner + y * below;
            pixels.extend((0..width).flat_map(|x| stored[(row + x * right) as usize]));
        }
        let full = if self.swaps_sides() { (picture.full.1, picture.full.0) } else { picture.full };
        // A last column is now on the left, and a last row is above.
        let excess = |side: isize, full: u32| side as u32 * picture.shrink - full;
        let lead = [
            if matches!(self.0, 2 | 3 | 6 | 7) { excess(width, full.0) } else { 0 },
            if matches!(self.0, 3 | 4 | 7 | 8) { excess(height, full.1) } else { 0 },
        ];
        Picture { width: width as u32, height: height as u32, pixels, full, lead, ..picture }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns, three rows: a b / c d / e f.
    fn letters(orientation: u8) -> (u32, u32, String) {
        let pixels = b"abcdef".iter().flat_map(|&letter| [letter; 3]).collect();
        let turned = Orientation(orientation).apply(Picture::from_rgb(2, 3, pixels).unwrap());
        assert_eq!(turned.full_size(), (turned.width(), turned.height()));
        let text = turned.pixels().as_chunks::<3>().0.iter().map(|pixel| char::from(pixel[0])).collect();
        (turned.width(), turned.height(), text)
    }

    #[test]
    fn each_orientation_by_hand() {
        let turned = |text: &str, width, height| (width, height, text.to_string());
        assert_eq!(letters(1), turned("abcdef", 2, 3));
        assert_eq!(letters(2), turned("badcfe", 2, 3));
        assert_eq!(letters(3), turned("fedcba", 2, 3));
        assert_eq!(letters(4), turned("efcdab", 2, 3));
        assert_eq!(letters(5), turned("acebdf", 3, 2));
        assert_eq!(letters(6), turned("ecafdb", 3, 2));
        assert_eq!(letters(7), turned("fdbeca", 3, 2));
        assert_eq!(letters(8), turned("bdface", 3, 2));
    }
}
