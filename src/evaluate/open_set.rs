//! Measures whether scores separate queries for known items from queries for unknown ones.

use crate::error::{Error, Result};
use crate::evaluate::bootstrap::{Bootstrap, Clusters, Interval};

/// Open-set metrics: how well the best score of a query tells whether its item is in the catalog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenSet {
    /// The area under the ROC curve: the probability that a known query scores higher than an unknown one, ties
    /// counted half (Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic
    /// (ROC) curve", 1982).
    pub auroc: Interval,
    /// The share of unknown queries that score at least `threshold`.
    pub false_accept_rate: Interval,
    /// The share of known queries that score below `threshold`: at most the requested rate.
    pub false_reject_rate: f64,
    /// The highest score that rejects at most the requested share of known queries.
    pub threshold: f64,
}

/// Compares the best scores of known and unknown queries, regardless of the item found. A query is accepted if it
/// scores at least the threshold, which is set anew in every round of the bootstrap.
///
/// # Errors
/// [`Error::Argument`] if there are no known or no unknown queries, a score is NaN, `false_reject_rate` is not from 0
/// to below 1, or the groups or settings do not fit; see [`Bootstrap::mean`] for `groups`.
pub fn open_set(
    known: &[f64],
    unknown: &[f64],
    false_reject_rate: f64,
    groups: Option<&[i64]>,
    bootstrap: Bootstrap,
) -> Result<OpenSet> {
    bootstrap.check()?;
    if !(0.0..1.0).contains(&false_reject_rate) {
        return Err(Error::argument(format!("false_reject_rate must be from 0 to below 1, got {false_reject_rate}")));
    }
    for (name, scores) in [("known", known), ("unknown", unknown)] {
        if let Some(bad) = scores.iter().position(|score| score.is_nan()) {
            return Err(Error::argument(format!("{name} score {bad} is NaN")));
        }
    }
    let known_clusters = Clusters::new("known scores", known.len(), groups)?;
    let unknown_clusters = Clusters::new("unknown scores", unknown.len(), None)?;

    let steps = steps(known, unknown);
    let (mut known_weights, mut unknown_weights) = (vec![1; known.len()], vec![1; unknown.len()]);
    let whole = walk(&steps, &known_weights, &unknown_weights, false_reject_rate);
    let [auroc, false_accept_rate] = bootstrap.run([whole.auroc, whole.false_accept_rate], |random| {
        known_clusters.draw(random, &mut known_weights);
        unknown_clusters.draw(random, &mut unknown_weights);
        let drawn = walk(&steps, &known_weights, &unknown_weights, false_reject_rate);
        [drawn.auroc, drawn.false_accept_rate]
    });
    Ok(OpenSet { auroc, false_accept_rate, false_reject_rate: whole.false_reject_rate, threshold: whole.threshold })
}

/// Queries with the same score: the number of known and of unknown ones.
struct Step {
    score: f64,
    known: Vec<usize>,
    unknown: Vec<usize>,
}

/// Returns the steps from the highest score to the lowest.
fn steps(known: &[f64], unknown: &[f64]) -> Vec<Step> {
    let number = |is_known| move |(number, &score): (usize, &f64)| (score, is_known, number);
    let known = known.iter().enumerate().map(number(true));
    let mut all: Vec<(f64, bool, usize)> = known.chain(unknown.iter().enumerate().map(number(false))).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let step = |run: &[(f64, bool, usize)]| {
        let of = |wanted| run.iter().filter(|(_, known, _)| *known == wanted).map(|(.., number)| *number).collect();
        Step { score: run[0].0, known: of(true), unknown: of(false) }
    };
    all.chunk_by(|a, b| a.0 == b.0).map(step).collect()
}

struct Walked {
    auroc: f64,
    false_accept_rate: f64,
    false_reject_rate: f64,
    threshold: f64,
}

