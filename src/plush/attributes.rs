//! Defines and samples the attributes of a plush toy.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plush::vocabulary::{Color, EyeColor, Fur, Kind, Pattern, Pose, Species, Wear};
use crate::random::Random;
use crate::render::math::{V3, linear, v3};

/// The place of an accessory, which holds at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Around the neck.
    Neck,
    /// On the head.
    Head,
    /// In the face.
    Face,
    /// On the body.
    Body,
    /// On the back.
    Back,
    /// In the arms.
    Arms,
}

impl Kind {
    /// Returns the place of this kind.
    pub fn slot(self) -> Slot {
        match self {
            Self::Scarf | Self::BowTie | Self::Collar => Slot::Neck,
            Self::Hat | Self::Beanie | Self::Crown | Self::Bow | Self::Flower => Slot::Head,
            Self::Glasses => Slot::Face,
            Self::Shirt => Slot::Body,
            Self::Backpack => Slot::Back,
            Self::Heart => Slot::Arms,
        }
    }
}

impl Color {
    /// Returns the typical shade in display (sRGB) values.
    pub fn display(self) -> V3 {
        let (r, g, b) = match self {
            Self::White => (0.95, 0.94, 0.91),
            Self::Grey => (0.55, 0.56, 0.58),
            Self::Black => (0.13, 0.125, 0.13),
            Self::Brown => (0.46, 0.29, 0.17),
            Self::Beige => (0.85, 0.74, 0.57),
            Self::Red => (0.80, 0.12, 0.13),
            Self::Orange => (0.95, 0.50, 0.13),
            Self::Yellow => (0.97, 0.83, 0.22),
            Self::Green => (0.30, 0.62, 0.24),
            Self::Turquoise => (0.12, 0.66, 0.64),
            Self::SkyBlue => (0.56, 0.77, 0.94),
            Self::Blue => (0.14, 0.26, 0.66),
            Self::Purple => (0.49, 0.27, 0.65),
            Self::Pink => (0.95, 0.60, 0.71),
        };
        v3(r, g, b)
    }

    /// Returns one shade of this color, linear.
    pub fn shade(self, random: &mut Random) -> V3 {
        let c = self.display();
        let bright = 1.0 + 0.07 * random.bell().clamp(-1.6, 1.6);
        let mut shift = || 1.0 + 0.03 * random.bell().clamp(-1.6, 1.6);
        let c = v3(c.x * bright * shift(), c.y * bright * shift(), c.z * bright * shift());
        linear(v3(c.x.min(0.98), c.y.min(0.98), c.z.min(0.98)))
    }
}

/// An accessory and its color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Accessory {
    /// Its kind.
    pub kind: Kind,
    /// Its color.
    pub color: Color,
}

/// The attributes of a plush.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// Its species.
    pub species: Species,
    /// Main color of the fur.
    pub color: Color,
    /// Color of the pattern; `None` if the pattern is plain.
    pub second_color: Option<Color>,
    /// Layout of the second color.
    pub pattern: Pattern,
    /// Its accessories: at most three, each in its own slot.
    pub accessories: Vec<Accessory>,
    /// Its pose at rest.
    pub pose: Pose,
    /// Its fur.
    pub fur: Fur,
    /// Color of the eyes.
    pub eyes: EyeColor,
    /// Its wear by use.
    pub wear: Wear,
}

impl Attributes {
    /// Returns the attributes of the plush of this seed.
    pub fn sample(seed: u64) -> Self {
        let random = &mut Random::new(seed, 1);
        let species = random.pick(Species::ALL);
        let color = if random.chance(0.35) { random.pick(natural(species)) } else { random.pick(Color::ALL) };
        let pattern = match species {
            Species::Panda => Pattern::TwoTone,
            // A penguin's belly is part of its look, and neither of these has paws.
            Species::Penguin if random.chance(0.7) => Pattern::Belly,
            Species::Penguin | Species::Duck => random.weighted(&PATTERNS[..5]),
            _ => random.weighted(&PATTERNS),
        };
        let second_color = (pattern != Pattern::Plain).then(|| second(random, species, color));
        let count = random.weighted(&[(0usize, 0.18), (1, 0.40), (2, 0.30), (3, 0.12)]);
        let mut accessories: Vec<Accessory> = Vec::new();
        while accessories.len() < count {
            let next = Accessory { kind: random.pick(Kind::ALL), color: random.pick(Color::ALL) };
            if next.color != color && fits(&accessories, next.kind, species, pattern) {
                accessories.push(next);
            }
        }
        let pose = random.weighted(&[(Pose::Sitting, 0.55), (Pose::Standing, 0.33), (Pose::Lying, 0.12)]);
        let fur = match species {
            Species::Sheep => Fur::Curly,
            Species::Frog | Species::Penguin | Species::Dinosaur => Fur::Short,
            _ => random.weighted(&[(Fur::Short, 0.55), (Fur::Long, 0.25), (Fur::Curly, 0.20)]),
        };
        let eyes = random.weighted(&[
            (EyeColor::Black, 0.55),
            (EyeColor::Brown, 0.17),
            (EyeColor::Blue, 0.15),
            (EyeColor::Green, 0.13),
        ]);
        let wear = random.weighted(&[(Wear::New, 0.80), (Wear::Faded, 0.10), (Wear::Mended, 0.10)]);
        let shirt = accessories.iter().any(|one| one.kind == Kind::Shirt);
        let wear = if shirt && wear == Wear::Mended { Wear::New } else { wear };
        Self { species, color, second_color, pattern, accessories, pose, fur, eyes, wear }
    }

