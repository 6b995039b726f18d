//! Logistic regression on two features: the best score, and its lead over the next.

use serde::{Deserialize, Serialize};

/// Steps of Newton's method: it needs about eight.
const STEPS: usize = 100;
/// The change of every coefficient below which it has arrived.
const ARRIVED: f64 = 1e-10;

/// An answer, and whether it was right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example {
    /// The best score.
    pub score: f64,
    /// Its lead over the best score of another item; None if there is no other.
    pub margin: Option<f64>,
    /// Whether the item with the best score is the right one.
    pub right: bool,
    /// How much the example counts.
    pub weight: f64,
}

/// Log-odds that an answer is right, which never fall with the score or the margin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    intercept: f64,
    score: f64,
    margin: f64,
    /// The margin of an answer that has none.
    usual: f64,
}

impl Logistic {
    /// Fits the coefficients by maximum likelihood. The squares of the slopes, on features of mean 0 and standard
    /// deviation 1, are penalized by half of `ridge`, so that examples which are all told apart give no infinite slope. A
    /// slope that would be negative is 0.
    pub fn fit(examples: &[Example], ridge: f64) -> Self {
        let weight: f64 = examples.iter().map(|one| one.weight).sum();
        let with_margin: f64 = examples.iter().filter(|one| one.margin.is_some()).map(|one| one.weight).sum();
        let margins: f64 = examples.iter().filter_map(|one| Some(one.weight * one.margin?)).sum();
        let usual = if with_margin > 0.0 { margins / with_margin } else { 0.0 };
        let features = |one: &Example| [one.score, one.margin.unwrap_or(usual)];
        let mut means = [0.0; 2];
        let mut spreads = [0.0; 2];
        for one in examples {
            (0..2).for_each(|i| means[i] += one.weight * features(one)[i] / weight);
        }
        for one in examples {
            (0..2).for_each(|i| spreads[i] += one.weight * (features(one)[i] - means[i]).powi(2) / weight);
        }
        let spreads = spreads.map(|square: f64| if square > 1e-18 { square.sqrt() } else { 1.0 });
        let rows: Vec<([f64; 3], bool, f64)> = (examples.iter())
            .map(|one| {
                let [score, margin] = features(one);
                ([1.0, (score - means[0]) / spreads[0], (margin - means[1]) / spreads[1]], one.right, one.weight)
            })
            .collect();
        let mut free = [true, true, true];
        let mut slopes = newton(&rows, ridge, free);
        // The smaller of two negative slopes goes first: the other one may be negative only because of it.
        while let Some(negative) = (1..3).filter(|i| slopes[*i] < 0.0).min_by(|a, b| slopes[*a].total_cmp(&slopes[*b]))
        {
            free[negative] = false;
            slopes = newton(&rows, ridge, free);
        }
        let (score, margin) = (slopes[1] / spreads[0], slopes[2] / spreads[1]);
        Self { intercept: slopes[0] - score * means[0] - margin * means[1], score, margin, usual }
    }

    /// Returns the probability, from 0 to 1, that an item with this score and this lead over the others is the right one,
    /// if it is as likely as not that the right one is there. A negative lead is that of an item behind the best one.
    pub fn probability(&self, score: f64, margin: Option<f64>) -> f64 {
        sigmoid(self.intercept + self.score * score + self.margin * margin.unwrap_or(self.usual))
    }
}

/// Returns the probability if the right item is there with probability `prior`, of one where that is ½.
pub fn shifted(probability: f64, prior: f64) -> f64 {
    let there = probability * prior;
    let absent = (1.0 - probability) * (1.0 - prior);
    if there + absent > 0.0 { there / (there + absent) } else { probability }
}

