//! The encoder without Python, on a network small enough to compute by hand and to write down byte by byte.
//!
//! Needs an ONNX Runtime library: its path is in the environment variable `PLUSHIE_ONNXRUNTIME`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use plushie_search::cancel::cancellable;
use plushie_search::encoder::{Encode, Encoder, Looks, Options, each_image, load_runtime};
use plushie_search::error::Error;
use plushie_search::model::Model;
use plushie_search::picture::{Picture, Source};

/// Means of red, green and blue times these are a picture's vector.
const WEIGHTS: [[f32; 4]; 3] = [[1.0, 0.0, 0.5, -1.0], [0.0, 2.0, 0.25, 1.0], [-1.0, 0.0, 0.5, 3.0]];

const MANIFEST: &str = r#"{"format": 1, "name": "tiny", "version": "1", "dimension": 4, "image": {"file": "image.onnx",
    "preprocess": {"resize": "squash", "size": [4, 4], "filter": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]}}}"#;

/// A field of a protocol buffer: a number, or bytes.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn bytes(field: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let length = u16::try_from(value.len()).unwrap();
    [&[field << 3 | 2, length as u8 | 0x80, (length >> 7) as u8], value].concat()
}

/// A float tensor that goes in or out; -1 stands for the batch.
fn value(name: &str, shape: &[i8]) -> Vec<u8> {
    let dimension = |&size: &i8| if size < 0 { bytes(1, bytes(2, "batch")) } else { bytes(1, number(1, size as u8)) };
    let shape: Vec<u8> = shape.iter().flat_map(dimension).collect();
    [bytes(1, name), bytes(2, bytes(1, [number(1, 1), bytes(2, shape)].concat()))].concat()
}

/// `image_embeds = ReduceMean(pixel_values, height and width) x weights`, as an ONNX file.
fn network() -> Vec<u8> {
    let axes = [bytes(1, "axes"), number(8, 2), number(8, 3), vec![0xa0, 1, 7]].concat();
    let keep = [bytes(1, "keepdims"), number(3, 0), vec![0xa0, 1, 2]].concat();
    let mean = [bytes(1, "pixel_values"), bytes(2, "means"), bytes(4, "ReduceMean"), bytes(5, axes), bytes(5, keep)];
    let product = [bytes(1, "means"), bytes(1, "weights"), bytes(2, "image_embeds"), bytes(4, "MatMul")];
    let raw: Vec<u8> = WEIGHTS.as_flattened().iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let weights = [number(1, 3), number(1, 4), number(2, 1), bytes(8, "weights"), bytes(9, raw)];
    let graph = [
        bytes(1, mean.concat()),
        bytes(1, product.concat()),
        bytes(2, "tiny"),
        bytes(5, weights.concat()),
        bytes(11, value("pixel_values", &[-1, 3, 4, 4])),
        bytes(12, value("image_embeds", &[-1, 4])),
    ];
    [number(1, 8), bytes(8, number(2, 13)), bytes(7, graph.concat())].concat()
}

fn write(dir: &Path, manifest: &str) -> Model {
    fs::write(dir.join("model.json"), manifest).unwrap();
    fs::write(dir.join("image.onnx"), network()).unwrap();
    Model::open(dir).unwrap()
}

/// The ONNX Runtime library, or the reason why a test does nothing.
fn runtime() -> Option<PathBuf> {
    let library = std::env::var_os("PLUSHIE_ONNXRUNTIME").map(PathBuf::from);
    if library.is_none() {
        eprintln!("skipped: set PLUSHIE_ONNXRUNTIME to the path of an ONNX Runtime library");
    }
    library
}

fn open(threads: usize) -> Option<(tempfile::TempDir, Encoder)> {
    load_runtime(&runtime()?).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let encoder =
        Encoder::open(write(dir.path(), MANIFEST), &Options { threads: Some(threads), ..Options::default() }).unwrap();
    Some((dir, encoder))
}

fn plain(name: &str, color: [u8; 3]) -> Source {
    let picture = Picture::from_rgb(6, 5, color.repeat(30)).unwrap();
    Source::Pixels { name: name.into(), picture: Arc::new(picture) }
}

fn by_hand(color: [u8; 3]) -> Vec<f32> {
    let vector: Vec<f32> = (0..4).map(|i| (0..3).map(|c| f32::from(color[c]) / 255.0 * WEIGHTS[c][i]).sum()).collect();
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.iter().map(|v| v / length).collect()
}

fn assert_close(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    assert!(left.iter().zip(right).all(|(l, r)| (l - r).abs() < 1e-6), "{left:?} is not {right:?}");
}

