//! The `where=` grammar: against an evaluator in plain Rust, and its errors.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use plushie_search::filter::Filter;
use plushie_search::selection::Rows;
use plushie_search::store::{Access, NewItem, Store};
use plushie_search::words;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

struct Toy {
    id: String,
    label: Option<String>,
    text: Option<String>,
    metadata: Value,
}

/// What a filter means, said a second time without SQL.
fn holds(toy: &Toy, filter: &Value) -> bool {
    filter.as_object().unwrap().iter().all(|(key, value)| match key.as_str() {
        "$and" => value.as_array().unwrap().iter().all(|part| holds(toy, part)),
        "$or" => value.as_array().unwrap().iter().any(|part| holds(toy, part)),
        "$not" => !holds(toy, value),
        "$key" => value.as_object().unwrap().iter().all(|(key, value)| {
            let direct = toy.metadata.get(key);
            let found: Vec<Value> = direct.cloned().into_iter().collect();
            match value {
                Value::Object(tests) => all(direct, &found, direct.is_some(), tests),
                _ => equal(direct, &found, value),
            }
        }),
        _ => {
            let column = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| json!(text));
            let (direct, found, exists) = match key.as_str() {
                "id" => (Some(json!(toy.id)), vec![json!(toy.id)], true),
                "label" => (Some(column(&toy.label)), vec![column(&toy.label)], toy.label.is_some()),
                "text" => (Some(column(&toy.text)), vec![column(&toy.text)], toy.text.is_some()),
                path => {
                    let keys: Vec<&str> = path.split('.').collect();
                    let direct = keys.iter().try_fold(&toy.metadata, |value, key| value.as_object()?.get(*key));
                    let mut found = Vec::new();
                    follow(&toy.metadata, &keys, &mut found);
                    let exists = !found.is_empty();
                    (direct.cloned(), found, exists)
                }
            };
            let value =
                if matches!(key.as_str(), "id" | "label" | "text") { digits("$eq", value) } else { value.clone() };
            match &value {
                Value::Object(tests) => all(direct.as_ref(), &found, exists, tests),
                _ => equal(direct.as_ref(), &found, &value),
            }
        }
    })
}

/// A test of an id, a label or a text, in which a whole number equals its digits.
fn digits(operator: &str, value: &Value) -> Value {
    let equals = matches!(operator, "$eq" | "$ne" | "$in" | "$nin" | "$all");
    match value {
        Value::Number(number) if equals && number.is_i64() => json!(number.to_string()),
        Value::Array(list) => list.iter().map(|value| digits(operator, value)).collect(),
        Value::Object(tests) => tests.iter().map(|(name, value)| (name.clone(), digits(name, value))).collect(),
        other => other.clone(),
    }
}

/// The values at the end of a path that goes through the members of lists.
fn follow(value: &Value, keys: &[&str], found: &mut Vec<Value>) {
    let Some((key, rest)) = keys.split_first() else { return found.push(value.clone()) };
    let Some(next) = value.as_object().and_then(|keys| keys.get(*key)) else { return };
    match next {
        Value::Array(members) if !rest.is_empty() => members.iter().for_each(|member| follow(member, rest, found)),
        _ => follow(next, rest, found),
    }
}

/// Each value, or its members where it is a list.
fn single(found: &[Value]) -> impl Iterator<Item = &Value> {
    found.iter().flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
}

fn all(direct: Option<&Value>, found: &[Value], exists: bool, tests: &Map<String, Value>) -> bool {
    let order =
        |value: &Value, fits: fn(Ordering) -> bool| single(found).filter_map(|field| compare(field, value)).any(fits);
    let any = |list: &Value| list.as_array().unwrap().iter().any(|value| equal(direct, found, value));
    let contains = |value: &Value| {
        let part = match (direct, value) {
            (Some(Value::String(text)), Value::String(part)) => text.contains(part.as_str()),
            _ => false,
        };
        let members: Vec<Value> = match direct {
            Some(Value::Array(members)) => members.clone(),
            Some(_) => Vec::new(),
            None => single(found).cloned().collect(),
        };
        part || members.iter().any(|member| same(member, value))
    };
    tests.iter().all(|(operator, value)| match operator.as_str() {
        "$eq" => equal(direct, found, value),
        "$ne" => !equal(direct, found, value),
        "$lt" => order(value, Ordering::is_lt),
        "$lte" => order(value, Ordering::is_le),
        "$gt" => order(value, Ordering::is_gt),
        "$gte" => order(value, Ordering::is_ge),
        "$in" => any(value),
        "$nin" => !any(value),
        "$contains" => contains(value),
        "$not_contains" => !contains(value),
        "$all" => {
            let values = value.as_array().unwrap();
            !values.is_empty() && values.iter().all(|value| equal(direct, found, value))
        }
        "$size" => direct.and_then(Value::as_array).is_some_and(|list| json!(list.len()) == *value),
        "$exists" => exists == value.as_bool().unwrap(),
        "$not" => !all(direct, found, exists, value.as_object().unwrap()),
        _ => unreachable!("{operator}"),
    })
}

