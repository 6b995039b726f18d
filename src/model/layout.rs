//! Derives a manifest from a directory: from a complete manifest, a partial one that names a layout, or the files
//! alone.

mod directory;
mod hub;
mod open_clip;

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;

use self::directory::Directory;
use super::manifest;
use super::manifest::{FORMAT, Manifest};
use super::{IMAGE_OUTPUTS, MANIFEST, TEXT_OUTPUTS};

/// The layout of a directory's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Layout {
    /// The model hubs': `config.json`, `preprocessor_config.json`, `tokenizer.json`, `onnx/…`.
    Hub,
    /// immich's: `visual/model.onnx`, `textual/model.onnx`, each with its settings.
    Immich,
    /// clip-as-service's: `visual.onnx`, `textual.onnx`.
    ClipAsService,
}

/// The keys read before the manifest itself, so that a manifest of a later format is not refused for its new keys.
#[derive(Deserialize)]
struct Header {
    format: u64,
    /// The source of the settings that the manifest omits.
    #[serde(default)]
    layout: Option<Layout>,
    /// The precision, if the hub's layout has several: "fp32", "fp16", "q8", ...
    #[serde(default)]
    variant: Option<String>,
}

/// Reads the manifest `text` of the directory `dir`.
pub(super) fn read(dir: &Path, text: &str) -> Result<Manifest, String> {
    let given: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if !given.is_object() {
        return Err("it must be an object: {\"format\": 1, ...}".into());
    }
    let Header { format, layout, variant } =
        Header::deserialize(&given).map_err(|error| in_words(&error.to_string()))?;
    if format != FORMAT {
        return Err(format!(
            "format {format} is not {FORMAT}, the one this version of plushie_search reads; update it"
        ));
    }
    let Value::Object(mut given) = given else { unreachable!("it is an object, as checked above") };
    given.remove("layout");
    given.remove("variant");
    match (layout, variant) {
        (Some(layout), variant) => finish(dir, derive(dir, layout, variant.as_deref(), &given)?),
        (None, Some(variant)) => Err(format!("variant {variant:?} goes with layout \"hub\" only")),
        (None, None) => finish(dir, given),
    }
}

/// Returns the manifest of a directory without one, by the names of its files.
pub(super) fn recognized(dir: &Path) -> Result<Manifest, String> {
    let has = |names: &[&str]| names.iter().any(|name| dir.join(name).is_file());
    let layout = if has(&["visual/model.onnx", "textual/model.onnx"]) {
        Layout::Immich
    } else if has(&["visual.onnx", "textual.onnx"]) {
        Layout::ClipAsService
    } else if has(&["config.json", "preprocessor_config.json", "processor_config.json"]) {
        Layout::Hub
    } else if has(&["image.onnx", "text.onnx"]) {
        return Err(format!(
            "{MANIFEST} is missing; image.onnx and text.onnx need one with a few settings: {}",
            pair()
        ));
    } else {
        return Err(format!(
            "{MANIFEST} is missing; a model is a directory with a {MANIFEST}, or with the files of a model hub \
             (config.json, preprocessor_config.json, tokenizer.json, onnx/*.onnx), of immich (visual/model.onnx, \
             textual/model.onnx) or of clip-as-service (visual.onnx, textual.onnx)"
        ));
    };
    finish(dir, derive(dir, layout, None, &Map::new())?)
}

/// Returns example settings of a plain pair of networks.
fn pair() -> Value {
    let (mean, std) = (crate::preprocess::CLIP_MEAN, crate::preprocess::CLIP_STD);
    // Through text, so that each number has its shortest form.
    let numbers = |numbers: [f32; 3]| numbers.map(|number| number.to_string().parse::<f64>().unwrap_or_default());
    json!({
        "format": FORMAT,
        "image": {"preprocess": {"resize": "crop", "size": [224, 224], "mean": numbers(mean), "std": numbers(std)}},
        "text": {"max_length": 77, "padding": "longest"},
    })
}

/// Makes a manifest from the files of a layout, overlaid with `given`.
fn derive(
    dir: &Path,
    layout: Layout,
    variant: Option<&str>,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let dir = Directory::new(dir, given);
    let found = match (layout, variant) {
        (Layout::Hub, variant) => hub::manifest(&dir, variant)?,
        (_, Some(variant)) => return Err(format!("variant {variant:?} goes with layout \"hub\" only")),
        (Layout::Immich, None) => open_clip::immich(&dir)?,
        (Layout::ClipAsService, None) => open_clip::clip_as_service(&dir)?,
    };
    let mut whole = Value::Object(found);
    overlay(&mut whole, &Value::Object(given.clone()));
    match whole {
        Value::Object(whole) => Ok(whole),
        _ => unreachable!("an object laid over an object is one"),
    }
}

/// Lays `over` over `value`, key by key; null removes a key.
fn overlay(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(value), Value::Object(over)) => {
            for (key, over) in over {
                match over {
                    Value::Null => drop(value.remove(key)),
                    over => overlay(value.entry(key).or_insert(Value::Null), over),
                }
            }
        }
        (value, over) => *value = over.clone(),
    }
}