#[test]
fn vectors_are_as_computed_by_hand() {
    let Some((_dir, encoder)) = open(2) else { return };
    let colors: Vec<[u8; 3]> = (0..20).map(|i| [255 - i * 3, i * 11, 7]).collect();
    let sources: Vec<Source> = colors.iter().map(|&color| plain("plain", color)).collect();
    let vectors = encoder.images(&sources).unwrap();
    assert_eq!((vectors.len(), vectors.dim(), encoder.about().dim), (20, 4, 4));
    for (row, &color) in vectors.rows().zip(&colors) {
        assert_close(row, &by_hand(color));
    }
    assert!(encoder.images(&[]).unwrap().is_empty());
}

#[test]
fn a_bad_picture_spoils_no_other() {
    let Some((_dir, encoder)) = open(2) else { return };
    let bad = Source::Bytes { name: "bad.jpg".into(), bytes: Arc::from(&b"no picture"[..]) };
    let black = plain("black", [0, 0, 0]);
    let sources = [plain("red", [255, 0, 0]), bad.clone(), black, plain("blue", [0, 0, 255])];
    let rows = each_image(&[&encoder], &sources, None, Looks { crops: false, views: 20 }).unwrap();
    assert_close(rows[0].as_ref().unwrap().vectors[0].row(0), &by_hand([255, 0, 0]));
    assert!(rows[1].as_ref().unwrap_err().to_string().starts_with("picture bad.jpg: "));
    let nowhere = rows[2].as_ref().unwrap_err().to_string();
    assert!(
        nowhere.starts_with("model tiny: image.onnx: gave NaN, infinity or only zeros for picture black"),
        "{nowhere}"
    );
    assert_close(rows[3].as_ref().unwrap().vectors[0].row(0), &by_hand([0, 0, 255]));
    let error = encoder.images(&[plain("red", [255, 0, 0]), bad]).unwrap_err();
    assert!(error.to_string().starts_with("picture bad.jpg: "), "{error}");
}

#[test]
fn many_threads_share_an_encoder() {
    let Some((_dir, encoder)) = open(2) else { return };
    thread::scope(|scope| {
        for seed in 0..8 {
            let encoder = &encoder;
            scope.spawn(move || {
                for i in 0..50 {
                    let color = [seed * 30, i * 5, 200];
                    let vectors = encoder.images(&[plain("one", color), plain("two", [1, 2, 3])]).unwrap();
                    assert_close(vectors.row(0), &by_hand(color));
                    assert_close(vectors.row(1), &by_hand([1, 2, 3]));
                }
            });
        }
    });
}

#[test]
fn pictures_that_are_left_when_work_is_called_off_are_not_encoded() {
    let Some((_dir, encoder)) = open(2) else { return };
    let sources = vec![plain("plain", [255, 120, 7]); 300_000];
    let called_off = cancellable(|| encoder.images(&sources), || true);
    assert!(matches!(called_off, Err(Error::Interrupted)));
    assert_close(encoder.images(&sources[..1]).unwrap().row(0), &by_hand([255, 120, 7]));
}

#[test]
fn what_a_model_lacks_is_said() {
    let Some((_dir, encoder)) = open(1) else { return };
    let error = encoder.texts(&["a bear"]).unwrap_err();
    assert_eq!(error.to_string(), "model tiny: has no text tower: it encodes pictures only");
    let model = Model::open(encoder.model().dir()).unwrap();
    assert!(Encoder::open(model, &Options { threads: Some(0), ..Options::default() }).is_err());
}

#[test]
fn a_fingerprint_follows_content_and_settings() {
    let (one, two, three) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = write(one.path(), MANIFEST);
    assert_eq!(model.fingerprint().len(), 64);
    assert_eq!(write(two.path(), &MANIFEST.replace("tiny", "other")).fingerprint(), model.fingerprint());
    assert_ne!(write(three.path(), &MANIFEST.replace("bilinear", "bicubic")).fingerprint(), model.fingerprint());
    assert_eq!((model.name(), model.version(), model.dim()), ("tiny", "1", 4));
    assert!(model.text().is_none() && model.license().is_none() && model.languages().is_empty());
}

#[test]
fn a_runtime_that_is_missing_is_named() {
    let error = load_runtime(Path::new("/nowhere/libonnxruntime.so")).unwrap_err().to_string();
    assert!(error.starts_with("ONNX Runtime: /nowhere/libonnxruntime.so: "), "{error}");
    assert!(error.ends_with("pip install --upgrade onnxruntime"), "{error}");
}
