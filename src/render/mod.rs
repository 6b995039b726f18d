//! Renders colored triangles, a camera and a light into an RGB picture, identical on every machine.
//!
//! A [`Scene`] is drawn in three steps: triangles and hairs are rasterized into a buffer of depths and triangle
//! numbers with four samples per pixel; every component in a pixel is shaded once; the occluder is drawn last. All of
//! it is single-threaded: render many scenes in parallel to use many cores.

pub mod backdrop;
pub mod lens;
pub mod light;
pub mod math;
mod noise;
pub mod occluder;
mod pixels;
pub mod raster;
mod samples;
pub mod shade;
pub mod studio;
pub mod surface;
pub mod table;

use std::cell::RefCell;

use crate::render::backdrop::Backdrop;
use crate::render::lens::{Camera, Lens};
use crate::render::light::Shadows;
use crate::render::math::{V3, display, larger, smaller};
use crate::render::noise::lattice;
use crate::render::occluder::Occluder;
use crate::render::pixels::Pixels;
use crate::render::raster::{Buffer, Corner, Fur, NONE};
use crate::render::shade::{Finish, Light, Material};
use crate::render::surface::{Component, Surface};
use crate::render::table::Table;

/// The objects, camera and light of a picture.
pub struct Scene<'a> {
    /// The triangles.
    pub surface: Surface,
    /// The materials of its components.
    pub materials: &'a [Material],
    /// The camera.
    pub camera: Camera,
    /// The light.
    pub light: Light,
    /// Multiplies all light.
    pub exposure: f32,
    /// The background.
    pub backdrop: Backdrop,
    /// An object in front of the subject.
    pub occluder: Option<Occluder>,
}

/// A rendered picture: its pixels and masks.
pub struct Rendering {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// RGB, row by row.
    pub rgb: Vec<u8>,
    /// Whether each pixel shows the subject, before anything covers it.
    pub subject: Vec<bool>,
    /// Whether each pixel is covered by the occluder.
    pub covered: Vec<bool>,
    /// The box of the head in pixels: left, top, right, bottom. It may be outside the picture.
    pub head: [f32; 4],
}

