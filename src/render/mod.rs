//! Coloured triangles, a camera and a light become an RGB view, the same on every machine.
//!
//! A [`Scene`] is drawn in three steps: triangles and hairs go to a buffer of depths and triangle numbers with four
//! samples for each pixel; every part seen in a pixel is shaded once; what covers the subject comes last. All of it is
//! single-threaded: draw many views at once to use many cores.

pub mod backdrop;
pub mod light;
pub mod math;
pub mod occluder;
pub mod raster;
pub mod shade;
pub mod surface;

use crate::render::backdrop::Backdrop;
use crate::render::light::Shadows;
use crate::render::math::{Basis, V3, display, floor, lattice, smooth, v3};
use crate::render::occluder::Occluder;
use crate::render::raster::{Buffer, Corner, Fur, HAIR, NONE};
use crate::render::shade::{Finish, Light, Material, Point};
use crate::render::surface::Surface;

/// Where the camera stands; the frame is fitted to the subject.
#[derive(Clone, Copy, Debug)]
pub struct Camera {
    /// Degrees around the subject, 0 from the front.
    pub azimuth: f32,
    /// Degrees above the subject's middle.
    pub elevation: f32,
    /// Degrees by which the camera is turned about its axis.
    pub roll: f32,
    /// Distance from the subject's middle, in units of the subject's height: the perspective.
    pub distance: f32,
    /// Share of the frame that the subject fills.
    pub zoom: f32,
    /// Shift of the subject, in frames.
    pub offset: (f32, f32),
    /// Whether the frame is fitted to the head instead of to the whole.
    pub head: bool,
}

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

/// The camera as numbers.
struct Lens {
    eye: V3,
    axes: Basis,
    centre: (f32, f32),
    scale: f32,
    half: (f32, f32),
}

impl Lens {
    fn new(camera: &Camera, surface: &Surface, width: usize, height: usize) -> Self {
        let (low, high) = surface.bounds();
        let middle = (low + high) * 0.5;
        let size = (high.y - low.y).max(0.5 * (high.x - low.x)).max(0.5 * (high.z - low.z));
        let turned = Basis::turn(-camera.elevation, 0.0, 0.0);
        let axes = Basis::turn(0.0, camera.azimuth, 0.0).times(turned).times(Basis::turn(0.0, 0.0, camera.roll));
        let eye = middle + axes.z * (camera.distance.max(0.8) * size.max(1e-3));
        let half = (0.5 * width as f32, 0.5 * height as f32);
        let mut lens = Self { eye, axes, centre: (0.0, 0.0), scale: 1.0, half };
        let [left, top, right, bottom] = lens.extent(surface, camera.head);
        let wide = ((right - left) / width as f32).max((bottom - top) / height as f32);
        lens.scale = camera.zoom / wide.max(1e-6);
        let frame = width.min(height) as f32 / lens.scale;
        lens.centre = (
            0.5 * (left + right) - half.0 - camera.offset.0 * frame,
            -(0.5 * (top + bottom) - half.1) - camera.offset.1 * frame,
        );
        lens
    }

    /// Position on the screen in pixels and depth, or nothing behind the camera.
    fn screen(&self, p: V3) -> Option<(f32, f32, f32)> {
        let v = self.axes.back(p - self.eye);
        let depth = -v.z;
        if depth < 0.02 {
            return None;
        }
        let inverse = 1.0 / depth;
        let x = self.half.0 + (v.x * inverse - self.centre.0) * self.scale;
        let y = self.half.1 - (v.y * inverse - self.centre.1) * self.scale;
        Some((x, y, inverse))
    }

    fn corner(&self, p: V3) -> Option<Corner> {
        self.screen(p).map(|(x, y, inverse)| [2.0 * x, 2.0 * y, inverse])
    }

    /// Unit vector of the ray through a position in pixels.
    fn ray(&self, x: f32, y: f32) -> V3 {
        let u = (x - self.half.0) / self.scale + self.centre.0;
        let v = -(y - self.half.1) / self.scale + self.centre.1;
        (self.axes.x * u + self.axes.y * v - self.axes.z).unit()
    }

