//! The geometry of a mesh in a few numbers that do not change if it is moved, turned or written anew.
//!
//! Area, volume and moments are exact integrals over the triangles, so that they do not depend on how a surface is cut
//! into triangles. The distances between points (the distribution D2 of Osada, Funkhouser, Chazelle and Dobkin, "Shape
//! Distributions", 2002) are those of fixed points, so that the same file always gives the same numbers.

use crate::mesh::edges::Edges;
use crate::mesh::{Mesh, Triangle};

/// Classes of distances.
pub const BINS: usize = 64;
/// Pairs of points whose distances are counted.
const PAIRS: usize = 1 << 15;
/// The longest distance that has a class, in root mean squares of the distances.
const LONGEST: f64 = 2.5;
/// How far the areas of faces, as vectors, may be from adding up to nothing in a closed surface, as a share of the area.
const OPEN: f64 = 1e-4;
/// The least skewness along each axis, and the least difference of two axes, that tell a shape from its mirror image.
const SKEWED: f64 = 1e-3;

type Point = [f64; 3];

/// The geometry of a mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Triangles.
    pub triangles: usize,
    /// The sides of the bounding box along x, y and z.
    pub size: [f64; 3],
    /// The area of the surface.
    pub area: f64,
    /// The volume inside, positive if faces look outwards; `None` if the surface is open.
    pub volume: Option<f64>,
    /// The standard deviations of the surface along its principal axes, largest first.
    pub spread: [f64; 3],
    /// 1 or -1: the mirror image has the other sign. 0 if the shape is its own mirror image, or nearly so.
    pub hand: i8,
    /// The square root of the share of distances in each of [`BINS`] classes.
    pub distances: Vec<f32>,
    /// What the mesh lacks: triangles that are left out, edges that a closed surface does not have, faces that look
    /// inwards.
    pub notes: Vec<String>,
}

impl Shape {
    /// Measures a mesh.
    pub fn of(mesh: &Mesh) -> Self {
        let (low, high) = mesh.bounds();
        let middle = [0, 1, 2].map(|k| f64::midpoint(low[k].into(), high[k].into()));
        let triangles = mesh.triangles();
        let faces = || triangles.iter().map(|triangle| Face::new(triangle, middle));
        let (mut area, mut around, mut vectors, mut volume) = (0.0, [0.0; 3], [0.0; 3], 0.0);
        for face in faces() {
            area += face.area;
            for k in 0..3 {
                around[k] += face.area * face.corners.iter().map(|corner| corner[k]).sum::<f64>() / 3.0;
                vectors[k] += face.normal[k];
            }
            let [a, b, c] = face.corners;
            volume += dot(a, cross(b, c)) / 6.0;
        }
        let center = around.map(|sum| sum / area);
        let mut moments = [[0.0; 3]; 3];
        for face in faces() {
            let [a, b, c] = face.corners.map(|corner| minus(corner, center));
            for (j, row) in moments.iter_mut().enumerate() {
                for (k, moment) in row.iter_mut().enumerate() {
                    let sums = (a[j] + b[j] + c[j]) * (a[k] + b[k] + c[k]);
                    *moment += face.area / 12.0 * (a[j] * a[k] + b[j] * b[k] + c[j] * c[k] + sums) / area;
                }
            }
        }
        let (squares, axes) = principal(moments);
        let spread = squares.map(|square| square.max(0.0).sqrt());
        let mut cubes = [0.0; 3];
        for face in faces() {
            for (cube, axis) in cubes.iter_mut().zip(&axes) {
                let [a, b, c] = face.corners.map(|corner| dot(minus(corner, center), *axis));
                *cube += face.area / 10.0 * complete(a, b, c) / area;
            }
        }
        let closed = dot(vectors, vectors).sqrt() <= OPEN * area;
        let mut notes = mesh.notes();
        let size = [0, 1, 2].map(|k| f64::from(high[k]) - f64::from(low[k]));
        notes.extend(Edges::of(triangles, size.into_iter().fold(0.0, f64::max)).notes());
        if closed && volume < 0.0 {
            notes.push("the faces look inwards: the volume is negative".to_owned());
        }
        Self {
            triangles: triangles.len(),
            size,
            area,
            volume: closed.then_some(volume),
            spread,
            hand: hand(spread, cubes, axes),
            distances: distances(triangles, middle, area, spread),
            notes,
        }
    }
}

struct Face {
    corners: [Point; 3],
    /// Half the cross product of two sides: the area is its length.
    normal: Point,
    area: f64,
}

