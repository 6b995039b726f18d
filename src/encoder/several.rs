//! Pictures for several models, which share what they decode.

use rayon::prelude::*;

use crate::encoder::Encoder;
use crate::error::Result;
use crate::picture::Source;
use crate::preprocess::{DecodePlan, SharedDecode};
use crate::vectors::Vectors;

/// Bytes of pictures that are kept from one model for the next.
const KEPT: usize = 128 << 20;

/// A picture as several models see it.
#[derive(Debug)]
pub struct Seen {
    /// The vector of each model.
    pub vectors: Vec<Vectors>,
    /// A small copy as a JPEG file; None if none is wanted, or the picture cannot be decoded here.
    pub thumbnail: Option<Vec<u8>>,
}

impl Encoder {
    /// The vector of each picture by each of `encoders`, or why one of them has none. A picture is decoded once for all
    /// that would decode it at the same scale, and gets the vectors that each would give it alone.
    ///
    /// # Errors
    /// As [`each_image`](Self::each_image).
    pub fn each_image_by(encoders: &[&Self], sources: &[Source]) -> Result<Vec<Result<Vec<Vectors>>>> {
        let seen = Self::each_image_seen(encoders, sources, None)?;
        Ok(seen.into_iter().map(|row| row.map(|seen| seen.vectors)).collect())
    }

    /// As [`each_image_by`](Self::each_image_by), with a thumbnail of each picture if its longer side is given.
    ///
    /// # Errors
    /// As [`each_image`](Self::each_image).
    pub fn each_image_seen(encoders: &[&Self], sources: &[Source], side: Option<u32>) -> Result<Vec<Result<Seen>>> {
        let towers = encoders.iter().filter_map(|encoder| encoder.image.as_deref());
        let plan = DecodePlan::new(towers.filter_map(|tower| tower.preprocess()));
        let together = KEPT.checked_div(plan.bytes()).unwrap_or(sources.len()).max(1);
        let mut rows: Vec<Result<Seen>> = Vec::with_capacity(sources.len());
        for sources in sources.chunks(together) {
            let mut some: Vec<Result<Vec<Vectors>>> = sources.iter().map(|_| Ok(Vec::new())).collect();
            let share = |source: &Source| {
                let picture = SharedDecode::new(source.clone(), &plan);
                side.map_or(picture.clone(), |side| picture.with_thumbnail(side))
            };
            let pictures: Vec<SharedDecode> = sources.iter().map(share).collect();
            for encoder in encoders {
                // What one cannot use is of no use, so that no other needs to see it.
                let usable: Vec<usize> = (0..some.len()).filter(|&i| some[i].is_ok()).collect();
                let left: Vec<SharedDecode> = usable.iter().map(|&i| pictures[i].clone()).collect();
                for (i, vector) in usable.into_iter().zip(encoder.rows(&left)?) {
                    match (&mut some[i], vector) {
                        (Ok(vectors), Ok(vector)) => vectors.push(vector),
                        (row, Err(error)) => *row = Err(error),
                        (Err(_), Ok(_)) => {}
                    }
                }
            }
            let show = |(row, picture): (Result<Vec<Vectors>>, SharedDecode)| {
                row.map(|vectors| Seen { vectors, thumbnail: picture.thumbnail() })
            };
            match (side, encoders) {
                // A model that decodes elsewhere leaves them to do.
                (Some(_), [first, ..]) => {
                    let all = || some.into_par_iter().zip(pictures).map(show).collect::<Vec<_>>();
                    rows.extend(first.workers().install(all));
                }
                _ => rows.extend(some.into_iter().zip(pictures).map(show)),
            }
        }
        Ok(rows)
    }
}
