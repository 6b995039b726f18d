//! Learns how much each of several models counts beside the others.

use crate::error::Result;
use crate::evaluate::{Bootstrap, Interval};

/// The most steps from 0 to 1 in which weights are tried, and the most combinations of them.
const STEPS: usize = 20;
const COMBINATIONS: usize = 250;
/// The width of the edges of a right answer, in standard deviations of the leads.
const EDGE: f64 = 0.25;
/// The parts of the items: what is chosen by the others is measured on each.
const PARTS: i64 = 5;
/// The least queries that tell which weights are better.
pub const LEAST: usize = 30;

/// The cosines of a query whose answer is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The right item. Queries of one item are alike, so that they are not counted as independent of each other.
    pub item: i64,
    /// For each reference of the right item one cosine of each model, one reference after another.
    pub own: Vec<f32>,
    /// The same for the references of the other items that are nearest by any of the models.
    pub others: Vec<f32>,
}

/// Weights, and what they gain.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// One for each model; together 1.
    pub weights: Vec<f32>,
    /// By how much the share of queries whose right item comes first is larger than with the model that is used alone. The
    /// items are divided in five parts, and the queries of each are looked up by the weights that the other parts choose.
    pub gain: Interval,
}

impl Question {
    /// How far the right item's best reference lies before the best one of the others.
    fn lead(&self, weights: &[f32]) -> f32 {
        let best = |cosines: &[f32]| {
            let score = |row: &[f32]| row.iter().zip(weights).map(|(cosine, weight)| cosine * weight).sum();
            cosines.chunks_exact(weights.len()).map(score).fold(f32::NEG_INFINITY, f32::max)
        };
        best(&self.own) - best(&self.others)
    }

    fn part(&self) -> i64 {
        self.item.rem_euclid(PARTS)
    }
}

/// Chooses weights for so many models by queries of which references of the right item and of others are known; `alone` is
/// the model that is used alone so far. Returns None if there are fewer than [`LEAST`] queries, or all are of one part of
/// the items.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if a cosine is not finite.
///
/// # Panics
/// If there is no model, or `alone` is none of them.
pub fn choose(questions: &[Question], models: usize, alone: usize) -> Result<Option<Choice>> {
    let has = |part: &i64| questions.iter().any(|one| one.part() == *part);
    if questions.len() < LEAST || (0..PARTS).filter(has).count() < 2 {
        return Ok(None);
    }
    let grid = grid(&spreads(questions, models));
    let leads: Vec<Vec<f32>> =
        grid.iter().map(|weights| questions.iter().map(|one| one.lead(weights)).collect()).collect();
    let best = |counts: &dyn Fn(&Question) -> bool| {
        let value = |leads: &Vec<f32>| {
            let counted = leads.iter().zip(questions).filter(|(_, one)| counts(one));
            worth(&counted.map(|(lead, _)| f64::from(*lead)).collect::<Vec<f64>>())
        };
        let values: Vec<f64> = leads.iter().map(value).collect();
        (1..values.len()).fold(0, |best, place| if values[place] > values[best] { place } else { best })
    };
    let chosen: Vec<usize> = (0..PARTS).map(|part| best(&|one| one.part() != part)).collect();
    let only: Vec<f32> = (0..models).map(|model| if model == alone { 1.0 } else { 0.0 }).collect();
    let right = |lead: f32| if lead > 0.0 { 1.0 } else { 0.0 };
    let gain =
        |(number, one): (usize, &Question)| right(leads[chosen[one.part() as usize]][number]) - right(one.lead(&only));
    let gains: Vec<f64> = questions.iter().enumerate().map(gain).collect();
    let items: Vec<i64> = questions.iter().map(|one| one.item).collect();
    let gain = Bootstrap::default().mean(&gains, Some(&items))?;
    Ok(Some(Choice { weights: grid[best(&|_| true)].clone(), gain }))
}

