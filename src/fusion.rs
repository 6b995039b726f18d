//! Fuses the scores of several models and groups references by item. Pure functions.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::vectors::Vectors;

/// The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).
const RANK_OFFSET: f64 = 60.0;

/// Combines the scores that several models give a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fusion {
    /// Adds each model's score times its weight.
    #[default]
    Sum,
    /// Adds each model's weight divided by 60 + rank, where the model's best reference has rank 1. Equal scores rank by
    /// item, then by reference.
    ReciprocalRank,
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

/// Sets each candidate's score by its ranks among all candidates: `lists` has for each model a score of each candidate,
/// and the model's weight.
pub fn reciprocal_ranks(candidates: &mut [Candidate], lists: &[(&[f32], f32)]) {
    let mut fused = vec![0.0_f64; candidates.len()];
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    for (scores, weight) in lists {
        let ids = |place: usize| (candidates[place].item, candidates[place].reference);
        order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]).then_with(|| ids(a).cmp(&ids(b))));
        for (place, rank) in order.iter().zip(1_u32..) {
            fused[*place] += f64::from(*weight) / (RANK_OFFSET + f64::from(rank));
        }
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

/// Orders candidates by the sum of 1 / (60 + rank) over both lists, best first. Equal ones go by score, then by smaller rows.
pub fn by_both(placed: Vec<Placed>) -> Vec<Candidate> {
    let part = |rank: usize| 1.0 / (RANK_OFFSET + rank as f64);
    let sum = |placed: &Placed| part(placed.by_vectors) + placed.by_words.map_or(0.0, part);
    let mut placed: Vec<(f64, Candidate)> = placed.iter().map(|placed| (sum(placed), placed.candidate)).collect();
    placed.sort_unstable_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| better(one, other)));
    placed.into_iter().map(|(_, candidate)| candidate).collect()
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

    #[test]
    fn reciprocal_ranks_add_up() {
        let mut list = candidates(&ALL);
        // The second model ranks them 30, 20, 21, 11, 10; equal scores go by item and reference.
        reciprocal_ranks(&mut list, &[(&[0.9, 0.1, 0.6, 0.5, 0.55], 0.75), (&[0.0, 0.1, 0.2, 0.2, 0.9], 0.25)]);
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
        let found: Vec<i64> = by_both(placed.collect()).iter().map(|candidate| candidate.item).collect();
        // 1/63 + 1/61, 1/61 + 1/150, 1/161 + 1/61, and twice 1/62, of which equal scores go by the row.
        assert_eq!(found, [4, 1, 5, 2, 3]);
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
