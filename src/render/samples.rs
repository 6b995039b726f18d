//! Rasterizes the triangles of a mesh, four samples per pixel and eight samples at a step.
//!
//! Most triangles of a mesh are a few samples wide. All rows of such a triangle take the same steps, because a branch that
//! the processor guesses wrong costs as much as a row. Triangles that face away are drawn last: others hide most of them,
//! which the farthest depth of each square of samples tells at once.

use crate::render::math::{larger, smaller};
use crate::render::raster::{Corner, NONE, SLACK, between};

/// The samples of a step.
const LANES: usize = 8;
/// The side of a square whose farthest depth is kept, in samples.
const SQUARE: usize = 8;
/// The number of each sample of a step.
const STEPS: [f32; LANES] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

/// The depths and triangles of all samples of a square picture.
#[derive(Default)]
pub struct Samples {
    /// Samples per row, and rows.
    side: usize,
    /// The places of a row: whole squares.
    stride: usize,
    /// One over the depth (larger is nearer, 0 is empty), with room for a step behind the last sample.
    near: Vec<f32>,
    /// The triangle of each sample, or [`NONE`].
    ids: Vec<u32>,
    /// Squares per row, and rows of squares.
    squares: usize,
    /// The least of `near` in each square, when it was last computed.
    farthest: Vec<f32>,
    /// Triangles that face away.
    away: Vec<u32>,
}

/// The place of a frame before the lens: its left and upper edge, and samples per unit.
#[derive(Clone, Copy)]
pub struct Frame {
    pub left: f32,
    pub top: f32,
    pub scale: f32,
}

impl Frame {
    fn place(self, [x, y, inverse]: Corner) -> Corner {
        [(x - self.left) * self.scale, (self.top - y) * self.scale, inverse]
    }
}

/// A triangle on the screen: its corners, twice its area, and the first and last sample of its box.
struct Placed {
    corners: [Corner; 3],
    area: f32,
    columns: (usize, usize),
    rows: (usize, usize),
}

impl Samples {
    /// Clears it for a picture of `side` pixels.
    pub fn clear(&mut self, side: usize) {
        self.side = 2 * side;
        self.stride = self.side.next_multiple_of(SQUARE);
        self.squares = self.stride / SQUARE;
        let count = self.stride * self.stride + LANES;
        self.near.clear();
        self.near.resize(count, 0.0);
        self.ids.clear();
        self.ids.resize(count, NONE);
        self.farthest.clear();
        self.farthest.resize(self.squares * self.squares, 0.0);
    }

    /// Returns the triangle, or [`NONE`], of each of the four samples of every pixel of a row.
    pub fn pixels(&self, row: usize) -> impl Iterator<Item = [u32; 4]> {
        let (above, below) = self.ids[2 * row * self.stride..].split_at(self.stride);
        let pairs = above[..self.side].as_chunks().0.iter().zip(below.as_chunks().0);
        pairs.map(|(&[a, b], &[c, d])| [a, b, c, d])
    }

