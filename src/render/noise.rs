//! Computes value noise and cellular noise with identical bits on every machine.

use crate::random::scramble;
use crate::render::math::{V3, floor, mix, v3};

/// Hashes a lattice point.
pub fn lattice(x: i32, y: i32, z: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1)
        ^ (y as u32).wrapping_mul(0x85EB_CA77)
        ^ (z as u32).wrapping_mul(0xC2B2_AE3D)
        ^ seed;
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 13;
    h
}

/// Converts a hash to a number in [0, 1).
pub fn unit_of(hash: u32) -> f32 {
    ((hash.wrapping_mul(0x297A_2D39)) >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Returns the cell of a coordinate and the position in it, 0 to 1.
#[inline]
fn split(x: f32) -> (u32, f32) {
    let cut = x as i32;
    let cell = cut - i32::from(cut as f32 > x);
    (cell as u32, x - cell as f32)
}

/// Returns smooth value noise in [-1, 1] with features of size 1.
#[inline]
pub fn noise(p: V3, seed: u32) -> f32 {
    let ((x, s), (y, t), (z, r)) = (split(p.x), split(p.y), split(p.z));
    let (s, t, r) = (ease(s), ease(t), ease(r));
    let (rows, layers) = (starts(y, 0x85EB_CA77, seed), starts(z, 0xC2B2_AE3D, 0));
    let face = |layer: u32| mix(along(x, rows[0] ^ layer, s), along(x, rows[1] ^ layer, s), t);
    mix(face(layers[0]), face(layers[1]), r)
}

/// Returns [`noise`] in the plane.
pub fn flat_noise(u: f32, v: f32, seed: u32) -> f32 {
    let ((x, s), (y, t)) = (split(u), split(v));
    let (s, t) = (ease(s), ease(t));
    let rows = starts(y, 0x85EB_CA77, seed);
    mix(along(x, rows[0], s), along(x, rows[1], s), t)
}

fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Returns the starts in [`VALUES`] of the rows of a lattice coordinate and of the next one.
#[inline]
fn starts(at: u32, factor: u32, seed: u32) -> [u32; 2] {
    let here = at.wrapping_mul(factor);
    let start = |h: u32| (h.wrapping_add(seed) ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D) >> 20;
    [start(here), start(here.wrapping_add(factor))]
}

/// Interpolates between the values of cell `x` and the next one in the row that starts at `start`.
#[inline]
fn along(x: u32, start: u32, share: f32) -> f32 {
    let at = (x.wrapping_add(start) & 4095) as usize;
    mix(VALUES[at], VALUES[at + 1], share)
}

/// Random values in [-1, 1], the first one repeated at the end: few enough for the nearest cache.
static VALUES: [f32; 4097] = {
    let mut values = [0.0; 4097];
    let mut i = 0;
    while i < 4097 {
        let bits = scramble((i as u64 & 4095).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        values[i] = (bits >> 40) as f32 * (2.0 / 16_777_216.0) - 1.0;
        i += 1;
    }
    values
};

/// Returns the distance to the nearest of scattered points (one near the middle of each unit cell), and that point's
/// hash.
pub fn cells(p: V3, seed: u32) -> (f32, u32) {
    let (x, y, z) = (floor(p.x - 0.5), floor(p.y - 0.5), floor(p.z - 0.5));
    let mut best = (9.0f32, 0u32);
    for i in 0..8 {
        let cell = v3(x + (i & 1) as f32, y + (i >> 1 & 1) as f32, z + (i >> 2) as f32);
        let h = lattice(cell.x as i32, cell.y as i32, cell.z as i32, seed);
        // Ten bits of the hash per axis.
        let jitter = v3((h & 1023) as f32, (h >> 10 & 1023) as f32, (h >> 20 & 1023) as f32);
        let d = cell + V3::splat(0.3) + jitter * (0.4 / 1024.0) - p;
        let d = d.dot(d);
        if d < best.0 {
            best = (d, h);
        }
    }
    (best.0.sqrt(), best.1)
}

/// Returns [`cells`] in the plane.
pub fn flat_cells(u: f32, v: f32, seed: u32) -> (f32, u32) {
    let (x, y) = (floor(u - 0.5), floor(v - 0.5));
    let mut best = (9.0f32, 0u32);
    for i in 0..4 {
        let (cx, cy) = (x + (i & 1) as f32, y + (i >> 1) as f32);
        let h = lattice(cx as i32, cy as i32, 0, seed);
        let (dx, dy) = (
            cx + 0.3 + (h & 1023) as f32 * (0.4 / 1024.0) - u,
            cy + 0.3 + (h >> 10 & 1023) as f32 * (0.4 / 1024.0) - v,
        );
        let d = dx * dx + dy * dy;
        if d < best.0 {
            best = (d, h);
        }
    }
    (best.0.sqrt(), best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_continuous_and_fills_its_range() {
        let (mut low, mut high) = (0.0f32, 0.0f32);
        for i in -2000..2000 {
            let p = v3(i as f32 * 0.37, i as f32 * 0.11, -i as f32 * 0.23);
            let n = noise(p, 7);
            (low, high) = (low.min(n), high.max(n));
            assert!((noise(p + V3::splat(1e-3), 7) - n).abs() < 2e-2);
            assert!((flat_noise(p.x + 1e-3, p.y, 7) - flat_noise(p.x, p.y, 7)).abs() < 2e-2);
        }
        assert!((-1.0..-0.7).contains(&low) && (0.7..=1.0).contains(&high), "{low} {high}");
        assert!((noise(v3(0.5, 0.5, 0.5), 1) - noise(v3(0.5, 0.5, 0.5), 2)).abs() > 1e-3);
    }

    #[test]
    fn the_nearest_point_is_at_most_a_cell_away() {
        for i in -200..200 {
            let p = v3(i as f32 * 0.37, i as f32 * 0.11, -i as f32 * 0.23);
            assert!(cells(p, 3).0 < 1.3);
            assert!(flat_cells(p.x, p.y, 3).0 < 1.0);
        }
    }
}
