//! Turns scores into probabilities, thresholds, sets of plausible items and weights of models. All functions are pure.
//!
//! A [`Fit`] is made from the scores of queries whose answers are known: how near each is to its own item, and how near
//! to the nearest other items. A [`Typical`] model's scores stand in for those that a small catalog lacks.

mod evidence;
mod fit;
mod logistic;
mod metric;
mod tail;
mod typical;
mod weights;

pub use self::evidence::{BEHIND, Neighbors, behind, strength};
pub use self::fit::{Fit, Rates, SAME};
pub use self::logistic::{Example, Logistic, shifted};
pub use self::metric::{Alike, Group, Metric};
pub use self::tail::Tail;
pub use self::typical::Typical;
pub use self::weights::{Choice, LEAST, Question, choose};

/// Returns how like a hit is to its query, from 0 to 1: its probability, or else its cosine if that is above 0. The
/// cosine is the score, or of several models the best one: their fused score may be no cosine.
pub fn similarity(probability: Option<f64>, score: f64, scores: &[f64]) -> f64 {
    let cosine = if scores.len() < 2 { score } else { scores.iter().copied().fold(f64::NEG_INFINITY, f64::max) };
    probability.unwrap_or(cosine).clamp(0.0, 1.0)
}

/// Returns the value at which the share `share` of the total weight is reached, of values in ascending order.
fn quantile(sorted: &[(f64, f64)], share: f64) -> f64 {
    let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    let mut reached = 0.0;
    for (value, weight) in sorted {
        reached += weight;
        if reached >= share * total {
            return *value;
        }
    }
    sorted.last().map_or(f64::NAN, |(value, _)| *value)
}

/// Sorts weighted values, the smallest first.
fn sorted(mut values: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_is_a_probability_or_a_cosine() {
        assert_eq!(similarity(Some(0.75), 0.3, &[0.3]), 0.75);
        assert_eq!(similarity(None, -0.3, &[-0.3]), 0.0);
        assert_eq!(similarity(None, 1.0000001, &[]), 1.0);
        // By reciprocal ranks.
        assert_eq!(similarity(None, 0.016, &[0.2, 0.4]), 0.4);
    }
}
