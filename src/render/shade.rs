//! Shades surfaces: the color of a material under the light.

use crate::render::math::{V3, floor, larger, mix, sin_cos, smooth, v3};
use crate::render::noise::{cells, noise};

/// The layout of the second color, in coordinates of the component's unit sphere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Paint {
    /// Nowhere.
    Plain,
    /// Everywhere.
    Full,
    /// An ellipse in front: center (x, y), half-width and half-height.
    Oval(f32, f32, f32, f32),
    /// Two ellipses, mirrored at x = 0.
    Ovals(f32, f32, f32, f32),
    /// Above this height.
    Above(f32),
    /// Below this height.
    Below(f32),
    /// Bands along y, with this number per unit of length.
    Stripes(f32),
    /// Round spots, with this number per unit of length.
    Spots(f32),
    /// Irregular patches, with this number per unit of length.
    Patches(f32),
    /// Bands along the component, with this number from pole to pole.
    Bands(f32),
    /// A button's thread cross or an eye's pupil: a disc of this radius in front.
    Disc(f32),
    /// A square patch sewn on in front: center and half-side.
    Square(f32, f32, f32),
}

/// The reflection of light by a surface.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finish {
    /// Fur with hairs of this length.
    Fur(f32),
    /// Curly fur or wool.
    Curls(f32),
    /// Knitted or woven.
    Cloth,
    /// Smooth felt.
    Felt,
    /// Plastic or glass with a highlight.
    Gloss,
}

/// A stitched mouth in front.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mouth {
    /// Height.
    pub y: f32,
    /// Width of one arc.
    pub arc: f32,
    /// Height of the line up to the nose.
    pub line: f32,
    /// Whether it is one smile instead of two arcs.
    pub smile: bool,
}

/// The material of a component.
#[derive(Clone, Copy, Debug)]
pub struct Material {
    /// First color, linear.
    pub color: V3,
    /// Second color, linear.
    pub second: V3,
    /// Layout of the second color.
    pub paint: Paint,
    /// Reflection of light.
    pub finish: Finish,
    /// Stitched mouth.
    pub mouth: Option<Mouth>,
    /// Size of the component, so that all textures have the same grain.
    pub size: V3,
    /// Seed of its texture.
    pub seed: u32,
}

/// The light of a scene.
#[derive(Clone, Copy, Debug)]
pub struct Light {
    /// Unit vector towards the key light.
    pub towards: V3,
    /// Color and strength of the key light.
    pub key: V3,
    /// Color and strength of the light from above.
    pub sky: V3,
    /// Color and strength of the light from below.
    pub floor: V3,
}

/// The light at a point of a surface, and its directions.
pub struct Point {
    /// Unit normal.
    pub normal: V3,
    /// Unit vector to the camera.
    pub view: V3,
    /// Ambient light that arrives.
    pub open: f32,
    /// Key light that arrives.
    pub lit: f32,
}

/// The light from a point of a soft surface to the camera: `of_albedo` times its color, plus `always`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Radiance {
    /// Per unit of albedo.
    pub of_albedo: V3,
    /// Added to that.
    pub always: V3,
}

/// The texture of a material at some distance.
#[derive(Clone, Copy, Debug)]
pub enum Grain {
    /// Hairs that lie downwards.
    Strands {
        /// Strands per unit of length across.
        fine: f32,
        /// The same along, relative to across.
        down: f32,
        /// Contrast of strands.
        strand: f32,
        /// Contrast of tufts of them.
        tuft: f32,
    },
    /// Small curls: 1, or less down to 0 if they are too small to be visible.
    Curls(f32),
    /// Yarn: 1, or less down to 0 likewise.
    Weave(f32),
    /// Smooth.
    Felt,
}

impl Material {
    /// Returns the texture for pixels this many units of the scene wide; details thinner than a pixel fade.
    pub fn grain(&self, pixel: f32) -> Grain {
        match self.finish {
            Finish::Fur(length) => {
                let long = smooth(0.03, 0.1, length);
                let fine = mix(30.0, 20.0, long);
                let fade = 1.0 - smooth(0.4, 1.0, pixel * fine);
                let (strand, tuft) = (mix(0.16, 0.26, long) * fade, mix(0.08, 0.16, long));
                Grain::Strands { fine, down: mix(0.6, 0.28, long), strand, tuft }
            }
            Finish::Curls(_) => Grain::Curls(1.0 - smooth(0.4, 1.1, pixel * 20.0)),
            Finish::Cloth => Grain::Weave(1.0 - smooth(0.3, 0.7, pixel * 22.0)),
            _ => Grain::Felt,
        }
    }

