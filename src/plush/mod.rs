//! A seed becomes a plush toy: a colored mesh, its attributes and its captions.
//!
//! A [`Plush`] is made of numbers, so there are as many as one needs, each with known truth about it. A [`View`] is
//! made of numbers too: the same pair always gives the same pixels.
//!
//! ```
//! use plushie_search::plush::attributes::Language;
//! use plushie_search::plush::view::{Scene, View};
//! use plushie_search::plush::Plush;
//!
//! let plush = Plush::new(7);
//! let picture = plush.render(&View::sample(0, Scene::Studio), 64, 64);
//! assert_eq!(picture.rgb, Plush::new(7).render(&View::sample(0, Scene::Studio), 64, 64).rgb);
//! assert!(plush.caption(Language::En).contains(plush.attributes().species.word(Language::En)));
//! ```

mod accessories;
pub mod attributes;
pub mod body;
pub mod caption;
mod head;
pub mod species;
pub mod view;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plush::attributes::{Attributes, Language};
use crate::plush::body::{Sewn, sew};
use crate::plush::caption::caption;
use crate::plush::view::{Scene, View};
use crate::render::{self, draw};
use crate::workers::workers;

/// A plush toy.
#[derive(Clone, Debug, PartialEq)]
pub struct Plush {
    seed: u64,
    attributes: Attributes,
}

impl Plush {
    /// The plush of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, attributes: Attributes::sample(seed) }
    }

    /// A plush with these attributes and the proportions of this seed.
    ///
    /// # Errors
    /// Attributes that do not fit together: see [`Attributes::check`].
    pub fn with_attributes(seed: u64, attributes: Attributes) -> Result<Self> {
        attributes.check()?;
        Ok(Self { seed, attributes })
    }

    /// A plush that differs from this one in a single visible attribute; `seed` chooses which.
    pub fn lookalike(&self, seed: u64) -> Self {
        Self { seed: self.seed, attributes: self.attributes.changed(seed) }
    }

    /// The seed of its proportions.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What can be said about it.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// A sentence that says it.
    pub fn caption(&self, language: Language) -> String {
        caption(&self.attributes, language)
    }

    /// A picture of it.
    pub fn render(&self, view: &View, width: usize, height: usize) -> render::View {
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

/// A square picture of a plush.
///
/// # Errors
/// A side of 0 or beyond 4096.
pub fn render_square(plush: &Plush, view: &View, size: usize) -> Result<Vec<u8>> {
    check_size(size)?;
    Ok(plush.render(view, size, size).rgb)
}

/// A square picture of a plush with a fourth channel: 255 where the plush itself can be seen, 0 elsewhere.
///
/// # Errors
/// A side of 0 or beyond 4096.
pub fn cut_out(plush: &Plush, view: &View, size: usize) -> Result<Vec<u8>> {
    check_size(size)?;
    let drawn = plush.render(view, size, size);
    let shown = drawn.subject.iter().zip(&drawn.covered).map(|(&subject, &covered)| subject && !covered);
    let pixels = drawn.rgb.chunks_exact(3).zip(shown);
    Ok(pixels.flat_map(|(rgb, shown)| [rgb[0], rgb[1], rgb[2], if shown { 255 } else { 0 }]).collect())
}

/// Square pictures of many plushes, one after the other: plush `seeds[i]` in view `views[i]`.
///
/// # Errors
/// Lists of different lengths, a side of 0 or beyond 4096, 0 threads.
pub fn render_many(seeds: &[u64], views: &[u64], scene: Scene, size: usize, threads: Option<usize>) -> Result<Vec<u8>> {
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