impl Face {
    fn new(triangle: &Triangle, middle: Point) -> Self {
        let corners = triangle.map(|corner| minus(corner.map(f64::from), middle));
        let [a, b, c] = corners;
        let normal = cross(minus(b, a), minus(c, a)).map(|x| 0.5 * x);
        Self { corners, normal, area: dot(normal, normal).sqrt() }
    }
}

fn minus(p: Point, q: Point) -> Point {
    [p[0] - q[0], p[1] - q[1], p[2] - q[2]]
}

fn dot(p: Point, q: Point) -> f64 {
    p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
}

fn cross(p: Point, q: Point) -> Point {
    [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]]
}

/// Returns the sum of all products of three of the numbers, each combination once.
fn complete(a: f64, b: f64, c: f64) -> f64 {
    let (a2, b2, c2) = (a * a, b * b, c * c);
    a2 * a + b2 * b + c2 * c + a2 * (b + c) + b2 * (a + c) + c2 * (a + b) + a * b * c
}

/// Returns the eigenvalues of a symmetric matrix, largest first, and their unit vectors (Jacobi's method).
fn principal(mut m: [[f64; 3]; 3]) -> (Point, [Point; 3]) {
    let mut axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..30 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if m[p][q] == 0.0 {
                continue;
            }
            let theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let cos = 1.0 / (t * t + 1.0).sqrt();
            let sin = t * cos;
            for row in &mut m {
                (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
            }
            for k in 0..3 {
                (m[p][k], m[q][k]) = (cos * m[p][k] - sin * m[q][k], sin * m[p][k] + cos * m[q][k]);
                (axes[p][k], axes[q][k]) = (cos * axes[p][k] - sin * axes[q][k], sin * axes[p][k] + cos * axes[q][k]);
            }
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&a, &b| m[b][b].total_cmp(&m[a][a]));
    (order.map(|k| m[k][k]), order.map(|k| axes[k]))
}

/// Returns whether the principal axes, each pointed to where the surface reaches farther, are right-handed (1) or
/// left-handed (-1); 0 if one of them has no such side, or is not determined.
fn hand(spread: Point, cubes: Point, axes: [Point; 3]) -> i8 {
    let [e1, e2, e3] = spread;
    let apart = e1 - e2 > SKEWED * e1 && e2 - e3 > SKEWED * e1 && e3 > SKEWED * e1;
    let skewness = [0, 1, 2].map(|k| cubes[k] / (spread[k] * spread[k] * spread[k]));
    if !apart || skewness.iter().any(|skewness| skewness.abs() < SKEWED) {
        return 0;
    }
    let turned =
        dot(cross(axes[0], axes[1]), axes[2]) * skewness.iter().map(|skewness| skewness.signum()).product::<f64>();
    if turned > 0.0 { 1 } else { -1 }
}

