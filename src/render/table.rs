//! Draws the table under the subject, with the shadows on it.

use crate::render::Scene;
use crate::render::light::Shadows;
use crate::render::math::{V3, floor, smooth, v3};

/// Shadows on the table, on a coarse grid.
pub struct Table {
    light: Vec<(f32, f32)>,
    // Shares of sky and key light in the brightness without shadow.
    shares: (V3, V3),
    // The eye in the coordinates of the room.
    from: V3,
}

impl Table {
    const CELLS: usize = 28;
    const HALF: f32 = 2.8;

    /// Computes the shadows.
    pub fn new(scene: &Scene, shadows: &Shadows, eye: V3) -> Self {
        let side = Self::CELLS + 1;
        let mut light = Vec::new();
        if scene.backdrop.table.is_some() {
            light.reserve(side * side);
            for i in 0..side * side {
                let at = |k: usize| (k as f32 / Self::CELLS as f32 * 2.0 - 1.0) * Self::HALF;
                light.push(shadows.at(v3(at(i % side), 0.0, at(i / side)), v3(0.0, 1.0, 0.0), usize::MAX));
            }
        }
        let (sky, key) = (scene.light.sky, scene.light.key * scene.light.towards.y.max(0.1));
        let full = sky + key;
        let share = |component: V3| v3(component.x / full.x, component.y / full.y, component.z / full.z);
        Self { light, shares: (share(sky), share(key)), from: scene.backdrop.room.back(eye) }
    }

    /// Returns the color of the backdrop along a ray.
    pub fn behind(&self, scene: &Scene, eye: V3, way: V3) -> V3 {
        let hit = scene.backdrop.hit(eye, self.from, way);
        let Some(p) = hit.table else { return hit.color };
        let at = |k: f32| (k * (0.5 / Self::HALF) + 0.5) * Self::CELLS as f32;
        let (x, z) = (at(p.x), at(p.z));
        let limit = Self::CELLS as f32 - 1e-3;
        if !(x > 0.0 && z > 0.0 && x < limit && z < limit) {
            return hit.color;
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
        let edge = smooth(0.8, 1.0, (p.x.abs().max(p.z.abs())) / Self::HALF);
        let ratio = self.shares.0 * open + self.shares.1 * lit;
        hit.color.scale(ratio.mix(V3::splat(1.0), edge))
    }
}
