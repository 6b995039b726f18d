use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::fusion::{Aggregate, Fusion};
use crate::selection::Rows;
use crate::vectors::Vectors;

/// An item that a search has found.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    item: i64,
    reference: i64,
    score: f32,
}

impl Index {
    fn with_segment_rows(dims: &[usize], segment_rows: usize) -> Result<Self> {
        let (ledger, snapshot) = Ledger::with_segment_rows(dims, segment_rows)?;
        Ok(Self { ledger, snapshot })
    }

    /// Searches one space.
    fn alone(
        &self,
        space: usize,
        queries: &Vectors,
        k: usize,
        allowed: Option<&Rows>,
        min_score: Option<f32>,
    ) -> Result<Vec<Vec<Found>>> {
        self.sum(
            &[Part { space, vectors: queries, weights: &vec![1.0; queries.len()], bounded: false, texts: false }],
            k,
            allowed,
            min_score,
        )
    }

    /// Searches by the weighted sum of several spaces.
    fn sum(
        &self,
        parts: &[Part<'_>],
        k: usize,
        allowed: Option<&Rows>,
        min_score: Option<f32>,
    ) -> Result<Vec<Vec<Found>>> {
        let allowed = allowed.map(|rows| self.snapshot.allow(rows.clone()));
        let found = self.search(&Request { allowed: allowed.as_ref(), min_score, ..Request::new(parts, k) })?;
        let of = |found: Candidate| Found { item: found.item, reference: found.reference, score: found.score };
        Ok(found.into_iter().map(|found| found.into_iter().map(of).collect()).collect())
    }
}

/// Scores this close may stand in either order: f32 sums differ in their last bits.
const NEAR: f64 = 1e-5;

/// A vector whose numbers look random but follow from `seed`; few seeds, so that equal vectors occur.
fn vector(dim: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let numbers = (0..dim).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    });
    Vectors::normalize(dim, numbers.collect()).unwrap().into_inner()
}

/// The best reference of each allowed item, best first, summed in f64.
fn scan(
    live: &BTreeMap<i64, (i64, Vec<f32>)>,
    query: &[f32],
    allowed: Option<&Rows>,
    min_score: Option<f32>,
) -> Vec<(f64, i64)> {
    let mut best: BTreeMap<i64, f64> = BTreeMap::new();
    for (item, vector) in live.values().filter(|(item, _)| allowed.is_none_or(|rows| rows.contains(*item))) {
        let score = vector.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let entry = best.entry(*item).or_insert(score);
        *entry = entry.max(score);
    }
    let mut list: Vec<(f64, i64)> = best.into_iter().map(|(item, score)| (score, item)).collect();
    list.retain(|(score, _)| min_score.is_none_or(|min| *score >= f64::from(min)));
    list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    list
}

fn check(
    answers: &[Vec<Found>],
    live: &BTreeMap<i64, (i64, Vec<f32>)>,
    queries: &[Vec<f32>],
    k: usize,
    allowed: Option<&Rows>,
    min_score: Option<f32>,
) {
    assert_eq!(answers.len(), queries.len());
    for (query, found) in queries.iter().zip(answers) {
        // Scores at the very edge of `min_score` may fall on either side.
        let wide = scan(live, query, allowed, min_score.map(|min| min - NEAR as f32));
        let narrow = scan(live, query, allowed, min_score.map(|min| min + NEAR as f32));
        assert!(found.len() <= wide.len().min(k) && found.len() >= narrow.len().min(k), "{found:?} {wide:?}");
        let scores: BTreeMap<i64, f64> = wide.iter().map(|&(score, item)| (item, score)).collect();
        let mut items = std::collections::BTreeSet::new();
        for (place, hit) in found.iter().enumerate() {
            assert!(items.insert(hit.item), "item {} twice", hit.item);
            let score = scores[&hit.item];
            assert!((f64::from(hit.score) - score).abs() < NEAR, "{hit:?} has {score}");
            assert!((score - wide[place].0).abs() < NEAR, "{hit:?} in place {place} of {wide:?}");
            let (item, vector) = &live[&hit.reference];
            let own: f64 = vector.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            assert!(*item == hit.item && (own - score).abs() < NEAR, "{hit:?} is not the item's best");
        }
        let sorted = found.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.item < b.item));
        assert!(sorted, "{found:?}");
    }
}