fn walk(steps: &[Step], known_weights: &[u32], unknown_weights: &[u32], false_reject_rate: f64) -> Walked {
    let sum = |weights: &[u32]| weights.iter().map(|&weight| f64::from(weight)).sum::<f64>();
    let weight = |weights: &[u32], numbers: &[usize]| numbers.iter().map(|&i| f64::from(weights[i])).sum::<f64>();
    let (all_known, all_unknown) = (sum(known_weights), sum(unknown_weights));
    // A rounding error must not reduce the number of allowed rejections: 0.29 * 100 is a little less than 29.
    let may_reject = (false_reject_rate * all_known + 1e-9).floor();
    let (mut above, mut accepted, mut area) = (0.0, 0.0, 0.0);
    let mut decision = None;
    for step in steps {
        let known = weight(known_weights, &step.known);
        let unknown = weight(unknown_weights, &step.unknown);
        area += unknown * (above + known / 2.0);
        above += known;
        accepted += unknown;
        let rejected = all_known - above;
        if decision.is_none() && known > 0.0 && rejected <= may_reject {
            decision = Some((accepted / all_unknown, rejected / all_known, step.score));
        }
    }
    let (false_accept_rate, false_reject_rate, threshold) = decision.expect("the last known query rejects none");
    Walked { auroc: area / (all_known * all_unknown), false_accept_rate, false_reject_rate, threshold }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(known: &[f64], unknown: &[f64], rate: f64) -> OpenSet {
        open_set(known, unknown, rate, None, Bootstrap { rounds: 200, ..Bootstrap::default() }).unwrap()
    }

    #[test]
    fn figures_equal_those_computed_by_hand() {
        // Of the 8 pairs, 4 have the known one higher and 2 are ties.
        let (known, unknown) = ([0.9, 0.7, 0.4, 0.2], [0.7, 0.2]);
        let found = plain(&known, &unknown, 0.0);
        assert_eq!(found.auroc.value, (4.0 + 2.0 / 2.0) / 8.0);
        assert_eq!((found.threshold, found.false_reject_rate, found.false_accept_rate.value), (0.2, 0.0, 1.0));
        let found = plain(&known, &unknown, 0.25);
        assert_eq!((found.threshold, found.false_reject_rate, found.false_accept_rate.value), (0.4, 0.25, 0.5));
        let found = plain(&known, &unknown, 0.74);
        assert_eq!((found.threshold, found.false_reject_rate, found.false_accept_rate.value), (0.7, 0.5, 0.5));
        let found = plain(&known, &unknown, 0.75);
        assert_eq!((found.threshold, found.false_reject_rate, found.false_accept_rate.value), (0.9, 0.75, 0.0));
    }

    #[test]
    fn ties_are_rejected_together_or_not_at_all() {
        let found = plain(&[0.5, 0.5, 0.9], &[0.1], 0.34);
        assert_eq!((found.threshold, found.false_reject_rate, found.false_accept_rate.value), (0.5, 0.0, 0.0));
        assert_eq!(plain(&[0.5], &[0.5], 0.0).auroc.value, 0.5);
    }

    #[test]
    fn a_rate_that_cannot_be_written_exactly_is_reached() {
        let known: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(plain(&known, &[0.0], 0.29).threshold, 29.0);
    }

    #[test]
    fn what_is_apart_is_certain() {
        let found = plain(&[0.8, 0.9], &[0.1, 0.2, f64::NEG_INFINITY], 0.05);
        assert_eq!(found.auroc, Interval { value: 1.0, low: 1.0, high: 1.0 });
        assert_eq!(found.false_accept_rate, Interval { value: 0.0, low: 0.0, high: 0.0 });
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let error = |known: &[f64], unknown: &[f64], rate| {
            open_set(known, unknown, rate, None, Bootstrap::default()).unwrap_err().to_string()
        };
        assert!(error(&[], &[0.1], 0.0).starts_with("no known scores"));
        assert!(error(&[0.1], &[], 0.0).starts_with("no unknown scores"));
        assert!(error(&[0.1], &[f64::NAN], 0.0).starts_with("unknown score 0 is NaN"));
        for rate in [-0.1, 1.0, f64::NAN] {
            assert!(error(&[0.1], &[0.1], rate).starts_with("false_reject_rate must be"));
        }
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs(known in prop::collection::vec(0u8..6, 1..12),
                                          unknown in prop::collection::vec(0u8..6, 1..12), percent in 0u8..100) {
            let (known, unknown) = (known.iter().map(|&s| f64::from(s)), unknown.iter().map(|&s| f64::from(s)));
            let (known, unknown): (Vec<f64>, Vec<f64>) = (known.collect(), unknown.collect());
            let rate = f64::from(percent) / 100.0;
            let found = plain(&known, &unknown, rate);
            let wins = known.iter().flat_map(|k| unknown.iter().map(move |u| {
                if k > u { 1.0 } else if k == u { 0.5 } else { 0.0 }
            }));
            let pairs = (known.len() * unknown.len()) as f64;
            prop_assert!((found.auroc.value - wins.sum::<f64>() / pairs).abs() < 1e-12);
            let below = |scores: &[f64], bar: f64| scores.iter().filter(|s| **s < bar).count() as f64;
            let rejected = |bar| below(&known, bar) / known.len() as f64;
            let best = known.iter().copied().filter(|bar| rejected(*bar) <= rate + 1e-9).fold(f64::MIN, f64::max);
            prop_assert_eq!(found.threshold, best);
            prop_assert!((found.false_reject_rate - rejected(best)).abs() < 1e-12);
            let accepted = 1.0 - below(&unknown, best) / unknown.len() as f64;
            prop_assert!((found.false_accept_rate.value - accepted).abs() < 1e-12);
            for interval in [found.auroc, found.false_accept_rate] {
                prop_assert!(0.0 <= interval.low && interval.low <= interval.high && interval.high <= 1.0);
            }
        }
    }
}
