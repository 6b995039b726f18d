//! Draws an occluder: an object in front of the subject that covers a given share of it.

use crate::render::math::{V3, sin_cos, smooth, v3};
use crate::render::noise::flat_noise;
use crate::render::shade::Light;

/// The shape of an occluder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A palm with fingers that reaches in from one side.
    Hand,
    /// A box.
    Box,
    /// A hanging cloth with a wavy edge.
    Cloth,
}

/// An object in front of the subject.
#[derive(Clone, Copy, Debug)]
pub struct Occluder {
    /// Its shape.
    pub shape: Shape,
    /// The share of the subject's pixels to cover, 0 to 1.
    pub fraction: f32,
    /// The direction from which it comes, in degrees: 0 from the right, 90 from above.
    pub side: f32,
    /// Its color, linear.
    pub color: V3,
    /// Seed of its shape.
    pub seed: u32,
}

/// An occluder positioned on the screen.
pub struct Placed {
    occluder: Occluder,
    center: (f32, f32),
    size: f32,
    way: (f32, f32),
    reach: f32,
}

impl Occluder {
    /// Moves it in until it covers its share of `subject`.
    pub fn placed(&self, subject: &[bool], width: usize, height: usize) -> Placed {
        let pixels: Vec<(f32, f32)> = (0..subject.len())
            .filter(|&i| subject[i])
            .map(|i| ((i % width) as f32 + 0.5, (i / width) as f32 + 0.5))
            .collect();
        let step = pixels.len() / 2000 + 1;
        let (mut low, mut high) = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
        for &(x, y) in &pixels {
            (low, high) = ((low.0.min(x), low.1.min(y)), (high.0.max(x), high.1.max(y)));
        }
        if pixels.is_empty() {
            (low, high) = ((0.0, 0.0), (width as f32, height as f32));
        }
        let (sin, cos) = sin_cos(self.side);
        let mut placed = Placed {
            occluder: *self,
            center: (0.5 * (low.0 + high.0), 0.5 * (low.1 + high.1)),
            size: 0.5 * (high.0 - low.0).max(high.1 - low.1).max(1.0),
            way: (cos, -sin),
            reach: 0.0,
        };
        let (mut out, mut inside) = (-1.6f32, 2.4f32);
        for _ in 0..12 {
            placed.reach = 0.5 * (out + inside);
            let hits = pixels.iter().step_by(step).filter(|p| placed.distance(p.0, p.1) < 0.0).count();
            let share = hits as f32 / pixels.len().div_ceil(step).max(1) as f32;
            if share < self.fraction {
                out = placed.reach;
            } else {
                inside = placed.reach;
            }
        }
        placed
    }
}

impl Placed {
    /// Returns the distance to the shape's edge in units of the subject's half-size, negative inside.
    fn distance(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = ((x - self.center.0) / self.size, (y - self.center.1) / self.size);
        // u points outwards, to the side from which it comes; v along its edge.
        let u = dx * self.way.0 + dy * self.way.1 - 1.0 + self.reach;
        let v = -dx * self.way.1 + dy * self.way.0;
        let wave = |scale: f32, at: f32| flat_noise(v * scale, at, self.occluder.seed);
        match self.occluder.shape {
            Shape::Cloth => -(u + 0.10 * wave(2.2, 0.3) + 0.03 * wave(7.0, 1.7)),
            Shape::Box => {
                let tilt = 0.25 * wave(0.0, 3.3);
                let (a, b) = (-(u + tilt * v), v.abs() - 0.95);
                let (a, b) = (a + 0.06, b + 0.06);
                let outside = (a.max(0.0) * a.max(0.0) + b.max(0.0) * b.max(0.0)).sqrt();
                outside + a.max(b).min(0.0) - 0.06
            }
            Shape::Hand => {
                let capsule = |u0: f32, v0: f32, u1: f32, v1: f32, r: f32| {
                    let (pu, pv, du, dv) = (u - u0, v - v0, u1 - u0, v1 - v0);
                    let t = ((pu * du + pv * dv) / (du * du + dv * dv)).clamp(0.0, 1.0);
                    let (eu, ev) = (pu - t * du, pv - t * dv);
                    (eu * eu + ev * ev).sqrt() - r
                };
                let mut d = capsule(0.95, 0.0, 3.5, 0.1, 0.42).min(capsule(0.75, 0.0, 0.95, 0.0, 0.46));
                for (k, (length, v0)) in [(0.12, -0.36), (0.0, -0.13), (0.03, 0.11), (0.2, 0.34)].iter().enumerate() {
                    let spread = 1.25 + 0.15 * wave(0.0, k as f32);
                    d = d.min(capsule(*length + 0.1, v0 * spread, 0.7, v0 * 0.95, 0.105));
                }
                d.min(capsule(0.55, 0.78, 1.0, 0.38, 0.12))
            }
        }
    }

    /// Returns whether it or its shadow may reach a pixel within `away` pixels; only `false` is certain.
    pub fn near(&self, x: f32, y: f32, away: f32) -> bool {
        // The reach of the shadow, and 2.5 times the distance, because the distance changes faster at the wavy edge.
        self.distance(x, y) < 0.15 + 2.5 * (0.08 + away / self.size)
    }

    /// Returns the covered share of a pixel, and the color there.
    pub fn at(&self, x: f32, y: f32, light: &Light) -> (f32, V3) {
        let d = self.distance(x, y);
        let share = 1.0 - smooth(-0.5, 0.5, d * self.size);
        if share <= 0.0 {
            return (0.0, V3::default());
        }
        let e = 1.5 / self.size;
        let (ax, ay) = (self.distance(x + 1.5, y) - d, self.distance(x, y + 1.5) - d);
        let (gx, gy) = (ax / e, ay / e);
        let (round, grain) = match self.occluder.shape {
            Shape::Hand => (0.16, 0.03),
            Shape::Box => (0.05, 0.02),
            Shape::Cloth => (0.12, 0.10),
        };
        let slope = 1.0 - smooth(0.0, round, -d);
        let fold = if self.occluder.shape == Shape::Cloth {
            0.5 * flat_noise(x / self.size * 3.0, y / self.size * 1.2, self.occluder.seed ^ 8)
        } else {
            0.0
        };
        let normal = v3(gx * slope + fold, -gy * slope, 1.0).unit();
        let toward = ((normal.dot(light.towards) + 0.3) / 1.3).max(0.0);
        let texture = 1.0 + grain * flat_noise(x / self.size * 24.0, y / self.size * 24.0, self.occluder.seed);
        let lit = light.floor.mix(light.sky, 0.5 + 0.5 * normal.y) + light.key * toward;
        (share, self.occluder.color.scale(lit) * texture)
    }

    /// Returns the share of light that remains at a pixel beside it, in its soft shadow.
    pub fn dim(&self, x: f32, y: f32) -> f32 {
        1.0 - 0.35 * (1.0 - smooth(-0.02, 0.14, self.distance(x - 0.05 * self.size, y - 0.06 * self.size)))
    }
}
