//! Reads any bytes as a mesh: STL, OBJ, PLY, GLB or 3MF.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plushie_search::mesh::{MAX_TRIANGLES, Mesh};

fuzz_target!(|data: &[u8]| {
    if let Ok(mesh) = Mesh::from_bytes("fuzz", data) {
        assert!((1..=MAX_TRIANGLES).contains(&mesh.triangles().len()));
        assert!(mesh.triangles().as_flattened().as_flattened().iter().all(|x| x.is_finite()));
    }
});
