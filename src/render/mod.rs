//! Coloured triangles, a camera and a light become an RGB view, the same on every machine.
//!
//! A [`Scene`] is drawn in three steps: triangles and hairs go to a buffer of depths and triangle numbers with four
//! samples for each pixel; every part seen in a pixel is shaded once; what covers the subject comes last. All of it is
//! single-threaded: draw many views at once to use many cores.

pub mod backdrop;
pub mod lens;
pub mod light;
pub mod math;
pub mod occluder;
pub mod raster;
pub mod shade;
pub mod surface;
pub mod table;

use std::cell::RefCell;

use crate::render::backdrop::Backdrop;
use crate::render::lens::{Camera, Lens};
use crate::render::light::Shadows;
use crate::render::math::{V3, display, lattice};
use crate::render::occluder::Occluder;
use crate::render::raster::{Buffer, Corner, Fur, HAIR, NONE};
use crate::render::shade::{Finish, Light, Material, Point};
use crate::render::surface::{Surface, Vertex};
use crate::render::table::Table;

/// Everything that is drawn.
pub struct Scene<'a> {
    /// The triangles.
    pub surface: Surface,
    /// What they are made of.
    pub materials: &'a [Material],
    /// The camera.
    pub camera: Camera,
    /// The light.
    pub light: Light,
    /// Multiplies all light.
    pub exposure: f32,
    /// Behind and below.
    pub backdrop: Backdrop,
    /// In front.
    pub occluder: Option<Occluder>,
}

/// A view: its pixels and where the subject is.
pub struct View {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// RGB, row by row.
    pub rgb: Vec<u8>,
    /// For each pixel whether the subject is there (before anything covers it).
    pub subject: Vec<bool>,
    /// Whether each pixel is covered by the occluder.
    pub covered: Vec<bool>,
    /// The box of the head in pixels: left, top, right, bottom (it may lie outside of the picture).
    pub head: [f32; 4],
}

thread_local! {
    /// The buffer of the last picture, to be used again: fresh memory costs as much as filling it.
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

/// Draws `scene` as a picture of this size.
pub fn draw(mut scene: Scene, width: usize, height: usize) -> View {
    let shadows = Shadows::new(&scene.surface, scene.light.towards);
    let lens = Lens::new(&scene.camera, &scene.surface, width, height);
    shadows.cast(&mut scene.surface, lens.eye, scene.backdrop.table.map(|_| 0.0));
    let table = Table::new(&scene, &shadows, lens.eye);
    let corners: Vec<Option<Corner>> =
        scene.surface.vertices.iter().map(|vertex| lens.corner(vertex.position)).collect();
    let mut owner = vec![0; scene.surface.triangles.len()];
    for (index, part) in scene.surface.parts.iter().enumerate() {
        owner[part.triangles.0..part.triangles.1].fill(index as u16);
    }
    let mut buffer = BUFFER.take();
    buffer.clear(width, height);
    rasterise(&scene, &lens, &corners, &mut buffer);
    let behind = Behind::new(&scene, &lens, &table, width, height);
    let drawing = Drawing { scene, lens, corners, owner, buffer, behind };
    let view = drawing.finish(width, height);
    BUFFER.set(drawing.buffer);
    view
}

/// Triangles and hairs of all parts, the nearest for each sample.
fn rasterise(scene: &Scene, lens: &Lens, corners: &[Option<Corner>], buffer: &mut Buffer) {
    let surface = &scene.surface;
    for part in &surface.parts {
        let material = &scene.materials[part.material as usize];
        let (length, curls) = match material.finish {
            Finish::Fur(length) => (length, false),
            Finish::Curls(length) => (length, true),
            _ => (0.0, false),
        };
        let distance = (part.centre - lens.eye).length().max(0.1);
        let samples = 2.0 * lens.scale / distance;
        let fur = Fur {
            length,
            width: 0.011 * samples,
            density: if length > 0.06 { 75.0 } else { 65.0 },
            stray: if curls { 1.6 } else { 0.8 },
            droop: if length > 0.06 { 1.0 } else { 0.25 },
            seed: lattice(part.material.into(), part.triangles.0 as i32, 3, material.seed),
        };
        let hairy = length * samples > 0.8;
        let reach = if length > 0.06 { 0.55 } else { 0.36 };
        for index in part.triangles.0..part.triangles.1 {
            let triangle = surface.triangles[index];
            let [Some(a), Some(b), Some(c)] = triangle.map(|i| corners[i as usize]) else { continue };
            let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
            if area >= 0.0 {
                continue;
            }
            buffer.triangle([a, b, c], index as u32);
            if !hairy {
                continue;
            }
            let ends = triangle.map(|i| {
                let vertex = &surface.vertices[i as usize];
                (vertex.position, vertex.normal)
            });
            let view = (lens.eye - ends[0].0).unit();
            let least = ends[0].1.dot(view).min(ends[1].1.dot(view)).min(ends[2].1.dot(view));
            // No hair hangs into the face.
            let face = part.head && triangle.iter().all(|&i| surface.vertices[i as usize].local.z > 0.4);
            if least < if face { 0.2 } else { reach } {
                buffer.hairs(index as u32, ends, &fur, &|p| lens.corner(p));
            }
        }
    }
}

/// What is behind, at every second pixel: a lens that is sharp on the subject is not sharp there.
struct Behind {
    colours: Vec<V3>,
    columns: usize,
}

impl Behind {
    fn new(scene: &Scene, lens: &Lens, table: &Table, width: usize, height: usize) -> Self {
        let (columns, rows) = (width / 2 + 2, height / 2 + 2);
        let mut colours = Vec::with_capacity(columns * rows);
        for i in 0..columns * rows {
            let way = lens.ray((i % columns * 2) as f32, (i / columns * 2) as f32);
            colours.push(table.behind(scene, lens.eye, way));
        }
        Self { colours, columns }
    }

    /// The colour at a pixel's centre, between its four neighbours.
    fn at(&self, column: usize, row: usize) -> V3 {
        let share = |i: usize| if i.is_multiple_of(2) { 0.25 } else { 0.75 };
        let (s, t) = (share(column), share(row));
        let at = row / 2 * self.columns + column / 2;
        let (above, below) = (&self.colours[at..at + 2], &self.colours[at + self.columns..at + self.columns + 2]);
        above[0].mix(above[1], s).mix(below[0].mix(below[1], s), t)
    }
}

/// A scene whose triangles have been drawn.
struct Drawing<'a> {
    scene: Scene<'a>,
    lens: Lens,
    corners: Vec<Option<Corner>>,
    // The part of each triangle.
    owner: Vec<u16>,
    buffer: Buffer,
    behind: Behind,
}

