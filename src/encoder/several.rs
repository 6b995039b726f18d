//! Encodes pictures with several models, which share decoded pictures.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::encoder::encode::Encode;
use crate::error::Result;
use crate::picture::{Crop, Source};
use crate::preprocess::{DecodePlan, SharedDecode};
use crate::vectors::Vectors;

/// Bytes of pictures that are kept from one model for the next.
const KEPT: usize = 128 << 20;
/// The least and the most pictures of a search that are in memory together.
const LEAST: usize = 64;
const MOST: usize = 1024;

/// How much of each side is left out on the left and the right, above and below, of the parts that are encoded beside the
/// whole picture: three quarters and a half of each side remain, in the middle.
const MIDDLES: [f64; 2] = [0.125, 0.25];

/// A picture as several models see it.
#[derive(Debug)]
pub struct Seen {
    /// The vector of each model.
    pub vectors: Vec<Vectors>,
    /// A small copy as a JPEG file; None if none is wanted, or the picture cannot be decoded here.
    pub thumbnail: Option<Vec<u8>>,
}

/// Encodes each picture with each of `encoders`, or tells why one of them cannot. A picture is decoded once for all that
/// would decode it at the same scale, and gets the vectors that each would give it alone. It gets a thumbnail, too, if the
/// longer `side` of that is given.
///
/// With `crops` its vector is the mean of those of the whole and of its middle at three quarters and at a half of each
/// side, so that a thing is found which fills another part of the query.
///
/// # Errors
/// As [`Encode::image_rows`].
pub fn each_image(
    encoders: &[&dyn Encode],
    sources: &[Source],
    side: Option<u32>,
    crops: bool,
) -> Result<Vec<Result<Seen>>> {
    let plan = DecodePlan::new(encoders.iter().filter_map(|encoder| encoder.preprocess()));
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
            // A picture that one encoder cannot use is of no use to the others.
            let usable: Vec<usize> = (0..some.len()).filter(|&i| some[i].is_ok()).collect();
            let left: Vec<SharedDecode> = usable.iter().map(|&i| pictures[i].clone()).collect();
            let rows = if crops { cropped(*encoder, &left)? } else { encoder.image_rows(&left)? };
            for (i, vector) in usable.into_iter().zip(rows) {
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

/// Encodes the pictures of a search with each of `encoders`, as [`each_image`] does, each to the mean of its own vector and
/// those of its middles if `crops` says so. A picture whose content was searched for so before gets the vectors that are
/// remembered of it, and is not decoded.
///
/// # Errors
/// That of the first picture that cannot be used, and those of [`Encode::image_rows`].
pub fn query_images(encoders: &[&dyn Encode], sources: &[Source], crops: bool) -> Result<Vec<Vec<Arc<Vectors>>>> {
    let Some(first) = encoders.first().filter(|_| encoders.iter().all(|encoder| encoder.cache().has_images())) else {
        return encoded(encoders, sources, crops);
    };
    encoders.iter().try_for_each(|encoder| encoder.check_process())?;
    let busy = encoders.iter().map(|encoder| encoder.preferred_batch()).max().unwrap_or(1);
    let mut rows = Vec::with_capacity(sources.len());
    for sources in sources.chunks((2 * busy).clamp(LEAST, MOST)) {
        let read = |source: &Source| {
            let source = source.read()?;
            Ok((source.digest()?, source))
        };
        let read: Vec<Result<([u8; 32], Source)>> = match sources {
            [one] => vec![read(one)],
            _ => first.workers().install(|| sources.par_iter().map(read).collect()),
        };
        let (mut good, mut failed) = (Vec::with_capacity(read.len()), None);
        for read in read {
            match read {
                Ok(one) => good.push(one),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        rows.extend(remembered(encoders, &good, crops)?);
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(rows)
}

/// Looks pictures up by their digests, and encodes those that an encoder does not remember.
fn remembered(
    encoders: &[&dyn Encode],
    pictures: &[([u8; 32], Source)],
    crops: bool,
) -> Result<Vec<Vec<Arc<Vectors>>>> {
    // The opposite digest stands for the picture with its middles.
    let key = |digest: &[u8; 32]| if crops { digest.map(|byte| !byte) } else { *digest };
    let keys: Vec<[u8; 32]> = pictures.iter().map(|(digest, _)| key(digest)).collect();
    let known: Vec<_> = encoders.iter().map(|encoder| encoder.cache().images(&keys)).collect();
    let mut places: HashMap<[u8; 32], usize> = HashMap::new();
    let mut missing: Vec<([u8; 32], Source)> = Vec::new();
    for (key, (_, source)) in keys.iter().zip(pictures) {
        if known.iter().any(|rows| !rows.contains_key(key)) && !places.contains_key(key) {
            places.insert(*key, missing.len());
            missing.push((*key, source.clone()));
        }
    }
    let fresh = encoded(encoders, &missing.iter().map(|(_, source)| source.clone()).collect::<Vec<_>>(), crops)?;
    for (number, encoder) in encoders.iter().enumerate() {
        let rows = missing.iter().zip(&fresh).map(|((key, _), rows)| (*key, Arc::clone(&rows[number])));
        encoder.cache().keep_images(&rows.collect::<Vec<_>>());
    }
    let row = |key: &[u8; 32]| match places.get(key) {
        Some(&place) => fresh[place].clone(),
        None => known.iter().map(|rows| Arc::clone(&rows[key])).collect(),
    };
    Ok(keys.iter().map(row).collect())
}

/// Encodes each picture, and its middles, to the mean of their vectors.
fn cropped(encoder: &dyn Encode, pictures: &[SharedDecode]) -> Result<Vec<Result<Vectors>>> {
    let mut rows = encoder.image_rows(pictures)?;
    for out in MIDDLES {
        let crop = Crop::new([out, out, 1.0 - out, 1.0 - out])?;
        let part =
            |picture: &SharedDecode| SharedDecode::alone(Source::Part { of: Box::new(picture.source().clone()), crop });
        let parts: Vec<SharedDecode> = pictures.iter().map(part).collect();
        for (row, part) in rows.iter_mut().zip(encoder.image_rows(&parts)?) {
            match (&mut *row, part) {
                (Ok(vectors), Ok(part)) => vectors.extend(&part),
                (Ok(_), Err(error)) => *row = Err(error),
                (Err(_), _) => {}
            }
        }
    }
    let mean = |row: Result<Vectors>| {
        let (vectors, dim) = (row?, encoder.about().dim);
        Vectors::normalize(dim, (0..dim).map(|at| vectors.rows().map(|vector| vector[at]).sum()).collect())
    };
    Ok(rows.into_iter().map(mean).collect())
}

fn encoded(encoders: &[&dyn Encode], sources: &[Source], crops: bool) -> Result<Vec<Vec<Arc<Vectors>>>> {
    let rows = each_image(encoders, sources, None, crops)?.into_iter();
    rows.map(|row| Ok(row?.vectors.into_iter().map(Arc::new).collect())).collect()
}