/// The vectors of a reference of that seed in each space.
fn vectors_of(dims: &[usize], seed: u64) -> Vec<Vec<f32>> {
    dims.iter().zip(0..).map(|(dim, space)| vector(*dim, seed.wrapping_mul(7) + space)).collect()
}

/// Searches some spaces, each with a weight, and compares with a scan of the vectors side by side: their inner product
/// with the weighted queries side by side is the sum.
fn search_and_check(
    index: &Index,
    live: &BTreeMap<i64, (i64, u64)>,
    seeds: &[u64],
    weights: &[(usize, f32)],
    k: usize,
    allowed: Option<&Rows>,
    min_score: Option<f32>,
) {
    let dims = index.snapshot().dims();
    let of = |seed: u64| -> Vec<Vec<f32>> {
        let mut vectors = vectors_of(dims, seed);
        weights.iter().map(|&(space, _)| std::mem::take(&mut vectors[space])).collect()
    };
    let live = live.iter().map(|(&reference, &(item, seed))| (reference, (item, of(seed).concat()))).collect();
    let queries = |part: usize, dim| {
        Vectors::normalize(dim, seeds.iter().flat_map(|&seed| of(seed + 1000)[part].clone()).collect()).unwrap()
    };
    let queries: Vec<Vectors> =
        weights.iter().enumerate().map(|(part, &(space, _))| queries(part, dims[space])).collect();
    let (answers, weights) = match weights {
        [(space, _)] => (index.alone(*space, &queries[0], k, allowed, min_score).unwrap(), vec![1.0]),
        _ => {
            let all: Vec<Vec<f32>> = weights.iter().map(|(_, weight)| vec![*weight; seeds.len()]).collect();
            let part =
                |((&(space, _), vectors), weights)| Part { space, vectors, weights, bounded: false, texts: false };
            let parts: Vec<Part<'_>> =
                weights.iter().zip(&queries).zip(all.iter().map(Vec::as_slice)).map(part).collect();
            (index.sum(&parts, k, allowed, min_score).unwrap(), weights.iter().map(|(_, w)| *w).collect())
        }
    };
    let weighted = |number: usize| -> Vec<f32> {
        let rows = queries.iter().zip(&weights);
        rows.flat_map(|(vectors, weight)| vectors.row(number).iter().map(move |value| value * weight)).collect()
    };
    let weighted: Vec<Vec<f32>> = (0..seeds.len()).map(weighted).collect();
    check(&answers, &live, &weighted, k, allowed, min_score);
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<(i64, i64, u64)>),
    Remove(Vec<i64>),
    Search { seeds: Vec<u64>, weights: [f32; 3], k: usize, allowed: Option<Vec<i64>>, min_score: Option<f32> },
}