fn equal(direct: Option<&Value>, found: &[Value], value: &Value) -> bool {
    match value {
        Value::Array(wanted) => direct.and_then(Value::as_array).is_some_and(|list| {
            list.len() == wanted.len() && list.iter().zip(wanted).all(|(member, value)| same(member, value))
        }),
        _ => single(found).any(|field| same(field, value)),
    }
}

fn same(field: &Value, value: &Value) -> bool {
    match (field, value) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (field, value) => compare(field, value) == Some(Ordering::Equal),
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()),
        _ => None,
    }
}

/// Few keys, so that filters meet them; some that would break a naive quotation.
const KEYS: [&str; 12] =
    ["price", "size", "a b", "quo\"te", "it's", "back\\slash", "ключ", "[0]", "$.x", "a\nb", "label", "size.price"];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["", "bear", "Bear", "rabbit", "1", "true", "null", "粉色", "a\"b", "' OR 1=1 --"])
            .prop_map(str::to_owned),
        1 => "[^\0]{0,4}".prop_map(|text| words::composed(&text).into_owned()),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        4 => (-3..4_i64).prop_map(Value::from),
        3 => (-6..7_i64).prop_map(|n| json!(n as f64 / 2.0)),
        1 => (-1e300..1e300_f64).prop_map(Value::from),
        4 => text().prop_map(Value::from),
    ]
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let keys = prop::sample::subsequence(KEYS.to_vec(), 0..5);
    (keys, prop::collection::vec(value, 5))
        .prop_map(|(keys, values)| keys.into_iter().map(str::to_owned).zip(values).collect::<Map<_, _>>().into())
}

fn metadata() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(2, 8, 4, |inner| {
        prop_oneof![object(inner.clone()), prop::collection::vec(inner, 0..3).prop_map(Value::from)]
    });
    object(value)
}

fn toys() -> impl Strategy<Value = Vec<Toy>> {
    let toy = (prop::option::of(text()), prop::option::of(text()), metadata());
    prop::collection::vec(toy, 1..12).prop_map(|toys| {
        let named = toys.into_iter().enumerate();
        named.map(|(n, (label, text, metadata))| Toy { id: n.to_string(), label, text, metadata }).collect()
    })
}

impl std::fmt::Debug for Toy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {:?} {}", self.id, self.label, self.text, self.metadata)
    }
}

fn key() -> impl Strategy<Value = String> {
    let plain =
        prop::sample::select(KEYS[..10].to_vec()).prop_filter("$ starts an operator", |key| !key.contains(['$', '.']));
    let path = prop::collection::vec(plain, 1..3).prop_map(|keys| keys.join("."));
    prop_oneof![1 => Just("id".to_owned()), 1 => Just("label".to_owned()), 1 => Just("text".to_owned()), 6 => path]
}

fn tests() -> impl Strategy<Value = Value> {
    let ordered = scalar().prop_filter("only numbers and strings have an order", |v| v.is_number() || v.is_string());
    let test = prop_oneof![
        (prop::sample::select(vec!["$eq", "$ne"]), scalar()),
        (prop::sample::select(vec!["$lt", "$lte", "$gt", "$gte"]), ordered),
        (
            prop::sample::select(vec!["$in", "$nin", "$all"]),
            prop::collection::vec(scalar(), 0..6).prop_map(Value::from)
        ),
        (prop::sample::select(vec!["$contains", "$not_contains"]), scalar()),
        (Just("$size"), (0..3).prop_map(Value::from)),
        (Just("$exists"), any::<bool>().prop_map(Value::from)),
    ];
    let tests = prop::collection::vec(test, 1..3);
    (tests, any::<bool>()).prop_map(|(tests, negated)| {
        let tests: Map<String, Value> = tests.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if negated { json!({"$not": tests}) } else { tests.into() }
    })
}

