//! The distribution of the best scores of strangers, with an exponential tail.

use serde::{Deserialize, Serialize};

use crate::calibrate::{quantile, sorted};

/// The share of the highest scores that the exponential tail stands for.
const TOP: f64 = 0.05;
/// The least scale of a tail.
const FLATTEST: f64 = 1e-4;
/// Steps between the quantiles.
const STEPS: usize = 100;

/// The best scores of queries whose item is not in a catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Quantiles at 0, 1/100, ..., 1.
    quantiles: Vec<f32>,
    /// The score that a share of 5 % reaches.
    start: f64,
    /// The mean by which these surpass it.
    scale: f64,
}

impl Tail {
    /// Describes weighted scores, of which there must be one. `usual` is a scale of the tail that counts as much as
    /// scores of its weight.
    pub fn fit(scores: Vec<(f64, f64)>, usual: (f64, f64)) -> Self {
        let scores = sorted(scores);
        let start = quantile(&scores, 1.0 - TOP);
        let above = scores.iter().filter(|(score, _)| *score > start);
        let (excess, weight) = above.fold((usual.0 * usual.1, usual.1), |(excess, all), (score, weight)| {
            (excess + weight * (score - start), all + weight)
        });
        let scale = if weight > 0.0 { (excess / weight).max(FLATTEST) } else { FLATTEST };
        let quantiles = (0..=STEPS).map(|step| quantile(&scores, step as f64 / STEPS as f64) as f32).collect();
        Self { quantiles, start, scale }
    }

    /// Returns the score that a share of strangers reaches.
    pub fn score_at(&self, share: f64) -> f64 {
        if share < TOP {
            return self.start + self.scale * (TOP / share).ln();
        }
        let place = (1.0 - share).max(0.0) * STEPS as f64;
        let (low, part) = (place.floor() as usize, place.fract());
        let at = |step: usize| f64::from(self.quantiles[step.min(STEPS)]);
        at(low) + part * (at(low + 1) - at(low))
    }

    /// Returns the share of strangers that reach a score.
    pub fn share_of(&self, score: f64) -> f64 {
        if score > self.start {
            return TOP * (-(score - self.start) / self.scale).exp();
        }
        let next = self.quantiles.partition_point(|quantile| f64::from(*quantile) < score);
        if next == 0 || next > STEPS {
            return if next == 0 { 1.0 } else { TOP };
        }
        let (low, high) = (f64::from(self.quantiles[next - 1]), f64::from(self.quantiles[next]));
        let place = (next - 1) as f64 + (score - low) / (high - low);
        (1.0 - place / STEPS as f64).clamp(TOP, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 quantiles of an exponential distribution of mean 0.03 from 0.5 on.
    fn exponential() -> Vec<(f64, f64)> {
        (0..1000).map(|i| (0.5 - 0.03 * (1.0 - (f64::from(i) + 0.5) / 1000.0).ln(), 1.0)).collect()
    }

    #[test]
    fn a_tail_goes_on_beyond_the_highest_score() {
        let tail = Tail::fit(exponential(), (0.0, 0.0));
        assert!((tail.scale - 0.03).abs() < 0.002, "{tail:?}");
        for share in [0.5, 0.2, 0.06, 0.04, 0.01, 1e-3, 1e-5] {
            let expected = 0.5 - 0.03 * f64::ln(share);
            assert!((tail.score_at(share) - expected).abs() < 0.01, "{share}: {}", tail.score_at(share));
            assert!((tail.share_of(tail.score_at(share)) / share - 1.0).abs() < 0.1, "{share}");
        }
    }

    #[test]
    fn few_scores_take_the_usual_scale() {
        let tail = Tail::fit(vec![(0.4, 1.0), (0.5, 1.0)], (0.02, 5.0));
        assert!((tail.scale - 0.02).abs() < 1e-12);
        assert!((tail.score_at(0.05 / std::f64::consts::E) - 0.52).abs() < 1e-12);
    }

    #[test]
    fn weights_count_as_copies() {
        let weighed = Tail::fit(vec![(0.1, 1.0), (0.2, 3.0), (0.3, 1.0)], (0.02, 1.0));
        let copied = Tail::fit(vec![(0.1, 1.0), (0.2, 1.0), (0.2, 1.0), (0.2, 1.0), (0.3, 1.0)], (0.02, 1.0));
        assert_eq!(weighed, copied);
    }
}
