//! Affine maps, by which parts of a file are placed.

/// Three rows of a 4 × 4 matrix whose last row is 0, 0, 0, 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Transform([[f64; 4]; 3]);

impl Transform {
    /// Leaves all points where they are.
    pub(super) const IDENTITY: Self = Self([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);

    pub(super) fn rows(rows: [[f64; 4]; 3]) -> Self {
        Self(rows)
    }

    /// Scales evenly.
    pub(super) fn scaled(by: f64) -> Self {
        Self([[by, 0.0, 0.0, 0.0], [0.0, by, 0.0, 0.0], [0.0, 0.0, by, 0.0]])
    }

    /// Composes: first `first`, then `self`.
    pub(super) fn times(&self, first: &Self) -> Self {
        let of = |row: &[f64; 4], column: usize| (0..3).map(|k| row[k] * first.0[k][column]).sum::<f64>();
        Self(self.0.map(|row| [of(&row, 0), of(&row, 1), of(&row, 2), of(&row, 3) + row[3]]))
    }

    /// Returns where a point goes.
    pub(super) fn apply(&self, point: [f32; 3]) -> [f32; 3] {
        let [x, y, z] = point.map(f64::from);
        self.0.map(|[a, b, c, d]| (a * x + b * y + c * z + d) as f32)
    }

    /// Whether it turns the inside out.
    pub(super) fn mirrors(&self) -> bool {
        let [a, b, c] = self.0;
        let minor = |i: usize, j: usize| b[i] * c[j] - b[j] * c[i];
        a[0] * minor(1, 2) - a[1] * minor(0, 2) + a[2] * minor(0, 1) < 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_applied_first() {
        let moved = Transform::rows([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0]]);
        let scaled = Transform::scaled(2.0);
        assert_eq!(scaled.times(&moved).apply([1.0, 1.0, 1.0]), [4.0, 6.0, 8.0]);
        assert_eq!(moved.times(&scaled).apply([1.0, 1.0, 1.0]), [3.0, 4.0, 5.0]);
        assert_eq!(moved.times(&Transform::IDENTITY), moved);
        assert!(Transform::scaled(-1.0).mirrors() && !scaled.mirrors());
    }
}
