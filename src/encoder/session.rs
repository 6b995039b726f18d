//! One ONNX Runtime session that any number of threads run at the same time, so that its weights are in memory once.
//!
//! `OrtApi::Run` may be called for one session from several threads: ONNX Runtime says so for the C API, and its own
//! bindings for Python and C# rely on it. The crate `ort` nevertheless asks for `&mut Session`, because providers for
//! other devices were seen to crash; [`Shared`] therefore calls the C function itself, and lets those wait in line.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::{self, NonNull};

use ort::AsPointer;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet};

/// A session and the right to run it from any thread.
pub(super) struct Shared(Session);

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// What goes in.
    pub(super) fn inputs(&self) -> &[Outlet] {
        self.0.inputs()
    }

    /// What comes out.
    pub(super) fn outputs(&self) -> &[Outlet] {
        self.0.outputs()
    }

    /// Runs the network and returns one of its outputs.
    pub(super) fn run(&self, inputs: &[(&str, SessionInputValue<'_>)], output: &str) -> ort::Result<DynValue> {
        let named = |name: &str| CString::new(name).map_err(|_| ort::Error::new("a name with a zero byte"));
        let names = inputs.iter().map(|(name, _)| named(name)).collect::<ort::Result<Vec<_>>>()?;
        let output = named(output)?;
        let name_pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let value_pointers: Vec<_> = inputs.iter().map(|(_, value)| value.ptr()).collect();
        let mut made = ptr::null_mut();
        // SAFETY: the session lives as long as `self`. Each array has as many pointers as the call is told, and what
        // they point to outlives the call: the C strings in `names` and `output`, the values in `inputs`. No pointer
        // to run options means the default ones. The session is not changed by running it, and `Run` may be called
        // by several threads.
        let status = unsafe {
            (ort::api().Run)(
                self.0.ptr().cast_mut(),
                ptr::null(),
                name_pointers.as_ptr(),
                value_pointers.as_ptr(),
                value_pointers.len(),
                [output.as_ptr()].as_ptr(),
                1,
                &mut made,
            )
        };
        // SAFETY: a status that this API has just returned, and that nobody else has.
        unsafe { ort::Error::result_from_status(status) }?;
        let made = NonNull::new(made).ok_or_else(|| ort::Error::new("the output is missing"))?;
        // SAFETY: a value that this call has made and nobody else owns; the memory is of this session.
        Ok(unsafe { DynValue::from_ptr(made, Some(self.0.allocator())) })
    }
}
