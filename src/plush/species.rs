//! Defines the proportions of each species and their variation.

use crate::plush::vocabulary::Species;
use crate::random::Random;
use crate::render::math::{V3, v3};

/// Shape of the ears, with their size in head radii.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ear {
    /// None.
    None,
    /// Round, on top.
    Round(f32),
    /// Round, at the sides.
    Side(f32),
    /// Long and upright.
    Long(f32),
    /// Pointed and upright.
    Point(f32),
    /// Hanging down at the sides.
    Flop(f32),
    /// Large sails.
    Big(f32),
    /// Sticking out sideways.
    Drop(f32),
}

/// Shape of the muzzle, with its size in head radii.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Muzzle {
    /// None: a face on the head itself.
    None,
    /// A pale face on the head.
    Mask,
    /// A round muzzle.
    Round(f32),
    /// Two small cheeks.
    Small(f32),
    /// A long muzzle.
    Long(f32),
    /// A broad snout with nostrils.
    Snout(f32),
    /// A trunk.
    Trunk(f32),
    /// A flat bill.
    Bill(f32),
    /// A pointed beak.
    Beak(f32),
}

/// Shape of the tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tail {
    /// None.
    None,
    /// A ball of this radius.
    Pom(f32),
    /// A thin tail: length and radius.
    Thin(f32, f32),
    /// A bushy tail: length and radius.
    Bushy(f32, f32),
    /// A heavy tail that tapers: length and radius.
    Thick(f32, f32),
}

/// The proportions of one plush.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Half-axes of the head.
    pub head: V3,
    /// Half-axes of the body.
    pub body: V3,
    /// Widening of the body upwards (negative: pear-shaped).
    pub pear: f32,
    /// Widening of the head upwards.
    pub jowl: f32,
    /// Offset of the head in front of the body.
    pub forward: f32,
    /// Radius of the arms.
    pub arm: f32,
    /// Length of the arms.
    pub reach: f32,
    /// Radius of the legs.
    pub thigh: f32,
    /// Length of the legs.
    pub leg: f32,
    /// Outward offset of sitting legs, relative to their length.
    pub spread: f32,
    /// Ears.
    pub ear: Ear,
    /// Degrees by which the ears lean outwards.
    pub ear_tilt: f32,
    /// Muzzle.
    pub muzzle: Muzzle,
    /// Tail.
    pub tail: Tail,
    /// Radius of the eyes in head radii.
    pub eye: f32,
    /// Distance between the eyes.
    pub eye_apart: f32,
    /// Height of the eyes.
    pub eye_up: f32,
    /// Wings and webbed feet instead of arms and legs.
    pub wings: bool,
    /// Pads under the feet.
    pub pads: bool,
    /// A face darker than the wool.
    pub dark_face: bool,
}

