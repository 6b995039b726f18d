//! Converts calibrations and the answers of `identify`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyMapping, PyString};

use crate::calibrate::{Fit, Metric, behind};
use crate::engine::{self, Adapting, Calibrated, Identified, Judged, Scope, Verdict, Weighed, few_digits};
use crate::query::{Kind, Query};

use super::hit::PyHit;
use super::query;

/// (verdict, probability, margin, strength, threshold, ids of the plausible items, hits).
pub(super) type IdentifiedRow = (&'static str, Option<f64>, Option<f64>, Option<f64>, f64, Vec<String>, Vec<PyHit>);

/// (weights by model, (value, low, high) of the gain, whether they are used).
type WeighedRow = (Vec<(String, f64)>, (f64, f64, f64), bool);

/// (model, kind, genuine, impostors, queries, items, second look, threshold, false accept rate, false reject rate).
type FiguresRow = (String, &'static str, usize, usize, usize, usize, bool, f64, f64, f64);

/// (figures, weights by model, learned weights).
pub(super) type CalibratedRow = (FiguresRow, Vec<(String, f64)>, Option<WeighedRow>);

/// (verdict, margin, strength, threshold, number of plausible items, probabilities).
type JudgedRow = (&'static str, Option<f64>, Option<f64>, f64, usize, Vec<f64>);

/// (dimension, directions, what they are turned onto, what of each is kept, how much the best reference counts).
pub(super) type MapRow = (usize, Vec<f32>, Vec<f32>, Vec<f32>, f32);

fn name_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Match => "match",
        Verdict::Ambiguous => "ambiguous",
        Verdict::Unknown => "unknown",
    }
}

/// Judges the best scores of a query by a calibration, as JSON, among the items of a gallery; `crowd` has the best scores
/// of all of these.
#[pyfunction]
#[pyo3(signature = (fit, scores, crowd, *, gallery, target_fpr, prior))]
fn judge(
    fit: &str,
    scores: Vec<f32>,
    crowd: Vec<f32>,
    gallery: usize,
    target_fpr: f64,
    prior: f64,
) -> PyResult<JudgedRow> {
    let fit: Fit =
        serde_json::from_str(fit).map_err(|error| super::error::argument(format!("calibration: {error}")))?;
    let threshold = fit.rates(target_fpr, gallery).threshold;
    let Judged { verdict, margin, strength, plausible, probabilities } =
        engine::judge(&fit, &scores, behind(&crowd), threshold, prior);
    Ok((name_of(verdict), margin, strength, threshold, plausible, probabilities))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(judge, module)?)
}

pub(super) fn identified(one: Identified) -> IdentifiedRow {
    let verdict = name_of(one.verdict);
    let hits = one.hits.into_iter().enumerate().map(|(place, hit)| PyHit::new(place, hit)).collect();
    (verdict, one.probability, one.margin, one.strength, one.threshold, one.plausible, hits)
}

pub(super) fn calibrated(one: Calibrated) -> CalibratedRow {
    let kind = match one.kind {
        Kind::Image => "image",
        Kind::Text => "text",
        Kind::Hybrid => "hybrid",
    };
    let model = one.model();
    let weights = |models: Vec<(String, f32)>| -> Vec<(String, f64)> {
        models.into_iter().map(|(name, weight)| (name, few_digits(weight))).collect()
    };
    let learned = one
        .learned
        .map(|Weighed { models, gain, is_used }| (weights(models), (gain.value, gain.low, gain.high), is_used));
    let figures = (
        model,
        kind,
        one.genuine,
        one.impostors,
        one.queries,
        one.items,
        one.second_look,
        one.threshold,
        one.false_accept_rate,
        one.false_reject_rate,
    );
    (figures, weights(one.models), learned)
}

/// A map that was learned, with those of the parts and the items of these.
pub(super) fn adapting(whole: MapRow, parts: Vec<MapRow>, items: Vec<(String, usize)>) -> PyResult<Adapting> {
    let metric = |(dim, directions, onto, kept, best): MapRow| Metric::new(dim, directions, onto, kept, best);
    let parts = parts.into_iter().map(metric).collect::<crate::error::Result<_>>()?;
    Ok(Adapting { whole: metric(whole)?, parts, items })
}

/// None, a name, a list of names, or weights by name.
pub(super) fn scope(models: Option<&Bound<'_, PyAny>>) -> PyResult<Scope> {
    let Some(models) = models else { return Ok(Scope::Learn(Vec::new())) };
    if models.is_instance_of::<PyString>() || models.cast::<PyMapping>().is_ok() {
        return Ok(Scope::Given(query::models(models)?));
    }
    models.extract().map(Scope::Learn).map_err(|_| {
        PyTypeError::new_err("models takes a name, a list of names, or a dict with a weight for each name")
    })
}

/// Converts a list of queries.
pub(super) fn queries(queries: &Bound<'_, PyList>) -> PyResult<Vec<Query>> {
    let alone = queries.len() == 1;
    let convert = |(number, query): (usize, Bound<'_, PyAny>)| {
        Ok(Query::new(query::parts(&query, if alone { None } else { Some(number) })?)?)
    };
    queries.iter().enumerate().map(convert).collect()
}
