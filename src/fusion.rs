//! Fuses the scores of several models and groups references by item. Pure functions.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::vectors::Vectors;

/// Beside words that do not fit a reference, its picture's score d standard deviations above the mean counts as
/// tanh(d / REACH), and so at most 1: the photo of a toy is six and more above the mean for that toy, and words are two or
/// three above it for what they say, so that without a bound no words would ever count beside it.
const REACH: f64 = 2.5;
/// Keeps the first ranks of one list from outweighing all of the other (Cormack, Clarke and Büttcher, SIGIR 2009).
const RANK_OFFSET: f64 = 60.0;

/// Combines the scores that several lists give a reference: one list for each model, and where a query has pictures
/// and texts, one for each of the two.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Fusion {
    /// Adds each list's cosine times its weight. Pictures and texts that one model looks up are one list.
    Sum,
    /// Adds the same after each list's cosines were given the same spread.
    #[default]
    Weighted,
    /// Adds each list's weight divided by offset + rank, where the list's best reference has rank 1 (Cormack, Clarke and
    /// Büttcher, SIGIR 2009). Equal scores rank by item, then by reference.
    ReciprocalRank {
        /// A finite number, 0 or more.
        offset: f32,
    },
    /// Adds each list's weight times its cosine, scaled so that three standard deviations below the mean are 0 and three
    /// above are 1 (distribution-based score fusion, Mazzeschi 2023).
    Distribution,
}

impl Fusion {
    /// Whether pictures and texts of a query are lists of their own.
    pub fn is_apart(self) -> bool {
        self != Self::Sum
    }
}

/// The scores that one model gives to all candidates.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// One for each candidate.
    pub scores: &'a [f32],
    /// How much it counts; all lists together 1.
    pub weight: f32,
    /// Those of its scores of all references.
    pub moments: Moments,
    /// Whether it is of pictures that words go with.
    pub bounded: bool,
}

/// The mean, the standard deviation and the highest of a list's scores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    mean: f64,
    deviation: f64,
    highest: f32,
}

impl Moments {
    /// Those of the scores in several parts.
    pub fn of<'a>(parts: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        let count = parts.clone().map(<[f32]>::len).sum::<usize>().max(1) as f64;
        let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
            parts.clone().flatten().map(|score| of(f64::from(*score))).sum::<f64>() / count
        };
        let mean = sum(&|score| score);
        let highest = parts.clone().flatten().copied().reduce(f32::max).unwrap_or_default();
        Self { mean, deviation: sum(&|score| (score - mean) * (score - mean)).sqrt(), highest }
    }

    /// How many standard deviations a score lies above the mean; 0 where all scores are the same.
    fn standardize(self, score: f32) -> f64 {
        let above = f64::from(score) - self.mean;
        // Rounding alone makes equal scores differ by less.
        if self.deviation > 1e-6 { above / self.deviation } else { 0.0 }
    }
}

/// Combines the scores of an item's references.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Aggregate {
    /// Takes the best score.
    #[default]
    Max,
    /// Takes the mean of all scores.
    Mean,
    /// Takes the mean of all scores s, each weighted by exp(s / temperature): near the best score for a low temperature,
    /// near the mean for a high one.
    Softmax {
        /// A finite number above 0.
        temperature: f32,
    },
}

/// A reference that a search considers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The item's row.
    pub item: i64,
    /// The reference's row.
    pub reference: i64,
    /// Its score, or that of its item once references are grouped.
    pub score: f32,
    /// The index segment that holds it.
    pub segment: u32,
    /// Its row in that segment.
    pub row: u32,
}

/// Scales each query vector by its weight, so that inner products add up to the weighted sum of cosines.
pub fn weighted<'a>(queries: &'a Vectors, weights: &[f32]) -> Cow<'a, [f32]> {
    if weights.iter().all(|weight| *weight == 1.0) {
        return Cow::Borrowed(queries.as_slice());
    }
    let rows = queries.rows().zip(weights);
    Cow::Owned(rows.flat_map(|(row, weight)| row.iter().map(move |value| value * weight)).collect())
}

