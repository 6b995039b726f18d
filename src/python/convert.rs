//! Converts Python's pictures and texts to those of the core.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use numpy::{
    IntoPyArray, PyArray2, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyString, PyTuple};

use crate::error::{Error, Result};
use crate::ingest::in_memory;
use crate::picture::{OrientationTexts, Picture, Samples, Source};
use crate::vectors::Vectors;

use super::crop::PyCrop;
use super::error::argument;
use super::json::to_optional_text;
use super::{detached, patient};

/// The most bytes of pictures that are converted before they are encoded.
pub(super) const CONVERTED: u64 = 64 << 20;

const ACCEPTED: &str = "a picture is a path, the bytes of a file, an open binary file, a PIL image, a Crop, or an array of \
                        shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4)";

/// Converts one picture or many; returns whether it was one.
pub(super) fn images(value: &Bound<'_, PyAny>) -> PyResult<(Vec<Source>, bool)> {
    let (items, single) = pictures(value)?;
    let sources = items.iter().map(|(name, item)| source(item, name));
    Ok((sources.collect::<PyResult<_>>()?, single))
}

/// Splits one picture or many, without conversion, with their names; returns whether it was one.
#[allow(clippy::type_complexity)] // a list of pairs
pub(super) fn pictures<'py>(value: &Bound<'py, PyAny>) -> PyResult<(Vec<(String, Bound<'py, PyAny>)>, bool)> {
    Ok(match many(value)? {
        Some(items) => {
            (items.into_iter().enumerate().map(|(place, item)| (format!("image {place}"), item)).collect(), false)
        }
        None => (vec![("image".to_owned(), value.clone())], true),
    })
}

/// Encodes one picture or many; converts them in groups of limited memory.
pub(super) fn encoded(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    encode: impl Fn(&[Source]) -> Result<Vectors> + Sync,
) -> PyResult<Vectors> {
    let (items, single) = pictures(value)?;
    if single {
        let picture = image(value)?;
        return detached(py, || encode(&[picture]));
    }
    let mut vectors: Option<Vectors> = None;
    let mut items = items.into_iter().peekable();
    while vectors.is_none() || items.peek().is_some() {
        let sources = group(&mut items)?;
        py.check_signals()?;
        let some = patient(py, sources.len(), || encode(&sources))?;
        match &mut vectors {
            Some(vectors) => vectors.extend(&some),
            None => vectors = Some(some),
        }
    }
    Ok(vectors.expect("the first group is encoded even if it is empty"))
}

/// Converts the next pictures, a group of limited memory.
pub(super) fn group<'py>(items: &mut impl Iterator<Item = (String, Bound<'py, PyAny>)>) -> PyResult<Vec<Source>> {
    let (mut sources, mut bytes) = (Vec::new(), 0);
    while bytes < CONVERTED
        && let Some((name, item)) = items.next()
    {
        let source = source(&item, &name)?;
        bytes += in_memory(&source);
        sources.push(source);
    }
    Ok(sources)
}

/// Converts the names of `count` pictures, None for each that keeps its own.
pub(super) fn names(names: &Bound<'_, PyAny>, count: usize) -> PyResult<VecDeque<Option<String>>> {
    if names.is_none() {
        return Ok(VecDeque::new());
    }
    let names: VecDeque<Option<String>> = match sequence(names) {
        Some(names) => names.iter().map(|name| to_optional_text(name, "name")).collect::<PyResult<_>>()?,
        None => [to_optional_text(names, "name")?].into(),
    };
    match names.len() == count {
        true => Ok(names),
        false => Err(argument(format!("{count} images but {} names: give one for each, or None", names.len()))),
    }
}

/// Returns the elements of a value that is many pictures.
pub(super) fn many<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    if let Some(items) = sequence(value) {
        return Ok(Some(items));
    }
    match array_like(value)? {
        Some(array) if array.ndim() == 4 => array.try_iter()?.collect::<PyResult<_>>().map(Some),
        _ => Ok(None),
    }
}

/// Converts one picture.
pub(super) fn image(value: &Bound<'_, PyAny>) -> PyResult<Source> {
    source(value, "image")
}

