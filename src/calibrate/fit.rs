//! The calibration of one kind of queries in a catalog.

use serde::{Deserialize, Serialize};

use crate::calibrate::evidence::{Evidence, Neighbors};
use crate::calibrate::logistic::{Example, Logistic};
use crate::calibrate::tail::Tail;
use crate::calibrate::typical::Typical;
use crate::calibrate::{quantile, sorted};

/// References whose scores count as much as those that are typical of the model.
const EVEN: f64 = 30.0;
/// Labeled queries that count as much as all references together.
const LABELED: f64 = 20.0;
/// Examples that stand for the scores that are typical of a model.
const STAND_INS: usize = 240;
/// Queries whose answer is in the catalog that have it among the plausible items.
const COVERED: f64 = 0.95;
/// The share of the best item's probability from which on another one is plausible, at most.
const PLAUSIBLE: f64 = 0.5;
/// From this score on the same picture is stored under another item: that is no stranger.
pub const SAME: f32 = 0.9999;
/// A strength below any threshold.
const NEVER: f64 = -9.0;
/// The least labeled queries of which a calibration is made without references.
const LEAST: usize = 10;

/// Probabilities and thresholds for one kind of queries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    logistic: Logistic,
    tail: Tail,
    /// The items among which the strangers of `tail` were looked up.
    gallery: usize,
    /// The least share of the best item's probability that a plausible item has.
    plausible: f64,
    /// Percentiles of the strengths with which the right item comes first, [`NEVER`] where another one does.
    accepted: Vec<f32>,
    /// Queries and references with the score of their own item.
    pub genuine: usize,
    /// Queries and references with the score of another item.
    pub impostors: usize,
}

/// The errors that are expected at a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// The [`strength`](super::strength) that a match reaches.
    pub threshold: f64,
    /// The share of strangers that reach it.
    pub false_accept_rate: f64,
    /// The share of queries for items of the catalog that do not reach it with the right item.
    pub false_reject_rate: f64,
}

/// An answer with the lead of its item over the best other one.
struct Genuine {
    lead: Option<f64>,
    example: Example,
}

impl Genuine {
    fn new(found: &Neighbors, weight: f64) -> Option<Self> {
        let (Evidence { score, lead: margin }, right) = found.known()?;
        let lead = found.own.zip(found.first).map(|(own, first)| f64::from(own) - f64::from(first));
        Some(Self { lead, example: Example { score, margin, right, weight } })
    }
}

