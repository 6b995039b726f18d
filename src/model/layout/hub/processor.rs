//! Derives the preprocessing from the `preprocessor_config.json` of transformers' image processors.

use serde_json::{Value, json};

use crate::model::layout::directory::{Directory, setting};
use crate::model::layout::open_clip;
use crate::model::onnx::ValueInfo;

/// The defaults of a kind of image processor.
struct Defaults {
    resample: u64,
    crops: bool,
    /// Whether a size of one number is that of the shorter side.
    shortest: bool,
    mean: [f64; 3],
    std: [f64; 3],
}

const CLIP: ([f64; 3], [f64; 3]) = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]);
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const HALF: ([f64; 3], [f64; 3]) = ([0.5; 3], [0.5; 3]);

const BILINEAR: u64 = 2;
const BICUBIC: u64 = 3;

impl Defaults {
    fn of(kind: &str) -> Self {
        let made = |resample, crops, shortest, (mean, std)| Self { resample, crops, shortest, mean, std };
        match kind {
            "CLIP" | "ChineseCLIP" => made(BICUBIC, true, true, CLIP),
            "Siglip" => made(BICUBIC, false, false, HALF),
            "Bit" => made(BICUBIC, true, true, CLIP),
            "ConvNext" => made(BICUBIC, false, true, IMAGENET),
            "DINOv3ViT" => made(BILINEAR, false, false, IMAGENET),
            // ViT and all others
            _ => made(BILINEAR, false, false, HALF),
        }
    }
}

/// Returns the `preprocess` object for a network that takes `pixels`.
pub(super) fn preprocess(dir: &Directory<'_>, pixels: &ValueInfo) -> Result<Value, String> {
    let mut file = "preprocessor_config.json";
    let mut settings = dir.json(file)?;
    if settings.is_null() {
        file = "processor_config.json";
        settings = dir.json(file)?["image_processor"].take();
    }
    if settings.is_null() {
        return match dir.given(&["image", "preprocess"]) {
            Value::Null => Err("preprocessor_config.json is missing; download it too".into()),
            given => Ok(given.clone()),
        };
    }
    let blame = |reason: String| format!("{file}: {reason}");
    // Processors of models in the style of open_clip.
    if !settings["resize_mode"].is_null() {
        return open_clip::preprocess(&settings).map_err(blame);
    }
    read(&settings, pixels).map_err(blame)
}

fn read(settings: &Value, pixels: &ValueInfo) -> Result<Value, String> {
    let kind = settings["image_processor_type"].as_str().or(settings["feature_extractor_type"].as_str());
    let kind = kind.unwrap_or("CLIPImageProcessor");
    let kind = ["Fast", "Pil", "ImageProcessor", "FeatureExtractor"]
        .iter()
        .fold(kind, |kind, end| kind.strip_suffix(end).unwrap_or(kind));
    if kind == "Siglip2" {
        return Err("pictures of any shape (NaFlex) are not supported; use a model with a fixed size".into());
    }
    let defaults = Defaults::of(kind);
    if !flag(settings, "do_resize", true)? {
        return fixed(settings, &defaults, pixels);
    }
    let size = &settings["size"];
    let sides = sides(size);
    let shortest = size["shortest_edge"].as_u64().or(size.as_u64().filter(|_| defaults.shortest));
    let crop = flag(settings, "do_center_crop", defaults.crops)?.then(|| self::sides(&settings["crop_size"]));
    let mut made = match (sides, shortest, crop) {
        // Small sizes are cropped to 7/8, in spite of the file's own setting.
        (_, Some(side), _) if kind == "ConvNext" => {
            let share = setting(settings, "crop_pct", Value::as_f64)?.unwrap_or(224.0 / 256.0);
            if share <= 0.0 {
                return Err(format!("crop_pct {share} must be greater than 0"));
            }
            match side < 384 {
                true => json!({"resize": "crop", "size": [side, side], "resize_to": (side as f64 / share) as u64}),
                false => json!({"resize": "squash", "size": [side, side]}),
            }
        }
        (_, Some(side), Some(crop)) => match crop.unwrap_or([side, side]) {
            crop if crop == [side, side] => json!({"resize": "crop", "size": crop}),
            crop => json!({"resize": "crop", "size": crop, "resize_to": side}),
        },
        (_, Some(side), None) => {
            return Err(format!(
                "pictures whose shorter side is {side} and which are not cropped have no fixed size, which is not \
                 supported"
            ));
        }
        (Some(size), None, None) => json!({"resize": "squash", "size": size}),
        (Some(size), None, Some(crop)) if crop.is_none_or(|crop| crop == size) => {
            json!({"resize": "squash", "size": size})
        }
        (Some(size), None, Some(crop)) => {
            return Err(format!("pictures of the size {size:?} of which {crop:?} are cut out are not supported"));
        }
        (None, None, _) => return Err(format!("size {size} is not understood")),
    };
    made["filter"] = match setting(settings, "resample", Value::as_u64)?.unwrap_or(defaults.resample) {
        BILINEAR => "bilinear".into(),
        BICUBIC => "bicubic".into(),
        other => {
            let name = ["nearest", "lanczos", "", "", "box", "hamming"].get(other as usize).unwrap_or(&"unknown");
            return Err(format!("resample {other} ({name}) is not supported; only 2 (bilinear) and 3 (bicubic) are"));
        }
    };
    levels(settings, &defaults, &mut made)?;
    Ok(made)
}