/// Converts one text or many; returns whether it was one.
pub(super) fn texts(value: &Bound<'_, PyAny>) -> PyResult<(Vec<String>, bool)> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok((vec![text.to_str()?.to_owned()], true));
    }
    let column = || match array_like(value)? {
        Some(array) if array.ndim() == 1 => Ok(sequence(&array.call_method0(intern!(value.py(), "tolist"))?)),
        _ => PyResult::Ok(None),
    };
    let items = match sequence(value) {
        Some(items) => Some(items),
        None => column()?,
    };
    let items = items.ok_or_else(|| {
        PyTypeError::new_err(format!("a text is a str, and many are a list of str; got {}", type_name(value)))
    })?;
    let texts = items.iter().enumerate().map(|(i, item)| match item.cast::<PyString>() {
        Ok(text) => Ok(text.to_str()?.to_owned()),
        Err(_) => Err(PyTypeError::new_err(format!("text {i} is of type {}, not a str", type_name(item)))),
    });
    Ok((texts.collect::<PyResult<_>>()?, false))
}

/// Converts rows of vectors to an array of shape (n, dim).
pub(super) fn array(py: Python<'_>, vectors: Vectors) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let shape = [vectors.len(), vectors.dim()];
    vectors.into_inner().into_pyarray(py).reshape(shape)
}

/// Returns the elements of a list or tuple. Other iterables, such as a str, an array or a file, count as one value.
fn sequence<'py>(value: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyAny>>> {
    match value.cast::<PyList>() {
        Ok(list) => Some(list.iter().collect()),
        Err(_) => value.cast::<PyTuple>().ok().map(|tuple| tuple.iter().collect()),
    }
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "thing without a name".to_owned(), |name| name.to_string())
}

/// Converts one picture; `name` is its name in errors.
pub(super) fn source(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Source> {
    let py = value.py();
    let bytes = |kind: &str, bytes: &[u8]| Source::Bytes { name: format!("{name} ({kind})"), bytes: bytes.into() };
    if let Some(data) = bytes_like(value)? {
        return Ok(bytes("bytes", data.as_bytes()));
    }
    if let Ok(text) = value.cast::<PyString>()
        && ["http://", "https://", "data:"]
            .iter()
            .any(|scheme| text.to_str().is_ok_and(|text| text.starts_with(scheme)))
    {
        return Err(argument(format!("{name}: addresses are not fetched; give the bytes or a path")));
    }
    if let Ok(part) = value.cast::<PyCrop>() {
        return part.get().source(py, name);
    }
    if let Ok(path) = value.extract::<PathBuf>() {
        if path.as_os_str().is_empty() {
            return Err(argument(format!("{name}: the path is empty; give the path of a picture")));
        }
        return Ok(Source::Path(at_home(py, path)?));
    }
    if is_pil(value)? {
        return pil(value, name);
    }
    if let Some(array) = array_like(value)? {
        return pixels(&array, name);
    }
    if value.hasattr(intern!(py, "read"))? {
        let data = read_file_object(&open_file(value)?)?;
        let data = bytes_like(&data)?.ok_or_else(|| {
            let got = type_name(&data);
            argument(format!("{name}: read() gave {got}, not bytes; open the file with mode \"rb\""))
        })?;
        return Ok(match file_name(value)? {
            Some(file) => Source::Bytes { name: file, bytes: data.as_bytes().into() },
            None => bytes("file", data.as_bytes()),
        });
    }
    Err(PyTypeError::new_err(format!("{name} is of type {}; {ACCEPTED}", type_name(value))))
}

/// Returns the bytes of a bytes, bytearray or memoryview.
fn bytes_like<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let py = value.py();
    if let Ok(data) = value.cast::<PyBytes>() {
        return Ok(Some(data.clone()));
    }
    if let Ok(data) = value.cast::<PyByteArray>() {
        return Ok(Some(PyBytes::new(py, &data.to_vec())));
    }
    if value.is_instance_of::<PyMemoryView>() {
        return Ok(Some(value.call_method0(intern!(py, "tobytes"))?.cast_into()?));
    }
    Ok(None)
}

/// Returns the open file itself: an asynchronous upload has it in `file`.
fn open_file<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    let read = value.getattr(intern!(py, "read"))?;
    let asynchronous = py.import(intern!(py, "inspect"))?.call_method1(intern!(py, "iscoroutinefunction"), (read,))?;
    match value.getattr_opt(intern!(py, "file"))? {
        Some(file) if asynchronous.is_truthy()? => Ok(file),
        _ => Ok(value.clone()),
    }
}

