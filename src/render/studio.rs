//! Pictures of a mesh from many sides: warm grey on white, under a light from above left.
//!
//! The vertical axis is that of the file, z. Each view is fitted to what is visible from there, so that the size in the
//! file does not matter. Faces are lit from both sides, because many files have flipped ones.

use std::cell::RefCell;
use std::fmt;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::mesh::{Mesh, Triangle};
use crate::render::math::{V3, display, larger, linear, sin_cos, smaller, v3};
use crate::render::raster::{Corner, NONE};
use crate::render::samples::{Frame, Samples};

/// The views of a mesh by default.
pub const VIEWS: usize = 20;
/// The most views of a mesh: more of them would lie within a few degrees.
pub const MAX_VIEWS: usize = 100;
/// The side of a view in pixels by default.
pub const SIDE: usize = 224;

/// The share of the frame that the mesh fills, along its longer side.
const FILL: f32 = 0.8;
/// The camera's distance from the middle, in radii of the mesh: its field of view is 30 degrees.
const DISTANCE: f32 = 3.864;
/// The color of the mesh, as shown by a display.
const COLOR: V3 = v3(0.70, 0.68, 0.65);
/// The direction to the light, seen from the camera: right, up and towards it.
const LIGHT: V3 = v3(-0.45, 0.75, 0.48);
/// The most triangles whose projected corners are kept from the first look at them, in 3.6 MB, for the second.
const KEPT: usize = 100_000;
/// Degrees above the horizon of a camera that goes around.
const TURNTABLE: i16 = 20;

thread_local! {
    /// The samples and the corners of the last picture, reused because new memory costs as much as filling it.
    static SPACE: RefCell<(Samples, Vec<[Corner; 3]>)> = RefCell::default();
}

/// A direction from the middle of a mesh to the camera, in whole degrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Degrees around the vertical axis from x to y, 0 to 359.
    pub azimuth: i16,
    /// Degrees above the horizon, -90 to 90.
    pub elevation: i16,
}

/// How many elevations there are.
const ELEVATIONS: i64 = 181;

impl View {
    /// Makes the view nearest to a direction.
    fn towards(x: f64, y: f64, z: f64) -> Self {
        let azimuth = y.atan2(x).to_degrees().round() as i16;
        Self { azimuth: azimuth.rem_euclid(360), elevation: z.atan2(x.hypot(y)).to_degrees().round() as i16 }
    }

    /// Returns the number of the view, from 1.
    pub fn number(self) -> i64 {
        1 + i64::from(self.azimuth) * ELEVATIONS + i64::from(self.elevation) + 90
    }

    /// Returns the view of this number, if it is one.
    pub fn from_number(number: i64) -> Option<Self> {
        let place = number - 1;
        let elevation = (place.rem_euclid(ELEVATIONS) - 90) as i16;
        (0..360 * ELEVATIONS).contains(&place).then_some(Self { azimuth: (place / ELEVATIONS) as i16, elevation })
    }

    /// Reads `view:azimuth,elevation`, as a view is shown.
    pub fn parse(text: &str) -> Option<Self> {
        let (azimuth, elevation) = text.strip_prefix("view:")?.split_once(',')?;
        let view = Self { azimuth: azimuth.parse().ok()?, elevation: elevation.parse().ok()? };
        ((0..360).contains(&view.azimuth) && (-90..=90).contains(&view.elevation)).then_some(view)
    }

