//! Builds the head: ears, muzzle, eyes, mane and horn.

use crate::plush::sewing::{Sewing, curve, sausage};
use crate::plush::species::{Ear, Muzzle};
use crate::plush::vocabulary::{Color, EyeColor, Pattern, Species};
use crate::render::math::{Basis, V3, linear, sin_cos, v3};
use crate::render::shade::{Finish, Mouth, Paint};
use crate::render::surface::Bend;

const DARK: V3 = v3(0.012, 0.010, 0.010);

impl Sewing<'_> {
    pub(super) fn skull(&mut self) {
        let (center, axes, radii) = self.head;
        let paint = match (self.form.muzzle, self.attributes.pattern) {
            (Muzzle::Mask, _) => Paint::Oval(0.0, -0.12, 0.66, 0.68),
            (_, Pattern::Belly) if self.attributes.species == Species::Penguin => Paint::Ovals(0.34, -0.05, 0.42, 0.62),
            (_, Pattern::TwoTone) if self.attributes.species == Species::Panda => Paint::Ovals(0.40, 0.10, 0.25, 0.30),
            _ => self.coat(),
        };
        let finish = if self.attributes.species == Species::Sheep { Finish::Fur(0.03) } else { self.finish };
        let color = if self.form.dark_face { self.main.mix(DARK, 0.25) } else { self.main };
        let second = if self.form.muzzle == Muzzle::Mask { self.accent } else { self.second };
        let material = self.material(color, second, paint, finish, radii);
        if matches!(self.form.muzzle, Muzzle::None | Muzzle::Mask) {
            let (y, wide) = if self.attributes.species == Species::Frog { (-0.02, 1.05) } else { (-0.30, 0.36) };
            self.materials[material as usize].mouth = Some(Mouth { y, arc: wide, line: 0.0, smile: true });
        }
        let component = self.component(material, 18, true);
        let bend = Bend { taper: self.form.jowl, ..self.lumps() };
        self.surface.ellipsoid(component, center, axes, radii, bend);
    }

    /// Returns the position and normal of a point on the head, by its direction in the head's frame.
    pub fn on_head(&self, way: V3) -> (V3, V3) {
        let (center, axes, radii) = self.head;
        let way = way.unit();
        let taper = 1.0 + self.form.jowl * way.y;
        let local = v3(way.x * taper, way.y, way.z * taper);
        let normal = v3(way.x / radii.x, way.y / radii.y, way.z / radii.z);
        (center + axes.apply(local.scale(radii)), axes.apply(normal.unit()))
    }

    pub(super) fn ears(&mut self) {
        let (_, axes, radii) = self.head;
        let r = radii.x;
        let form = self.form;
        let tips = self.tips();
        let pink = linear(v3(0.93, 0.66, 0.66)).mix(self.accent, 0.45);
        for side in [1.0f32, -1.0] {
            let tilt = Basis::turn(0.0, 0.0, -side * form.ear_tilt);
            let one = |x: f32, y: f32, z: f32| v3(side * x, y, z);
            // Root direction, size, bend, and the direction of the ear.
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
            let center = root + stand * (size.y * r * deep);
            let size = size * r;
            let material = self.fur(size, tips);
            let component = self.component(material, 11, true);
            self.surface.ellipsoid(component, center, frame, size, bend);
            if !matches!(form.ear, Ear::Flop(_)) {
                let material = self.material(pink, pink, Paint::Plain, Finish::Felt, size);
                let component = self.component(material, 8, true);
                let inner = v3(size.x * 0.62, size.y * 0.70, size.z * 0.55);
                let at = center + frame.z * (size.z * 0.55) - stand * (size.y * 0.06);
                self.surface.ellipsoid(component, at, frame, inner, bend);
            }
        }
        self.crest();
    }

    /// Adds mane, horn, spikes or wool.
    fn crest(&mut self) {
        let (center, axes, radii) = self.head;
        match self.attributes.species {
            Species::Lion => {
                let color = match self.attributes.second_color {
                    Some(_) => self.second,
                    None => self.main.scale(v3(0.42, 0.30, 0.22)),
                };
                let material = self.material(color, color, Paint::Plain, Finish::Fur(0.15), radii);
                let component = self.component(material, 18, true);
                let stand = axes.times(Basis::turn(90.0, 0.0, 0.0));
                let at = center - axes.z * (radii.z * 0.12);
                let wave = |a: f32| noise_ring(a);
                self.surface.ring(component, at, stand, |a| {
                    (radii.x * (0.98 + 0.04 * wave(a)), 0.0, radii.x * (0.34 + 0.05 * wave(a + 40.0)))
                });
            }
            Species::Unicorn => {
                let gold = linear(v3(0.95, 0.78, 0.35));
                let size = v3(0.10, 0.30, 0.10);
                let pale = gold.mix(V3::splat(0.9), 0.5);
                let material = self.material(gold, pale, Paint::Bands(6.0), Finish::Felt, size);
                let component = self.component(material, 11, true);
                let (root, _) = self.on_head(v3(0.0, 0.85, 0.55));
                let up = axes.apply(v3(0.0, 0.9, 0.42)).unit();
                let bend = Bend { point: 1.0, ..Bend::default() };
                self.surface.ellipsoid(component, root + up * 0.24, Basis::along(up), size, bend);
                let hues = [Color::Pink, Color::Purple, Color::SkyBlue, Color::Turquoise, Color::Yellow];
                let first = self.random.below(hues.len());
                for i in 0..7 {
                    let color = hues[(first + i / 2) % hues.len()].shade(&mut self.random);
                    let (s, c) = sin_cos(-32.0 + 32.0 * i as f32);
                    let aside = 0.16 * if i % 2 == 0 { 1.0 } else { -1.0 };
                    let (at, _) = self.on_head(v3(aside, c, -s));
                    let size = v3(0.20, 0.23, 0.19) * (1.0 - 0.04 * i as f32);
                    let material = self.material(color, color, Paint::Plain, Finish::Fur(0.09), size);
                    let component = self.component(material, 9, true);
                    self.surface.ellipsoid(component, at, axes, size, Bend::default());
                }
            }
            Species::Fox => {
                let pale =
                    if self.attributes.second_color.is_some() { self.second } else { linear(v3(0.95, 0.93, 0.9)) };
                for side in [1.0f32, -1.0] {
                    let (at, _) = self.on_head(v3(side * 0.72, -0.42, 0.45));
                    let way = axes.apply(v3(side * 0.9, -0.3, 0.25)).unit();
                    let size = v3(0.26, 0.36, 0.2) * radii.x;
                    let material = self.material(pale, pale, Paint::Plain, Finish::Fur(0.045), size);
                    let component = self.component(material, 8, true);
                    let bend = Bend { point: 0.6, ..Bend::default() };
                    self.surface.ellipsoid(component, at, Basis::along(way), size, bend);
                }
            }
            Species::Dinosaur => {
                let color = if self.attributes.second_color.is_some() {
                    self.second
                } else {
                    self.main.scale(v3(0.45, 0.5, 0.6))
                };
                let (body, size) = self.body;
                for i in 0..7 {
                    let t = i as f32 / 6.0;
                    let (at, way, r, head) = if i < 4 {
                        let (s, c) = sin_cos(12.0 + 33.0 * i as f32);
                        let (at, normal) = self.on_head(v3(0.0, c, -s));
                        (at, normal, 0.15, true)
                    } else {
                        let (s, c) = sin_cos(45.0 + 38.0 * (i as f32 - 4.0));
                        (body + v3(0.0, c * size.y, -s * size.z), v3(0.0, c, -s), 0.17 - 0.03 * t, false)
                    };
                    let size = v3(0.045, r, r * 0.75);
                    let material = self.material(color, color, Paint::Plain, Finish::Felt, size);
                    let component = self.component(material, 8, head);
                    let x = axes.x;
                    let frame = Basis { x, y: way, z: x.cross(way) };
                    self.surface.ellipsoid(
                        component,
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
                    let component = self.component(material, 11, true);
                    self.surface.ellipsoid(
                        component,
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
                    let component = self.component(material, 6, true);
                    self.surface.ellipsoid(component, at + up * (tall * 0.6), Basis::along(up), size, Bend::default());
                }
            }
            _ => {}
        }
    }

    pub(super) fn muzzle(&mut self) {
        let (_, axes, radii) = self.head;
        let r = radii.x;
        let finish = match self.finish {
            Finish::Curls(_) => Finish::Fur(0.03),
            Finish::Fur(length) => Finish::Fur((length * 0.6).min(0.045)),
            other => other,
        };
        let accent = self.accent;
        let orange = linear(v3(0.96, 0.58, 0.13));
        let nose_color = match self.attributes.species {
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
                let component = self.component(material, 11, true);
                self.surface.tube(
                    component,
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
                let component = self.component(material, 11, true);
                if flat {
                    self.surface.ellipsoid(
                        component,
                        at + axes.z * (0.25 * s * r),
                        axes,
                        size * r,
                        Bend { boxy: 0.25, ..Bend::default() },
                    );
                } else {
                    let frame = axes.times(Basis::turn(90.0, 0.0, 0.0));
                    let size = v3(size.x, size.z, size.y) * r;
                    let bend = Bend { point: 0.8, ..Bend::default() };
                    self.surface.ellipsoid(component, at + axes.z * (0.2 * s * r), frame, size, bend);
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
            let material = self.material(nose_color, nose_color, Paint::Plain, Finish::Felt, big);
            let component = self.component(material, 9, true);
            self.surface.ellipsoid(component, at, axes, big, Bend { taper: 0.2, ..Bend::default() });
            return;
        }
        let size = snout * r;
        let own = matches!(self.form.muzzle, Muzzle::Snout(_) | Muzzle::Long(_));
        let color = if own && self.attributes.species != Species::Fox { self.main.mix(accent, 0.35) } else { accent };
        let material = self.material(color, color, Paint::Plain, finish, size);
        let nostrils = matches!(self.form.muzzle, Muzzle::Snout(_)) || self.attributes.species == Species::Unicorn;
        if !nostrils {
            self.materials[material as usize].mouth = Some(Mouth { y: -0.38, arc: 0.44, line: 0.65, smile: false });
        }
        let center = at + axes.z * (size.z * (out - 0.25));
        let component = self.component(material, 11, true);
        self.surface.ellipsoid(component, center, axes, size, Bend::default());
        if self.attributes.species == Species::Pig {
            let disc = v3(size.x * 0.72, size.y * 0.72, size.z * 0.35);
            let material = self.material(nose_color, DARK, Paint::Ovals(0.36, 0.0, 0.15, 0.26), Finish::Felt, disc);
            let component = self.component(material, 8, true);
            self.surface.ellipsoid(
                component,
                center + axes.z * (size.z * 0.86),
                axes,
                disc,
                Bend { boxy: 0.4, ..Bend::default() },
            );
        } else if nostrils {
            for side in [1.0f32, -1.0] {
                let material = self.material(DARK, DARK, Paint::Plain, Finish::Felt, size);
                let component = self.component(material, 6, true);
                let at = center + axes.apply(v3(side * 0.36 * size.x, 0.3 * size.y, 0.86 * size.z));
                self.surface.ellipsoid(component, at, axes, V3::splat(0.05 * r), Bend::default());
            }
        } else {
            let material = self.material(nose_color, nose_color, Paint::Plain, Finish::Felt, nose * r);
            let component = self.component(material, 9, true);
            let at = center + axes.apply(v3(0.0, 0.42 * size.y, 0.88 * size.z));
            self.surface.ellipsoid(component, at, axes, nose * r, Bend { taper: 0.25, ..Bend::default() });
        }
    }

    pub(super) fn eyes(&mut self) {
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
                let component = self.component(material, 11, true);
                self.surface.ellipsoid(component, root, axes, mound, Bend::default());
                normal = axes.apply(v3(side * 0.18, 0.2, 1.0).unit());
                at = root + normal * (0.27 * r);
                let white = linear(v3(0.95, 0.95, 0.93));
                let material = self.material(white, white, Paint::Plain, Finish::Gloss, mound);
                let component = self.component(material, 8, true);
                self.surface.ellipsoid(component, at, Basis::facing(normal), v3(0.22, 0.22, 0.12) * r, Bend::default());
                at = at + normal * (0.07 * r);
            }
            let size = if self.attributes.eyes == EyeColor::Black { size } else { size * 1.18 };
            let frame = Basis::facing(normal);
            let ball = v3(size, size, size * 0.62);
            let material = self.material(iris, DARK, Paint::Disc(0.55), Finish::Gloss, ball);
            let component = self.component(material, 8, true);
            self.surface.ellipsoid(component, at + normal * (0.12 * size), frame, ball, Bend::default());
            let white = V3::splat(0.95);
            let material = self.material(white, white, Paint::Plain, Finish::Gloss, ball);
            let component = self.component(material, 5, true);
            let spot = at + axes.apply(v3(-0.32 * size, 0.38 * size, 0.0)) + normal * (0.58 * size);
            self.surface.ellipsoid(component, spot, frame, V3::splat(0.24 * size), Bend::default());
        }
    }
}

/// Returns the wave of a mane at an angle.
fn noise_ring(degrees: f32) -> f32 {
    sin_cos(degrees * 5.0).0
}