/// Returns the name of an open file: of an upload, the file name given by its sender.
fn file_name(file: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let py = file.py();
    for attribute in [intern!(py, "filename"), intern!(py, "name")] {
        let name = file.getattr_opt(attribute)?.and_then(|name| name.extract::<String>().ok());
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Reads an open file from its beginning, like PIL, and restores its position if it has one. A file that cannot seek,
/// such as a pipe, is read from its position.
fn read_file_object<'py>(file: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = file.py();
    let (seek, tell) = (intern!(py, "seek"), intern!(py, "tell"));
    let read = || file.call_method0(intern!(py, "read"));
    let seekable = match file.getattr_opt(intern!(py, "seekable"))? {
        Some(seekable) if seekable.is_callable() => seekable.call0()?.is_truthy()?,
        _ => file.hasattr(seek)?,
    };
    if !seekable {
        return read();
    }
    let unsupported = py.import(intern!(py, "io"))?.getattr(intern!(py, "UnsupportedOperation"))?;
    let able = |done: PyResult<Bound<'py, PyAny>>| match done {
        Err(error) if error.matches(py, &unsupported)? => Ok(None),
        done => done.map(Some),
    };
    let position = match file.hasattr(tell)? {
        true => able(file.call_method0(tell))?,
        false => None,
    };
    if able(file.call_method1(seek, (0,)))?.is_none() {
        return read();
    }
    let data = read()?;
    if let Some(position) = position {
        file.call_method1(seek, (position,))?;
    }
    Ok(data)
}

/// Refuses a picture by its size, before it is converted or copied.
fn check_size(width: usize, height: usize, name: &str) -> PyResult<()> {
    let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    Picture::check_size(side(width), side(height)).map_err(|error| Error::argument(format!("{name}: {error}")).into())
}

/// Expands `~` or `~user` at the beginning of a path, like `plushie_search.paths`.
fn at_home(py: Python<'_>, path: PathBuf) -> PyResult<PathBuf> {
    if !path.as_os_str().as_encoded_bytes().starts_with(b"~") {
        return Ok(path);
    }
    py.import(intern!(py, "os.path"))?.call_method1(intern!(py, "expanduser"), (path.as_os_str(),))?.extract()
}

/// Returns whether it is a `PIL.Image.Image`, without importing PIL.
fn is_pil(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let pil = modules.call_method1(intern!(py, "get"), (intern!(py, "PIL.Image"),))?;
    if pil.is_none() { Ok(false) } else { value.is_instance(&pil.getattr(intern!(py, "Image"))?) }
}

/// Converts a PIL image, turned upright, with PIL's own conversion of its mode. The core composites alpha and reduces
/// 16 bits, so that the pixels are the same as those of the file.
fn pil(image: &Bound<'_, PyAny>, name: &str) -> PyResult<Source> {
    let py = image.py();
    let (width, height) = image.getattr(intern!(py, "size"))?.extract()?;
    check_size(width, height, &format!("{name} (PIL image)"))?;
    let mode: String = image.getattr(intern!(py, "mode"))?.extract()?;
    if mode == "I" || mode == "F" {
        return Err(argument(format!(
            "{name}: PIL mode {mode:?} does not say which number is white; convert it to \"L\" or \"RGB\" first"
        )));
    }
    let format: Option<String> =
        image.getattr_opt(intern!(py, "format"))?.map(|format| format.extract()).transpose()?.flatten();
    let mut upright = if format.as_deref() == Some("JXL") {
        // PIL's decoder has turned it already, and EXIF repeats that.
        image.clone()
    } else {
        py.import(intern!(py, "PIL.ImageOps"))?.call_method1(intern!(py, "exif_transpose"), (image,))?
    };
    let texts = match format.as_deref() {
        // An image as read from a file: others may have been turned already.
        Some("JPEG" | "MPO" | "PNG" | "WEBP") => orientation_texts(image)?,
        _ => OrientationTexts::default(),
    };
    if mode == "La" {
        upright = upright.call_method1(intern!(py, "convert"), ("LA",))?; // PIL knows no shorter way to RGBA.
    }
    let word = mode.starts_with("I;16");
    let mut alpha: bool = upright.getattr(intern!(py, "has_transparency_data"))?.extract()?;
    if alpha && mode == "RGBA" && format.as_deref() == Some("BMP") {
        // Many programs write a BMP with an alpha of 0 everywhere, which means opaque.
        let extremes =
            upright.call_method1(intern!(py, "getchannel"), ("A",))?.call_method0(intern!(py, "getextrema"))?;
        alpha = extremes.extract::<(u8, u8)>()? != (0, 0);
    }
    let (converted, channels) = match (word, alpha) {
        (true, _) => (upright, 1),
        (false, true) => (upright.call_method1(intern!(py, "convert"), ("RGBA",))?, 4),
        (false, false) => (upright.call_method1(intern!(py, "convert"), ("RGB",))?, 3),
    };
    let (width, height): (u32, u32) = converted.getattr(intern!(py, "size"))?.extract()?;
    let data = converted.call_method0(intern!(py, "tobytes"))?;
    let data = data.cast::<PyBytes>()?.as_bytes();
    let samples = if word {
        let word = if mode == "I;16B" { u16::from_be_bytes } else { u16::from_le_bytes };
        Samples::Words(data.as_chunks().0.iter().copied().map(word).collect())
    } else {
        Samples::Bytes(data.to_vec())
    };
    match picture(py, width as usize, height as usize, channels, samples, format!("{name} (PIL image)"))? {
        Source::Pixels { name, picture } => {
            let upright = detached(py, || Ok(Arc::unwrap_or_clone(picture).oriented(&texts)))?;
            Ok(Source::Pixels { name, picture: Arc::new(upright) })
        }
        other => Ok(other),
    }
}