/// Sets each candidate's score from those that the lists give it.
pub fn fuse(candidates: &mut [Candidate], lists: &[List<'_>], fusion: Fusion) {
    let mut fused = vec![0.0_f64; candidates.len()];
    let fits = if fusion == Fusion::Weighted { fits(candidates.len(), lists) } else { Vec::new() };
    for list in lists {
        let (weight, moments) = (f64::from(list.weight), list.moments);
        let mut add = |score: &dyn Fn(usize, f32) -> f64| {
            let scores = fused.iter_mut().zip(list.scores).enumerate();
            scores.for_each(|(place, (sum, of))| *sum += weight * score(place, *of));
        };
        match fusion {
            Fusion::Sum => add(&|_, score| f64::from(score)),
            Fusion::Weighted if list.bounded => add(&|place, score| {
                let above = moments.standardize(score);
                let near = (above / REACH).tanh();
                near + (above - near) * fits[place]
            }),
            Fusion::Weighted => add(&|_, score| moments.standardize(score)),
            Fusion::Distribution => add(&|_, score| 0.5 + moments.standardize(score) / 6.0),
            Fusion::ReciprocalRank { offset } => {
                for (place, rank) in ranked(candidates, list.scores).into_iter().zip(1_u32..) {
                    fused[place] += weight / (f64::from(offset) + f64::from(rank));
                }
            }
        }
    }
    if fusion == Fusion::Weighted {
        // Back to what cosines are like: the weighted means of the means and of the spreads.
        let mean = |of: fn(&Moments) -> f64| lists.iter().map(|list| f64::from(list.weight) * of(&list.moments)).sum();
        let (middle, spread): (f64, f64) = (mean(|of| of.mean), mean(|of| of.deviation));
        fused.iter_mut().for_each(|score| *score = middle + spread * *score);
    }
    candidates.iter_mut().zip(fused).for_each(|(candidate, score)| candidate.score = score as f32);
}

/// A candidate with its ranks in two lists, from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// The candidate.
    pub candidate: Candidate,
    /// Its rank by its vectors.
    pub by_vectors: usize,
    /// Its rank by its words, if it has words of the query.
    pub by_words: Option<usize>,
}

/// Returns the places of candidates ordered by the sum of 1 / (60 + rank) over both lists, best first. Equal ones go by
/// score, then by smaller rows.
pub fn by_both(placed: &[Placed]) -> Vec<usize> {
    let part = |rank: usize| 1.0 / (RANK_OFFSET + rank as f64);
    let sum = |placed: &Placed| part(placed.by_vectors) + placed.by_words.map_or(0.0, part);
    let mut order: Vec<(f64, usize)> = placed.iter().map(sum).zip(0..).collect();
    order.sort_unstable_by(|(a, one), (b, other)| {
        b.total_cmp(a).then_with(|| better(&placed[*one].candidate, &placed[*other].candidate))
    });
    order.into_iter().map(|(_, place)| place).collect()
}

/// Returns how well words fit each candidate beside the reference that they fit best, whether that is a candidate or not: 1
/// for that one, and 0 from a standard deviation below it on.
fn fits(count: usize, lists: &[List<'_>]) -> Vec<f64> {
    let words = || lists.iter().filter(|list| !list.bounded);
    let all: f64 = words().map(|list| f64::from(list.weight)).sum();
    let (mut fits, mut best) = (vec![0.0; count], 0.0);
    for list in words() {
        let share = f64::from(list.weight) / all;
        best += share * list.moments.standardize(list.moments.highest);
        fits.iter_mut().zip(list.scores).for_each(|(sum, score)| *sum += share * list.moments.standardize(*score));
    }
    fits.iter_mut().for_each(|fit| *fit = (1.0 - (best - *fit)).max(0.0));
    fits
}

/// Returns the places of the candidates, best first.
fn ranked(candidates: &[Candidate], scores: &[f32]) -> Vec<usize> {
    let ids = |place: usize| (candidates[place].item, candidates[place].reference);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]).then_with(|| ids(a).cmp(&ids(b))));
    order
}

/// Returns the best `k` items, best first, each as its best candidate with the item's score; only those with at least
/// `min_score`. Equal scores go by smaller rows.
pub fn group(mut candidates: Vec<Candidate>, k: usize, min_score: f32, aggregate: Aggregate) -> Vec<Candidate> {
    match aggregate {
        Aggregate::Max => {}
        Aggregate::Mean => candidates = aggregated(candidates, |_| 1.0),
        Aggregate::Softmax { temperature } => {
            // Below the best score, so that no power overflows.
            candidates = aggregated(candidates, |below| (below / f64::from(temperature)).exp());
        }
    }
    candidates.retain(|candidate| candidate.score >= min_score);
    candidates.sort_unstable_by(better);
    let mut top: Vec<Candidate> = Vec::with_capacity(k.min(candidates.len()));
    let mut seen = HashSet::new();
    for candidate in candidates {
        if top.len() == k {
            break;
        }
        if seen.insert(candidate.item) {
            top.push(candidate);
        }
    }
    top
}

