//! A picture at the size at which its preprocessing changes nothing any more.

use crate::error::Result;
use crate::picture::Picture;
use crate::preprocess::Preprocess;

use super::{Placement, Resize};

/// A picture as a model sees it: the preprocessing that made it takes its pixels over as they are.
#[derive(Debug)]
pub struct View {
    /// The picture.
    pub picture: Picture,
    /// The pixels of it that the model sees: left, top, width and height.
    pub inside: [usize; 4],
    /// What these are of the whole upright picture: left, top, right and bottom, in shares from 0 to 1.
    pub part: [f64; 4],
}

impl Preprocess {
    /// Returns a picture as the model sees it, without the normalization.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) if the picture cannot be resampled.
    pub fn view(&self, picture: &Picture) -> Result<View> {
        let (w, h) = picture.full_size();
        let [x, y, across, down] = self.placement((w, h)).from;
        let (w, h) = (f64::from(w), f64::from(h));
        let part = [x / w, y / h, (x + across) / w, (y + down) / h];
        let (pixels, columns) = self.resampled(picture, |pixels, [_, _, columns]| (pixels.to_vec(), columns))?;
        let rows = pixels.len() / columns;
        // A crop from a larger square cuts its margin off again.
        let (width, height) = match (self.resize, self.resize_to) {
            (Resize::Crop, Some(side)) => (side, side),
            _ => (columns, rows),
        };
        let before = |margin: usize| self.center.before(margin as u64) as usize;
        let (left, top) = (before(width - columns), before(height - rows));
        let at = |place: usize, start: usize, count: usize| place.saturating_sub(start).min(count - 1);
        let mut canvas = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let row = at(y, top, rows) * columns;
            canvas.extend((0..width).flat_map(|x| pixels[row + at(x, left, columns)]));
        }
        let picture = Picture::from_rgb(width as u32, height as u32, canvas)?;
        Ok(View { picture, inside: [left, top, columns, rows], part })
    }

    /// Returns what the whole tensor shows of a picture of this width and height: left, top, right and bottom in shares of
    /// the picture. The margins of a letterbox lie beyond 0 and 1.
    pub fn covered(&self, (width, height): (u32, u32)) -> [f64; 4] {
        let [rows, columns] = self.size.map(|side| side as f64);
        let Placement { from, to } = self.placement((width, height));
        let [left, top, across, down] = to.map(|length| length as f64);
        let (x, y) = (from[2] / across, from[3] / down);
        let (begin, above) = (from[0] - left * x, from[1] - top * y);
        let (width, height) = (f64::from(width), f64::from(height));
        [begin / width, above / height, (begin + columns * x) / width, (above + rows * y) / height]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::{CLIP_MEAN, CLIP_STD};

    #[test]
    fn what_a_model_sees_of_a_view_is_what_it_sees_of_the_picture() {
        let pixels = (0..61 * 47).flat_map(|at: u32| [at % 251, at % 83, at % 17 * 9].map(|level| level as u8));
        let picture = Picture::from_rgb(61, 47, pixels.collect()).unwrap();
        let crop = || Preprocess::new(Resize::Crop, [20, 24], CLIP_MEAN, CLIP_STD).unwrap();
        let squash = Preprocess::new(Resize::Squash, [20, 24], CLIP_MEAN, CLIP_STD).unwrap();
        let letterbox = Preprocess::new(Resize::Letterbox, [20, 24], CLIP_MEAN, CLIP_STD).unwrap();
        for by in [crop(), crop().with_resize_to(31).unwrap(), squash, letterbox] {
            let view = by.view(&picture).unwrap();
            let [mut wanted, mut seen] = [0, 0].map(|_| vec![0.0; by.tensor_len()]);
            by.apply(&picture, &mut wanted).unwrap();
            by.apply(&view.picture, &mut seen).unwrap();
            assert_eq!(wanted, seen, "{by:?}");
            let [left, top, width, height] = view.inside;
            assert!(left + width <= view.picture.width() as usize && top + height <= view.picture.height() as usize);
        }
        let letterbox = Preprocess::new(Resize::Letterbox, [10, 20], CLIP_MEAN, CLIP_STD).unwrap();
        assert_eq!(letterbox.covered((30, 30)), [-0.5, 0.0, 1.5, 1.0]);
        assert_eq!(crop().covered((40, 20)), [0.2, 0.0, 0.8, 1.0]);
        let view = crop().with_resize_to(24).unwrap().view(&picture).unwrap();
        assert_eq!(view.inside, [0, 2, 24, 20]);
        let [left, top, right, bottom] = view.part;
        assert!(left > 0.0 && right < 1.0 && top > 0.0 && bottom < 1.0 && (left + right - 1.0).abs() < 0.1);
    }
}
