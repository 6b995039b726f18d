//! Attributes and a seed become sewn parts: body, limbs, head and face.

use crate::plush::accessories;
use crate::plush::attributes::{Attributes, Color, Fur, Kind, Pattern, Pose, Species, Wear};
use crate::plush::species::{Form, Tail, form};
use crate::render::math::{Basis, Random, V3, linear, mix, v3};
use crate::render::shade::{Finish, Material, Paint};
use crate::render::surface::{Bend, Place, Surface};

/// A plush as parts and materials, standing on height 0 and facing +z.
pub struct Sewn {
    /// The parts.
    pub surface: Surface,
    /// What they are made of.
    pub materials: Vec<Material>,
}

/// A plush while it is sewn.
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
    /// Shoulder, elbow and hand of both arms, and how thick they are.
    pub arms: [[V3; 3]; 2],
    pub arm_radius: f32,
}

/// How far limbs and head are moved from where they were sewn, for a view.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stir {
    /// Seed of the moves.
    pub seed: u64,
    /// Size of the moves: 0 none, 1 strong.
    pub amount: f32,
    /// Another pose than its own.
    pub pose: Option<Pose>,
}

/// Sews a plush.
pub fn sew(seed: u64, attributes: &Attributes, stir: Stir) -> Sewn {
    let colors = &mut Random::new(seed, 2);
    let (mut main, mut second) =
        (attributes.color.shade(colors), attributes.second_color.unwrap_or(Color::White).shade(colors));
    if attributes.wear == Wear::Faded {
        let dust = linear(v3(0.72, 0.70, 0.67));
        (main, second) = (main.mix(dust, 0.38), second.mix(dust, 0.38));
    }
    let mut random = Random::new(seed, 3);
    let form = form(attributes.species, &mut random);
    let finish = match attributes.fur {
        Fur::Short => Finish::Fur(random.range(0.028, 0.042)),
        Fur::Long => Finish::Fur(random.range(0.07, 0.10)),
        Fur::Curly => Finish::Curls(random.range(0.035, 0.05)),
    };
    let accent = match attributes.second_color {
        Some(_) if matches!(attributes.pattern, Pattern::Belly | Pattern::TwoTone) => second,
        _ => main.mix(linear(v3(0.97, 0.93, 0.86)), 0.55),
    };
    let mut sewing = Sewing {
        surface: Surface { subject: true, ..Surface::default() },
        materials: Vec::new(),
        random,
        attributes,
        form,
        finish,
        main,
        second,
        accent,
        body: Default::default(),
        head: (V3::default(), Basis::IDENTITY, V3::default()),
        arms: Default::default(),
        arm_radius: 0.0,
    };
    sewing.build(stir);
    Sewn { surface: sewing.surface, materials: sewing.materials }
}