/// The standard deviation of the cosines of each model.
fn spreads(questions: &[Question], models: usize) -> Vec<f64> {
    let of = |model: usize| {
        let all = || {
            questions.iter().flat_map(move |one| one.others.iter().skip(model).step_by(models)).map(|c| f64::from(*c))
        };
        let count = all().count().max(1) as f64;
        let mean = all().sum::<f64>() / count;
        (all().map(|cosine| (cosine - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-6)
    };
    (0..models).map(of).collect()
}

/// The combinations of weights that are tried: steps from 0 to 1 that sum to 1, of cosines of the same spread. What is
/// returned are weights of the cosines as they are, in three digits.
fn grid(spreads: &[f64]) -> Vec<Vec<f32>> {
    let models = spreads.len();
    let combinations = |steps: usize| (1..models).fold(1.0, |all, k| all * (steps + k) as f64 / k as f64);
    let steps = (2..=STEPS).rev().find(|steps| combinations(*steps) <= COMBINATIONS as f64).unwrap_or(1);
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for place in 0..models {
        let left = |counts: &Vec<usize>| steps - counts.iter().sum::<usize>();
        let with = |counts: Vec<usize>| {
            let least = if place + 1 == models { left(&counts) } else { 0 };
            (least..=left(&counts)).map(move |count| [&counts[..], &[count]].concat()).collect::<Vec<_>>()
        };
        all = all.into_iter().flat_map(with).collect();
    }
    let weights = |counts: Vec<usize>| {
        let shares: Vec<f64> = counts.iter().zip(spreads).map(|(count, spread)| *count as f64 / spread).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter().map(|share| ((share / sum * 1000.0).round() / 1000.0) as f32).collect()
    };
    all.into_iter().map(weights).collect()
}

/// How good leads are: the mean of 1 / (1 + exp(−lead / s)), where s is a quarter of their standard deviation. That is the share of
/// right answers with soft edges, so that few queries that change sides do not choose the weights.
fn worth(leads: &[f64]) -> f64 {
    let count = leads.len().max(1) as f64;
    let mean = leads.iter().sum::<f64>() / count;
    let deviation = (leads.iter().map(|lead| (lead - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-6);
    leads.iter().map(|lead| 1.0 / (1.0 + (-lead / (EDGE * deviation)).exp())).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queries of 100 items of which each model alone finds two of three, and both together all.
    fn questions() -> Vec<Question> {
        let one = |item: i64| {
            let cosines = match item % 3 {
                0 => [0.9, 0.4],
                1 => [0.4, 0.9],
                _ => [0.8, 0.8],
            };
            Question { item, own: cosines.into(), others: vec![0.5, 0.3, 0.3, 0.5, 0.5, 0.45] }
        };
        (0..100).map(one).collect()
    }

    #[test]
    fn two_models_that_err_apart_are_better_together() {
        let Choice { weights, gain } = choose(&questions(), 2, 0).unwrap().unwrap();
        assert!(weights.iter().all(|weight| (0.3..0.7).contains(weight)), "{weights:?}");
        assert_eq!(gain.value, 0.33);
        assert!(0.2 < gain.low && gain.low < 0.33 && gain.high < 0.5, "{gain:?}");
        assert_eq!(choose(&questions(), 2, 0).unwrap().unwrap().gain, gain);
    }

    #[test]
    fn a_model_of_noise_gains_nothing() {
        // The second model's cosines say nothing of the item.
        let noise = |i: i64| {
            let mixed = i.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / 16_777_216.0
        };
        let one = |item: i64| Question {
            item,
            own: vec![0.5 + noise(item) / 4.0, noise(item + 1000)],
            others: vec![0.55, noise(item + 2000), 0.5, noise(item + 3000)],
        };
        let Choice { weights, gain } = choose(&(0..200).map(one).collect::<Vec<_>>(), 2, 0).unwrap().unwrap();
        assert!(weights[0] > 0.9 && gain.low <= 0.0, "{weights:?} {gain:?}");
    }

    #[test]
    fn few_queries_or_one_item_choose_nothing() {
        assert_eq!(choose(&questions()[..29], 2, 0).unwrap(), None);
        let same: Vec<Question> = questions().into_iter().map(|one| Question { item: 7, ..one }).collect();
        assert_eq!(choose(&same, 2, 0).unwrap(), None);
    }

    #[test]
    fn weights_are_of_cosines_of_the_same_spread() {
        let two = grid(&[0.1, 0.3]);
        assert_eq!(two.len(), 21);
        assert_eq!((&two[0][..], &two[20][..]), (&[0.0, 1.0][..], &[1.0, 0.0][..]));
        // Half and half: 5 : 5/3.
        assert_eq!(two[10], [0.75, 0.25]);
        for models in 1..12 {
            let all = grid(&vec![0.2; models]);
            assert!(all.len() <= COMBINATIONS.max(models));
            assert!(all.iter().all(|weights| (weights.iter().sum::<f32>() - 1.0).abs() < 0.01));
            // Each model alone is one of them.
            assert_eq!(all.iter().filter(|weights| weights.contains(&1.0)).count(), models);
        }
    }
}