fn step() -> impl Strategy<Value = Step> {
    let add = prop::collection::vec((0..60_i64, 0..20_i64, 0..30_u64), 0..20).prop_map(Step::Add);
    let remove = prop::collection::vec(0..60_i64, 0..10).prop_map(Step::Remove);
    let weight = || prop_oneof![1 => Just(0.0_f32), 2 => 0.1..1.0_f32];
    let search = (
        prop::collection::vec(0..40_u64, 1..12),
        [weight(), weight(), weight()],
        1..25_usize,
        prop::option::of(prop::collection::vec(0..20_i64, 0..12)),
        prop::option::of(-0.3..0.6_f32),
    )
        .prop_map(|(seeds, weights, k, allowed, min_score)| Step::Search { seeds, weights, k, allowed, min_score });
    prop_oneof![2 => add, 1 => remove, 3 => search]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_history_answers_like_a_scan(
        dims in prop::collection::vec(1..20_usize, 1..4),
        segment_rows in 1..12_usize,
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut index = Index::with_segment_rows(&dims, segment_rows).unwrap();
        let mut live: BTreeMap<i64, (i64, u64)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add(rows) => {
                    let rows: BTreeMap<i64, (i64, u64)> =
                        rows.into_iter().map(|(reference, item, seed)| (reference, (item, seed))).collect();
                    let references: Vec<i64> = rows.keys().copied().collect();
                    let items: Vec<i64> = rows.values().map(|(item, _)| *item).collect();
                    let space = |space: usize| -> Vec<f32> {
                        rows.values().flat_map(|&(_, seed)| vectors_of(&dims, seed).swap_remove(space)).collect()
                    };
                    let vectors: Vec<Vec<f32>> = (0..dims.len()).map(space).collect();
                    index.add(&references, &items, &vectors).unwrap();
                    live.extend(rows);
                }
                Step::Remove(references) => {
                    let before = live.len();
                    references.iter().for_each(|reference| _ = live.remove(reference));
                    prop_assert_eq!(index.remove(&references).unwrap(), before - live.len());
                }
                Step::Search { seeds, weights, k, allowed, min_score } => {
                    let allowed: Option<Rows> = allowed.map(|rows| rows.into_iter().collect());
                    let mut weights: Vec<(usize, f32)> = weights.into_iter().enumerate().take(dims.len()).collect();
                    weights.retain(|(_, weight)| *weight > 0.0);
                    if weights.is_empty() {
                        weights.push((0, 1.0));
                    }
                    search_and_check(&index, &live, &seeds, &weights, k, allowed.as_ref(), min_score);
                }
            }
            let items: std::collections::BTreeSet<i64> = live.values().map(|(item, _)| *item).collect();
            prop_assert_eq!((index.snapshot().len(), index.snapshot().items()), (live.len(), items.len()));
        }
    }
}

#[test]
fn the_default_segments_and_blocks_answer_like_a_scan() {
    let (dims, count) = ([8, 5], 20_000_i64);
    let mut index = Index::new(&dims).unwrap();
    let references: Vec<i64> = (1..=count).collect();
    let items: Vec<i64> = references.iter().map(|reference| reference / 3).collect();
    let mut vectors = [Vec::new(), Vec::new()];
    for &reference in &references {
        let of = vectors_of(&dims, reference as u64);
        vectors.iter_mut().zip(of).for_each(|(all, vector)| all.extend(vector));
    }
    index.add(&references, &items, &vectors).unwrap();
    assert_eq!(index.snapshot().segments.len(), 2);
    let live: BTreeMap<i64, (i64, u64)> =
        references.iter().zip(&items).map(|(&reference, &item)| (reference, (item, reference as u64))).collect();
    let odd: Rows = items.iter().copied().filter(|item| item % 2 == 1).collect();
    for count in [1, 3, 270] {
        let seeds: Vec<u64> = (0..count).map(|seed| 1_000_000 + seed).collect();
        for weights in [&[(0, 1.0)][..], &[(1, 0.3), (0, 0.7)]] {
            search_and_check(&index, &live, &seeds, weights, 10, None, None);
            search_and_check(&index, &live, &seeds, weights, 10, Some(&odd), Some(0.2));
        }
    }
}

