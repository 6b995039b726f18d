//! Reads STEP files with a registered reader of another library, which makes GLB files of them.

use std::sync::OnceLock;

use crate::mesh::{Triangle, glb};

/// Returns the GLB file of a STEP file: in meters, its third axis up. An error gives the cause and a cure.
pub type StepReader = fn(bytes: &[u8]) -> Result<Vec<u8>, String>;

static READER: OnceLock<StepReader> = OnceLock::new();

/// Registers the reader of STEP files; later calls have no effect.
pub fn set_step_reader(reader: StepReader) {
    READER.get_or_init(|| reader);
}

/// Returns whether it begins as a file of ISO 10303-21 does.
pub(super) fn is_step(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    text[..text.len().min(64)].trim_ascii_start().starts_with(b"ISO-10303-21;")
}

/// Reads the triangles of a STEP file, in millimeters.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    let Some(reader) = READER.get() else {
        return Err("STEP is not supported without a registered reader: export the part as STL".to_owned());
    };
    let triangles = glb::read(&reader(bytes)?)?;
    // The second axis of a GLB file is up, as it has been read; that of this one was not.
    Ok(triangles.into_iter().map(|triangle| triangle.map(|[x, y, z]| [x, z, -y].map(|at| 1000.0 * at))).collect())
}