    /// Returns `count` views that are spread evenly: one from a corner, the corners of a cube, those of a dodecahedron
    /// if there are 20, and else points of a spiral from top to bottom.
    pub fn around(count: usize) -> Vec<Self> {
        let signs = [1.0, -1.0];
        let cube = || signs.into_iter().flat_map(|x| signs.into_iter().flat_map(move |y| signs.map(|z| [x, y, z])));
        let golden = f64::midpoint(1.0, 5_f64.sqrt());
        let points: Vec<[f64; 3]> = match count {
            1 => vec![[1.0, -0.8, 0.77]],
            8 => cube().collect(),
            20 => {
                let pairs = signs.into_iter().flat_map(|u| signs.map(|v| (u / golden, v * golden)));
                cube().chain(pairs.flat_map(|(u, v)| [[0.0, u, v], [u, v, 0.0], [v, 0.0, u]])).collect()
            }
            _ => {
                let turn = std::f64::consts::TAU / (golden * golden);
                let point = |i: usize| {
                    let z = 1.0 - (2.0 * i as f64 + 1.0) / count as f64;
                    let (r, angle) = ((1.0 - z * z).sqrt(), i as f64 * turn);
                    [r * angle.cos(), r * angle.sin(), z]
                };
                (0..count).map(point).collect()
            }
        };
        points.into_iter().map(|[x, y, z]| Self::towards(x, y, z)).collect()
    }

    /// Returns `count` views of a camera that goes around once, from a little above.
    pub fn turntable(count: usize) -> Vec<Self> {
        (0..count)
            .map(|i| Self { azimuth: ((360 * i + count / 2) / count) as i16 % 360, elevation: TURNTABLE })
            .collect()
    }
}

/// The number that stands for all views of a mesh together.
pub const ALL: i64 = 1 + 360 * ELEVATIONS;

/// Returns the name of a view by its number, `view:azimuth,elevation` or `view:all`; none of 0, a picture.
pub fn view_name(number: i64) -> Option<String> {
    if number == ALL { Some("view:all".into()) } else { View::from_number(number).map(|view| view.to_string()) }
}

/// Returns the number of a view by its name.
pub fn view_number(name: &str) -> Option<i64> {
    if name == "view:all" { Some(ALL) } else { View::parse(name).map(View::number) }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view:{},{}", self.azimuth, self.elevation)
    }
}

/// The unit normal of a triangle, and the height of its plane over the middle.
type Plane = (V3, f32);

/// A mesh in the middle of the studio, and its size.
pub struct Studio<'a> {
    triangles: &'a [Triangle],
    middle: V3,
    /// One over the radius.
    scale: f32,
    /// The planes of all triangles, for all views, unless there are more than [`KEPT`].
    planes: Vec<Plane>,
}

/// Draws square pictures of a mesh, one after the other, on the threads of the current pool.
///
/// # Errors
/// [`Error::Argument`] if `side` is not from 1 to 1024, or there are no views or more than [`MAX_VIEWS`].
pub fn draw_all(mesh: &Mesh, views: &[View], side: usize) -> Result<Vec<u8>> {
    if !(1..=1024).contains(&side) {
        return Err(Error::argument(format!("a view of {side} x {side} pixels: use 1 to 1024")));
    }
    check_count(views.len())?;
    let studio = Studio::new(mesh);
    let mut pixels = vec![0; views.len() * side * side * 3];
    let places = pixels.par_chunks_mut(side * side * 3).zip(views).with_max_len(1);
    places.for_each(|(place, view)| place.copy_from_slice(&studio.draw(*view, side)));
    Ok(pixels)
}

/// Refuses a number of views that a mesh cannot have.
///
/// # Errors
/// [`Error::Argument`] if it is 0 or more than [`MAX_VIEWS`].
pub fn check_count(views: usize) -> Result<()> {
    match views {
        1..=MAX_VIEWS => Ok(()),
        _ => Err(Error::argument(format!("{views} views of a mesh: use 1 to {MAX_VIEWS}"))),
    }
}

/// A camera that looks at the middle.
struct Camera {
    right: V3,
    up: V3,
    /// From the middle to the camera.
    back: V3,
}

