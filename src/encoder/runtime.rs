//! The ONNX Runtime library: opened once for the process, from the file that the caller found.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::error::{Error, Result};

/// Never dropped: sessions may outlive every encoder that a caller still sees.
static RUNTIME: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

thread_local! {
    /// The last error that the runtime logged on this thread: it often says more than the one that it returns.
    static LOGGED: RefCell<String> = RefCell::default();
}

/// Opens the ONNX Runtime library `library` for this process. Does nothing when it is open already.
///
/// From version 1.29 on it reports to its makers that it was opened, before a caller can forbid it, unless the environment
/// variable `ORT_DISABLE_TELEMETRY` is 1; the Python package sets it. Everything else that it would report is forbidden
/// here.
///
/// # Errors
/// [`Error::Runtime`] when the file is missing, is no ONNX Runtime, is too old, or another one is already open.
pub fn load_runtime(library: &Path) -> Result<()> {
    let blame = |reason: String| Error::runtime(format!("{}: {reason}", library.display()));
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
        .with_logger(Arc::new(|level, _, _, _, message| {
            if matches!(level, LogLevel::Error | LogLevel::Fatal) {
                // Nothing may unwind through the runtime, not even at the end of a thread.
                let _ =
                    LOGGED.try_with(|logged| logged.try_borrow_mut().map(|mut logged| *logged = message.to_string()));
            }
        }))
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
        None => Err(Error::runtime("not loaded; call load_runtime with its library first")),
    }
}

/// The open library, for messages.
pub(super) fn library() -> String {
    let runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    runtime.as_ref().map_or_else(|| "no library".into(), |(path, _)| path.display().to_string())
}

/// Returns the messages that the runtime has logged on this thread since the last call.
pub(super) fn logged() -> String {
    LOGGED.take()
}

/// Loads the library that `PLUSHIE_ONNXRUNTIME` names, and returns whether it names one.
#[cfg(test)]
pub(crate) fn is_loaded_for_tests() -> bool {
    let Some(library) = std::env::var_os("PLUSHIE_ONNXRUNTIME") else {
        eprintln!("skipped: PLUSHIE_ONNXRUNTIME does not name an ONNX Runtime library");
        return false;
    };
    load_runtime(Path::new(&library)).unwrap();
    true
}
