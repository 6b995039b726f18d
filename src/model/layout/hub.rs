//! Derives the manifest from the layout of the model hubs: an export by transformers.js or optimum, with the settings
//! of transformers.

mod processor;

use serde_json::{Map, Value, json};

use super::directory::Directory;
use crate::model::onnx::Interface;

/// The suffixes of files by precision, in order of preference.
const VARIANTS: [(&str, &str); 8] = [
    ("fp32", ""),
    ("fp16", "_fp16"),
    ("q8", "_quantized"),
    ("int8", "_int8"),
    ("uint8", "_uint8"),
    ("q4", "_q4"),
    ("q4f16", "_q4f16"),
    ("bnb4", "_bnb4"),
];

/// Models with both towers, by `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Clip,
    Siglip,
    ChineseClip,
    JinaClip,
    /// Any other model.
    Other,
}

impl Family {
    fn of(model_type: &str) -> Self {
        match model_type {
            "clip"
            | "clip_text_model"
            | "clip_vision_model"
            | "clip_text_model_with_projection"
            | "clip_vision_model_with_projection" => Self::Clip,
            "siglip"
            | "siglip2"
            | "siglip_text_model"
            | "siglip_vision_model"
            | "siglip2_text_model"
            | "siglip2_vision_model" => Self::Siglip,
            "chinese_clip" => Self::ChineseClip,
            "jina_clip" => Self::JinaClip,
            _ => Self::Other,
        }
    }

    /// Returns the outputs in the space shared by pictures and texts, best first.
    fn shared_outputs(self, side: &str) -> Vec<String> {
        let mut names: Vec<String> = ["embeds", "embeddings", "embedding"].map(|end| format!("{side}_{end}")).into();
        // The projection of SigLIP is in its pooling head.
        if self == Self::Siglip {
            names.push("pooler_output".into());
        }
        names
    }
}

/// The networks of a directory.
struct Networks {
    image: Option<String>,
    text: Option<String>,
}

/// Makes the manifest of a directory in this layout.
pub(super) fn manifest(dir: &Directory<'_>, variant: Option<&str>) -> Result<Map<String, Value>, String> {
    let config = dir.json("config.json")?;
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let networks = networks(dir, variant)?;
    let mut made = Map::from_iter([("format".into(), json!(super::FORMAT))]);
    let mut image = None;
    if let Some(file) = &networks.image {
        let tower = image_tower(dir, file, model_type)?;
        image = Some(tower["preprocess"].clone());
        made.insert("image".into(), tower);
    }
    if let Some(file) = &networks.text {
        made.insert("text".into(), text_tower(dir, file, &config, model_type, image.as_ref())?);
    }
    if let Some(dimension) = dimension(dir, &made, &config, model_type)? {
        made.insert("dimension".into(), dimension.into());
    }
    Ok(made)
}

/// Finds the networks: one per tower, or one for both.
fn networks(dir: &Directory<'_>, variant: Option<&str>) -> Result<Networks, String> {
    let suffixes: Vec<&str> = match variant {
        None => VARIANTS.iter().map(|(_, suffix)| *suffix).collect(),
        Some(variant) => match VARIANTS.iter().find(|(name, _)| *name == variant) {
            Some((_, suffix)) => vec![suffix],
            None => {
                let known = VARIANTS.map(|(name, _)| name);
                return Err(format!("variant {variant:?} is none of {known:?}"));
            }
        },
    };
    let find = |stem: &str| {
        let places =
            suffixes.iter().flat_map(|suffix| ["onnx/", ""].map(|folder| format!("{folder}{stem}{suffix}.onnx")));
        places.into_iter().find(|file| dir.has(file))
    };
    let given = |side: &str| dir.given(&[side, "file"]).as_str().map(str::to_string);
    let mut found = Networks {
        image: given("image").or_else(|| find("vision_model")),
        text: given("text").or_else(|| find("text_model")),
    };
    if (found.image.is_none() || found.text.is_none())
        && let Some(file) = find("model")
    {
        let interface = dir.interface(&file)?;
        found.image = found.image.or(interface.pixels().map(|_| file.clone()));
        found.text = found.text.or(interface.tokens().map(|_| file));
    }
    if found.image.is_none() && found.text.is_none() {
        let of = variant.map_or(String::new(), |variant| format!(" of the variant {variant:?}"));
        if ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"].iter().any(|file| dir.has(file)) {
            let place = dir.path().display();
            return Err(format!(
                "there is no ONNX network{of}, only weights of PyTorch; make a model directory of them by: \
                 plushie-search models export transformers:{place} NEW_DIRECTORY"
            ));
        }
        return Err(format!(
            "there is no ONNX network{of}: neither onnx/vision_model.onnx and onnx/text_model.onnx, nor \
             onnx/model.onnx; download them too, or export them: optimum-cli export onnx --model NAME onnx"
        ));
    }
    Ok(found)
}