fn filter() -> impl Strategy<Value = Value> {
    let spelled = (prop::sample::select(KEYS.to_vec()), prop_oneof![scalar(), tests()]);
    let field = prop_oneof![
        5 => (key(), prop_oneof![scalar(), tests()]).prop_map(|(key, value)| json!({key: value})),
        1 => spelled.prop_map(|(key, value)| json!({"$key": {key: value}})),
    ];
    field.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (prop::sample::select(vec!["$and", "$or"]), prop::collection::vec(inner.clone(), 1..4))
                .prop_map(|(operator, parts)| json!({operator: parts})),
            inner.clone().prop_map(|part| json!({"$not": part})),
            (key(), scalar(), inner).prop_map(|(key, value, part)| {
                let mut both = part;
                both.as_object_mut().unwrap().insert(key, value);
                both
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn selects_what_the_evaluator_selects(toys in toys(), filters in prop::collection::vec(filter(), 1..20)) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), &Access::default()).unwrap();
        let new = |toy: &Toy| -> i64 {
            let (label, text) = (toy.label.as_deref(), toy.text.as_deref());
            let item =
                NewItem { id: &toy.id, label, text, metadata: Some(&toy.metadata), ..NewItem::default() };
            store.add(&item).unwrap().row
        };
        let rows: Vec<i64> = toys.iter().map(new).collect();
        for filter in filters {
            let selected = store.select(&Filter::parse(&filter).unwrap()).unwrap();
            for (toy, &row) in toys.iter().zip(&rows) {
                prop_assert_eq!(selected.contains(row), holds(toy, &filter), "{} {:?}", filter, toy);
            }
            let listed = store.items(Some(&Filter::parse(&filter).unwrap()), 0, None).unwrap();
            prop_assert_eq!(listed.len(), selected.len());
        }
    }

    #[test]
    fn rows_are_a_set(rows in prop::collection::vec(prop_oneof![-200..200_i64, any::<i64>()], 0..40), near: bool) {
        let rows: Vec<i64> = rows.into_iter().filter(|row| !near || row.abs() < 200).collect();
        let (set, expected): (Rows, BTreeSet<i64>) = (rows.iter().copied().collect(), rows.iter().copied().collect());
        prop_assert_eq!((set.len(), set.is_empty()), (expected.len(), expected.is_empty()));
        for row in rows.iter().copied().chain(-300..300).chain([i64::MIN, i64::MAX]) {
            prop_assert_eq!(set.contains(row), expected.contains(&row), "{}", row);
        }
    }
}

#[test]
fn long_lists_are_one_comparison() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    let metadata = json!({"n": 77_777, "x": 0.5});
    store.add(&NewItem { id: "42", metadata: Some(&metadata), ..NewItem::default() }).unwrap();
    let count = |filter: &Value| store.select(&Filter::parse(filter).unwrap()).unwrap().len();
    let ids: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let numbers: Vec<i64> = (0..100_000).collect();
    assert_eq!(count(&json!({"id": {"$in": ids}, "n": {"$in": numbers}})), 1);
    assert_eq!(count(&json!({"id": {"$nin": ids}})), 0);
    assert_eq!(count(&json!({"x": {"$in": [1, 0.5, "a", "b", null, true]}})), 1);
    assert_eq!(count(&json!({})), 1);
}

#[test]
fn errors_name_the_key_and_the_operator() {
    for (filter, words) in [
        (json!([]), vec!["object", "list"]),
        (json!({"$nor": []}), vec!["$nor", "$or"]),
        (json!({"$and": {}}), vec!["$and", "list"]),
        (json!({"$or": []}), vec!["$or", "at least one"]),
        (json!({"$or": [1]}), vec!["object", "number"]),
        (json!({"price": {"$less": 1}}), vec!["$less", "price", "$lt"]),
        (json!({"size": {"height": 1}}), vec!["height", "size.height"]),
        (json!({"price": {}}), vec!["price", "no operator"]),
        (json!({"price": {"$lt": true}}), vec!["$lt", "price", "true"]),
        (json!({"price": {"$in": 1}}), vec!["$in", "price", "list"]),
        (json!({"price": {"$eq": [[1]]}}), vec!["$eq", "price", "list"]),
        (json!({"price": {"$in": [[1]]}}), vec!["$in", "price", "list"]),
        (json!({"label": ["a", "b"]}), vec!["label", "list", "$in"]),
        (json!({"price": {"$contains": [1]}}), vec!["$contains", "price", "list"]),
        (json!({"price": {"$size": -1}}), vec!["$size", "price", "-1"]),
        (json!({"price": {"$exists": 1}}), vec!["$exists", "price", "number"]),
        (json!({"price": {"$not": 1}}), vec!["$not", "price", "$ne"]),
        (json!({"a..b": 1}), vec!["a..b", "dots"]),
        (json!({"": 1}), vec!["no key"]),
        (json!({"$key": "label"}), vec!["$key", "object", "string"]),
        (json!({"$key": {"label": {"$less": 1}}}), vec!["$less", "label", "$lt"]),
    ] {
        let text = Filter::parse(&filter).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{filter}: {text}");
    }
    let deep = (0..40).fold(json!({"a": 1}), |inner, _| json!({ "$not": inner }));
    assert!(Filter::parse(&deep).unwrap_err().to_string().contains("deep"));
    let deep = (0..40).fold(json!({"$exists": true}), |inner, _| json!({ "$not": inner }));
    assert!(Filter::parse(&json!({"a": deep})).unwrap_err().to_string().contains("deep"));
    let wide: Vec<Value> = vec![json!({}); 2000];
    assert!(Filter::parse(&json!({"$or": wide})).unwrap_err().to_string().contains("more than 200"));
    let wide: Vec<Value> = (0..300).map(|n| json!({"a": n})).collect();
    assert!(Filter::parse(&json!({"$or": wide})).unwrap_err().to_string().contains("$in"));
}

