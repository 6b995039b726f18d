//! Defines views of a plush: camera, light, background and occlusion.

use crate::error::{Error, Result};
use crate::plush::sew::Stir;
use crate::plush::vocabulary::{Color, Pose};
use crate::random::Random;
use crate::render::backdrop::{Backdrop, Surround, Texture};
use crate::render::lens::Camera;
use crate::render::math::{Basis, V3, linear, sin_cos, v3};
use crate::render::occluder::{Occluder, Shape};
use crate::render::shade::{Finish, Light, Material, Paint};
use crate::render::surface::{Bend, ComponentOptions, Surface};

/// A kind of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SceneKind {
    /// A product photo: plain background, nearly frontal, neutral soft light.
    Studio,
    /// An everyday photo: any side but the back, varied light and backgrounds, sometimes clutter.
    Everyday,
    /// Like studio, with light that is strong, colored, from any direction, too dark or too bright.
    Light,
    /// Like studio, with the camera around and above, and moved limbs.
    Pose,
    /// Like everyday, with a hand, a box or a cloth in front of 20 to 60 % of it.
    Occluded,
    /// Like everyday, with only the head in the frame.
    HeadOnly,
    /// Like everyday, among many other objects.
    Cluttered,
}

impl SceneKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Studio, Self::Everyday, Self::Light, Self::Pose, Self::Occluded, Self::HeadOnly, Self::Cluttered];

    /// Returns its name.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Studio => "studio",
            Self::Everyday => "everyday",
            Self::Light => "light",
            Self::Pose => "pose",
            Self::Occluded => "occluded",
            Self::HeadOnly => "head_only",
            Self::Cluttered => "cluttered",
        }
    }

    /// Returns the kind of this name.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such kind.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|scene| scene.tag() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|scene| scene.tag()).collect();
            Error::argument(format!("no scene {name:?}: use one of {}", names.join(", ")))
        })
    }
}

/// The light in a photographer's terms.
#[derive(Clone, Copy, Debug)]
pub struct Lamp {
    /// Degrees around, 0 from the camera, positive from the right.
    pub azimuth: f32,
    /// Degrees above.
    pub elevation: f32,
    /// Strength of the key light.
    pub key: f32,
    /// Strength of the light from everywhere.
    pub ambient: f32,
    /// From cold (-1) over white (0) to warm (1).
    pub warmth: f32,
}

/// The view of one picture.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The camera.
    pub camera: Camera,
    /// The light.
    pub lamp: Lamp,
    /// Multiplies all light.
    pub exposure: f32,
    /// The background.
    pub backdrop: Backdrop,
    /// An object in front of the subject.
    pub occluder: Option<Occluder>,
    /// Movement of limbs and head.
    pub stir: Stir,
    /// Number of other objects around.
    pub clutter: usize,
    /// Seed of the other objects.
    pub seed: u64,
}

