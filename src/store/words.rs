//! The index of the items' own words: a table of SQLite's FTS5 beside the items, changed in the same transactions.
//!
//! It holds terms and no texts, in three columns for id, label and text, one for the texts and numbers of the metadata,
//! and one, `whole`, for marks of whole fields, by which equal ones are found. A table of all terms beside it tells soon
//! which of a query's it has, and which are like them; terms of items that are gone stay in it until it is made anew.

use std::collections::{BTreeSet, HashMap, HashSet};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::filter::Field;
use crate::store::{Entry, Store};
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

/// The statement that adds the terms of items to the table of all terms.
macro_rules! add_terms {
    ($tail:literal) => {
        concat!(
            "INSERT OR IGNORE INTO vocabulary
             SELECT value FROM items, json_each(every_term(items.id, label, text, metadata)) ",
            $tail
        )
    };
}

/// Makes the tables and fills them from the items.
pub(super) const CREATE: &str = concat!(
    "CREATE VIRTUAL TABLE words USING fts5(
        id, label, text, metadata, whole, content='', contentless_delete=1, detail=column, tokenize='ascii'
    );
    CREATE TABLE vocabulary (term TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;",
    index_items!("ORDER BY item;"),
    add_terms!("ORDER BY item;")
);

/// Lets statements of this connection compute terms and marks. No table may use them: the schema is not trusted.
pub(super) fn define(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("terms", 1, flags, |row| Ok(text(row, 0).map(|text| terms(text).join(" "))))?;
    connection.create_scalar_function("terms_of", 1, flags, |row| Ok(metadata_terms(text(row, 0)).join(" ")))?;
    // As a JSON array, each once.
    connection.create_scalar_function("every_term", 4, flags, |row| {
        let fields = (0..COLUMNS.len()).filter_map(|place| text(row, place)).flat_map(terms);
        let every: BTreeSet<String> = fields.chain(metadata_terms(text(row, COLUMNS.len()))).collect();
        Ok(Value::from_iter(every).to_string())
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

/// The terms of the texts and numbers in the metadata of an item.
fn metadata_terms(metadata: Option<&str>) -> Vec<String> {
    let mut found = String::new();
    if let Some(Ok(metadata)) = metadata.map(serde_json::from_str::<Value>) {
        each_text(&metadata, &mut |text| {
            if found.len() + text.len() <= METADATA {
                found.push_str(text);
                found.push('\n');
            }
        });
    }
    terms(&found)
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

/// Indexes the words of items that were made or changed: a list in JSON.
pub(super) fn index_words(connection: &Connection, items: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(index_items!("WHERE item IN (SELECT value FROM json_each(?))"))?.execute([items])?;
    connection.prepare_cached(add_terms!("WHERE item IN (SELECT value FROM json_each(?))"))?.execute([items]).map(drop)
}

/// Forgets the words of an item that is removed.
pub(super) fn forget_words(connection: &Connection, item: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM words WHERE rowid = ?")?.execute([item]).map(drop)
}

/// Makes the index anew.
pub(super) fn rebuild_words(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')", [])?;
    connection.execute(index_items!("ORDER BY item"), [])?;
    connection.execute("DELETE FROM vocabulary", [])?;
    connection.execute(add_terms!("ORDER BY item"), [])?;
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
    let mut lacks = connection.prepare(
        "SELECT 1 FROM items, json_each(every_term(items.id, label, text, metadata))
         WHERE item = ? AND value NOT IN (SELECT term FROM vocabulary)",
    )?;
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
        let item: i64 = row.get(0)?;
        let wanted = format!("whole : ({})", marks.join(" AND "));
        if !find.exists(params![item, wanted])? || lacks.exists([item])? {
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
}

/// The items that a phrase finds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Rows of those with a field that is the whole query, and of those with one that has the same words; they ascend.
    pub whole: [Vec<i64>; 2],
    /// Those with a word of it, the best first; equal ones by their rows.
    pub words: Vec<Worded>,
    /// The terms that they have of it.
    pub spellings: HashSet<String>,
    /// The weights of all of its words, also of those that no item has.
    pub asked: f64,
}

impl Store {
    /// Finds the items that have words of a phrase in some fields: `id`, `label`, `text` and keys of the metadata. There
    /// are about `items` items.
    ///
    /// A term that no item has stands for the words that begin with it, or else for those of which it may be a mistyped form
    /// with the right first two letters. A pair of characters weighs no more than the rarer one: most pairs that are rarer
    /// lie across two words. A term of more than 100,000 items is left out. A catalog of an older format that is
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
            if let Some([folded, plain]) = &phrase.whole
                && are_known(connection, &terms(folded))?
            {
                found.whole[0] = whole(connection, fields, &[(FOLDED, folded)])?;
                found.whole[1] = whole(connection, fields, &[(FOLDED, plain), (PLAIN, plain)])?;
                let [exact, alike] = &mut found.whole;
                alike.retain(|item| exact.binary_search(item).is_err());
            }
            let mut scores: Vec<Worded> = Vec::new();
            let mut characters: HashMap<char, f64> = HashMap::new();
            for asked in &phrase.terms {
                let (rows, spellings) = spelled(connection, asked, fields)?;
                if rows.len() > COMMON {
                    continue;
                }
                let mut score = weight(rows.len(), items);
                if let Some(pair) = asked.pair() {
                    let mut most = 0.0_f64;
                    for character in pair {
                        let known = characters.get(&character).copied();
                        let of_character = match known {
                            Some(known) => known,
                            None => weight(having(connection, &[character.to_string()], fields)?.len(), items),
                        };
                        characters.insert(character, of_character);
                        most = most.max(of_character);
                    }
                    score = score.min(most);
                }
                found.asked += score;
                if !rows.is_empty() {
                    scores.extend(rows.into_iter().map(|item| Worded { item, score }));
                    found.spellings.extend(spellings);
                }
            }
            // Stable, so that equal items have equal sums.
            scores.sort_by_key(|worded| worded.item);
            let sum = |of: &[Worded]| Worded { item: of[0].item, score: of.iter().map(|worded| worded.score).sum() };
            found.words = scores.chunk_by(|a, b| a.item == b.item).map(sum).collect();
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

/// The weight of a term that so many of about `items` items have, as in BM25.
fn weight(having: usize, items: usize) -> f64 {
    let (all, having) = (items.max(having) as f64, having as f64);
    (1.0 + (all - having + 0.5) / (having + 0.5)).ln()
}

/// Whether items have a term, or have had it.
fn is_known(connection: &Connection, term: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM vocabulary WHERE term = ?")?.exists([term])
}

/// Whether items have each of the terms, or have had it.
fn are_known(connection: &Connection, terms: &[String]) -> rusqlite::Result<bool> {
    for term in terms {
        if !is_known(connection, term)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The items that have a term in one of the fields, or else words for which it may stand; and these words.
fn spelled(connection: &Connection, asked: &Asked, fields: &[Field]) -> rusqlite::Result<(Vec<i64>, Vec<String>)> {
    let Asked { term, begins, mistyped } = asked;
    let mut words = Vec::new();
    if is_known(connection, term)? {
        words.push(term.clone());
    }
    let mut rows = having(connection, &words, fields)?;
    if rows.is_empty() && *begins {
        words = beginning(connection, term, SPELLINGS as i64)?;
        rows = having(connection, &words, fields)?;
    }
    if rows.is_empty() && *mistyped {
        let right: String = term.chars().take(RIGHT).collect();
        words = beginning(connection, &right, COMPARED)?;
        words.retain(|other| is_mistyped(term, other));
        words.truncate(SPELLINGS);
        rows = having(connection, &words, fields)?;
    }
    Ok((rows, words))
}

/// The terms of all items that begin so, in their order.
fn beginning(connection: &Connection, start: &str, limit: i64) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT term FROM vocabulary WHERE term >= ?1 AND term < ?2 LIMIT ?3")?
        .query_map(params![start, format!("{start}{}", char::MAX), limit], |row| row.get(0))?
        .collect()
}

/// The items that have one of the words in one of the fields; they ascend.
fn having(connection: &Connection, words: &[String], fields: &[Field]) -> rusqlite::Result<Vec<i64>> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    // Terms are letters and digits alone, so that nothing in them is a sign of FTS5.
    let any = words.iter().map(|term| format!("\"{term}\"")).collect::<Vec<_>>().join(" OR ");
    let columns = columns(fields);
    let mut rows = match columns.is_empty() {
        true => Vec::new(),
        false => matching(connection, &columns.join(" "), &any)?,
    };
    if columns.len() < fields.len() {
        let words: HashSet<String> = words.iter().cloned().collect();
        let mut read = connection.prepare_cached("SELECT metadata FROM items WHERE item = ?")?;
        for item in matching(connection, "metadata", &any)? {
            let metadata: Option<String> = read.query_row([item], |row| row.get(0)).ok();
            if metadata.is_some_and(|metadata| fields.iter().any(|field| has_words_at(&metadata, field, &words))) {
                rows.push(item);
            }
        }
        rows.sort_unstable();
        rows.dedup();
    }
    Ok(rows)
}

/// The fields that have columns.
fn columns(fields: &[Field]) -> Vec<&str> {
    let name = |field| match field {
        &Field::Column(name) => Some(name),
        Field::Metadata(_) => None,
    };
    fields.iter().filter_map(name).collect()
}

/// The items, at most one more than are common, that fit an expression of FTS5 in columns; they ascend.
fn matching(connection: &Connection, columns: &str, expression: &str) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT rowid FROM words WHERE words MATCH ? LIMIT ?")?
        .query_map(params![format!("{{{columns}}} : ({expression})"), COMMON as i64 + 1], |row| row.get(0))?
        .collect()
}

/// Whether metadata have one of the words at the path of a field.
fn has_words_at(metadata: &str, field: &Field, words: &HashSet<String>) -> bool {
    let (Field::Metadata(path), Ok(metadata)) = (field, serde_json::from_str::<Value>(metadata)) else { return false };
    let mut has = false;
    each_at(&metadata, path, &mut |value| each_text(value, &mut |text| has |= has_word(text, words)));
    has
}

/// Whether a text has one of the words.
fn has_word(text: &str, words: &HashSet<String>) -> bool {
    terms(text).iter().any(|term| words.contains(term))
}

/// Whether a field of an item has one of the words, or is or has as its words the `whole` text.
pub(crate) fn has_matched(entry: &Entry, field: &Field, words: &HashSet<String>, whole: Option<&[String; 2]>) -> bool {
    let Field::Column(name) = field else { return has_words_at(&entry.metadata, field, words) };
    let text = match *name {
        "id" => Some(&entry.id),
        "label" => entry.label.as_ref(),
        _ => entry.text.as_ref(),
    };
    let is_whole = |text: &str| whole.is_some_and(|[is, has]| folded(text) == *is || plain(text) == *has);
    text.is_some_and(|text| has_word(text, words) || is_whole(text))
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

/// The items of which a field has one of these marks; they ascend.
fn whole(connection: &Connection, fields: &[Field], wanted: &[(char, &String)]) -> rusqlite::Result<Vec<i64>> {
    let of = |name| wanted.iter().map(move |(kind, text)| format!("\"{}\"", mark(*kind, name, text)));
    let marks: Vec<String> = columns(fields).into_iter().flat_map(of).collect();
    if marks.is_empty() { Ok(Vec::new()) } else { matching(connection, "whole", &marks.join(" OR ")) }
}
