//! The index of the items' own words: a table of SQLite's FTS5 beside the items, changed in the same transactions.
//!
//! It holds terms and no texts, in three columns for id, label and text, one for the texts and numbers of the metadata,
//! and one, `whole`, for marks of whole fields, by which equal ones are found.

use std::collections::{BTreeSet, HashMap};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::filter::Field;
use crate::store::Store;
use crate::words::{Asked, Phrase, folded, is_mistyped, plain, terms};

/// The fields that have marks; they begin with different letters.
const COLUMNS: [&str; 3] = ["id", "label", "text"];
/// The kinds of marks: of the folded field, and of its words alone if that is another.
const FOLDED: char = 'f';
const PLAIN: char = 'p';
/// Bytes of the texts in an item's metadata that are indexed.
const METADATA: usize = 64 << 10;
/// A term that more items have says nothing, and is not looked up.
const COMMON: usize = 100_000;
/// The most terms that one term of a query may stand for.
const SPELLINGS: usize = 32;
/// The letters that are right at the beginning of a mistyped word.
const RIGHT: usize = 2;
/// The most terms among which a mistyped word is looked for.
const COMPARED: i64 = 5_000;
/// Begins every mark; no term has this character.
const MARK: char = '\u{e000}';

/// The statement that indexes items anew; what follows says which.
macro_rules! index_items {
    ($tail:literal) => {
        concat!(
            "INSERT OR REPLACE INTO words (rowid, id, label, text, metadata, whole)
             SELECT item, terms(id), terms(label), terms(text), terms_of(metadata), marks(id, label, text) FROM items ",
            $tail
        )
    };
}

/// Makes the tables and fills them from the items.
pub(super) const CREATE: &str = concat!(
    "CREATE VIRTUAL TABLE words USING fts5(
        id, label, text, metadata, whole, content='', contentless_delete=1, detail=column, tokenize='ascii'
    );
    CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'row');",
    index_items!("ORDER BY item;")
);

/// Lets statements of this connection compute terms and marks. No table may use them: the schema is not trusted.
pub(super) fn define(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("terms", 1, flags, |row| Ok(text(row, 0).map(|text| terms(text).join(" "))))?;
    connection.create_scalar_function("terms_of", 1, flags, |row| {
        let mut found = String::new();
        if let Some(Ok(metadata)) = text(row, 0).map(serde_json::from_str::<Value>) {
            each_text(&metadata, &mut |text| {
                if found.len() + text.len() <= METADATA {
                    found.push_str(text);
                    found.push('\n');
                }
            });
        }
        Ok(terms(&found).join(" "))
    })?;
    connection.create_scalar_function("marks", 3, flags, |row| {
        let marks = COLUMNS.iter().enumerate().filter_map(|(place, column)| {
            let text = text(row, place)?;
            let (folded, plain) = (folded(text), plain(text));
            let other = if folded == plain { String::new() } else { mark(PLAIN, column, &plain) };
            Some(format!("{} {other}", mark(FOLDED, column, &folded)))
        });
        Ok(marks.collect::<Vec<_>>().join(" "))
    })
}

/// A text among the arguments of a function; none for NULL and for what is damaged.
fn text<'a>(row: &'a Context<'_>, column: usize) -> Option<&'a str> {
    match row.get_raw(column) {
        value @ ValueRef::Text(_) => value.as_str().ok(),
        _ => None,
    }
}

/// The term that stands for a whole field.
fn mark(kind: char, column: &str, text: &str) -> String {
    format!("{MARK}{kind}{}{:016x}", &column[..1], xxh3_64(text.as_bytes()))
}