/// Returns the places of `k` of the candidates, the first of which has the best score, and each next one the most of
/// `share` times its score less the rest times its highest cosine with those before it. Equal ones go by their places.
pub fn diverse(scores: &[f32], vectors: &[&[f32]], k: usize, share: f32) -> Vec<usize> {
    let mut left: Vec<usize> = (0..scores.len()).collect();
    let mut nearest = vec![f32::NEG_INFINITY; scores.len()];
    let mut chosen = Vec::with_capacity(k.min(scores.len()));
    while chosen.len() < k && !left.is_empty() {
        let gain = |place: usize| match chosen.is_empty() {
            true => scores[place],
            false => share * scores[place] - (1.0 - share) * nearest[place],
        };
        let best = (0..left.len()).max_by(|&a, &b| gain(left[a]).total_cmp(&gain(left[b])).then(b.cmp(&a)));
        let next = left.remove(best.expect("some are left"));
        for &place in &left {
            let cosine: f32 = vectors[place].iter().zip(vectors[next]).map(|(a, b)| a * b).sum();
            nearest[place] = nearest[place].max(cosine);
        }
        chosen.push(next);
    }
    chosen
}

/// Returns one candidate for each item: its best, with the mean of all its scores, where `weight` weighs a score by its
/// distance to the best one.
fn aggregated(mut candidates: Vec<Candidate>, weight: impl Fn(f64) -> f64) -> Vec<Candidate> {
    // Stable sorting is quick here: references of an item were mostly added together.
    candidates.sort_by_key(|candidate| candidate.item);
    let of_item = |all: &[Candidate]| {
        let best = all.iter().min_by(|a, b| better(a, b)).expect("a chunk has a candidate");
        let (mut sum, mut weights) = (0.0, 0.0);
        for candidate in all {
            let score = f64::from(candidate.score);
            let weight = weight(score - f64::from(best.score));
            sum += weight * score;
            weights += weight;
        }
        Candidate { score: (sum / weights) as f32, ..*best }
    };
    candidates.chunk_by(|a, b| a.item == b.item).map(of_item).collect()
}

