//! The part of a picture that counts.

use super::{Picture, jpeg};
use crate::error::{Error, Result};

/// A box in shares of the upright picture: left, top, right and bottom, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop([f64; 4]);

impl Crop {
    /// Checks a box.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is empty, or a number is NaN or not from 0 to 1.
    pub fn new([left, top, right, bottom]: [f64; 4]) -> Result<Self> {
        let spans = |start: f64, end: f64| 0.0 <= start && start < end && end <= 1.0;
        match spans(left, right) && spans(top, bottom) {
            true => Ok(Self([left, top, right, bottom])),
            false => Err(Error::argument(format!(
                "the box ({left}, {top}, {right}, {bottom}) is no part of a picture: give left, top, right and bottom as \
                 shares from 0 to 1, left less than right and top less than bottom"
            ))),
        }
    }

    /// Returns left, top, right and bottom.
    pub fn edges(&self) -> [f64; 4] {
        self.0
    }

    /// Returns the size at which the whole picture is decoded so that the part has `at_least` this size.
    pub(super) fn around(&self, at_least: (u32, u32)) -> (u32, u32) {
        let [left, top, right, bottom] = self.0;
        let whole = |side: u32, share: f64| (f64::from(side) / share).ceil() as u32;
        (whole(at_least.0, right - left), whole(at_least.1, bottom - top))
    }

    /// Returns the pixels of a side between two shares, at least one: the first, and one past the last.
    fn pixels(side: u32, start: f64, end: f64) -> [u32; 2] {
        let at = |share: f64| (share * f64::from(side)).round() as u32;
        let start = at(start).min(side - 1);
        [start, at(end).max(start + 1)]
    }
}

impl Picture {
    /// Returns the part in a box, whose edges are rounded to pixels of the full size. Of a picture that was decoded at a
    /// reduced scale, pixels on the edge belong to the part in part.
    pub fn cropped(self, crop: Crop) -> Self {
        let Self { width, height, mut pixels, full, shrink, shrinks, lead, of: _ } = self;
        let [left, top, right, bottom] = crop.0;
        let across = Crop::pixels(full.0, left, right);
        let down = Crop::pixels(full.1, top, bottom);
        // In pixels of the decoded size.
        let span = |lead: u32, [start, end]: [u32; 2], side: u32| {
            [(lead + start) / shrink, (lead + end).div_ceil(shrink).min(side)]
        };
        let (columns, rows) = (span(lead[0], across, width), span(lead[1], down, height));
        let kept = (columns[1] - columns[0]) as usize * 3;
        for (to, row) in (rows[0]..rows[1]).enumerate() {
            let from = (row as usize * width as usize + columns[0] as usize) * 3;
            pixels.copy_within(from..from + kept, to * kept);
        }
        pixels.truncate(kept * (rows[1] - rows[0]) as usize);
        Self {
            width: columns[1] - columns[0],
            height: rows[1] - rows[0],
            pixels,
            full: (across[1] - across[0], down[1] - down[0]),
            shrink,
            shrinks,
            lead: [lead[0] + across[0] - columns[0] * shrink, lead[1] + down[0] - rows[0] * shrink],
            of: Some((full, crop)),
        }
    }

    /// Returns whether decoding for at least `at_least` would give the same picture.
    pub fn serves(&self, at_least: (u32, u32)) -> bool {
        let (full, at_least) = match self.of {
            Some((full, crop)) => (full, crop.around(at_least)),
            None => (self.full, at_least),
        };
        !self.shrinks || jpeg::shrink(full, Some(at_least)) == self.shrink
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crop(edges: [f64; 4]) -> Crop {
        Crop::new(edges).unwrap()
    }

    #[test]
    fn a_box_has_an_inside_within_the_picture() {
        let nan = f64::NAN;
        for bad in [
            [0.5, 0.0, 0.5, 1.0],
            [0.0, 0.6, 1.0, 0.4],
            [-0.1, 0.0, 1.0, 1.0],
            [0.0, 0.0, 1.0, 1.1],
            [nan, 0.0, 1.0, 1.0],
            [0.0, 0.0, nan, 1.0],
            [0.0, 0.0, f64::INFINITY, 1.0],
        ] {
            let error = Crop::new(bad).unwrap_err().to_string();
            assert!(error.contains("is no part of a picture"), "{error}");
        }
    }

    #[test]
    fn the_pixels_in_the_box_are_kept() {
        let pixels = (0..4_u8).flat_map(|y| (0..5_u8).flat_map(move |x| [x, y, 0])).collect();
        let picture = Picture::from_rgb(5, 4, pixels).unwrap();
        let part = picture.clone().cropped(crop([0.2, 0.5, 0.61, 1.0]));
        assert_eq!((part.width(), part.height(), part.full_size(), part.margin()), (2, 2, (2, 2), [0.0; 2]));
        assert_eq!(part.pixels(), [1, 2, 0, 2, 2, 0, 1, 3, 0, 2, 3, 0]);
        let least = picture.clone().cropped(crop([0.99, 0.0, 1.0, 0.01]));
        assert_eq!((least.full_size(), least.pixels()), ((1, 1), &[4, 0, 0][..]));
        assert_eq!(picture.clone().cropped(crop([0.0, 0.0, 1.0, 1.0])).pixels(), picture.pixels());
    }

    #[test]
    fn a_reduced_picture_keeps_where_the_part_begins() {
        // 101 x 51 at 1/2 is 51 x 26. Columns 11 to 81 begin within the sixth of these.
        let pixels = (0..51).flat_map(|y| (0..101).flat_map(move |x| [x as u8, y as u8, 0])).collect();
        let bytes = jpeg::encode(&Picture::from_rgb(101, 51, pixels).unwrap(), 95).unwrap();
        let whole = jpeg::decode(&bytes, Some((50, 25)), Vec::new()).unwrap();
        assert_eq!((whole.width(), whole.height(), whole.scale()), (51, 26, 0.5));
        let part = whole.clone().cropped(crop([11.0 / 101.0, 0.0, 81.0 / 101.0, 1.0]));
        assert_eq!((part.full_size(), part.width(), part.height()), ((70, 51), 36, 26));
        assert_eq!(part.margin(), [0.5, 0.0]);
        assert_eq!(part.pixels()[..3], whole.pixels()[15..18]);
        // 70 of 101 columns: for 35 of them 50 are needed.
        assert!(part.serves((34, 25)) && !part.serves((36, 25)) && whole.serves((50, 25)));
    }
}
