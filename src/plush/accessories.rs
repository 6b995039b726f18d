//! Builds the accessories of a plush: clothing and objects that it carries or holds.

use crate::plush::attributes::Accessory;
use crate::plush::sewing::{Sewing, curve, sausage};
use crate::plush::vocabulary::Kind;
use crate::render::math::{Basis, V3, linear, sin_cos, v3};
use crate::render::shade::{Finish, Paint};
use crate::render::surface::Bend;

/// Adds all accessories.
pub(super) fn dress(sewing: &mut Sewing) {
    for one in sewing.attributes.accessories.clone() {
        put_on(sewing, one);
    }
}

fn put_on(sewing: &mut Sewing, Accessory { kind, color }: Accessory) {
    let color = color.shade(&mut sewing.random);
    match kind {
        Kind::Scarf => scarf(sewing, color),
        Kind::BowTie => {
            let at = neck(sewing).0 + v3(0.0, -0.05, neck(sewing).1 + 0.06);
            ribbon(sewing, color, at, Basis::turn(-12.0, 0.0, 0.0), 0.17, false);
        }
        Kind::Collar => collar(sewing, color),
        Kind::Hat => hat(sewing, color),
        Kind::Beanie => beanie(sewing, color),
        Kind::Crown => crown(sewing, color),
        Kind::Bow => {
            let side = if sewing.random.chance(0.5) { 1.0 } else { -1.0 };
            let (at, normal) = sewing.on_head(v3(side * 0.42, 0.85, 0.45));
            let frame = Basis::facing(normal + v3(0.0, -0.3, 0.9)).times(Basis::turn(0.0, 0.0, -18.0 * side));
            ribbon(sewing, color, at + normal * 0.05, frame, 0.20, true);
        }
        Kind::Flower => flower(sewing, color),
        Kind::Glasses => glasses(sewing, color),
        Kind::Shirt => shirt(sewing, color),
        Kind::Backpack => backpack(sewing, color),
        Kind::Heart => heart(sewing, color),
    }
}

/// Returns the middle of the neck and its radius.
fn neck(sewing: &Sewing) -> (V3, f32) {
    let (body, size) = sewing.body;
    let (head, _, radii) = sewing.head;
    let y = 0.5 * (body.y + size.y + head.y - radii.y);
    let r = (0.66 * radii.x.min(size.x * 1.1)).max(0.2);
    (v3(0.0, y, 0.4 * head.z), r)
}

fn scarf(sewing: &mut Sewing, color: V3) {
    let (at, r) = neck(sewing);
    let thick = sewing.random.range(0.085, 0.115);
    let stripe = if sewing.random.chance(0.35) { color.mix(V3::splat(0.85), 0.75) } else { color };
    let material = sewing.material(color, stripe, Paint::Plain, Finish::Cloth, v3(r, thick, r));
    let component = sewing.component(material, 16, false);
    let frame = Basis::turn(6.0, 0.0, 0.0);
    sewing.surface.ring(component, at, frame, |a| (r, 0.02 * sin_cos(3.0 * a).0, thick));
    let side = if sewing.random.chance(0.5) { 1.0 } else { -1.0 };
    let start = at + v3(side * 0.35 * r, -0.02, r * 0.95 + 0.02);
    let depth = sewing.body.1.z + 0.10;
    let length = sewing.random.range(0.36, 0.5);
    let end = v3(start.x + side * 0.06, start.y - length, depth.max(start.z - 0.02));
    let middle = (start + end) * 0.5 + v3(0.0, 0.0, 0.05);
    let material = sewing.material(color, stripe, Paint::Bands(7.0), Finish::Cloth, v3(0.1, 0.25, 0.05));
    let component = sewing.component(material, 12, false);
    sewing.surface.tube(component, 0.36, |t| curve(start, middle, end, t), |t| sausage(t, 0.085, 0.115));
    let material = sewing.material(color, stripe, Paint::Plain, Finish::Cloth, V3::splat(0.1));
    let component = sewing.component(material, 7, false);
    sewing.surface.ellipsoid(
        component,
        start,
        Basis::IDENTITY,
        v3(0.10, 0.10, 0.07),
        Bend { boxy: 0.4, ..Bend::default() },
    );
}

