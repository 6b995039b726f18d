//! Holds a plush under construction, with the materials and shapes that its components share.

use crate::plush::attributes::Attributes;
use crate::plush::species::Form;
use crate::plush::vocabulary::Pattern;
use crate::random::Random;
use crate::render::math::{Basis, V3, mix};
use crate::render::shade::{Finish, Material, Paint};
use crate::render::surface::{Bend, ComponentOptions, Surface};

/// A plush under construction.
pub(super) struct Sewing<'a> {
    pub surface: Surface,
    pub materials: Vec<Material>,
    pub random: Random,
    pub attributes: &'a Attributes,
    pub form: Form,
    pub finish: Finish,
    pub main: V3,
    pub second: V3,
    pub accent: V3,
    /// Middle of the body and its half-axes.
    pub body: (V3, V3),
    /// Middle of the head, its turn and its half-axes.
    pub head: (V3, Basis, V3),
    /// Shoulder, elbow and hand of both arms, and their radius.
    pub arms: [[V3; 3]; 2],
    pub arm_radius: f32,
}

impl Sewing<'_> {
    /// Adds a material of this plush's fur with its pattern.
    pub fn fur(&mut self, size: V3, paint: Paint) -> u16 {
        let finish = self.finish;
        self.material(self.main, self.second, paint, finish, size)
    }

    pub fn material(&mut self, color: V3, second: V3, paint: Paint, finish: Finish, size: V3) -> u16 {
        let seed = (self.random.bits() >> 32) as u32;
        self.materials.push(Material { color, second, paint, finish, mouth: None, size, seed });
        (self.materials.len() - 1) as u16
    }

    pub fn component(&mut self, material: u16, detail: usize, head: bool) -> ComponentOptions {
        let seed = (self.random.bits() >> 32) as u32;
        // Glossy surfaces show their edges, soft ones hide them.
        let gloss = self.materials[material as usize].finish == Finish::Gloss;
        ComponentOptions { material, detail: if gloss { detail } else { detail - detail / 6 }, head, seed }
    }

    /// Returns the paint of large components.
    pub fn coat(&self) -> Paint {
        match self.attributes.pattern {
            Pattern::Stripes => Paint::Stripes(4.6),
            Pattern::Spots => Paint::Spots(3.6),
            Pattern::Patches => Paint::Patches(2.1),
            _ => Paint::Plain,
        }
    }

    /// Returns the paint of the ends of limbs and ears.
    pub fn tips(&self) -> Paint {
        match self.attributes.pattern {
            Pattern::TwoTone => Paint::Full,
            _ => self.coat(),
        }
    }

    pub fn lumps(&self) -> Bend {
        let wool = matches!(self.finish, Finish::Curls(_));
        Bend { lumps: if wool { 0.045 } else { 0.018 }, grain: if wool { 4.5 } else { 2.0 }, ..Bend::default() }
    }
}

/// Returns a point of the curve from `a` to `c` through `b`.
pub(super) fn curve(a: V3, b: V3, c: V3, t: f32) -> V3 {
    // Through b at the middle.
    let pull = b * 2.0 - (a + c) * 0.5;
    a.mix(pull, t).mix(pull.mix(c, t), t)
}

/// Returns the radius of a sausage with round ends.
pub(super) fn sausage(t: f32, from: f32, to: f32) -> f32 {
    let x = 2.0 * t - 1.0;
    let x2 = x * x;
    let x4 = x2 * x2;
    mix(from, to, t) * (1.0 - x4 * x4).max(0.0).sqrt()
}
