//! Turns scores into probabilities, thresholds and sets of plausible items. All functions are pure.
//!
//! A [`Fit`] is made from the scores of queries whose answers are known: how near each is to its own item, and how near
//! to the nearest other items. A [`Typical`] model's scores stand in for those that a small catalog lacks.

mod fit;
mod logistic;
mod tail;
mod typical;

pub use self::fit::{Fit, Neighbors, Rates};
pub use self::logistic::{Example, Logistic, shifted};
pub use self::tail::Tail;
pub use self::typical::Typical;

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