/// Adds two loops and a knot.
fn ribbon(sewing: &mut Sewing, color: V3, at: V3, frame: Basis, size: f32, head: bool) {
    let dots = if sewing.random.chance(0.3) { Paint::Spots(14.0) } else { Paint::Plain };
    let pale = color.mix(V3::splat(0.85), 0.8);
    for side in [1.0f32, -1.0] {
        let loop_size = v3(size * 0.62, size * 0.72, size * 0.34);
        let material = sewing.material(color, pale, dots, Finish::Felt, loop_size);
        let component = sewing.component(material, 8, head);
        let axes = frame.times(Basis::turn(0.0, 0.0, side * -90.0));
        let center = at + frame.apply(v3(side * size * 0.62, 0.0, 0.0));
        let bend = Bend { taper: 0.55, boxy: 0.3, ..Bend::default() };
        sewing.surface.ellipsoid(component, center, axes, v3(loop_size.y * 0.8, loop_size.x, loop_size.z), bend);
    }
    let material = sewing.material(color * 0.85, pale, Paint::Plain, Finish::Felt, V3::splat(0.05));
    let component = sewing.component(material, 7, head);
    let bend = Bend { boxy: 0.4, ..Bend::default() };
    sewing.surface.ellipsoid(component, at + frame.z * (0.1 * size), frame, v3(0.24, 0.30, 0.30) * size, bend);
}

fn collar(sewing: &mut Sewing, color: V3) {
    let (at, r) = neck(sewing);
    let material = sewing.material(color, color, Paint::Plain, Finish::Felt, v3(r, 0.05, r));
    let component = sewing.component(material, 16, false);
    sewing.surface.ring(component, at, Basis::turn(6.0, 0.0, 0.0), |_| (r + 0.03, -0.02, 0.062));
    let gold = linear(v3(0.93, 0.72, 0.2));
    let dark = linear(v3(0.2, 0.14, 0.05));
    let material = sewing.material(gold, dark, Paint::Oval(0.0, -0.4, 0.12, 0.5), Finish::Gloss, V3::splat(0.08));
    let component = sewing.component(material, 8, false);
    let bell = at + v3(0.0, -0.12, r + 0.08);
    sewing.surface.ellipsoid(component, bell, Basis::IDENTITY, V3::splat(0.085), Bend::default());
}

fn hat(sewing: &mut Sewing, color: V3) {
    let (_, axes, radii) = sewing.head;
    let lean = sewing.random.range(-12.0, 12.0);
    let frame = axes.times(Basis::turn(-6.0, 0.0, lean));
    let (at, _) = sewing.on_head(v3(0.0, 1.0, 0.08));
    let r = radii.x;
    let brim = v3(0.66, 0.07, 0.60) * r;
    let material = sewing.material(color, color, Paint::Plain, Finish::Felt, brim);
    let component = sewing.component(material, 12, true);
    sewing.surface.ellipsoid(component, at - frame.y * (0.02 * r), frame, brim, Bend { curl: 0.0, ..Bend::default() });
    let tall = sewing.random.range(0.32, 0.46);
    let crown = v3(0.42, tall, 0.40) * r;
    let band = if sewing.random.chance(0.5) { color * 0.3 } else { color.mix(V3::splat(0.9), 0.7) };
    let material = sewing.material(color, band, Paint::Below(-0.28), Finish::Felt, crown);
    let component = sewing.component(material, 12, true);
    let bend = Bend { boxy: 0.85, taper: -0.06, ..Bend::default() };
    sewing.surface.ellipsoid(component, at + frame.y * (0.7 * crown.y), frame, crown, bend);
}

fn beanie(sewing: &mut Sewing, color: V3) {
    let (center, axes, radii) = sewing.head;
    let pale = if sewing.random.chance(0.5) { color.mix(V3::splat(0.85), 0.75) } else { color };
    let frame = axes.times(Basis::turn(-14.0, 0.0, 0.0));
    let cap = v3(radii.x * 0.88, radii.y * 0.66, radii.z * 0.90);
    let material = sewing.material(color, pale, Paint::Bands(8.0), Finish::Cloth, cap);
    let component = sewing.component(material, 16, true);
    let at = center + frame.y * (radii.y * 0.56);
    sewing.surface.ellipsoid(component, at, frame, cap, Bend::default());
    let material = sewing.material(color * 0.9, pale, Paint::Plain, Finish::Cloth, v3(0.3, 0.1, 0.3));
    let component = sewing.component(material, 16, true);
    let thick = 0.13 * radii.x;
    sewing.surface.ring(component, at, frame, |_| (radii.x * 0.82, 0.0, thick));
    let material = sewing.material(pale, pale, Paint::Plain, Finish::Curls(0.05), V3::splat(0.14));
    let component = sewing.component(material, 9, true);
    let bend = Bend { lumps: 0.08, grain: 4.0, ..Bend::default() };
    sewing.surface.ellipsoid(component, at + frame.y * (cap.y + 0.07), frame, V3::splat(0.27 * radii.x), bend);
}

