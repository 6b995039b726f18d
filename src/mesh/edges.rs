//! Counts the edges at which a surface is open, branches or turns its faces over.

use crate::mesh::Triangle;

/// The share of the longest side of a mesh by which the places of one corner may differ, as after rounding.
const NEAR: f64 = 1e-6;
/// The bit of a key that tells in which direction a triangle goes along the edge.
const WAY: u64 = 1;

/// Edges that a closed surface does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    /// Edges of one triangle alone.
    open: usize,
    /// Edges of more than two triangles.
    branching: usize,
    /// Edges along which both triangles go in one direction: one of them faces inwards.
    turned: usize,
}

impl Edges {
    /// Looks at the edges between corners, which are one if their places on a fine grid are.
    pub(super) fn of(triangles: &[Triangle], longest: f64) -> Self {
        let step = NEAR * longest;
        // Sorted keys of 8 bytes take less memory than a table: 120 MB for the most triangles.
        let mut keys: Vec<u64> = Vec::with_capacity(3 * triangles.len());
        for triangle in triangles {
            let corners = triangle.map(|corner| hash(&corner, step));
            let edges = [0, 1, 2].map(|i| (corners[i], corners[(i + 1) % 3]));
            keys.extend(edges.into_iter().filter(|(from, to)| from != to).map(|(from, to)| key(from, to)));
        }
        keys.sort_unstable();
        let mut edges = Self::default();
        for edge in keys.chunk_by(|one, other| one | WAY == other | WAY) {
            let forward = edge.iter().filter(|key| *key & WAY == WAY).count();
            match edge.len() {
                1 => edges.open += 1,
                2 => edges.turned += usize::from(forward != 1),
                _ => edges.branching += 1,
            }
        }
        edges
    }

    /// Tells what the surface is not.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = [
            (self.open, "belongs", "belong", "to one triangle alone: the surface is open"),
            (self.branching, "belongs", "belong", "to more than two triangles: the surface has no one inside"),
            (self.turned, "lies", "lie", "between faces that look to different sides"),
        ];
        let note = |(count, one, many, text): (usize, &str, &str, &str)| match count {
            0 => None,
            1 => Some(format!("1 edge {one} {text}")),
            _ => Some(format!("{count} edges {many} {text}")),
        };
        told.into_iter().filter_map(note).collect()
    }
}

/// Hashes the nearest place of a grid.
fn hash(corner: &[f32; 3], step: f64) -> u64 {
    let place = |x: f32| (f64::from(x) / step).round() as i64 as u64;
    corner.iter().fold(0x9E37_79B9_7F4A_7C15, |hash, &x| scrambled(hash ^ place(x)))
}

/// Returns the key of an edge, which both directions share but for [`WAY`].
fn key(from: u64, to: u64) -> u64 {
    let edge = scrambled(from.wrapping_add(to)) & !WAY;
    if from < to { edge | WAY } else { edge }
}

/// The finalizer of splitmix64: each bit depends on all.
fn scrambled(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tetrahedron, its faces outwards.
    const SOLID: [Triangle; 4] = {
        let (o, x, y, z) = ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        [[o, y, x], [o, x, z], [o, z, y], [x, y, z]]
    };

    #[test]
    fn edges_that_are_not_between_two_faces_are_counted() {
        assert_eq!(Edges::of(&SOLID, 1.0), Edges::default());
        assert!(Edges::of(&SOLID, 1.0).notes().is_empty());
        assert_eq!(Edges::of(&SOLID[1..], 1.0), Edges { open: 3, ..Edges::default() });
        let [o, x, z] = SOLID[1];
        let turned = [SOLID[0], [o, z, x], SOLID[2], SOLID[3]];
        assert_eq!(Edges::of(&turned, 1.0), Edges { turned: 3, ..Edges::default() });
        let fin = [x, z, [1.0, 1.0, 1.0]];
        let branching = [SOLID[0], SOLID[1], SOLID[2], SOLID[3], fin];
        assert_eq!(Edges::of(&branching, 1.0), Edges { open: 2, branching: 1, turned: 0 });
        let told = ["2 edges belong to one triangle alone: the surface is open", "1 edge belongs to more than two"];
        for (note, told) in Edges::of(&branching, 1.0).notes().iter().zip(told) {
            assert!(note.starts_with(told), "{note}");
        }
    }

    #[test]
    fn corners_that_were_rounded_apart_are_one() {
        let moved = SOLID.map(|triangle| triangle.map(|corner| corner.map(|x| x - 1e-7)));
        let mixed = [SOLID[0], moved[1], SOLID[2], moved[3]];
        assert_eq!(Edges::of(&mixed, 1.0), Edges::default());
        assert_eq!(Edges::of(&mixed, 0.01).open, 8);
        let sliver = [[0.0, 0.0, 0.0], [0.0, 0.0, 1e-8], [1.0, 0.0, 0.0]];
        assert_eq!(Edges::of(&[sliver], 1.0), Edges::default());
    }
}