impl Fit {
    /// Makes a calibration for a catalog whose queries have `gallery` other items.
    ///
    /// Each labeled query has the weight of all references divided by 20. What is typical of the model counts as much as
    /// 30 references while there are none, and ever less beside more of them. A reference that is the only one of its item
    /// tells nothing about pictures of that item: what is typical stands for it.
    ///
    /// Returns None if nothing is `typical` and there are fewer than 10 queries for items of the catalog.
    pub fn new(
        references: &[Neighbors],
        queries: &[Neighbors],
        typical: Option<&Typical>,
        gallery: usize,
    ) -> Option<Self> {
        let gallery = gallery.max(1);
        let left_out: Vec<Neighbors> =
            references.iter().filter(|one| one.first.is_none_or(|first| first < SAME)).copied().collect();
        let mut references = left_out.clone();
        add_own(&mut references);
        let known = |all: &[Neighbors]| all.iter().filter(|one| one.own.is_some()).count();
        let strange = |all: &[Neighbors]| all.iter().filter(|one| one.first.is_some()).count();
        if typical.is_none() && (known(queries) < LEAST || strange(queries) < LEAST) {
            return None;
        }
        let faded = |count: usize| EVEN * EVEN / (EVEN + count as f64);
        let alone = references.len() - known(&references);
        let stand_ins = typical.map_or(0.0, |_| faded(known(&references)) + alone as f64);
        let strangers = typical.map_or(0.0, |_| faded(strange(&references)));
        let query = |all: f64| if all > 0.0 { all / LABELED } else { 1.0 };
        let of_query = query(known(&references) as f64 + stand_ins);
        let of_stranger = query(strange(&references) as f64 + strangers);

        let genuine_of = |references: &[Neighbors]| -> Vec<Genuine> {
            let weighted = references.iter().map(|one| (one, 1.0)).chain(queries.iter().map(|one| (one, of_query)));
            weighted.filter_map(|(one, weight)| Genuine::new(one, weight)).collect()
        };
        let mut genuine = genuine_of(&references);
        let mut cautious = genuine_of(&left_out);
        let mut impostors: Vec<(Neighbors, f64)> = (references.iter().map(|one| (*one, 1.0)))
            .chain(queries.iter().map(|one| (*one, of_stranger)))
            .filter(|(one, _)| one.first.is_some())
            .collect();
        if let Some(typical) = typical {
            let weight = strangers / STAND_INS as f64;
            impostors.extend(typical.strangers(gallery, STAND_INS).into_iter().map(|one| (one, weight)));
            let weight = stand_ins / STAND_INS as f64;
            for place in 0..STAND_INS {
                let own = typical.genuine()[place % typical.genuine().len()];
                let (mut found, _) = impostors[place * impostors.len() / STAND_INS];
                found.own = Some(own as f32);
                for all in [&mut genuine, &mut cautious] {
                    all.extend(Genuine::new(&found, weight));
                }
            }
        }
        let impostors: Vec<(Evidence, f64)> =
            impostors.iter().filter_map(|(one, weight)| Some((one.strange()?, *weight))).collect();
        let counted = (references.len() + queries.len()) as f64 + typical.map_or(0.0, |_| EVEN);
        let weights = [
            counted / 2.0 / genuine.iter().map(|one| one.example.weight).sum::<f64>(),
            counted / 2.0 / impostors.iter().map(|(_, weight)| weight).sum::<f64>(),
        ];
        let examples: Vec<Example> =
            (genuine.iter().map(|one| Example { weight: weights[0] * one.example.weight, ..one.example }))
                .chain(impostors.iter().map(|(one, weight)| Example {
                    score: one.score,
                    margin: one.lead,
                    right: false,
                    weight: weights[1] * weight,
                }))
                .collect();
        let logistic = Logistic::fit(&examples, 1.0);
        let usual = typical.map_or((0.0, 0.0), |typical| (typical.scale(), 5.0));
        let strength = |Example { score, margin, .. }| Evidence { score, lead: margin }.strength();
        let accepted = (genuine.iter())
            .map(|one| (if one.example.right { strength(one.example) } else { NEVER }, one.example.weight))
            .collect();
        let accepted = sorted(accepted);
        Some(Self {
            plausible: plausible(&logistic, &cautious),
            logistic,
            tail: Tail::fit(impostors.iter().map(|(one, weight)| (one.strength(), *weight)).collect(), usual),
            gallery,
            accepted: (1..=100).map(|step| quantile(&accepted, f64::from(step) / 100.0) as f32).collect(),
            genuine: known(&references) + known(queries),
            impostors: strange(&references) + strange(queries),
        })
    }

    /// Returns the strength that a stranger reaches with probability `target` among `gallery` items: 1 − (1 − FMR)^N grows
    /// with N, and the score with it.
    pub fn rates(&self, target: f64, gallery: usize) -> Rates {
        let times = self.gallery as f64 / gallery.max(1) as f64;
        let threshold = self.tail.score_at(-((1.0 - target).ln() * times).exp_m1());
        let share = self.tail.share_of(threshold).min(1.0 - 1e-12);
        let rejected = self.accepted.iter().filter(|score| f64::from(**score) < threshold).count();
        Rates {
            threshold,
            false_accept_rate: -((1.0 - share).ln() / times).exp_m1(),
            false_reject_rate: rejected as f64 / self.accepted.len() as f64,
        }
    }

    /// Returns for each of the best scores, in their order, the probability that its item is the right one, if it is as
    /// likely as not that the right one is there. Equal scores have equal probabilities. `behind` is the mean score of the
    /// items [behind](super::behind) the first one of the catalog.
    pub fn probabilities(&self, scores: &[f32], behind: Option<f32>) -> Vec<f64> {
        let Some(best) = scores.first().copied() else { return Vec::new() };
        let probability = |(place, score): (usize, &f32)| {
            let next = if place == 0 { scores.get(1).copied() } else { Some(best) };
            let found = Evidence::new((*score).into(), next.map(f64::from), behind.map(f64::from));
            self.logistic.probability(found.score, found.lead)
        };
        let each: Vec<f64> = scores.iter().enumerate().map(probability).collect();
        // Two items are not both likely.
        let all = each.iter().take(2).sum::<f64>().max(1.0);
        each.into_iter().map(|one| one / all).collect()
    }

    /// Returns how many of the best items are plausible, given their probabilities, the first one always among them. Of
    /// queries like those of the calibration whose item is in the catalog, 95 % have it there (split conformal
    /// prediction).
    pub fn plausible(&self, probabilities: &[f64]) -> usize {
        let Some(best) = probabilities.first() else { return 0 };
        probabilities.iter().take_while(|one| **one >= self.plausible * best).count()
    }
}