#[test]
fn equal_vectors_come_in_order_of_their_items() {
    let mut index = Index::with_segment_rows(&[2], 7).unwrap();
    let references: Vec<i64> = (0..100).rev().collect();
    index.add(&references, &references, &[[0.6, 0.8].repeat(100)]).unwrap();
    let query = Vectors::normalize(2, vec![1.0, 0.0]).unwrap();
    let found = index.alone(0, &query, 5, None, None).unwrap().remove(0);
    assert_eq!(found.iter().map(|hit| hit.item).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(found.iter().all(|hit| hit.score == 0.6 && hit.reference == hit.item));
}

#[test]
fn an_item_with_most_references_hides_no_other() {
    let mut index = Index::with_segment_rows(&[2], 50).unwrap();
    let references: Vec<i64> = (0..203).collect();
    let items: Vec<i64> = references.iter().map(|&reference| if reference < 200 { 7 } else { reference }).collect();
    let mut vectors = [1.0, 0.0].repeat(200);
    vectors.extend([0.8, 0.6, 0.6, 0.8, 0.0, 1.0]);
    index.add(&references, &items, &[&vectors]).unwrap();
    let query = Vectors::normalize(2, vec![1.0, 0.0]).unwrap();
    let found = index.alone(0, &query, 3, None, None).unwrap().remove(0);
    let expected = [(7, 0, 1.0), (200, 200, 0.8), (201, 201, 0.6)];
    assert_eq!(found.iter().map(|hit| (hit.item, hit.reference, hit.score)).collect::<Vec<_>>(), expected);
    let found = index.alone(0, &query, 3, None, Some(0.7)).unwrap().remove(0);
    assert_eq!(found.iter().map(|hit| hit.item).collect::<Vec<_>>(), [7, 200]);
}

#[test]
fn bad_input_changes_nothing() {
    let mut index = Index::new(&[2]).unwrap();
    index.add(&[1], &[1], &[[1.0, 0.0]]).unwrap();
    for (references, items, vectors) in [
        (vec![2], vec![2], vec![1.0]),
        (vec![2], vec![], vec![1.0, 0.0]),
        (vec![2, 1], vec![2, 1], vec![0.0, 1.0, f32::NAN, 0.0]),
        (vec![3, 2, 3], vec![1, 1, 1], vec![0.0; 6]),
    ] {
        assert!(matches!(index.add(&references, &items, &[&vectors]), Err(Error::Argument(_))), "{references:?}");
    }
    let query = Vectors::normalize(2, vec![1.0, 0.0]).unwrap();
    let hit = Found { item: 1, reference: 1, score: 1.0 };
    assert_eq!(index.alone(0, &query, 9, None, None).unwrap(), [[hit]]);
    assert!(index.alone(0, &query, 0, None, None).is_err());
    assert!(index.alone(0, &Vectors::new(3), 1, None, None).is_err());
    assert!(Index::new(&[0]).is_err() && Index::new(&[]).is_err());
    let part = |space, weights| Part { space, vectors: &query, weights, bounded: false, texts: false };
    let refused = |parts: &[Part<'_>]| index.sum(parts, 1, None, None).unwrap_err().to_string();
    assert!(refused(&[]).contains("a vector and a weight for each query"));
    assert!(refused(&[part(0, &[1.0]), part(0, &[])]).contains("a vector and a weight for each query"));
    assert!(refused(&[part(0, &[1.0]), part(1, &[1.0])]).contains("cannot be compared"));
    assert!(index.alone(0, &Vectors::new(2), 1, None, None).unwrap().is_empty());
}

#[test]
fn searches_run_side_by_side() {
    let dim = 8;
    let mut index = Index::with_segment_rows(&[dim], 100).unwrap();
    let references: Vec<i64> = (0..1000).collect();
    let vectors: Vec<f32> = references.iter().flat_map(|&reference| vector(dim, reference as u64)).collect();
    index.add(&references, &references, &[&vectors]).unwrap();
    let search = |seed| {
        let query = Vectors::normalize(dim, vector(dim, seed)).unwrap();
        index.alone(0, &query, 5, None, None).unwrap().remove(0)
    };
    let expected: Vec<_> = (0..50).map(search).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|seed| assert_eq!(search(seed), expected[seed as usize])));
        }
    });
}

