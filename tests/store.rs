//! The store: what it keeps, what it refuses, and that many threads and processes may use it at once.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use plushie_search::error::Error;
use plushie_search::filter::Filter;
use plushie_search::store::staged::{Origin, Staged, StagedRow};
use plushie_search::store::{Access, Moved, NewItem, NewModel, NewReference, Position, Problem, Store, Update};
use serde_json::json;

fn digest(n: u8) -> [u8; 32] {
    [n; 32]
}

fn reference<'a>(name: &'a str, n: u8, model: i64, vector: &'a [f32]) -> NewReference<'a> {
    NewReference { name, digest: digest(n), view: 0, vectors: vec![(model, vector)] }
}

fn message(result: Result<impl Sized, Error>) -> String {
    result.err().expect("an error").to_string()
}

/// The live vectors of a model as a reader sees them who starts at 0 and reads `limit` changes at a time.
fn replay(store: &Store, model: i64, limit: usize) -> BTreeMap<i64, (i64, Vec<f32>)> {
    let live = replay_all(store, &[model], limit);
    live.into_iter().map(|(reference, (item, mut vectors))| (reference, (item, vectors.remove(0)))).collect()
}

/// The same with the vectors of several models.
fn replay_all(store: &Store, models: &[i64], limit: usize) -> BTreeMap<i64, (i64, Vec<Vec<f32>>)> {
    let (mut live, mut since) = (BTreeMap::new(), Position::default());
    loop {
        let changes = store.changes(models, since, limit).unwrap();
        for (row, (reference, item)) in changes.references.iter().zip(&changes.items).enumerate() {
            let part = |vectors: &Vec<f32>| {
                let dim = vectors.len() / changes.references.len();
                vectors[row * dim..(row + 1) * dim].to_vec()
            };
            assert!(live.insert(*reference, (*item, changes.vectors.iter().map(part).collect())).is_none());
        }
        changes.removed.iter().for_each(|reference| drop(live.remove(reference)));
        since = changes.position;
        if !changes.more {
            return live;
        }
    }
}

#[test]
fn what_is_added_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("new/toys.catalog");
    let metadata = json!({"z": 1, "a": {"deep": [1, null, "粉色"]}, "price": 12.5});
    let store = Store::open(&path, &Access::default()).unwrap();
    let model = store.model("mini", "abc", 2).unwrap();
    let item = NewItem {
        id: "../bear 🧸",
        label: Some("bear"),
        text: Some("brown bear"),
        metadata: Some(&metadata),
        references: vec![reference("a.jpg", 1, model, &[0.6, 0.8]), reference("b.jpg", 2, model, &[1.0, -0.0])],
        ..NewItem::default()
    };
    let added = store.add(&item).unwrap();
    assert!(added.created);
    assert_eq!(added.new, [true, true]);
    drop(store);

    let store = Store::open(&path, &Access::existing()).unwrap();
    let found = store.get("../bear 🧸").unwrap();
    assert_eq!((found.row, found.id.as_str()), (added.row, "../bear 🧸"));
    assert_eq!((found.label.as_deref(), found.text.as_deref()), (Some("bear"), Some("brown bear")));
    assert_eq!(found.metadata.to_string(), metadata.to_string(), "the order of the keys is kept");
    let names: Vec<_> = found.references.iter().map(|r| (r.name.as_str(), r.digest)).collect();
    assert_eq!(names, [("a.jpg", digest(1)), ("b.jpg", digest(2))]);
    let vectors = store.vectors("../bear 🧸", model).unwrap();
    let rows: Vec<i64> = found.references.iter().map(|r| r.row).collect();
    assert_eq!(vectors, [(rows[0], vec![0.6, 0.8]), (rows[1], vec![1.0, -0.0])]);
    let entries = store.entries(&[(found.row, rows[1]), (found.row, 99), (99, rows[0])]).unwrap();
    assert_eq!(entries[0].as_ref().unwrap().reference, "b.jpg");
    assert_eq!(entries[1..], [None, None]);
    assert_eq!(store.stats().unwrap().vectors, 2);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn adding_again_adds_what_is_new() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let one = store.model("one", "a", 1).unwrap();
    let first = NewItem {
        id: "x",
        label: Some("bear"),
        text: Some("text"),
        references: vec![reference("a", 1, one, &[1.0])],
        ..NewItem::default()
    };
    store.add(&first).unwrap();
    assert_eq!(store.holds("x", &[digest(1), digest(2)], &[one]).unwrap(), [true, false]);
    let second = NewItem {
        id: "x",
        label: Some("rabbit"),
        references: [(1, -1.0), (2, -1.0), (2, 1.0)]
            .iter()
            .map(|(n, value)| reference("again", *n, one, std::slice::from_ref(value)))
            .collect(),
        ..NewItem::default()
    };
    let added = store.add(&second).unwrap();
    assert!(!added.created);
    assert_eq!(added.new, [false, true, false]);
    let item = store.get("x").unwrap();
    assert_eq!((item.label.as_deref(), item.text.as_deref()), (Some("rabbit"), Some("text")));
    let live: Vec<Vec<f32>> = replay(&store, one, 100).into_values().map(|(_, vector)| vector).collect();
    assert_eq!(live, [[1.0], [-1.0]], "what was there is not overwritten");
    // The same content may belong to two items.
    let other = NewItem { id: "y", references: vec![reference("a", 1, one, &[1.0])], ..NewItem::default() };
    assert_eq!(store.add(&other).unwrap().new, [true]);
}

/// A reference with a vector of each of two models.
fn pair<'a>(n: u8, (one, two): (i64, i64), first: &'a [f32], second: &'a [f32]) -> NewReference<'a> {
    NewReference { name: "pair", digest: digest(n), view: 0, vectors: vec![(two, second), (one, first)] }
}

