//! Derives the manifest from layouts with open_clip's settings or none: immich's and clip-as-service's.

use serde_json::{Map, Value, json};

use super::directory::{Directory, TokenizerFile, setting};
use crate::model::onnx::Interface;

/// The files of the vocabulary as OpenAI published it, from which the tokenizer is made.
const MERGES: [&str; 2] = ["bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"];

/// Makes the manifest from `visual/` and `textual/`, with the settings of open_clip.
pub(super) fn immich(dir: &Directory<'_>) -> Result<Map<String, Value>, String> {
    let config = dir.json("config.json")?;
    let mut made = Map::from_iter([("format".into(), json!(super::FORMAT))]);
    if let Some(dimension) = config["embed_dim"].as_u64() {
        made.insert("dimension".into(), dimension.into());
    }
    let file = "visual/model.onnx";
    if dir.has(file) {
        let settings = dir.json("visual/preprocess_cfg.json")?;
        if settings.is_null() {
            return Err("visual/preprocess_cfg.json is missing; copy the whole model directory".into());
        }
        let preprocess = preprocess(&settings).map_err(|reason| format!("visual/preprocess_cfg.json: {reason}"))?;
        made.insert("image".into(), json!({"file": file, "preprocess": preprocess}));
    }
    let file = "textual/model.onnx";
    if dir.has(file) {
        let (place, settings) = ("textual/tokenizer.json", dir.json("textual/tokenizer_config.json")?);
        let Some(tokenizer) = dir.tokenizer(place)? else {
            return Err(format!("{place} is missing; copy the whole model directory"));
        };
        let text = text_tower(file, place, &dir.interface(file)?, &config["text_cfg"], &tokenizer, &settings)?;
        made.insert("text".into(), text);
    }
    Ok(made)
}

/// Makes the manifest of clip-as-service's two networks, which come without settings: those of OpenAI's CLIP.
pub(super) fn clip_as_service(dir: &Directory<'_>) -> Result<Map<String, Value>, String> {
    let mut made = Map::from_iter([("format".into(), json!(super::FORMAT))]);
    let file = "visual.onnx";
    if dir.has(file) {
        let interface = dir.interface(file)?;
        let declared = interface.pixels().and_then(|value| Some([value.shape[2]?, value.shape[3]?]));
        let given = dir.given(&["image", "preprocess", "size"]);
        let size = match (declared, given) {
            (_, Value::Array(_)) => given.clone(),
            (Some(size), _) => json!(size),
            (None, _) => json!(usual_size(dir.name().unwrap_or_default()).ok_or(
                "visual.onnx takes pictures of any size, and the directory is not named after a model; write a \
                 model.json that says which: {\"format\": 1, \"layout\": \"clip-as-service\", \
                 \"image\": {\"preprocess\": {\"size\": [224, 224]}}}"
            )?),
        };
        let settings = json!({"size": size});
        made.insert("image".into(), json!({"file": file, "preprocess": preprocess(&settings)?}));
    }
    let file = "textual.onnx";
    if dir.has(file) {
        let place = ["tokenizer.json"].into_iter().chain(MERGES).find(|place| dir.has(place)).ok_or_else(|| {
            format!(
                "the tokenizer is missing, which clip-as-service keeps elsewhere: copy {} (from the Python packages \
                 clip-server, clip or open_clip) or a tokenizer.json into the directory",
                MERGES[0]
            )
        })?;
        let tokenizer = match place {
            "tokenizer.json" => dir.tokenizer(place)?,
            _ => None,
        };
        let interface = dir.interface(file)?;
        let tower = match &tokenizer {
            Some(tokenizer) => {
                let settings = dir.json("tokenizer_config.json")?;
                text_tower(file, place, &interface, &Value::Null, tokenizer, &settings)?
            }
            None => clip_tower(file, place, &interface, &Value::Null)?,
        };
        made.insert("text".into(), tower);
    }
    Ok(made)
}

/// Returns the picture size of a model by the name of clip-as-service's directory.
fn usual_size(name: &str) -> Option<[u64; 2]> {
    // Longer names first, because one is a prefix of another.
    let sides = [("RN50x64", 448), ("RN50x16", 384), ("RN50x4", 288), ("RN50", 224), ("RN101", 224)];
    let others = [("ViT-L-14@336px", 336), ("ViT-L-14-336", 336), ("ViT-B-16-plus-240", 240), ("ViT-", 224)];
    let place = name.strip_prefix("M-CLIP-").unwrap_or(name);
    sides.into_iter().chain(others).find(|(start, _)| place.starts_with(start)).map(|(_, side)| [side, side])
}

/// Converts the `PreprocessCfg` of open_clip.
pub(super) fn preprocess(settings: &Value) -> Result<Value, String> {
    let size = match &settings["size"] {
        Value::Array(sides) if sides.len() == 2 => settings["size"].clone(),
        Value::Array(sides) if sides.len() == 3 => json!(sides[1..]),
        Value::Number(side) => json!([side, side]),
        size => return Err(format!("size {size} is not understood")),
    };
    let square = size[0] == size[1];
    let resize = match setting(settings, "resize_mode", Value::as_str)?.unwrap_or("shortest") {
        "shortest" if square => "crop",
        "shortest" => return Err(format!("pictures cut out at the size {size} are not supported")),
        "squash" => "squash",
        "longest" => "letterbox",
        other => return Err(format!("resize_mode {other:?} is none of \"shortest\", \"squash\", \"longest\"")),
    };
    let filter = match setting(settings, "interpolation", Value::as_str)?.unwrap_or("bicubic") {
        "bilinear" => "bilinear",
        "bicubic" | "random" => "bicubic",
        other => return Err(format!("interpolation {other:?} is neither \"bicubic\" nor \"bilinear\"")),
    };
    let three = |key: &str, default: [f64; 3]| match &settings[key] {
        Value::Null => json!(default),
        Value::Number(number) => json!([number, number, number]),
        numbers => numbers.clone(),
    };
    let mut made = json!({
        "resize": resize,
        "size": size,
        "filter": filter,
        "mean": three("mean", [0.48145466, 0.4578275, 0.40821073]),
        "std": three("std", [0.26862954, 0.26130258, 0.27577711]),
    });
    match resize {
        // torchvision's rounding, which transformers does not share.
        "crop" => made["center"] = "even".into(),
        "letterbox" => {
            let fill = setting(settings, "fill_color", Value::as_u64)?.unwrap_or(0);
            made["fill"] = json!([fill, fill, fill]);
        }
        _ => {}
    }
    Ok(made)
}

