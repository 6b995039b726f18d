//! Encodes pictures with several models, which share decoded pictures.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::encoder::encode::Encode;
use crate::error::Result;
use crate::picture::{Crop, Source};
use crate::preprocess::{DecodePlan, SharedDecode};
use crate::render::studio::View;
use crate::vectors::Vectors;
use crate::views;

/// Bytes of pictures that are kept from one model for the next.
const KEPT: usize = 128 << 20;
/// The least and the most pictures of a search that are in memory together.
const LEAST: usize = 64;
const MOST: usize = 1024;

/// How much of each side is left out on the left and the right, above and below, of the parts that are encoded beside the
/// whole picture: three quarters and a half of each side remain, in the middle.
const MIDDLES: [f64; 2] = [0.125, 0.25];

/// How pictures are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// Whether their middles are encoded, too.
    pub crops: bool,
    /// The views that stand for a mesh.
    pub views: usize,
}

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
/// A mesh gets the mean of its views, and no thumbnail. With `crops` a vector is the mean of those of the whole and of its middle at three quarters and at a half of each
/// side, so that a thing is found which fills another part of the query.
///
/// # Errors
/// As [`Encode::image_rows`].
pub fn each_image(
    encoders: &[&dyn Encode],
    sources: &[Source],
    side: Option<u32>,
    looks: Looks,
) -> Result<Vec<Result<Seen>>> {
    if !sources.iter().any(views::is_mesh) {
        return flat_images(encoders, sources, side, looks.crops);
    }
    let flat: Vec<Source> = sources.iter().filter(|source| !views::is_mesh(source)).cloned().collect();
    let mut flat = flat_images(encoders, &flat, side, looks.crops)?.into_iter();
    // One mesh after the other, so that few views are in memory.
    let next = |source: &Source| match views::is_mesh(source) {
        true => pooled(encoders, source, looks).map(|vectors| Seen { vectors, thumbnail: None }),
        false => flat.next().expect("one for each other picture"),
    };
    Ok(sources.iter().map(next).collect())
}

/// Encodes pictures that are no meshes.
fn flat_images(
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
/// those of its middles if `looks` says so; a mesh to the mean of its views. A picture whose content was searched for so
/// before gets the vectors that are remembered of it, and is not decoded.
///
/// # Errors
/// That of the first picture that cannot be used, and those of [`Encode::image_rows`].
pub fn query_images(encoders: &[&dyn Encode], sources: &[Source], looks: Looks) -> Result<Vec<Vec<Arc<Vectors>>>> {
    let Some(first) = encoders.first().filter(|_| encoders.iter().all(|encoder| encoder.cache().has_images())) else {
        return encoded(encoders, sources, looks);
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
        rows.extend(remembered(encoders, &good, looks)?);
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
    looks: Looks,
) -> Result<Vec<Vec<Arc<Vectors>>>> {
    let key = |(digest, source): &([u8; 32], Source)| {
        let mut key = *digest;
        // The opposite digest stands for the picture with its middles.
        key.iter_mut().filter(|_| looks.crops).for_each(|byte| *byte = !*byte);
        key[0] ^= if views::is_mesh(source) { looks.views as u8 } else { 0 };
        key
    };
    let keys: Vec<[u8; 32]> = pictures.iter().map(key).collect();
    let known: Vec<_> = encoders.iter().map(|encoder| encoder.cache().images(&keys)).collect();
    let mut places: HashMap<[u8; 32], usize> = HashMap::new();
    let mut missing: Vec<([u8; 32], Source)> = Vec::new();
    for (key, (_, source)) in keys.iter().zip(pictures) {
        if known.iter().any(|rows| !rows.contains_key(key)) && !places.contains_key(key) {
            places.insert(*key, missing.len());
            missing.push((*key, source.clone()));
        }
    }
    let fresh = encoded(encoders, &missing.iter().map(|(_, source)| source.clone()).collect::<Vec<_>>(), looks)?;
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
    Ok(rows.into_iter().map(|row| mean(&row?)).collect())
}

fn encoded(encoders: &[&dyn Encode], sources: &[Source], looks: Looks) -> Result<Vec<Vec<Arc<Vectors>>>> {
    let rows = each_image(encoders, sources, None, looks)?.into_iter();
    rows.map(|row| Ok(row?.vectors.into_iter().map(Arc::new).collect())).collect()
}

/// Encodes pictures, in their order, and a mesh to the mean of its views.
///
/// # Errors
/// That of the first picture that gets no vector, and those of [`Encode::image_rows`].
pub fn image_vectors(encoder: &dyn Encode, sources: &[Source], looks: Looks) -> Result<Vectors> {
    let mut vectors = Vectors::new(encoder.about().dim);
    for row in encoded(&[encoder], sources, looks)? {
        row.iter().for_each(|vector| vectors.extend(vector));
    }
    Ok(vectors)
}

/// Draws the views of a mesh and encodes each as [`each_image`] does; tells what was left out of the mesh, too.
///
/// # Errors
/// Those of [`views::pictures`] and of the first view that gets no vector.
pub fn mesh_images(
    encoders: &[&dyn Encode],
    mesh: &Source,
    views: &[View],
    side: Option<u32>,
    crops: bool,
) -> Result<(Vec<Seen>, Vec<String>)> {
    let Some(first) = encoders.first() else { return Ok((Vec::new(), Vec::new())) };
    let (pictures, notes) = first.workers().install(|| views::pictures(mesh, views))?;
    let seen = flat_images(encoders, &pictures, side, crops)?.into_iter().collect::<Result<_>>()?;
    Ok((seen, notes))
}

/// Encodes a mesh to the mean of the vectors of its views, for each model.
fn pooled(encoders: &[&dyn Encode], mesh: &Source, looks: Looks) -> Result<Vec<Vectors>> {
    means(&mesh_images(encoders, mesh, &View::around(looks.views), None, looks.crops)?.0)
}

/// Returns the mean of the vectors of several pictures, for each model.
///
/// # Errors
/// [`Error::Argument`](crate::error::Error::Argument) if they cancel each other out.
pub fn means(seen: &[Seen]) -> Result<Vec<Vectors>> {
    let models = seen.first().map_or(0, |first| first.vectors.len());
    let of = |model: usize| {
        let mut all = seen[0].vectors[model].clone();
        seen[1..].iter().for_each(|seen| all.extend(&seen.vectors[model]));
        mean(&all)
    };
    (0..models).map(of).collect()
}

/// Returns the unit vector in the direction of the sum of some.
fn mean(vectors: &Vectors) -> Result<Vectors> {
    let dim = vectors.dim();
    Vectors::normalize(dim, (0..dim).map(|at| vectors.rows().map(|vector| vector[at]).sum()).collect())
}