#[test]
fn each_reference_has_a_vector_of_each_model() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let both = (store.model("one", "a", 1).unwrap(), store.model("two \"2\"", "b", 2).unwrap());
    let (one, two) = both;
    assert!(store.held().unwrap().is_empty(), "they are known, but the catalog does not belong to them yet");
    let item = |id, references| NewItem { id, references, ..NewItem::default() };
    let items =
        [item("x", vec![pair(1, both, &[1.0], &[0.0, 1.0]), pair(2, both, &[0.5], &[1.0, 0.0])]), item("y", vec![])];
    store.add_all(&items).unwrap();
    store.add(&item("y", vec![pair(1, both, &[-1.0], &[0.6, 0.8])])).unwrap();
    assert_eq!(store.held().unwrap(), store.models().unwrap());
    assert_eq!(store.holds("x", &[digest(1), digest(3)], &[one, two]).unwrap(), [true, false]);

    for limit in [1, 2, 3, 100] {
        let live: Vec<_> = replay_all(&store, &[one, two], limit).into_values().map(|(_, vectors)| vectors).collect();
        let expected = [[vec![1.0], vec![0.0, 1.0]], [vec![0.5], vec![1.0, 0.0]], [vec![-1.0], vec![0.6, 0.8]]];
        assert_eq!(live, expected, "never one without the other");
        assert_eq!(replay(&store, two, limit).len(), 3);
    }

    // None may lack a model, new item or known one, with or without others in the batch.
    let before = store.position().unwrap();
    let none = NewReference { name: "none", digest: digest(8), view: 0, vectors: vec![] };
    let twice = NewReference { name: "twice", digest: digest(8), view: 0, vectors: vec![(one, &[1.0]), (one, &[1.0])] };
    for (bad, word) in [
        (reference("r", 8, one, &[1.0]), r#"model=["one", "two \"2\""]"#),
        (reference("r", 8, two, &[1.0, 0.0]), "to add to it"),
        (none, "no vector"),
        (twice, "two vectors"),
    ] {
        for id in ["x", "new"] {
            let good = item("good", vec![pair(9, both, &[1.0], &[1.0, 0.0])]);
            let text = message(store.add_all(&[good, item(id, vec![bad.clone()])]));
            assert!(text.contains(word), "{text}");
        }
    }
    assert_eq!((store.position().unwrap(), store.len().unwrap()), (before, 2));
    assert!(store.check_add(&[two, one]).is_ok() && store.check_search(&[two]).is_ok());
    assert!(message(store.check_add(&[one])).contains("to add to it"));

    // Once it has pictures it belongs to their models; without them, to whoever comes first.
    assert!(message(store.model("three", "c", 1)).contains("and none of \"three\""));
    assert_eq!(store.models().unwrap().len(), 2);
    store.remove(&["x", "y"]).unwrap();
    assert!(replay_all(&store, &[one, two], 1).is_empty());
    let three = store.model("three", "c", 1).unwrap();
    store.add(&item("z", vec![reference("r", 1, three, &[1.0])])).unwrap();
    assert_eq!(store.held().unwrap().len(), 1);
    for text in [message(store.check_add(&[one, two])), message(store.check_search(&[one]))] {
        assert!(text.contains("model=\"three\""), "{text}");
    }
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_reference_without_one_of_its_vectors_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let both = (store.model("one", "a", 1).unwrap(), store.model("two", "b", 1).unwrap());
    let references = (1..4).map(|n| pair(n, both, &[1.0], &[1.0])).collect();
    store.add(&NewItem { id: "x", references, ..NewItem::default() }).unwrap();
    let file = rusqlite::Connection::open(home.path().join("catalog.sqlite")).unwrap();
    file.execute("DELETE FROM vectors WHERE reference = 2 AND model = ?", [both.1]).unwrap();
    let problem = |reference: &str| Problem {
        item: Some("x".into()),
        reference: Some(reference.into()),
        problem: "it has not a vector of each model".into(),
    };
    assert_eq!(store.verify().unwrap(), [problem("pair")]);
    assert!(
        message(store.changes(&[both.0, both.1], Position::default(), 100))
            .contains("reference 2 lacks the vector of a model")
    );
    assert_eq!(replay(&store, both.0, 100).len(), 3, "the other model is whole");
    file.execute("DELETE FROM vectors WHERE reference = 3 AND model = ?", [both.1]).unwrap();
    let second = store.changes(&[both.0], Position::default(), 2).unwrap().position;
    assert!(message(store.changes(&[both.0, both.1], second, 100)).contains("reference 3 lacks"), "at the end as well");
}

#[test]
fn an_update_changes_only_what_it_names() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let metadata = json!({"a": 1});
    let item = NewItem { id: "x", label: Some("l"), metadata: Some(&metadata), ..NewItem::default() };
    store.add(&item).unwrap();
    let before = store.position().unwrap();
    store.update("x", &Update { text: Some(Some("t")), ..Update::default() }).unwrap();
    let found = store.get("x").unwrap();
    assert_eq!((found.label.as_deref(), found.text.as_deref(), &found.metadata), (Some("l"), Some("t"), &metadata));
    store.update("x", &Update { label: Some(None), metadata: Some(None), ..Update::default() }).unwrap();
    let found = store.get("x").unwrap();
    assert_eq!((found.label, found.text.as_deref(), found.metadata), (None, Some("t"), json!({})));
    assert_eq!(store.position().unwrap(), before, "no vector has changed");
    assert!(matches!(store.update("y", &Update::default()), Err(Error::UnknownItem(id)) if id == "y"));
}