/// Makes up for the reference that is missing in its item while it is left out: a query is compared with it, too. Half of
/// the references get the score of another one's item if that is better, as if the scores of a query with the references
/// of its item were half independent.
fn add_own(references: &mut [Neighbors]) {
    let mut own: Vec<&mut f32> = references.iter_mut().filter_map(|one| one.own.as_mut()).collect();
    let scores: Vec<f32> = own.iter().map(|score| **score).collect();
    // Far enough to be that of another item, in whatever order they were added.
    let away = scores.len() * 5 / 13 + 1;
    for (place, score) in own.iter_mut().enumerate().step_by(2) {
        **score = score.max(scores[(place + away) % scores.len()]);
    }
}

/// The share of the best item's probability that the right item has in all but 5 % of the examples.
fn plausible(logistic: &Logistic, genuine: &[Genuine]) -> f64 {
    let share = |one: &Genuine| match one.lead {
        Some(behind) if !one.example.right => {
            let best = logistic.probability(one.example.score, one.example.margin);
            logistic.probability(one.example.score + behind, Some(behind)) / best.max(f64::MIN_POSITIVE)
        }
        _ => 1.0,
    };
    let shares = sorted(genuine.iter().map(|one| (share(one), one.example.weight)).collect());
    let count = genuine.len() as f64;
    let rank = ((1.0 - COVERED) * (count + 1.0)).floor();
    if rank < 1.0 { 0.0 } else { quantile(&shares, rank / count).min(PLAUSIBLE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::behind;

    fn neighbors(own: Option<f32>, first: f32, second: f32) -> Neighbors {
        Neighbors::new(own, &[first, second])
    }

    fn strength(scores: &[f32]) -> f64 {
        Neighbors::new(None, scores).strange().unwrap().strength()
    }

    /// References of items that are well apart: own scores from 0.85 to 0.95, others from 0.5 to 0.7.
    fn apart(count: u16) -> Vec<Neighbors> {
        let at = |place: u16| f32::from(place) / f32::from(count);
        (0..count).map(|i| neighbors(Some(0.85 + 0.1 * at(i)), 0.5 + 0.2 * at(i * 7 % count), 0.45)).collect()
    }

    /// The probabilities of scores that are all of the catalog's.
    fn likely(fit: &Fit, scores: &[f32]) -> Vec<f64> {
        fit.probabilities(scores, behind(scores))
    }

    fn fit(references: &[Neighbors], gallery: usize) -> Fit {
        Fit::new(references, &[], Some(&Typical::default()), gallery).unwrap()
    }

    #[test]
    fn probabilities_tell_right_from_wrong() {
        let fit = fit(&apart(1000), 999);
        let of = |scores: &[f32]| fit.probabilities(scores, behind(scores));
        assert!(of(&[0.9, 0.6, 0.45])[0] > 0.95 && of(&[0.65, 0.6, 0.45])[0] < 0.1);
        let all = of(&[0.9, 0.6, 0.5]);
        assert!(all[1] < 0.05 && all[1] >= all[2]);
        assert!(of(&[]).is_empty());
        assert!(of(&[0.9])[0] > 0.5);
    }

    #[test]
    fn equal_scores_share_the_probability_and_are_both_plausible() {
        let fit = fit(&apart(1000), 999);
        let found = likely(&fit, &[0.95, 0.95, 0.6]);
        assert_eq!(found[0], found[1]);
        assert!(found[0] <= 0.5);
        assert_eq!(fit.plausible(&found), 2);
        assert_eq!(fit.plausible(&likely(&fit, &[0.95, 0.6, 0.6])), 1);
        assert_eq!(fit.plausible(&[]), 0);
    }

    #[test]
    fn thresholds_grow_with_the_gallery_and_fall_with_the_target() {
        let fit = fit(&apart(1000), 999);
        let at = |target, gallery| fit.rates(target, gallery).threshold;
        assert!(at(0.01, 100) < at(0.01, 1000) && at(0.01, 1000) < at(0.01, 10_000));
        assert!(at(0.05, 1000) < at(0.01, 1000));
        // At the size of the fit, 5 % of the best impostors reach the threshold for 5 %: 0.69, and half of the lead over 0.45.
        assert!((at(0.05, 999) - strength(&[0.69, 0.45])).abs() < 0.015);
        let rates = fit.rates(0.05, 999);
        assert!((rates.false_accept_rate - 0.05).abs() < 0.011, "{rates:?}");
        assert!(rates.false_reject_rate < 0.03);
        // 1 - (1 - FMR)^N: half the items have half the matches, for few of them.
        let (one, half) = (fit.tail.share_of(at(0.01, 999)), fit.tail.share_of(at(0.01, 499)));
        assert!((half / one - 2.0).abs() < 0.05, "{one} {half}");
    }

    #[test]
    fn an_empty_catalog_has_the_scores_that_are_typical() {
        let fit = fit(&[], 0);
        assert_eq!((fit.genuine, fit.impostors), (0, 0));
        assert!(fit.rates(0.01, 1).threshold < fit.rates(0.01, 1000).threshold);
        let certain = likely(&fit, &[0.95])[0];
        assert!(certain > 0.6 && likely(&fit, &[0.3])[0] < certain / 3.0);
    }

    #[test]
    fn more_references_count_more_than_what_is_typical() {
        // Impostors far below those that are typical among so many.
        let low = |count: u16| (0..count).map(|_| neighbors(Some(0.6), 0.1, 0.05)).collect::<Vec<_>>();
        let at = |count| fit(&low(count), 999).rates(0.05, 999).threshold;
        assert!(at(3) > at(30) && at(30) >= at(3000));
        assert!(at(3000) < 0.2, "{}", at(3000));
    }

    #[test]
    fn labeled_queries_outweigh_references() {
        let queries: Vec<Neighbors> = (0..100).map(|_| neighbors(Some(0.7), 0.5, 0.4)).collect();
        let before = likely(&fit(&apart(1000), 999), &[0.7, 0.5])[0];
        let after = Fit::new(&apart(1000), &queries, Some(&Typical::default()), 999).unwrap();
        assert!(likely(&after, &[0.7, 0.5])[0] > before + 0.2);
    }

    #[test]
    fn the_plausible_items_of_a_weak_model_are_many() {
        // One in five is found behind a better one, within 0.1.
        let weak: Vec<Neighbors> = (0..500_u16)
            .map(|i| match i % 5 {
                0 => neighbors(Some(0.6), 0.61 + 0.09 * f32::from(i) / 500.0, 0.55),
                _ => neighbors(Some(0.75), 0.6, 0.55),
            })
            .collect();
        let fit = fit(&weak, 499);
        let covered = weak.iter().filter(|one| {
            let (own, first) = (one.own.unwrap(), one.first.unwrap());
            own > first || fit.plausible(&likely(&fit, &[first, own])) == 2
        });
        assert!(covered.count() as f64 / 500.0 >= 0.94);
    }

    #[test]
    fn queries_alone_make_a_calibration_if_they_are_enough() {
        let labeled = |count: u16| (0..count).map(|_| neighbors(Some(0.35), 0.2, 0.15)).collect::<Vec<_>>();
        assert!(Fit::new(&[], &labeled(9), None, 100).is_none());
        let fit = Fit::new(&[], &labeled(30), None, 100).unwrap();
        assert!(likely(&fit, &[0.35, 0.2])[0] > 0.9 && likely(&fit, &[0.2, 0.15])[0] < 0.2);
    }

    #[test]
    fn a_reference_that_is_left_out_is_made_up_for() {
        let score = |i: u32| (i * i * 7 % 101) as f32 / 101.0;
        let mut references: Vec<Neighbors> = (0..100).map(|i| neighbors(Some(score(i)), 0.5, 0.4)).collect();
        let mean = |all: &[Neighbors]| all.iter().filter_map(|one| one.own).sum::<f32>() / all.len() as f32;
        let before = mean(&references);
        add_own(&mut references);
        // Of two independent uniform scores the better one is 2/3 on average: half of them rise by 1/6.
        assert!((mean(&references) - before - 1.0 / 12.0).abs() < 0.03, "{before} {}", mean(&references));
        assert!((1..100).step_by(2).all(|i| references[i as usize].own == Some(score(i))));
        add_own(&mut [neighbors(None, 0.5, 0.4)]);
    }

    #[test]
    fn a_picture_that_is_stored_twice_is_no_stranger() {
        let mut references = apart(100);
        let threshold = fit(&references, 99).rates(0.01, 99).threshold;
        references.extend([neighbors(Some(0.9), 1.0, 0.5); 40]);
        assert_eq!(fit(&references, 99).rates(0.01, 99).threshold, threshold);
    }
}
