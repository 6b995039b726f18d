use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::fusion::Aggregate;
use crate::index::build::{Plan, Texts, build};
use crate::index::part::Extending;
use crate::index::{Factory, Index, IndexFile, Ledger, Part, Request, Snapshot};
use crate::selection::Rows;
use crate::vectors::Vectors;
use crate::workers::workers;

const DIM: usize = 32;

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }
}

/// A vector near one of 40 centers.
fn vector(dice: &mut Dice) -> Vec<f32> {
    let mut center = Dice(dice.below(40) as u64 * 7 + 3);
    let numbers = (0..DIM).map(|_| center.next() + 0.7 * dice.next()).collect();
    Vectors::normalize(DIM, numbers).unwrap().into_inner()
}

/// References of items with 1 to 3 each.
fn catalog(count: usize, seed: u64) -> Index {
    let mut dice = Dice(seed);
    let mut index = Index::new(&[DIM]).unwrap();
    let references: Vec<i64> = (0..count as i64).collect();
    let items: Vec<i64> = references.iter().map(|row| row / 2).collect();
    let vectors: Vec<f32> = references.iter().flat_map(|_| vector(&mut dice)).collect();
    index.add(&references, &items, &[vectors]).unwrap();
    index
}

fn queries(count: usize, seed: u64) -> Vectors {
    let mut dice = Dice(seed);
    Vectors::normalize(DIM, (0..count).flat_map(|_| vector(&mut dice)).collect()).unwrap()
}

fn made(snapshot: &Snapshot, factory: Option<&str>) -> Sealed {
    let factories = factory.map(|text| vec![Factory::parse(text, DIM).unwrap()]);
    let plan = Plan { factories, recall: 0.98, memory: None };
    build(snapshot, &plan, &[Texts::Unknown], &workers(Some(2)).unwrap(), None)
        .unwrap_or_else(|error| panic!("{factory:?}: {error}"))
}

/// The same with no set of rows so small that each is compared.
fn without_few(mut sealed: Sealed) -> Arc<Sealed> {
    sealed.tuned[0].few = 0;
    Arc::new(sealed)
}

fn search(snapshot: &Snapshot, queries: &Vectors, k: usize, allowed: Option<&Rows>) -> Vec<Vec<Candidate>> {
    let weights = vec![1.0; queries.len()];
    let parts = [Part { space: 0, vectors: queries, weights: &weights, bounded: false, texts: false }];
    let allowed = allowed.map(|rows| snapshot.allow(rows.clone()));
    snapshot.search(&Request { allowed: allowed.as_ref(), ..Request::new(&parts, k) }).unwrap()
}

/// The share of the items of `exact` that are in `found` with their best reference, each with its exact score.
fn recall(exact: &[Vec<Candidate>], found: &[Vec<Candidate>]) -> f64 {
    let (mut right, mut wanted) = (0, 0);
    for (exact, found) in exact.iter().zip(found) {
        let items: HashSet<i64> = found.iter().map(|one| one.item).collect();
        assert_eq!(items.len(), found.len(), "an item twice");
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        for one in exact {
            let same = found.iter().find(|other| other.item == one.item);
            // Another reference of the item may be found alone, which is worse.
            assert!(same.is_none_or(|same| same.score < one.score + 1e-5));
            let best = same.filter(|same| same.reference == one.reference);
            assert!(best.is_none_or(|best| (best.score - one.score).abs() < 1e-5));
            right += usize::from(best.is_some());
        }
        wanted += exact.len();
    }
    f64::from(right as u32) / f64::from(wanted as u32)
}