impl<'a> Studio<'a> {
    /// Puts a mesh into the studio.
    pub fn new(mesh: &'a Mesh) -> Self {
        let (low, high) = mesh.bounds();
        let middle = |axis: usize| f32::midpoint(low[axis], high[axis]);
        let middle = v3(middle(0), middle(1), middle(2));
        let squares = mesh.triangles().as_flattened().iter().map(|corner| {
            let away = point(corner) - middle;
            away.dot(away)
        });
        let radius = squares.fold(0.0, larger).sqrt();
        let scale = 1.0 / larger(radius, f32::MIN_POSITIVE);
        let mut studio = Self { triangles: mesh.triangles(), middle, scale, planes: Vec::new() };
        if studio.triangles.len() <= KEPT {
            studio.planes = (0..studio.triangles.len()).map(|id| studio.plane(id)).collect();
        }
        studio
    }

    /// Draws a square picture, `side` pixels wide: three bytes per pixel, row by row.
    pub fn draw(&self, view: View, side: usize) -> Vec<u8> {
        let camera = Camera::new(view);
        let (mut samples, mut seen) = SPACE.take();
        samples.clear(side);
        let frame = self.frame(&camera, side, &mut seen);
        if self.triangles.len() <= KEPT {
            samples.draw(&seen, 0, frame);
        } else {
            for (part, triangles) in self.triangles.chunks(KEPT).enumerate() {
                seen.clear();
                seen.extend(triangles.iter().map(|triangle| self.seen(&camera, triangle)));
                samples.draw(&seen, (part * KEPT) as u32, frame);
            }
        }
        let mut rgb = vec![255; side * side * 3];
        let mut lights = Lights::new(self, &camera);
        for (row, line) in rgb.chunks_exact_mut(side * 3).enumerate() {
            for (ids, out) in samples.pixels(row).zip(line.as_chunks_mut().0) {
                if ids != [NONE; 4] {
                    *out = lights.mixed(ids);
                }
            }
        }
        SPACE.set((samples, seen));
        rgb
    }

    /// Returns the frame that the mesh fills, and keeps the corners that it looked at, if there are not too many.
    fn frame(&self, camera: &Camera, side: usize, seen: &mut Vec<[Corner; 3]>) -> Frame {
        let mut extent = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];
        seen.clear();
        let keep = self.triangles.len() <= KEPT;
        for triangle in self.triangles {
            let corners = self.seen(camera, triangle);
            for [x, y, _] in corners {
                extent = [smaller(extent[0], x), smaller(extent[1], y), larger(extent[2], x), larger(extent[3], y)];
            }
            if keep {
                seen.push(corners);
            }
        }
        let [left, bottom, right, top] = extent;
        let frame = larger(larger(right - left, top - bottom), 1e-6) / FILL;
        let middle = (f32::midpoint(left, right), f32::midpoint(bottom, top));
        Frame { left: middle.0 - 0.5 * frame, top: middle.1 + 0.5 * frame, scale: 2.0 * side as f32 / frame }
    }

    /// Returns the corners of a triangle as the camera sees them.
    fn seen(&self, camera: &Camera, triangle: &Triangle) -> [Corner; 3] {
        let [a, b, c] = triangle;
        [camera.project(self.placed(a)), camera.project(self.placed(b)), camera.project(self.placed(c))]
    }

    /// Returns the plane of a triangle.
    fn plane(&self, id: usize) -> Plane {
        if let Some(plane) = self.planes.get(id) {
            return *plane;
        }
        let [a, b, c] = &self.triangles[id];
        let (a, b, c) = (self.placed(a), self.placed(b), self.placed(c));
        let normal = (b - a).cross(c - a).unit();
        (normal, normal.dot(a))
    }

    /// Returns a corner with the mesh scaled to radius 1 and its middle at 0.
    fn placed(&self, corner: &[f32; 3]) -> V3 {
        (point(corner) - self.middle) * self.scale
    }
}

impl Camera {
    fn new(view: View) -> Self {
        let ((sa, ca), (se, ce)) = (sin_cos(f32::from(view.azimuth)), sin_cos(f32::from(view.elevation)));
        Self { right: v3(-sa, ca, 0.0), up: v3(-se * ca, -se * sa, ce), back: v3(ce * ca, ce * sa, se) }
    }

