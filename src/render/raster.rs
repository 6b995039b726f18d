//! Rasterizes triangles and hairs into a buffer of depths and triangle numbers, four samples per pixel.

use crate::render::math::{V3, floor, larger, smaller};
use crate::render::noise::{lattice, unit_of};

/// The number for no triangle.
pub const NONE: u32 = u32::MAX;
/// The bit of a triangle number for a hair of that triangle.
pub const HAIR: u32 = 1 << 31;

/// The overlap of triangles at their edges, in samples, so that no gap opens between two.
pub(super) const SLACK: f32 = 1e-3;

/// A corner on the screen: x and y in samples, and one over its depth.
pub type Corner = [f32; 3];

/// Depth and triangle of every sample.
#[derive(Default)]
pub struct Buffer {
    /// Samples per row (twice the picture's width).
    width: usize,
    /// Rows of samples.
    height: usize,
    // One over the depth (larger is nearer, 0 is empty) and the triangle, perhaps with HAIR, or NONE: side by side, so
    // that one memory access fetches both.
    samples: Vec<(f32, u32)>,
}

impl Buffer {
    /// Clears it for a picture of this size.
    pub fn clear(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width * 2, height * 2);
        self.samples.clear();
        self.samples.resize(self.width * self.height, (0.0, NONE));
    }

    /// Returns the triangle, perhaps with [`HAIR`], or [`NONE`], of each of the four samples of every pixel of a row.
    pub fn pixels(&self, row: usize) -> impl Iterator<Item = [u32; 4]> {
        let (above, below) = self.samples[2 * row * self.width..][..2 * self.width].split_at(self.width);
        let pairs = above.chunks_exact(2).zip(below.chunks_exact(2));
        pairs.map(|(above, below)| [above[0].1, above[1].1, below[0].1, below[1].1])
    }

    /// Returns whether a position (in samples) is covered nearer than `limit` (one over the depth).
    pub fn covers(&self, x: f32, y: f32, limit: f32) -> bool {
        let (column, row) = (x as usize, y as usize);
        x >= 0.0
            && y >= 0.0
            && column < self.width
            && row < self.height
            && self.samples[row * self.width + column].0 > limit
    }

    /// Draws a triangle where it is nearest, front or back.
    pub fn triangle(&mut self, [a, b, c]: [Corner; 3], id: u32) {
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        if area.is_nan() || area.abs() <= 1e-6 {
            return;
        }
        let (x0, x1) = samples(a[0], b[0], c[0], self.width);
        let (y0, y1) = samples(a[1], b[1], c[1], self.height);
        if x0 > x1 || y0 > y1 {
            return;
        }
        let (left, last) = (x0 as f32, (x1 - x0) as f32);
        let inverse = 1.0 / area;
        // The weights of b and c, and with them the depth, are linear over the screen: `by_x` and `by_y` per sample.
        let (u_by_x, u_by_y) = ((c[1] - a[1]) * inverse, (a[0] - c[0]) * inverse);
        let (v_by_x, v_by_y) = ((a[1] - b[1]) * inverse, (b[0] - a[0]) * inverse);
        let (db, dc) = (b[2] - a[2], c[2] - a[2]);
        let z_by_x = u_by_x * db + v_by_x * dc;
        let (px, py) = (left + 0.5 - a[0], y0 as f32 + 0.5 - a[1]);
        let (u, v) = (px * u_by_x + py * u_by_y, px * v_by_x + py * v_by_y);
        // The position of each edge in the first row, and its change per row. An edge with its inside on the right is
        // a lower bound, one with its inside on the left an upper bound, a horizontal one neither.
        let (mut low, mut high) = ([(0.0, 0.0); 3], [(last, 0.0); 3]);
        let edges = [(u, u_by_x, u_by_y), (v, v_by_x, v_by_y), (1.0 - u - v, -u_by_x - v_by_x, -u_by_y - v_by_y)];
        for (i, (at, by_x, by_y)) in edges.into_iter().enumerate() {
            if by_x.abs() > 1e-9 {
                let step = -1.0 / by_x;
                let bounds = if by_x > 0.0 { &mut low } else { &mut high };
                bounds[i] = (at * step, by_y * step);
            }
        }
        let (z, z_by_y) = (a[2] + u * db + v * dc, u_by_y * db + v_by_y * dc);
        // Sums, not chunks: those divide by the width, which takes as long as a few rows.
        let mut start = y0 as usize * self.width + x0 as usize;
        for y in 0..=(y1 - y0) {
            let (row, y) = (start, y as f32);
            start += self.width;
            let cross = |bound: (f32, f32)| bound.0 + bound.1 * y;
            let from = larger(larger(cross(low[0]), cross(low[1])), larger(cross(low[2]), 0.0));
            let to = smaller(smaller(cross(high[0]), cross(high[1])), smaller(cross(high[2]), last));
            let (first, end) = ((from + (1.0 - SLACK)) as usize, (to + (1.0 + SLACK)) as usize);
            if first >= end {
                continue;
            }
            let mut z = z + y * z_by_y + first as f32 * z_by_x;
            for sample in &mut self.samples[row + first..row + end] {
                if z > sample.0 {
                    *sample = (z, id);
                }
                z += z_by_x;
            }
        }
    }

    /// Draws hairs on one triangle: `density` per unit of its longest side, `length` long.
    pub fn hairs(&mut self, id: u32, corners: [(V3, V3); 3], fur: &Fur, project: &impl Fn(V3) -> Option<Corner>) {
        let [a, b, c] = corners;
        let longest = (b.0 - a.0).length().max((c.0 - a.0).length()).max((c.0 - b.0).length());
        let seed = lattice(id as i32, 17, 5, fur.seed);
        let wanted = longest * fur.density;
        let count = wanted as u32 + u32::from(unit_of(seed) < wanted - floor(wanted));
        for i in 0..count {
            let h = lattice(id as i32, i as i32, 11, fur.seed);
            let (mut u, mut v) = (unit_of(h), unit_of(h ^ 0x68E3_1DA4));
            if u + v > 1.0 {
                (u, v) = (1.0 - u, 1.0 - v);
            }
            let w = 1.0 - u - v;
            let root = a.0 * w + b.0 * u + c.0 * v;
            let normal = a.1 * w + b.1 * u + c.1 * v;
            let (r1, r2, r3) = (unit_of(h ^ 0xB529_7A4D), unit_of(h ^ 0x1B56_C4E9), unit_of(h ^ 0x7FEB_352D));
            let stray = V3 { x: r1 - 0.5, y: r2 - 0.5, z: r3 - 0.5 };
            let way = (normal + stray * fur.stray + V3 { x: 0.0, y: -fur.droop, z: 0.0 }).unit();
            let tip = root + way * (fur.length * (0.55 + 0.6 * r2));
            let (Some(p), Some(q)) = (project(root - normal * (0.2 * fur.length)), project(tip)) else { continue };
            self.strand(p, q, (fur.width * (0.6 + 0.8 * r3)).max(0.55), id | HAIR);
        }
    }

    /// Draws a line from `p` to `q` that is `half` wide to both sides at `p` and pointed at `q`.
    fn strand(&mut self, p: Corner, q: Corner, half: f32, id: u32) {
        let (dx, dy) = (q[0] - p[0], q[1] - p[1]);
        let steep = dy.abs() > dx.abs();
        // Along the longer axis step by step, a few samples across in each step.
        let (along, across, limits) = if steep {
            ((p[1], dy), (p[0], dx), (self.height, self.width))
        } else {
            ((p[0], dx), (p[1], dy), (self.width, self.height))
        };
        let length = along.1.abs();
        if !(length > 0.5 && length < 4096.0 && across.0.abs() < 16384.0) {
            return;
        }
        let low = along.0.min(along.0 + along.1);
        let (first, last) = between(low, low + length, limits.0);
        let inverse = 1.0 / along.1;
        let reach = half * (dx * dx + dy * dy).sqrt() / length;
        let (step, stride) = if steep { (self.width, 1) } else { (1, self.width) };
        // Both sides and the depth at the first step, and their change per step: sides in 65536ths of a sample.
        let t = (first as f32 + 0.5 - along.0) * inverse;
        let fixed = |x: f32| (x * 65536.0) as i32;
        let side = |way: f32| {
            let (at, change) = (across.0 + way * reach, across.1 - way * reach);
            (fixed(at + change * t + 0.5), fixed(change * inverse))
        };
        let ((mut from, from_step), (mut to, to_step)) = (side(-1.0), side(1.0));
        let dz = q[2] - p[2];
        let (mut z, z_step) = (p[2] + dz * t, dz * inverse);
        for at in first as usize..=last as usize {
            let (low, high) = ((from >> 16).max(0), (to >> 16).min(limits.1 as i32));
            for other in low..high {
                let sample = &mut self.samples[at * step + other as usize * stride];
                if z > sample.0 {
                    *sample = (z, id);
                }
            }
            (from, to, z) = (from.wrapping_add(from_step), to.wrapping_add(to_step), z + z_step);
        }
    }
}