/// Returns the orientation texts of a PIL image, if PIL found no orientation itself.
fn orientation_texts(image: &Bound<'_, PyAny>) -> PyResult<OrientationTexts<'static>> {
    let py = image.py();
    let exif = image.call_method0(intern!(py, "getexif"))?;
    if exif.contains(0x112)? {
        return Ok(OrientationTexts::default());
    }
    let info = image.getattr(intern!(py, "info"))?;
    let text = |key: &str| -> PyResult<Option<Cow<'static, [u8]>>> {
        let value = info.call_method1(intern!(py, "get"), (key,))?;
        if let Ok(text) = value.cast::<PyString>() {
            return Ok(Some(Cow::Owned(text.to_string_lossy().into_owned().into_bytes())));
        }
        Ok(bytes_like(&value)?.map(|bytes| Cow::Owned(bytes.as_bytes().to_vec())))
    };
    let xmp = match text("xmp")? {
        Some(xmp) => Some(xmp),
        None => text("XML:com.adobe.xmp")?,
    };
    Ok(OrientationTexts { xmp, app1: text("Raw profile type APP1")?, raw_xmp: text("Raw profile type xmp")? })
}

/// Converts an array, or an object with `__array__`.
fn array_like<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyUntypedArray>>> {
    let py = value.py();
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return Ok(Some(array.clone()));
    }
    if is_pil(value)? || !value.hasattr(intern!(py, "__array__"))? {
        return Ok(None);
    }
    let array = py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "asarray"), (value,))?;
    Ok(Some(array.cast_into()?))
}

fn pixels(array: &Bound<'_, PyUntypedArray>, name: &str) -> PyResult<Source> {
    let py = array.py();
    let refuse = |reason: &str| {
        let (shape, dtype) = (array.getattr(intern!(py, "shape"))?, array.dtype());
        Err(argument(format!("{name} is an array of shape {shape:?} and type {dtype}: {reason}; {ACCEPTED}")))
    };
    let (height, width, channels) = match *array.shape() {
        [height, width] => (height, width, 1),
        [height, width, channels @ (1 | 3 | 4)] => (height, width, channels),
        [1 | 3 | 4, _, _] => return refuse("its channels come first, move them with numpy.moveaxis(array, 0, -1)"),
        [_, _, _, _] => return refuse("one picture was expected here, not a batch"),
        _ => return refuse("this is no shape of a picture"),
    };
    if height == 0 || width == 0 {
        return refuse("it has no pixels");
    }
    let kind = char::from(array.dtype().kind());
    let (name, size) = (format!("{name} (array)"), array.dtype().itemsize());
    check_size(width, height, &name)?;
    let samples = match (kind, size) {
        ('u', 1) => Samples::Bytes(contiguous(array, "uint8")?),
        ('u', 2) => Samples::Words(contiguous(array, "uint16")?),
        ('f', _) => Samples::Floats(contiguous(array, "float32")?),
        _ => return refuse("numbers are uint8, uint16, or floats from 0 to 1, convert them with astype"),
    };
    picture(py, width, height, channels, samples, name)
}

/// Copies in C order and native byte order.
fn contiguous<T: numpy::Element + Clone>(array: &Bound<'_, PyUntypedArray>, dtype: &str) -> PyResult<Vec<T>> {
    let py = array.py();
    let array = py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "ascontiguousarray"), (array, dtype))?;
    Ok(array.cast::<PyArrayDyn<T>>()?.readonly().as_slice()?.to_vec())
}

fn picture(
    py: Python<'_>,
    width: usize,
    height: usize,
    channels: usize,
    samples: Samples,
    name: String,
) -> PyResult<Source> {
    let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let picture = detached(py, || {
        Picture::from_samples(side(width), side(height), channels, samples)
            .map_err(|error| Error::argument(format!("{name}: {error}")))
    })?;
    Ok(Source::Pixels { name, picture: Arc::new(picture) })
}