impl Drawing<'_> {
    /// Shades every pixel.
    fn finish(&self, width: usize, height: usize) -> View {
        let scene = &self.scene;
        let is_subject: Vec<bool> = scene.surface.parts.iter().map(|part| part.subject).collect();
        let seen = |(column, row)| {
            let [id, ..] = self.buffer.pixel(column, row);
            id != NONE && is_subject[self.part(id) as usize]
        };
        let pixels = || (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
        let subject: Vec<bool> = pixels().map(seen).collect();
        let cover = scene.occluder.map(|occluder| occluder.placed(&subject, width, height));
        let mut covered = vec![false; width * height];
        let mut rgb = Vec::with_capacity(width * height * 3);
        for ((column, row), covered) in pixels().zip(&mut covered) {
            let mut colour = V3::default();
            let mut left = 1.0;
            if let Some(cover) = &cover {
                let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
                let (share, front) = cover.at(x, y, &scene.light);
                *covered = share > 0.5;
                colour = front * share;
                left = (1.0 - share) * cover.dim(x, y);
            }
            if left > 0.0 {
                colour = colour + self.pixel(column, row) * left;
            }
            let colour = colour * scene.exposure;
            rgb.extend([display(colour.x), display(colour.y), display(colour.z)]);
        }
        View { width, height, rgb, subject, covered, head: self.lens.extent(&scene.surface, true) }
    }

    /// The part that a sample shows, or [`NONE`].
    fn part(&self, id: u32) -> u32 {
        if id == NONE { NONE } else { self.owner[(id & !HAIR) as usize].into() }
    }

    /// Colour of one pixel without what covers it: each part that it shows is shaded once.
    fn pixel(&self, column: usize, row: usize) -> V3 {
        let ids = self.buffer.pixel(column, row);
        let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
        if ids == [NONE; 4] {
            return self.behind.at(column, row);
        }
        let way = self.lens.ray(x, y);
        let parts = ids.map(|id| self.part(id));
        let mut done = [false; 4];
        let mut sum = V3::default();
        for i in 0..4 {
            if done[i] {
                continue;
            }
            let (mut weight, mut hairs) = (0.0, 0.0);
            for j in i..4 {
                if parts[j] == parts[i] {
                    done[j] = true;
                    weight += 0.25;
                    hairs += if ids[j] & HAIR != 0 { 0.25 } else { 0.0 };
                }
            }
            let colour = if ids[i] == NONE {
                self.behind.at(column, row)
            } else {
                self.shade(ids[i] & !HAIR, hairs / weight, (2.0 * x, 2.0 * y), way)
            };
            sum = sum + colour * weight;
        }
        sum
    }

    /// Colour of a triangle at a position in samples.
    fn shade(&self, triangle: u32, hair: f32, (x, y): (f32, f32), way: V3) -> V3 {
        let surface = &self.scene.surface;
        let part = &surface.parts[self.part(triangle) as usize];
        let index = surface.triangles[triangle as usize];
        let [Some(a), Some(b), Some(c)] = index.map(|i| self.corners[i as usize]) else { return V3::default() };
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        let (dx, dy) = (x - a[0], y - a[1]);
        let u = (dx * (c[1] - a[1]) - dy * (c[0] - a[0])) / area;
        let v = (dy * (b[0] - a[0]) - dx * (b[1] - a[1])) / area;
        // A pixel's centre may lie outside of the triangle that covers one of its samples.
        let (u, v, w) = (u.max(0.0), v.max(0.0), (1.0 - u - v).max(0.0));
        let (w0, u0, v0) = (w, u, v);
        let (w, u, v) = (w * a[2], u * b[2], v * c[2]);
        let norm = 1.0 / (u + v + w);
        let depth = norm * (u0 + v0 + w0);
        let (u, v, w) = (u * norm, v * norm, w * norm);
        let [a, b, c] = index.map(|i| &surface.vertices[i as usize]);
        let blend = |f: fn(&Vertex) -> V3| f(a) * w + f(b) * u + f(c) * v;
        let point = Point {
            normal: blend(|vertex| vertex.normal).unit(),
            view: -way,
            local: blend(|vertex| vertex.local),
            open: a.open * w + b.open * u + c.open * v,
            lit: a.lit * w + b.lit * u + c.lit * v,
            hair,
            pixel: depth / self.lens.scale,
        };
        self.scene.materials[part.material as usize].shade(&point, &self.scene.light)
    }
}