#[test]
fn removed_items_leave_nothing_but_a_mark() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let model = store.model("m", "f", 512).unwrap();
    let vector = vec![512_f32.sqrt().recip(); 512];
    let ids: Vec<String> = (0..3000).map(|n| format!("item {n}")).collect();
    let item = |id| NewItem { id, references: vec![reference("r", 1, model, &vector)], ..NewItem::default() };
    let items: Vec<NewItem<'_>> = ids.iter().map(|id| item(id.as_str())).collect();
    let rows: Vec<i64> = store.add_all(&items).unwrap().iter().map(|added| added.row).collect();
    let full = store.position().unwrap();
    assert!(message(store.remove(&["item 1", "nobody"])).contains("nobody"));
    assert_eq!(store.len().unwrap(), 3000, "all or nothing");
    store.remove(&ids[..2900]).unwrap();
    store.remove(&["item 2950", "item 2950"]).unwrap();
    assert_eq!(store.len().unwrap(), 99);
    assert_ne!(store.position().unwrap(), full);
    assert!(matches!(store.get("item 0"), Err(Error::UnknownItem(_))));
    let again = store.add(&item("item 0")).unwrap();
    assert!(again.created && rows.iter().all(|row| again.row > *row), "rows are never used again");
    let changes = store.changes(&[model], full, 10_000).unwrap();
    assert_eq!((changes.removed.len(), changes.items.as_slice()), (2901, &[again.row][..]));
    assert_eq!(replay(&store, model, 7).len(), 100);
    assert_eq!(replay(&store, model, 10_000), replay(&store, model, 1));
    assert_eq!(store.verify().unwrap(), []);
    drop(store);
    let size = fs::metadata(home.path().join("catalog.sqlite")).unwrap().len();
    assert!(size < 1_000_000, "{size} bytes for 100 vectors of 2 KB: the space was not given back");
}

#[test]
fn bad_input_is_named_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let model = store.model("m", "f", 2).unwrap();
    let good = NewItem { id: "good", ..NewItem::default() };
    for id in ["", "a\0b", "tab\t", &"x".repeat(513)] {
        let text = message(store.add_all(&[good.clone(), NewItem { id, ..NewItem::default() }]));
        assert!(text.contains("id"), "{text}");
    }
    let deep = (0..70).fold(json!({}), |inner, _| json!({ "k": inner }));
    for (metadata, word) in
        [(json!([1]), "object"), (json!({"a\u{0}": 1}), "NUL"), (json!({"a": ["\u{0}"]}), "NUL"), (deep, "nested")]
    {
        let item = NewItem { id: "x", metadata: Some(&metadata), ..NewItem::default() };
        let text = message(store.add_all(&[good.clone(), item]));
        assert!(text.contains(word) && text.contains("\"x\""), "{text}");
    }
    let short = [1.0_f32];
    let nan = [f32::NAN, 0.0];
    for (number, vector, word) in
        [(model, &short[..], "1 numbers"), (model, &nan[..], "NaN"), (model + 1, &nan[..], "not known")]
    {
        let item = NewItem { id: "x", references: vec![reference("pic", 1, number, vector)], ..NewItem::default() };
        let text = message(store.add_all(&[good.clone(), item]));
        assert!(text.contains(word) && text.contains("pic"), "{text}");
    }
    assert_eq!(store.len().unwrap(), 0);
    assert!(message(store.changes(&[9], Position::default(), 1)).contains("model 9"));
}

#[test]
fn another_model_of_the_same_name_is_refused_once_there_are_vectors() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let old = store.model("m", "first", 2).unwrap();
    let model = store.model("m", "second", 1).unwrap();
    // Without vectors there is nothing to mix; but whoever has the first one open must not add the first vectors.
    let stale = NewItem { id: "x", references: vec![reference("r", 1, old, &[1.0, 0.0])], ..NewItem::default() };
    assert!(message(store.add(&stale)).contains("open the catalog again"));
    assert!(message(store.changes(&[old], Position::default(), 1)).contains("open it again"));
    let item = NewItem { id: "x", references: vec![reference("r", 1, model, &[1.0])], ..NewItem::default() };
    store.add(&item).unwrap();
    assert_eq!(store.model("m", "second", 1).unwrap(), model);
    assert!(message(store.model("m", "third", 1)).contains("another version of model \"m\""));
}

#[test]
fn items_come_in_order_and_in_pages() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let ids: Vec<String> = (0..20).rev().map(|n| n.to_string()).collect();
    for id in &ids {
        let label = if id.len() == 1 { "short" } else { "long" };
        store.add(&NewItem { id, label: Some(label), ..NewItem::default() }).unwrap();
    }
    let list = |filter, offset, limit| -> Vec<String> {
        store.items(filter, offset, limit).unwrap().into_iter().map(|item| item.id).collect()
    };
    assert_eq!(list(None, 0, None), ids);
    assert_eq!(list(None, 18, Some(5)), ["1", "0"]);
    let short = Filter::parse(&json!({"label": "short"})).unwrap();
    assert_eq!(list(Some(&short), 1, Some(2)), ["8", "7"]);
    assert_eq!(list(Some(&short), usize::MAX, Some(usize::MAX)), Vec::<String>::new());
    assert_eq!(store.select(&short).unwrap().len(), 10);
}

#[test]
fn what_is_no_catalog_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let directory = |name: &str, content: &[u8]| {
        let path = home.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("catalog.sqlite"), content).unwrap();
        path
    };
    let good = home.path().join("good");
    drop(Store::open(&good, &Access::default()).unwrap());
    let bytes = fs::read(good.join("catalog.sqlite")).unwrap();
    let changed = |at: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    for (path, word) in [
        (directory("text", b"hello, I am a text file"), "not an SQLite file"),
        (directory("short", b"SQL"), "not an SQLite file"),
        (directory("foreign", &changed(68, 7)), "another program"),
        (directory("newer", &changed(60, 7)), "upgrade"),
        (directory("cut", &bytes[..5000]), "damaged"),
    ] {
        let before = fs::read(path.join("catalog.sqlite")).unwrap();
        for access in [Access::existing(), Access::default()] {
            let text = message(Store::open(&path, &access));
            assert!(text.contains(word) && text.contains(path.to_str().unwrap()), "{text}");
        }
        assert_eq!(fs::read(path.join("catalog.sqlite")).unwrap(), before);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing was written beside it");
    }
    let file = home.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(message(Store::open(&file, &Access::default())).contains("a file"));
    let folder = home.path().join("folder");
    fs::create_dir_all(folder.join("catalog.sqlite")).unwrap();
    assert!(message(Store::open(&folder, &Access::default())).contains("cannot be read"));
    assert!(message(Store::open(&home.path().join("none"), &Access::existing())).contains("does not exist"));
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(message(Store::open(&empty, &Access::existing())).contains("holds no catalog"));
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
}