fn crown(sewing: &mut Sewing, color: V3) {
    let (_, axes, radii) = sewing.head;
    let (at, _) = sewing.on_head(v3(0.0, 1.0, 0.12));
    let frame = axes.times(Basis::turn(-8.0, 0.0, sewing.random.range(-8.0, 8.0)));
    let r = 0.46 * radii.x;
    let material = sewing.material(color, color, Paint::Plain, Finish::Gloss, v3(r, 0.05, r));
    let component = sewing.component(material, 12, true);
    sewing.surface.ring(component, at + frame.y * 0.0, frame, |_| (r, 0.0, 0.16 * r));
    for i in 0..6 {
        let (s, c) = sin_cos(60.0 * i as f32);
        let size = v3(0.27, 0.46, 0.12) * r;
        let material = sewing.material(color, color, Paint::Plain, Finish::Gloss, size);
        let component = sewing.component(material, 7, true);
        let out = frame.apply(v3(s, 0.0, c));
        let tine = Basis { x: frame.y.cross(out), y: frame.y, z: out };
        let foot = at + out * (r * 1.02) + frame.y * (0.36 * r);
        sewing.surface.ellipsoid(component, foot, tine, size, Bend { point: 0.85, ..Bend::default() });
        let material = sewing.material(color.mix(V3::splat(0.9), 0.5), color, Paint::Plain, Finish::Gloss, size);
        let component = sewing.component(material, 6, true);
        sewing.surface.ellipsoid(component, foot + frame.y * (0.42 * r), tine, V3::splat(0.1 * r), Bend::default());
    }
}

fn flower(sewing: &mut Sewing, color: V3) {
    let side = if sewing.random.chance(0.5) { 1.0 } else { -1.0 };
    let (at, normal) = sewing.on_head(v3(side * 0.48, 0.72, 0.6));
    let frame = Basis::facing(normal + v3(0.0, -0.1, 0.8));
    let at = at + normal * 0.05;
    for i in 0..5 {
        let (s, c) = sin_cos(72.0 * i as f32 + 10.0);
        let size = v3(0.072, 0.095, 0.038);
        let material = sewing.material(color, color, Paint::Plain, Finish::Felt, size);
        let component = sewing.component(material, 7, true);
        let axes = frame.times(Basis::turn(0.0, 0.0, -72.0 * i as f32 - 10.0));
        sewing.surface.ellipsoid(
            component,
            at + frame.apply(v3(s * 0.095, c * 0.095, 0.0)),
            axes,
            size,
            Bend::default(),
        );
    }
    let yellow = linear(v3(0.98, 0.82, 0.2));
    let heart = if (color - yellow).length() < 0.35 { linear(v3(0.6, 0.3, 0.1)) } else { yellow };
    let material = sewing.material(heart, heart, Paint::Plain, Finish::Felt, V3::splat(0.06));
    let component = sewing.component(material, 7, true);
    sewing.surface.ellipsoid(component, at + frame.z * 0.03, frame, v3(0.062, 0.062, 0.045), Bend::default());
}

fn glasses(sewing: &mut Sewing, color: V3) {
    let (_, axes, radii) = sewing.head;
    let r = radii.x;
    let form = sewing.form;
    let rim = 0.27 * r;
    let wire = 0.045 * r;
    let mut inner = Vec::new();
    for side in [1.0f32, -1.0] {
        let (at, normal) = sewing.on_head(v3(side * form.eye_apart, form.eye_up, 0.9));
        let at = at + normal * (form.eye * r * 0.9 + 0.03);
        let out = (normal + axes.z * 0.8).unit();
        let frame = Basis::facing(out).times(Basis::turn(90.0, 0.0, 0.0));
        let material = sewing.material(color, color, Paint::Plain, Finish::Gloss, v3(rim, wire, rim));
        let component = sewing.component(material, 12, true);
        sewing.surface.ring(component, at, frame, |_| (rim, 0.0, wire));
        inner.push(at - axes.x * (side * rim));
        let (temple, side_normal) = sewing.on_head(v3(side * 1.0, form.eye_up * 0.8, -0.1));
        let start = at + axes.x * (side * rim);
        let end = temple + side_normal * 0.02;
        let middle = (start + end) * 0.5 + axes.x * (side * 0.04);
        let component = sewing.component(material, 7, true);
        sewing.surface.tube(component, 1.0, |t| curve(start, middle, end, t), |t| sausage(t, wire * 0.8, wire * 0.8));
    }
    let (start, end) = (inner[0], inner[1]);
    let middle = (start + end) * 0.5 + axes.apply(v3(0.0, 0.03, 0.04));
    let material = sewing.material(color, color, Paint::Plain, Finish::Gloss, v3(rim, wire, rim));
    let component = sewing.component(material, 7, true);
    sewing.surface.tube(component, 1.0, |t| curve(start, middle, end, t), |t| sausage(t, wire, wire));
}