/// Returns the proportions of a plush of this species.
pub fn form(species: Species, random: &mut Random) -> Form {
    let mut vary = |middle: f32, spread: f32| middle * (1.0 + spread * (2.0 * random.unit() - 1.0));
    let head = vary(0.50, 0.14);
    let body = vary(0.43, 0.16);
    let mut form = Form {
        head: v3(head, head * vary(0.90, 0.07), head * vary(0.88, 0.06)),
        body: v3(body, body * vary(1.16, 0.14), body * vary(0.88, 0.10)),
        pear: -vary(0.13, 0.7),
        jowl: -vary(0.05, 1.0),
        forward: vary(0.05, 1.0),
        arm: vary(0.145, 0.18),
        reach: vary(0.58, 0.18),
        thigh: vary(0.185, 0.16),
        leg: vary(0.42, 0.22),
        spread: vary(0.36, 0.5),
        ear: Ear::Round(vary(0.38, 0.22)),
        ear_tilt: vary(0.0, 0.0) + 12.0 * (2.0 * random.unit() - 1.0),
        muzzle: Muzzle::None,
        tail: Tail::None,
        eye: 0.0,
        eye_apart: 0.0,
        eye_up: 0.0,
        wings: false,
        pads: random.chance(0.6),
        dark_face: false,
    };
    let mut vary = |middle: f32, spread: f32| middle * (1.0 + spread * (2.0 * random.unit() - 1.0));
    form.eye = vary(0.125, 0.22);
    form.eye_apart = vary(0.40, 0.14);
    form.eye_up = vary(0.12, 0.6);
    match species {
        Species::Bear => {
            form.muzzle = Muzzle::Round(vary(0.46, 0.14));
            form.tail = Tail::Pom(vary(0.11, 0.2));
        }
        Species::Rabbit => {
            form.ear = Ear::Long(vary(0.95, 0.2));
            form.head = form.head.scale(v3(0.94, 1.0, 0.95));
            form.muzzle = Muzzle::Small(vary(0.36, 0.14));
            form.tail = Tail::Pom(vary(0.15, 0.15));
        }
        Species::Cat => {
            form.ear = Ear::Point(vary(0.46, 0.16));
            form.head = form.head.scale(v3(1.08, 0.96, 0.95));
            form.muzzle = Muzzle::Small(vary(0.34, 0.12));
            form.tail = Tail::Thin(vary(0.75, 0.15), vary(0.075, 0.2));
            form.eye = vary(0.145, 0.15);
        }
        Species::Dog => {
            form.ear = Ear::Flop(vary(0.62, 0.18));
            form.muzzle = Muzzle::Long(vary(0.50, 0.12));
            form.tail = Tail::Thin(vary(0.45, 0.2), vary(0.085, 0.2));
        }
        Species::Elephant => {
            form.ear = Ear::Big(vary(0.72, 0.14));
            form.muzzle = Muzzle::Trunk(vary(0.85, 0.16));
            form.tail = Tail::Thin(vary(0.3, 0.2), 0.04);
            form.thigh *= 1.12;
            form.eye_up = vary(0.2, 0.3);
        }
        Species::Panda => {
            form.ear = Ear::Round(vary(0.36, 0.12));
            form.muzzle = Muzzle::Round(vary(0.38, 0.12));
            form.tail = Tail::Pom(vary(0.1, 0.2));
            form.head = form.head.scale(v3(1.06, 0.97, 1.0));
        }
        Species::Fox => {
            form.ear = Ear::Point(vary(0.56, 0.14));
            form.head = form.head.scale(v3(1.02, 0.9, 0.95));
            form.muzzle = Muzzle::Long(vary(0.46, 0.12));
            form.tail = Tail::Bushy(vary(0.75, 0.14), vary(0.2, 0.18));
        }
        Species::Frog => {
            form.ear = Ear::None;
            form.head = form.head.scale(v3(1.12, 0.80, 0.92));
            form.eye = vary(0.115, 0.12);
        }
        Species::Penguin => {
            form.ear = Ear::None;
            form.muzzle = Muzzle::Beak(vary(0.36, 0.14));
            form.wings = true;
            form.body = form.body.scale(v3(1.08, 1.12, 1.05));
            form.head = form.head.scale(v3(0.9, 0.9, 0.9));
            form.leg *= 0.35;
        }
        Species::Pig => {
            form.ear = Ear::Point(vary(0.36, 0.15));
            form.ear_tilt += 28.0;
            form.muzzle = Muzzle::Snout(vary(0.36, 0.12));
            form.tail = Tail::Thin(vary(0.25, 0.2), 0.045);
            form.body = form.body.scale(v3(1.08, 1.0, 1.06));
        }
        Species::Mouse => {
            form.ear = Ear::Round(vary(0.60, 0.14));
            form.muzzle = Muzzle::Long(vary(0.36, 0.12));
            form.tail = Tail::Thin(vary(0.95, 0.12), vary(0.04, 0.2));
            form.head = form.head.scale(v3(0.92, 0.9, 0.98));
        }
        Species::Lion => {
            form.ear = Ear::Round(vary(0.30, 0.14));
            form.muzzle = Muzzle::Round(vary(0.44, 0.12));
            form.tail = Tail::Thin(vary(0.8, 0.12), vary(0.055, 0.2));
            form.head = form.head.scale(v3(0.92, 0.95, 0.95));
        }
        Species::Duck => {
            form.ear = Ear::None;
            form.muzzle = Muzzle::Bill(vary(0.48, 0.14));
            form.wings = true;
            form.tail = Tail::Pom(vary(0.13, 0.15));
            form.leg *= 0.4;
            form.eye_up = vary(0.22, 0.3);
        }
        Species::Monkey => {
            form.ear = Ear::Side(vary(0.40, 0.16));
            form.muzzle = Muzzle::Mask;
            form.tail = Tail::Thin(vary(1.0, 0.12), vary(0.06, 0.2));
            form.reach *= 1.18;
            form.arm *= 0.85;
            form.eye_apart = vary(0.30, 0.12);
        }
        Species::Sheep => {
            form.ear = Ear::Drop(vary(0.42, 0.14));
            form.muzzle = Muzzle::Small(vary(0.40, 0.12));
            form.tail = Tail::Pom(vary(0.12, 0.2));
            form.head = form.head.scale(v3(0.85, 0.92, 0.92));
            form.dark_face = true;
        }
        Species::Unicorn => {
            form.ear = Ear::Point(vary(0.34, 0.12));
            form.muzzle = Muzzle::Long(vary(0.66, 0.10));
            form.tail = Tail::Bushy(vary(0.6, 0.14), vary(0.13, 0.18));
            form.head = form.head.scale(v3(0.9, 1.0, 0.98));
        }
        Species::Dinosaur => {
            form.ear = Ear::None;
            form.muzzle = Muzzle::Snout(vary(0.58, 0.12));
            form.tail = Tail::Thick(vary(0.85, 0.15), vary(0.24, 0.15));
            form.head = form.head.scale(v3(0.88, 0.92, 0.95));
            form.arm *= 0.85;
            form.reach *= 0.8;
            form.eye_up = vary(0.35, 0.2);
        }
        Species::Koala => {
            form.ear = Ear::Side(vary(0.56, 0.12));
            form.muzzle = Muzzle::None;
            form.ear_tilt -= 24.0;
        }
    }
    form
}