#[test]
fn a_read_only_catalog_is_refused() {
    let home = tempfile::tempdir().unwrap();
    drop(Store::open(home.path(), &Access::default()).unwrap());
    let file = home.path().join("catalog.sqlite");
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    if fs::OpenOptions::new().write(true).open(&file).is_ok() {
        return; // An administrator may write everything.
    }
    let text = message(Store::open(home.path(), &Access::default()));
    assert!(text.contains("read-only"), "{text}");
}

#[test]
fn a_creation_cut_short_is_done_again() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("catalog.sqlite"), "").unwrap();
    assert!(message(Store::open(home.path(), &Access::existing())).contains("no catalog yet"));
    let store = Store::open(home.path(), &Access::default()).unwrap();
    store.add(&NewItem { id: "x", ..NewItem::default() }).unwrap();
}

#[test]
fn all_who_create_at_once_succeed() {
    for _ in 0..10 {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("c");
        std::thread::scope(|scope| {
            for n in 0..6 {
                let path = &path;
                scope.spawn(move || {
                    let store = Store::open(path, &Access::default()).unwrap();
                    store.model("m", "f", 2).unwrap();
                    store.add(&NewItem { id: &n.to_string(), ..NewItem::default() }).unwrap();
                });
            }
        });
        let store = Store::open(&path, &Access::existing()).unwrap();
        assert_eq!((store.len().unwrap(), store.models().unwrap().len()), (6, 1));
    }
}

#[test]
fn readers_see_whole_changes_while_others_write() {
    let home = tempfile::tempdir().unwrap();
    let first = Store::open(home.path(), &Access::default()).unwrap();
    let second = Store::open(home.path(), &Access::existing()).unwrap();
    let model = first.model("m", "f", 1).unwrap();
    std::thread::scope(|scope| {
        for (writer, name) in [(&first, "a"), (&second, "b")] {
            scope.spawn(move || {
                for n in 0..40 {
                    let id = format!("{name}{n}");
                    let references = (0..5).map(|k| reference("r", k, model, &[1.0]));
                    let references = references.collect();
                    writer.add(&NewItem { id: &id, references, ..NewItem::default() }).unwrap();
                    if n % 3 == 0 {
                        writer.remove(&[id]).unwrap();
                    }
                }
            });
        }
        for reader in [&first, &first, &second] {
            scope.spawn(move || {
                let (mut live, mut since) = (std::collections::BTreeSet::new(), Position::default());
                for _ in 0..200 {
                    let changes = reader.changes(&[model], since, usize::MAX).unwrap();
                    assert!(!changes.more && !changes.restarted);
                    live.extend(changes.references);
                    changes.removed.iter().for_each(|reference| _ = live.remove(reference));
                    since = changes.position;
                    assert_eq!(live.len() % 5, 0, "half an item was seen");
                }
            });
        }
    });
    assert_eq!(replay(&second, model, 13), replay(&first, model, usize::MAX));
    assert_eq!(first.len().unwrap(), 2 * 26);
}

#[test]
fn a_reader_does_not_wait_for_a_writer() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    store.add(&NewItem { id: "x", ..NewItem::default() }).unwrap();
    let other = rusqlite::Connection::open(home.path().join("catalog.sqlite")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE; DELETE FROM items").unwrap();
    assert_eq!(store.len().unwrap(), 1);
    assert!(store.contains("x").unwrap());
}

#[test]
fn a_backup_is_a_catalog_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("one"), &Access::default()).unwrap();
    let model = store.model("m", "f", 1).unwrap();
    let item = NewItem { id: "x", references: vec![reference("r", 1, model, &[1.0])], ..NewItem::default() };
    store.add(&item).unwrap();
    let path = home.path().join("two");
    // Until what belongs to its references is there, it is not to pass for a whole one.
    let complete = |digests: &HashSet<[u8; 32]>| {
        assert!(!path.join("catalog.sqlite").exists());
        store.remove(&["x"])?;
        assert_eq!(*digests, HashSet::from([[1; 32]]), "those of the copy");
        store.add(&item).map(drop)
    };
    store.backup(&path, complete).unwrap();
    assert!(message(store.backup(&path, |_| Ok(()))).contains("already"));
    store.remove(&["x"]).unwrap();
    let copy = Store::open(&path, &Access::existing()).unwrap();
    assert_eq!(copy.get("x").unwrap().references.len(), 1);
    assert_eq!(replay(&copy, model, 10).len(), 1);
    assert_eq!(copy.verify().unwrap(), []);
}

/// Runs as a child of the next test: adds and removes items until it is killed, and says what is done.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var("STORE_TEST_CHILD") else { return };
    use std::io::Write;
    let store = Store::open(Path::new(&path), &Access::default()).unwrap();
    let models = (store.model("m", "f", 64).unwrap(), store.model("n", "f", 8).unwrap());
    let (long, short) = ([0.125_f32; 64], [8_f32.sqrt().recip(); 8]);
    let mut said = std::io::stderr().lock();
    for n in 0_u64.. {
        let id = format!("{}-{n}", std::process::id());
        let references = vec![pair(1, models, &long, &short), pair(2, models, &long, &short)];
        store.add(&NewItem { id: &id, references, ..NewItem::default() }).unwrap();
        writeln!(said, "+{id}").unwrap();
        if n % 4 == 3 {
            store.remove(&[&id]).unwrap();
            writeln!(said, "-{id}").unwrap();
        }
    }
}

#[test]
fn whatever_was_confirmed_survives_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let mut expected: BTreeMap<String, bool> = BTreeMap::new();
    for cycle in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env("STORE_TEST_CHILD", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // Cycle 0 dies while it creates the catalog or soon after.
        for line in lines.by_ref().take((cycle * 7 % 40) as usize) {
            let line = line.unwrap();
            expected.insert(line[1..].to_owned(), line.starts_with('+'));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok).filter(|line| line.starts_with(['+', '-'])) {
            expected.insert(line[1..].to_owned(), line.starts_with('+'));
        }
        let store = Store::open(home.path(), &Access::default()).unwrap();
        let items = store.items(None, 0, None).unwrap();
        assert!(items.iter().all(|item| item.references.len() == 2), "half an item");
        let there: std::collections::BTreeSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let mut unsure = there.len();
        for (id, alive) in &expected {
            if *alive && !there.contains(id.as_str()) {
                // Its removal may have been done but not been said before the kill: only a fourth item can be gone.
                let n: u64 = id.rsplit('-').next().unwrap().parse().unwrap();
                assert_eq!(n % 4, 3, "item {id} was lost");
            }
            assert!(*alive || !there.contains(id.as_str()), "item {id} came back");
            unsure -= usize::from(there.contains(id.as_str()));
        }
        assert!(unsure as u64 <= cycle + 1, "more items than were begun");
        let models = [store.model("n", "f", 8).unwrap(), store.model("m", "f", 64).unwrap()];
        assert_eq!(replay_all(&store, &models, 50).len(), 2 * there.len());
        assert_eq!(store.verify().unwrap(), []);
    }
}

