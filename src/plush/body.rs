//! Builds torso, limbs and tail.

use crate::plush::sewing::{Sewing, curve, sausage};
use crate::plush::species::Tail;
use crate::plush::vocabulary::{Color, Kind, Pattern, Pose, Species, Wear};
use crate::render::math::{Basis, V3, linear, v3};
use crate::render::shade::{Finish, Paint};
use crate::render::surface::Bend;

impl Sewing<'_> {
    pub(super) fn torso(&mut self) {
        let (center, radii) = self.body;
        let paint = match self.attributes.pattern {
            Pattern::Belly => Paint::Oval(0.0, -0.08, 0.62, 0.74),
            _ => self.coat(),
        };
        let material = self.fur(radii, paint);
        let component = self.component(material, 16, false);
        let bend = Bend { taper: self.form.pear, ..self.lumps() };
        self.surface.ellipsoid(component, center, Basis::IDENTITY, radii, bend);
        if self.attributes.wear == Wear::Mended {
            let side = if self.random.chance(0.5) { 1.0 } else { -1.0 };
            let color = self.random.pick(Color::ALL).shade(&mut self.random);
            let material = self.material(color, color, Paint::Square(0.0, 0.0, 0.82), Finish::Cloth, V3::splat(0.3));
            let component = self.component(material, 8, false);
            let way = v3(0.45 * side, -0.12, 0.9);
            let at = center + way.unit().scale(radii) * 0.99;
            let flat = Bend { boxy: 1.0, ..Bend::default() };
            self.surface.ellipsoid(component, at, Basis::facing(way), v3(0.12, 0.12, 0.035), flat);
        }
    }

    pub(super) fn limbs(&mut self, pose: Pose, sway: [f32; 4]) {
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
                    // Lying on its side, it reaches forwards.
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
                let component = self.component(material, 9, false);
                let down = (hand - shoulder).unit();
                let length = (hand - shoulder).length() * 0.62;
                let axes = Basis::along(-down);
                let middle = shoulder + down * (length * 0.75);
                let flat = Bend { taper: 0.15, ..Bend::default() };
                let aside = Basis { x: axes.x, y: axes.y, z: axes.z };
                self.surface.ellipsoid(component, middle, aside, v3(form.arm * 0.55, length, form.arm * 1.5), flat);
            } else {
                let size = v3(form.arm, 0.5 * form.reach, form.arm);
                let material = self.fur(size, paint);
                let component = self.component(material, 11, false);
                self.surface.tube(
                    component,
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
            let component = self.component(material, 11, false);
            let middle = (hip + foot) * 0.5;
            self.surface.tube(
                component,
                1.0,
                |t| curve(hip, middle, foot, t),
                |t| sausage(t, form.thigh, form.thigh * 0.95),
            );
            // The sole, which faces the viewer in a sitting pose.
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
            let component = self.component(material, 9, false);
            let axes =
                if pose == Pose::Sitting { Basis::facing(toe) } else { Basis::facing(v3(0.15 * side, 0.0, 1.0)) };
            self.surface.ellipsoid(component, at, axes, radii, Bend::default());
            if pose == Pose::Sitting && form.pads {
                let pad = self.accent;
                let material = self.material(pad, pad, Paint::Plain, Finish::Felt, radii);
                let component = self.component(material, 8, false);
                let sole = at + axes.z * (radii.z * 0.72);
                self.surface.ellipsoid(
                    component,
                    sole,
                    axes,
                    v3(radii.x * 0.62, radii.y * 0.62, radii.z * 0.36),
                    Bend::default(),
                );
            }
        }
    }

    /// Adds a flat orange foot.
    fn webbed(&mut self, side: f32, foot: V3) {
        let orange = linear(v3(0.95, 0.55, 0.12));
        let thigh = self.form.thigh;
        let radii = v3(thigh * 1.0, thigh * 0.42, thigh * 1.5);
        let material = self.material(orange, orange, Paint::Plain, Finish::Felt, radii);
        let component = self.component(material, 9, false);
        let at = v3(foot.x, radii.y, self.body.1.z * 0.55 + thigh * 0.5);
        let bend = Bend { curl: 0.0, boxy: 0.3, ..Bend::default() };
        self.surface.ellipsoid(component, at, Basis::facing(v3(0.35 * side, 0.0, 1.0)), radii, bend);
    }

    pub(super) fn tail(&mut self) {
        let (center, radii) = self.body;
        let root = center + v3(0.0, -radii.y * 0.45, -radii.z * 0.88);
        let paint = self.tips();
        let side = if self.random.chance(0.5) { 1.0 } else { -1.0 };
        match self.form.tail {
            Tail::None => {}
            Tail::Pom(r) => {
                let material = self.fur(V3::splat(r), paint);
                let component = self.component(material, 9, false);
                self.surface.ellipsoid(
                    component,
                    root - v3(0.0, 0.0, r * 0.5),
                    Basis::IDENTITY,
                    V3::splat(r),
                    self.lumps(),
                );
            }
            Tail::Thin(length, r) => {
                let material = self.fur(v3(r, length, r), paint);
                let component = self.component(material, 11, false);
                let (middle, end) = (
                    root + v3(side * 0.3 * length, 0.0, -0.35 * length),
                    root + v3(side * 0.75 * length, 0.65 * length, -0.15 * length),
                );
                self.surface.tube(component, 1.0, |t| curve(root, middle, end, t), |t| sausage(t, r, r * 0.8));
                if self.attributes.species == Species::Lion {
                    let material = self.fur(V3::splat(0.1), Paint::Plain);
                    let component = self.component(material, 8, false);
                    self.surface.ellipsoid(component, end, Basis::IDENTITY, v3(0.1, 0.13, 0.1), Bend::default());
                }
            }
            Tail::Bushy(length, r) => {
                let paint = if paint == Paint::Plain { Paint::Above(0.55) } else { paint };
                let white =
                    if self.attributes.second_color.is_some() { self.second } else { linear(v3(0.95, 0.93, 0.9)) };
                let finish = self.finish;
                let material = self.material(self.main, white, paint, finish, v3(r, length * 0.5, r));
                let component = self.component(material, 14, false);
                let (middle, end) = (
                    root + v3(side * 0.6 * length, -0.1, -0.2 * length),
                    root + v3(side * 0.85 * length, 0.75 * length, 0.0),
                );
                let bulge = |t: f32| sausage(t, r * 0.5, r * 0.35) + r * 2.4 * t * (1.0 - t) * t.max(0.35);
                self.surface.tube(component, 1.0, |t| curve(root, middle, end, t), bulge);
            }
            Tail::Thick(length, r) => {
                let material = self.fur(v3(r, length * 0.5, r), self.coat());
                let component = self.component(material, 14, false);
                let start = root + v3(0.0, 0.02, 0.15);
                let (middle, end) = (
                    start + v3(side * 0.1, -0.12, -0.6 * length),
                    v3(side * 0.45 * length, r * 0.35, start.z - length),
                );
                self.surface.tube(component, 1.0, |t| curve(start, middle, end, t), |t| sausage(t, r * 1.35, r * 0.25));
            }
        }
    }
}
