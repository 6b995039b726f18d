//! Reads triangles from files of 3D models: STL, OBJ, PLY, GLB and 3MF, and STEP by a registered reader. No other file is
//! opened.
//!
//! The format is told by the content, not by the file name. Normals are computed from the corners, because those in
//! files are often zero or wrong.
//!
//! ```
//! use plushie_search::mesh::Mesh;
//!
//! let text = "solid one\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 2 0 0\nvertex 0 2 0\n\
//!     endloop\nendfacet\nendsolid one\n";
//! let mesh = Mesh::from_bytes("one.stl", text.as_bytes())?;
//! assert_eq!(mesh.triangles(), [[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]);
//! assert_eq!(mesh.normal(0), [0.0, 0.0, 1.0]);
//! # Ok::<(), plushie_search::Error>(())
//! ```

mod edges;
mod glb;
mod obj;
mod ply;
pub mod shape;
mod step;
mod stl;
mod threemf;
mod transform;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

pub use self::step::{StepReader, set_step_reader};

/// The most triangles of a mesh.
pub const MAX_TRIANGLES: usize = 5_000_000;
/// The largest file, in bytes: that of the most triangles as ASCII.
const MAX_FILE: u64 = 1 << 30;
/// The largest coordinate: squares of larger ones would not fit a number.
const MAX_COORDINATE: f32 = 1e15;

/// Endings of the names of meshes, in lower case.
const ENDINGS: [&str; 7] = ["stl", "obj", "ply", "glb", "3mf", "step", "stp"];

/// Positions of the three corners of a triangle, counter-clockwise from outside.
pub type Triangle = [[f32; 3]; 3];

/// A triangle mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    triangles: Vec<Triangle>,
    /// Triangles of the file that are left out: without an area, and with a coordinate that is not finite.
    left_out: [usize; 2],
}

impl Mesh {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, and those of [`Mesh::from_bytes`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let found = fs::metadata(path).map_err(Error::io(path))?;
        // Before it is opened: opening a pipe would wait for a writer.
        if !found.is_file() {
            return Err(Error::mesh(path.display(), "not a regular file: give the path of a mesh"));
        }
        if found.len() > MAX_FILE {
            let reason = format!("the file has {} bytes: reduce the mesh to at most {MAX_FILE}", found.len());
            return Err(Error::mesh(path.display(), reason));
        }
        let mut bytes = Vec::with_capacity(found.len() as usize);
        File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(Error::io(path))?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }

    /// Parses the file `bytes`, named `name` in errors.
    ///
    /// # Errors
    /// [`Error::Mesh`] if it is no mesh, is truncated, holds no triangle with finite coordinates and an area or more than
    /// [`MAX_TRIANGLES`], or has coordinates beyond 1e15.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let read = match bytes {
            _ if ply::is_ply(bytes) => ply::read(bytes),
            _ if glb::is_glb(bytes) => glb::read(bytes),
            _ if bytes.starts_with(b"PK\x03\x04") => threemf::read(bytes),
            _ if step::is_step(bytes) => step::read(bytes),
            _ if obj::is_obj(bytes) => obj::read(bytes),
            _ => stl::read(bytes),
        };
        read.and_then(Self::new).map_err(|reason| Error::mesh(name, reason))
    }

    /// Makes a mesh of triangles.
    ///
    /// # Errors
    /// [`Error::Mesh`] as for [`Mesh::from_bytes`].
    pub fn from_triangles(name: &str, triangles: Vec<Triangle>) -> Result<Self> {
        Self::new(triangles).map_err(|reason| Error::mesh(name, reason))
    }

    /// Returns the mesh as a binary STL file.
    pub fn to_stl(&self) -> Vec<u8> {
        stl::write(self)
    }

    /// Checks triangles, and leaves out those that cannot be drawn.
    fn new(mut triangles: Vec<Triangle>) -> Result<Self, String> {
        if triangles.is_empty() {
            return Err("holds no triangles: export the part again as a mesh".to_owned());
        }
        let number = |triangle: &Triangle| triangle.as_flattened().iter().all(|x| x.is_finite());
        let all = triangles.len();
        triangles.retain(number);
        let infinite = all - triangles.len();
        if triangles.is_empty() {
            return Err("every triangle has a coordinate that is not finite: export the part again".to_owned());
        }
        let small = |triangle: &Triangle| triangle.as_flattened().iter().all(|x| x.abs() <= MAX_COORDINATE);
        if let Some(bad) = triangles.iter().position(|triangle| !small(triangle)) {
            return Err(format!("triangle {bad} has a coordinate beyond {MAX_COORDINATE:e}: scale the part down"));
        }
        triangles.retain(|triangle| squared(cross(triangle)) > 0.0);
        if triangles.is_empty() {
            return Err("no triangle has an area: export the part again as a mesh".to_owned());
        }
        let flat = all - infinite - triangles.len();
        Ok(Self { triangles, left_out: [flat, infinite] })
    }

    /// Tells how the mesh differs from its file: which triangles are left out.
    pub fn notes(&self) -> Vec<String> {
        let [flat, infinite] = self.left_out;
        let triangles = |count: usize| if count == 1 { "1 triangle".to_owned() } else { format!("{count} triangles") };
        let mut notes = Vec::new();
        if flat > 0 {
            notes.push(format!("{} without an area left out", triangles(flat)));
        }
        if infinite > 0 {
            notes.push(format!("{} with a coordinate that is not finite left out", triangles(infinite)));
        }
        notes
    }

    /// Returns whether `bytes` are those of a mesh, by their beginning and length.
    pub fn is_mesh(bytes: &[u8]) -> bool {
        let kinds = [ply::is_ply, glb::is_glb, stl::is_stl, obj::is_obj, threemf::is_3mf, step::is_step];
        kinds.iter().any(|is_kind| is_kind(bytes))
    }

    /// Returns the triangles, in the order of the file; never empty.
    pub fn triangles(&self) -> &[Triangle] {
        &self.triangles
    }

    /// Returns the unit normal of triangle `i`.
    ///
    /// # Panics
    /// If `i` is out of range.
    pub fn normal(&self, i: usize) -> [f32; 3] {
        normal(&self.triangles[i])
    }

    /// Returns the lowest and the highest corner of the bounding box.
    pub fn bounds(&self) -> ([f32; 3], [f32; 3]) {
        let mut bounds = ([f32::MAX; 3], [f32::MIN; 3]);
        for corner in self.triangles.as_flattened() {
            for (axis, &x) in corner.iter().enumerate() {
                bounds.0[axis] = bounds.0[axis].min(x);
                bounds.1[axis] = bounds.1[axis].max(x);
            }
        }
        bounds
    }
}