    /// Returns the position on a screen at distance 1, and one over the depth.
    fn project(&self, p: V3) -> Corner {
        let inverse = 1.0 / (DISTANCE - self.back.dot(p));
        [self.right.dot(p) * inverse, self.up.dot(p) * inverse, inverse]
    }
}

/// How many triangles' lights are remembered: those that a row of pixels shows are mostly shown by the next one, too.
const REMEMBERED: usize = 1 << 12;

/// The light on triangles, of which each is kept until another one takes its place.
struct Lights<'a> {
    studio: &'a Studio<'a>,
    camera: &'a Camera,
    key: V3,
    /// The color of the mesh in light, not as a display shows it.
    color: V3,
    kept: Vec<(u32, f32)>,
}

impl<'a> Lights<'a> {
    fn new(studio: &'a Studio<'a>, camera: &'a Camera) -> Self {
        let key = (camera.right * LIGHT.x + camera.up * LIGHT.y + camera.back * LIGHT.z).unit();
        Self { studio, camera, key, color: linear(COLOR), kept: vec![(NONE, 0.0); REMEMBERED] }
    }

    /// Returns the color of a pixel by the triangles of its samples; what shows no triangle is white.
    fn mixed(&mut self, ids: [u32; 4]) -> [u8; 3] {
        if ids.contains(&NONE) {
            let seen = ids.into_iter().filter(|id| *id != NONE);
            let (count, sum) = seen.fold((0, 0.0), |(count, sum), id| (count + 1, sum + self.on(id)));
            let blend = |byte: u8| ((u32::from(byte) * count + 255 * (4 - count) + 2) / 4) as u8;
            return display(self.color * (sum / count as f32)).map(blend);
        }
        let [a, b, c, d] = ids.map(|id| self.on(id));
        display(self.color * (0.25 * (a + b + c + d)))
    }

    /// Returns the light on a triangle.
    fn on(&mut self, id: u32) -> f32 {
        let place = id as usize % REMEMBERED;
        let (kept, light) = self.kept[place];
        if kept == id {
            return light;
        }
        let light = self.shade(self.studio.plane(id as usize));
        self.kept[place] = (id, light);
        light
    }

    fn shade(&self, (normal, height): Plane) -> f32 {
        let Camera { up, back, .. } = self.camera;
        let normal = if normal.dot(*back) * DISTANCE < height { -normal } else { normal };
        let (key, sky, fill) =
            (larger(normal.dot(self.key), 0.0), 0.5 + 0.5 * normal.dot(*up), larger(normal.dot(*back), 0.0));
        0.16 + 0.95 * key + 0.18 * sky + 0.14 * fill
    }
}