/// Every index that can be used answers with and without filters, is kept as bytes, and forgets what is removed.
#[test]
fn every_factory_string_finds_filters_and_forgets() {
    let strings = [
        "SQ8",
        "SQfp16",
        "SQbf16",
        "IVF16,Flat",
        "IVF16,SQ8",
        "IVF16,SQ4",
        "IVF16,SQ6",
        "PCA16,IVF16,SQ8",
        "IVF16_HNSW16,SQ8",
        "IVF16,PQ16x4fs",
        "OPQ16,IVF16,PQ16x4fs",
        "IVF16,PQ16x4",
        "IVF16,RaBitQ",
        "HNSW16",
        "HNSW16,SQ8",
        "HNSW16,PQ16x4",
    ];
    let index = catalog(3000, 5);
    let queries = queries(40, 9);
    let exact = search(index.snapshot(), &queries, 10, None);
    for text in strings {
        let sealed = without_few(made(index.snapshot(), Some(text)));
        let (mut ledger, mut snapshot) = Ledger::of(&sealed).unwrap();
        let first = search(&snapshot, &queries, 10, None);
        assert_eq!(first, search(&snapshot, &queries, 10, None), "{text} answers differently");
        let found = recall(&exact, &first);
        assert!(found > 0.9, "{text}: {found}");
        for one_in in [2, 10, 100, 1000] {
            let allowed: Rows = (0..1500).filter(|item| item % one_in == 1).collect();
            let exact = search(index.snapshot(), &queries, 10, Some(&allowed));
            let found = search(&snapshot, &queries, 10, Some(&allowed));
            assert!(found.iter().flatten().all(|one| allowed.contains(one.item)), "{text}");
            let found = recall(&exact, &found);
            assert!(found > 0.9, "{text} with one in {one_in}: {found}");
        }
        let bytes = sealed.coded[0].to_bytes().unwrap();
        let again = Coded::from_bytes(sealed.coded[0].factory(), DIM, &bytes).unwrap();
        let of = |coded: &Coded| coded.search(queries.row(0), 10, None, 8).unwrap().rows;
        assert_eq!(of(&sealed.coded[0]), of(&again), "{text}");
        let gone: Vec<i64> = exact.iter().flatten().map(|one| one.reference).collect();
        ledger.remove(&mut snapshot, &gone).unwrap();
        let left = search(&snapshot, &queries, 10, None);
        assert!(left.iter().all(|found| found.len() == 10), "{text}");
        assert!(left.iter().flatten().all(|one| !gone.contains(&one.reference)), "{text}");
    }
}

#[test]
fn the_chosen_index_finds_what_was_asked_for() {
    let index = catalog(6000, 2);
    let sealed = made(index.snapshot(), None);
    let tuned = sealed.tuned()[0];
    assert_eq!(sealed.factories().collect::<Vec<_>>(), ["IVF153,PQ16x4fs"]);
    assert!(tuned.pictures.recall >= Some(0.98) && tuned.texts.recall >= Some(0.98), "{tuned:?}");
    let snapshot = Ledger::of(&Arc::new(sealed)).unwrap().1;
    let queries = queries(200, 77);
    let exact = search(index.snapshot(), &queries, 10, None);
    let found = recall(&exact, &search(&snapshot, &queries, 10, None));
    assert!(found > 0.95, "{found}");
    // Queries one by one find the same.
    let alone: Vec<Vec<Candidate>> =
        queries.split().iter().flat_map(|query| search(&snapshot, query, 10, None)).collect();
    assert!(recall(&exact, &alone) > 0.95);
}

#[test]
fn all_items_are_found_when_all_are_wanted() {
    let index = catalog(2000, 3);
    let snapshot = Ledger::of(&without_few(made(index.snapshot(), Some("IVF16,SQ8")))).unwrap().1;
    let queries = queries(3, 4);
    for k in [300, 1000, 5000] {
        let (exact, found) = (search(index.snapshot(), &queries, k, None), search(&snapshot, &queries, k, None));
        assert!(found.iter().all(|found| found.len() == k.min(1000)));
        assert!(recall(&exact, &found) > 0.98);
    }
}

#[test]
fn means_and_mixtures_count_no_removed_row() {
    let mut index = catalog(2000, 3);
    let sealed = Arc::new(made(index.snapshot(), Some("IVF16,SQ8")));
    let (mut ledger, mut snapshot) = Ledger::of(&sealed).unwrap();
    let gone: Vec<i64> = (0..2000).filter(|row| row % 3 == 0).collect();
    ledger.remove(&mut snapshot, &gone).unwrap();
    index.remove(&gone).unwrap();
    let queries = queries(5, 8);
    let weights = vec![0.5; 5];
    let part = Part { space: 0, vectors: &queries, weights: &weights, bounded: false, texts: false };
    let parts = [part, Part { bounded: true, ..part }];
    for (fusion, aggregate) in [
        (crate::fusion::Fusion::Weighted, Aggregate::Max),
        (crate::fusion::Fusion::Distribution, Aggregate::Max),
        (crate::fusion::Fusion::Sum, Aggregate::Mean),
    ] {
        let request = Request { fusion, aggregate, ..Request::new(&parts, 20) };
        let (exact, found) = (index.snapshot().search(&request).unwrap(), snapshot.search(&request).unwrap());
        assert!(recall(&exact, &found) > 0.999, "{fusion:?}");
    }
    let rows = |snapshot: &Snapshot| snapshot.rows().map(|row| row.reference).collect::<HashSet<_>>();
    assert_eq!(rows(&snapshot), rows(index.snapshot()));
}

