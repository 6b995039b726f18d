//! The index of metadata: a table of each value with its key and item, changed in the same transactions, by which a filter
//! finds its items without reading the metadata of all.
//!
//! A value in a list stands under the key of the list, and one in a list of objects under the path through it, as filters
//! see them. Lists in lists are not looked into.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, params_from_iter};
use serde_json::Value;

use crate::filter::{Condition, Field, Filter, Scalar, Test};
use crate::selection::Rows;
use crate::store::filter_sql::{self, Parameter};

/// Characters of a string that are kept: longer ones are found by them, and then compared.
const KEPT: usize = 100;
/// The most values of one look-up, each of which is a `?`.
const MOST_VALUES: usize = 10_000;
/// Up to so many items, the other conditions are tested one by one.
const TESTED: usize = 4096;

/// The values of items, as they are kept; `{}` stands for a condition on `items`. Booleans and null are no values of
/// SQLite and stand as bytes; metadata that is damaged has none.
macro_rules! values_of {
    ($tail:literal) => {
        concat!(
            "SELECT value_path(tree.fullkey) AS path,
                 CASE tree.type WHEN 'true' THEN x'01' WHEN 'false' THEN x'00' WHEN 'null' THEN x''
                 WHEN 'text' THEN SUBSTR(tree.atom, 1, 100) ELSE tree.atom END AS value,
                 items.item AS item
             FROM items, json_tree(IIF(json_valid(items.metadata), items.metadata, '{}')) AS tree
             WHERE tree.type NOT IN ('object', 'array') ",
            $tail
        )
    };
}

/// Makes the table and fills it from the items. The column counts changes of items that were there, after which what
/// filters have found may be another.
pub(super) const CREATE: &str = concat!(
    "ALTER TABLE catalog ADD COLUMN edits INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE item_values (
        path TEXT NOT NULL,
        value ANY NOT NULL,
        item INTEGER NOT NULL,
        PRIMARY KEY (path, value, item)
    ) STRICT, WITHOUT ROWID;
    INSERT OR IGNORE INTO item_values ",
    values_of!("ORDER BY 1, 2, 3;")
);

/// Lets statements of this connection compute the paths of values. No table may use it: the schema is not trusted.
pub(super) fn define(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("value_path", 1, flags, |row| Ok(value_path(row.get_raw(0).as_str()?)))
}

/// The keys on the way to a value, from its place in SQLite's words, as `$.parts[0]."full name"`; none for what lies in a
/// list of lists.
fn value_path(place: &str) -> Option<String> {
    let (mut keys, mut rest, mut in_list) = (Vec::new(), place.strip_prefix('$')?, false);
    while !rest.is_empty() {
        if let Some(number) = rest.strip_prefix('[') {
            if in_list {
                return None;
            }
            (in_list, rest) = (true, number.split_once(']')?.1);
            continue;
        }
        in_list = false;
        rest = rest.strip_prefix('.')?;
        if rest.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            keys.push(strings.next()?.ok()?);
            rest = &rest[strings.byte_offset()..];
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            keys.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    Some(path(&keys))
}

fn path(keys: &[String]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| Value::from(key.as_str()).to_string()).collect();
    quoted.join(".")
}

/// Indexes the values of items that were made or changed, a list in JSON; those that changed were forgotten before.
pub(super) fn index_values(connection: &Connection, items: &str) -> rusqlite::Result<()> {
    let index = concat!(
        "INSERT OR IGNORE INTO item_values ",
        values_of!("AND items.item IN (SELECT value FROM json_each(?)) ORDER BY 1, 2, 3")
    );
    connection.prepare_cached(index)?.execute([items]).map(drop)
}

/// Forgets the values of an item that is about to be changed or removed.
pub(super) fn forget_values(connection: &Connection, item: i64) -> rusqlite::Result<()> {
    // Metadata that is damaged does not tell which they are.
    if connection.prepare_cached("SELECT 1 FROM items WHERE item = ? AND NOT json_valid(metadata)")?.exists([item])? {
        connection.prepare_cached("DELETE FROM item_values WHERE item = ?")?.execute([item])?;
    }
    connection
        .prepare_cached(concat!(
            "DELETE FROM item_values WHERE item = ?1 AND (path, value) IN (SELECT path, value FROM (",
            values_of!("AND items.item = ?1"),
            "))"
        ))?
        .execute([item])?;
    connection.prepare_cached("UPDATE catalog SET edits = edits + 1")?.execute([]).map(drop)
}

/// Makes the index anew.
pub(super) fn rebuild_values(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM item_values", [])?;
    connection.execute(concat!("INSERT OR IGNORE INTO item_values ", values_of!("ORDER BY 1, 2, 3")), []).map(drop)
}