fn point(&[x, y, z]: &[f32; 3]) -> V3 {
    v3(x, y, z)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A box from the origin to `size`, as binary STL.
    fn block(size: [f32; 3], flipped: bool) -> Mesh {
        let corner = |i: usize| [0, 1, 2].map(|axis| if i >> axis & 1 == 1 { size[axis] } else { 0.0 });
        let faces = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];
        let mut bytes = vec![0; 80];
        bytes.extend(12_u32.to_le_bytes());
        for [a, b, c, d] in faces {
            for [p, q, r] in [[a, b, c], [a, c, d]] {
                let order = if flipped { [r, q, p] } else { [p, q, r] };
                bytes.extend([0; 12]);
                bytes.extend(order.iter().flat_map(|&i| corner(i)).flat_map(f32::to_le_bytes));
                bytes.extend([0; 2]);
            }
        }
        Mesh::from_bytes("block", &bytes).unwrap()
    }

    /// Columns and rows that are not white: first and past the last.
    fn extent(rgb: &[u8], side: usize) -> [usize; 4] {
        let dark = |i: usize| rgb[3 * i] < 250;
        let places: Vec<_> = (0..side * side).filter(|&i| dark(i)).map(|i| (i % side, i / side)).collect();
        let (columns, rows) = (places.iter().map(|place| place.0), places.iter().map(|place| place.1));
        [
            columns.clone().min().unwrap(),
            rows.clone().min().unwrap(),
            columns.max().unwrap() + 1,
            rows.max().unwrap() + 1,
        ]
    }

    fn shade(rgb: &[u8], side: usize, column: usize, row: usize) -> u8 {
        rgb[3 * (row * side + column)]
    }

    #[test]
    fn views_are_spread_evenly() {
        let direction = |view: &View| {
            let (azimuth, elevation) = (f64::from(view.azimuth).to_radians(), f64::from(view.elevation).to_radians());
            [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()]
        };
        // The least angle between two corners of a cube and of a dodecahedron, but for rounding.
        for (count, least) in [(8, 70.5), (20, 41.8), (42, 20.0)] {
            let ways: Vec<[f64; 3]> = View::around(count).iter().map(direction).collect();
            assert_eq!(ways.len(), count);
            let dot = |i: usize, j: usize| (0..3).map(|k| ways[i][k] * ways[j][k]).sum::<f64>();
            let nearest =
                (0..count).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| dot(i, j)).fold(-1.0, f64::max);
            assert!(nearest.acos().to_degrees() > least - 1.5, "{count}: {}", nearest.acos().to_degrees());
        }
        for count in 1..=MAX_VIEWS {
            let views = View::around(count);
            let numbers: HashSet<i64> = views.iter().map(|view| view.number()).collect();
            assert_eq!(numbers.len(), count);
            assert!(views.iter().all(|view| View::from_number(view.number()) == Some(*view)));
        }
        assert_eq!([0, -1, 360 * 181 + 1].map(View::from_number), [None; 3]);
        assert_eq!(View::around(1)[0].to_string(), "view:321,31");
        assert_eq!(View::parse("view:315,-29"), Some(View { azimuth: 315, elevation: -29 }));
        assert!([1, 300, ALL].iter().all(|&number| view_number(&view_name(number).unwrap()) == Some(number)));
        assert_eq!(view_name(0), None);
        assert_eq!(["view:360,0", "view:0,91", "0,0", "view:0"].map(View::parse), [None; 4]);
        assert_eq!(View::turntable(4).iter().map(|view| view.azimuth).collect::<Vec<_>>(), [0, 90, 180, 270]);
    }

    #[test]
    fn a_mesh_fills_four_fifths_whatever_its_size() {
        for scale in [1e-4, 1.0, 1e4] {
            let mesh = block([scale, 2.0 * scale, 3.0 * scale], false);
            for view in View::around(20) {
                let [left, top, right, bottom] = extent(&Studio::new(&mesh).draw(view, 100), 100);
                assert!((78..=82).contains(&(right - left).max(bottom - top)), "{view}: {left} {top} {right} {bottom}");
                assert!((left + right).abs_diff(100) <= 2 && (top + bottom).abs_diff(100) <= 2, "{view}");
            }
        }
    }

    #[test]
    fn the_vertical_axis_is_z_and_the_light_comes_from_above_left() {
        let high = block([1.0, 1.0, 3.0], false);
        let [left, top, right, bottom] = extent(&Studio::new(&high).draw(View { azimuth: 0, elevation: 0 }, 90), 90);
        assert!(bottom - top > 2 * (right - left));
        let cube = block([1.0; 3], false);
        let rgb = Studio::new(&cube).draw(View { azimuth: 315, elevation: 35 }, 90);
        let (above, left, right) = (shade(&rgb, 90, 45, 22), shade(&rgb, 90, 28, 55), shade(&rgb, 90, 62, 55));
        assert!(above > left && left > right && right > 60, "{above} {left} {right}");
        assert_eq!(shade(&rgb, 90, 2, 2), 255);
    }

    #[test]
    fn flipped_faces_look_alike() {
        let view = View { azimuth: 40, elevation: 25 };
        let drawn = |flipped| Studio::new(&block([1.0, 2.0, 1.5], flipped)).draw(view, 64);
        assert_eq!(drawn(false), drawn(true));
    }
}