    /// Draws triangles where they are nearest, from both sides; their numbers count from `first`.
    pub fn draw(&mut self, triangles: &[[Corner; 3]], first: u32, frame: Frame) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            #[target_feature(enable = "avx2")]
            fn wide(samples: &mut Samples, triangles: &[[Corner; 3]], first: u32, frame: Frame) {
                samples.draw_each(triangles, first, frame);
            }
            // SAFETY: the processor has what the function is compiled for.
            #[allow(unsafe_code)]
            return unsafe { wide(self, triangles, first, frame) };
        }
        self.draw_each(triangles, first, frame);
    }

    /// Draws triangles with the same steps on every processor: no fused multiplication.
    #[inline(always)]
    fn draw_each(&mut self, triangles: &[[Corner; 3]], first: u32, frame: Frame) {
        let mut away = std::mem::take(&mut self.away);
        away.clear();
        for (i, corners) in triangles.iter().enumerate() {
            let Some(placed) = self.place(*corners, frame) else { continue };
            // The second axis of the screen points down, so that corners in the order of the clock face the camera
            // if the area is less than 0.
            if placed.area > 0.0 {
                away.push(i as u32);
            } else if !self.hides(&placed) {
                self.triangle(&placed, first + i as u32);
            }
        }
        self.update();
        for &i in &away {
            if let Some(placed) = self.place(triangles[i as usize], frame)
                && !self.hides(&placed)
            {
                self.triangle(&placed, first + i);
            }
        }
        self.away = away;
    }

    /// Places a triangle on the screen, if it has an area and the center of a sample may lie in it.
    #[inline(always)]
    fn place(&self, corners: [Corner; 3], frame: Frame) -> Option<Placed> {
        let [a, b, c] = corners;
        let (a, b, c) = (frame.place(a), frame.place(b), frame.place(c));
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        if area.is_nan() || area.abs() <= 1e-6 {
            return None;
        }
        let range = |axis: usize| {
            let (low, high) = (smaller(smaller(a[axis], b[axis]), c[axis]), larger(larger(a[axis], b[axis]), c[axis]));
            let (first, last) = between(low, high, self.side);
            (first <= last).then_some((first as usize, last as usize))
        };
        Some(Placed { corners: [a, b, c], area, columns: range(0)?, rows: range(1)? })
    }

    /// Returns whether all samples of its box were nearer at the last update.
    #[inline(always)]
    fn hides(&self, placed: &Placed) -> bool {
        let [a, b, c] = placed.corners;
        let nearest = larger(larger(a[2], b[2]), c[2]);
        let columns = placed.columns.0 / SQUARE..placed.columns.1 / SQUARE + 1;
        let mut rows = placed.rows.0 / SQUARE..placed.rows.1 / SQUARE + 1;
        rows.all(|row| self.farthest[row * self.squares..][columns.clone()].iter().all(|far| *far >= nearest))
    }

    /// Computes the farthest depth of each square.
    #[inline(always)]
    fn update(&mut self) {
        let rows = self.near.chunks_exact(SQUARE * self.stride);
        for (rows, farthest) in rows.zip(self.farthest.chunks_exact_mut(self.squares)) {
            for (square, far) in farthest.iter_mut().enumerate() {
                let mut least = [f32::MAX; SQUARE];
                for row in rows.chunks_exact(self.stride) {
                    let samples = &row[square * SQUARE..][..SQUARE];
                    for i in 0..SQUARE {
                        least[i] = smaller(least[i], samples[i]);
                    }
                }
                *far = least.into_iter().fold(f32::MAX, smaller);
            }
        }
    }

    /// Draws a triangle where it is nearest.
    #[inline(always)]
    fn triangle(&mut self, placed: &Placed, id: u32) {
        let ([a, b, c], (x0, x1), (y0, y1)) = (placed.corners, placed.columns, placed.rows);
        let inverse = 1.0 / placed.area;
        // The weights of b and c, and with them the depth, are linear over the screen: `by_x` and `by_y` per sample.
        let (u_by_x, u_by_y) = ((c[1] - a[1]) * inverse, (a[0] - c[0]) * inverse);
        let (v_by_x, v_by_y) = ((a[1] - b[1]) * inverse, (b[0] - a[0]) * inverse);
        let (w_by_x, w_by_y) = (-u_by_x - v_by_x, -u_by_y - v_by_y);
        let (db, dc) = (b[2] - a[2], c[2] - a[2]);
        let (z_by_x, z_by_y) = (u_by_x * db + v_by_x * dc, u_by_y * db + v_by_y * dc);
        let (px, py) = (x0 as f32 + 0.5 - a[0], y0 as f32 + 0.5 - a[1]);
        let (u, v) = (px * u_by_x + py * u_by_y, px * v_by_x + py * v_by_y);
        let z = a[2] + u * db + v * dc;
        let last = x1 - x0;
        if last < LANES {
            let slack = |by_x: f32, by_y: f32| SLACK * larger(by_x.abs(), by_y.abs());
            let (u, v, w) = (u + slack(u_by_x, u_by_y), v + slack(v_by_x, v_by_y), 1.0 - u - v + slack(w_by_x, w_by_y));
            let along = |at: f32, by_x: f32| STEPS.map(|step| at + step * by_x);
            let (us, vs, ws, zs) = (along(u, u_by_x), along(v, v_by_x), along(w, w_by_x), along(z, z_by_x));
            let room = STEPS.map(|step| last as f32 - step);
            let mut start = y0 * self.stride + x0;
            for y in 0..=(y1 - y0) {
                let y = y as f32;
                let (u, v, w) = (y * u_by_y, y * v_by_y, y * w_by_y);
                let mut inside = [0.0; LANES];
                for i in 0..LANES {
                    inside[i] = smaller(smaller(us[i] + u, vs[i] + v), smaller(ws[i] + w, room[i]));
                }
                self.step(start, inside, zs.map(|at| at + y * z_by_y), id);
                start += self.stride;
            }
            return;
        }
        // The position of each edge in the first row, and its change per row. An edge with its inside on the right is
        // a lower bound, one with its inside on the left an upper bound, a horizontal one neither.
        let last = last as f32;
        let (mut low, mut high) = ([(0.0, 0.0); 3], [(last, 0.0); 3]);
        let edges = [(u, u_by_x, u_by_y), (v, v_by_x, v_by_y), (1.0 - u - v, w_by_x, w_by_y)];
        for (i, (at, by_x, by_y)) in edges.into_iter().enumerate() {
            if by_x.abs() > 1e-9 {
                let step = -1.0 / by_x;
                let bounds = if by_x > 0.0 { &mut low } else { &mut high };
                bounds[i] = (at * step, by_y * step);
            }
        }
        let mut start = y0 * self.stride + x0;
        for y in 0..=(y1 - y0) {
            let (row, y) = (start, y as f32);
            start += self.stride;
            let cross = |bound: (f32, f32)| bound.0 + bound.1 * y;
            let from = larger(larger(cross(low[0]), cross(low[1])), larger(cross(low[2]), 0.0));
            let to = smaller(smaller(cross(high[0]), cross(high[1])), smaller(cross(high[2]), last));
            let (mut first, end) = ((from + (1.0 - SLACK)) as usize, (to + (1.0 + SLACK)) as usize);
            let z = z + y * z_by_y;
            while first < end {
                let (at, left) = (z + first as f32 * z_by_x, (end - first - 1) as f32);
                self.step(row + first, STEPS.map(|step| left - step), STEPS.map(|step| at + step * z_by_x), id);
                first += LANES;
            }
        }
    }

    /// Draws those of the samples from `start` that have no number below 0 in `inside`, where they are nearest.
    #[inline(always)]
    fn step(&mut self, start: usize, inside: [f32; LANES], mut zs: [f32; LANES], id: u32) {
        let near = self.near[start..].first_chunk_mut::<LANES>();
        let ids = self.ids[start..].first_chunk_mut::<LANES>();
        let (Some(near), Some(ids)) = (near, ids) else { return };
        // Masks in place of conditions, of which the compiler makes a branch for each sample.
        let (was, drawn) = (*near, *ids);
        for i in 0..LANES {
            zs[i] = if inside[i] >= 0.0 { zs[i] } else { 0.0 };
        }
        *ids = std::array::from_fn(|i| {
            let nearer = u32::from(zs[i] > was[i]).wrapping_neg();
            drawn[i].wrapping_add(id.wrapping_sub(drawn[i]) & nearer)
        });
        *near = std::array::from_fn(|i| larger(zs[i], was[i]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::render::raster::Buffer;

    /// A frame that leaves positions as they are, but that the second axis points down.
    const AS_IS: Frame = Frame { left: 0.0, top: 0.0, scale: 1.0 };

    /// Triangles that face the camera and away, up to `size` samples wide, some beyond the edges.
    fn triangles(count: usize, size: f32, side: usize) -> Vec<[Corner; 3]> {
        let mut random = Random::new(7, size as u64);
        let mut corner = |at: [f32; 2]| {
            let [x, y] = at.map(|at| at + size * (random.unit() - 0.5));
            [x, y, 0.2 + 0.2 * random.unit()]
        };
        let mut places = Random::new(8, size as u64);
        let mut place = || (2 * side) as f32 * (1.2 * places.unit() - 0.1);
        let mut triangle = || {
            let at = [place(), place()];
            [corner(at), corner(at), corner(at)]
        };
        (0..count).map(|_| triangle()).collect()
    }

    #[test]
    fn it_draws_what_the_rasterizer_of_scenes_draws() {
        for (count, size, side) in [(3000, 6.0, 50), (600, 30.0, 47), (60, 300.0, 64), (500, 12.0, 3)] {
            let triangles = triangles(count, size, side);
            let mut buffer = Buffer::default();
            buffer.clear(side, side);
            for (id, triangle) in triangles.iter().enumerate() {
                buffer.triangle(*triangle, id as u32);
            }
            let mut samples = Samples::default();
            // A larger picture before leaves nothing behind.
            samples.clear(80);
            samples.clear(side);
            let upright = |[x, y, z]: Corner| [x, -y, z];
            let turned: Vec<[Corner; 3]> = triangles.iter().map(|triangle| triangle.map(upright)).collect();
            let (first, rest) = turned.split_at(count / 3);
            samples.draw(first, 0, AS_IS);
            samples.draw(rest, (count / 3) as u32, AS_IS);
            let drawn = (0..side).flat_map(|row| samples.pixels(row).zip(buffer.pixels(row)));
            let (mut differ, mut seen) = (0, 0);
            for (ours, theirs) in drawn.flat_map(|(ours, theirs)| (0..4).map(move |i| (ours[i], theirs[i]))) {
                differ += usize::from(ours != theirs);
                seen += usize::from(theirs != NONE);
            }
            assert!(seen > side * side, "{seen} samples of {side}");
            // Rounding decides on an edge.
            assert!(differ * 500 <= seen, "{differ} of {seen} samples, {count} triangles of {size}");
        }
    }

    #[test]
    fn neighbors_leave_no_gap() {
        let at = |i: usize, j: usize| [3.37 * i as f32 + 0.41 * j as f32, -(2.91 * j as f32) - 0.29 * i as f32, 0.5];
        let cell = |(i, j)| [[at(i, j), at(i + 1, j), at(i + 1, j + 1)], [at(i, j), at(i + 1, j + 1), at(i, j + 1)]];
        let grid: Vec<_> = (0..12).flat_map(|i| (0..12).map(move |j| (i, j))).flat_map(cell).collect();
        let mut samples = Samples::default();
        samples.clear(20);
        samples.draw(&grid, 0, AS_IS);
        for row in 3..17 {
            let gap = samples.pixels(row).skip(3).take(13).any(|ids| ids.contains(&NONE));
            assert!(!gap, "row {row}");
        }
    }
}
