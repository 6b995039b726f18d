//! Decodes TIFF, HEIC, AVIF and JPEG XL with Pillow. Python runs only for these files.

use std::sync::Arc;

use pyo3::exceptions::PyImportError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::picture::{Opened, Source, set_foreign_reader};

use super::convert;

fn open(format: &'static str, bytes: &[u8]) -> Result<Opened, String> {
    let told = move |py: Python<'_>, error: PyErr| {
        if error.is_instance_of::<PyImportError>(py) {
            error.value(py).to_string()
        } else {
            format!("damaged or cut off {format} data ({}); save it again from its original", error.value(py))
        }
    };
    Python::attach(|py| {
        let opened = || {
            let data = PyBytes::new(py, bytes);
            let module = py.import(intern!(py, "plushie_search._formats"))?;
            let image = module.call_method1(intern!(py, "open_picture"), (format, data))?;
            let size = image.getattr(intern!(py, "size"))?.extract()?;
            PyResult::Ok((image.unbind(), size))
        };
        let (image, size) = opened().map_err(|error| told(py, error))?;
        let decode = Box::new(move || {
            Python::attach(|py| {
                let source = convert::image(image.bind(py)).map_err(|error| told(py, error))?;
                let Source::Pixels { picture, .. } = source else {
                    return Err(format!("{format} could not be converted to pixels; convert it to PNG"));
                };
                Ok(Arc::unwrap_or_clone(picture))
            })
        });
        Ok(Opened { size, decode })
    })
}

pub(super) fn register() {
    set_foreign_reader(open);
}
