use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rusqlite::Connection;

use super::*;
use crate::store::{Access, NewItem, NewReference};

const DIM: usize = 2;

/// A catalog of one model, and its number.
fn store(path: &Path) -> (Store, [i64; 1]) {
    let store = Store::open(path, &Access::default()).unwrap();
    let model = store.model("toy", "of the tests", DIM).unwrap();
    (store, [model])
}

/// Adds items `from..to` with one reference each, in one transaction.
fn add(store: &Store, model: i64, from: u32, to: u32) {
    let ids: Vec<String> = (from..to).map(|number| format!("item-{number}")).collect();
    let item = |(id, number): (&'_ String, u32)| {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_le_bytes());
        let reference = NewReference { name: "vector", digest, view: 0, vectors: vec![(model, &[0.6, 0.8])] };
        (id.clone(), reference)
    };
    let rows: Vec<(String, NewReference<'_>)> = ids.iter().zip(from..to).map(item).collect();
    let items: Vec<NewItem<'_>> = rows
        .iter()
        .map(|(id, reference)| NewItem { id, references: vec![reference.clone()], ..NewItem::default() })
        .collect();
    store.add_all(&items).unwrap();
}

#[test]
fn a_large_transaction_is_seen_whole_or_not_at_all() {
    const ROWS: u32 = 50_000;
    let home = tempfile::tempdir().unwrap();
    let (writer, [model]) = store(home.path());
    let (reader, models) = store(home.path());
    let live = Live::new(&[DIM]).unwrap();
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            add(&writer, model, 0, ROWS);
            done.store(true, Ordering::Release);
        });
        // Two readers: one catches up while the other searches with what there is.
        let poll = || {
            let mut seen = vec![live.current(&reader, &models).unwrap().index.len()];
            while !done.load(Ordering::Acquire) {
                seen.push(live.current(&reader, &models).unwrap().index.len());
                seen.push(live.state().index.len());
            }
            seen
        };
        let other = scope.spawn(poll);
        let mut seen = poll();
        seen.extend(other.join().unwrap());
        seen
    });
    assert!(seen.len() > 10 && seen.iter().all(|rows| [0, ROWS as usize].contains(rows)), "{seen:?}");
    assert_eq!(live.current(&reader, &models).unwrap().index.len(), ROWS as usize);
}

#[test]
fn one_thread_reads_a_commit_for_all() {
    let home = tempfile::tempdir().unwrap();
    let (store, models) = store(home.path());
    let live = Live::new(&[DIM]).unwrap();
    for round in 0..20 {
        add(&store, models[0], round, round + 1);
        let start = Barrier::new(16);
        let states: Vec<Arc<State>> = thread::scope(|scope| {
            let look = || {
                start.wait();
                live.current(&store, &models).unwrap()
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(look)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // To read the changes again would have made another state, for the first one is in use.
        assert!(states.iter().all(|state| Arc::ptr_eq(state, &states[0])));
        assert_eq!(states[0].index.len(), round as usize + 1);
    }
}

#[test]
fn a_state_in_use_stays_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let (store, models) = store(home.path());
    let live = Live::new(&[DIM]).unwrap();
    add(&store, models[0], 0, 10);
    let held = live.current(&store, &models).unwrap();
    add(&store, models[0], 10, 12);
    store.remove(&["item-3"]).unwrap();
    let next = live.current(&store, &models).unwrap();
    assert_eq!((held.index.len(), held.index.items(), next.index.len()), (10, 10, 11));
    drop((held, next));
    let before = Arc::as_ptr(&live.state());
    add(&store, models[0], 12, 13);
    let after = live.current(&store, &models).unwrap();
    // One that no search uses is changed in place.
    assert_eq!((Arc::as_ptr(&after), after.index.len()), (before, 12));
}

#[test]
fn what_could_not_be_read_is_read_later() {
    let home = tempfile::tempdir().unwrap();
    let (store, models) = store(home.path());
    let live = Live::new(&[DIM]).unwrap();
    add(&store, models[0], 0, 10);
    assert_eq!(live.current(&store, &models).unwrap().index.len(), 10);
    add(&store, models[0], 10, 40_000);
    let connection = Connection::open(home.path().join("catalog.sqlite")).unwrap();
    let damage = "UPDATE vectors SET vector = zeroblob(8) WHERE reference = 30000";
    assert_eq!(connection.execute(damage, []).unwrap(), 1);
    for _ in 0..2 {
        let error = live.current(&store, &models).err().unwrap().to_string();
        assert!(error.contains("item-29999") && error.contains("is damaged"), "{error}");
        assert_eq!(live.state().index.len(), 10);
    }
    store.remove(&["item-29999"]).unwrap();
    let state = live.current(&store, &models).unwrap();
    assert_eq!((state.index.len(), state.index.items()), (39_999, 39_999));
}
