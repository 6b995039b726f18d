//! The device of these tests is the processor, by ONNX Runtime's provider for it: all but its memory is as on a GPU.

use super::*;
use crate::encoder::{Device, load_for_tests};
use crate::fusion::Aggregate;
use crate::index::ledger::Ledger;
use crate::index::snapshot::{Part, Request};
use crate::selection::Rows;
use crate::vectors::Vectors;

const DIM: usize = 24;

/// Vectors whose numbers look random but follow from `seed`; each third one is equal to the one before if `ties`.
fn vectors(count: usize, mut seed: u64, ties: bool) -> Vectors {
    let mut number = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut data: Vec<f32> = (0..count * DIM).map(|_| number()).collect();
    for row in (2..count).step_by(3).filter(|_| ties) {
        data.copy_within((row - 1) * DIM..row * DIM, row * DIM);
    }
    Vectors::normalize(DIM, data).unwrap()
}

/// Two snapshots of the same references, two for each item: on the processor, and on a device in parts.
fn both(rows: &Vectors, half: bool, changes: &dyn Fn(&mut Ledger, &mut Snapshot)) -> (Snapshot, Snapshot) {
    let products = Products::with_numbers(&Device::Cpu, 1, half).unwrap();
    let (mut ledger, mut exact) = Ledger::new(&[DIM]).unwrap();
    let references: Vec<i64> = (0..rows.len() as i64).collect();
    let items: Vec<i64> = references.iter().map(|reference| reference / 2).collect();
    ledger.add(&mut exact, &references, &items, &[rows.as_slice()]).unwrap();
    let sealed = Arc::new(hold_in(&exact, &products, 600).unwrap());
    let (mut on_device, mut moved) = Ledger::of(&sealed).unwrap();
    changes(&mut ledger, &mut exact);
    changes(&mut on_device, &mut moved);
    (exact, moved)
}

/// The items with their scores, of one query after another.
fn search(
    snapshot: &Snapshot,
    queries: &Vectors,
    k: usize,
    allowed: Option<&Rows>,
    weight: f32,
) -> Vec<Vec<(i64, f32)>> {
    let weights = vec![weight; queries.len()];
    let parts = [Part { space: 0, vectors: queries, weights: &weights, bounded: false, texts: false }];
    let allowed = allowed.map(|rows| snapshot.allow(rows.clone()));
    let found = snapshot.search(&Request { allowed: allowed.as_ref(), ..Request::new(&parts, k) }).unwrap();
    found.into_iter().map(|found| found.into_iter().map(|one| (one.item, one.score)).collect()).collect()
}

fn assert_same(one: &[Vec<(i64, f32)>], other: &[Vec<(i64, f32)>]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one.len(), other.len());
        for ((item, score), (other, other_score)) in one.iter().zip(other) {
            // Sums differ in their last bits, and items that score the same may then change places.
            assert!((score - other_score).abs() < 1e-5);
            assert!(item == other || one_of_ties(*score, one), "{item} is not {other}");
        }
    }
}

fn one_of_ties(score: f32, found: &[(i64, f32)]) -> bool {
    found.iter().filter(|(_, other)| (score - other).abs() < 1e-5).count() > 1
        || found.last().is_some_and(|last| last.1 >= score - 1e-5)
}

#[test]
fn a_device_finds_what_the_processor_finds() {
    if !load_for_tests() {
        return;
    }
    for (half, ties) in [(false, false), (true, false), (false, true), (true, true)] {
        let (rows, queries) = (vectors(2000, 1, ties), vectors(300, 2, false));
        let (exact, moved) = both(&rows, half, &|_, _| {});
        assert!(moved.segments.iter().all(|segment| segment.is_apart()));
        for (count, k) in [(1, 1), (1, 10), (32, 10), (300, 10), (3, 200), (2, 5000)] {
            let queries = Vectors::normalize(DIM, queries.as_slice()[..count * DIM].to_vec()).unwrap();
            let found = search(&moved, &queries, k, None, 1.0);
            assert_same(&found, &search(&exact, &queries, k, None, 1.0));
            assert_eq!(found[0].len(), k.min(1000));
        }
        let weighted = search(&moved, &queries, 5, None, 0.01);
        assert_same(&weighted, &search(&exact, &queries, 5, None, 0.01));
    }
}