    /// Returns the same attributes with one visible one changed.
    pub fn changed(&self, seed: u64) -> Self {
        let random = &mut Random::new(seed, 4);
        let mut new = self.clone();
        let other = |random: &mut Random, not: &[Option<Color>]| loop {
            let color = random.pick(Color::ALL);
            if !not.contains(&Some(color)) {
                break color;
            }
        };
        match random.below(5) {
            0 => new.color = other(random, &[Some(self.color), self.second_color]),
            1 if self.second_color.is_some() => {
                new.second_color = Some(other(random, &[Some(self.color), self.second_color]));
            }
            2 if !new.accessories.is_empty() => {
                let one = random.below(new.accessories.len());
                let old = new.accessories[one].color;
                new.accessories[one].color = other(random, &[Some(old), Some(self.color)]);
            }
            3 if !new.accessories.is_empty() => {
                new.accessories.remove(random.below(self.accessories.len()));
            }
            _ if new.accessories.len() < 3 => loop {
                let next = Accessory { kind: random.pick(Kind::ALL), color: other(random, &[Some(self.color)]) };
                if fits(&new.accessories, next.kind, self.species, self.pattern)
                    && (next.kind, self.wear) != (Kind::Shirt, Wear::Mended)
                {
                    new.accessories.push(next);
                    break;
                }
            },
            _ => {
                new.accessories.pop();
            }
        }
        new
    }

    /// Returns the attributes as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("enums, options and lists are JSON")
    }

    /// Parses attributes from JSON.
    ///
    /// # Errors
    /// [`Error::Argument`] if the text is not JSON, or has unknown names or values.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::argument(format!("attributes of a plush: {error}")))
    }

    /// Checks that the attributes fit together.
    ///
    /// # Errors
    /// [`Error::Argument`] if they do not.
    pub fn check(&self) -> Result<()> {
        if (self.pattern == Pattern::Plain) != self.second_color.is_none() {
            return Err(Error::argument(
                "second_color does not fit the pattern: give one exactly if the pattern is not plain",
            ));
        }
        if self.second_color == Some(self.color) {
            return Err(Error::argument(format!(
                "color and second_color are both {}: use two colors",
                self.color.tag()
            )));
        }
        if self.species == Species::Panda && self.pattern != Pattern::TwoTone {
            return Err(Error::argument("the pattern of a panda must be two_tone"));
        }
        if self.accessories.len() > 3 {
            return Err(Error::argument("more than three accessories: leave some out"));
        }
        for (i, one) in self.accessories.iter().enumerate() {
            if self.accessories[..i].iter().any(|other| other.kind.slot() == one.kind.slot()) {
                return Err(Error::argument(format!(
                    "{} shares its place with another accessory: leave one out",
                    one.kind.tag()
                )));
            }
        }
        Ok(())
    }
}

const PATTERNS: [(Pattern, f32); 6] = [
    (Pattern::Plain, 0.32),
    (Pattern::Belly, 0.20),
    (Pattern::Patches, 0.12),
    (Pattern::Stripes, 0.12),
    (Pattern::Spots, 0.12),
    (Pattern::TwoTone, 0.12),
];

/// Returns whether the place of an accessory is free and it hides no attribute.
fn fits(worn: &[Accessory], next: Kind, species: Species, pattern: Pattern) -> bool {
    worn.iter().all(|one| one.kind.slot() != next.slot())
        && !(pattern == Pattern::Belly && matches!(next, Kind::Shirt | Kind::Heart))
        && match species {
            Species::Unicorn | Species::Sheep => !matches!(next, Kind::Hat | Kind::Beanie | Kind::Crown),
            Species::Lion | Species::Frog => next != Kind::Beanie,
            _ => true,
        }
}

/// Returns the typical colors of a species.
fn natural(species: Species) -> &'static [Color] {
    match species {
        Species::Bear | Species::Monkey | Species::Dog => &[Color::Brown, Color::Beige],
        Species::Rabbit => &[Color::White, Color::Beige, Color::Pink, Color::Grey],
        Species::Cat => &[Color::Orange, Color::Grey, Color::Black, Color::White],
        Species::Elephant | Species::Mouse | Species::Koala => &[Color::Grey, Color::SkyBlue],
        Species::Panda | Species::Sheep | Species::Unicorn => &[Color::White],
        Species::Fox => &[Color::Orange],
        Species::Frog | Species::Dinosaur => &[Color::Green, Color::Turquoise],
        Species::Penguin => &[Color::Black, Color::Grey, Color::Blue],
        Species::Pig => &[Color::Pink],
        Species::Lion => &[Color::Yellow, Color::Beige, Color::Orange],
        Species::Duck => &[Color::Yellow, Color::White],
    }
}

fn second(random: &mut Random, species: Species, color: Color) -> Color {
    match species {
        Species::Panda if color != Color::Black && random.chance(0.6) => return Color::Black,
        Species::Penguin if color != Color::White && random.chance(0.5) => return Color::White,
        _ => {}
    }
    loop {
        let second =
            if random.chance(0.35) { random.pick(&[Color::White, Color::Beige]) } else { random.pick(Color::ALL) };
        // White on beige, for example, is too similar to plain.
        let near = (second.display() - color.display()).length() < 0.3;
        if !near {
            return second;
        }
    }
}
