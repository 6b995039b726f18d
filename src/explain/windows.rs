//! Encodes the windows of a picture, each alone on the blurred picture.

use std::str::FromStr;
use std::sync::Arc;

use crate::encoder::Encode;
use crate::error::{Error, Result};
use crate::picture::{Picture, Source};
use crate::preprocess::{SharedDecode, View};
use crate::vectors::Vectors;

use super::blur::blurred;

/// The grids of windows: how many lie along each axis, and their side as a share of the picture's. Large windows tell where
/// the whole lies, small ones which of its parts count.
const COARSE: [(usize, f64); 2] = [(5, 0.3), (4, 0.4)];
const FINE: [(usize, f64); 1] = [(9, 0.3)];
/// The longer side of a picture for encoders that take any size, in pixels.
const PLAIN: u32 = 320;
/// The most bytes of pictures that are encoded together.
const TOGETHER: usize = 64 << 20;

/// How many windows a picture is divided into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// 5 × 5 small ones and 4 × 4 large ones.
    #[default]
    Coarse,
    /// 9 × 9 small ones.
    Fine,
}

impl Detail {
    fn grids(self) -> &'static [(usize, f64)] {
        match self {
            Self::Coarse => &COARSE,
            Self::Fine => &FINE,
        }
    }
}

impl FromStr for Detail {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "1" => Ok(Self::Coarse),
            "2" => Ok(Self::Fine),
            _ => Err(Error::argument(format!("detail {text}: give 1, for 41 windows, or 2, for 81"))),
        }
    }
}

/// The windows of a picture: grid by grid, and row by row.
#[derive(Debug)]
pub struct Windows {
    /// Width and height of the upright picture.
    pub size: (u32, u32),
    /// How many of them, the first ones, are small: they make a square grid.
    pub small: usize,
    /// Left, top, right and bottom of each, in shares of the upright picture.
    pub boxes: Vec<[f64; 4]>,
    /// The vector of each: of the picture that is sharp in it and blurred elsewhere.
    pub vectors: Vectors,
    /// The vector of the wholly blurred picture.
    pub blurred: Vectors,
}

impl Windows {
    /// Encodes the windows of a picture: each is three or four tenths of what the model sees along both axes, and overlaps
    /// its neighbors.
    ///
    /// # Errors
    /// Those of [`Source::decode`] and of the encoder.
    pub fn encode(encoder: &dyn Encode, source: &Source, detail: Detail) -> Result<Self> {
        let (size, View { picture, inside, part }) = view(encoder, source)?;
        let blur = blurred(&picture)?;
        let [left, top, width, height] = inside;
        let mut places: Vec<[[usize; 2]; 2]> = Vec::new();
        for (count, share) in detail.grids() {
            let starts = |side: usize, start: usize| -> Vec<[usize; 2]> {
                let length = ((side as f64 * share).round() as usize).clamp(1, side);
                let last = (count - 1) as f64;
                let place = |number: usize| ((side - length) as f64 * number as f64 / last).round() as usize + start;
                (0..*count).map(place).map(|place| [place, place + length]).collect()
            };
            let across = starts(width, left);
            places.extend(starts(height, top).iter().flat_map(|y| across.iter().map(|x| [*x, *y])));
        }
        let shares = |[x, y]: &[[usize; 2]; 2]| {
            let along = |at: usize, start: usize, side: usize, begin: f64, end: f64| {
                begin + (end - begin) * (at - start) as f64 / side as f64
            };
            let [x, right] = x.map(|at| along(at, left, width, part[0], part[2]));
            let [y, bottom] = y.map(|at| along(at, top, height, part[1], part[3]));
            [x, y, right, bottom]
        };
        let boxes = places.iter().map(shares).collect();
        let mut vectors = Vectors::new(encoder.about().dim);
        let blurred = rows(encoder, vec![blur.clone()], &source.name())?;
        for some in places.chunks((TOGETHER / picture.pixels().len()).max(1)) {
            let sharp = some.iter().map(|place| sharp(&picture, &blur, *place)).collect::<Result<_>>()?;
            vectors.extend(&rows(encoder, sharp, &source.name())?);
        }
        let small = detail.grids()[0].0.pow(2);
        Ok(Self { size, small, boxes, vectors, blurred })
    }
}

/// Returns the size of the upright picture, and the picture as the model sees it. Of encoders that take pictures of any size
/// it is small and whole.
fn view(encoder: &dyn Encode, source: &Source) -> Result<((u32, u32), View)> {
    let preprocess = encoder.preprocess();
    let picture = source.decode(Some(preprocess.map_or((2 * PLAIN, 2 * PLAIN), |by| by.at_least())))?;
    let view = match preprocess {
        Some(by) => by.view(&picture)?,
        None => {
            let small = picture.reduced(PLAIN)?;
            let inside = [0, 0, small.width() as usize, small.height() as usize];
            View { picture: small, inside, part: [0.0, 0.0, 1.0, 1.0] }
        }
    };
    Ok((picture.full_size(), view))
}

/// Returns the blurred picture with a sharp window.
fn sharp(picture: &Picture, blurred: &Picture, [[left, right], [top, bottom]]: [[usize; 2]; 2]) -> Result<Picture> {
    let width = picture.width() as usize;
    let mut pixels = blurred.pixels().to_vec();
    for row in top..bottom {
        let place = (row * width + left) * 3..(row * width + right) * 3;
        pixels[place.clone()].copy_from_slice(&picture.pixels()[place]);
    }
    Picture::from_rgb(picture.width(), picture.height(), pixels)
}

fn rows(encoder: &dyn Encode, pictures: Vec<Picture>, name: &str) -> Result<Vectors> {
    let part =
        |picture| SharedDecode::alone(Source::Pixels { name: format!("a part of {name}"), picture: Arc::new(picture) });
    let pictures: Vec<SharedDecode> = pictures.into_iter().map(part).collect();
    let mut vectors = Vectors::new(encoder.about().dim);
    for row in encoder.image_rows(&pictures)? {
        vectors.extend(&row?);
    }
    Ok(vectors)
}