    /// The box around the subject or around its head: left, top, right, bottom in pixels.
    fn extent(&self, surface: &Surface, head: bool) -> [f32; 4] {
        let mut extent = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];
        let parts = surface.parts.iter().filter(|part| part.subject && (part.head || !head));
        for vertex in parts.flat_map(|part| &surface.vertices[part.vertices.0..part.vertices.1]) {
            if let Some((x, y, _)) = self.screen(vertex.position) {
                extent = [extent[0].min(x), extent[1].min(y), extent[2].max(x), extent[3].max(y)];
            }
        }
        extent
    }
}

/// Draws `scene` as a picture of this size.
pub fn draw(mut scene: Scene, width: usize, height: usize) -> View {
    let shadows = Shadows::new(&scene.surface, scene.light.towards);
    shadows.cast(&mut scene.surface, scene.backdrop.table.map(|_| 0.0));
    let lens = Lens::new(&scene.camera, &scene.surface, width, height);
    let surface = &scene.surface;
    let corners: Vec<Option<Corner>> = surface.vertices.iter().map(|vertex| lens.corner(vertex.position)).collect();
    let mut owner = vec![0u16; surface.triangles.len()];
    for (index, part) in surface.parts.iter().enumerate() {
        owner[part.triangles.0..part.triangles.1].fill(index as u16);
    }
    let buffer = rasterise(&scene, &lens, &corners, width, height);
    let table = Table::new(&scene, &shadows);

    let seen = |i: usize| {
        let (x, y) = (i % width, i / width);
        let id = buffer.id[2 * y * buffer.width + 2 * x];
        id != NONE && surface.parts[owner[(id & !HAIR) as usize] as usize].subject
    };
    let subject: Vec<bool> = (0..width * height).map(seen).collect();
    let cover = scene.occluder.map(|occluder| occluder.placed(&subject, width, height));

    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut covered = vec![false; width * height];
    for y in 0..height {
        for x in 0..width {
            let i = y * width + x;
            let mut colour = V3::default();
            let mut hidden = 0.0;
            if let Some(cover) = &cover {
                let (share, front) = cover.at(x as f32 + 0.5, y as f32 + 0.5, &scene.light);
                (hidden, colour) = (share, front * share);
                covered[i] = share > 0.5;
                if share < 1.0 {
                    hidden = share;
                }
            }
            if hidden < 1.0 {
                let behind = pixel(&scene, &lens, &corners, &owner, &buffer, &table, (x, y));
                let dim = cover.as_ref().map_or(1.0, |cover| cover.dim(x as f32 + 0.5, y as f32 + 0.5));
                colour = colour + behind * ((1.0 - hidden) * dim);
            }
            let colour = colour * scene.exposure;
            rgb.extend([display(colour.x), display(colour.y), display(colour.z)]);
        }
    }
    View { width, height, rgb, subject, covered, head: lens.extent(surface, true) }
}

fn rasterise(scene: &Scene, lens: &Lens, corners: &[Option<Corner>], width: usize, height: usize) -> Buffer {
    let surface = &scene.surface;
    let mut buffer = Buffer::new(width, height);
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
    buffer
}

/// Colour of one pixel without what covers it.
fn pixel(
    scene: &Scene,
    lens: &Lens,
    corners: &[Option<Corner>],
    owner: &[u16],
    buffer: &Buffer,
    table: &Table,
    (x, y): (usize, usize),
) -> V3 {
    let at = 2 * y * buffer.width + 2 * x;
    let ids = [buffer.id[at], buffer.id[at + 1], buffer.id[at + buffer.width], buffer.id[at + buffer.width + 1]];
    let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
    let way = lens.ray(px, py);
    let part_of = |id: u32| if id == NONE { u32::MAX } else { owner[(id & !HAIR) as usize].into() };
    let mut sum = V3::default();
    let mut done = [false; 4];
    for i in 0..4 {
        if done[i] {
            continue;
        }
        let key = (part_of(ids[i]), ids[i] != NONE && ids[i] & HAIR != 0);
        let mut weight = 0.0;
        for j in i..4 {
            if !done[j] && key == (part_of(ids[j]), ids[j] != NONE && ids[j] & HAIR != 0) {
                done[j] = true;
                weight += 0.25;
            }
        }
        let colour = if ids[i] == NONE {
            table.behind(scene, lens.eye, way)
        } else {
            let triangle = ids[i] & !HAIR;
            surface_colour(scene, lens, corners, owner, (triangle, key.1), (2.0 * px, 2.0 * py), way)
        };
        sum = sum + colour * weight;
    }
    sum
}