fn text_tower(
    file: &str,
    place: &str,
    interface: &Interface,
    config: &Value,
    tokenizer: &TokenizerFile,
    settings: &Value,
) -> Result<Value, String> {
    if tokenizer.is_clip() && !config["hf_tokenizer_name"].is_string() {
        return clip_tower(file, place, interface, config);
    }
    let options = &config["tokenizer_kwargs"];
    if options["strip_sep_token"] == true || options["tokenizer_mode"].is_string() {
        return Err(format!("config.json: tokenizer_kwargs {options} are not supported"));
    }
    let clean = match options["clean"].as_str() {
        Some("canonicalize") => json!(["ftfy", "html", "punctuation", "lowercase", "whitespace"]),
        Some("lower") => json!(["ftfy", "html", "whitespace", "lowercase"]),
        // M-CLIP does not clean its texts, and has the settings of the CLIP for its pictures.
        None if !config["hf_tokenizer_name"].is_string() => json!([]),
        _ => json!(["ftfy", "html", "whitespace"]),
    };
    let columns = interface.tokens().and_then(|value| value.shape[1]);
    // A network with a mask ignores padding by itself.
    let fixed = columns.is_some() || interface.inputs.len() == 1;
    let pad_id = tokenizer.pad_id(settings);
    let mut tower = json!({
        "file": file,
        "tokenizer": place,
        "clean": clean,
        "max_length": max_length(columns, config)?,
        "padding": if fixed { "fixed" } else { "longest" },
    });
    if fixed {
        let missing = "textual/tokenizer_config.json does not say which token texts are padded with: \"pad_token\"";
        tower["pad_id"] = pad_id.ok_or(missing)?.into();
        if settings["padding_side"] == "left" {
            tower["pad_side"] = "left".into();
        }
    }
    Ok(tower)
}

/// Returns a tower with CLIP's own tokenizer, padded with 0 in spite of later files.
fn clip_tower(file: &str, place: &str, interface: &Interface, config: &Value) -> Result<Value, String> {
    let columns = interface.tokens().and_then(|value| value.shape[1]);
    let causal = config["no_causal_mask"] != true;
    Ok(json!({
        "file": file,
        "tokenizer": place,
        "clean": ["ftfy", "html", "whitespace", "lowercase"],
        "max_length": max_length(columns, config)?,
        "padding": if causal && columns.is_none() { "longest" } else { "fixed" },
        "pad_id": 0,
        "mask": if causal { "tokens" } else { "all" },
    }))
}

fn max_length(columns: Option<usize>, config: &Value) -> Result<u64, String> {
    let read = || setting(config, "context_length", Value::as_u64).map_err(|reason| format!("config.json: {reason}"));
    columns.map_or_else(|| Ok(read()?.unwrap_or(77)), |columns| Ok(columns as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_open_clip_are_read() {
        let squash = json!({"size": [3, 256, 256], "resize_mode": "squash", "interpolation": "bilinear", "mean": 0, "std": [1, 1, 1]});
        assert_eq!(
            preprocess(&squash).unwrap(),
            json!({"resize": "squash", "size": [256, 256], "filter": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]})
        );
        let longest = preprocess(&json!({"size": 8, "resize_mode": "longest", "fill_color": 7})).unwrap();
        assert_eq!((&longest["resize"], &longest["fill"]), (&json!("letterbox"), &json!([7, 7, 7])));
        let crop = preprocess(&json!({"size": 8, "interpolation": "random"})).unwrap();
        assert_eq!(
            (&crop["resize"], &crop["center"], &crop["filter"]),
            (&json!("crop"), &json!("even"), &json!("bicubic"))
        );
        for (settings, says) in [
            (json!({}), "size null is not understood"),
            (json!({"size": [4, 8]}), "cut out at the size [4,8]"),
            (json!({"size": 8, "resize_mode": "wide"}), "resize_mode \"wide\" is none of"),
            (json!({"size": 8, "resize_mode": 5}), "resize_mode 5 is not understood"),
            (json!({"size": 8, "interpolation": 3}), "interpolation 3 is not understood"),
            (json!({"size": 8, "interpolation": "lanczos"}), "interpolation \"lanczos\" is neither"),
        ] {
            let reason = preprocess(&settings).unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[test]
    fn directories_of_clip_as_service_tell_the_size() {
        for (name, side) in
            [("RN50x64-openai", 448), ("RN50-yfcc15m", 224), ("ViT-L-14@336px", 336), ("ViT-B-32-laion2b_e16", 224)]
        {
            assert_eq!(usual_size(name), Some([side, side]));
        }
        assert_eq!(usual_size("model"), None);
    }
}