#[test]
fn every_fusion_and_aggregate_answers_like_a_scan() {
    let (dims, count) = ([5, 3], 90_i64);
    let mut index = Index::with_segment_rows(&dims, 17).unwrap();
    let references: Vec<i64> = (0..count).collect();
    let items: Vec<i64> = references.iter().map(|reference| reference * reference % 23).collect();
    let mut vectors = [Vec::new(), Vec::new()];
    for &reference in &references {
        let of = vectors_of(&dims, reference as u64);
        vectors.iter_mut().zip(of).for_each(|(all, vector)| all.extend(vector));
    }
    index.add(&references, &items, &vectors).unwrap();
    index.remove(&[3, 50, 51]).unwrap();
    let rows: Vec<(i64, i64)> = references.iter().zip(&items).map(|(r, i)| (*r, *i)).collect();
    let rows: Vec<(i64, i64)> = rows.into_iter().filter(|(reference, _)| ![3, 50, 51].contains(reference)).collect();
    let weights = [0.3_f32, 0.7];
    for queries in [1, 5, 12] {
        let seeds: Vec<u64> = (0..queries).map(|seed| 500 + seed).collect();
        let of = |space: usize| seeds.iter().flat_map(|seed| vectors_of(&dims, *seed)[space].clone()).collect();
        let asked = [Vectors::normalize(5, of(0)).unwrap(), Vectors::normalize(3, of(1)).unwrap()];
        let all = weights.map(|weight| vec![weight; seeds.len()]);
        let parts: Vec<Part<'_>> = (0..2)
            .map(|space| Part {
                space,
                vectors: &asked[space],
                weights: &all[space],
                bounded: space == 0,
                texts: false,
            })
            .collect();
        for allowed in [None, Some(items.iter().copied().filter(|item| item % 3 > 0).collect::<Rows>())] {
            for fusion in FUSIONS {
                for aggregate in [Aggregate::Max, Aggregate::Mean, Aggregate::Softmax { temperature: 0.2 }] {
                    let found = allowed.as_ref().map(|rows| index.snapshot.allow(rows.clone()));
                    let request = Request { allowed: found.as_ref(), fusion, aggregate, ..Request::new(&parts, 6) };
                    let answers = index.search(&request).unwrap();
                    for (number, found) in answers.iter().enumerate() {
                        let is_allowed =
                            |(_, item): &(i64, i64)| allowed.as_ref().is_none_or(|rows| rows.contains(*item));
                        let scores = fused(&rows, &is_allowed, &dims, &asked, number, &weights, fusion);
                        let rows: Vec<(i64, i64)> = rows.iter().copied().filter(is_allowed).collect();
                        let expected = by_item(&rows, &scores, aggregate);
                        assert_eq!(found.len(), 6);
                        for (hit, (score, item)) in found.iter().zip(&expected) {
                            let near = (f64::from(hit.score) - score).abs() < NEAR;
                            assert!(near && hit.item == *item, "{fusion:?} {aggregate:?}: {hit:?} {score} {item}");
                            let place = rows.iter().position(|row| *row == (hit.reference, hit.item)).unwrap();
                            let best = rows.iter().zip(&scores).filter(|((_, of), _)| of == item);
                            let best = best.map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
                            assert!(scores[place] > best - NEAR, "{hit:?} has not its best reference");
                            let vector = index.snapshot().vector(hit, 1);
                            assert_eq!(vector, vectors_of(&dims, hit.reference as u64)[1]);
                            let cosine: f32 = vector.iter().zip(asked[1].row(number)).map(|(a, b)| a * b).sum();
                            assert_eq!(index.snapshot().rescore(hit, 1, asked[1].row(number)), cosine);
                        }
                    }
                }
            }
        }
    }
}

const FUSIONS: [Fusion; 4] =
    [Fusion::Sum, Fusion::Weighted, Fusion::ReciprocalRank { offset: 60.0 }, Fusion::Distribution];

