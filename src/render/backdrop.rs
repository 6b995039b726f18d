//! Draws the backdrop of the subject: a wall and a table.

use crate::render::math::{Basis, V3, floor, smooth, v3};
use crate::render::noise::{flat_cells, flat_noise, unit_of};

/// The texture of a wall or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texture {
    /// One color.
    Plain,
    /// From the first color below to the second above.
    Gradient,
    /// Boards with grain.
    Wood,
    /// Squares.
    Checker,
    /// Woven cloth with soft folds.
    Fabric,
    /// Bands.
    Stripes,
    /// Round dots.
    Dots,
    /// Out-of-focus shapes in many shades.
    Blobs,
}

/// A wall or a table.
#[derive(Clone, Copy, Debug)]
pub struct Surround {
    /// The texture.
    pub texture: Texture,
    /// First color, linear.
    pub first: V3,
    /// Second color, linear.
    pub second: V3,
    /// Pattern repeats per unit of length.
    pub scale: f32,
    /// Seed of the pattern.
    pub seed: u32,
}

/// A wall, and optionally a table.
#[derive(Clone, Copy, Debug)]
pub struct Backdrop {
    /// The wall.
    pub wall: Surround,
    /// The table at height 0; without it, the subject hangs in front of the wall.
    pub table: Option<Surround>,
    /// Distance of the wall behind the subject.
    pub depth: f32,
    /// Rotation of the room about the vertical, so that the wall is opposite to the camera.
    pub room: Basis,
}

/// The intersection of a ray with the backdrop.
pub struct Intersection {
    /// Color before light.
    pub color: V3,
    /// Position on the table, if the ray hits the table.
    pub table: Option<V3>,
}

impl Backdrop {
    /// Intersects the ray from `eye` along `way`; `from` is the eye in the coordinates of the room.
    pub fn hit(&self, eye: V3, from: V3, way: V3) -> Intersection {
        let ray = self.room.back(way);
        if let Some(table) = &self.table
            && ray.y < -1e-4
            && from.y > 0.0
        {
            let t = -from.y / ray.y;
            let p = from + ray * t;
            if p.z > -self.depth || ray.z >= 0.0 {
                let color = table.color(p.x, p.z, 0.5);
                return Intersection { color, table: Some(eye + way * t) };
            }
        }
        let t = if ray.z < -1e-4 { ((-self.depth - from.z) / ray.z).min(50.0) } else { 50.0 };
        let p = from + ray * t;
        Intersection { color: self.wall.color(p.x, p.y, 0.25 + 0.15 * p.y), table: None }
    }
}

impl Surround {
    /// Returns the color at (u, v); a gradient depends on `height`.
    fn color(&self, u: f32, v: f32, height: f32) -> V3 {
        let p = v3(u * self.scale, v * self.scale, 0.0);
        let two = |t: f32| self.first.mix(self.second, t);
        match self.texture {
            Texture::Plain => self.first,
            Texture::Gradient => two(smooth(0.0, 1.0, height)),
            Texture::Wood => {
                let board = floor(p.x * 1.3);
                let shade = unit_of((board as i32 as u32).wrapping_mul(0x9E37_79B1) ^ self.seed);
                let gap = (p.x * 1.3 - board - 0.5).abs();
                let grain = flat_noise(p.x * 14.0, p.y * 0.9 + 9.0 * shade, self.seed);
                let ring = flat_noise(p.x * 4.0 + 50.0 * shade, p.y * 0.35, self.seed ^ 1);
                two(0.35 * shade + 0.3 + 0.25 * grain + 0.25 * ring) * (1.0 - 0.5 * smooth(0.475, 0.5, gap))
            }
            Texture::Checker => {
                let odd = (floor(p.x) as i32 ^ floor(p.y) as i32) & 1;
                two(odd as f32)
            }
            Texture::Fabric => {
                let fold = flat_noise(p.x * 0.9, p.y * 0.5, self.seed);
                let yarn = flat_noise(p.x * 22.0, p.y * 22.0, self.seed ^ 3);
                two(0.5 + 0.5 * fold) * (1.0 + 0.16 * yarn)
            }
            Texture::Stripes => {
                let t = p.x - floor(p.x) - 0.5;
                two(smooth(0.22, 0.26, t.abs()))
            }
            Texture::Dots => {
                let (x, y) = (p.x - floor(p.x) - 0.5, p.y - floor(p.y) - 0.5);
                two(1.0 - smooth(0.22, 0.26, (x * x + y * y).sqrt()))
            }
            Texture::Blobs => {
                let (d, h) = flat_cells(p.x, p.y, self.seed);
                let tint = V3 { x: unit_of(h), y: unit_of(h ^ 0x51ED), z: unit_of(h ^ 0xA0B3) };
                let spot = two(unit_of(h ^ 0x77)).mix(tint.scale(tint), 0.5);
                let soft = two(0.5 + 0.5 * flat_noise(p.x * 0.7, p.y * 0.7, self.seed));
                soft.mix(spot, 1.0 - smooth(0.25, 0.5, d))
            }
        }
    }
}
