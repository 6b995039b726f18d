//! Random numbers that are the same for the same seed.

/// Applies the 64-bit finalizer of splitmix64.
pub const fn scramble(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A stream of random numbers (SplitMix64; Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes the stream of `seed` for one purpose. Different purposes never share numbers.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(scramble(seed.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ scramble(purpose.wrapping_mul(0xD134_2543_DE82_EF95))))
    }

    /// Makes the stream of `seed` as published.
    pub fn plain(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scramble(self.0)
    }

    /// Returns a number in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Returns a number in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Returns an approximately normal number with mean 0 and deviation 1, never beyond 3.5.
    pub fn bell(&mut self) -> f32 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732
    }

    /// Returns a vector whose direction is nearly uniform.
    pub fn direction(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.bell()).collect()
    }

    /// Returns true with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Returns a number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (((self.bits() >> 32) * n as u64) >> 32) as usize
    }

    /// Returns one of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Returns one of the choices, by weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(T, f32)]) -> T {
        let total = choices.iter().fold(0.0, |sum, choice| sum + choice.1);
        let mut left = self.unit() * total;
        for &(value, weight) in choices {
            left -= weight;
            if left < 0.0 {
                return value;
            }
        }
        choices[choices.len() - 1].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_splitmix64() {
        let mut random = Random::plain(0);
        assert_eq!(random.bits(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.bits(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn directions_are_spread() {
        let mut random = Random::plain(7);
        let (a, b) = (random.direction(4000), random.direction(4000));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / 4000.0;
        assert!((product(&a, &a) - 1.0).abs() < 0.1 && product(&a, &b).abs() < 0.1);
        assert!(a.iter().sum::<f32>().abs() / 4000.0 < 0.1);
    }
}