impl View {
    /// Returns view number `seed` of a kind; it is the same for every plush.
    pub fn sample(seed: u64, scene: SceneKind) -> Self {
        let random = &mut Random::new(seed, 100 + scene as u64);
        let everyday = !matches!(scene, SceneKind::Studio | SceneKind::Light | SceneKind::Pose);
        let camera = Camera {
            azimuth: match scene {
                SceneKind::Studio | SceneKind::Light => random.range(-25.0, 25.0),
                SceneKind::Pose => random.range(-120.0, 120.0),
                SceneKind::HeadOnly => random.range(-50.0, 50.0),
                _ => random.range(-75.0, 75.0),
            },
            elevation: match scene {
                SceneKind::Studio | SceneKind::Light => random.range(4.0, 20.0),
                SceneKind::Pose => random.range(-10.0, 65.0),
                _ => random.range(-10.0, 50.0),
            },
            roll: if everyday { 7.0 * random.bell() } else { 0.0 },
            distance: random.range(2.2, 5.5),
            zoom: match scene {
                SceneKind::Studio | SceneKind::Light | SceneKind::Pose => random.range(0.82, 0.92),
                SceneKind::HeadOnly => random.range(0.85, 1.1),
                SceneKind::Cluttered => random.range(0.45, 0.75),
                _ => random.range(0.55, 1.02),
            },
            offset: if everyday { (0.05 * random.bell(), 0.05 * random.bell()) } else { (0.0, 0.0) },
            head: scene == SceneKind::HeadOnly,
        };
        let lamp = match scene {
            SceneKind::Studio | SceneKind::Pose => Lamp {
                azimuth: random.range(-45.0, 45.0),
                elevation: random.range(45.0, 65.0),
                key: random.range(0.62, 0.72),
                ambient: random.range(0.52, 0.60),
                warmth: 0.0,
            },
            SceneKind::Light => Lamp {
                azimuth: random.range(-150.0, 150.0),
                elevation: random.range(8.0, 80.0),
                key: random.range(0.5, 1.5),
                ambient: random.range(0.15, 0.5),
                warmth: random.range(-1.0, 1.0),
            },
            _ => Lamp {
                azimuth: random.range(-100.0, 100.0),
                elevation: random.range(20.0, 80.0),
                key: random.range(0.35, 1.05),
                ambient: random.range(0.3, 0.65),
                warmth: 0.45 * random.bell().clamp(-2.0, 2.0),
            },
        };
        let exposure = match scene {
            SceneKind::Studio | SceneKind::Pose => 1.0,
            SceneKind::Light => random.range(0.45, 1.5),
            _ => random.range(0.72, 1.25),
        };
        let backdrop = if everyday { room(random, &camera) } else { studio(random, &camera) };
        let occluder =
            (scene == SceneKind::Occluded || (scene == SceneKind::Everyday && random.chance(0.12))).then(|| {
                let shape = random.pick(&[Shape::Hand, Shape::Box, Shape::Cloth]);
                let tone = random.unit();
                let color = match shape {
                    Shape::Hand => linear(v3(0.93, 0.74, 0.62).mix(v3(0.42, 0.27, 0.19), tone * tone)),
                    _ => random.pick(Color::ALL).shade(random),
                };
                let fraction =
                    if scene == SceneKind::Occluded { random.range(0.23, 0.57) } else { random.range(0.05, 0.25) };
                let side = if shape == Shape::Hand { random.range(160.0, 380.0) } else { random.range(0.0, 360.0) };
                Occluder { shape, fraction, side, color, seed: random.bits() as u32 }
            });
        let stir = Stir {
            seed: random.bits(),
            amount: match scene {
                SceneKind::Studio | SceneKind::Light => 0.0,
                SceneKind::Pose => 1.0,
                _ => random.range(0.0, 0.6),
            },
            pose: (scene == SceneKind::Pose).then(|| random.pick(Pose::ALL)),
        };
        let clutter = match scene {
            _ if backdrop.table.is_none() => 0,
            SceneKind::Cluttered => 8 + random.below(8),
            SceneKind::Everyday | SceneKind::Occluded if random.chance(0.45) => 1 + random.below(5),
            _ => 0,
        };
        Self { camera, lamp, exposure, backdrop, occluder, stir, clutter, seed: random.bits() }
    }

    /// Returns the lamp as light on the scene.
    pub fn light(&self) -> Light {
        let lamp = self.lamp;
        let (s, c) = sin_cos(lamp.azimuth + self.camera.azimuth);
        let (up, flat) = sin_cos(lamp.elevation);
        let w = lamp.warmth;
        let tint = v3(1.0 + 0.22 * w, 1.0 + 0.02 * w, 1.0 - 0.26 * w);
        let sky = v3(1.0 - 0.05 * w, 1.0, 1.0 + 0.05 * w).scale(V3::splat(1.0).mix(tint, 0.5));
        let table = self.backdrop.table.map_or(V3::splat(0.4), |table| table.first);
        let bounce = V3::splat(0.35).mix(table, 0.5) * 0.85;
        Light {
            towards: v3(s * flat, up, c * flat),
            key: tint * lamp.key,
            sky: sky * lamp.ambient,
            floor: sky.scale(bounce) * (lamp.ambient + 0.2 * lamp.key),
        }
    }