fn shirt(sewing: &mut Sewing, color: V3) {
    let (center, radii) = sewing.body;
    let pale = color.mix(V3::splat(0.9), 0.85);
    let paint = if sewing.random.chance(0.3) { Paint::Bands(9.0) } else { Paint::Plain };
    let size = v3(radii.x * 1.06, radii.y * 0.80, radii.z * 1.07);
    let material = sewing.material(color, pale, paint, Finish::Cloth, size);
    let component = sewing.component(material, 18, false);
    let pear = sewing.form.pear;
    let at = center + v3(0.0, radii.y * 0.22, 0.0);
    sewing.surface.ellipsoid(
        component,
        at,
        Basis::IDENTITY,
        size,
        Bend { taper: pear * 0.8, boxy: 0.3, ..Bend::default() },
    );
    if sewing.form.wings {
        return;
    }
    let r = sewing.arm_radius;
    for [shoulder, elbow, hand] in sewing.arms {
        let material = sewing.material(color, pale, paint, Finish::Cloth, v3(r, 0.2, r));
        let component = sewing.component(material, 8, false);
        let sleeve = |t: f32| curve(shoulder, elbow, hand, t * 0.55);
        sewing.surface.tube(component, 1.0, sleeve, |t| sausage(t, r * 1.12, r * 1.26));
    }
}

fn backpack(sewing: &mut Sewing, color: V3) {
    let (center, radii) = sewing.body;
    let size = v3(radii.x * 0.72, radii.y * 0.62, 0.17);
    let material = sewing.material(color, color * 0.6, Paint::Below(-0.1), Finish::Cloth, size);
    let component = sewing.component(material, 12, false);
    let back = center + v3(0.0, 0.12, -radii.z - 0.1);
    sewing.surface.ellipsoid(component, back, Basis::IDENTITY, size, Bend { boxy: 0.8, ..Bend::default() });
    for side in [1.0f32, -1.0] {
        let material = sewing.material(color, color, Paint::Plain, Finish::Cloth, v3(0.06, 0.3, 0.04));
        let component = sewing.component(material, 12, false);
        let bulge = 1.0 - sewing.form.pear * 0.2;
        let x = side * radii.x * 0.58;
        let top = center + v3(x * 0.9, radii.y * 0.86, -0.1 * radii.z);
        let front = center + v3(x * 1.05, radii.y * 0.28, radii.z * 0.96 * bulge);
        let under = center + v3(side * radii.x * 1.06, -radii.y * 0.25, radii.z * 0.1);
        sewing.surface.tube(component, 0.6, |t| curve(top, front, under, t), |t| sausage(t, 0.075, 0.075));
    }
}

fn heart(sewing: &mut Sewing, color: V3) {
    let (center, radii) = sewing.body;
    let at = center + v3(0.0, radii.y * 0.05, radii.z + 0.17);
    let s = sewing.random.range(0.20, 0.25);
    for side in [1.0f32, -1.0] {
        let size = v3(0.62, 1.0, 0.48) * s;
        let material = sewing.material(color, color, Paint::Plain, Finish::Felt, size);
        let component = sewing.component(material, 12, false);
        let axes = Basis::turn(0.0, 0.0, -side * 38.0);
        let middle = at + axes.apply(v3(0.0, 0.0, 0.0)) + v3(side * 0.36 * s, 0.08 * s, 0.0);
        sewing.surface.ellipsoid(component, middle, axes, size, Bend { taper: 0.12, ..Bend::default() });
    }
}