/// Calls `told` with the id of each item whose values are not indexed as they are stored, and with none for an index that
/// has others.
pub(super) fn check_values(connection: &Connection, mut told: impl FnMut(Option<String>)) -> rusqlite::Result<()> {
    if !has_values(connection)? {
        return Ok(());
    }
    const STORED: &str = concat!("SELECT path, value, item FROM (", values_of!(""), ") WHERE path IS NOT NULL");
    const INDEXED: &str = "SELECT path, value, item FROM item_values";
    let lacking = format!(
        "SELECT CAST(id AS BLOB) FROM items WHERE item IN (SELECT item FROM ({STORED} EXCEPT {INDEXED})) ORDER BY item"
    );
    let mut statement = connection.prepare(&lacking)?;
    for id in statement.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        told(Some(String::from_utf8_lossy(&id?).into_owned()));
    }
    if connection.prepare(&format!("{INDEXED} EXCEPT {STORED}"))?.exists([])? {
        told(None);
    }
    Ok(())
}

/// Whether the catalog has the index: one of an older format, which is only read, has it not.
pub(super) fn has_values(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'item_values'")?.exists([])
}

/// How often items that were there have changed, and the row of the last item; none without the index.
pub(super) fn edits(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    if !has_values(connection)? {
        return Ok(None);
    }
    connection
        .prepare_cached("SELECT edits, (SELECT IFNULL(MAX(item), 0) FROM items) FROM catalog")?
        .query_row([], |row| Ok(Some((row.get(0)?, row.get(1)?))))
}

/// The items that fulfil a filter, by the index; none if it is of no use for this filter.
pub(super) fn select(connection: &Connection, filter: &Filter) -> rusqlite::Result<Option<Rows>> {
    if !has_values(connection)? {
        return Ok(None);
    }
    let Some(found) = look_up(connection, filter.condition(), None)? else { return Ok(None) };
    if found.is_exact {
        return Ok(Some(found.items.into_iter().collect()));
    }
    let (condition, mut parameters) = filter_sql::sql(filter);
    let items = Value::from_iter(found.items).to_string();
    parameters.push(Parameter::Text(items));
    // The list comes first: by an index of a condition more items might be read.
    let sql = format!(
        "SELECT items.item FROM json_each(?{}) AS found CROSS JOIN items ON items.item = found.value WHERE {condition}",
        parameters.len()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(&parameters), |row| row.get::<_, i64>(0))?;
    rows.collect::<rusqlite::Result<Rows>>().map(Some)
}

/// Items among which are all that fulfil a condition.
struct Found {
    /// Each once, in order.
    items: Vec<i64>,
    /// Whether all of them fulfil it.
    is_exact: bool,
    /// Whether there are more than were to be looked up.
    is_cut: bool,
}

/// Looks up the items of a condition, up to about `limit` of them; none if the index does not tell.
fn look_up(connection: &Connection, condition: &Condition, limit: Option<usize>) -> rusqlite::Result<Option<Found>> {
    match condition {
        Condition::Is(Field::Metadata(keys), test) => {
            let Some((wanted, is_exact)) = wanted(test) else { return Ok(None) };
            let sql = format!("SELECT item FROM item_values WHERE path = ?1 AND ({})", wanted.sql);
            let parameters = [vec![Parameter::Text(path(keys))], wanted.parameters].concat();
            run(connection, &sql, &parameters, limit, is_exact).map(Some)
        }
        Condition::Is(Field::Column(_), Test::In(_)) => {
            let mut parameters = Vec::new();
            let sql = format!("SELECT item FROM items WHERE {}", filter_sql::condition(condition, &mut parameters));
            run(connection, &sql, &parameters, limit, true).map(Some)
        }
        Condition::Is(..) | Condition::Not(_) => Ok(None),
        Condition::Any(any) => {
            let mut all = Found { items: Vec::new(), is_exact: true, is_cut: false };
            for condition in any {
                let Some(found) = look_up(connection, condition, limit)? else { return Ok(None) };
                all.items.extend(found.items);
                all.is_exact &= found.is_exact;
                all.is_cut |= found.is_cut;
            }
            all.items.sort_unstable();
            all.items.dedup();
            Ok(Some(all))
        }
        Condition::All(all) => look_up_all(connection, all, limit),
    }
}