/// Catalogs as they were written in former formats: see their beginnings.
const FORMER: [(i64, &str); 2] =
    [(1, include_str!("catalogs/format-1.sql")), (2, include_str!("catalogs/format-2.sql"))];

fn former_catalog(statements: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(home.path().join("catalog.sqlite")).unwrap();
    file.execute_batch(statements).unwrap();
    home
}

#[test]
fn a_catalog_of_a_former_format_is_brought_up_to_date() {
    for (format, statements) in FORMER {
        // Threads that open it at once find it whole, whichever of them brings it up to date.
        for _ in 0..30 {
            let home = former_catalog(statements);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope
                        .spawn(|| assert_eq!(Store::open(home.path(), &Access::existing()).unwrap().len().unwrap(), 2));
                }
            });
        }
        let home = former_catalog(statements);
        let error = message(Store::open(home.path(), &Access { read_only: true, ..Access::default() }));
        assert!(
            error.contains(&format!("has format {format}, older than 6; open it once without read_only")),
            "{error}"
        );
        let store = Store::open(home.path(), &Access::existing()).unwrap();
        let bear = store.get("bear").unwrap();
        assert_eq!((bear.label.as_deref(), bear.text.as_deref()), (Some("bear"), Some("a red bear")));
        assert_eq!(bear.metadata, json!({"price": 12.5, "颜色": "红"}));
        assert_eq!(
            bear.references.iter().map(|reference| (reference.row, reference.view)).collect::<Vec<_>>(),
            [(1, 0), (2, 0)]
        );
        let model = store.model("toy", "{fingerprint}", 6).unwrap();
        let live = replay(&store, model, 2);
        assert_eq!(live.keys().copied().collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(live[&4].1[..2], [0.233_376_44, 0.704_511_3]);
        assert_eq!(store.verify().unwrap(), []);
        let probe = [Some(vec![0.6, 0.8]), None];
        assert_eq!(store.probe(model, &probe).unwrap(), probe);
        // Rows of what was removed before are not used again.
        let item = NewItem { id: "new", references: vec![reference("r", 1, model, &[1.0; 6])], ..NewItem::default() };
        assert_eq!(store.add(&item).unwrap().row, 10);
        assert_eq!(store.get("new").unwrap().references[0].row, 8);
        drop(store);
        // It opens again, and its tables are those of a new catalog.
        drop(Store::open(home.path(), &Access::existing()).unwrap());
        let file = rusqlite::Connection::open(home.path().join("catalog.sqlite")).unwrap();
        let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 6);
        file.pragma_update(None, "user_version", 7).unwrap();
        let error = message(Store::open(home.path(), &Access::existing()));
        assert!(error.contains("has format 7, newer than 6; upgrade plushie_search to open it"), "{error}");
    }
}

#[test]
fn a_former_catalog_that_another_process_writes_is_left_as_it_is() {
    for (format, statements) in FORMER {
        let home = former_catalog(statements);
        let path = home.path().join("catalog.sqlite");
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch("BEGIN IMMEDIATE").unwrap();
        let access = Access { patience: std::time::Duration::from_millis(50), ..Access::existing() };
        assert!(message(Store::open(home.path(), &access)).contains("another process or thread is writing"));
        file.execute_batch("ROLLBACK").unwrap();
        let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, format);
        drop(file);
        assert_eq!(Store::open(home.path(), &Access::existing()).unwrap().len().unwrap(), 2);
    }
}

#[test]
fn each_catalog_has_an_id_and_settings_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("one"), &Access::default()).unwrap();
    let id = store.id().unwrap();
    assert_ne!(id, [0; 16]);
    assert_eq!(store.setting::<String>("name").unwrap(), None);
    store.set_setting("name", Some(&json!({"names": ["a", "粉"], "n": 0.1}))).unwrap();
    store.set_setting("weights", Some(&vec![0.25_f64, 1e-300])).unwrap();
    store.set_setting("name", Some(&"other")).unwrap();
    store.backup(&home.path().join("two"), |_| Ok(())).unwrap();
    drop(store);
    let store = Store::open(&home.path().join("one"), &Access::existing()).unwrap();
    assert_eq!(store.id().unwrap(), id, "it stays");
    let copy = Store::open(&home.path().join("two"), &Access::existing()).unwrap();
    assert_ne!(copy.id().unwrap(), id);
    for store in [&store, &copy] {
        assert_eq!(store.setting::<String>("name").unwrap().as_deref(), Some("other"));
        assert_eq!(store.setting::<Vec<f64>>("weights").unwrap(), Some(vec![0.25, 1e-300]));
    }
    let error = message(store.setting::<Vec<f64>>("name"));
    assert!(error.contains("its setting \"name\" cannot be understood"), "{error}");
    store.set_setting::<String>("name", None).unwrap();
    assert_eq!(store.setting::<String>("name").unwrap(), None);
    assert!(copy.setting::<String>("name").unwrap().is_some());
}

/// A store with items of one reference each, and what a reader holds who has seen them.
fn store_and_reader(path: &Path, items: usize) -> (Store, i64, Position) {
    let store = Store::open(path, &Access::default()).unwrap();
    let model = store.model("m", "f", 1).unwrap();
    let ids: Vec<String> = (0..items).map(|n| n.to_string()).collect();
    let item = |id| NewItem { id, references: vec![reference("r", 1, model, &[1.0])], ..NewItem::default() };
    store.add_all(&ids.iter().map(|id| item(id.as_str())).collect::<Vec<_>>()).unwrap();
    let position = store.changes(&[model], Position::default(), usize::MAX).unwrap().position;
    (store, model, position)
}

