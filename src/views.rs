//! Meshes as pictures: a 3D model is known by its views.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::mesh::{Mesh, has_ending};
use crate::picture::{self, Picture, Source};
use crate::render::studio::{SIDE, Studio, View};

/// Returns whether a source is a mesh: a file by the ending of its name, bytes by that or by their content.
pub fn is_mesh(source: &Source) -> bool {
    match source {
        Source::Path(path) => has_ending(path),
        Source::Bytes { name, bytes } => {
            picture::sniff(&bytes[..bytes.len().min(64)]).is_none()
                && (has_ending(Path::new(name)) || Mesh::is_mesh(bytes))
        }
        Source::Pixels { .. } | Source::Part { .. } => false,
    }
}

/// Reads the mesh of a source.
///
/// # Errors
/// Those of [`Source::read`] and of [`Mesh::from_bytes`]; [`Error::Mesh`] if it is pixels or a part of a picture.
pub fn read_mesh(source: &Source) -> Result<Mesh> {
    match source {
        Source::Bytes { name, bytes } => Mesh::from_bytes(name, bytes),
        Source::Path(path) => Mesh::read(path),
        Source::Pixels { .. } | Source::Part { .. } => {
            Err(Error::mesh(source.name(), "pixels are no mesh: give the path or the bytes of a file"))
        }
    }
}

/// Draws the views of a mesh, in their order, on the threads of the current pool, and tells what was left out of it.
///
/// # Errors
/// Those of [`read_mesh`]; [`Error::Interrupted`] if it is called off.
pub fn pictures(source: &Source, views: &[View]) -> Result<(Vec<Source>, Vec<String>)> {
    let (mesh, cancel) = (read_mesh(source)?, Cancel::current());
    let studio = Studio::new(&mesh);
    let draw = |view: &View| {
        cancel.check()?;
        let picture = Picture::from_rgb(SIDE as u32, SIDE as u32, studio.draw(*view, SIDE))?;
        Ok(Source::Pixels { name: format!("{} ({view})", source.name()), picture: Arc::new(picture) })
    };
    let drawn = views.par_iter().with_max_len(1).map(draw).collect::<Result<_>>()?;
    Ok((drawn, mesh.notes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meshes_are_told_by_their_names_and_by_their_content() {
        let stl =
            b"solid a\nfacet normal 0 0 0\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n";
        let bytes = |name: &str, bytes: &[u8]| Source::Bytes { name: name.into(), bytes: bytes.into() };
        for (source, expected) in [
            (Source::Path("part.STL".into()), true),
            (Source::Path("part.jpg".into()), false),
            (bytes("image (bytes)", stl), true),
            (bytes("part.obj", b"anything"), true),
            (bytes("image (bytes)", b"anything"), false),
            (bytes("part.stl", b"\xff\xd8\xff\xe0"), false),
        ] {
            assert_eq!(is_mesh(&source), expected, "{source:?}");
        }
        let views = View::around(3);
        let (drawn, notes) = pictures(&bytes("a.stl", stl), &views).unwrap();
        assert!(notes.is_empty());
        assert_eq!(drawn[1].name(), format!("a.stl ({})", views[1]));
        assert_ne!(drawn[0].digest().unwrap(), drawn[1].digest().unwrap());
        let error = pictures(&bytes("part.obj", b"anything"), &views).unwrap_err().to_string();
        assert!(error.starts_with("mesh part.obj: "), "{error}");
    }
}