/// The fused score of each row that is allowed, in f64. The first list is of pictures, the second of words.
fn fused(
    rows: &[(i64, i64)],
    is_allowed: &impl Fn(&(i64, i64)) -> bool,
    dims: &[usize],
    asked: &[Vectors; 2],
    query: usize,
    weights: &[f32; 2],
    fusion: Fusion,
) -> Vec<f64> {
    let lists = [0, 1].map(|space| {
        let dot = |(reference, _): &(i64, i64)| -> f64 {
            let vector = vectors_of(dims, *reference as u64).swap_remove(space);
            vector.iter().zip(asked[space].row(query)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let all: Vec<f64> = rows.iter().map(dot).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let spread = (all.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
        let highest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let scores: Vec<f64> = rows.iter().filter(|row| is_allowed(row)).map(dot).collect();
        (scores, mean, spread, (highest - mean) / spread)
    });
    let above = |list: usize, place: usize| (lists[list].0[place] - lists[list].1) / lists[list].2;
    let places = 0..lists[0].0.len();
    let best = lists[1].3;
    let weights = weights.map(f64::from);
    let of = |list: usize, place: usize| match fusion {
        Fusion::Sum => lists[list].0[place],
        Fusion::Weighted if list == 0 => {
            let (near, fit) = ((above(0, place) / 2.5).tanh(), (1.0 - (best - above(1, place))).max(0.0));
            near + (above(0, place) - near) * fit
        }
        Fusion::Weighted => above(1, place),
        Fusion::Distribution => 0.5 + above(list, place) / 6.0,
        Fusion::ReciprocalRank { offset } => {
            // Equal vectors do not occur here.
            let scores = &lists[list].0;
            let rank = 1 + scores.iter().filter(|score| **score > scores[place]).count();
            1.0 / (f64::from(offset) + rank as f64)
        }
    };
    let mean = |of: [f64; 2]| weights[0] * of[0] + weights[1] * of[1];
    let (middle, width) = match fusion {
        Fusion::Weighted => (mean([lists[0].1, lists[1].1]), mean([lists[0].2, lists[1].2])),
        _ => (0.0, 1.0),
    };
    places.map(|place| middle + width * mean([of(0, place), of(1, place)])).collect()
}

/// The score of each item, best first.
fn by_item(rows: &[(i64, i64)], scores: &[f64], aggregate: Aggregate) -> Vec<(f64, i64)> {
    let mut all: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    rows.iter().zip(scores).for_each(|((_, item), score)| all.entry(*item).or_default().push(*score));
    let one = |(item, scores): (i64, Vec<f64>)| {
        let weight = |score: &f64| match aggregate {
            Aggregate::Softmax { temperature } => (score / f64::from(temperature)).exp(),
            _ => 1.0,
        };
        let mean =
            scores.iter().map(|score| weight(score) * score).sum::<f64>() / scores.iter().map(weight).sum::<f64>();
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (if aggregate == Aggregate::Max { best } else { mean }, item)
    };
    let mut list: Vec<(f64, i64)> = all.into_iter().map(one).collect();
    list.sort_by(|a, b| b.0.total_cmp(&a.0));
    list
}

#[test]
fn a_copy_of_a_snapshot_stays_as_it_is() {
    let mut index = Index::with_segment_rows(&[2], 4).unwrap();
    let references: Vec<i64> = (0..10).collect();
    index.add(&references, &references, &[[0.6, 0.8].repeat(10)]).unwrap();
    let copy = index.snapshot().clone();
    index.remove(&[0, 5]).unwrap();
    index.add(&[20], &[20], &[[1.0, 0.0]]).unwrap();
    let query = Vectors::normalize(2, vec![1.0, 0.0]).unwrap();
    let parts = [Part { space: 0, vectors: &query, weights: &[1.0], bounded: false, texts: false }];
    let items = |snapshot: &Snapshot| -> Vec<i64> {
        let found = snapshot.search(&Request::new(&parts, 20)).unwrap().remove(0);
        found.iter().map(|found| found.item).collect()
    };
    assert_eq!(items(&copy), references);
    assert_eq!(items(index.snapshot()), [20, 1, 2, 3, 4, 6, 7, 8, 9]);
    assert_eq!((copy.len(), copy.items(), index.snapshot().len()), (10, 10, 9));
    // Two numbers of 4 bytes, the same in 1 byte with three lengths, and two row numbers.
    assert_eq!(copy.bytes(), 10 * (2 * 4 + 2 + 3 * 4 + 2 * 8));
    for temperature in [0.0, -1.0, f32::NAN] {
        let request = Request { aggregate: Aggregate::Softmax { temperature }, ..Request::new(&parts, 1) };
        let error = index.search(&request).unwrap_err().to_string();
        assert!(error.ends_with("give a finite number above 0"), "{error}");
    }
    for offset in [-1.0, f32::NAN, f32::INFINITY] {
        let request = Request { fusion: Fusion::ReciprocalRank { offset }, ..Request::new(&parts, 1) };
        let error = index.search(&request).unwrap_err().to_string();
        assert!(error.ends_with("give a finite number, 0 or more"), "{error}");
    }
}