fn surface_colour(
    scene: &Scene,
    lens: &Lens,
    corners: &[Option<Corner>],
    owner: &[u16],
    (triangle, hair): (u32, bool),
    (x, y): (f32, f32),
    way: V3,
) -> V3 {
    let surface = &scene.surface;
    let part = &surface.parts[owner[triangle as usize] as usize];
    let index = surface.triangles[triangle as usize];
    let [Some(a), Some(b), Some(c)] = index.map(|i| corners[i as usize]) else { return V3::default() };
    let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    let (dx, dy) = (x - a[0], y - a[1]);
    let u = (dx * (c[1] - a[1]) - dy * (c[0] - a[0])) / area;
    let v = (dy * (b[0] - a[0]) - dx * (b[1] - a[1])) / area;
    // A pixel's centre may lie outside of the triangle that covers one of its samples.
    let (u, v, w) = (u.max(0.0), v.max(0.0), (1.0 - u - v).max(0.0));
    let (w, u, v) = (w * a[2], u * b[2], v * c[2]);
    let norm = 1.0 / (u + v + w);
    let (u, v, w) = (u * norm, v * norm, w * norm);
    let [a, b, c] = index.map(|i| &surface.vertices[i as usize]);
    let blend = |f: fn(&surface::Vertex) -> V3| f(a) * w + f(b) * u + f(c) * v;
    let position = blend(|vertex| vertex.position);
    let depth = (position - lens.eye).length();
    let point = Point {
        normal: blend(|vertex| vertex.normal).unit(),
        view: -way,
        local: blend(|vertex| vertex.local),
        open: a.open * w + b.open * u + c.open * v,
        lit: a.lit * w + b.lit * u + c.lit * v,
        hair,
        pixel: depth / lens.scale,
    };
    scene.materials[part.material as usize].shade(&point, &scene.light)
}

/// Shadows on the table, on a coarse grid.
struct Table {
    light: Vec<(f32, f32)>,
    // Brightness of the table where no shadow falls.
    full: V3,
}

impl Table {
    const CELLS: usize = 36;
    const HALF: f32 = 2.8;

    fn new(scene: &Scene, shadows: &Shadows) -> Self {
        let side = Self::CELLS + 1;
        let mut light = Vec::new();
        if scene.backdrop.table.is_some() {
            light.reserve(side * side);
            for i in 0..side * side {
                let at = |k: usize| (k as f32 / Self::CELLS as f32 * 2.0 - 1.0) * Self::HALF;
                light.push(shadows.at(v3(at(i % side), 0.0, at(i / side)), v3(0.0, 1.0, 0.0), usize::MAX));
            }
        }
        let full = scene.light.sky + scene.light.key * scene.light.towards.y.max(0.1);
        Self { light, full }
    }

    /// Colour of the backdrop along a ray.
    fn behind(&self, scene: &Scene, eye: V3, way: V3) -> V3 {
        let hit = scene.backdrop.hit(eye, way);
        let Some(p) = hit.table else { return hit.colour };
        let at = |k: f32| ((k / Self::HALF) * 0.5 + 0.5) * Self::CELLS as f32;
        let (x, z) = (at(p.x), at(p.z));
        let limit = Self::CELLS as f32 - 1e-3;
        if !(x > 0.0 && z > 0.0 && x < limit && z < limit) {
            return hit.colour;
        }
        let (i, j) = (floor(x), floor(z));
        let (s, t) = (x - i, z - j);
        let side = Self::CELLS + 1;
        let k = j as usize * side + i as usize;
        let (a, b, c, d) = (self.light[k], self.light[k + 1], self.light[k + side], self.light[k + side + 1]);
        let blend = |f: fn((f32, f32)) -> f32| {
            let (top, bottom) = (f(a) + (f(b) - f(a)) * s, f(c) + (f(d) - f(c)) * s);
            top + (bottom - top) * t
        };
        let (open, lit) = (blend(|l| l.0), blend(|l| l.1));
        let here = scene.light.sky * open + scene.light.key * (scene.light.towards.y.max(0.1) * lit);
        let edge = smooth(0.8, 1.0, (p.x.abs().max(p.z.abs())) / Self::HALF);
        let ratio = v3(here.x / self.full.x, here.y / self.full.y, here.z / self.full.z);
        hit.colour.scale(ratio.mix(V3::splat(1.0), edge))
    }
}
