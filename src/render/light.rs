//! Computes soft shadows: the ambient and key light at a point between ellipsoids.

use crate::render::math::{V3, larger, smooth};
use crate::render::surface::{Component, Surface, Vertex};

/// An ellipsoid as a shadow caster.
struct Caster {
    component: usize,
    center: V3,
    // Rows of the map into the space where it is the unit sphere.
    rows: [V3; 3],
    reach: f32,
    // The direction of the key light in that space, a unit vector.
    key: V3,
}

/// The shadow casters of a scene.
pub struct Shadows {
    casters: Vec<Caster>,
    key: V3,
}

impl Shadows {
    /// Makes casters of the components of `surface`, under a light from direction `key`.
    pub fn new(surface: &Surface, key: V3) -> Self {
        let casters = surface
            .components
            .iter()
            .enumerate()
            .filter(|(_, component)| {
                component.shades && component.radii.x.max(component.radii.y).max(component.radii.z) > 0.06
            })
            .map(|(index, component)| caster(index, component, key))
            .collect();
        Self { casters, key }
    }

    /// Returns (ambient, key) light at `point` with `normal`; component `own` does not shade itself.
    pub fn at(&self, point: V3, normal: V3, own: usize) -> (f32, f32) {
        let (mut open, mut lit) = (1.0f32, 1.0f32);
        for caster in &self.casters {
            if caster.component == own {
                continue;
            }
            let away = point - caster.center;
            let along = away.dot(self.key);
            let distance2 = away.dot(away);
            let aside2 = distance2 - along * along;
            let near = distance2 < 9.0 * caster.reach * caster.reach;
            let shadowed = along < 0.6 * caster.reach && aside2 < 2.6 * caster.reach * caster.reach;
            if !near && !shadowed {
                continue;
            }
            let [x, y, z] = caster.rows;
            let q = V3 { x: x.dot(away), y: y.dot(away), z: z.dot(away) };
            let q2 = q.dot(q);
            if near && q2 < 16.0 {
                let n = V3 { x: x.dot(normal), y: y.dot(normal), z: z.dot(normal) };
                let facing = -n.dot(q) / ((n.dot(n) * q2).sqrt() + 1e-6);
                let block = if q2 <= 1.0 { 0.9 } else { larger(0.35 + 0.65 * facing, 0.0) / q2 };
                open *= 1.0 - 0.8 * block.min(1.0);
            }
            if shadowed {
                let along = -q.dot(caster.key);
                let clear2 = q2 - along * along;
                // The penumbra widens with the distance to the caster.
                let soft = 0.25 + 0.12 * larger(along, 0.0);
                if along > -0.3 && clear2 < (1.0 + soft) * (1.0 + soft) {
                    let clear = larger(clear2, 0.0).sqrt();
                    let block = (1.0 - smooth(1.0 - soft, 1.0 + soft, clear)) * smooth(-0.3, 0.4, along);
                    lit *= 1.0 - 0.92 * block;
                }
            }
        }
        (open, lit)
    }

    /// Returns (ambient, key) light at a vertex of component `own`; `ground` is the height of a table below.
    pub fn on(&self, vertex: &Vertex, own: usize, ground: Option<f32>) -> (f32, f32) {
        let (mut open, lit) = self.at(vertex.position + vertex.normal * 0.02, vertex.normal, own);
        if let Some(ground) = ground {
            let h = larger(vertex.position.y - ground, 0.0) * 2.5;
            let below = 0.5 - 0.5 * vertex.normal.y;
            open *= 1.0 - 0.6 * below / (1.0 + h * h);
        }
        (open, lit)
    }
}

fn caster(index: usize, component: &Component, key: V3) -> Caster {
    let r = component.radii;
    let rows = [
        component.axes.x * (1.0 / r.x.max(1e-3)),
        component.axes.y * (1.0 / r.y.max(1e-3)),
        component.axes.z * (1.0 / r.z.max(1e-3)),
    ];
    Caster {
        component: index,
        center: component.center,
        rows,
        reach: r.x.max(r.y).max(r.z),
        key: V3 { x: rows[0].dot(key), y: rows[1].dot(key), z: rows[2].dot(key) }.unit(),
    }
}
