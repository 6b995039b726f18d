//! Binds `decode`, `preprocess` and `thumbnail`.

use numpy::{IntoPyArray, PyArray3, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::preprocess::{CLIP_MEAN, CLIP_STD, Preprocess};

use super::store::hex;
use super::{convert, detached};

/// Decodes a picture into upright RGB pixels, (height, width, 3).
#[pyfunction]
#[pyo3(signature = (image, *, at_least=None))]
fn decode<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    at_least: Option<(u32, u32)>,
) -> PyResult<Bound<'py, PyArray3<u8>>> {
    let source = convert::image(image)?;
    let picture = detached(py, || source.decode(at_least))?;
    let shape = [picture.height() as usize, picture.width() as usize, 3];
    picture.into_pixels().into_pyarray(py).reshape(shape)
}

/// Preprocesses one picture into a pixel tensor, (3, height, width), or a list into (n, 3, height, width).
#[pyfunction]
#[pyo3(signature = (image, *, resize="crop", size=(224, 224), resize_to=None, filter="bicubic", mean=CLIP_MEAN,
                    std=CLIP_STD, fill=[255, 255, 255], channels="rgb", center="down"))]
#[allow(clippy::too_many_arguments)] // Python's keywords
fn preprocess<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    resize: &str,
    size: (usize, usize),
    resize_to: Option<usize>,
    filter: &str,
    mean: [f32; 3],
    std: [f32; 3],
    fill: [u8; 3],
    channels: &str,
    center: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let settings = Preprocess::new(resize.parse()?, [size.0, size.1], mean, std)?
        .with_filter(filter.parse()?)
        .with_fill(fill)
        .with_channels(channels.parse()?)
        .with_center(center.parse()?);
    let settings = match resize_to {
        Some(side) => settings.with_resize_to(side)?,
        None => settings,
    };
    let (sources, single) = convert::images(image)?;
    let tensors = detached(py, || settings.load_all(&sources))?.into_pyarray(py);
    let (height, width) = settings.shape();
    if single {
        Ok(tensors.reshape([3, height, width])?.into_any())
    } else {
        Ok(tensors.reshape([sources.len(), 3, height, width])?.into_any())
    }
}

/// Encodes a reduced copy of a picture as the bytes of a JPEG file.
#[pyfunction]
#[pyo3(signature = (image, side=256, *, quality=None))]
fn thumbnail<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    side: u32,
    quality: Option<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let source = convert::image(image)?;
    Ok(PyBytes::new(py, &detached(py, || source.thumbnail(side, quality))?))
}

/// A picture as a JPEG or PNG file: its media type and its bytes.
#[pyfunction]
fn picture_file<'py>(py: Python<'py>, image: &Bound<'py, PyAny>) -> PyResult<(&'static str, Bound<'py, PyBytes>)> {
    let source = convert::image(image)?;
    let (media, bytes) = detached(py, || source.file())?;
    Ok((media, PyBytes::new(py, &bytes)))
}

/// The digest by which a picture is known in a catalog: 64 hexadecimal digits.
#[pyfunction]
fn picture_digest(py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<String> {
    let source = convert::image(image)?;
    Ok(hex(&detached(py, || source.digest())?))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(decode, module)?)?;
    module.add_function(wrap_pyfunction!(preprocess, module)?)?;
    module.add_function(wrap_pyfunction!(picture_file, module)?)?;
    module.add_function(wrap_pyfunction!(picture_digest, module)?)?;
    module.add_function(wrap_pyfunction!(thumbnail, module)?)
}