/// Counts the distances between pairs of points that are spread evenly over the surface.
fn distances(triangles: &[Triangle], middle: Point, area: f64, spread: Point) -> Vec<f32> {
    let mut sums = Vec::with_capacity(triangles.len());
    let mut sum = 0.0;
    for triangle in triangles {
        sum += Face::new(triangle, middle).area;
        sums.push(sum);
    }
    // The mean square of a distance between two points is twice the sum of the variances.
    let longest = LONGEST * (2.0 * dot(spread, spread)).sqrt();
    let point = |at: f64, u: f64, v: f64| {
        let face = sums.partition_point(|sum| *sum < at * area).min(triangles.len() - 1);
        let [a, b, c] = Face::new(&triangles[face], middle).corners;
        let root = u.sqrt();
        [0, 1, 2].map(|k| (1.0 - root) * a[k] + root * (1.0 - v) * b[k] + root * v * c[k])
    };
    let mut counts = [0_u32; BINS];
    for i in 0..PAIRS {
        let at: [f64; 6] = std::array::from_fn(|axis| (0.5 + (i + 1) as f64 * STEPS[axis]).fract());
        let away = minus(point(at[0], at[1], at[2]), point(at[3], at[4], at[5]));
        let bin = (dot(away, away).sqrt() / longest * BINS as f64) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    counts.map(|count| (count as f32 / PAIRS as f32).sqrt()).to_vec()
}

/// The steps of a sequence of points that fill six dimensions evenly: powers of 1 / g with g the root of x^7 = x + 1
/// (Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018).
const STEPS: [f64; 6] = {
    let g = 1.112_775_684_278_705_4;
    let mut steps = [0.0; 6];
    let (mut power, mut axis) = (1.0, 0);
    while axis < 6 {
        power /= g;
        steps[axis] = power;
        axis += 1;
    }
    steps
};

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(triangles: &[Triangle]) -> Mesh {
        Mesh::new(triangles.to_vec()).unwrap()
    }

    /// A box with one corner at the origin, and one face of it raised to a point, which has no mirror symmetry.
    fn block(size: [f32; 3], raised: bool) -> Vec<Triangle> {
        let corner = |i: usize| [0, 1, 2].map(|axis| if i >> axis & 1 == 1 { size[axis] } else { 0.0 });
        let faces = [[0, 2, 3, 1], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5], [4, 5, 7, 6]];
        let quad = |[a, b, c, d]: [usize; 4]| [[corner(a), corner(b), corner(c)], [corner(a), corner(c), corner(d)]];
        let mut triangles: Vec<Triangle> = faces[..5].iter().flat_map(|face| quad(*face)).collect();
        if raised {
            let top = [0.2 * size[0], 0.35 * size[1], 1.7 * size[2]];
            let [a, b, c, d] = faces[5].map(corner);
            triangles.extend([[a, b, top], [b, c, top], [c, d, top], [d, a, top]]);
        } else {
            triangles.extend(quad(faces[5]));
        }
        triangles
    }

    fn mapped(triangles: &[Triangle], map: impl Fn([f32; 3]) -> [f32; 3]) -> Vec<Triangle> {
        triangles.iter().map(|triangle| triangle.map(&map)).collect()
    }

    #[test]
    fn a_box_has_the_moments_of_a_box() {
        let shape = Shape::of(&mesh(&block([1.0, 2.0, 3.0], false)));
        assert!((shape.area - 22.0).abs() < 1e-9 && (shape.volume.unwrap() - 6.0).abs() < 1e-9);
        assert_eq!((shape.size, shape.hand, shape.triangles), ([1.0, 2.0, 3.0], 0, 12));
        // Of faces at ±h across, and evenly between elsewhere.
        let variance = |a: f64, b: f64, c: f64| {
            (2.0 * b * c * a * a / 4.0 + 2.0 * (a * b + a * c) * a * a / 12.0) / (2.0 * (a * b + b * c + a * c))
        };
        let expected = [variance(3.0, 1.0, 2.0), variance(2.0, 1.0, 3.0), variance(1.0, 2.0, 3.0)].map(f64::sqrt);
        assert!(shape.spread.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9));
        assert_eq!(Shape::of(&mesh(&block([1.0, 2.0, 3.0], false)[..10])).volume, None);
    }

    #[test]
    fn motion_changes_nothing_and_mirroring_the_hand_alone() {
        let own = block([1.0, 2.0, 3.0], true);
        let shape = Shape::of(&mesh(&own));
        assert_ne!(shape.hand, 0);
        let (sin, cos) = 0.7_f32.sin_cos();
        let turned = Shape::of(&mesh(&mapped(&own, |[x, y, z]| [cos * x - sin * y + 5.0, sin * x + cos * y, z - 2.0])));
        let flipped = Shape::of(&mesh(&mapped(&own, |[x, y, z]| [-x, y, z])));
        for (other, hand) in [(&turned, shape.hand), (&flipped, -shape.hand)] {
            assert!(shape.spread.iter().zip(other.spread).all(|(one, other)| (one - other).abs() < 1e-5 * one));
            assert!((shape.area - other.area).abs() < 1e-5 * shape.area);
            assert_eq!(other.hand, hand);
        }
        assert!((flipped.volume.unwrap() + shape.volume.unwrap()).abs() < 1e-4);
        let far: f32 = shape.distances.iter().zip(&turned.distances).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!(far.sqrt() < 0.02, "{far}");
    }

    #[test]
    fn distances_are_those_of_points_in_a_naive_loop() {
        // A flat square: the mean distance of two points in it is 0.5214 of its side.
        let square = [[[0.0; 3], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]], [[0.0; 3], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]];
        let shape = Shape::of(&mesh(&square));
        let longest = LONGEST * (2.0_f64 / 6.0).sqrt();
        let middle = |bin: usize| (bin as f64 + 0.5) / BINS as f64 * longest;
        let mean: f64 = shape.distances.iter().enumerate().map(|(i, root)| f64::from(root * root) * middle(i)).sum();
        assert!((mean - 0.5214).abs() < 0.003, "{mean}");
        assert!((shape.distances.iter().map(|root| root * root).sum::<f32>() - 1.0).abs() < 1e-4);
    }
}