/// Calls `told` with each text and number in a value.
fn each_text(value: &Value, told: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => told(text),
        Value::Number(number) => told(&number.to_string()),
        Value::Array(list) => list.iter().for_each(|value| each_text(value, told)),
        Value::Object(keys) => keys.values().for_each(|value| each_text(value, told)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Indexes the words of items that were made or changed.
pub(super) fn index_words(connection: &Connection, items: &BTreeSet<i64>) -> rusqlite::Result<()> {
    let mut index = connection.prepare_cached(index_items!("WHERE item = ?"))?;
    items.iter().try_for_each(|item| index.execute([item]).map(drop))
}

/// Forgets the words of an item that is removed.
pub(super) fn forget_words(connection: &Connection, item: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM words WHERE rowid = ?")?.execute([item]).map(drop)
}

/// Makes the index anew.
pub(super) fn rebuild_words(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')", [])?;
    connection.execute(index_items!("ORDER BY item"), [])?;
    connection.execute("INSERT INTO words (words) VALUES ('optimize')", []).map(drop)
}

/// Looks at the index, so that the connection reads it anew if it has changed.
pub(super) fn ask_words(connection: &Connection) -> rusqlite::Result<()> {
    if has_words(connection)? {
        connection.prepare_cached("SELECT rowid FROM words LIMIT 1")?.exists([])?;
    }
    Ok(())
}

/// Calls `told` with the id of each item whose id, label and text are not indexed as they are stored, and with none for an
/// index of items that are gone.
pub(super) fn check_words(connection: &Connection, mut told: impl FnMut(Option<String>)) -> rusqlite::Result<()> {
    if !has_words(connection)? {
        return Ok(());
    }
    let mut find = connection.prepare("SELECT 1 FROM words WHERE rowid = ? AND words MATCH ?")?;
    let mut items = connection.prepare("SELECT item, id, label, text FROM items ORDER BY item")?;
    let mut rows = items.query([])?;
    let mut count = 0_i64;
    while let Some(row) = rows.next()? {
        count += 1;
        let mut marks = Vec::new();
        for (place, column) in COLUMNS.iter().enumerate() {
            if let Ok(text) = row.get_ref(place + 1)?.as_str() {
                marks.push(format!("\"{}\"", mark(FOLDED, column, &folded(text))));
            }
        }
        if !find.exists(params![row.get::<_, i64>(0)?, format!("whole : ({})", marks.join(" AND "))])? {
            told(Some(String::from_utf8_lossy(row.get_ref(1)?.as_bytes().unwrap_or_default()).into_owned()));
        }
    }
    let indexed: i64 = connection.query_row("SELECT COUNT(*) FROM words_docsize", [], |row| row.get(0))?;
    if indexed > count {
        told(None);
    }
    Ok(())
}

/// An item that has words of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worded {
    /// Its row.
    pub item: i64,
    /// The weights of its words together: BM25 with each word counted once, whatever the length of its field.
    pub score: f64,
    /// A bit for each field that was asked for: whether it has one of the words.
    pub fields: u32,
}

/// The items that a phrase finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Those with a field that is the whole query, and those with one that has the same words; rows ascend.
    pub whole: [Vec<Worded>; 2],
    /// Those with a word of it, the best first; equal ones by their rows.
    pub words: Vec<Worded>,
}