    /// Returns the light from `point` of this material, which is not glossy, to the camera under `light`.
    pub fn radiance(&self, point: &Point, light: &Light) -> Radiance {
        let (wrap, sheen) = match self.finish {
            Finish::Fur(_) => (0.45, 0.55),
            Finish::Curls(_) => (0.45, 0.5),
            Finish::Cloth => (0.25, 0.2),
            _ => (0.25, 0.25),
        };
        let facing = point.normal.dot(point.view).clamp(0.0, 1.0);
        let diffuse = larger((point.normal.dot(light.towards) + wrap) / (1.0 + wrap), 0.0) * point.lit;
        // Light that grazes soft fibers leaves again at the edge, a part of it without their color.
        let soft = (1.0 - facing) * (1.0 - facing) * sheen;
        let glow = light.sky * (soft * point.open * 0.5) + light.key * (soft * diffuse);
        Radiance {
            of_albedo: self.ambient(point, light) + light.key * diffuse + glow * 0.75,
            always: glow * (0.25 * 0.6),
        }
    }

    /// Returns the color of a point at `local` of this material, which is not glossy; the share `hair` is hairs that
    /// stand off.
    pub fn soft(&self, local: V3, hair: f32, grain: Grain, radiance: Radiance) -> V3 {
        let rest = local.scale(self.size);
        let grain = match grain {
            Grain::Strands { fine, down, strand, tuft } => {
                let tufts = noise(v3(rest.x * 8.0, rest.y * 10.0 * down, rest.z * 8.0), self.seed ^ 9);
                let p = v3(rest.x, rest.y * down, rest.z);
                tuft * tufts + if strand > 0.0 { strand * noise(p * fine, self.seed) } else { 0.0 }
            }
            Grain::Curls(fade) => self.curls(rest, fade),
            Grain::Weave(fade) => self.weave(rest, fade),
            Grain::Felt => 0.06 * noise(rest * 26.0, self.seed),
        };
        let albedo = self.stitch(self.albedo(local, rest), local) * (1.0 + grain + 0.10 * hair);
        albedo.scale(radiance.of_albedo) + radiance.always
    }

    /// Returns the color of a `point` at `local` of this material, which is glossy, under `light`.
    pub fn gloss(&self, local: V3, point: &Point, light: &Light) -> V3 {
        let albedo = self.albedo(local, local.scale(self.size));
        let half = (light.towards + point.view).unit();
        let h = larger(point.normal.dot(half), 0.0);
        let (h2, rim) = (h * h, 1.0 - point.normal.dot(point.view).clamp(0.0, 1.0));
        let (h8, rim3) = (h2 * h2 * h2 * h2, rim * rim * rim);
        let h64 = h8 * h8 * h8 * h8 * h8 * h8 * h8 * h8;
        let toward = larger(point.normal.dot(light.towards), 0.0);
        let diffuse = self.ambient(point, light) + light.key * (toward * point.lit);
        albedo.scale(diffuse) + light.key * (1.3 * h64 * h8 * point.lit) + light.sky * (0.25 * rim3 + 0.02)
    }

    /// Returns the light from above and below.
    fn ambient(&self, point: &Point, light: &Light) -> V3 {
        light.floor.mix(light.sky, 0.5 + 0.5 * point.normal.y) * point.open
    }

    /// Returns the albedo at a point.
    fn albedo(&self, local: V3, rest: V3) -> V3 {
        let share = self.share(local, rest);
        if share > 0.0 { self.color.mix(self.second, share) } else { self.color }
    }

