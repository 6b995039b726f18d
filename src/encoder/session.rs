//! One ONNX Runtime session that any number of threads run at the same time, so that its weights are in memory once.
//!
//! `OrtApi::Run` may be called for one session from several threads: ONNX Runtime says so for the C API, and its own
//! bindings for Python and C# rely on it. The crate `ort` nevertheless asks for `&mut Session`, because providers for
//! GPUs were seen to crash. So [`Shared`] calls the C functions itself, and on a device with memory of its own only one
//! thread at a time: the others copy what goes in meanwhile.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Mutex, PoisonError};

use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor};

use crate::encoder::device::Place;

/// A session and the right to run it from any thread.
pub(super) struct Shared {
    session: Session,
    place: Place,
    /// Whose turn it is, on a device where one runs at a time.
    turn: Mutex<()>,
}

impl Shared {
    pub(super) fn new(session: Session, place: Place) -> Self {
        Self { session, place, turn: Mutex::default() }
    }

    /// The inputs.
    pub(super) fn inputs(&self) -> &[Outlet] {
        self.session.inputs()
    }

    /// The outputs.
    pub(super) fn outputs(&self) -> &[Outlet] {
        self.session.outputs()
    }

    /// Memory for `len` numbers that the device copies from fast: pinned, if it is a GPU.
    pub(super) fn pinned(&self, len: usize) -> Option<Tensor<f32>> {
        let (Place::Cuda(number) | Place::TensorRt(number)) = self.place else { return None };
        let (device, kind) = (AllocationDevice::CUDA_PINNED, AllocatorType::Device);
        let info = MemoryInfo::new(device, number as i32, kind, MemoryType::CPUInput).ok()?;
        let allocator = Allocator::new(&self.session, info).ok()?;
        Tensor::new(&allocator, [len]).ok()
    }

    /// Runs the network and returns one of its outputs, in memory of the processor.
    pub(super) fn run(&self, inputs: &[(&str, SessionInputValue<'_>)], output: &str) -> ort::Result<DynValue> {
        if self.place.is_apart() { self.run_bound(inputs, output) } else { self.run_in_place(inputs, output) }
    }

    fn run_in_place(&self, inputs: &[(&str, SessionInputValue<'_>)], output: &str) -> ort::Result<DynValue> {
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
                self.session.ptr().cast_mut(),
                ptr::null(),
                name_pointers.as_ptr(),
                value_pointers.as_ptr(),
                value_pointers.len(),
                [output.as_ptr()].as_ptr(),
                1,
                &mut made,
            )
        };
        // SAFETY: a status that this API has just returned, and that nothing else has.
        unsafe { ort::Error::result_from_status(status) }?;
        // SAFETY: a value that this call has made and nothing else owns.
        unsafe { self.own(made) }
    }

    /// Copies what goes in, waits for its turn, runs.
    fn run_bound(&self, inputs: &[(&str, SessionInputValue<'_>)], output: &str) -> ort::Result<DynValue> {
        let mut binding = self.session.create_binding()?;
        for (name, value) in inputs {
            let name = CString::new(*name).map_err(|_| ort::Error::new("a name with a zero byte"))?;
            // `IoBinding::bind_input` copies borrowed values first, because they might not live as long as the binding,
            // and waits for itself in doing so.
            // SAFETY: the binding lives until the end of this function, and the value longer.
            let status = unsafe { (ort::api().BindInput)(binding.ptr().cast_mut(), name.as_ptr(), value.ptr()) };
            // SAFETY: a status that this API has just returned, and that nothing else has.
            unsafe { ort::Error::result_from_status(status) }?;
        }
        let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        binding.bind_output_to_device(output, &host)?;
        binding.synchronize_inputs()?;
        {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: session and binding live until the call returns, the binding is the session's, and nothing else
            // runs it now. No pointer to run options means the default ones.
            let status =
                unsafe { (ort::api().RunWithBinding)(self.session.ptr().cast_mut(), ptr::null(), binding.ptr()) };
            // SAFETY: a status that this API has just returned, and that nothing else has.
            unsafe { ort::Error::result_from_status(status) }?;
        }
        binding.synchronize_outputs()?;
        self.bound_output(&binding)
    }

    /// The only output that was bound.
    fn bound_output(&self, binding: &IoBinding) -> ort::Result<DynValue> {
        let allocator = Allocator::default();
        let (mut values, mut count) = (ptr::null_mut(), 0);
        // SAFETY: binding and allocator live until the call returns, which writes an array and its length.
        let status = unsafe {
            (ort::api().GetBoundOutputValues)(binding.ptr(), allocator.ptr().cast_mut(), &mut values, &mut count)
        };
        // SAFETY: a status that this API has just returned, and that nothing else has.
        unsafe { ort::Error::result_from_status(status) }?;
        if values.is_null() || count == 0 {
            return Err(ort::Error::new("the output is missing"));
        }
        // SAFETY: an array of `count` pointers to values that the caller owns, in memory of the allocator, which gets
        // it back once they are copied out. One output was bound, so there is no other value to release.
        unsafe {
            let first = slice::from_raw_parts(values, count)[0];
            allocator.free(values);
            self.own(first)
        }
    }

    /// Takes a value over.
    ///
    /// # Safety
    /// It must be null, or a value that the session made and nothing else owns.
    unsafe fn own(&self, value: *mut ort::sys::OrtValue) -> ort::Result<DynValue> {
        let value = NonNull::new(value).ok_or_else(|| ort::Error::new("the output is missing"))?;
        // SAFETY: as this function's.
        Ok(unsafe { DynValue::from_ptr(value, Some(self.session.allocator())) })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ort::value::{TensorRef, ValueType};

    use super::*;
    use crate::encoder::runtime;

    /// The binding of a GPU works on the processor, too, where it must change nothing.
    #[test]
    fn bound_inputs_and_outputs_give_the_same_bits() {
        if !runtime::is_loaded_for_tests() {
            return;
        }
        let network =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("python/plushie_search/models/plushie-mini/image.onnx");
        let environment = runtime::environment().unwrap();
        let session = Session::builder(&environment).unwrap().commit_from_file(network).unwrap();
        let shared = Shared::new(session, Place::Cpu);
        assert!(shared.pinned(10).is_none());
        let (name, output) = (shared.inputs()[0].name().to_string(), shared.outputs()[0].name().to_string());
        let ValueType::Tensor { shape, .. } = shared.inputs()[0].dtype().clone() else { panic!("no tensor") };
        let side = shape[2] as usize;
        for rows in [1, 3] {
            let pixels: Vec<f32> = (0..rows * 3 * side * side).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
            let value = || TensorRef::from_array_view(([rows, 3, side, side], &pixels[..])).unwrap();
            let plain = shared.run_in_place(&[(name.as_str(), value().into())], &output).unwrap();
            let bound = shared.run_bound(&[(name.as_str(), value().into())], &output).unwrap();
            assert_eq!(plain.shape(), bound.shape());
            let numbers = |value: &DynValue| value.try_extract_tensor::<f32>().unwrap().1.to_vec();
            assert_eq!(numbers(&plain), numbers(&bound));
            assert_eq!(numbers(&plain).len() % rows, 0);
        }
        let nothing = shared.run_bound(&[], &output).unwrap_err();
        assert!(shared.run_in_place(&[], &output).is_err() && !nothing.to_string().is_empty());
        let wrong = TensorRef::from_array_view(([1, 1], &[0.0_f32][..])).unwrap();
        assert!(shared.run_bound(&[(name.as_str(), wrong.into())], &output).is_err());
    }
}
