use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

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
    index: &Index,
    live: &BTreeMap<i64, (i64, Vec<f32>)>,
    queries: &Vectors,
    k: usize,
    allowed: Option<&Rows>,
    min_score: Option<f32>,
) {
    let answers = index.search(queries, k, allowed, min_score).unwrap();
    assert_eq!(answers.len(), queries.len());
    for (query, found) in queries.rows().zip(&answers) {
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

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<(i64, i64, u64)>),
    Remove(Vec<i64>),
    Search { queries: Vec<u64>, k: usize, allowed: Option<Vec<i64>>, min_score: Option<f32> },
}

fn step() -> impl Strategy<Value = Step> {
    let add = prop::collection::vec((0..60_i64, 0..20_i64, 0..30_u64), 0..20).prop_map(Step::Add);
    let remove = prop::collection::vec(0..60_i64, 0..10).prop_map(Step::Remove);
    let search = (
        prop::collection::vec(0..40_u64, 1..12),
        1..25_usize,
        prop::option::of(prop::collection::vec(0..20_i64, 0..12)),
        prop::option::of(-0.3..0.6_f32),
    )
        .prop_map(|(queries, k, allowed, min_score)| Step::Search { queries, k, allowed, min_score });
    prop_oneof![2 => add, 1 => remove, 3 => search]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_history_answers_like_a_scan(
        dim in 1..20_usize,
        segment_rows in 1..12_usize,
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut index = Index::with_segment_rows(dim, segment_rows).unwrap();
        let mut live = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add(rows) => {
                    let rows: BTreeMap<i64, (i64, u64)> =
                        rows.into_iter().map(|(reference, item, seed)| (reference, (item, seed))).collect();
                    let references: Vec<i64> = rows.keys().copied().collect();
                    let items: Vec<i64> = rows.values().map(|(item, _)| *item).collect();
                    let vectors: Vec<f32> = rows.values().flat_map(|&(_, seed)| vector(dim, seed)).collect();
                    index.add(&references, &items, &vectors).unwrap();
                    live.extend(rows.into_iter().map(|(r, (item, seed))| (r, (item, vector(dim, seed)))));
                }
                Step::Remove(references) => {
                    let before = live.len();
                    references.iter().for_each(|reference| drop(live.remove(reference)));
                    prop_assert_eq!(index.remove(&references).unwrap(), before - live.len());
                }
                Step::Search { queries, k, allowed, min_score } => {
                    let queries: Vec<f32> = queries.into_iter().flat_map(|seed| vector(dim, seed)).collect();
                    let queries = Vectors::normalize(dim, queries).unwrap();
                    let allowed: Option<Rows> = allowed.map(|rows| rows.into_iter().collect());
                    check(&index, &live, &queries, k, allowed.as_ref(), min_score);
                }
            }
            let items: std::collections::BTreeSet<i64> = live.values().map(|(item, _)| *item).collect();
            prop_assert_eq!((index.len(), index.items()), (live.len(), items.len()));
        }
    }
}

#[test]
fn the_default_segments_and_blocks_answer_like_a_scan() {
    let (dim, count) = (8, 20_000_i64);
    let mut index = Index::new(dim).unwrap();
    let references: Vec<i64> = (1..=count).collect();
    let items: Vec<i64> = references.iter().map(|reference| reference / 3).collect();
    let vectors: Vec<f32> = references.iter().flat_map(|&reference| vector(dim, reference as u64)).collect();
    index.add(&references, &items, &vectors).unwrap();
    assert_eq!(index.segments.len(), 2);
    let live = |(i, &reference): (usize, &i64)| (reference, (items[i], vectors[i * dim..(i + 1) * dim].to_vec()));
    let live: BTreeMap<_, _> = references.iter().enumerate().map(live).collect();
    let odd: Rows = items.iter().copied().filter(|item| item % 2 == 1).collect();
    for count in [1, 3, 270] {
        let queries: Vec<f32> = (0..count).flat_map(|seed| vector(dim, 1_000_000 + seed)).collect();
        let queries = Vectors::normalize(dim, queries).unwrap();
        check(&index, &live, &queries, 10, None, None);
        check(&index, &live, &queries, 10, Some(&odd), Some(0.2));
    }
}