    /// Returns the share of the second color at a point.
    fn share(&self, local: V3, rest: V3) -> f32 {
        let inside = |x: f32, y: f32, a: f32, b: f32| {
            let (u, v) = ((local.x - x) / a, (local.y - y) / b);
            if local.z < -0.05 { 0.0 } else { 1.0 - smooth(0.9, 1.08, (u * u + v * v).sqrt()) }
        };
        let wobble = |amount: f32| amount * noise(rest * 9.0, self.seed ^ 77);
        match self.paint {
            Paint::Plain => 0.0,
            Paint::Full => 1.0,
            Paint::Oval(x, y, a, b) => inside(x, y, a, b),
            Paint::Ovals(x, y, a, b) => inside(x, y, a, b).max(inside(-x, y, a, b)),
            Paint::Above(y) => smooth(-0.04, 0.04, local.y - y + wobble(0.03)),
            Paint::Below(y) => smooth(-0.04, 0.04, y - local.y + wobble(0.03)),
            Paint::Stripes(n) => {
                let t = rest.y * n + 0.35 * noise(rest * 2.2, self.seed) + 0.25;
                let t = (t - floor(t) - 0.5).abs();
                1.0 - smooth(0.19, 0.25, t)
            }
            Paint::Spots(n) => {
                let (d, h) = cells(rest * n, self.seed);
                let size = 0.24 + 0.1 * (h & 255) as f32 / 255.0;
                1.0 - smooth(size - 0.03, size + 0.03, d)
            }
            Paint::Patches(n) => smooth(0.10, 0.16, noise(rest * n + V3::splat(7.3), self.seed) + wobble(0.05)),
            Paint::Bands(n) => {
                let t = local.y * n * 0.5;
                let t = (t - floor(t) - 0.5).abs();
                1.0 - smooth(0.22, 0.28, t)
            }
            Paint::Disc(r) => {
                let d = (local.x * local.x + local.y * local.y).sqrt();
                if local.z < 0.0 { 0.0 } else { 1.0 - smooth(r * 0.9, r * 1.1, d) }
            }
            Paint::Square(x, y, a) => {
                let d = (local.x - x).abs().max((local.y - y).abs());
                if local.z < 0.0 { 0.0 } else { 1.0 - smooth(a * 0.95, a * 1.05, d) }
            }
        }
    }

    /// Darkens the stitches of the mouth and of a sewn patch.
    fn stitch(&self, albedo: V3, local: V3) -> V3 {
        let mut dark = 0.0f32;
        if let Some(mouth) = self.mouth
            && local.z > 0.0
        {
            let x = local.x.abs();
            let w = 0.035;
            let (dx, dy) = (if mouth.smile { x } else { x - 0.5 * mouth.arc }, local.y - mouth.y);
            if dy < 0.0 {
                let d = ((dx * dx + dy * dy).sqrt() - 0.5 * mouth.arc).abs();
                dark = 1.0 - smooth(0.6 * w, 1.5 * w, d);
            } else if dy < mouth.line {
                dark = 1.0 - smooth(0.6 * w, 1.5 * w, x);
            }
        }
        if let Paint::Square(x, y, a) = self.paint
            && local.z > 0.0
        {
            let (u, v) = (local.x - x, local.y - y);
            let d = (u.abs().max(v.abs()) - a).abs();
            let along = if u.abs() > v.abs() { v } else { u } / a * 3.0;
            let dash = (along - floor(along) - 0.5).abs();
            dark = dark.max((1.0 - smooth(0.02, 0.05, d)) * smooth(0.1, 0.2, 0.5 - dash));
        }
        if dark > 0.0 { albedo.mix(v3(0.012, 0.009, 0.008), 0.9 * dark) } else { albedo }
    }

    /// Returns the brightness of small curls: the contour lines of noise are loops.
    fn curls(&self, rest: V3, fade: f32) -> f32 {
        let a = noise(rest * 7.5, self.seed);
        let b = if fade > 0.0 { noise(rest * 20.0, self.seed ^ 3) * fade } else { 0.0 };
        let loops = sin_cos(400.0 * a + 110.0 * b).0;
        0.13 * loops * (0.35 + 0.65 * fade) + 0.16 * b + 0.12 * a
    }

    /// Returns the brightness of yarn.
    fn weave(&self, rest: V3, fade: f32) -> f32 {
        let wave = |t: f32| {
            let t = t - floor(t) - 0.5;
            1.0 - 8.0 * t * t
        };
        let yarn = wave((rest.x + rest.z) * 20.0) * wave(rest.y * 20.0);
        0.14 * fade * yarn + 0.07 * noise(rest * 12.0, self.seed)
    }
}
