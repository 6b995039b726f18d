//! Generates plush toys from seeds: a colored mesh with attributes and captions.
//!
//! A [`Plush`] and a [`View`] are made from numbers, so there are arbitrarily many, each with known attributes. The
//! same pair always gives the same pixels.
//!
//! ```
//! use plushie_search::plush::vocabulary::Language;
//! use plushie_search::plush::view::{SceneKind, View};
//! use plushie_search::plush::Plush;
//!
//! let plush = Plush::new(7);
//! let picture = plush.render(&View::sample(0, SceneKind::Studio), 64, 64);
//! assert_eq!(picture.rgb, Plush::new(7).render(&View::sample(0, SceneKind::Studio), 64, 64).rgb);
//! assert!(plush.caption(Language::En).contains(plush.attributes().species.word(Language::En)));
//! ```

mod accessories;
pub mod attributes;
mod body;
pub mod caption;
mod head;
pub mod sew;
mod sewing;
pub mod species;
pub mod view;
pub mod vocabulary;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::plush::attributes::Attributes;
use crate::plush::caption::caption;
use crate::plush::sew::{Sewn, Stir, sew};
use crate::plush::view::{SceneKind, View};
use crate::plush::vocabulary::Language;
use crate::render::math::V3;
use crate::render::{self, draw};
use crate::workers::workers;

/// The unit of the scene: most toys are about 200 mm high.
const MILLIMETERS: f32 = 100.0;

/// A plush toy.
#[derive(Clone, Debug, PartialEq)]
pub struct Plush {
    seed: u64,
    attributes: Attributes,
}

impl Plush {
    /// Makes the plush of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, attributes: Attributes::sample(seed) }
    }

    /// Makes a plush with these attributes and the proportions of this seed.
    ///
    /// # Errors
    /// [`Error::Argument`] if the attributes do not fit together: see [`Attributes::check`].
    pub fn with_attributes(seed: u64, attributes: Attributes) -> Result<Self> {
        attributes.check()?;
        Ok(Self { seed, attributes })
    }

    /// Makes a plush that differs from this one in a single visible attribute, chosen by `seed`.
    pub fn lookalike(&self, seed: u64) -> Self {
        Self { seed: self.seed, attributes: self.attributes.changed(seed) }
    }

    /// Returns the seed of its proportions.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns its attributes.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Returns a caption.
    pub fn caption(&self, language: Language) -> String {
        caption(&self.attributes, language)
    }

    /// Returns its surface without colors and fur, in millimeters: standing on height 0, with z up, and facing -y.
    ///
    /// # Panics
    /// Never: a plush has a surface.
    pub fn mesh(&self) -> Mesh {
        let Sewn { surface, .. } = sew(self.seed, &self.attributes, Stir::default());
        let corner = |i: u32| {
            let V3 { x, y, z } = surface.vertices[i as usize].position;
            [x, -z, y].map(|x| MILLIMETERS * x)
        };
        let triangles = surface.triangles.iter().map(|triangle| triangle.map(corner)).collect();
        Mesh::from_triangles("plush", triangles).expect("a plush has a surface")
    }

    /// Renders a picture.
    pub fn render(&self, view: &View, width: usize, height: usize) -> render::Rendering {
        let Sewn { mut surface, mut materials } = sew(self.seed, &self.attributes, view.stir);
        view.scatter(&mut surface, &mut materials);
        let scene = render::Scene {
            surface,
            materials: &materials,
            camera: view.camera,
            light: view.light(),
            exposure: view.exposure,
            backdrop: view.backdrop,
            occluder: view.occluder,
        };
        draw(scene, width, height)
    }
}

/// Renders a square picture of a plush.
///
/// # Errors
/// [`Error::Argument`] if `size` is not from 1 to 4096.
pub fn render_square(plush: &Plush, view: &View, size: usize) -> Result<Vec<u8>> {
    check_size(size)?;
    Ok(plush.render(view, size, size).rgb)
}

/// Renders a square picture of a plush with a fourth channel: 255 where the plush is visible, 0 elsewhere.
///
/// # Errors
/// [`Error::Argument`] if `size` is not from 1 to 4096.
pub fn cut_out(plush: &Plush, view: &View, size: usize) -> Result<Vec<u8>> {
    check_size(size)?;
    let drawn = plush.render(view, size, size);
    let shown = drawn.subject.iter().zip(&drawn.covered).map(|(&subject, &covered)| subject && !covered);
    let pixels = drawn.rgb.chunks_exact(3).zip(shown);
    Ok(pixels.flat_map(|(rgb, shown)| [rgb[0], rgb[1], rgb[2], if shown { 255 } else { 0 }]).collect())
}

/// Renders square pictures of many plushes, one after the other: plush `seeds[i]` in view `views[i]`.
///
/// # Errors
/// [`Error::Argument`] if the lists have different lengths, `size` is not from 1 to 4096, or `threads` not from 1 to
/// 1024.
pub fn render_many(
    seeds: &[u64],
    views: &[u64],
    scene: SceneKind,
    size: usize,
    threads: Option<usize>,
) -> Result<Vec<u8>> {
    check_size(size)?;
    if seeds.len() != views.len() {
        return Err(Error::argument(format!(
            "{} seeds but {} views: give one view for each",
            seeds.len(),
            views.len()
        )));
    }
    let workers = workers(threads)?;
    let mut pixels = vec![0; seeds.len() * size * size * 3];
    workers.install(|| {
        pixels.par_chunks_mut(size * size * 3).zip(seeds.par_iter().zip(views)).for_each(|(out, (&seed, &view))| {
            out.copy_from_slice(&Plush::new(seed).render(&View::sample(view, scene), size, size).rgb);
        });
    });
    Ok(pixels)
}

fn check_size(size: usize) -> Result<()> {
    if (1..=4096).contains(&size) {
        return Ok(());
    }
    Err(Error::argument(format!("a picture of {size} x {size} pixels: use 1 to 4096")))
}
