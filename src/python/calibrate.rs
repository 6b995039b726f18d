//! Converts calibrations and the answers of `identify`.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::engine::{Calibrated, Identified, Verdict};
use crate::query::{Kind, Query};

use super::hit::PyHit;
use super::query;

/// (verdict, probability, margin, threshold, ids of the plausible items, hits).
pub(super) type IdentifiedRow = (&'static str, Option<f64>, Option<f64>, f64, Vec<String>, Vec<PyHit>);

/// (model, kind, genuine, impostors, queries, items, second look, threshold, false accept rate, false reject rate).
pub(super) type CalibratedRow = (String, &'static str, usize, usize, usize, usize, bool, f64, f64, f64);

pub(super) fn identified(one: Identified) -> IdentifiedRow {
    let verdict = match one.verdict {
        Verdict::Match => "match",
        Verdict::Ambiguous => "ambiguous",
        Verdict::Unknown => "unknown",
    };
    let hits = one.hits.into_iter().enumerate().map(|(place, hit)| PyHit::new(place, hit)).collect();
    (verdict, one.probability, one.margin, one.threshold, one.plausible, hits)
}

pub(super) fn calibrated(one: Calibrated) -> CalibratedRow {
    let kind = match one.kind {
        Kind::Image => "image",
        Kind::Text => "text",
        Kind::Hybrid => "hybrid",
    };
    let Calibrated {
        model,
        genuine,
        impostors,
        queries,
        items,
        second_look,
        threshold,
        false_accept_rate,
        false_reject_rate,
        ..
    } = one;
    (model, kind, genuine, impostors, queries, items, second_look, threshold, false_accept_rate, false_reject_rate)
}

/// Converts a list of queries.
pub(super) fn queries(queries: &Bound<'_, PyList>) -> PyResult<Vec<Query>> {
    let alone = queries.len() == 1;
    let convert = |(number, query): (usize, Bound<'_, PyAny>)| {
        Ok(Query::new(query::parts(&query, if alone { None } else { Some(number) })?)?)
    };
    queries.iter().enumerate().map(convert).collect()
}
