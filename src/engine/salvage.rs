//! Saves what can be read of a damaged catalog: its store, and the originals and thumbnails that are sound.

use std::collections::HashSet;
use std::path::Path;

use crate::cancel;
use crate::engine::verify::has_content;
use crate::error::Result;
use crate::store::aside::{check_thumbnails, copy_thumbnails};
use crate::store::media::Media;
use crate::store::salvage::{self, Salvaged};
use crate::store::{Access, Problem, Store};

/// Writes what can be read of the catalog in `source` into a new one in `target`, which must hold none. Nothing in `source`
/// is changed. Thumbnails that cannot be read are left out, since they are made again.
///
/// # Errors
/// Those of [`salvage::salvage`], and of copying originals.
pub fn salvage(source: &Path, target: &Path) -> Result<Salvaged> {
    let mut salvaged = salvage::salvage(source, target)?;
    let store = Store::open(target, &Access::existing())?;
    let digests = store.digests()?;
    let (media, mut sound) = (Media::new(source), HashSet::new());
    for digest in &digests {
        cancel::poll()?;
        match media.find(digest) {
            Some(path) if has_content(&path, digest) => {
                sound.insert(*digest);
            }
            Some(path) => {
                let problem = format!("original {} is damaged", path.display());
                salvaged.lost.push(Problem { item: None, reference: None, problem });
            }
            None => {}
        }
    }
    media.copy(&Media::new(target), &sound)?;
    if check_thumbnails(source, &digests).damage.is_none() {
        copy_thumbnails(source, target)?;
    }
    Ok(salvaged)
}
