//! The ONNX Runtime library: opened once for the process, from the file that the caller found.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::error::{Error, Result};

/// Never dropped: sessions may outlive every encoder that a caller still sees.
static RUNTIME: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Opens the ONNX Runtime library `library` for this process. Does nothing when it is open already.
///
/// # Errors
/// [`Error::Model`] when the file is missing, is no ONNX Runtime, is too old, or another one is already open.
pub fn load_runtime(library: &Path) -> Result<()> {
    let blame = |reason: String| Error::model("runtime", format!("{}: {reason}", library.display()));
    let path = library.canonicalize().map_err(|error| blame(format!("{error}; {INSTALL}")))?;
    if !path.is_file() {
        return Err(blame(format!("is not a file; {INSTALL}")));
    }
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((open, _)) = &*runtime {
        return match *open == path {
            true => Ok(()),
            false => Err(blame(format!("this process already runs {}; start another process", open.display()))),
        };
    }
    let builder = ort::init_from(&path).map_err(|error| match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            blame(format!("is version {version_str}, older than 1.{}; {INSTALL}", ort::MINOR_VERSION))
        }
        ort::LoadDynamicError::MissingApi { .. } => blame(format!("is a library, but not ONNX Runtime; {INSTALL}")),
        ort::LoadDynamicError::Dlopen { error, .. } => blame(format!("cannot be loaded: {error}; {INSTALL}")),
        error => blame(format!("{error}; {INSTALL}")),
    })?;
    let environment = builder
        .with_name("plushie_search")
        .with_telemetry(false)
        .build()
        .map_err(|error| blame(format!("does not start: {error}; {INSTALL}")))?;
    *runtime = Some((path, environment));
    Ok(())
}

const INSTALL: &str = "install a current one with: pip install --upgrade onnxruntime";

/// The open runtime.
pub(super) fn environment() -> Result<Environment> {
    let runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match &*runtime {
        Some((_, environment)) => Ok(environment.clone()),
        None => Err(Error::model("runtime", "ONNX Runtime is not loaded; call load_runtime with its library first")),
    }
}