#[test]
fn removals_do_not_fill_the_log_and_a_reader_that_lacks_them_begins_again() {
    let home = tempfile::tempdir().unwrap();
    let (store, model, seen) = store_and_reader(home.path(), 25_000);
    let removals = || -> usize { store.changes(&[model], seen, usize::MAX).unwrap().removed.len() };
    let remove = |range: std::ops::Range<usize>| {
        store.remove(&range.map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
    };
    remove(0..19_999);
    let late = store.changes(&[model], seen, usize::MAX).unwrap();
    assert_eq!((late.restarted, late.removed.len()), (false, 19_999), "they are still told one by one");
    // In the middle of reading everything, when the log is cut.
    let part = store.changes(&[model], Position::default(), 3).unwrap();
    assert!(part.more && !part.restarted);
    remove(19_999..20_001);
    let behind = store.changes(&[model], seen, usize::MAX).unwrap();
    assert_eq!((behind.restarted, behind.references.len(), behind.removed.len()), (true, 4999, 10_000));
    assert_eq!(store.changes(&[model], part.position, usize::MAX).unwrap(), behind);
    // Who was nearer goes on, and so does who began after the cut, wherever it is.
    let near = store.changes(&[model], late.position, usize::MAX).unwrap();
    assert_eq!((near.restarted, near.references.len(), near.removed.len()), (false, 0, 2));
    assert_eq!(near.position, store.position().unwrap());
    let first = store.changes(&[model], Position::default(), 3).unwrap();
    let rest = store.changes(&[model], first.position, usize::MAX).unwrap();
    assert!(first.more && !first.restarted && !rest.restarted);
    assert_eq!((first.references.len() + rest.references.len(), rest.removed.len()), (4999, 10_000));
    assert_eq!(removals(), 10_000);
    // By hand, all of them; the numbers of the log go on growing.
    let size = |name| fs::metadata(home.path().join(name)).unwrap().len();
    let before = size("catalog.sqlite") + size("catalog.sqlite-wal");
    store.compact().unwrap();
    assert!(size("catalog.sqlite") + size("catalog.sqlite-wal") < before / 2);
    assert_eq!(removals(), 0);
    assert!(!store.changes(&[model], near.position, 10).unwrap().restarted);
    assert_eq!(replay(&store, model, 100).len(), 4999);
    let last = store.changes(&[model], Position::default(), usize::MAX).unwrap().position;
    assert_eq!(last, store.position().unwrap());
    remove(24_000..24_001);
    let next = store.changes(&[model], last, 10).unwrap();
    assert_eq!((next.restarted, next.removed.len()), (false, 1));
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn the_log_stays_small_while_references_come_and_go() {
    let home = tempfile::tempdir().unwrap();
    let (store, model, _) = store_and_reader(home.path(), 100);
    let vector = [1.0];
    let ids: Vec<String> = (0..2500).map(|n| format!("come and go {n}")).collect();
    let items: Vec<NewItem<'_>> = ids
        .iter()
        .map(|id| NewItem { id, references: vec![reference("r", 1, model, &vector)], ..NewItem::default() })
        .collect();
    let mut most = 0;
    for _ in 0..24 {
        store.add_all(&items).unwrap();
        store.remove(&ids).unwrap();
        most = most.max(store.changes(&[model], Position::default(), usize::MAX).unwrap().removed.len());
    }
    assert!((10_000..20_000).contains(&most), "{most} of 60,000 removals are kept");
    assert_eq!(replay(&store, model, 1000).len(), 100);
}

#[test]
fn a_reference_is_removed_by_name_or_digest_and_an_item_with_its_last_one() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let model = store.model("m", "f", 1).unwrap();
    let view = |n: u8, view| NewReference { view, ..reference("gear.stl", n, model, &[1.0]) };
    let references = vec![
        reference("a.jpg", 1, model, &[1.0]),
        reference("same", 2, model, &[1.0]),
        reference("same", 3, model, &[-1.0]),
        view(4, 0),
        view(4, 1),
    ];
    store.add(&NewItem { id: "x", references, ..NewItem::default() }).unwrap();
    assert_eq!(store.get("x").unwrap().references.iter().map(|r| r.view).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
    assert!(message(store.remove_reference("y", "a.jpg", None)).contains("no item \"y\""));
    let error = message(store.remove_reference("x", "b.jpg", Some(digest(9))));
    assert!(error.contains("item \"x\" has no reference \"b.jpg\""), "{error}");
    let error = message(store.remove_reference("x", "same", None));
    assert!(error.contains("has 2 references called \"same\""), "{error}");
    assert_eq!(store.remove_reference("x", "a.jpg", None).unwrap(), 4);
    assert_eq!(store.remove_reference("x", "no name", Some(digest(3))).unwrap(), 3);
    assert_eq!(store.remove_reference("x", "gear.stl", None).unwrap(), 1, "all its views");
    assert_eq!(replay(&store, model, 1).len(), 1);
    assert_eq!(store.remove_reference("x", "same", None).unwrap(), 0);
    assert!(!store.contains("x").unwrap());
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn damage_is_found_with_its_item() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let model = store.model("m", "f", 2).unwrap();
    let ids = ["a", "b", "c", "d", "e", "f"];
    for (n, id) in ids.iter().enumerate() {
        let name = format!("{id}.jpg");
        let references = vec![reference(&name, n as u8, model, &[0.6, 0.8])];
        store.add(&NewItem { id, references, ..NewItem::default() }).unwrap();
    }
    assert_eq!(store.verify().unwrap(), []);
    let file = rusqlite::Connection::open(home.path().join("catalog.sqlite")).unwrap();
    file.pragma_update(None, "foreign_keys", false).unwrap();
    file.execute_batch(
        // One bit of a number; a length; two vectors that change places; an entry; a reference without its item.
        "UPDATE vectors SET vector = x'9b99193fcdcc4c3f' WHERE reference = 1;
         UPDATE vectors SET vector = x'9a99193f' WHERE reference = 2;
         UPDATE vectors SET checksum = (SELECT checksum FROM vectors WHERE reference = 4) WHERE reference = 3;
         UPDATE items SET metadata = '{' WHERE id = 'e';
         DELETE FROM items WHERE id = 'f'; DELETE FROM refs WHERE reference = 6;",
    )
    .unwrap();
    let found = store.verify().unwrap();
    let told: Vec<(Option<&str>, Option<&str>, &str)> = found
        .iter()
        .map(|problem| (problem.item.as_deref(), problem.reference.as_deref(), problem.problem.as_str()))
        .collect();
    let damaged = "its vector of model \"m\" is damaged: ";
    let checksum = format!("{damaged}it has another checksum");
    assert_eq!(
        told,
        [
            (Some("a"), Some("a.jpg"), checksum.as_str()),
            (Some("b"), Some("b.jpg"), &format!("{damaged}it has another length")),
            (Some("c"), Some("c.jpg"), &checksum),
            (None, None, "vector 6 belongs to no reference"),
            (Some("e"), None, "its metadata is no JSON"),
            (
                Some("e"),
                None,
                "its id, label, text, metadata or time is not as it was written: set its label, text and metadata again"
            ),
            (None, None, "the index of words has items that are gone: compact the catalog, which makes it anew"),
        ]
    );
    let error = message(store.changes(&[model], Position::default(), 10));
    let expected = "item \"a\", reference \"a.jpg\" is damaged (it has another checksum); remove that item";
    assert!(error.contains(expected), "{error}");
    assert!(message(store.vectors("c", model)).contains("reference \"c.jpg\" is damaged"));
    assert_eq!(store.vectors("d", model).unwrap().len(), 1);
}

#[test]
fn the_first_probe_of_a_model_is_kept_once_it_has_references() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let model = store.model("far", "abc", 2).unwrap();
    let [one, other] = [[Some(vec![1.0, 0.0]), None], [Some(vec![0.0, 1.0]), Some(vec![0.6, 0.8])]];
    assert_eq!(store.probe(model, &one).unwrap(), one);
    // Nothing was added by it yet.
    assert_eq!(store.probe(model, &other).unwrap(), other);
    assert_eq!(store.probe(model, &one).unwrap(), one);
    let item = NewItem { id: "a", references: vec![reference("a.jpg", 1, model, &[1.0, 0.0])], ..NewItem::default() };
    store.add(&item).unwrap();
    // What it lacked is taken, and what it has stays.
    let both = [one[0].clone(), other[1].clone()];
    assert_eq!(store.probe(model, &other).unwrap(), both);
    assert_eq!(Store::open(home.path(), &Access::existing()).unwrap().probe(model, &[None, None]).unwrap(), both);
}

fn new_model(name: &str, fingerprint: &str, dim: usize) -> NewModel {
    NewModel { name: name.into(), fingerprint: fingerprint.into(), dim, probes: [Some(vec![1.0; dim]), None] }
}

fn stage(staged: &mut Staged, references: impl IntoIterator<Item = i64>, n: u8, origin: Origin, vectors: &[f32]) {
    let row = |reference| StagedRow { reference, digest: digest(n), origin, vectors: vectors.into() };
    staged.put(&references.into_iter().map(row).collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_switch_replaces_all_vectors_or_none() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let other = Store::open(home.path(), &Access::existing()).unwrap();
    let old = store.model("old", "a", 1).unwrap();
    store.probe(old, &[Some(vec![0.5]), None]).unwrap();
    for (id, n) in [("x", 1), ("y", 2), ("gone", 3)] {
        store.add(&NewItem { id, references: vec![reference(id, n, old, &[1.0])], ..NewItem::default() }).unwrap();
    }
    store.remove(&["gone"]).unwrap();
    let before = replay(&store, old, 100);
    let rows: Vec<i64> = before.keys().copied().collect();
    let items: Vec<i64> = before.values().map(|(item, _)| *item).collect();
    let models = [new_model("old", "b", 2), new_model("pen", "c", 1)];
    let named = [("b", 2), ("c", 1)];
    let mut staged = Staged::open(home.path(), store.id().unwrap(), &named).unwrap();
    let setting = ("from", "\"old\"");

    stage(&mut staged, [rows[0]], 1, Origin::File, &[0.6, 0.8, 1.0]);
    assert_eq!(store.switch(&models, setting, &mut staged).unwrap(), None, "reference y lacks its vectors");
    // Of other content, as after an edit.
    stage(&mut staged, [rows[1]], 9, Origin::File, &[0.0, 1.0, -1.0]);
    assert_eq!(store.switch(&models, setting, &mut staged).unwrap(), None);
    let position = store.position().unwrap();
    assert_eq!((replay(&store, old, 100), store.setting::<String>("from").unwrap()), (before, None));
    stage(&mut staged, [rows[1]], 2, Origin::Thumbnail, &[0.0, 1.0, -1.0]);
    // Ours is not the only process: a reader of the old model that looks on meanwhile.
    assert!(!other.changes(&[old], Position::default(), 100).unwrap().more);
    let moved = store.switch(&models, setting, &mut staged).unwrap();
    assert_eq!(moved, Some(Moved { references: 2, files: 1, media: 0, thumbnails: 1 }));

    let held = store.held().unwrap();
    let names: Vec<_> = held.iter().map(|held| (held.name.as_str(), held.fingerprint.as_str(), held.dim)).collect();
    assert_eq!(names, [("old", "b", 2), ("pen", "c", 1)]);
    let numbers: Vec<i64> = held.iter().map(|held| held.row).collect();
    assert!(numbers.iter().all(|number| *number > old));
    let live = replay_all(&other, &numbers, 1);
    let expected = [vec![vec![0.6, 0.8], vec![1.0]], vec![vec![0.0, 1.0], vec![-1.0]]];
    assert_eq!(live, rows.iter().copied().zip(items.into_iter().zip(expected)).collect());
    assert_eq!(store.verify().unwrap(), []);
    assert_eq!(store.probe(numbers[0], &[None, None]).unwrap(), [Some(vec![1.0, 1.0]), None]);
    assert_eq!(store.setting::<String>("from").unwrap().as_deref(), Some("old"));
    // One that goes on from where it was reads the new rows alone.
    let changes = store.changes(&numbers, position, 100).unwrap();
    assert_eq!((changes.references, changes.removed, changes.restarted), (rows, vec![], false));

    for refused in [other.check_search(&[old]), other.check_add(&[old])] {
        assert!(
            message(refused)
                .contains("was moved to other models while it was open, and has vectors of [\"old\", \"pen\"]")
        );
    }
    let late = NewItem { id: "late", references: vec![reference("late", 5, old, &[1.0])], ..NewItem::default() };
    assert!(message(other.add(&late)).contains("was moved to other models"));
    assert!(message(other.changes(&[old], Position::default(), 100)).contains("open it again"));
}

#[test]
fn a_model_that_stays_keeps_its_number_and_its_probe_unless_it_comes_before_another() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let (one, two) = (store.model("one", "a", 1).unwrap(), store.model("two", "b", 1).unwrap());
    let x = NewItem { id: "x", references: vec![pair(1, (one, two), &[1.0], &[-1.0])], ..NewItem::default() };
    store.add(&x).unwrap();
    store.probe(two, &[Some(vec![0.25]), None]).unwrap();
    let [row] = store.references_after(0, 10).unwrap().try_into().unwrap();
    assert_eq!((row.0.as_str(), row.1.digest), ("x", digest(1)));
    let rows = [row.1.row, 99];
    assert_eq!(store.vectors_of(&rows, two, 1).unwrap(), [Some(vec![-1.0]), None]);
    assert_eq!(store.references_after(row.1.row, 10).unwrap(), []);
    let mut staged = Staged::open(home.path(), store.id().unwrap(), &[("b", 1)]).unwrap();
    stage(&mut staged, [row.1.row], 1, Origin::Stored, &[-1.0]);
    let moved = store.switch(&[new_model("two", "b", 1)], ("k", "1"), &mut staged).unwrap();
    assert_eq!(moved, Some(Moved { references: 1, ..Moved::default() }));
    let [held] = store.held().unwrap().try_into().unwrap();
    assert_eq!(held.row, two);
    assert_eq!(store.probe(held.row, &[None, None]).unwrap(), [Some(vec![0.25]), None], "not what was found now");
    assert!(store.check_search(&[two]).is_ok() && store.check_search(&[one]).is_err());
    assert_eq!(store.models().unwrap(), [held]);

    // A new one before it, which readers are to find first.
    drop(staged);
    let models = [("c", 1), ("b", 1)];
    let mut staged = Staged::open(home.path(), store.id().unwrap(), &models).unwrap();
    stage(&mut staged, [row.1.row], 1, Origin::File, &[1.0, -1.0]);
    store.switch(&[new_model("new", "c", 1), new_model("two", "b", 1)], ("k", "2"), &mut staged).unwrap();
    let [new, last] = store.held().unwrap().try_into().unwrap();
    assert_eq!((new.name.as_str(), last.name.as_str()), ("new", "two"));
    assert!(two < new.row && new.row < last.row);
    assert_eq!(store.probe(last.row, &[None, None]).unwrap(), [Some(vec![0.25]), None]);
    assert!(store.check_search(&[two]).is_err());
}

#[test]
fn models_are_left_out_whole_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let (one, two) = (store.model("one", "a", 1).unwrap(), store.model("two", "b", 1).unwrap());
    let x = NewItem { id: "x", references: vec![pair(1, (one, two), &[1.0], &[-1.0])], ..NewItem::default() };
    store.add(&x).unwrap();
    let position = store.position().unwrap();
    for others in [vec![new_model("new", "c", 1)], vec![new_model("two", "b", 1), new_model("one", "a", 1)]] {
        assert!(!store.leave_out(&others, ("k", "1")).unwrap());
    }
    assert_eq!((store.held().unwrap().len(), store.setting::<i64>("k").unwrap()), (2, None));
    // The names are exchanged, and exchanged again.
    assert!(store.leave_out(&[new_model("two", "a", 1), new_model("one", "b", 1)], ("k", "1")).unwrap());
    let names: Vec<_> = store.held().unwrap().into_iter().map(|held| (held.row, held.name)).collect();
    assert_eq!(names, [(one, "two".to_owned()), (two, "one".to_owned())]);
    assert!(store.leave_out(&[new_model("two", "b", 1)], ("k", "2")).unwrap());
    assert_eq!(store.setting::<i64>("k").unwrap(), Some(2));
    let rows: Vec<_> = replay(&store, two, 100).into_values().collect();
    assert_eq!((rows.len(), store.verify().unwrap()), (1, vec![]));
    // One that has it open has nothing to read again.
    assert!(store.changes(&[two], position, 100).unwrap().references.is_empty());
    assert!(message(store.check_search(&[one])).contains("was moved to other models"));
}

#[cfg(unix)] // elsewhere a locked file cannot be written by others
#[test]
fn a_switch_that_fails_on_its_way_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let old = store.model("old", "a", 1).unwrap();
    for n in 1..=3 {
        let id = format!("item {n}");
        store
            .add(&NewItem { id: &id, references: vec![reference("r", n, old, &[1.0])], ..NewItem::default() })
            .unwrap();
    }
    let before = replay(&store, old, 100);
    let mut staged = Staged::open(home.path(), store.id().unwrap(), &[("b", 1)]).unwrap();
    for (row, n) in before.keys().zip(1..) {
        stage(&mut staged, [*row], n, Origin::File, &[1.0]);
    }
    // The slot of the last reference is damaged after it was found whole.
    let path = home.path().join("reencode.vectors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let models = [new_model("new", "b", 1)];
    assert!(message(store.switch(&models, ("k", "1"), &mut staged)).contains("reencode.vectors is damaged"));
    assert_eq!((replay(&store, old, 100), store.held().unwrap()[0].row), (before, old));
    assert_eq!((store.verify().unwrap(), store.setting::<i64>("k").unwrap()), (vec![], None));
}