/// Returns the preprocessing of pictures that are not resized: the network gives the size.
fn fixed(settings: &Value, defaults: &Defaults, pixels: &ValueInfo) -> Result<Value, String> {
    let [_, _, Some(height), Some(width)] = pixels.shape[..] else {
        return Err("pictures are not resized and the network takes any size; that is not supported".into());
    };
    let mut made = json!({"resize": "squash", "size": [height, width]});
    levels(settings, defaults, &mut made)?;
    Ok(made)
}

fn flag(settings: &Value, key: &str, default: bool) -> Result<bool, String> {
    Ok(setting(settings, key, Value::as_bool)?.unwrap_or(default))
}

/// Returns height and width.
fn sides(size: &Value) -> Option<[u64; 2]> {
    match size {
        Value::Object(_) => Some([size["height"].as_u64()?, size["width"].as_u64()?]),
        _ => size.as_u64().map(|side| [side, side]),
    }
}

/// Sets the mean and standard deviation of the network.
fn levels(settings: &Value, defaults: &Defaults, made: &mut Value) -> Result<(), String> {
    let three = |key: &str, default: [f64; 3]| match &settings[key] {
        Value::Null => Ok(default),
        value => value
            .as_f64()
            .map(|number| [number; 3])
            .or_else(|| {
                let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
                numbers?.try_into().ok()
            })
            .ok_or(format!("{key} {value} is not understood")),
    };
    let (mean, std) = match flag(settings, "do_normalize", true)? {
        true => (three("image_mean", defaults.mean)?, three("image_std", defaults.std)?),
        false => ([0.0; 3], [1.0; 3]),
    };
    // Our mean and standard deviation apply to values from 0 to 1, theirs to rescaled values.
    let factor = match flag(settings, "do_rescale", true)? {
        true => setting(settings, "rescale_factor", Value::as_f64)?.unwrap_or(1.0 / 255.0),
        false => 1.0,
    };
    let scale = 255.0 * factor;
    if !(scale.is_finite() && scale > 0.0) {
        return Err(format!("rescale_factor {factor} must be greater than 0"));
    }
    // 1/255 is written with several roundings.
    let scale = if (scale - 1.0).abs() < 1e-6 { 1.0 } else { scale };
    made["mean"] = json!(mean.map(|mean| mean / scale));
    made["std"] = json!(std.map(|std| std / scale));
    if flag(settings, "do_flip_channel_order", false)? {
        made["channels"] = "bgr".into();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(settings: Value) -> Result<Value, String> {
        read(&settings, &ValueInfo::default())
    }

    #[test]
    fn kinds_differ_in_what_they_leave_out() {
        let clip = made(json!({"image_processor_type": "CLIPImageProcessorFast", "size": 224})).unwrap();
        assert_eq!(
            (&clip["resize"], &clip["size"], &clip["resize_to"]),
            (&json!("crop"), &json!([224, 224]), &Value::Null)
        );
        assert_eq!(clip["mean"], json!(CLIP.0));
        let siglip = made(json!({"image_processor_type": "SiglipImageProcessor", "size": {"height": 8, "width": 9}}));
        assert_eq!(
            siglip.unwrap(),
            json!({"resize": "squash", "size": [8, 9], "filter": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]})
        );
        let vit = made(
            json!({"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "rescale_factor": 0.00392156862}),
        )
        .unwrap();
        assert_eq!(
            (&vit["resize"], &vit["filter"], &vit["std"]),
            (&json!("squash"), &json!("bilinear"), &json!([0.5, 0.5, 0.5]))
        );
    }

    #[test]
    fn small_sizes_of_convnext_are_cut_out() {
        let file =
            |side: u64| json!({"feature_extractor_type": "ConvNextFeatureExtractor", "size": side, "crop_pct": 0.875});
        let small = made(file(224)).unwrap();
        assert_eq!(
            (&small["resize"], &small["size"], &small["resize_to"]),
            (&json!("crop"), &json!([224, 224]), &json!(256))
        );
        let large = made(file(384)).unwrap();
        assert_eq!((&large["resize"], &large["size"]), (&json!("squash"), &json!([384, 384])));
    }

    #[test]
    fn numbers_are_of_values_from_0_to_1() {
        let file = json!({"size": 8, "do_center_crop": true, "image_mean": 127.5, "image_std": [51.0, 51.0, 51.0], "do_rescale": false,
            "do_flip_channel_order": true});
        let made = made(file).unwrap();
        assert_eq!((&made["mean"], &made["std"]), (&json!([0.5, 0.5, 0.5]), &json!([0.2, 0.2, 0.2])));
        assert_eq!(made["channels"], json!("bgr"));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (settings, says) in [
            (json!({"size": {"shortest_edge": 224}, "do_center_crop": false}), "have no fixed size"),
            (json!({"size": {"height": 8, "width": 8}, "crop_size": 4}), "are cut out are not supported"),
            (json!({"size": 224, "resample": 1}), "resample 1 (lanczos) is not supported"),
            (json!({"size": "large"}), "size \"large\" is not understood"),
            (json!({"size": 224, "image_mean": [1.0]}), "image_mean [1.0] is not understood"),
            (json!({"size": 224, "resample": "bicubic"}), "resample \"bicubic\" is not understood"),
            (json!({"size": 224, "rescale_factor": 0.0}), "rescale_factor 0 must be"),
            (json!({"size": 224, "rescale_factor": [1]}), "rescale_factor [1] is not understood"),
            (json!({"size": 224, "do_normalize": "no"}), "do_normalize \"no\" is not understood"),
            (json!({"size": 224, "do_resize": false}), "the network takes any size"),
            (json!({"size": 224, "image_processor_type": "Siglip2ImageProcessor"}), "NaFlex"),
        ] {
            let reason = made(settings).unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
    }
}