#[test]
fn the_largest_filter_is_one_that_sqlite_takes() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    store.add(&NewItem { id: "x", ..NewItem::default() }).unwrap();
    let wide: Vec<Value> = (0..200).map(|n| json!({"a": {"$ne": n}})).collect();
    let deepest = (0..31).fold(json!({"$and": wide}), |inner, _| json!({ "$not": inner }));
    let filter = Filter::parse(&deepest).unwrap();
    assert_eq!(store.select(&filter).unwrap().len(), 0, "an odd number of negations");
}

#[test]
fn lists_are_asked_for_their_members() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    for (id, metadata) in [
        (
            "scarf",
            json!({"tags": ["red", "scarf"], "sizes": [3, 12.5], "parts": [{"color": "red"}, {"color": "blue"}]}),
        ),
        ("hat", json!({"tags": "red hat", "sizes": 7, "parts": {"color": "red"}})),
        ("plain", json!({"tags": [], "sizes": [[3]], "parts": "red"})),
    ] {
        store.add(&NewItem { id, metadata: Some(&metadata), ..NewItem::default() }).unwrap();
    }
    let found = |filter: Value| -> Vec<String> {
        let items = store.items(Some(&Filter::parse(&filter).unwrap()), 0, None).unwrap();
        items.into_iter().map(|item| item.id).collect()
    };
    assert_eq!(found(json!({"tags": "red"})), ["scarf"]);
    assert_eq!(found(json!({"tags": {"$ne": "red"}})), ["hat", "plain"]);
    assert_eq!(found(json!({"tags": {"$in": ["blue", "red"]}})), ["scarf"]);
    assert_eq!(found(json!({"tags": {"$nin": ["blue", "red"]}})), ["hat", "plain"]);
    assert_eq!(found(json!({"tags": ["red", "scarf"]})), ["scarf"]);
    assert!(found(json!({"tags": ["scarf", "red"]})).is_empty());
    assert_eq!(found(json!({"tags": []})), ["plain"]);
    assert_eq!(found(json!({"tags": {"$contains": "red"}})), ["scarf", "hat"]);
    assert_eq!(found(json!({"tags": {"$not_contains": "red"}})), ["plain"]);
    assert_eq!(found(json!({"tags": {"$all": ["scarf", "red"]}})), ["scarf"]);
    assert_eq!(found(json!({"tags": {"$size": 2}})), ["scarf"]);
    assert_eq!(found(json!({"sizes": {"$gt": 10}})), ["scarf"]);
    assert_eq!(found(json!({"sizes": {"$lt": 8}})), ["scarf", "hat"]);
    assert_eq!(found(json!({"sizes": [3.0, 12.5]})), ["scarf"]);
    assert_eq!(found(json!({"parts.color": "red"})), ["scarf", "hat"]);
    assert_eq!(found(json!({"parts.color": {"$ne": "blue"}})), ["hat", "plain"]);
    assert_eq!(found(json!({"parts.color": {"$exists": true}})), ["scarf", "hat"]);
}

#[test]
fn texts_are_found_in_either_spelling() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &Access::default()).unwrap();
    store.add(&NewItem { id: "café", label: Some("café"), ..NewItem::default() }).unwrap();
    store.add(&NewItem { id: "cafe\u{301} 2", ..NewItem::default() }).unwrap();
    let count = |filter: Value| store.select(&Filter::parse(&filter).unwrap()).unwrap().len();
    assert_eq!(count(json!({"id": "cafe\u{301}", "label": {"$gte": "cafe\u{301}"}})), 1);
    assert_eq!(count(json!({"id": {"$in": ["cafe\u{301} 2", "cafe\u{301}"]}})), 2);
    assert_eq!(count(json!({"label": {"$contains": "fe\u{301}"}})), 1);
}

#[test]
fn a_filter_tells_its_keys() {
    let filter = json!({"label": "a", "$or": [{"price": 1}, {"$not": {"size.cm": 3}}], "price": {"$exists": true}});
    let keys: Vec<String> = Filter::parse(&filter).unwrap().keys().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["price", "size.cm"]);
}