/// Fills in the defaults and checks the whole.
fn finish(dir: &Path, mut whole: Map<String, Value>) -> Result<Manifest, String> {
    let (name, version) = manifest::name_of(dir);
    whole.entry("name").or_insert(name.into());
    whole.entry("version").or_insert(version.into());
    let open = !whole.contains_key("dimension");
    if open {
        whole.insert("dimension".into(), 1.into());
    }
    let mut made = typed(&Value::Object(whole))?;
    if open {
        made.dimension = declared_dimension(dir, &made)?;
    }
    made.checked()
}

/// Deserializes the manifest `whole`. Errors name the path of the wrong key.
fn typed(whole: &Value) -> Result<Manifest, String> {
    serde_path_to_error::deserialize(whole).map_err(|error| {
        let reason = error.inner().to_string();
        if !["invalid ", "unknown ", "missing "].iter().any(|start| reason.starts_with(start)) {
            return reason; // an error of our own checks, which names the key
        }
        let key = |segment: &Segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        };
        let mut path: Vec<String> = error.path().iter().filter_map(key).collect();
        if reason.starts_with("unknown field") {
            path.pop(); // the reason names it
        }
        let place = if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) };
        format!("{place}{}", in_words(&reason))
    })
}

/// Replaces Rust's words for types by those of JSON.
fn in_words(reason: &str) -> String {
    let reason = match reason.split_once("expected struct ") {
        // A list is parsed as an object, and found too short.
        Some((before, _)) if before.starts_with("invalid length") => "invalid type: list, expected an object".into(),
        Some((before, _)) => format!("{before}expected an object"),
        None => reason.to_string(),
    };
    [
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected f32", "expected a number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected an array of length", "expected a list of length"),
    ]
    .iter()
    .fold(reason, |reason, (rust, words)| reason.replace(rust, words))
}

/// Returns the dimension that a network declares.
fn declared_dimension(dir: &Path, made: &Manifest) -> Result<usize, String> {
    let image = made.image.as_ref().map(|tower| (&tower.file, &tower.output, IMAGE_OUTPUTS));
    let text = made.text.as_ref().map(|tower| (&tower.file, &tower.output, TEXT_OUTPUTS));
    let nothing = Map::new();
    let directory = Directory::new(dir, &nothing);
    for (file, output, favorites) in image.into_iter().chain(text) {
        let interface = directory.interface(file)?;
        let value = match output {
            Some(output) => interface.output(&[output.as_str()]),
            None => interface.output(favorites).or(interface.outputs.first()),
        };
        let sizes = value.map_or(&[][..], |value| &value.shape);
        // Convolutional networks keep ones for height and width.
        if let Some(&size) = sizes.iter().skip(1).flatten().rfind(|&&size| size > 1) {
            return Ok(size);
        }
    }
    Err("dimension is missing, and the networks do not declare it; add it".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_lies_over_what_was_found() {
        let mut value = json!({"a": {"b": 1, "c": [1, 2]}, "d": 4, "e": {"f": 5}});
        overlay(&mut value, &json!({"a": {"b": 2, "g": {"h": 1}}, "d": null, "e": 3}));
        assert_eq!(value, json!({"a": {"b": 2, "c": [1, 2], "g": {"h": 1}}, "e": 3}));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let Value::Object(mut whole) = pair() else { panic!() };
        whole.extend([("dimension".into(), json!(4)), ("name".into(), json!("a")), ("version".into(), json!("1"))]);
        assert!(typed(&Value::Object(whole.clone())).is_ok());
        let whole = Value::Object(whole);
        for (over, reason) in [
            (json!({"dimension": "6"}), "dimension: invalid type: string \"6\", expected a whole number, 0 or more"),
            (json!({"languages": "en"}), "languages: invalid type: string \"en\", expected a list"),
            (json!({"image": []}), "image: invalid type: list, expected an object"),
            (
                json!({"image": {"preprocess": {"mean": [1, 2]}}}),
                "image.preprocess.mean: invalid length 2, expected a list of length 3",
            ),
            (
                json!({"image": {"preprocess": {"mean": [1, "a", 2]}}}),
                "image.preprocess.mean: invalid type: string \"a\", expected a number",
            ),
            (json!({"text": {"padding": "none"}}), "text.padding: unknown variant `none`, expected `longest` or"),
            (json!({"image": {"preprocess": null}}), "image: missing field `preprocess`"),
            (json!({"image": {"preprocess": {"std": null}}}), "image.preprocess: missing field `std`"),
            (
                json!({"text": {"pad_id": -1}}),
                "text.pad_id: invalid value: integer `-1`, expected a whole number, 0 or more",
            ),
            (json!({"text": {"color": 1}}), "text: unknown field `color`, expected one of"),
            (json!({"color": 1}), "unknown field `color`, expected one of"),
            (json!({"image": {"preprocess": {"std": [0, 1, 1]}}}), "preprocess: std [0.0, 1.0, 1.0] must be three"),
        ] {
            let mut wrong = whole.clone();
            overlay(&mut wrong, &over);
            let found = typed(&wrong).unwrap_err();
            assert!(found.starts_with(reason), "{found}");
        }
    }

    #[test]
    fn the_example_for_a_pair_is_a_manifest() {
        let Value::Object(mut whole) = pair() else { panic!() };
        whole.insert("dimension".into(), 4.into());
        let made = finish(Path::new("/nowhere/pair"), whole).unwrap();
        assert_eq!(made.image.unwrap().file, "image.onnx");
        let text = made.text.unwrap();
        assert_eq!((text.file.as_str(), text.tokenizer.as_str()), ("text.onnx", "tokenizer.json"));
    }
}