fn sigmoid(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// The coefficients with the least penalized loss; those that are not free are 0.
fn newton(rows: &[([f64; 3], bool, f64)], ridge: f64, free: [bool; 3]) -> [f64; 3] {
    let loss = |at: &[f64; 3]| {
        let of = |(row, right, weight): &([f64; 3], bool, f64)| {
            let odds = dot(row, at);
            let against = if *right { -odds } else { odds };
            weight * (against.max(0.0) + (-against.abs()).exp().ln_1p())
        };
        rows.iter().map(of).sum::<f64>() + ridge / 2.0 * (at[1] * at[1] + at[2] * at[2])
    };
    let mut at = [0.0; 3];
    let mut now = loss(&at);
    for _ in 0..STEPS {
        let mut slope = [0.0, ridge * at[1], ridge * at[2]];
        let mut curve = [[1e-12, 0.0, 0.0], [0.0, ridge + 1e-12, 0.0], [0.0, 0.0, ridge + 1e-12]];
        for (row, right, weight) in rows {
            let odds = sigmoid(dot(row, &at));
            for i in 0..3 {
                slope[i] += weight * (odds - f64::from(*right)) * row[i];
                (0..3).for_each(|j| curve[i][j] += weight * odds * (1.0 - odds) * row[i] * row[j]);
            }
        }
        for i in (0..3).filter(|i| !free[*i]) {
            (0..3).for_each(|j| (curve[i][j], curve[j][i]) = (0.0, 0.0));
            (curve[i][i], slope[i]) = (1.0, 0.0);
        }
        let step = solve(curve, slope);
        let mut share = 1.0;
        let next = loop {
            let next = [0, 1, 2].map(|i| at[i] - share * step[i]);
            let better = loss(&next);
            if better <= now || share < 1e-6 {
                now = better;
                break next;
            }
            share /= 2.0;
        };
        let moved = (0..3).map(|i| (next[i] - at[i]).abs()).fold(0.0, f64::max);
        at = next;
        if moved < ARRIVED {
            break;
        }
    }
    at
}

fn dot(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves three linear equations with a positive definite matrix.
fn solve(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> [f64; 3] {
    for i in 0..3 {
        for j in i + 1..3 {
            let share = matrix[j][i] / matrix[i][i];
            (0..3).for_each(|k| matrix[j][k] -= share * matrix[i][k]);
            right[j] -= share * right[i];
        }
    }
    let mut solved = [0.0; 3];
    for i in (0..3).rev() {
        let rest: f64 = (i + 1..3).map(|j| matrix[i][j] * solved[j]).sum();
        solved[i] = (right[i] - rest) / matrix[i][i];
    }
    solved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(score: f64, margin: f64, right: bool) -> Example {
        Example { score, margin: Some(margin), right, weight: 1.0 }
    }

    const OVERLAPPING: [(f64, f64, bool); 8] = [
        (0.9, 0.3, true),
        (0.8, 0.1, true),
        (0.7, 0.2, true),
        (0.6, 0.05, true),
        (0.75, 0.02, false),
        (0.5, 0.1, false),
        (0.4, 0.03, false),
        (0.65, 0.15, false),
    ];

    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        let examples: Vec<Example> = OVERLAPPING.map(|(s, m, right)| example(s, m, right)).into();
        let found = Logistic::fit(&examples, 1.0);
        // x = StandardScaler().fit_transform(rows); LogisticRegression(C=1.0, tol=1e-12).fit(x, right)
        //     .predict_proba(StandardScaler().fit(rows).transform([(0.9, 0.3), (0.4, 0.03), (0.7, 0.1)]))[:, 1]
        for (score, margin, expected) in REFERENCE {
            assert!((found.probability(score, Some(margin)) - expected).abs() < 1e-6, "{score} {margin}");
        }
    }

    const REFERENCE: [(f64, f64, f64); 3] =
        [(0.9, 0.3, 0.893477280), (0.4, 0.03, 0.158915707), (0.7, 0.1, 0.523391712)];

    #[test]
    fn weights_count_as_copies() {
        let mut examples: Vec<Example> = OVERLAPPING.map(|(s, m, right)| example(s, m, right)).into();
        examples[2].weight = 3.0;
        let once = Logistic::fit(&examples, 0.5);
        examples[2].weight = 1.0;
        examples.extend([examples[2]; 2]);
        let copied = Logistic::fit(&examples, 0.5);
        assert!((once.probability(0.7, Some(0.1)) - copied.probability(0.7, Some(0.1))).abs() < 1e-9);
    }

    #[test]
    fn probabilities_never_fall_with_the_score_or_the_margin() {
        // Right answers have the smaller margins.
        let examples: Vec<Example> = OVERLAPPING.map(|(s, m, right)| example(s, -m, right)).into();
        let fit = Logistic::fit(&examples, 1.0);
        assert_eq!(fit.margin, 0.0);
        assert!(fit.probability(0.9, Some(0.1)) > fit.probability(0.5, Some(0.1)));
    }

    #[test]
    fn examples_that_are_told_apart_give_finite_slopes() {
        let fit = Logistic::fit(&[example(0.9, 0.5, true), example(0.1, 0.5, false)], 1.0);
        assert!(fit.score.is_finite() && fit.probability(0.9, None) > 0.5 && fit.probability(0.1, None) < 0.5);
        // Equal features tell nothing.
        let fit = Logistic::fit(&[example(0.5, 0.0, true), example(0.5, 0.0, false)], 1.0);
        assert!((fit.probability(0.5, Some(0.0)) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_prior_shifts_the_odds() {
        assert_eq!(shifted(0.8, 0.5), 0.8);
        assert!((shifted(0.5, 0.9) - 0.9).abs() < 1e-12);
        // Odds of 4 times odds of 1/9.
        assert!((shifted(0.8, 0.1) - 4.0 / 13.0).abs() < 1e-12);
        assert_eq!((shifted(0.8, 0.0), shifted(0.8, 1.0)), (0.0, 1.0));
    }
}