#[test]
fn equal_vectors_come_in_order_of_their_items() {
    let mut index = Index::with_segment_rows(2, 7).unwrap();
    let references: Vec<i64> = (0..100).rev().collect();
    index.add(&references, &references, &[0.6, 0.8].repeat(100)).unwrap();
    let query = Vectors::normalize(2, vec![1.0, 0.0]).unwrap();
    let found = index.search(&query, 5, None, None).unwrap().remove(0);
    assert_eq!(found.iter().map(|hit| hit.item).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(found.iter().all(|hit| hit.score == 0.6 && hit.reference == hit.item));
}

#[test]
fn an_item_with_most_references_hides_nobody() {
    let mut index = Index::with_segment_rows(2, 50).unwrap();
    let references: Vec<i64> = (0..203).collect();
    let items: Vec<i64> = references.iter().map(|&reference| if reference < 200 { 7 } else { reference }).collect();
    let mut vectors = [1.0, 0.0].repeat(200);
    vectors.extend([0.8, 0.6, 0.6, 0.8, 0.0, 1.0]);
    index.add(&references, &items, &vectors).unwrap();
    let query = Vectors::normalize(2, vec![1.0, 0.0]).unwrap();
    let found = index.search(&query, 3, None, None).unwrap().remove(0);
    let expected = [(7, 0, 1.0), (200, 200, 0.8), (201, 201, 0.6)];
    assert_eq!(found.iter().map(|hit| (hit.item, hit.reference, hit.score)).collect::<Vec<_>>(), expected);
    let found = index.search(&query, 3, None, Some(0.7)).unwrap().remove(0);
    assert_eq!(found.iter().map(|hit| hit.item).collect::<Vec<_>>(), [7, 200]);
}

#[test]
fn bad_input_changes_nothing() {
    let mut index = Index::new(2).unwrap();
    index.add(&[1], &[1], &[1.0, 0.0]).unwrap();
    for (references, items, vectors) in [
        (vec![2], vec![2], vec![1.0]),
        (vec![2], vec![], vec![1.0, 0.0]),
        (vec![2, 1], vec![2, 1], vec![0.0, 1.0, f32::NAN, 0.0]),
        (vec![3, 2, 3], vec![1, 1, 1], vec![0.0; 6]),
    ] {
        assert!(matches!(index.add(&references, &items, &vectors), Err(Error::Argument(_))), "{references:?}");
    }
    let query = Vectors::normalize(2, vec![1.0, 0.0]).unwrap();
    let hit = Found { item: 1, reference: 1, score: 1.0 };
    assert_eq!(index.search(&query, 9, None, None).unwrap(), [[hit]]);
    assert!(index.search(&query, 0, None, None).is_err());
    assert!(index.search(&Vectors::new(3), 1, None, None).is_err());
    assert!(Index::new(0).is_err());
    assert!(index.search(&Vectors::new(2), 1, None, None).unwrap().is_empty());
}

#[test]
fn searches_run_side_by_side() {
    let dim = 8;
    let mut index = Index::with_segment_rows(dim, 100).unwrap();
    let references: Vec<i64> = (0..1000).collect();
    let vectors: Vec<f32> = references.iter().flat_map(|&reference| vector(dim, reference as u64)).collect();
    index.add(&references, &references, &vectors).unwrap();
    let search = |seed| {
        let query = Vectors::normalize(dim, vector(dim, seed)).unwrap();
        index.search(&query, 5, None, None).unwrap().remove(0)
    };
    let expected: Vec<_> = (0..50).map(search).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|seed| assert_eq!(search(seed), expected[seed as usize])));
        }
    });
}