#[test]
fn too_few_references_are_refused() {
    let index = catalog(500, 1);
    let plan = Plan { factories: Some(vec![Factory::parse("IVF64,Flat", DIM).unwrap()]), recall: 0.98, memory: None };
    let error =
        build(index.snapshot(), &plan, &[Texts::Unknown], &workers(Some(1)).unwrap(), None).unwrap_err().to_string();
    assert!(error.contains("2496") && error.contains("500"), "{error}");
}

#[test]
fn a_file_is_whole_or_refused() {
    let index = catalog(1000, 1);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("index").join("approximate");
    let about = serde_json::json!({"of": "a test"});
    let factories = Some(vec![Factory::parse("IVF16,PQ16x4fs", DIM).unwrap()]);
    let plan = Plan { factories, recall: 0.98, memory: None };
    let mut file = IndexFile::new(&path).unwrap();
    let mut sealed =
        build(index.snapshot(), &plan, &[Texts::Unknown], &workers(Some(2)).unwrap(), Some(&mut file)).unwrap();
    file.finish(&mut sealed, &about).unwrap();
    assert_eq!((Sealed::checksum(&path), Sealed::checksum(home.path())), (sealed.written, None));
    let (again, said) = Sealed::open(&path).unwrap();
    assert_eq!((said, &again.references, &again.items), (about, &sealed.references, &sealed.items));
    assert_eq!((again.tuned(), again.vectors[0].owned_bytes()), (sealed.tuned(), 0));
    assert_eq!(sealed.vectors[0].owned_bytes(), 0, "what was built lies in the file, too");
    let queries = queries(20, 3);
    let of = |sealed: Sealed| search(&Ledger::of(&Arc::new(sealed)).unwrap().1, &queries, 10, None);
    let whole = again.vectors[0].rows(0..again.len()).to_vec();
    assert!(!again.is_damaged());
    assert_eq!(of(again), of(sealed));
    let bytes = std::fs::read(&path).unwrap();
    let mut dice = Dice(1);
    let mut noticed = [0, 0];
    for _ in 0..200 {
        let mut damaged = bytes.clone();
        let place = dice.below(damaged.len());
        if dice.below(4) == 0 {
            damaged.truncate(place);
        } else {
            damaged[place] ^= 1 << dice.below(8);
        }
        std::fs::write(&path, &damaged).unwrap();
        match Sealed::open(&path) {
            Err(error) => {
                assert!(error.to_string().contains("approximate"), "{error}");
                noticed[0] += 1;
            }
            // A damaged vector is noticed when it is looked at. Only zeros between the arrays do not count.
            Ok((opened, _)) => {
                let same = opened.vectors[0].rows(0..opened.len()) == whole;
                assert_eq!(opened.is_damaged(), !same);
                noticed[1] += usize::from(!same);
            }
        }
    }
    assert!(noticed.iter().all(|count| *count > 20), "{noticed:?}");
    let is_new = |name: &std::ffi::OsStr| name.to_string_lossy().contains(".new-");
    assert!(!home.path().join("index").read_dir().unwrap().any(|file| is_new(&file.unwrap().file_name())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Random changes, searches and builds against a plain list.
    #[test]
    fn changes_and_builds_agree_with_a_scan(seed in 0_u64..1 << 40) {
        let mut dice = Dice(seed);
        let mut index = catalog(1200, seed);
        let mut known: BTreeMap<i64, (i64, Vec<f32>)> = index
            .snapshot()
            .rows()
            .map(|row| (row.reference, (row.item, index.snapshot().vector(&row, 0).to_vec())))
            .collect();
        let (mut right, mut wanted) = (0, 0);
        let mut next = 1200;
        let home = tempfile::tempdir().unwrap();
        for turn in 0..60 {
            match dice.below(9) {
                0 => {
                    let before = index.snapshot.clone();
                    let sealed = without_few(made(&before, Some("IVF8,SQ8")));
                    // Changes while it was built.
                    let (mut ledger, mut snapshot) = Ledger::of(&sealed).unwrap();
                    let gone: Vec<i64> = known.keys().copied().filter(|_| dice.below(100) == 0).collect();
                    index.remove(&gone).unwrap();
                    gone.iter().for_each(|reference| _ = known.remove(reference));
                    let replaced = *known.keys().nth(dice.below(known.len())).unwrap();
                    let fresh = vector(&mut dice);
                    index.add(&[replaced], &[next], &[&fresh]).unwrap();
                    known.insert(replaced, (next, fresh));
                    next += 1;
                    ledger.follow(&mut snapshot, &before, &index.snapshot).unwrap();
                    index = Index { ledger, snapshot };
                }
                1 | 2 => {
                    let count = dice.below(30) + 1;
                    let references: Vec<i64> = (next..).take(count).collect();
                    next += count as i64;
                    let vectors: Vec<f32> = references.iter().flat_map(|_| vector(&mut dice)).collect();
                    let items: Vec<i64> = references.iter().map(|row| row - row % 2).collect();
                    index.add(&references, &items, &[&vectors]).unwrap();
                    for ((reference, item), vector) in references.iter().zip(&items).zip(vectors.chunks(DIM)) {
                        known.insert(*reference, (*item, vector.to_vec()));
                    }
                }
                // What was added becomes a part, in memory or in a file that is opened again.
                8 => {
                    let Some(extending) = Extending::of(index.snapshot()) else { continue };
                    let path = home.path().join(format!("part-{turn}"));
                    let mut file = (dice.below(2) == 0).then(|| IndexFile::new(&path).unwrap());
                    let pool = workers(Some(1)).unwrap();
                    let mut extended = extending.make(index.snapshot(), &pool, file.as_mut()).unwrap();
                    let mut gone = extended.gone(index.snapshot());
                    prop_assert_eq!(gone.len(), extending.number());
                    if let Some(file) = file {
                        extended.keep(file, &serde_json::Value::Null).unwrap();
                    }
                    let (_, snapshot) = extended.ledger(index.snapshot()).unwrap();
                    let mut parts: Vec<Left> = snapshot.sealed().cloned().map(Left::whole).collect();
                    if path.exists() {
                        *parts.last_mut().unwrap() = Left::whole(Arc::new(Sealed::open(&path).unwrap().0));
                    }
                    gone.push(Vec::new());
                    parts.iter_mut().zip(gone).for_each(|(part, gone)| part.gone = gone);
                    let (ledger, snapshot) = Ledger::of_parts(&parts).unwrap();
                    index = Index { ledger, snapshot };
                }
                3 if known.len() > 900 => {
                    let gone: Vec<i64> = known.keys().copied().filter(|_| dice.below(30) == 0).collect();
                    // One that is named twice, or is not there, is removed once.
                    prop_assert_eq!(index.remove(&[gone.as_slice(), &gone, &[-1]].concat()).unwrap(), gone.len());
                    gone.iter().for_each(|reference| _ = known.remove(reference));
                }
                _ => {
                    let step = [1, 2, 10, 100][dice.below(4)];
                    let allowed: Option<Rows> =
                        (step > 1).then(|| known.values().map(|(item, _)| *item).filter(|item| item / 2 % step == 0).collect());
                    let query = queries(1, dice.0);
                    let found = search(index.snapshot(), &query, 10, allowed.as_ref()).remove(0);
                    let mut best: BTreeMap<i64, f64> = BTreeMap::new();
                    for (item, vector) in known.values() {
                        let score = vector.iter().zip(query.row(0)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                        if allowed.as_ref().is_none_or(|rows| rows.contains(*item)) {
                            let entry = best.entry(*item).or_insert(score);
                            *entry = entry.max(score);
                        }
                    }
                    prop_assert_eq!(found.len(), best.len().min(10));
                    for hit in &found {
                        let (item, vector) = &known[&hit.reference];
                        let score: f64 = vector.iter().zip(query.row(0)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                        prop_assert!(*item == hit.item && (f64::from(hit.score) - score).abs() < 1e-5);
                    }
                    let mut scores: Vec<f64> = best.into_values().collect();
                    scores.sort_by(|a, b| b.total_cmp(a));
                    if let Some(bar) = scores.get(found.len().saturating_sub(1)) {
                        wanted += found.len();
                        right += found.iter().filter(|hit| f64::from(hit.score) >= bar - 1e-5).count();
                    }
                }
            }
            prop_assert_eq!(index.snapshot().len(), known.len());
            let items: HashSet<i64> = known.values().map(|(item, _)| *item).collect();
            prop_assert_eq!(index.snapshot().items(), items.len());
        }
        prop_assert!(right as f64 >= 0.95 * wanted as f64, "{} of {}", right, wanted);
    }
}