/// Returns the unit normal of a triangle, zero if its corners lie on one line.
fn normal(triangle: &Triangle) -> [f32; 3] {
    let n = cross(triangle);
    let length = squared(n).sqrt();
    if length > 0.0 { n.map(|x| (x / length) as f32) } else { [0.0; 3] }
}

/// Returns the normal of a triangle, twice as long as its area is large.
fn cross(triangle: &Triangle) -> [f64; 3] {
    let [a, b, c] = triangle.map(|corner| corner.map(f64::from));
    let minus = |p: [f64; 3], q: [f64; 3]| [p[0] - q[0], p[1] - q[1], p[2] - q[2]];
    let (u, v) = (minus(b, a), minus(c, a));
    [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
}

/// Returns the squared length of a vector.
fn squared(n: [f64; 3]) -> f64 {
    n[0] * n[0] + n[1] * n[1] + n[2] * n[2]
}

/// Returns whether the name of a file ends as that of a mesh.
pub fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Cuts a face into triangles that share its first corner.
fn fan(face: &[[f32; 3]], triangles: &mut Vec<Triangle>) {
    triangles.extend(face.windows(2).skip(1).map(|pair| [face[0], pair[0], pair[1]]));
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Triangle = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.5, 0.0]];

    #[test]
    fn normals_follow_the_right_hand() {
        let flat = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]];
        let mesh = Mesh::new(vec![A, [A[0], A[2], A[1]]]).unwrap();
        assert_eq!(mesh.normal(0), [0.0, 0.0, 1.0]);
        assert_eq!(mesh.normal(1), [0.0, 0.0, -1.0]);
        assert_eq!(normal(&flat), [0.0; 3]);
        assert_eq!(mesh.bounds(), ([0.0, 0.0, 0.0], [1.0, 1.5, 0.0]));
    }

    #[test]
    fn triangles_that_cannot_be_drawn_are_left_out_and_told() {
        let flat = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]];
        let bad = [[f32::NAN, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let mesh = Mesh::new(vec![flat, A, flat, bad]).unwrap();
        assert_eq!(mesh.triangles(), [A]);
        let told = ["2 triangles without an area left out", "1 triangle with a coordinate that is not finite left out"];
        assert_eq!(mesh.notes(), told);
        assert!(Mesh::new(vec![A]).unwrap().notes().is_empty());
        assert!(Mesh::new(vec![bad]).unwrap_err().contains("not finite"));
        assert!(Mesh::new(vec![flat]).unwrap_err().starts_with("no triangle has an area"));
        let far = [[0.0; 3], [1e16, 0.0, 0.0], [0.0, 1e16, 0.0]];
        assert!(Mesh::new(vec![A, far]).unwrap_err().starts_with("triangle 1 has a coordinate beyond 1e15"));
    }
}