impl Store {
    /// Finds the items that have words of a phrase in some fields, at most 32 of them: `id`, `label`, `text` and keys of
    /// the metadata. There are about `items` items.
    ///
    /// A term that no item has stands for the words that begin with it, or else for those of which it may be a mistyped form
    /// with the right first two letters. A term of more than 100,000 items is left out. A catalog of an older format that is
    /// only read has no index of words, which finds nothing.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) if the catalog cannot be read.
    pub(crate) fn find_words(&self, phrase: &Phrase, fields: &[Field], items: usize) -> Result<Found> {
        self.read(|connection| {
            let mut found = Found::default();
            if !has_words(connection)? {
                return Ok(found);
            }
            if let Some([folded, plain]) = &phrase.whole {
                found.whole[0] = whole(connection, fields, &[(FOLDED, folded)])?;
                let exact: BTreeSet<i64> = found.whole[0].iter().map(|worded| worded.item).collect();
                let mut alike = whole(connection, fields, &[(FOLDED, plain), (PLAIN, plain)])?;
                alike.retain(|worded| !exact.contains(&worded.item));
                found.whole[1] = alike;
            }
            let mut scores: HashMap<i64, Worded> = HashMap::new();
            for asked in &phrase.terms {
                let rows = spelled(connection, asked, fields)?;
                if rows.len() > COMMON {
                    continue;
                }
                let (all, having) = (items.max(rows.len()) as f64, rows.len() as f64);
                let weight = (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
                for (item, bits) in rows {
                    let worded = scores.entry(item).or_insert(Worded { item, score: 0.0, fields: 0 });
                    worded.score += weight;
                    worded.fields |= bits;
                }
            }
            found.words = scores.into_values().collect();
            found.words.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
            Ok(found)
        })
    }

    /// Returns the first reference of each item; `None` for one that was removed.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::error::Error::Catalog) if the catalog cannot be read.
    pub fn first_references(&self, items: &[i64]) -> Result<Vec<Option<i64>>> {
        self.read(|connection| {
            let mut first = connection.prepare_cached("SELECT MIN(reference) FROM refs WHERE item = ?")?;
            let find = |item: &i64| first.query_row([item], |row| row.get(0));
            Ok(items.iter().map(find).collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Whether there is an index of words, which a catalog of an older format lacks while it is only read.
fn has_words(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'words'")?.exists([])
}

/// The items that have a term in one of the fields, or else a word for which it may stand, with a bit for each field.
fn spelled(connection: &Connection, asked: &Asked, fields: &[Field]) -> rusqlite::Result<HashMap<i64, u32>> {
    let Asked { term, begins, mistyped } = asked;
    let mut rows = having(connection, std::slice::from_ref(term), fields)?;
    if rows.is_empty() && *begins {
        rows = having(connection, &beginning(connection, term, SPELLINGS as i64)?, fields)?;
    }
    if rows.is_empty() && *mistyped {
        let right: String = term.chars().take(RIGHT).collect();
        let mut others = beginning(connection, &right, COMPARED)?;
        others.retain(|other| is_mistyped(term, other));
        others.truncate(SPELLINGS);
        rows = having(connection, &others, fields)?;
    }
    Ok(rows)
}

/// The terms of all items that begin so, in their order.
fn beginning(connection: &Connection, start: &str, limit: i64) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT term FROM vocabulary WHERE term >= ?1 AND term < ?2 LIMIT ?3")?
        .query_map(params![start, format!("{start}{}", char::MAX), limit], |row| row.get(0))?
        .collect()
}

/// The items that have one of the terms in one of the fields, with a bit for each field.
fn having(connection: &Connection, spellings: &[String], fields: &[Field]) -> rusqlite::Result<HashMap<i64, u32>> {
    let mut rows = HashMap::new();
    if spellings.is_empty() {
        return Ok(rows);
    }
    // Terms are letters and digits alone, so that nothing in them is a sign of FTS5.
    let any = spellings.iter().map(|term| format!("\"{term}\"")).collect::<Vec<_>>().join(" OR ");
    for (number, field) in fields.iter().enumerate() {
        let mut add = |item: i64| *rows.entry(item).or_insert(0) |= 1 << number;
        match field {
            Field::Column(name) => matching(connection, name, &any)?.into_iter().for_each(add),
            Field::Metadata(path) => {
                let mut read = connection.prepare_cached("SELECT metadata FROM items WHERE item = ?")?;
                for item in matching(connection, "metadata", &any)? {
                    let mut has = false;
                    let metadata: Option<String> = read.query_row([item], |row| row.get(0)).ok();
                    if let Some(Ok(metadata)) = metadata.as_deref().map(serde_json::from_str::<Value>) {
                        each_at(&metadata, path, &mut |value| {
                            each_text(value, &mut |text| {
                                has |= terms(text).iter().any(|term| spellings.contains(term))
                            });
                        });
                    }
                    if has {
                        add(item);
                    }
                }
            }
        }
    }
    Ok(rows)
}

/// The items, at most one more than are common, that fit an expression of FTS5 in a column.
fn matching(connection: &Connection, column: &str, expression: &str) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT rowid FROM words WHERE words MATCH ? LIMIT ?")?
        .query_map(params![format!("{column} : ({expression})"), COMMON as i64 + 1], |row| row.get(0))?
        .collect()
}

/// Calls `told` with each value at a path of keys, which goes through lists.
fn each_at(value: &Value, path: &[String], told: &mut impl FnMut(&Value)) {
    match (value, path) {
        (_, []) => told(value),
        (Value::Array(list), _) => list.iter().for_each(|value| each_at(value, path, told)),
        (Value::Object(keys), [key, rest @ ..]) => {
            keys.get(key).into_iter().for_each(|value| each_at(value, rest, told))
        }
        _ => {}
    }
}

/// The items of which a field has one of these marks.
fn whole(connection: &Connection, fields: &[Field], wanted: &[(char, &String)]) -> rusqlite::Result<Vec<Worded>> {
    let mut rows: HashMap<i64, u32> = HashMap::new();
    for (number, field) in fields.iter().enumerate() {
        let Field::Column(name) = field else { continue };
        let marks = wanted.iter().map(|(kind, text)| format!("\"{}\"", mark(*kind, name, text)));
        for item in matching(connection, "whole", &marks.collect::<Vec<_>>().join(" OR "))? {
            *rows.entry(item).or_insert(0) |= 1 << number;
        }
    }
    let mut found: Vec<Worded> = rows.into_iter().map(|(item, fields)| Worded { item, score: 0.0, fields }).collect();
    found.sort_unstable_by_key(|worded| worded.item);
    Ok(found)
}
