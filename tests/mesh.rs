//! STL files that other programs wrote. They lie beside the checkout; without them there is nothing to test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use plushie_search::mesh::Mesh;

fn files(under: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(under) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("stl")) {
            found.push(path);
        }
    }
}

fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    env::var_os("PLUSHIE_SHARED").map_or_else(beside, PathBuf::from).join("assets/stl")
}

#[test]
fn reads_what_other_programs_wrote() {
    let mut found = Vec::new();
    files(&folder(), &mut found);
    if found.is_empty() {
        eprintln!("skipped: no STL files in {}", folder().display());
    }
    for path in found {
        let size = fs::metadata(&path).unwrap().len();
        match Mesh::read(&path) {
            Ok(mesh) => assert!((mesh.triangles().len() as u64) <= size / 50, "{}", path.display()),
            Err(error) => assert!(path.ends_with("empty.stl"), "{error}"),
        }
    }
}

#[test]
fn a_cube_is_a_cube() {
    let path = folder().join("edge_cases/unit_cube.STL");
    if !path.is_file() {
        return;
    }
    let mesh = Mesh::read(path).unwrap();
    assert_eq!(mesh.triangles().len(), 12);
    let (low, high) = mesh.bounds();
    assert_eq!([0, 1, 2].map(|axis| high[axis] - low[axis]), [1.0; 3]);
}

#[test]
fn a_missing_file_is_named() {
    let error = Mesh::read("no/such/part.stl").unwrap_err().to_string();
    assert!(error.starts_with("no/such/part.stl: "), "{error}");
}