fn image_tower(dir: &Directory<'_>, file: &str, model_type: &str) -> Result<Value, String> {
    let family = Family::of(model_type);
    let interface = dir.interface(file)?;
    let Some(pixels) = interface.pixels() else {
        return Err(format!("{file} has no input for pixels; use an image network"));
    };
    let preprocess = processor::preprocess(dir, pixels)?;
    let (output, pool) = match family {
        Family::Other => features(&interface, file, model_type)?,
        _ => (shared_output(&interface, file, family, "image")?, None),
    };
    let mut tower = json!({"file": file, "output": output, "preprocess": preprocess});
    if let Some(pool) = pool {
        tower["pool"] = json!(pool);
    }
    Ok(tower)
}

/// Returns the output in the space shared by pictures and texts.
fn shared_output(interface: &Interface, file: &str, family: Family, side: &str) -> Result<String, String> {
    let names = family.shared_outputs(side);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match interface.output(&names) {
        Some(value) => Ok(value.name.clone()),
        None => {
            let has: Vec<&str> = interface.outputs.iter().map(|value| value.name.as_str()).collect();
            Err(format!(
                "{file} has the outputs {has:?} but not {:?}: it was exported without the projection into the space \
                 that pictures and texts share; export it with it",
                names[0]
            ))
        }
    }
}

/// Returns the output of an image-only model, and the pooling that makes it one vector.
fn features(interface: &Interface, file: &str, model_type: &str) -> Result<(String, Option<&'static str>), String> {
    let tokens = interface.output(&["last_hidden_state"]);
    // Their poolers normalize the first token; that of a plain ViT feeds another layer, which is rarely trained.
    let first_token = ["dinov2", "dinov2_with_registers", "dinov3_vit", "vit", "deit", "ijepa"].contains(&model_type);
    let pooled = match model_type {
        "vit" | "deit" => interface.output(&["image_embeds"]),
        _ => interface.output(&["image_embeds", "image_embeddings", "pooler_output"]),
    };
    match (pooled, tokens) {
        (Some(value), _) => Ok((value.name.clone(), None)),
        (None, Some(value)) if first_token => Ok((value.name.clone(), Some("cls"))),
        _ => {
            let has: Vec<&str> = interface.outputs.iter().map(|value| value.name.as_str()).collect();
            Err(format!(
                "{file} of the model type {model_type:?} has the outputs {has:?}, of which none is known to have one \
                 vector for a picture; export the network without its classifier, or write a model.json that says \
                 which: {{\"format\": 1, \"layout\": \"hub\", \"image\": {{\"output\": ...}}}}"
            ))
        }
    }
}

fn text_tower(
    dir: &Directory<'_>,
    file: &str,
    config: &Value,
    model_type: &str,
    image: Option<&Value>,
) -> Result<Value, String> {
    let family = Family::of(model_type);
    let interface = dir.interface(file)?;
    let Some(tokens) = interface.tokens() else {
        return Err(format!("{file} has no input for tokens; use a text network"));
    };
    let output = match family {
        Family::Other => match interface.output(&["text_embeds", "text_embeddings", "sentence_embedding"]) {
            Some(value) => value.name.clone(),
            None => {
                return Err(format!(
                    "{file} of the model type {model_type:?} has no output that is known to have one vector for a \
                     text; write a model.json that says which, and how texts are padded"
                ));
            }
        },
        _ => shared_output(&interface, file, family, "text")?,
    };
    let tokenizer = dir.tokenizer("tokenizer.json")?.ok_or(
        "tokenizer.json is missing; download it too, or save it with Python: \
         transformers.AutoTokenizer.from_pretrained(NAME).save_pretrained(DIRECTORY)",
    )?;
    let settings = dir.json("tokenizer_config.json")?;
    let causal = family == Family::Clip && is_plain_clip(config, image);
    let columns = tokens.shape[1];
    let fixed = columns.is_some() || family == Family::Siglip || (family == Family::Clip && !causal);
    let max_length = columns.map(|columns| columns as u64).or_else(|| max_length(config, &settings, family)).ok_or(
        "neither config.json nor tokenizer_config.json says how long texts may be; write a model.json that does: \
         {\"format\": 1, \"layout\": \"hub\", \"text\": {\"max_length\": ...}}",
    )?;
    let mut tower = json!({
        "file": file,
        "output": output,
        "tokenizer": "tokenizer.json",
        "max_length": max_length,
        "padding": if fixed { "fixed" } else { "longest" },
    });
    if fixed {
        // MobileCLIP attends to its padding, and was trained with 0.
        let pad_id = if family == Family::Clip { Some(0) } else { tokenizer.pad_id(&settings) };
        let missing = "tokenizer_config.json does not say which token texts are padded with: \"pad_token\"";
        tower["pad_id"] = pad_id.ok_or(missing)?.into();
        if settings["padding_side"] == "left" {
            tower["pad_side"] = "left".into();
        }
    }
    if family == Family::Siglip {
        // Trained on lower case, which the tokenizer file leaves to the caller, and without a mask.
        let class = settings["tokenizer_class"].as_str().unwrap_or_default();
        let second = ["Gemma", "Siglip2"].iter().any(|kind| class.starts_with(kind));
        tower["clean"] = json!([if second { "lowercase-letters" } else { "lowercase" }]);
        tower["mask"] = "all".into();
    } else if family == Family::Clip && !causal {
        tower["mask"] = "all".into();
    }
    Ok(tower)
}