#[test]
fn removed_rows_are_not_found_and_new_ones_are() {
    if !load_for_tests() {
        return;
    }
    let (rows, more, queries) = (vectors(2000, 3, false), vectors(100, 4, false), vectors(20, 5, false));
    for half in [false, true] {
        let (exact, moved) = both(&rows, half, &|ledger, snapshot| {
            let gone: Vec<i64> = (0..2000).filter(|row| row % 3 == 0).collect();
            ledger.remove(snapshot, &gone).unwrap();
            let added: Vec<i64> = (5000..5100).collect();
            ledger.add(snapshot, &added, &added, &[more.as_slice()]).unwrap();
        });
        let found = search(&moved, &queries, 20, None, 1.0);
        assert_same(&found, &search(&exact, &queries, 20, None, 1.0));
        assert!(found.iter().flatten().any(|(item, _)| *item >= 5000));
        let own = Vectors::normalize(DIM, rows.row(600).to_vec()).unwrap();
        assert!(search(&moved, &own, 1, None, 1.0)[0][0].1 < 0.999, "a removed row was found");
    }
}

#[test]
fn filters_hold_on_a_device() {
    if !load_for_tests() {
        return;
    }
    let (rows, queries) = (vectors(2000, 6, false), vectors(12, 7, false));
    let (exact, moved) = both(&rows, true, &|ledger, snapshot| {
        ledger.remove(snapshot, &[0, 1, 2, 3]).unwrap();
    });
    // Half of the items, which the device is told; few, which the processor compares; and none.
    for allowed in [(0..1000).filter(|item| item % 2 == 0).collect::<Vec<_>>(), vec![5, 7, 900], vec![]] {
        let allowed = Rows::from_iter(allowed);
        for count in [1, 12] {
            let queries = Vectors::normalize(DIM, queries.as_slice()[..count * DIM].to_vec()).unwrap();
            let found = search(&moved, &queries, 10, Some(&allowed), 1.0);
            assert_same(&found, &search(&exact, &queries, 10, Some(&allowed), 1.0));
            assert!(found.iter().flatten().all(|(item, _)| allowed.contains(*item)));
        }
    }
}

#[test]
fn every_reference_counts_where_it_must() {
    if !load_for_tests() {
        return;
    }
    let (rows, queries) = (vectors(900, 8, false), vectors(3, 9, false));
    let (exact, moved) = both(&rows, true, &|_, _| {});
    let mean = |snapshot: &Snapshot| {
        let weights = vec![1.0; 3];
        let parts = [Part { space: 0, vectors: &queries, weights: &weights, bounded: false, texts: false }];
        let found = snapshot.search(&Request { aggregate: Aggregate::Mean, ..Request::new(&parts, 4) }).unwrap();
        found.into_iter().map(|found| found.into_iter().map(|one| (one.item, one.score)).collect()).collect::<Vec<_>>()
    };
    assert_same(&mean(&moved), &mean(&exact));
}

#[test]
fn a_change_follows_to_the_device() {
    if !load_for_tests() {
        return;
    }
    let (rows, queries) = (vectors(1000, 10, false), vectors(4, 11, false));
    let products = Products::with_numbers(&Device::Cpu, 1, false).unwrap();
    let (mut ledger, mut exact) = Ledger::new(&[DIM]).unwrap();
    let references: Vec<i64> = (0..1000).collect();
    ledger.add(&mut exact, &references, &references, &[rows.as_slice()]).unwrap();
    let before = exact.clone();
    let sealed = Arc::new(hold(&before, &products).unwrap());
    ledger.remove(&mut exact, &[4, 5, 6]).unwrap();
    ledger.add(&mut exact, &[2000], &[2000], &[rows.row(4)]).unwrap();
    let (mut other, mut moved) = Ledger::of(&sealed).unwrap();
    other.follow(&mut moved, &before, &exact).unwrap();
    assert_eq!(moved.len(), exact.len());
    assert_same(&search(&moved, &queries, 9, None, 1.0), &search(&exact, &queries, 9, None, 1.0));
    assert_eq!(sealed.resident.as_ref().map(Resident::bytes), Some(1000 * DIM * 4));
}

#[test]
fn the_bound_of_the_error_holds() {
    if !load_for_tests() {
        return;
    }
    let (rows, queries) = (vectors(500, 12, false), vectors(20, 13, false));
    for half in [false, true] {
        let products = Products::with_numbers(&Device::Cpu, 1, half).unwrap();
        let held = products.hold(0, DIM, rows.as_slice()).unwrap();
        for (query, best) in queries.rows().zip(held.best(queries.as_slice(), 500, None).unwrap()) {
            assert_eq!(best.len(), 500);
            for (row, score) in best {
                let exact: f64 =
                    rows.row(row as usize).iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!((exact - f64::from(score)).abs() < f64::from(held.error()));
            }
        }
    }
}
