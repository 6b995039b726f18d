//! Computes the color of a pixel: every component in it is shaded once.
//!
//! A soft surface changes its light slowly, so its light is computed at the vertices of triangles, on demand, and
//! interpolated between them.

use crate::render::lens::Lens;
use crate::render::light::Shadows;
use crate::render::math::{V3, larger};
use crate::render::raster::{Corner, HAIR, NONE};
use crate::render::shade::{Finish, Grain, Point, Radiance};
use crate::render::{Behind, Scene};

/// The light at a vertex.
#[derive(Clone, Copy)]
struct Lit {
    // Ambient and key light; less than 0 if not computed yet.
    open: f32,
    lit: f32,
    // The reflection by a soft surface.
    radiance: Radiance,
}

/// The input for shading the pixels of a scene.
pub struct Pixels<'a> {
    pub scene: &'a Scene<'a>,
    pub lens: &'a Lens,
    pub behind: &'a Behind,
    shadows: &'a Shadows,
    corners: &'a [Option<Corner>],
    // The component of each triangle.
    owner: Vec<u16>,
    // Whether each component belongs to the subject.
    subject: Vec<bool>,
    // The texture of each component.
    grain: Vec<Grain>,
    // The light at each vertex.
    lit: Vec<Lit>,
}

impl<'a> Pixels<'a> {
    pub fn new(
        scene: &'a Scene<'a>,
        lens: &'a Lens,
        shadows: &'a Shadows,
        corners: &'a [Option<Corner>],
        behind: &'a Behind,
    ) -> Self {
        let surface = &scene.surface;
        let mut owner = vec![0; surface.triangles.len()];
        let mut grain = Vec::with_capacity(surface.components.len());
        for (index, component) in surface.components.iter().enumerate() {
            owner[component.triangles.0..component.triangles.1].fill(index as u16);
            let pixel = (component.center - lens.eye).length() / lens.scale;
            grain.push(scene.materials[component.material as usize].grain(pixel));
        }
        let lit = vec![Lit { open: -1.0, lit: 0.0, radiance: Radiance::default() }; surface.vertices.len()];
        let subject = surface.components.iter().map(|component| component.subject).collect();
        Self { scene, lens, behind, shadows, corners, owner, subject, grain, lit }
    }

    /// Returns whether a sample shows the subject.
    pub fn is_subject(&self, id: u32) -> bool {
        id != NONE && self.subject[self.component(id) as usize]
    }

    /// Returns the component of a sample, or [`NONE`].
    fn component(&self, id: u32) -> u32 {
        if id == NONE { NONE } else { self.owner[(id & !HAIR) as usize].into() }
    }

    /// Returns the color of one pixel, whose four samples show `ids`, without an occluder.
    pub fn color(&mut self, ids: [u32; 4], column: usize, row: usize) -> V3 {
        if ids == [NONE; 4] {
            return self.behind.at(column, row);
        }
        let components = ids.map(|id| self.component(id));
        let hair = |i: usize| if ids[i] != NONE && ids[i] & HAIR != 0 { 0.25 } else { 0.0 };
        if components[1..] == [components[0]; 3] {
            return self.shade(ids[0] & !HAIR, hair(0) + hair(1) + hair(2) + hair(3), column, row);
        }
        let mut done = [false; 4];
        let mut sum = V3::default();
        for i in 0..4 {
            if done[i] {
                continue;
            }
            let (mut weight, mut hairs) = (0.0, 0.0);
            for j in i..4 {
                if components[j] == components[i] {
                    done[j] = true;
                    weight += 0.25;
                    hairs += hair(j);
                }
            }
            let color = if ids[i] == NONE {
                self.behind.at(column, row)
            } else {
                self.shade(ids[i] & !HAIR, hairs / weight, column, row)
            };
            sum = sum + color * weight;
        }
        sum
    }

    /// Returns the color of a triangle in a pixel.
    fn shade(&mut self, triangle: u32, hair: f32, column: usize, row: usize) -> V3 {
        let (scene, own) = (self.scene, self.owner[triangle as usize] as usize);
        let surface = &scene.surface;
        let [a, b, c] = surface.triangles[triangle as usize];
        let index = [a as usize, b as usize, c as usize];
        let (Some(a), Some(b), Some(c)) = (self.corners[index[0]], self.corners[index[1]], self.corners[index[2]])
        else {
            return V3::default();
        };
        let inverse = 1.0 / ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));
        let (dx, dy) = ((2 * column + 1) as f32 - a[0], (2 * row + 1) as f32 - a[1]);
        let u = larger((dx * (c[1] - a[1]) - dy * (c[0] - a[0])) * inverse, 0.0);
        let v = larger((dy * (b[0] - a[0]) - dx * (b[1] - a[1])) * inverse, 0.0);
        // A pixel's center may be outside the triangle that covers one of its samples.
        let sum = u + v;
        let (u, v, w) = if sum > 1.0 { (u / sum, v / sum, 0.0) } else { (u, v, 1.0 - sum) };
        let component = &surface.components[own];
        let material = &scene.materials[component.material as usize];
        let (a, b, c) = (&surface.vertices[index[0]], &surface.vertices[index[1]], &surface.vertices[index[2]]);
        let local = a.local * w + b.local * u + c.local * v;
        for i in index {
            if self.lit[i].open < 0.0 {
                self.lit[i] = self.light(i, own);
            }
        }
        let (la, lb, lc) = (&self.lit[index[0]], &self.lit[index[1]], &self.lit[index[2]]);
        if material.finish == Finish::Gloss {
            let point = Point {
                normal: (a.normal * w + b.normal * u + c.normal * v).unit(),
                view: -self.lens.ray(column as f32 + 0.5, row as f32 + 0.5).unit(),
                open: la.open * w + lb.open * u + lc.open * v,
                lit: la.lit * w + lb.lit * u + lc.lit * v,
            };
            return material.gloss(local, &point, &scene.light);
        }
        let blend = |f: fn(&Lit) -> V3| f(la) * w + f(lb) * u + f(lc) * v;
        let radiance =
            Radiance { of_albedo: blend(|lit| lit.radiance.of_albedo), always: blend(|lit| lit.radiance.always) };
        material.soft(local, hair, self.grain[own], radiance)
    }

    /// Returns the light at a vertex of component `own`.
    fn light(&self, vertex: usize, own: usize) -> Lit {
        let scene = self.scene;
        let at = &scene.surface.vertices[vertex];
        let (open, lit) = self.shadows.on(at, own, scene.backdrop.table.map(|_| 0.0));
        let material = &scene.materials[scene.surface.components[own].material as usize];
        let point = Point { normal: at.normal, view: (self.lens.eye - at.position).unit(), open, lit };
        Lit { open, lit, radiance: material.radiance(&point, &scene.light) }
    }
}