/// Few items of one condition are enough: the others are tested on them. Many of each are intersected.
fn look_up_all(connection: &Connection, all: &[Condition], limit: Option<usize>) -> rusqlite::Result<Option<Found>> {
    if let [one] = all {
        return look_up(connection, one, limit);
    }
    let mut is_told = true;
    for condition in all {
        match look_up(connection, condition, Some(TESTED))? {
            Some(found) if !found.is_cut => return Ok(Some(Found { is_exact: false, ..found })),
            Some(_) => {}
            None => is_told = false,
        }
    }
    let mut common: Option<Found> = None;
    for condition in all {
        let Some(found) = look_up(connection, condition, limit)? else { continue };
        common = Some(match common {
            None => found,
            Some(before) => Found {
                items: before.items.into_iter().filter(|item| found.items.binary_search(item).is_ok()).collect(),
                is_exact: before.is_exact && found.is_exact,
                is_cut: before.is_cut || found.is_cut,
            },
        });
    }
    Ok(common.map(|found| Found { is_exact: found.is_exact && is_told, ..found }))
}

fn run(
    connection: &Connection,
    sql: &str,
    parameters: &[Parameter],
    limit: Option<usize>,
    is_exact: bool,
) -> rusqlite::Result<Found> {
    let limit = limit.map_or(-1, |limit| limit as i64 + 1);
    let mut statement = connection.prepare_cached(&format!("{sql} LIMIT {limit}"))?;
    let rows = statement.query_map(params_from_iter(parameters), |row| row.get::<_, i64>(0))?;
    let mut items = rows.collect::<rusqlite::Result<Vec<i64>>>()?;
    let is_cut = items.len() as i64 == limit;
    items.sort_unstable();
    items.dedup();
    Ok(Found { items, is_exact, is_cut })
}

/// A condition on `value`, with its parameters from `?2` on.
struct Wanted {
    sql: String,
    parameters: Vec<Parameter>,
}

impl Wanted {
    fn bind(&mut self, scalar: &Scalar) -> String {
        let parameter = match scalar {
            Scalar::Null => return "x''".to_owned(),
            Scalar::Bool(value) => return if *value { "x'01'" } else { "x'00'" }.to_owned(),
            Scalar::Integer(number) => Parameter::Integer(*number),
            Scalar::Real(number) => Parameter::Real(*number),
            Scalar::Text(text) => Parameter::Text(text.chars().take(KEPT).collect()),
        };
        self.parameters.push(parameter);
        format!("?{}", self.parameters.len() + 1)
    }
}

/// What a test wants of a value, and whether that is all that it wants; none if values do not tell.
fn wanted(test: &Test) -> Option<(Wanted, bool)> {
    let mut wanted = Wanted { sql: String::new(), parameters: Vec::new() };
    let (mut is_exact, mut scalars) = (true, Vec::new());
    match test {
        Test::In(all) => scalars.extend(all.iter().cloned()),
        Test::Contains(scalar) if !matches!(scalar, Scalar::Text(_)) => scalars.push(scalar.clone()),
        Test::List(list) => {
            scalars = list.first()?.instants();
            is_exact = false;
        }
        Test::Order(sign, scalar, others) => {
            // Numbers come before texts, and these before bytes.
            let (from, to) = match scalar {
                Scalar::Text(_) => ("value >= ''", "value < x''"),
                _ => ("value < ''", "value < ''"),
            };
            let bound = wanted.bind(scalar);
            // Beginnings of long strings may be equal where the strings are not.
            let other: Vec<String> = others.iter().map(|other| wanted.bind(other)).collect();
            wanted.sql = match *sign {
                "<" | "<=" => format!("value {sign} {bound} AND {from}"),
                _ => format!("value {sign} {bound} AND {to}"),
            };
            if !other.is_empty() {
                wanted.sql = format!("{} OR value IN ({})", wanted.sql, other.join(", "));
                is_exact = false;
            }
            scalars.push(scalar.clone());
        }
        Test::Contains(_) | Test::Size(_) | Test::Exists => return None,
    }
    if scalars.is_empty() || scalars.len() > MOST_VALUES {
        return None;
    }
    let is_long = |scalar: &Scalar| matches!(scalar, Scalar::Text(text) if text.chars().count() >= KEPT);
    let has_long = scalars.iter().any(is_long);
    if wanted.sql.is_empty() {
        let values: Vec<String> = scalars.iter().map(|scalar| wanted.bind(scalar)).collect();
        wanted.sql = format!("value IN ({})", values.join(", "));
    } else if has_long {
        return None;
    }
    Some((wanted, is_exact && !has_long))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_becomes_a_path() {
        for (place, expected) in [
            ("$.a", Some(r#""a""#)),
            (r#"$."b c"[2]"#, Some(r#""b c""#)),
            (r#"$.parts[0]."say \"x.y\"".z[1]"#, Some(r#""parts"."say \"x.y\""."z""#)),
            ("$.a[0][1]", None),
        ] {
            assert_eq!(value_path(place).as_deref(), expected, "{place}");
        }
    }
}
