//! The towers of a model that run here, and whether fewer bits leave their vectors what they are.

use crate::encoder::device::{Place, Precision};
use crate::encoder::image::{ImageEncoder, cosine};
use crate::encoder::provider::Setting;
use crate::encoder::text::TextEncoder;
use crate::error::{Error, Result};
use crate::model::Model;

/// The least cosine between the vectors of a model in its own numbers and in fewer bits.
const ALIKE: f32 = 0.999;

/// The tower for pictures and that for texts, as far as they run here.
pub(super) type Towers = (Option<ImageEncoder>, Option<TextEncoder>);

/// Opens the towers of `model` that are `wanted`, that for pictures first.
pub(super) fn towers(model: &Model, setting: &Setting, wanted: [bool; 2]) -> Result<Towers> {
    match setting.precision {
        None | Some(Precision::Fp32) => open(model, setting, wanted),
        Some(precision) => reduced(model, setting, wanted, precision),
    }
}

fn open(model: &Model, setting: &Setting, [image, text]: [bool; 2]) -> Result<Towers> {
    let image = model.image().filter(|tower| image && model.has(&tower.file));
    let text = model.text().filter(|tower| text && model.has(&tower.file));
    // Both sides of one network run in the same session: its weights are in memory once.
    let shared = image.zip(text).is_some_and(|(image, text)| image.file == text.file);
    let image = image.map(|tower| ImageEncoder::open(model, tower, setting, !shared)).transpose()?;
    let text = text.map(|tower| {
        let opened = image.as_ref().filter(|_| shared).map(|image| image.network().opened());
        TextEncoder::open(model, tower, setting, opened)
    });
    let text = text.transpose()?;
    Ok((image, text))
}

/// The towers in fewer bits than the model's own. A catalog that they make is searched by the others elsewhere, so their
/// vectors must be alike.
fn reduced(model: &Model, setting: &Setting, wanted: [bool; 2], precision: Precision) -> Result<Towers> {
    let blame = |reason: String| Error::model(model.name(), format!("precision {precision}: {reason}"));
    let half = match setting.wants_half() {
        false => None,
        true => Some(model.half()?.ok_or_else(|| {
            blame(
                "there is no network of 16 bits beside its own (image_fp16.onnx for image.onnx); make it with \
                 plushie-search models fp16 (models export --fp16), use device tensorrt, which needs none, or leave the \
                 precision out"
                    .into(),
            )
        })?),
    };
    let (image, text) = open(half.as_ref().unwrap_or(model), setting, wanted)?;
    if half.is_some_and(|half| half.fingerprint() == model.fingerprint()) {
        return Ok((image, text));
    }
    let plain = Setting { places: vec![Place::Cpu], precision: None, max_batch: None, ..setting.clone() };
    let (whole_image, whole_text) = open(model, &plain, wanted)?;
    let pictures = whole_image.as_ref().zip(image.as_ref()).map(|(one, other)| (one.samples(), other.samples()));
    let texts = whole_text.as_ref().zip(text.as_ref()).map(|(one, other)| (one.samples(), other.samples()));
    for (what, pair) in [("pictures", pictures), ("texts", texts)] {
        let Some((whole, reduced)) = pair else { continue };
        let (whole, reduced) = (whole?, reduced?);
        let least = whole.rows().zip(reduced.rows()).map(|(one, other)| cosine(one, other)).fold(1.0, f32::min);
        if least < ALIKE {
            return Err(blame(format!(
                "vectors of {what} would differ from those in its own numbers (cosine {least:.4}, and {ALIKE} is the \
                 least), so that no other device could search this catalog; leave the precision out"
            )));
        }
    }
    Ok((image, text))
}