fn better(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)).then(a.reference.cmp(&b.reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(rows: &[(i64, i64, f32)]) -> Vec<Candidate> {
        let candidate = |&(item, reference, score)| Candidate { item, reference, score, segment: 0, row: 0 };
        rows.iter().map(candidate).collect()
    }

    fn rows(candidates: &[Candidate]) -> Vec<(i64, i64, f32)> {
        candidates.iter().map(|found| (found.item, found.reference, found.score)).collect()
    }

    const ALL: [(i64, i64, f32); 5] = [(1, 10, 0.9), (1, 11, 0.1), (2, 20, 0.6), (2, 21, 0.5), (3, 30, 0.55)];

    #[test]
    fn an_item_has_its_best_score_by_default() {
        let found = group(candidates(&ALL), 2, f32::NEG_INFINITY, Aggregate::default());
        assert_eq!(rows(&found), [(1, 10, 0.9), (2, 20, 0.6)]);
        let found = group(candidates(&ALL), 9, 0.58, Aggregate::Max);
        assert_eq!(rows(&found), [(1, 10, 0.9), (2, 20, 0.6)]);
    }

    #[test]
    fn a_mean_counts_every_reference() {
        let found = group(candidates(&ALL), 9, f32::NEG_INFINITY, Aggregate::Mean);
        assert_eq!(rows(&found), [(2, 20, 0.55), (3, 30, 0.55), (1, 10, 0.5)]);
        assert_eq!(rows(&group(candidates(&ALL), 9, 0.52, Aggregate::Mean)).len(), 2);
    }

    #[test]
    fn a_softmax_lies_between_the_mean_and_the_best() {
        let of = |temperature| {
            let found = group(candidates(&ALL), 9, f32::NEG_INFINITY, Aggregate::Softmax { temperature });
            found.iter().find(|found| found.item == 1).map(|found| found.score).unwrap()
        };
        let (high, low) = ((0.9_f64 / 0.5).exp(), (0.1_f64 / 0.5).exp());
        let expected = (0.9 * high + 0.1 * low) / (high + low);
        assert!((f64::from(of(0.5)) - expected).abs() < 1e-6);
        assert!((of(1e-6) - 0.9).abs() < 1e-6 && (of(1e6) - 0.5).abs() < 1e-6);
    }

    const FIRST: [f32; 5] = [0.9, 0.1, 0.6, 0.5, 0.55];
    const SECOND: [f32; 5] = [0.0, 0.1, 0.7, 0.2, 0.9];

    fn lists(bounded: bool) -> [List<'static>; 2] {
        let list = |scores: &'static [f32], weight, bounded| {
            let moments = Moments::of([&scores[..2], &scores[2..]].into_iter());
            List { scores, weight, moments, bounded }
        };
        [list(&FIRST, 0.75, bounded), list(&SECOND, 0.25, false)]
    }

    #[test]
    fn reciprocal_ranks_add_up() {
        let mut list = candidates(&ALL);
        // The second model ranks them 30, 20, 21, 11, 10.
        fuse(&mut list, &lists(false), Fusion::ReciprocalRank { offset: 60.0 });
        let expected = [(1, 5), (5, 4), (2, 2), (4, 3), (3, 1)];
        for (found, (first, second)) in list.iter().zip(expected) {
            let score = 0.75 / (60.0 + f64::from(first)) + 0.25 / (60.0 + f64::from(second));
            assert!((f64::from(found.score) - score).abs() < 1e-8, "{found:?}");
        }
    }

    #[test]
    fn ranks_by_vectors_and_by_words_add_up() {
        let placed = [(1, Some(90)), (2, None), (3, Some(1)), (101, Some(1)), (2, None)];
        let placed =
            placed.into_iter().zip(candidates(&[(1, 1, 0.9), (3, 3, 0.8), (4, 4, 0.7), (5, 5, 0.1), (2, 2, 0.8)]));
        let placed = placed.map(|((by_vectors, by_words), candidate)| Placed { candidate, by_vectors, by_words });
        let placed: Vec<Placed> = placed.collect();
        let found: Vec<i64> = by_both(&placed).into_iter().map(|place| placed[place].candidate.item).collect();
        // 1/63 + 1/61, 1/61 + 1/150, 1/161 + 1/61, and twice 1/62, of which equal scores go by the row.
        assert_eq!(found, [4, 1, 5, 2, 3]);
    }

    #[test]
    fn standardized_scores_have_the_same_spread() {
        // By numpy.
        let (means, spreads) = ([0.53, 0.38], [0.256_124_969_5, 0.354_400_902_9]);
        let z = |list: usize, place: usize| (f64::from([FIRST, SECOND][list][place]) - means[list]) / spreads[list];
        let (middle, spread) = (0.75 * means[0] + 0.25 * means[1], 0.75 * spreads[0] + 0.25 * spreads[1]);
        for place in 0..5 {
            for bounded in [false, true] {
                let mut found = candidates(&ALL);
                fuse(&mut found, &lists(bounded), Fusion::Weighted);
                let best = (0..5).map(|place| z(1, place)).fold(f64::NEG_INFINITY, f64::max);
                let fit = (1.0 - (best - z(1, place))).max(0.0);
                let near = (z(0, place) / 2.5).tanh();
                let first = if bounded { near + (z(0, place) - near) * fit } else { z(0, place) };
                let expected = middle + spread * (0.75 * first + 0.25 * z(1, place));
                assert!((f64::from(found[place].score) - expected).abs() < 1e-6, "{bounded} {place}");
            }
            let mut found = candidates(&ALL);
            fuse(&mut found, &lists(false), Fusion::Distribution);
            let expected = 0.5 + (0.75 * z(0, place) + 0.25 * z(1, place)) / 6.0;
            assert!((f64::from(found[place].score) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn equal_scores_say_nothing() {
        let mut found = candidates(&ALL);
        let same = [0.3; 5];
        let list = List { scores: &same, weight: 1.0, moments: Moments::of([&same[..]].into_iter()), bounded: false };
        fuse(&mut found, &[list], Fusion::Weighted);
        assert!(found.iter().all(|found| found.score == 0.3));
    }

    #[test]
    fn diverse_hits_are_not_like_each_other() {
        let vectors: [&[f32]; 4] = [&[1.0, 0.0], &[1.0, 0.0], &[0.6, 0.8], &[0.0, 1.0]];
        let scores = [0.9, 0.9, 0.7, 0.5];
        // After the first: .5 * .9 - .5 * 1 = -.05, .5 * .7 - .5 * .6 = .05, .5 * .5 - 0 = .25.
        assert_eq!(diverse(&scores, &vectors, 4, 0.5), [0, 3, 1, 2]);
        assert_eq!(diverse(&scores, &vectors, 3, 1.0), [0, 1, 2]);
        assert_eq!(diverse(&scores, &vectors, 2, 0.0), [0, 3]);
        assert!(diverse(&[], &[], 3, 0.5).is_empty());
    }

    #[test]
    fn weights_of_one_change_no_bit() {
        let queries = Vectors::normalize(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!(matches!(weighted(&queries, &[1.0, 1.0]), Cow::Borrowed(_)));
        let scaled = weighted(&queries, &[1.0, 0.5]);
        assert_eq!(scaled[..2], queries.as_slice()[..2]);
        assert_eq!(scaled[3], 0.5 * queries.row(1)[1]);
    }
}
