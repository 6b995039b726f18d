//! Builds a plush from its attributes and a seed.

use crate::plush::accessories::dress;
use crate::plush::attributes::Attributes;
use crate::plush::sewing::Sewing;
use crate::plush::species::form;
use crate::plush::vocabulary::{Color, Fur, Pattern, Pose, Wear};
use crate::random::Random;
use crate::render::math::{Basis, V3, linear, v3};
use crate::render::shade::{Finish, Material};
use crate::render::surface::Surface;

/// A plush as components and materials, standing on height 0 and facing +z.
pub struct Sewn {
    /// The components.
    pub surface: Surface,
    /// The materials.
    pub materials: Vec<Material>,
}

/// The movement of limbs and head from their rest position, for a view.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stir {
    /// Seed of the moves.
    pub seed: u64,
    /// Size of the moves: 0 none, 1 strong.
    pub amount: f32,
    /// A pose instead of its own.
    pub pose: Option<Pose>,
}

/// Builds a plush.
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
    build(&mut sewing, stir);
    Sewn { surface: sewing.surface, materials: sewing.materials }
}

/// Adds the components, rests the plush on height 0 and centers it.
fn build(sewing: &mut Sewing, stir: Stir) {
    let pose = stir.pose.unwrap_or(sewing.attributes.pose);
    let moves = &mut Random::new(stir.seed, 5);
    let mut sway = |amount: f32| moves.bell() * stir.amount * amount;
    let form = sewing.form;
    let standing = pose != Pose::Sitting;
    let raised = if standing { form.leg * 0.85 } else { 0.0 };
    let body = v3(0.0, raised + form.body.y * 0.96, 0.0);
    sewing.body = (body, form.body);
    let tilt = sewing.random.bell() * 3.0 + sway(7.0);
    let turn = sewing.random.bell() * 4.0 + sway(12.0);
    let nod = sewing.random.bell() * 2.5 + sway(6.0);
    let head = body + v3(0.0, form.body.y * 0.86 + form.head.y * 0.70, form.forward);
    sewing.head = (head, Basis::turn(nod, turn, tilt), form.head);

    sewing.torso();
    sewing.limbs(pose, [sway(0.12), sway(0.12), sway(0.10), sway(0.10)]);
    sewing.tail();
    sewing.skull();
    sewing.ears();
    sewing.muzzle();
    sewing.eyes();
    dress(sewing);

    if pose == Pose::Lying {
        let side = if sewing.random.chance(0.5) { 1.0 } else { -1.0 };
        sewing.surface.turn(Basis::turn(-6.0, 0.0, side * 84.0));
    }
    let (low, high) = sewing.surface.bounds();
    let middle = (low + high) * 0.5;
    // The body sinks in a little where it rests.
    let sunk = if pose == Pose::Lying { 0.35 * sewing.form.arm + 0.1 } else { 0.012 };
    sewing.surface.shift(v3(-middle.x, -low.y - sunk, -middle.z));
    for vertex in &mut sewing.surface.vertices {
        vertex.position.y = vertex.position.y.max(0.0);
    }
}
