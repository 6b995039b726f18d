//! Scores that are typical of a model, which stand in for those that a small catalog lacks.

use serde::{Deserialize, Serialize};

use crate::calibrate::evidence::{BEHIND, Neighbors};

/// How near a model brings pictures of one item, and pictures of different ones: the section `calibration` of a model's
/// manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Numbers")]
pub struct Typical {
    /// Cosines of pictures with another picture of the same item, each as frequent as the others.
    genuine: Vec<f64>,
    /// Of pairs of different items, the share 0.05 exp(−(c − start) / scale) reaches a high cosine c.
    start: f64,
    /// How slowly that falls.
    scale: f64,
}

/// The same before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    genuine: Vec<f64>,
    start: f64,
    scale: f64,
}

impl TryFrom<Numbers> for Typical {
    type Error = &'static str;

    fn try_from(Numbers { genuine, start, scale }: Numbers) -> Result<Self, Self::Error> {
        let cosine = |value: &f64| (-1.0..=1.0).contains(value);
        match !genuine.is_empty() && genuine.iter().all(cosine) && cosine(&start) && scale > 0.0 && scale.is_finite() {
            true => Ok(Self { genuine, start, scale }),
            false => Err("calibration: give cosines as genuine and start, and a scale above 0"),
        }
    }
}

/// Quantiles at 0.025, 0.075, ..., 0.975.
const GENUINE: [f64; 20] = [
    0.628, 0.708, 0.750, 0.779, 0.800, 0.819, 0.835, 0.847, 0.858, 0.867, 0.875, 0.882, 0.889, 0.898, 0.906, 0.914,
    0.921, 0.930, 0.938, 0.952,
];

impl Default for Typical {
    /// Of plushie-mini on rendered plushes, by `benches/identify.py --typical`.
    fn default() -> Self {
        Self { genuine: GENUINE.into(), start: 0.534, scale: 0.045 }
    }
}

impl Typical {
    /// Those of weighted means of the cosines of several models, each with its weight, as if these rose and fell together.
    pub fn together(models: &[(Self, f64)]) -> Self {
        if let [(one, _)] = models {
            return one.clone();
        }
        let all: f64 = models.iter().map(|(_, weight)| weight).sum();
        let mean = |of: &dyn Fn(&Self) -> f64| models.iter().map(|(one, weight)| weight / all * of(one)).sum();
        let quantile = |one: &Self, place: usize| {
            let mut genuine = one.genuine.clone();
            genuine.sort_unstable_by(f64::total_cmp);
            genuine[place * genuine.len() / GENUINE.len()]
        };
        Self {
            genuine: (0..GENUINE.len()).map(|place| mean(&|one| quantile(one, place))).collect(),
            start: mean(&|one| one.start),
            scale: mean(&|one| one.scale),
        }
    }

    /// Cosines of pictures with another picture of the same item.
    pub(super) fn genuine(&self) -> &[f64] {
        &self.genuine
    }

    /// How slowly the share of the pairs of different items falls that reach a high cosine.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns the best scores of `count` strangers among `gallery` items: the best ones are quantiles of
    /// 1 − (1 − FMR)^gallery. The differences of the best scores of exponential tails are exponential, too, and that of the
    /// i-th and the next one is a part i of the scale on average.
    pub(super) fn strangers(&self, gallery: usize, count: usize) -> Vec<Neighbors> {
        let share = |place: usize| (place as f64 + 0.5) / count as f64;
        // Coprime to most counts, so that each difference stands beside another best score.
        let other = |place: usize| (place * 7 + 3) % count;
        let stranger = |place: usize| {
            let matches = -(share(place).ln() / gallery.max(1) as f64).exp_m1();
            let mut score = (self.start + self.scale * (0.05 / matches).ln()).clamp(-1.0, 1.0);
            let mut scores = vec![score as f32];
            for rank in 1..gallery.min(BEHIND + 1) {
                score -= self.scale * if rank == 1 { -(1.0 - share(other(place))).ln() } else { 1.0 / rank as f64 };
                scores.push(score as f32);
            }
            Neighbors::new(None, &scores)
        };
        (0..count).map(stranger).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_among_more_items_score_higher() {
        let typical = Typical { genuine: vec![0.9], start: 0.5, scale: 0.04 };
        // Of the median, 1 - (1 - FMR)^N = 0.5, and FMR = 0.05 exp(-(t - 0.5) / 0.04).
        for (gallery, fmr) in [(1, 0.5), (100, 1.0 - 0.5_f64.powf(0.01)), (1000, 1.0 - 0.5_f64.powf(0.001))] {
            let strangers = typical.strangers(gallery, 101);
            let first = |one: &Neighbors| f64::from(one.first.unwrap());
            assert!((first(&strangers[50]) - (0.5 - 0.04 * (fmr / 0.05).ln())).abs() < 1e-6);
            if gallery == 1 {
                assert!(strangers.iter().all(|one| one.second.is_none()));
                continue;
            }
            let mean = |of: &dyn Fn(&Neighbors) -> f64| strangers.iter().map(of).sum::<f64>() / 101.0;
            assert!((mean(&|one| first(one) - f64::from(one.second.unwrap())) - 0.04).abs() < 0.002);
            // The mean of 1, 1 + 1/2, ... 1 + ... + 1/10 is 2.2219.
            let strength = mean(&|one| one.strange().unwrap().score - 0.3 * first(one));
            assert!((strength - 0.7 * 2.2219 * 0.04).abs() < 0.002, "{strength}");
        }
    }

    #[test]
    fn several_models_have_the_weighted_means() {
        let one = Typical { genuine: vec![0.9, 0.5], start: 0.5, scale: 0.04 };
        let other = Typical { genuine: vec![0.7], start: 0.3, scale: 0.02 };
        let both = Typical::together(&[(one.clone(), 3.0), (other, 1.0)]);
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{both:?}");
        near(both.genuine[0], 0.75 * 0.5 + 0.25 * 0.7);
        near(both.genuine[19], 0.75 * 0.9 + 0.25 * 0.7);
        near(both.start, 0.45);
        near(both.scale, 0.035);
        assert_eq!(Typical::together(&[(one.clone(), 0.3)]), one);
    }

    #[test]
    fn what_is_no_cosine_is_refused() {
        let read = |text: &str| serde_json::from_str::<Typical>(text);
        assert!(read(r#"{"genuine": [0.9, 0.8], "start": 0.5, "scale": 0.03}"#).is_ok());
        for bad in [
            r#"{"genuine": [], "start": 0.5, "scale": 0.03}"#,
            r#"{"genuine": [1.5], "start": 0.5, "scale": 0.03}"#,
            r#"{"genuine": [0.9], "start": 0.5, "scale": 0}"#,
            r#"{"genuine": [0.9], "start": 0.5, "scale": 0.1, "more": 1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