    /// Puts other objects around the subject.
    pub fn scatter(&self, surface: &mut Surface, materials: &mut Vec<Material>) {
        let random = &mut Random::new(self.seed, 6);
        surface.subject = false;
        let (low, high) = surface.bounds();
        let radius = 0.5 * (high.x - low.x).max(high.z - low.z);
        let (ds, dc) = sin_cos(self.camera.azimuth);
        for _ in 0..self.clutter {
            let color = random.pick(Color::ALL).shade(random);
            let second = random.pick(Color::ALL).shade(random);
            // Beside and behind, as seen by the camera; low objects may be in front.
            let front = random.chance(0.2);
            let side = if random.chance(0.5) { 1.0 } else { -1.0 };
            let aside = side * (radius * random.range(0.75, 1.7) + 0.15);
            let back = if front { -radius * random.range(0.4, 0.9) } else { radius * random.range(0.3, 1.9) };
            let tall = if front { random.range(0.06, 0.16) } else { random.range(0.12, 0.55) };
            let wide = random.range(0.10, 0.34);
            let deep = random.range(0.10, 0.30);
            let shape = random.below(4);
            let size = if shape == 1 { V3::splat(tall) } else { v3(wide, tall, deep) };
            let finish = random.pick(&[Finish::Cloth, Finish::Felt, Finish::Gloss, Finish::Fur(0.03)]);
            let paint =
                random.pick(&[Paint::Plain, Paint::Plain, Paint::Bands(5.0), Paint::Spots(5.0), Paint::Above(0.2)]);
            let seed = random.bits() as u32;
            materials.push(Material { color, second, paint, finish, mouth: None, size, seed });
            let component = ComponentOptions { material: (materials.len() - 1) as u16, detail: 11, head: false, seed };
            let at = v3(aside * dc - back * ds, size.y, -aside * ds - back * dc);
            let axes = Basis::turn(0.0, random.range(0.0, 360.0), 0.0);
            let bend = match shape {
                0 => Bend { boxy: 1.0, ..Bend::default() },
                1 => Bend::default(),
                2 => Bend { boxy: 0.6, taper: -0.25, ..Bend::default() },
                _ => Bend { lumps: 0.12, grain: 2.5, ..Bend::default() },
            };
            surface.ellipsoid(component, at, axes, size, bend);
        }
        surface.subject = true;
    }
}

fn studio(random: &mut Random, camera: &Camera) -> Backdrop {
    let light = random.range(0.80, 0.97);
    let tint = v3(light * random.range(0.97, 1.0), light * random.range(0.97, 1.0), light * random.range(0.96, 1.0));
    let color = linear(tint);
    let plain = Surround { texture: Texture::Plain, first: color, second: color, scale: 1.0, seed: 0 };
    let table = (camera.elevation > 3.0).then_some(plain);
    Backdrop { wall: plain, table, depth: 4.0, room: Basis::turn(0.0, camera.azimuth, 0.0) }
}

fn room(random: &mut Random, camera: &Camera) -> Backdrop {
    let mut tone = |muted: f32| {
        let color = random.pick(Color::ALL).shade(random);
        let grey = linear(V3::splat(random.range(0.25, 0.9)));
        color.mix(grey, muted)
    };
    let (a, b) = (tone(0.45), tone(0.5));
    let (c, d) = (tone(0.5), tone(0.45));
    let wall = random.weighted(&[
        (Texture::Plain, 0.22),
        (Texture::Gradient, 0.22),
        (Texture::Blobs, 0.22),
        (Texture::Stripes, 0.10),
        (Texture::Dots, 0.06),
        (Texture::Wood, 0.08),
        (Texture::Fabric, 0.10),
    ]);
    let table = random.weighted(&[
        (Texture::Plain, 0.22),
        (Texture::Wood, 0.34),
        (Texture::Checker, 0.12),
        (Texture::Fabric, 0.24),
        (Texture::Stripes, 0.08),
    ]);
    let oak = linear(v3(random.range(0.45, 0.8), random.range(0.32, 0.55), random.range(0.18, 0.36)));
    let (c, d) = if table == Texture::Wood { (oak, oak * 0.5) } else { (c, d) };
    let wall =
        Surround { texture: wall, first: a, second: b, scale: random.range(0.4, 1.6), seed: random.bits() as u32 };
    let table =
        Surround { texture: table, first: c, second: d, scale: random.range(0.7, 2.4), seed: random.bits() as u32 };
    let turn = camera.azimuth + random.range(-20.0, 20.0);
    Backdrop {
        wall,
        table: (camera.elevation > 3.0 && random.chance(0.9)).then_some(table),
        depth: random.range(1.4, 4.0),
        room: Basis::turn(0.0, turn, 0.0),
    }
}