impl Sewing<'_> {
    fn build(&mut self, stir: Stir) {
        let pose = stir.pose.unwrap_or(self.attributes.pose);
        let moves = &mut Random::new(stir.seed, 5);
        let mut sway = |amount: f32| moves.bell() * stir.amount * amount;
        let form = self.form;
        let standing = pose != Pose::Sitting;
        let raised = if standing { form.leg * 0.85 } else { 0.0 };
        let body = v3(0.0, raised + form.body.y * 0.96, 0.0);
        self.body = (body, form.body);
        let tilt = self.random.bell() * 3.0 + sway(7.0);
        let turn = self.random.bell() * 4.0 + sway(12.0);
        let nod = self.random.bell() * 2.5 + sway(6.0);
        let head = body + v3(0.0, form.body.y * 0.86 + form.head.y * 0.70, form.forward);
        self.head = (head, Basis::turn(nod, turn, tilt), form.head);

        self.torso();
        self.limbs(pose, [sway(0.12), sway(0.12), sway(0.10), sway(0.10)]);
        self.tail();
        self.skull();
        self.ears();
        self.muzzle();
        self.eyes();
        accessories::dress(self);

        if pose == Pose::Lying {
            let side = if self.random.chance(0.5) { 1.0 } else { -1.0 };
            self.surface.turn(Basis::turn(-6.0, 0.0, side * 84.0));
        }
        let (low, high) = self.surface.bounds();
        let middle = (low + high) * 0.5;
        // It sinks a little into itself where it lies on.
        let sunk = if pose == Pose::Lying { 0.35 * self.form.arm + 0.1 } else { 0.012 };
        self.surface.shift(v3(-middle.x, -low.y - sunk, -middle.z));
        for vertex in &mut self.surface.vertices {
            vertex.position.y = vertex.position.y.max(0.0);
        }
    }

    /// A material of this plush's fur with its pattern.
    pub fn fur(&mut self, size: V3, paint: Paint) -> u16 {
        let finish = self.finish;
        self.material(self.main, self.second, paint, finish, size)
    }

    pub fn material(&mut self, color: V3, second: V3, paint: Paint, finish: Finish, size: V3) -> u16 {
        let seed = (self.random.bits() >> 32) as u32;
        self.materials.push(Material { color, second, paint, finish, mouth: None, size, seed });
        (self.materials.len() - 1) as u16
    }

    pub fn place(&mut self, material: u16, detail: usize, head: bool) -> Place {
        let seed = (self.random.bits() >> 32) as u32;
        // What shines shows its corners, what is soft hides them.
        let gloss = self.materials[material as usize].finish == Finish::Gloss;
        Place { material, detail: if gloss { detail } else { detail - detail / 6 }, head, seed }
    }

    /// Which paint large parts wear.
    pub fn coat(&self) -> Paint {
        match self.attributes.pattern {
            Pattern::Stripes => Paint::Stripes(4.6),
            Pattern::Spots => Paint::Spots(3.6),
            Pattern::Patches => Paint::Patches(2.1),
            _ => Paint::Plain,
        }
    }

    /// Which paint ends of limbs and ears wear.
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

    fn torso(&mut self) {
        let (center, radii) = self.body;
        let paint = match self.attributes.pattern {
            Pattern::Belly => Paint::Oval(0.0, -0.08, 0.62, 0.74),
            _ => self.coat(),
        };
        let material = self.fur(radii, paint);
        let place = self.place(material, 16, false);
        let bend = Bend { taper: self.form.pear, ..self.lumps() };
        self.surface.ellipsoid(place, center, Basis::IDENTITY, radii, bend);
        if self.attributes.wear == Wear::Mended {
            let side = if self.random.chance(0.5) { 1.0 } else { -1.0 };
            let color = self.random.pick(Color::ALL).shade(&mut self.random);
            let material = self.material(color, color, Paint::Square(0.0, 0.0, 0.82), Finish::Cloth, V3::splat(0.3));
            let place = self.place(material, 8, false);
            let way = v3(0.45 * side, -0.12, 0.9);
            let at = center + way.unit().scale(radii) * 0.99;
            let flat = Bend { boxy: 1.0, ..Bend::default() };
            self.surface.ellipsoid(place, at, Basis::facing(way), v3(0.12, 0.12, 0.035), flat);
        }
    }

    fn limbs(&mut self, pose: Pose, sway: [f32; 4]) {
        let (center, radii) = self.body;
        let form = self.form;
        let holds = self.attributes.accessories.iter().any(|one| one.kind == Kind::Heart);
        let raise = self.random.range(-0.12, 0.16);
        self.arm_radius = form.arm;
        for side in [1.0f32, -1.0] {
            let index = usize::from(side < 0.0);
            let shoulder = center + v3(side * radii.x * 0.72, radii.y * 0.52, radii.z * 0.05);
            let lift = raise + sway[index];
            let (length, lying) = (form.reach, pose == Pose::Lying);
            let hand = center
                + if holds {
                    v3(side * 0.24, radii.y * 0.02, radii.z + 0.16)
                } else if lying {
                    // One that lies on its side reaches forwards.
                    v3(side * radii.x * 0.62, radii.y * (0.05 + lift), radii.z * 0.5 + length * 0.75)
                } else {
                    v3(
                        side * (radii.x * 0.72 + length * 0.62),
                        radii.y * 0.52 - length * (0.62 - lift),
                        radii.z * 0.35 + 0.3 * length,
                    )
                };
            let elbow = (shoulder + hand) * 0.5 + v3(side * if holds { 0.26 } else { 0.07 }, -0.03, 0.0);
            self.arms[index] = [shoulder, elbow, hand];
            let paint = self.tips();
            if form.wings {
                let size = v3(0.1, 0.35, 0.2);
                let material = self.fur(size, paint);
                let place = self.place(material, 9, false);
                let down = (hand - shoulder).unit();
                let length = (hand - shoulder).length() * 0.62;
                let axes = Basis::along(-down);
                let middle = shoulder + down * (length * 0.75);
                let flat = Bend { taper: 0.15, ..Bend::default() };
                let aside = Basis { x: axes.x, y: axes.y, z: axes.z };
                self.surface.ellipsoid(place, middle, aside, v3(form.arm * 0.55, length, form.arm * 1.5), flat);
            } else {
                let size = v3(form.arm, 0.5 * form.reach, form.arm);
                let material = self.fur(size, paint);
                let place = self.place(material, 11, false);
                self.surface.tube(
                    place,
                    1.0,
                    |t| curve(shoulder, elbow, hand, t),
                    |t| sausage(t, form.arm * 0.9, form.arm * 1.1),
                );
            }
        }
        for side in [1.0f32, -1.0] {
            let index = 2 + usize::from(side < 0.0);
            let hip_y = center.y - radii.y * 0.62;
            let (hip, foot) = if pose == Pose::Sitting {
                let spread = form.spread + sway[index];
                let hip = v3(side * radii.x * 0.5, form.thigh * 1.02, radii.z * 0.25);
                (hip, hip + v3(side * form.leg * spread, 0.0, form.leg + 0.12))
            } else {
                let hip = v3(side * radii.x * 0.5, hip_y, 0.0);
                (hip, v3(side * (radii.x * 0.56 + 0.3 * sway[index]), form.thigh * 0.95, 0.04 + sway[index] * 0.6))
            };
            let paint = self.tips();
            if form.wings {
                self.webbed(side, foot);
                continue;
            }
            let size = v3(form.thigh, 0.5 * form.leg, form.thigh);
            let material = self.fur(size, paint);
            let place = self.place(material, 11, false);
            let middle = (hip + foot) * 0.5;
            self.surface.tube(
                place,
                1.0,
                |t| curve(hip, middle, foot, t),
                |t| sausage(t, form.thigh, form.thigh * 0.95),
            );
            // The sole: a foot that looks at you when it sits.
            let toe = if pose == Pose::Sitting { v3(0.15 * side, 0.55, 0.8) } else { v3(0.1 * side, 0.0, 1.0) };
            let (radii, at) = if pose == Pose::Sitting {
                (v3(form.thigh * 1.02, form.thigh * 1.3, form.thigh * 0.62), foot + v3(0.0, form.thigh * 0.22, 0.0))
            } else {
                (
                    v3(form.thigh * 1.05, form.thigh * 0.72, form.thigh * 1.35),
                    v3(foot.x, form.thigh * 0.7, foot.z + form.thigh * 0.45),
                )
            };
            let material = self.fur(radii, paint);
            let place = self.place(material, 9, false);
            let axes =
                if pose == Pose::Sitting { Basis::facing(toe) } else { Basis::facing(v3(0.15 * side, 0.0, 1.0)) };
            self.surface.ellipsoid(place, at, axes, radii, Bend::default());
            if pose == Pose::Sitting && form.pads {
                let pad = self.accent;
                let material = self.material(pad, pad, Paint::Plain, Finish::Felt, radii);
                let place = self.place(material, 8, false);
                let sole = at + axes.z * (radii.z * 0.72);
                self.surface.ellipsoid(
                    place,
                    sole,
                    axes,
                    v3(radii.x * 0.62, radii.y * 0.62, radii.z * 0.36),
                    Bend::default(),
                );
            }
        }
    }

    /// A flat orange foot.
    fn webbed(&mut self, side: f32, foot: V3) {
        let orange = linear(v3(0.95, 0.55, 0.12));
        let thigh = self.form.thigh;
        let radii = v3(thigh * 1.0, thigh * 0.42, thigh * 1.5);
        let material = self.material(orange, orange, Paint::Plain, Finish::Felt, radii);
        let place = self.place(material, 9, false);
        let at = v3(foot.x, radii.y, self.body.1.z * 0.55 + thigh * 0.5);
        let bend = Bend { curl: 0.0, boxy: 0.3, ..Bend::default() };
        self.surface.ellipsoid(place, at, Basis::facing(v3(0.35 * side, 0.0, 1.0)), radii, bend);
    }

    fn tail(&mut self) {
        let (center, radii) = self.body;
        let root = center + v3(0.0, -radii.y * 0.45, -radii.z * 0.88);
        let paint = self.tips();
        let side = if self.random.chance(0.5) { 1.0 } else { -1.0 };
        match self.form.tail {
            Tail::None => {}
            Tail::Pom(r) => {
                let material = self.fur(V3::splat(r), paint);
                let place = self.place(material, 9, false);
                self.surface.ellipsoid(
                    place,
                    root - v3(0.0, 0.0, r * 0.5),
                    Basis::IDENTITY,
                    V3::splat(r),
                    self.lumps(),
                );
            }
            Tail::Thin(length, r) => {
                let material = self.fur(v3(r, length, r), paint);
                let place = self.place(material, 11, false);
                let (middle, end) = (
                    root + v3(side * 0.3 * length, 0.0, -0.35 * length),
                    root + v3(side * 0.75 * length, 0.65 * length, -0.15 * length),
                );
                self.surface.tube(place, 1.0, |t| curve(root, middle, end, t), |t| sausage(t, r, r * 0.8));
                if self.attributes.species == Species::Lion {
                    let material = self.fur(V3::splat(0.1), Paint::Plain);
                    let place = self.place(material, 8, false);
                    self.surface.ellipsoid(place, end, Basis::IDENTITY, v3(0.1, 0.13, 0.1), Bend::default());
                }
            }
            Tail::Bushy(length, r) => {
                let paint = if paint == Paint::Plain { Paint::Above(0.55) } else { paint };
                let white =
                    if self.attributes.second_color.is_some() { self.second } else { linear(v3(0.95, 0.93, 0.9)) };
                let finish = self.finish;
                let material = self.material(self.main, white, paint, finish, v3(r, length * 0.5, r));
                let place = self.place(material, 14, false);
                let (middle, end) = (
                    root + v3(side * 0.6 * length, -0.1, -0.2 * length),
                    root + v3(side * 0.85 * length, 0.75 * length, 0.0),
                );
                let bulge = |t: f32| sausage(t, r * 0.5, r * 0.35) + r * 2.4 * t * (1.0 - t) * t.max(0.35);
                self.surface.tube(place, 1.0, |t| curve(root, middle, end, t), bulge);
            }
            Tail::Thick(length, r) => {
                let material = self.fur(v3(r, length * 0.5, r), self.coat());
                let place = self.place(material, 14, false);
                let start = root + v3(0.0, 0.02, 0.15);
                let (middle, end) = (
                    start + v3(side * 0.1, -0.12, -0.6 * length),
                    v3(side * 0.45 * length, r * 0.35, start.z - length),
                );
                self.surface.tube(place, 1.0, |t| curve(start, middle, end, t), |t| sausage(t, r * 1.35, r * 0.25));
            }
        }
    }
}

/// A point of the curve from `a` to `c` that `b` pulls.
pub(super) fn curve(a: V3, b: V3, c: V3, t: f32) -> V3 {
    // Through b at the middle.
    let pull = b * 2.0 - (a + c) * 0.5;
    a.mix(pull, t).mix(pull.mix(c, t), t)
}

/// Radius of a sausage with round ends.
pub(super) fn sausage(t: f32, from: f32, to: f32) -> f32 {
    let x = 2.0 * t - 1.0;
    let x2 = x * x;
    let x4 = x2 * x2;
    mix(from, to, t) * (1.0 - x4 * x4).max(0.0).sqrt()
}
