//! Computes vectors, angles, colors and random numbers with identical bits on every machine.
//!
//! It uses only `+ - * /`, `sqrt`, `floor` and integer hashing, whose results IEEE 754 fixes; those of a platform's
//! libm vary.

use std::ops::{Add, Mul, Neg, Sub};
use std::sync::OnceLock;

/// A vector, a point or a linear color.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct V3 {
    /// Right (red).
    pub x: f32,
    /// Up (green).
    pub y: f32,
    /// Towards the viewer (blue).
    pub z: f32,
}

/// Makes a [`V3`].
pub const fn v3(x: f32, y: f32, z: f32) -> V3 {
    V3 { x, y, z }
}

impl V3 {
    /// Makes a vector of three equal numbers.
    pub const fn splat(a: f32) -> Self {
        v3(a, a, a)
    }

    /// Returns the dot product.
    pub fn dot(self, b: Self) -> f32 {
        self.x * b.x + self.y * b.y + self.z * b.z
    }

    /// Returns the cross product.
    pub fn cross(self, b: Self) -> Self {
        v3(self.y * b.z - self.z * b.y, self.z * b.x - self.x * b.z, self.x * b.y - self.y * b.x)
    }

    /// Returns the Euclidean length.
    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// Returns the unit vector; zero stays zero.
    pub fn unit(self) -> Self {
        let length = self.length();
        if length > 1e-12 { self * (1.0 / length) } else { self }
    }

    /// Returns the componentwise product.
    pub fn scale(self, b: Self) -> Self {
        v3(self.x * b.x, self.y * b.y, self.z * b.z)
    }

    /// Interpolates: `self` at 0, `b` at 1.
    pub fn mix(self, b: Self, t: f32) -> Self {
        self + (b - self) * t
    }
}

impl Add for V3 {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        v3(self.x + b.x, self.y + b.y, self.z + b.z)
    }
}

impl Sub for V3 {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        v3(self.x - b.x, self.y - b.y, self.z - b.z)
    }
}

impl Mul<f32> for V3 {
    type Output = Self;
    fn mul(self, b: f32) -> Self {
        v3(self.x * b, self.y * b, self.z * b)
    }
}

impl Neg for V3 {
    type Output = Self;
    fn neg(self) -> Self {
        v3(-self.x, -self.y, -self.z)
    }
}

/// A 3 × 3 matrix by its columns: the images of the axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Basis {
    /// Image of the x axis.
    pub x: V3,
    /// Image of the y axis.
    pub y: V3,
    /// Image of the z axis.
    pub z: V3,
}

impl Basis {
    /// No rotation.
    pub const IDENTITY: Self = Self { x: v3(1.0, 0.0, 0.0), y: v3(0.0, 1.0, 0.0), z: v3(0.0, 0.0, 1.0) };

    /// Makes the rotation by degrees about the x, then the y, then the z axis.
    pub fn turn(x: f32, y: f32, z: f32) -> Self {
        let ((sx, cx), (sy, cy), (sz, cz)) = (sin_cos(x), sin_cos(y), sin_cos(z));
        let about_x = Self { x: v3(1.0, 0.0, 0.0), y: v3(0.0, cx, sx), z: v3(0.0, -sx, cx) };
        let about_y = Self { x: v3(cy, 0.0, -sy), y: v3(0.0, 1.0, 0.0), z: v3(sy, 0.0, cy) };
        let about_z = Self { x: v3(cz, sz, 0.0), y: v3(-sz, cz, 0.0), z: v3(0.0, 0.0, 1.0) };
        about_z.times(about_y.times(about_x))
    }

    /// Makes a rotation with the z axis `z` and the y axis as near to up as possible.
    pub fn facing(z: V3) -> Self {
        let z = z.unit();
        let up = if z.y.abs() > 0.98 { v3(0.0, 0.0, -1.0) } else { v3(0.0, 1.0, 0.0) };
        let x = up.cross(z).unit();
        Self { x, y: z.cross(x), z }
    }

    /// Makes a rotation with the y axis `y`.
    pub fn along(y: V3) -> Self {
        let y = y.unit();
        let front = if y.z.abs() > 0.9 { v3(0.0, 1.0, 0.0) } else { v3(0.0, 0.0, 1.0) };
        let x = y.cross(front).unit();
        Self { x, y, z: x.cross(y) }
    }

    /// Returns the image of a vector.
    pub fn apply(&self, v: V3) -> V3 {
        self.x * v.x + self.y * v.y + self.z * v.z
    }