/// Returns the first and last sample center between the least and the greatest of three coordinates.
fn samples(a: f32, b: f32, c: f32, limit: usize) -> (i32, i32) {
    between(smaller(smaller(a, b), c), larger(larger(a, b), c), limit)
}

/// Returns the first and last sample center from `low` to `high`; the last is before the first if there is none.
pub(super) fn between(low: f32, high: f32, limit: usize) -> (i32, i32) {
    let first = (low + 0.5).max(0.0) as i32;
    let last = (high + 0.5).min(limit as f32) - 1.0;
    if last < 0.0 { (1, 0) } else { (first, last as i32) }
}

/// The hairs of one component.
pub struct Fur {
    /// Length in the scene.
    pub length: f32,
    /// Half the width at the root, in samples.
    pub width: f32,
    /// Hairs per unit of a triangle's longest side.
    pub density: f32,
    /// Variation of their direction.
    pub stray: f32,
    /// Droop of the hairs.
    pub droop: f32,
    /// Seed of the hairs.
    pub seed: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(triangles: &[[Corner; 3]], width: usize, height: usize) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.clear(width, height);
        for (id, &triangle) in triangles.iter().enumerate() {
            buffer.triangle(triangle, id as u32);
        }
        buffer
    }

    /// Returns the triangle of each sample by the definition: inside or on all three edges.
    fn inside([a, b, c]: [Corner; 3], x: f32, y: f32) -> bool {
        let side = |p: Corner, q: Corner| (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]);
        let sides = [side(a, b), side(b, c), side(c, a)];
        sides.iter().all(|s| *s >= 0.0) || sides.iter().all(|s| *s <= 0.0)
    }

    #[test]
    fn a_triangle_covers_the_samples_inside() {
        let triangles = [
            [[1.0, 1.0, 1.0], [14.3, 2.2, 1.0], [5.1, 12.7, 1.0]],
            [[-9.0, 3.1, 1.0], [30.2, 9.7, 1.0], [2.0, 40.3, 1.0]],
            [[3.3, 3.1, 1.0], [3.4, 15.2, 1.0], [4.9, 9.1, 1.0]],
        ];
        for triangle in triangles {
            let buffer = drawn(&[triangle], 8, 8);
            for (i, sample) in buffer.samples.iter().enumerate() {
                let (x, y) = ((i % 16) as f32 + 0.5, (i / 16) as f32 + 0.5);
                assert_eq!(sample.1 == 0, inside(triangle, x, y), "({x}, {y})");
            }
        }
    }

    #[test]
    fn neighbors_leave_no_gap_and_the_nearer_wins() {
        let (a, b, c, d) = ([0.0, 0.0, 0.5], [16.0, 0.3, 0.5], [15.8, 16.0, 0.5], [0.1, 15.7, 0.5]);
        let middle = [7.3, 8.9, 0.5];
        let fan = [[a, b, middle], [b, c, middle], [c, d, middle], [d, a, middle]];
        let whole = drawn(&fan, 8, 8);
        for (i, sample) in whole.samples.iter().enumerate() {
            let (x, y) = (i % 16, i / 16);
            assert!(sample.1 != NONE || x == 0 || y == 0 || x == 15 || y == 15, "gap at {x}, {y}");
        }
        let far = [[0.0, 0.0, 0.2], [16.0, 0.0, 0.2], [0.0, 16.0, 0.2]];
        let near = far.map(|corner| [corner[0], corner[1], 0.8]);
        for triangles in [[far, near], [near, far]] {
            let buffer = drawn(&triangles, 8, 8);
            let pixel = |column, row| buffer.pixels(row).nth(column).unwrap();
            assert_eq!(pixel(1, 1), [triangles.iter().position(|t| *t == near).unwrap() as u32; 4]);
            assert_eq!(pixel(7, 7), [NONE; 4]);
        }
    }

    #[test]
    fn what_lies_outside_or_is_flat_draws_nothing() {
        let nothing = [
            [[-9.0, -9.0, 1.0], [-1.0, -2.0, 1.0], [-3.0, -1.0, 1.0]],
            [[99.0, 1.0, 1.0], [120.0, 2.0, 1.0], [99.0, 9.0, 1.0]],
            [[1.0, 1.0, 1.0], [5.0, 5.0, 1.0], [9.0, 9.0, 1.0]],
            [[f32::NAN, 1.0, 1.0], [5.0, 5.0, 1.0], [9.0, 1.0, 1.0]],
        ];
        assert!(drawn(&nothing, 8, 8).samples.iter().all(|sample| sample.1 == NONE));
    }

    #[test]
    fn a_strand_is_wide_at_its_root() {
        let mut buffer = Buffer::default();
        buffer.clear(16, 16);
        buffer.strand([16.0, 28.0, 1.0], [16.0, 4.0, 1.0], 3.0, 7 | HAIR);
        let wide =
            |row: usize| buffer.samples[row * 32..row * 32 + 32].iter().filter(|sample| sample.1 == 7 | HAIR).count();
        assert_eq!([wide(27), wide(16), wide(9), wide(3), wide(29)], [6, 4, 2, 0, 0]);
    }
}
