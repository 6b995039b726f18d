//! Attributes and a seed become sewn parts: body, limbs, head and face.

use crate::plush::accessories;
use crate::plush::attributes::{Attributes, Color, EyeColor, Fur, Pattern, Pose, Species, Wear};
use crate::plush::species::{Ear, Form, Muzzle, Tail, form};
use crate::render::math::{Basis, Random, V3, linear, mix, v3};
use crate::render::shade::{Finish, Material, Mouth, Paint};
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

const DARK: V3 = v3(0.012, 0.010, 0.010);

/// Sews a plush.
pub fn sew(seed: u64, attributes: &Attributes, stir: Stir) -> Sewn {
    let colours = &mut Random::new(seed, 2);
    let (mut main, mut second) =
        (attributes.color.shade(colours), attributes.second_color.unwrap_or(Color::White).shade(colours));
    if attributes.wear == Wear::Faded {
        let dust = linear(v3(0.72, 0.70, 0.67));
        (main, second) = (main.mix(dust, 0.38), second.mix(dust, 0.38));
    }
    let mut random = Random::new(seed, 3);
    let form = form(attributes.species, &mut random);
    let finish = match attributes.fur {
        Fur::Short => Finish::Fur(random.range(0.028, 0.042)),
        Fur::Long => Finish::Fur(random.range(0.085, 0.125)),
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
        self.surface.shift(v3(-middle.x, -low.y, -middle.z));
    }

    /// A material of this plush's fur with its pattern.
    pub fn fur(&mut self, size: V3, paint: Paint) -> u16 {
        let finish = self.finish;
        self.material(self.main, self.second, paint, finish, size)
    }

    pub fn material(&mut self, colour: V3, second: V3, paint: Paint, finish: Finish, size: V3) -> u16 {
        let seed = (self.random.bits() >> 32) as u32;
        self.materials.push(Material { colour, second, paint, finish, mouth: None, size, seed });
        (self.materials.len() - 1) as u16
    }

    pub fn place(&mut self, material: u16, detail: usize, head: bool) -> Place {
        let seed = (self.random.bits() >> 32) as u32;
        Place { material, detail, head, seed }
    }

    /// Which paint large parts wear.
    fn coat(&self) -> Paint {
        match self.attributes.pattern {
            Pattern::Stripes => Paint::Stripes(4.6),
            Pattern::Spots => Paint::Spots(3.6),
            Pattern::Patches => Paint::Patches(2.1),
            _ => Paint::Plain,
        }
    }

    /// Which paint ends of limbs and ears wear.
    fn tips(&self) -> Paint {
        match self.attributes.pattern {
            Pattern::TwoTone => Paint::Full,
            _ => self.coat(),
        }
    }

    fn lumps(&self) -> Bend {
        let wool = matches!(self.finish, Finish::Curls(_));
        Bend { lumps: if wool { 0.045 } else { 0.018 }, grain: if wool { 4.5 } else { 2.0 }, ..Bend::default() }
    }

    fn torso(&mut self) {
        let (centre, radii) = self.body;
        let paint = match self.attributes.pattern {
            Pattern::Belly => Paint::Oval(0.0, -0.08, 0.62, 0.74),
            _ => self.coat(),
        };
        let material = self.fur(radii, paint);
        let place = self.place(material, 18, false);
        let bend = Bend { taper: self.form.pear, ..self.lumps() };
        self.surface.ellipsoid(place, centre, Basis::IDENTITY, radii, bend);
        if self.attributes.wear == Wear::Mended {
            let side = if self.random.chance(0.5) { 1.0 } else { -1.0 };
            let colour = self.random.pick(Color::ALL).shade(&mut self.random);
            let material = self.material(colour, colour, Paint::Square(0.0, 0.0, 0.82), Finish::Cloth, V3::splat(0.3));
            let place = self.place(material, 8, false);
            let way = v3(0.55 * side, -0.35, 0.85);
            let at = centre + way.unit().scale(radii) * 0.99;
            let flat = Bend { boxy: 1.0, ..Bend::default() };
            self.surface.ellipsoid(place, at, Basis::facing(way), v3(0.12, 0.12, 0.035), flat);
        }
    }

    fn limbs(&mut self, pose: Pose, sway: [f32; 4]) {
        let (centre, radii) = self.body;
        let form = self.form;
        let holds = self.attributes.accessories.iter().any(|one| one.kind == crate::plush::attributes::Kind::Heart);
        let raise = self.random.range(-0.12, 0.16);
        self.arm_radius = form.arm;
        for side in [1.0f32, -1.0] {
            let index = usize::from(side < 0.0);
            let shoulder = centre + v3(side * radii.x * 0.72, radii.y * 0.52, radii.z * 0.05);
            let hand = if holds {
                centre + v3(side * 0.24, radii.y * 0.02, radii.z + 0.16)
            } else {
                let lift = raise + sway[index];
                let length = form.reach;
                centre
                    + v3(
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
                let place = self.place(material, 10, false);
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
                let place = self.place(material, 12, false);
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
            let hip_y = centre.y - radii.y * 0.62;
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
            let place = self.place(material, 12, false);
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
            let place = self.place(material, 10, false);
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
        let place = self.place(material, 10, false);
        let at = v3(foot.x, radii.y, self.body.1.z * 0.55 + thigh * 0.5);
        let bend = Bend { curl: 0.0, boxy: 0.3, ..Bend::default() };
        self.surface.ellipsoid(place, at, Basis::facing(v3(0.35 * side, 0.0, 1.0)), radii, bend);
    }

    fn tail(&mut self) {
        let (centre, radii) = self.body;
        let root = centre + v3(0.0, -radii.y * 0.45, -radii.z * 0.88);
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
                let place = self.place(material, 12, false);
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

    fn skull(&mut self) {
        let (centre, axes, radii) = self.head;
        let paint = match (self.form.muzzle, self.attributes.pattern) {
            (Muzzle::Mask, _) => Paint::Oval(0.0, -0.12, 0.66, 0.68),
            (_, Pattern::TwoTone) if self.attributes.species == Species::Panda => Paint::Ovals(0.40, 0.10, 0.25, 0.30),
            _ => self.coat(),
        };
        let finish = if self.attributes.species == Species::Sheep { Finish::Fur(0.03) } else { self.finish };
        let colour = if self.form.dark_face { self.main.mix(DARK, 0.25) } else { self.main };
        let second = if self.form.muzzle == Muzzle::Mask { self.accent } else { self.second };
        let material = self.material(colour, second, paint, finish, radii);
        if matches!(self.form.muzzle, Muzzle::None | Muzzle::Mask) {
            let wide = if self.attributes.species == Species::Frog { 0.52 } else { 0.22 };
            self.materials[material as usize].mouth = Some(Mouth { y: -0.30, arc: wide, line: 0.0 });
        }
        let place = self.place(material, 20, true);
        let bend = Bend { taper: self.form.jowl, ..self.lumps() };
        self.surface.ellipsoid(place, centre, axes, radii, bend);
    }

    /// A point on the head: direction in the head's frame to position and normal.
    pub fn on_head(&self, way: V3) -> (V3, V3) {
        let (centre, axes, radii) = self.head;
        let way = way.unit();
        let taper = 1.0 + self.form.jowl * way.y;
        let local = v3(way.x * taper, way.y, way.z * taper);
        let normal = v3(way.x / radii.x, way.y / radii.y, way.z / radii.z);
        (centre + axes.apply(local.scale(radii)), axes.apply(normal.unit()))
    }

    fn ears(&mut self) {
        let (_, axes, radii) = self.head;
        let r = radii.x;
        let form = self.form;
        let tips = self.tips();
        let pink = linear(v3(0.93, 0.66, 0.66)).mix(self.accent, 0.45);
        for side in [1.0f32, -1.0] {
            let tilt = Basis::turn(0.0, 0.0, -side * form.ear_tilt);
            let one = |x: f32, y: f32, z: f32| v3(side * x, y, z);
            // Root direction, size, bend, and the direction in which the ear stands.
            let (way, size, bend, stand) = match form.ear {
                Ear::None => continue,
                Ear::Round(s) => (one(0.72, 0.72, 0.0), v3(s, s, s * 0.42), Bend::default(), one(0.55, 0.8, 0.0)),
                Ear::Side(s) => (one(1.0, 0.12, 0.0), v3(s * 0.9, s, s * 0.4), Bend::default(), one(0.95, 0.2, 0.1)),
                Ear::Long(s) => (
                    one(0.42, 0.9, -0.05),
                    v3(s * 0.27, s, s * 0.14),
                    Bend { taper: -0.12, ..Bend::default() },
                    one(0.22, 1.0, -0.1),
                ),
                Ear::Point(s) => (
                    one(0.60, 0.76, 0.02),
                    v3(s * 0.85, s, s * 0.45),
                    Bend { point: 0.75, ..Bend::default() },
                    one(0.36, 1.0, 0.0),
                ),
                Ear::Flop(s) => (
                    one(0.86, 0.52, 0.02),
                    v3(s * 0.52, s, s * 0.2),
                    Bend { taper: -0.3, ..Bend::default() },
                    one(0.55, -0.95, 0.12),
                ),
                Ear::Big(s) => (
                    one(0.92, 0.18, -0.05),
                    v3(s * 0.95, s * 1.05, s * 0.17),
                    Bend { taper: 0.18, ..Bend::default() },
                    one(0.95, 0.12, 0.0),
                ),
                Ear::Drop(s) => (
                    one(0.95, 0.35, 0.02),
                    v3(s * 0.42, s, s * 0.22),
                    Bend { taper: -0.1, ..Bend::default() },
                    one(1.0, -0.32, 0.1),
                ),
            };
            let stand = axes.apply(tilt.apply(stand)).unit();
            let (root, _) = self.on_head(way);
            let across = axes.z;
            let x = stand.cross(across).unit();
            let frame = Basis { x, y: stand, z: x.cross(stand) };
            let deep = if matches!(form.ear, Ear::Big(_) | Ear::Side(_) | Ear::Round(_)) { 0.62 } else { 0.80 };
            let centre = root + stand * (size.y * r * deep);
            let size = size * r;
            let material = self.fur(size, tips);
            let place = self.place(material, 12, true);
            self.surface.ellipsoid(place, centre, frame, size, bend);
            if !matches!(form.ear, Ear::Flop(_)) {
                let material = self.material(pink, pink, Paint::Plain, Finish::Felt, size);
                let place = self.place(material, 10, true);
                let inner = v3(size.x * 0.62, size.y * 0.70, size.z * 0.55);
                let at = centre + frame.z * (size.z * 0.55) - stand * (size.y * 0.06);
                self.surface.ellipsoid(place, at, frame, inner, bend);
            }
        }
        self.crest();
    }

    /// Mane, horn, spikes, wool.
    fn crest(&mut self) {
        let (centre, axes, radii) = self.head;
        match self.attributes.species {
            Species::Lion => {
                let colour = match self.attributes.second_color {
                    Some(_) => self.second,
                    None => self.main.scale(v3(0.42, 0.30, 0.22)),
                };
                let material = self.material(colour, colour, Paint::Plain, Finish::Fur(0.15), radii);
                let place = self.place(material, 18, true);
                let stand = axes.times(Basis::turn(90.0, 0.0, 0.0));
                let at = centre - axes.z * (radii.z * 0.12);
                let wave = |a: f32| noise_ring(a);
                self.surface.ring(place, at, stand, |a| {
                    (radii.x * (0.98 + 0.04 * wave(a)), 0.0, radii.x * (0.34 + 0.05 * wave(a + 40.0)))
                });
            }
            Species::Unicorn => {
                let gold = linear(v3(0.95, 0.78, 0.35));
                let size = v3(0.085, 0.24, 0.085);
                let pale = gold.mix(V3::splat(0.9), 0.5);
                let material = self.material(gold, pale, Paint::Bands(6.0), Finish::Felt, size);
                let place = self.place(material, 12, true);
                let (root, _) = self.on_head(v3(0.0, 0.85, 0.55));
                let up = axes.apply(v3(0.0, 0.9, 0.42)).unit();
                let bend = Bend { point: 1.0, ..Bend::default() };
                self.surface.ellipsoid(place, root + up * 0.2, Basis::along(up), size, bend);
                let hues = [Color::Pink, Color::Purple, Color::SkyBlue, Color::Turquoise, Color::Yellow];
                let first = self.random.below(hues.len());
                for i in 0..5 {
                    let colour = hues[(first + i / 2) % hues.len()].shade(&mut self.random);
                    let angle = 20.0 + 38.0 * i as f32;
                    let (s, c) = crate::render::math::sin_cos(angle);
                    let (at, _) = self.on_head(v3(0.12 * if i % 2 == 0 { 1.0 } else { -1.0 }, c, -s));
                    let size = v3(0.13, 0.17, 0.13);
                    let material = self.material(colour, colour, Paint::Plain, Finish::Fur(0.09), size);
                    let place = self.place(material, 9, true);
                    self.surface.ellipsoid(place, at, axes, size, Bend::default());
                }
            }
            Species::Dinosaur => {
                let colour = if self.attributes.second_color.is_some() {
                    self.second
                } else {
                    self.main.scale(v3(0.45, 0.5, 0.6))
                };
                let (body, size) = self.body;
                for i in 0..7 {
                    let t = i as f32 / 6.0;
                    let (at, way, r, head) = if i < 4 {
                        let (s, c) = crate::render::math::sin_cos(-15.0 + 36.0 * i as f32);
                        let (at, normal) = self.on_head(v3(0.0, c, -s));
                        (at, normal, 0.15, true)
                    } else {
                        let (s, c) = crate::render::math::sin_cos(45.0 + 38.0 * (i as f32 - 4.0));
                        (body + v3(0.0, c * size.y, -s * size.z), v3(0.0, c, -s), 0.17 - 0.03 * t, false)
                    };
                    let size = v3(0.045, r, r * 0.75);
                    let material = self.material(colour, colour, Paint::Plain, Finish::Felt, size);
                    let place = self.place(material, 8, head);
                    let x = axes.x;
                    let frame = Basis { x, y: way, z: x.cross(way) };
                    self.surface.ellipsoid(
                        place,
                        at + way * (r * 0.5),
                        frame,
                        size,
                        Bend { point: 0.8, ..Bend::default() },
                    );
                }
            }
            Species::Sheep => {
                for (x, y, z, r) in [
                    (0.0, 0.95, 0.25, 0.62),
                    (0.45, 0.85, -0.1, 0.55),
                    (-0.45, 0.85, -0.1, 0.55),
                    (0.0, 0.5, -0.75, 0.8),
                ] {
                    let (at, _) = self.on_head(v3(x, y, z));
                    let size = V3::splat(r * radii.x);
                    let material = self.fur(size, Paint::Plain);
                    let place = self.place(material, 12, true);
                    self.surface.ellipsoid(
                        place,
                        at - axes.apply(v3(x, y, z)) * (0.18 * radii.x),
                        axes,
                        size,
                        self.lumps(),
                    );
                }
            }
            Species::Duck => {
                for (x, tall) in [(0.0, 0.13), (0.05, 0.10), (-0.05, 0.10)] {
                    let (at, up) = self.on_head(v3(x * 3.0, 1.0, 0.0));
                    let size = v3(0.04, tall, 0.04);
                    let material = self.fur(size, Paint::Plain);
                    let place = self.place(material, 6, true);
                    self.surface.ellipsoid(place, at + up * (tall * 0.6), Basis::along(up), size, Bend::default());
                }
            }
            _ => {}
        }
    }

    fn muzzle(&mut self) {
        let (_, axes, radii) = self.head;
        let r = radii.x;
        let finish = match self.finish {
            Finish::Curls(_) => Finish::Fur(0.03),
            Finish::Fur(length) => Finish::Fur((length * 0.6).min(0.045)),
            other => other,
        };
        let accent = self.accent;
        let orange = linear(v3(0.96, 0.58, 0.13));
        let nose_colour = match self.attributes.species {
            Species::Rabbit | Species::Cat | Species::Mouse => linear(v3(0.86, 0.45, 0.50)),
            Species::Pig => self.main.scale(v3(0.85, 0.55, 0.6)),
            _ => linear(v3(0.11, 0.08, 0.08)),
        };
        let (snout, nose, out, drop) = match self.form.muzzle {
            Muzzle::None | Muzzle::Mask => (V3::default(), V3::default(), 0.0, -0.12),
            Muzzle::Round(s) => (v3(s, s * 0.78, s * 0.72), v3(0.34, 0.24, 0.2) * s, 0.35, -0.36),
            Muzzle::Small(s) => (v3(s, s * 0.68, s * 0.55), v3(0.26, 0.18, 0.16) * s, 0.30, -0.34),
            Muzzle::Long(s) => (v3(s * 0.80, s * 0.72, s * 1.15), v3(0.32, 0.22, 0.2) * s, 0.55, -0.36),
            Muzzle::Snout(s) => (v3(s, s * 0.8, s * 0.75), V3::default(), 0.45, -0.26),
            Muzzle::Trunk(s) => {
                let (root, _) = self.on_head(v3(0.0, -0.22, 1.0));
                let long = s * r;
                let middle = root + axes.apply(v3(0.0, -0.55 * long, 0.75 * long));
                let curl = self.random.range(-0.5, 0.6) * long;
                let end = root + axes.apply(v3(0.10 * curl, -0.95 * long + curl.max(0.0), 0.95 * long + 0.2 * curl));
                let start = root - axes.z * (0.15 * r);
                let thick = 0.25 * r;
                let material = self.fur(v3(thick, long * 0.5, thick), self.coat());
                let place = self.place(material, 14, true);
                self.surface.tube(
                    place,
                    1.0,
                    |t| curve(start, middle, end, t),
                    |t| sausage(t, thick * 1.2, thick * 0.72),
                );
                return;
            }
            Muzzle::Bill(s) | Muzzle::Beak(s) => {
                let flat = matches!(self.form.muzzle, Muzzle::Bill(_));
                let size = if flat { v3(s, s * 0.26, s * 0.85) } else { v3(s * 0.62, s * 0.55, s * 0.8) };
                let (at, _) = self.on_head(v3(0.0, -0.22, 1.0));
                let material =
                    self.material(orange, orange.scale(v3(0.8, 0.7, 0.7)), Paint::Below(-0.05), Finish::Felt, size);
                let place = self.place(material, 12, true);
                if flat {
                    self.surface.ellipsoid(
                        place,
                        at + axes.z * (0.25 * s * r),
                        axes,
                        size * r,
                        Bend { boxy: 0.25, ..Bend::default() },
                    );
                } else {
                    let frame = axes.times(Basis::turn(90.0, 0.0, 0.0));
                    let size = v3(size.x, size.z, size.y) * r;
                    let bend = Bend { point: 0.8, ..Bend::default() };
                    self.surface.ellipsoid(place, at + axes.z * (0.2 * s * r), frame, size, bend);
                }
                return;
            }
        };
        let (at, _) = self.on_head(v3(0.0, drop, 1.0));
        if snout.x == 0.0 {
            let nose = v3(0.13, 0.09, 0.07) * r;
            if self.attributes.species == Species::Frog {
                return;
            }
            let big = if self.attributes.species == Species::Koala { v3(0.22, 0.34, 0.2) * r } else { nose };
            let material = self.material(nose_colour, nose_colour, Paint::Plain, Finish::Felt, big);
            let place = self.place(material, 9, true);
            self.surface.ellipsoid(place, at, axes, big, Bend { taper: 0.2, ..Bend::default() });
            return;
        }
        let size = snout * r;
        let own = matches!(self.form.muzzle, Muzzle::Snout(_) | Muzzle::Long(_));
        let colour = if own && self.attributes.species != Species::Fox { self.main.mix(accent, 0.35) } else { accent };
        let material = self.material(colour, colour, Paint::Plain, finish, size);
        if nose.x > 0.0 {
            self.materials[material as usize].mouth = Some(Mouth { y: -0.38, arc: 0.44, line: 0.65 });
        }
        let centre = at + axes.z * (size.z * (out - 0.25));
        let place = self.place(material, 14, true);
        self.surface.ellipsoid(place, centre, axes, size, Bend::default());
        if self.attributes.species == Species::Pig {
            let disc = v3(size.x * 0.72, size.y * 0.72, size.z * 0.35);
            let material = self.material(nose_colour, DARK, Paint::Ovals(0.36, 0.0, 0.15, 0.26), Finish::Felt, disc);
            let place = self.place(material, 10, true);
            self.surface.ellipsoid(
                place,
                centre + axes.z * (size.z * 0.86),
                axes,
                disc,
                Bend { boxy: 0.4, ..Bend::default() },
            );
        } else if matches!(self.form.muzzle, Muzzle::Snout(_)) {
            // Nostrils.
            for side in [1.0f32, -1.0] {
                let material = self.material(DARK, DARK, Paint::Plain, Finish::Felt, size);
                let place = self.place(material, 6, true);
                let at = centre + axes.apply(v3(side * 0.36 * size.x, 0.3 * size.y, 0.86 * size.z));
                self.surface.ellipsoid(place, at, axes, V3::splat(0.05 * r), Bend::default());
            }
        } else {
            let material = self.material(nose_colour, nose_colour, Paint::Plain, Finish::Felt, nose * r);
            let place = self.place(material, 9, true);
            let at = centre + axes.apply(v3(0.0, 0.42 * size.y, 0.88 * size.z));
            self.surface.ellipsoid(place, at, axes, nose * r, Bend { taper: 0.25, ..Bend::default() });
        }
    }

    fn eyes(&mut self) {
        let (_, axes, radii) = self.head;
        let r = radii.x;
        let form = self.form;
        let iris = match self.attributes.eyes {
            EyeColor::Black => linear(v3(0.07, 0.06, 0.07)),
            EyeColor::Brown => linear(v3(0.42, 0.22, 0.08)),
            EyeColor::Blue => linear(v3(0.16, 0.45, 0.85)),
            EyeColor::Green => linear(v3(0.18, 0.60, 0.22)),
        };
        for side in [1.0f32, -1.0] {
            let (mut at, mut normal) = self.on_head(v3(side * form.eye_apart, form.eye_up, 0.9));
            let size = form.eye * r;
            if self.attributes.species == Species::Frog {
                let (root, _) = self.on_head(v3(side * 0.52, 0.86, 0.3));
                let mound = V3::splat(0.34 * r);
                let material = self.fur(mound, Paint::Plain);
                let place = self.place(material, 12, true);
                self.surface.ellipsoid(place, root, axes, mound, Bend::default());
                normal = axes.apply(v3(side * 0.18, 0.2, 1.0).unit());
                at = root + normal * (0.27 * r);
                let white = linear(v3(0.95, 0.95, 0.93));
                let material = self.material(white, white, Paint::Plain, Finish::Gloss, mound);
                let place = self.place(material, 10, true);
                self.surface.ellipsoid(place, at, Basis::facing(normal), v3(0.22, 0.22, 0.12) * r, Bend::default());
                at = at + normal * (0.07 * r);
            }
            let size = if self.attributes.eyes == EyeColor::Black { size } else { size * 1.18 };
            let frame = Basis::facing(normal);
            let ball = v3(size, size, size * 0.62);
            let material = self.material(iris, DARK, Paint::Disc(0.55), Finish::Gloss, ball);
            let place = self.place(material, 10, true);
            self.surface.ellipsoid(place, at + normal * (0.12 * size), frame, ball, Bend::default());
            let white = V3::splat(0.95);
            let material = self.material(white, white, Paint::Plain, Finish::Gloss, ball);
            let place = self.place(material, 5, true);
            let spot = at + axes.apply(v3(-0.32 * size, 0.38 * size, 0.0)) + normal * (0.58 * size);
            self.surface.ellipsoid(place, spot, frame, V3::splat(0.24 * size), Bend::default());
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

/// A wave around a mane.
fn noise_ring(degrees: f32) -> f32 {
    crate::render::math::sin_cos(degrees * 5.0).0
}