    /// Applies the transpose to a vector: the inverse of a rotation.
    pub fn back(&self, v: V3) -> V3 {
        v3(self.x.dot(v), self.y.dot(v), self.z.dot(v))
    }

    /// Composes rotations: first `b`, then `self`.
    pub fn times(&self, b: Self) -> Self {
        Self { x: self.apply(b.x), y: self.apply(b.y), z: self.apply(b.z) }
    }
}

/// Returns sine and cosine of an angle in degrees, to about 1e-6.
pub fn sin_cos(degrees: f32) -> (f32, f32) {
    let turns = degrees * (1.0 / 360.0);
    (sine(turns), sine(turns + 0.25))
}

/// Returns the sine of an angle in whole turns.
fn sine(turns: f32) -> f32 {
    let t = turns - floor(turns + 0.5);
    let t = if t > 0.25 {
        0.5 - t
    } else if t < -0.25 {
        -0.5 - t
    } else {
        t
    };
    let a = t * std::f32::consts::TAU;
    let b = a * a;
    a * (1.0 - b * (1.0 / 6.0 - b * (1.0 / 120.0 - b * (1.0 / 5040.0 - b * (1.0 / 362_880.0)))))
}

/// Interpolates smoothly: 0 below `low`, 1 above `high`.
#[inline]
pub fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) * (1.0 / (high - low))).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Interpolates: `a` at 0, `b` at 1.
pub fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Returns the larger of two numbers. Unlike `f32::max` it is one instruction; its result for NaN is not used.
pub fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Returns the smaller of two numbers, like [`larger`].
pub fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Returns the largest integer not above `x`, without a call into libm, for numbers that fit an `i32`.
pub fn floor(x: f32) -> f32 {
    let cut = x as i32 as f32;
    if cut > x { cut - 1.0 } else { cut }
}

/// Converts display (sRGB) values in 0..=1 to a linear color.
pub fn linear(display: V3) -> V3 {
    let f = |c: f32| c * (c * (c * 0.305_306_01 + 0.682_171_1) + 0.012_522_878);
    v3(f(display.x), f(display.y), f(display.z))
}

/// Converts a linear color to three bytes of a display (sRGB) picture.
pub fn display(linear: V3) -> [u8; 3] {
    static BYTES: OnceLock<Box<[u8; STEPS * 4 + 1]>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| Box::new(std::array::from_fn(|i| encoded(i as f32 / STEPS as f32))));
    let byte = |x: f32| bytes[((x * STEPS as f32) as i32).clamp(0, STEPS as i32 * 4) as usize];
    [byte(linear.x), byte(linear.y), byte(linear.z)]
}

/// Table entries of [`display`] per unit of light.
const STEPS: usize = 4096;

fn encoded(x: f32) -> u8 {
    // Highlights roll off instead of clipping.
    let x = if x > 0.7 { 0.7 + 0.3 * (1.0 - 1.0 / (1.0 + (x - 0.7) / 0.3)) } else { x };
    let (a, b) = (x.sqrt(), x.sqrt().sqrt());
    let y = 0.585_122_4 * a + 0.783_140_36 * b - 0.368_262_74 * b.sqrt();
    (y * 255.0 + 0.5).clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_matches_libm() {
        for i in -1000..1000 {
            let degrees = i as f32 * 0.731;
            let (s, c) = sin_cos(degrees);
            let exact = (f64::from(degrees)).to_radians();
            assert!((f64::from(s) - exact.sin()).abs() < 2e-5, "{degrees}: {s}");
            assert!((f64::from(c) - exact.cos()).abs() < 2e-5, "{degrees}: {c}");
        }
    }

    #[test]
    fn rotations_keep_lengths_and_invert() {
        let r = Basis::turn(20.0, -50.0, 130.0);
        let v = v3(0.3, -0.7, 1.1);
        assert!((r.apply(v).length() - v.length()).abs() < 1e-5);
        assert!((r.back(r.apply(v)) - v).length() < 1e-5);
        assert!((Basis::turn(90.0, 0.0, 0.0).apply(v3(0.0, 1.0, 0.0)) - v3(0.0, 0.0, 1.0)).length() < 1e-5);
    }

    #[test]
    fn display_inverts_linear_but_for_the_darkest() {
        for byte in 40u8..210 {
            let value = f32::from(byte) / 255.0;
            let [back, ..] = display(linear(V3::splat(value)));
            assert!(back.abs_diff(byte) <= 4, "{byte} -> {back}");
        }
    }
}