thread_local! {
    /// The buffer of the last picture, reused because new memory costs as much as filling it.
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

/// Draws `scene` as a picture of this size.
pub fn draw(scene: Scene, width: usize, height: usize) -> Rendering {
    let shadows = Shadows::new(&scene.surface, scene.light.towards);
    let lens = Lens::new(&scene.camera, &scene.surface, width, height);
    let corners: Vec<Option<Corner>> =
        scene.surface.vertices.iter().map(|vertex| lens.corner(vertex.position)).collect();
    let mut buffer = BUFFER.take();
    buffer.clear(width, height);
    rasterize(&scene, &lens, &corners, &mut buffer);
    let behind = Behind::new(&scene, &lens, &Table::new(&scene, &shadows, lens.eye), width, height);
    let mut pixels = Pixels::new(&scene, &lens, &shadows, &corners, &behind);
    let view = finish(&mut pixels, &buffer, width, height);
    BUFFER.set(buffer);
    view
}

/// Rasterizes triangles and hairs of all components, the nearest for each sample.
fn rasterize(scene: &Scene, lens: &Lens, corners: &[Option<Corner>], buffer: &mut Buffer) {
    let surface = &scene.surface;
    // Triangles with visible hairs: number, component and middle on the screen.
    let mut hairy = Vec::new();
    for component in &surface.components {
        let length = hair(&scene.materials[component.material as usize]).0;
        let reach = if length > 0.06 { 0.55 } else { 0.36 };
        let stands_off = length * samples(lens, component) > 0.8;
        for index in component.triangles.0..component.triangles.1 {
            let triangle = surface.triangles[index];
            let [Some(a), Some(b), Some(c)] = triangle.map(|i| corners[i as usize]) else { continue };
            let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
            if area >= 0.0 {
                continue;
            }
            buffer.triangle([a, b, c], index as u32);
            if !stands_off {
                continue;
            }
            let [na, nb, nc] = triangle.map(|i| &surface.vertices[i as usize]);
            let view = (lens.eye - na.position).unit();
            let least = smaller(smaller(na.normal.dot(view), nb.normal.dot(view)), nc.normal.dot(view));
            // The face stays free of hairs.
            let face = component.head && na.local.z > 0.4 && nb.local.z > 0.4 && nc.local.z > 0.4;
            if least < if face { 0.2 } else { reach } {
                let middle = [0, 1, 2].map(|k| (a[k] + b[k] + c[k]) * (1.0 / 3.0));
                hairy.push((index, component, middle));
            }
        }
    }
    for (index, component, [x, y, inverse]) in hairy {
        let material = &scene.materials[component.material as usize];
        let (length, curls) = hair(material);
        // Hairs that do not reach the nearest surface are invisible.
        if buffer.covers(x, y, inverse / larger(1.0 - 1.3 * length * inverse, 0.1)) {
            continue;
        }
        let fur = Fur {
            length,
            width: 0.0128 * samples(lens, component),
            density: if length > 0.06 { 62.0 } else { 53.0 },
            stray: if curls { 1.6 } else { 0.8 },
            droop: if length > 0.06 { 1.0 } else { 0.25 },
            seed: lattice(component.material.into(), component.triangles.0 as i32, 3, material.seed),
        };
        let ends = surface.triangles[index].map(|i| {
            let vertex = &surface.vertices[i as usize];
            (vertex.position, vertex.normal)
        });
        buffer.hairs(index as u32, ends, &fur, &|p| lens.corner(p));
    }
}

/// Returns the length of a material's hairs, 0 without any, and whether they are curls.
fn hair(material: &Material) -> (f32, bool) {
    match material.finish {
        Finish::Fur(length) => (length, false),
        Finish::Curls(length) => (length, true),
        _ => (0.0, false),
    }
}

/// Returns the samples per unit of the scene at a component.
fn samples(lens: &Lens, component: &Component) -> f32 {
    2.0 * lens.scale / larger((component.center - lens.eye).length(), 0.1)
}

/// The blurred background, at every second pixel.
struct Behind {
    colors: Vec<V3>,
    // The same as bytes of the picture.
    bytes: Vec<u8>,
    columns: usize,
}

impl Behind {
    fn new(scene: &Scene, lens: &Lens, table: &Table, width: usize, height: usize) -> Self {
        let (columns, rows) = (width / 2 + 2, height / 2 + 2);
        let mut colors = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                let way = lens.ray((column * 2) as f32, (row * 2) as f32);
                colors.push(table.behind(scene, lens.eye, way));
            }
        }
        let bytes = colors.iter().flat_map(|&color| display(color * scene.exposure)).collect();
        Self { colors, bytes, columns }
    }

    /// Returns the color at a pixel's center, between its four neighbors.
    fn at(&self, column: usize, row: usize) -> V3 {
        let share = |i: usize| if i.is_multiple_of(2) { 0.25 } else { 0.75 };
        let (s, t) = (share(column), share(row));
        let at = row / 2 * self.columns + column / 2;
        let (above, below) = (&self.colors[at..at + 2], &self.colors[at + self.columns..at + self.columns + 2]);
        above[0].mix(above[1], s).mix(below[0].mix(below[1], s), t)
    }

    /// Writes the bytes of a whole row of pixels; `blend` is a scratch buffer.
    fn fill(&self, row: usize, blend: &mut Vec<u16>, line: &mut [u8]) {
        let wide = 3 * self.columns;
        let (above, below) = self.bytes[row / 2 * wide..][..2 * wide].split_at(wide);
        let share = 1 + 2 * (row as u16 & 1);
        blend.clear();
        blend.extend(above.iter().zip(below).map(|(&a, &b)| u16::from(a) * (4 - share) + u16::from(b) * share));
        let between = |near: u16, far: u16| ((3 * near + far + 8) >> 4) as u8;
        let mut pairs = line.chunks_exact_mut(6);
        for (pair, six) in pairs.by_ref().zip(blend.windows(6).step_by(3)) {
            for k in 0..3 {
                (pair[k], pair[k + 3]) = (between(six[k], six[k + 3]), between(six[k + 3], six[k]));
            }
        }
        let last = pairs.into_remainder();
        let at = wide - 6;
        for (k, byte) in last.iter_mut().enumerate() {
            *byte = between(blend[at + k], blend[at + k + 3]);
        }
    }
}

/// Shades every pixel of a rasterized scene.
fn finish(pixels: &mut Pixels, buffer: &Buffer, width: usize, height: usize) -> Rendering {
    let scene = pixels.scene;
    let mut subject = vec![false; width * height];
    let cover = scene.occluder.map(|occluder| {
        let ids = (0..height).flat_map(|row| buffer.pixels(row));
        subject.iter_mut().zip(ids).for_each(|(subject, ids)| *subject = pixels.is_subject(ids[0]));
        occluder.placed(&subject, width, height)
    });
    let mut covered = vec![false; width * height];
    let mut rgb = vec![0; width * height * 3];
    let mut blend = Vec::new();
    for (row, line) in rgb.chunks_exact_mut(width * 3).enumerate() {
        pixels.behind.fill(row, &mut blend, line);
        let mut near = false;
        for (column, (ids, out)) in buffer.pixels(row).zip(line.chunks_exact_mut(3)).enumerate() {
            let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
            if column.is_multiple_of(8) {
                near = cover.as_ref().is_some_and(|cover| cover.near(x + 3.5, y, 4.0));
            }
            let color = if near && let Some(cover) = &cover {
                let (share, front) = cover.at(x, y, &scene.light);
                covered[row * width + column] = share > 0.5;
                let left = if share < 1.0 { (1.0 - share) * cover.dim(x, y) } else { 0.0 };
                let seen = if left > 0.0 { pixels.color(ids, column, row) } else { V3::default() };
                front * share + seen * left
            } else if ids == [NONE; 4] {
                continue;
            } else {
                subject[row * width + column] = pixels.is_subject(ids[0]);
                pixels.color(ids, column, row)
            };
            out.copy_from_slice(&display(color * scene.exposure));
        }
    }
    Rendering { width, height, rgb, subject, covered, head: pixels.lens.extent(&scene.surface, true) }
}
