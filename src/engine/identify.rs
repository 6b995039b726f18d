//! Says which item of the catalog a query shows, or that it shows none.

use serde_json::Value;

use crate::calibrate::{BEHIND, Fit, SAME, shifted, strength};
use crate::engine::calibration::one_kind;
use crate::engine::{Engine, Hit, Search, Words};
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::fusion::{Aggregate, Fusion};
use crate::index::Effort;
use crate::query::{Kind, Query};

/// The items that are looked at to tell which are plausible, unless more hits are wanted: the best one and those behind it.
const LOOK: usize = BEHIND + 1;

/// Options of [`Engine::identify`].
#[derive(Debug, Clone)]
pub struct Identify {
    /// The share of strangers that may be taken for an item of the catalog, above 0 and below 1.
    pub target_fpr: f64,
    /// The share of queries whose item is in the catalog, above 0 and below 1.
    pub prior: f64,
    /// How many hits, at least 1.
    pub k: usize,
    /// Only items that fit this filter.
    pub filter: Option<Value>,
    /// The models, with their weights; by default those whose weights were learned, or the first that is able to look the
    /// queries up. The score of several is the weighted mean of their cosines.
    pub models: Vec<(String, f32)>,
    /// Whether the vector of a picture is the mean of those of the whole and of its middles.
    pub query_crops: bool,
}

/// What is said of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It shows one item.
    Match,
    /// It shows one of several items.
    Ambiguous,
    /// It shows no item of the catalog.
    Unknown,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Identified {
    /// What is said of it.
    pub verdict: Verdict,
    /// The probability that the first hit is right; None if there is no hit.
    pub probability: Option<f64>,
    /// The score of the first hit less that of the second; None if there are not two.
    pub margin: Option<f64>,
    /// How strongly the scores speak for the first hit; None if there is none.
    pub strength: Option<f64>,
    /// The [`strength`] that a match reaches.
    pub threshold: f64,
    /// The ids of the plausible items, the likeliest first; none if the verdict is [`Verdict::Unknown`].
    pub plausible: Vec<String>,
    /// The best items, with probabilities for the prior that was given.
    pub hits: Vec<Hit>,
}

/// The judgment of the best scores of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What is said of the query.
    pub verdict: Verdict,
    /// The best score less the next one; None if there are not two.
    pub margin: Option<f64>,
    /// How strongly the scores speak for the first item; None if there is none.
    pub strength: Option<f64>,
    /// How many of the first items are plausible.
    pub plausible: usize,
    /// The probability of each item for the prior that was given.
    pub probabilities: Vec<f64>,
}

/// Judges the best scores of a query, one for each item, by a calibration of such scores. `behind` is the mean score of the
/// items [behind](crate::calibrate::behind) the first one of the catalog, and `prior` the share of queries whose item is
/// there.
pub fn judge(fit: &Fit, scores: &[f32], behind: Option<f32>, threshold: f64, prior: f64) -> Judged {
    let probabilities = fit.probabilities(scores, behind);
    let strength = strength(scores, behind);
    let is_known = strength.is_some_and(|strength| strength >= threshold || scores[0] >= SAME);
    let plausible = if is_known { fit.plausible(&probabilities) } else { 0 };
    let verdict = match plausible {
        0 => Verdict::Unknown,
        1 => Verdict::Match,
        _ => Verdict::Ambiguous,
    };
    Judged {
        verdict,
        margin: scores.get(1).map(|next| f64::from(scores[0]) - f64::from(*next)),
        strength,
        plausible,
        probabilities: probabilities.into_iter().map(|one| shifted(one, prior)).collect(),
    }
}

impl Engine {
    /// Returns the calibration of the cosines of pictures, by one model or the weighted means of several; made anew if there
    /// is none. By default that of the models that look up pictures by default.
    ///
    /// # Errors
    /// [`Error::Argument`] for models that look up no pictures; those of the store.
    pub fn fit_of_pictures(&self, models: &[(String, f32)]) -> Result<Fit> {
        let state = self.current()?;
        let ensemble = self.ensemble(&state, Kind::Image, models)?;
        let known = self.calibrated(&state, &ensemble, Kind::Image, true)?;
        known.map(|known| known.fit.clone()).ok_or_else(|| Error::internal("pictures have no calibration"))
    }

    /// Says for each query which item it shows. The verdict is "unknown" if the best scores are weaker than those that
    /// strangers reach with the target's probability among as many items, except for a picture that is stored; "ambiguous"
    /// if several items are plausible.
    ///
    /// Pictures are looked at a second time if that finds more of the references that are left out one after another: then
    /// the scores of hits are those of the second look.
    ///
    /// # Errors
    /// [`Error::Argument`] when an option makes no sense, or queries are of a kind that is not calibrated; those of
    /// [`Engine::search`].
    pub fn identify(&self, queries: &[Query], options: &Identify) -> Result<Vec<Identified>> {
        let Identify { target_fpr, prior, k, filter, models, query_crops } = options;
        for (name, share) in [("target_fpr", target_fpr), ("prior", prior)] {
            if !(*share > 0.0 && *share < 1.0) {
                return Err(Error::argument(format!("{name} {share}: give a share above 0 and below 1")));
            }
        }
        if *k == 0 {
            return Err(Error::argument("k must be at least 1"));
        }
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let kind = one_kind(queries)?;
        let state = self.current()?;
        let ensemble = self.ensemble(&state, kind, models)?;
        let Some(calibration) = self.calibrated(&state, &ensemble, kind, true)? else {
            let what = if kind == Kind::Text { "texts" } else { "pictures with texts" };
            return Err(Error::argument(format!(
                "{what} are not calibrated in this catalog: call calibrate() with labeled ones first, or give pictures"
            )));
        };
        let gallery = match filter {
            Some(filter) => state.select(&self.store, filter)?.items().len(),
            None => state.index.items(),
        };
        let fit = calibration.identifies();
        let threshold = fit.rates(*target_fpr, gallery).threshold;
        let search = Search {
            k: LOOK.max(*k),
            after: None,
            filter: filter.clone(),
            min_score: None,
            models: self.named(&ensemble),
            exclude: Vec::new(),
            mmr: None,
            fusion: Fusion::Sum,
            aggregate: Aggregate::Max,
            query_crops: *query_crops,
            expand: Expand::Never,
            // What is calibrated are cosines.
            words: Words::Never,
            effort: Effort::default(),
            vectors: false,
        };
        let answer = |(mut hits, behind): (Vec<Hit>, Option<f32>)| {
            let scores: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
            let judged = judge(fit, &scores, behind, threshold, *prior);
            let plausible = hits[..judged.plausible].iter().map(|hit| hit.entry.id.clone()).collect();
            for (hit, probability) in hits.iter_mut().zip(&judged.probabilities) {
                hit.probability = Some(*probability);
            }
            hits.truncate(*k);
            Identified {
                verdict: judged.verdict,
                probability: hits.first().and_then(|hit| hit.probability),
                margin: judged.margin,
                strength: judged.strength,
                threshold,
                plausible,
                hits,
            }
        };
        let look = calibration.second.as_ref().map(|second| (&ensemble, &second.look));
        let found = self.search_by(queries, &search, look)?;
        Ok(found.hits.into_iter().zip(found.behind).map(answer).collect())
    }
}