/// Returns whether attention is causal, so that padding changes nothing.
///
/// MobileCLIP names itself CLIP, too, and most of its sizes attend to all tokens. Transformers' own CLIP is told by
/// the `model_type` of its text tower and a mean other than 0. All others are padded as in training, which suits both.
fn is_plain_clip(config: &Value, preprocess: Option<&Value>) -> bool {
    let kinds = [&config["model_type"], &config["text_config"]["model_type"]];
    let described = kinds.iter().any(|kind| kind.as_str().is_some_and(|kind| kind.starts_with("clip_text_model")));
    let normalized = preprocess.is_none_or(|preprocess| {
        let means = preprocess["mean"].as_array().map_or(&[][..], Vec::as_slice);
        means.iter().any(|mean| mean.as_f64().is_some_and(|mean| mean.abs() > 1e-6))
    });
    described && normalized
}

/// Returns the maximum number of tokens of a text.
fn max_length(config: &Value, settings: &Value, family: Family) -> Option<u64> {
    let text = &config["text_config"];
    let number =
        |value: &Value| value.as_f64().filter(|&number| (1.0..1e5).contains(&number)).map(|number| number as u64);
    let positions = number(&text["max_position_embeddings"]).or_else(|| number(&config["max_position_embeddings"]));
    let positions = match text["model_type"].as_str().or(config["model_type"].as_str()) {
        // Their positions begin behind that of the padding.
        Some("xlm-roberta" | "roberta" | "camembert" | "mpnet") => {
            positions.map(|positions| positions.saturating_sub(2))
        }
        _ => positions,
    };
    let limit = number(&settings["model_max_length"]);
    match family {
        Family::Clip => positions.or(limit).or(Some(77)),
        Family::Siglip => positions.or(limit).or(Some(64)),
        // The length of its training; the positions up to 512 are not trained.
        Family::ChineseClip => Some(52),
        Family::JinaClip | Family::Other => match (positions, limit) {
            (Some(positions), Some(limit)) => Some(positions.min(limit)),
            (positions, limit) => positions.or(limit),
        },
    }
    .map(|length| length.min(8192))
}

/// Returns the dimension: the size that the networks declare, otherwise the one in the settings.
fn dimension(
    dir: &Directory<'_>,
    made: &Map<String, Value>,
    config: &Value,
    model_type: &str,
) -> Result<Option<u64>, String> {
    for side in ["image", "text"] {
        let Some(tower) = made.get(side) else { continue };
        let (file, output) = (tower["file"].as_str().unwrap_or_default(), tower["output"].as_str().unwrap_or_default());
        let interface = dir.interface(file)?;
        let sizes = interface.output(&[output]).map_or(&[][..], |value| &value.shape);
        if let Some(&size) = sizes.iter().skip(1).flatten().rfind(|&&size| size > 1) {
            return Ok(Some(size as u64));
        }
    }
    let hidden = |config: &Value| config["hidden_size"].as_u64();
    Ok(match Family::of(model_type) {
        Family::Clip | Family::ChineseClip => config["projection_dim"].as_u64(),
        Family::Siglip => hidden(&config["vision_config"]).or_else(|| hidden(config)).or(Some(768)),
        Family::JinaClip => config["projection_dim"].as_u64().or_else(|| config["text_config"]["embed_dim"].as_u64()),
        Family::Other => config["hidden_sizes"].as_array().and_then(|sizes| sizes.last()?.as_u64()).or(hidden(config)),
    })
}
