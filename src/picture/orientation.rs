//! The eight ways in which a camera may have been held.

use super::Picture;

/// An EXIF orientation, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Default for Orientation {
    fn default() -> Self {
        Self(1)
    }
}

impl Orientation {
    /// From the TIFF structure inside an EXIF block; `None` where it does not speak of it.
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
        // Cameras write a SHORT, some phones a LONG; anything else turns nothing.
        let value = match (word(entry + 2)?, long(entry + 4)?) {
            (3 | 8, 1) => word(entry + 8)?,
            (4 | 9, 1) => long(entry + 8)?,
            _ => 1,
        };
        Some(Self::from_number(value))
    }

    /// From XMP: an attribute or an element.
    pub(super) fn from_xmp(xmp: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"tiff:Orientation";
        let after =
            xmp.windows(NAME.len()).enumerate().filter(|(_, name)| *name == NAME).map(|(at, _)| at + NAME.len());
        let number = after.filter_map(|at| match &xmp[at..] {
            [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => Some(digit - b'0'),
            _ => None,
        });
        number.map(|number| Self::from_number(number.into())).next()
    }

    fn from_number(number: u32) -> Self {
        match number {
            1..=8 => Self(number as u8),
            _ => Self::default(),
        }
    }

    /// Whether width becomes height.
    pub(super) fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// Turns a picture as stored into the upright one.
    pub(super) fn apply(self, picture: Picture) -> Picture {
        if self.0 == 1 {
            return picture;
        }
        let (w, h) = (picture.width as isize, picture.height as isize);
        // The stored pixel of the upper left corner, and the steps to the next on the right and the next below.
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
        // A column that was the last one is now on the left, and a row that was the last one is above.
        let flipped = [matches!(self.0, 2 | 3 | 6 | 7), matches!(self.0, 3 | 4 | 7 | 8)];
        Picture { width: width as u32, height: height as u32, pixels, full, flipped, ..picture }
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
