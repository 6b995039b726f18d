//! Computes the variation of a metric over other queries of the same kind with the percentile bootstrap (Efron,
//! "Bootstrap methods: another look at the jackknife", 1979; Efron and Tibshirani, "An Introduction to the Bootstrap",
//! 1993).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::random::Random;

/// The most rounds.
const MOST_ROUNDS: usize = 1_000_000;

/// The settings of the bootstrap. The same seed gives the same interval on every machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// The number of resamples.
    pub rounds: usize,
    /// The confidence level: the share of resamples within the interval.
    pub confidence: f64,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { rounds: 2000, confidence: 0.95, seed: 0 }
    }
}

/// A value with its confidence interval. The interval has no width if all outcomes are equal: with n queries that are
/// all right, the true rate may still be as low as 1 - 3/n.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The value itself.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Bootstrap {
    /// Returns the mean of `values`. Values of the same group, such as the queries of one item, are correlated and
    /// therefore drawn together; drawing each alone would make the interval too narrow. For the difference of two
    /// systems on the same queries, pass the differences, which keeps the pairs.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no values, one is NaN or infinite, `groups` has another length, or a setting
    /// is out of range.
    pub fn mean(&self, values: &[f64], groups: Option<&[i64]>) -> Result<Interval> {
        self.check()?;
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::argument(format!("value {place} is {}: give finite values", values[place])));
        }
        let clusters = Clusters::new("values", values.len(), groups)?;
        let mean = |weights: &[u32]| {
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            values.iter().zip(weights).map(|(value, &weight)| value * f64::from(weight)).sum::<f64>() / total as f64
        };
        let mut weights = vec![1; values.len()];
        let value = mean(&weights);
        let [interval] = self.run([value], |random| {
            clusters.draw(random, &mut weights);
            [mean(&weights)]
        });
        Ok(interval)
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(1..=MOST_ROUNDS).contains(&self.rounds) {
            return Err(Error::argument(format!("rounds must be between 1 and {MOST_ROUNDS}, got {}", self.rounds)));
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return Err(Error::argument(format!("confidence must be between 0 and 1, got {}", self.confidence)));
        }
        Ok(())
    }

    /// Returns the intervals of `N` figures, which `round` computes from one resample.
    pub(super) fn run<const N: usize>(
        &self,
        values: [f64; N],
        mut round: impl FnMut(&mut Random) -> [f64; N],
    ) -> [Interval; N] {
        let mut random = Random::plain(self.seed);
        let draws: Vec<[f64; N]> = (0..self.rounds).map(|_| round(&mut random)).collect();
        std::array::from_fn(|i| {
            let mut drawn: Vec<f64> = draws.iter().map(|draw| draw[i]).collect();
            drawn.sort_by(f64::total_cmp);
            let tail = (1.0 - self.confidence) / 2.0;
            Interval { value: values[i], low: quantile(&drawn, tail), high: quantile(&drawn, 1.0 - tail) }
        })
    }
}

/// Interpolates between the two nearest of the sorted values, like numpy.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The groups of values that are drawn together.
pub(super) struct Clusters {
    members: Vec<Vec<usize>>,
}

impl Clusters {
    pub(super) fn new(name: &str, count: usize, groups: Option<&[i64]>) -> Result<Self> {
        if count == 0 {
            return Err(Error::argument(format!("no {name}: an interval needs at least one")));
        }
        let Some(groups) = groups else {
            return Ok(Self { members: (0..count).map(|value| vec![value]).collect() });
        };
        if groups.len() != count {
            return Err(Error::argument(format!("{} groups for {count} {name}: give one for each", groups.len())));
        }
        let mut numbers = HashMap::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (value, group) in groups.iter().enumerate() {
            let number = *numbers.entry(group).or_insert(members.len());
            if number == members.len() {
                members.push(Vec::new());
            }
            members[number].push(value);
        }
        Ok(Self { members })
    }

    /// Draws as many groups as there are, with replacement, and counts each value.
    pub(super) fn draw(&self, random: &mut Random, weights: &mut [u32]) {
        weights.fill(0);
        for _ in 0..self.members.len() {
            self.members[random.below(self.members.len())].iter().for_each(|&value| weights[value] += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_the_binomial_one() {
        // 200 of 400: the standard error is 0.025, and 95 % lie within 1.96 of them.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let interval = Bootstrap { rounds: 20_000, ..Bootstrap::default() }.mean(&values, None).unwrap();
        assert_eq!(interval.value, 0.5);
        assert!((interval.low - 0.451).abs() < 0.004 && (interval.high - 0.549).abs() < 0.004, "{interval:?}");
        let usual = || Bootstrap::default().mean(&values, None).unwrap();
        assert_eq!(usual(), usual());
    }

    #[test]
    fn groups_are_drawn_together() {
        // Four copies of each of 100 values tell no more than the 100.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i / 4 % 2)).collect();
        let groups: Vec<i64> = (0..400).map(|i| 7 * (i / 4)).collect();
        let interval = Bootstrap { rounds: 20_000, ..Bootstrap::default() }.mean(&values, Some(&groups)).unwrap();
        assert!((interval.low - 0.402).abs() < 0.009 && (interval.high - 0.598).abs() < 0.009, "{interval:?}");
    }

    #[test]
    fn groups_of_unequal_size_keep_the_mean_over_values() {
        // Drawn: the first group alone (1), both (1/3 of 1, 2/3 of 0), or the second alone (0).
        let interval = Bootstrap::default().mean(&[1.0, 0.0, 0.0], Some(&[1, 2, 2])).unwrap();
        assert_eq!(interval, Interval { value: 1.0 / 3.0, low: 0.0, high: 1.0 });
    }

    #[test]
    fn quantiles_lie_between_neighbors() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(|share| quantile(&sorted, share)), [1.0, 3.0, 5.0, 8.0]);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let error = |bootstrap: Bootstrap, values: &[f64], groups: Option<&[i64]>| {
            bootstrap.mean(values, groups).unwrap_err().to_string()
        };
        let usual = Bootstrap::default();
        assert!(error(usual, &[], None).starts_with("no values"));
        assert!(error(usual, &[1.0, f64::NAN], None).starts_with("value 1 is NaN: give finite"));
        assert!(error(usual, &[1.0], Some(&[1, 2])).starts_with("2 groups for 1 values"));
        assert!(error(Bootstrap { rounds: 0, ..usual }, &[1.0], None).starts_with("rounds must be between"));
        for confidence in [0.0, 1.0, f64::NAN] {
            assert!(error(Bootstrap { confidence, ..usual }, &[1.0], None).starts_with("confidence must be between"));
        }
    }
}
