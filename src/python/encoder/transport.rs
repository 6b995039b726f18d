//! Networks on servers that Python code calls.

use std::sync::Arc;

use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::encoder::{Declared, Failure, Numbers, Output, Tensor, Transport};
use crate::error::Error;

use super::object::said;

/// A Python object that calls one network on a server.
struct Called {
    object: Py<PyAny>,
    address: String,
    batch: usize,
    requests: usize,
}

/// Returns the transport for a Python object with the attributes `address`, `batch` and `requests`, and the methods
/// `signature` and `infer`.
pub(super) fn transport(object: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Transport>> {
    let py = object.py();
    Ok(Arc::new(Called {
        address: object.getattr(intern!(py, "address"))?.str()?.to_string(),
        batch: object.getattr(intern!(py, "batch"))?.extract()?,
        requests: object.getattr(intern!(py, "requests"))?.extract()?,
        object: object.clone().unbind(),
    }))
}

impl Called {
    /// Runs `call` while attached to the interpreter.
    fn attached<T>(&self, call: impl for<'py> FnOnce(&Bound<'py, PyAny>) -> PyResult<T>) -> Result<T, Failure> {
        Python::attach(|py| {
            call(self.object.bind(py)).map_err(|raised| match said(py, &raised) {
                Some((reason, refused)) => Failure::Said { reason, refused },
                None => Failure::Raised(Error::Encoder { name: self.address.clone(), source: Box::new(raised) }),
            })
        })
    }
}

impl Transport for Called {
    fn address(&self) -> &str {
        &self.address
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn requests(&self) -> usize {
        self.requests
    }

    fn signature(&self) -> Result<(Vec<Declared>, Vec<Declared>), Failure> {
        type Ports = Vec<(String, String, Vec<i64>)>;
        let (inputs, outputs): (Ports, Ports) = self.attached(|object| object.call_method0("signature")?.extract())?;
        let declared = |ports: Ports| {
            ports.into_iter().map(|(name, datatype, shape)| Declared { name, datatype, shape }).collect()
        };
        Ok((declared(inputs), declared(outputs)))
    }

    fn infer(&self, inputs: &[Tensor<'_>], wanted: &str, most: usize) -> Result<Output, Failure> {
        self.attached(|object| {
            let py = object.py();
            let numpy = py.import(intern!(py, "numpy"))?;
            let tensors = PyDict::new(py);
            for Tensor { name, shape, numbers } in inputs {
                let dtype = match numbers {
                    Numbers::Floats(_) => "float32",
                    Numbers::Halves(_) => "float16",
                    Numbers::Longs(_) => "int64",
                    Numbers::Ints(_) => "int32",
                };
                let flat = numpy.call_method1("frombuffer", (PyBytes::new(py, numbers.bytes()), dtype))?;
                tensors.set_item(name, flat.call_method1("reshape", (shape,))?)?;
            }
            let output = object.call_method1("infer", (tensors, wanted, most))?;
            let output = numpy.call_method1("ascontiguousarray", (output, "float32"))?;
            let output = output.cast::<PyArrayDyn<f32>>()?.readonly();
            let shape = output.shape().iter().map(|&side| side as i64).collect();
            Ok(Output { shape, values: output.as_slice()?.to_vec() })
        })
    }
}
