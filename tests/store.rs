//! The store: what it keeps, what it refuses, and that many threads and processes may use it at once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use plushie_search::error::Error;
use plushie_search::filter::Filter;
use plushie_search::store::{Access, NewItem, NewReference, Store, Update};
use serde_json::json;

fn digest(n: u8) -> [u8; 32] {
    [n; 32]
}

fn reference<'a>(name: &'a str, n: u8, model: i64, vector: &'a [f32]) -> NewReference<'a> {
    NewReference { name, digest: digest(n), vectors: vec![(model, vector)] }
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
    let (mut live, mut since) = (BTreeMap::new(), 0);
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
        since = changes.sequence;
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
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
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
    NewReference { name: "pair", digest: digest(n), vectors: vec![(two, second), (one, first)] }
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
    let before = store.sequence().unwrap();
    let none = NewReference { name: "none", digest: digest(8), vectors: vec![] };
    let twice = NewReference { name: "twice", digest: digest(8), vectors: vec![(one, &[1.0]), (one, &[1.0])] };
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
    assert_eq!((store.sequence().unwrap(), store.len().unwrap()), (before, 2));
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
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
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
    assert_eq!(store.check().unwrap(), ["reference 2 has not a vector of each model"]);
    assert!(message(store.changes(&[both.0, both.1], 0, 100)).contains("reference 2 lacks the vector of a model"));
    assert_eq!(replay(&store, both.0, 100).len(), 3, "the other model is whole");
    file.execute("DELETE FROM vectors WHERE reference = 3 AND model = ?", [both.1]).unwrap();
    assert!(message(store.changes(&[both.0, both.1], 4, 100)).contains("reference 3 lacks"), "at the end as well");
}

#[test]
fn an_update_changes_only_what_it_names() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let metadata = json!({"a": 1});
    let item = NewItem { id: "x", label: Some("l"), metadata: Some(&metadata), ..NewItem::default() };
    store.add(&item).unwrap();
    let before = store.sequence().unwrap();
    store.update("x", &Update { text: Some(Some("t")), ..Update::default() }).unwrap();
    let found = store.get("x").unwrap();
    assert_eq!((found.label.as_deref(), found.text.as_deref(), &found.metadata), (Some("l"), Some("t"), &metadata));
    store.update("x", &Update { label: Some(None), metadata: Some(None), ..Update::default() }).unwrap();
    let found = store.get("x").unwrap();
    assert_eq!((found.label, found.text.as_deref(), found.metadata), (None, Some("t"), json!({})));
    assert_eq!(store.sequence().unwrap(), before, "no vector has changed");
    assert!(matches!(store.update("y", &Update::default()), Err(Error::UnknownItem(id)) if id == "y"));
}

#[test]
fn removed_items_leave_nothing_but_a_mark() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let model = store.model("m", "f", 512).unwrap();
    let vector = vec![0.25_f32; 512];
    let ids: Vec<String> = (0..3000).map(|n| format!("item {n}")).collect();
    let item = |id| NewItem { id, references: vec![reference("r", 1, model, &vector)], ..NewItem::default() };
    let items: Vec<NewItem<'_>> = ids.iter().map(|id| item(id.as_str())).collect();
    let rows: Vec<i64> = store.add_all(&items).unwrap().iter().map(|added| added.row).collect();
    let full = store.sequence().unwrap();
    assert!(message(store.remove(&["item 1", "nobody"])).contains("nobody"));
    assert_eq!(store.len().unwrap(), 3000, "all or nothing");
    store.remove(&ids[..2900]).unwrap();
    store.remove(&["item 2950", "item 2950"]).unwrap();
    assert_eq!(store.len().unwrap(), 99);
    assert!(store.sequence().unwrap() > full);
    assert!(matches!(store.get("item 0"), Err(Error::UnknownItem(_))));
    let again = store.add(&item("item 0")).unwrap();
    assert!(again.created && rows.iter().all(|row| again.row > *row), "rows are never used again");
    let changes = store.changes(&[model], full, 10_000).unwrap();
    assert_eq!((changes.removed.len(), changes.items.as_slice()), (2901, &[again.row][..]));
    assert_eq!(replay(&store, model, 7).len(), 100);
    assert_eq!(replay(&store, model, 10_000), replay(&store, model, 1));
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
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
    assert!(message(store.changes(&[9], 0, 1)).contains("model 9"));
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
    assert!(message(store.changes(&[old], 0, 1)).contains("open it again"));
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
        (directory("newer", &changed(60, 3)), "upgrade"),
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
                    let references =
                        (0..5).map(|k| NewReference { name: "r", digest: digest(k), vectors: vec![(model, &[1.0])] });
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
                let (mut live, mut since) = (std::collections::BTreeSet::new(), 0);
                for _ in 0..200 {
                    let changes = reader.changes(&[model], since, usize::MAX).unwrap();
                    assert!(changes.sequence >= since && !changes.more);
                    live.extend(changes.references);
                    changes.removed.iter().for_each(|reference| _ = live.remove(reference));
                    since = changes.sequence;
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
    store.backup(&path).unwrap();
    assert!(message(store.backup(&path)).contains("already"));
    store.remove(&["x"]).unwrap();
    let copy = Store::open(&path, &Access::existing()).unwrap();
    assert_eq!(copy.get("x").unwrap().references.len(), 1);
    assert_eq!(replay(&copy, model, 10).len(), 1);
    assert_eq!(copy.check().unwrap(), Vec::<String>::new());
}

/// Runs as a child of the next test: adds and removes items until it is killed, and says what is done.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var("STORE_TEST_CHILD") else { return };
    use std::io::Write;
    let store = Store::open(Path::new(&path), &Access::default()).unwrap();
    let models = (store.model("m", "f", 64).unwrap(), store.model("n", "f", 8).unwrap());
    let (long, short) = ([0.125_f32; 64], [0.5_f32; 8]);
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
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
    }
}

/// A catalog of format 1 as it was written before models had probes: its tables, one item, one vector.
const FORMAT_1: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    CREATE TABLE models (model INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL,
        dim INTEGER NOT NULL) STRICT;
    CREATE TABLE items (item INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, label TEXT, text TEXT,
        metadata TEXT NOT NULL, added INTEGER NOT NULL) STRICT;
    CREATE INDEX items_by_label ON items (label) WHERE label IS NOT NULL;
    CREATE TABLE refs (reference INTEGER PRIMARY KEY AUTOINCREMENT,
        item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, name TEXT NOT NULL, digest BLOB NOT NULL,
        added INTEGER NOT NULL, UNIQUE (item, digest)) STRICT;
    CREATE TABLE vectors (sequence INTEGER PRIMARY KEY AUTOINCREMENT, reference INTEGER NOT NULL,
        item INTEGER NOT NULL, model INTEGER REFERENCES models, vector BLOB,
        CHECK ((model IS NULL) = (vector IS NULL))) STRICT;
    CREATE UNIQUE INDEX vectors_by_reference ON vectors (reference, model) WHERE vector IS NOT NULL;
    INSERT INTO models VALUES (1, 'mini', 'abc', 2);
    INSERT INTO items VALUES (1, 'bear', NULL, 'brown', '{}', 1700000000);
    INSERT INTO refs VALUES (1, 1, 'a.jpg', zeroblob(32), 1700000000);
    INSERT INTO vectors VALUES (1, 1, 1, 1, x'0000803f00000000');
    PRAGMA application_id = 1886156147;
    PRAGMA user_version = 1;
";

#[test]
fn a_catalog_of_the_first_format_is_brought_up_to_date() {
    let old_catalog = || {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("catalog.sqlite");
        rusqlite::Connection::open(&file).unwrap().execute_batch(FORMAT_1).unwrap();
        (home, file)
    };
    // Threads that open it at once find it whole, whichever of them brings it up to date.
    for _ in 0..30 {
        let (home, _) = old_catalog();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(Store::open(home.path(), &Access::existing()).unwrap().len().unwrap(), 1));
            }
        });
    }
    let (home, file) = old_catalog();
    let store = Store::open(home.path(), &Access::existing()).unwrap();
    assert_eq!(store.get("bear").unwrap().text.as_deref(), Some("brown"));
    let model = store.model("mini", "abc", 2).unwrap();
    assert_eq!(replay(&store, model, 10), BTreeMap::from([(1, (1, vec![1.0, 0.0]))]));
    let probe = [Some(vec![0.6, 0.8]), None];
    assert_eq!(store.probe(model, &probe).unwrap(), probe);
    let version: i64 =
        rusqlite::Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
    drop(store);
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let error = message(Store::open(home.path(), &Access::existing()));
    assert!(error.contains("has format 3, newer than 2; upgrade plushie_search to open it"), "{error}");
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
