//! Which items a search may return: the `where=` grammar, and the set of rows that it selects.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// How deep `$and`, `$or` and `$not` may be nested.
const MAX_DEPTH: usize = 32;
/// How many comparisons one filter may hold; the values of one `$in` count as one.
const MAX_CONDITIONS: usize = 200;

/// A condition on items, as `{"label": "bear", "price": {"$lt": 20}}`.
///
/// Each key names a field: `id`, `label`, `text`, or else a key of the item's metadata, where dots lead into nested
/// objects (`"size.height"`). Its value is what the field must equal, or an object of operators which must all hold:
/// `$eq $ne $lt $lte $gt $gte $in $nin $exists $not`. Several keys must all hold; `$and`, `$or` and `$not` combine
/// whole conditions.
///
/// A comparison holds only between two strings, two numbers, two booleans or two nulls. A missing field therefore
/// fulfils no `$eq`, `$lt` or `$in`, and does fulfil `$ne`, `$nin` and `$not`. A missing label or text counts as null.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Condition);

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Is(Field, Test),
}

#[derive(Debug, Clone, PartialEq)]
enum Field {
    /// A column of the table of items.
    Column(&'static str),
    /// A path into the metadata, in SQLite's JSON path syntax.
    Metadata(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    In(Vec<Scalar>),
    Order(&'static str, Scalar),
    Exists,
}

#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    Real(f64),
    Text(String),
}

/// A value to bind to a `?` of the SQL that a filter becomes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parameter {
    Integer(i64),
    Real(f64),
    Text(String),
}

impl Filter {
    /// Reads a filter from JSON.
    ///
    /// # Errors
    /// [`Error::Argument`] that names the key and operator it does not understand.
    pub fn parse(value: &Value) -> Result<Self> {
        let mut left = MAX_CONDITIONS;
        parse_condition(value, 0, &mut left).map(Self)
    }

    /// The filter as an SQL expression over the table `items`, and the values for its `?`s in order.
    pub(crate) fn sql(&self) -> (String, Vec<Parameter>) {
        let (mut sql, mut parameters) = (String::new(), Vec::new());
        self.0.write(&mut sql, &mut parameters);
        (sql, parameters)
    }
}

fn parse_condition(value: &Value, depth: usize, left: &mut usize) -> Result<Condition> {
    let Value::Object(keys) = value else {
        return Err(Error::argument(format!(
            "a filter is an object such as {{\"label\": \"bear\"}}, not {}",
            kind(value)
        )));
    };
    if depth > MAX_DEPTH {
        return Err(Error::argument(format!("filter: conditions are nested more than {MAX_DEPTH} deep")));
    }
    let mut all = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        all.push(match key.as_str() {
            "$and" => Condition::All(parse_list(key, value, depth, left)?),
            "$or" => Condition::Any(parse_list(key, value, depth, left)?),
            "$not" => Condition::Not(Box::new(parse_condition(value, depth + 1, left)?)),
            operator if operator.starts_with('$') => {
                return Err(Error::argument(format!(
                    "filter: {operator} cannot stand here; around fields use $and, $or or $not"
                )));
            }
            _ => parse_field(key, value, depth, left)?,
        });
    }
    Ok(Condition::All(all))
}

fn parse_list(operator: &str, value: &Value, depth: usize, left: &mut usize) -> Result<Vec<Condition>> {
    match value {
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|value| parse_condition(value, depth + 1, left)).collect()
        }
        _ => Err(Error::argument(format!("filter: {operator} takes a list of at least one condition"))),
    }
}

fn parse_field(key: &str, value: &Value, depth: usize, left: &mut usize) -> Result<Condition> {
    let field = Field::parse(key)?;
    match value {
        Value::Object(tests) => parse_tests(key, &field, tests, depth, left),
        _ => parse_test(key, &field, "$eq", value, depth, left),
    }
}

fn parse_tests(
    key: &str,
    field: &Field,
    tests: &Map<String, Value>,
    depth: usize,
    left: &mut usize,
) -> Result<Condition> {
    if tests.is_empty() {
        return Err(Error::argument(format!("filter: {key:?} has no operator; try {{\"$exists\": true}}")));
    }
    let parse = |(operator, value): (&String, &Value)| parse_test(key, field, operator, value, depth, left);
    tests.iter().map(parse).collect::<Result<_>>().map(Condition::All)
}

fn parse_test(
    key: &str,
    field: &Field,
    operator: &str,
    value: &Value,
    depth: usize,
    left: &mut usize,
) -> Result<Condition> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| Error::argument(format!("filter: more than {MAX_CONDITIONS} comparisons; use $in for lists")))?;
    let is = |test| Condition::Is(field.clone(), test);
    let not = |condition| Condition::Not(Box::new(condition));
    let scalar = |value| Scalar::parse(key, operator, value);
    let order = |sign| match scalar(value)? {
        Scalar::Null | Scalar::Bool(_) => {
            Err(Error::argument(format!("filter: {operator} of {key:?} takes a number or a string, not {value}")))
        }
        scalar => Ok(is(Test::Order(sign, scalar))),
    };
    let list = || match value {
        Value::Array(values) => values.iter().map(scalar).collect::<Result<_>>().map(Test::In),
        _ => Err(Error::argument(format!("filter: {operator} of {key:?} takes a list, not {}", kind(value)))),
    };
    Ok(match operator {
        "$eq" => is(Test::In(vec![scalar(value)?])),
        "$ne" => not(is(Test::In(vec![scalar(value)?]))),
        "$lt" => order("<")?,
        "$lte" => order("<=")?,
        "$gt" => order(">")?,
        "$gte" => order(">=")?,
        "$in" => is(list()?),
        "$nin" => not(is(list()?)),
        "$exists" => match value {
            Value::Bool(true) => is(Test::Exists),
            Value::Bool(false) => not(is(Test::Exists)),
            _ => {
                return Err(Error::argument(format!(
                    "filter: $exists of {key:?} takes true or false, not {}",
                    kind(value)
                )));
            }
        },
        "$not" => {
            let Value::Object(tests) = value else {
                return Err(Error::argument(format!(
                    "filter: $not of {key:?} takes an object of operators, not {}; for one value use $ne",
                    kind(value)
                )));
            };
            if depth >= MAX_DEPTH {
                return Err(Error::argument(format!("filter: conditions are nested more than {MAX_DEPTH} deep")));
            }
            not(parse_tests(key, field, tests, depth + 1, left)?)
        }
        _ => {
            let hint = if operator.starts_with('$') {
                "operators are $eq $ne $lt $lte $gt $gte $in $nin $exists $not".to_owned()
            } else {
                format!("for a nested key write \"{key}.{operator}\"")
            };
            return Err(Error::argument(format!("filter: unknown operator {operator:?} of {key:?}; {hint}")));
        }
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl Field {
    fn parse(key: &str) -> Result<Self> {
        Ok(match key {
            "id" => Self::Column("id"),
            "label" => Self::Column("label"),
            "text" => Self::Column("text"),
            _ if key.split('.').any(str::is_empty) || key.contains('\0') => {
                return Err(Error::argument(format!("filter: {key:?} is no key; dots separate the keys of a path")));
            }
            _ => {
                let mut path = String::from("$");
                for part in key.split('.') {
                    path.push('.');
                    // A key in JSON's own quoting is what SQLite expects between the dots of a path.
                    path.push_str(&Value::from(part).to_string());
                }
                Self::Metadata(path)
            }
        })
    }
}

impl Scalar {
    fn parse(key: &str, operator: &str, value: &Value) -> Result<Self> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => match value.as_i64() {
                Some(value) => Self::Integer(value),
                None => Self::Real(value.as_f64().unwrap_or(f64::MAX)),
            },
            Value::String(value) => Self::Text(value.clone()),
            Value::Array(_) | Value::Object(_) => {
                return Err(Error::argument(format!(
                    "filter: {operator} of {key:?} compares with a string, number, boolean or null, not {}",
                    kind(value)
                )));
            }
        })
    }
}

impl Condition {
    /// Writes an expression that is 0 or 1, never NULL, so that `NOT` means what it says.
    fn write(&self, sql: &mut String, parameters: &mut Vec<Parameter>) {
        match self {
            Self::All(all) => write_joined(all, "AND", "1", sql, parameters),
            Self::Any(any) => write_joined(any, "OR", "0", sql, parameters),
            Self::Not(condition) => {
                sql.push_str("NOT ");
                condition.write(sql, parameters);
            }
            Self::Is(field, Test::Exists) => match field {
                Field::Column(name) => sql.push_str(&format!("(items.{name} IS NOT NULL)")),
                Field::Metadata(path) => {
                    sql.push_str("(json_type(items.metadata, ?) IS NOT NULL)");
                    parameters.push(Parameter::Text(path.clone()));
                }
            },
            Self::Is(field, Test::Order(sign, scalar)) => field.write(scalar, sign, sql, parameters),
            Self::Is(field, Test::In(values)) => field.write_in(values, sql, parameters),
        }
    }
}

fn write_joined(list: &[Condition], word: &str, empty: &str, sql: &mut String, parameters: &mut Vec<Parameter>) {
    sql.push('(');
    for (i, condition) in list.iter().enumerate() {
        if i > 0 {
            sql.push_str(&format!(" {word} "));
        }
        condition.write(sql, parameters);
    }
    if list.is_empty() {
        sql.push_str(empty);
    }
    sql.push(')');
}

impl Field {
    fn write(&self, scalar: &Scalar, sign: &str, sql: &mut String, parameters: &mut Vec<Parameter>) {
        let (kinds, parameter) = match scalar {
            Scalar::Null => ("'null'", None),
            Scalar::Bool(true) => ("'true'", None),
            Scalar::Bool(false) => ("'false'", None),
            Scalar::Integer(value) => ("'integer', 'real'", Some(Parameter::Integer(*value))),
            Scalar::Real(value) => ("'integer', 'real'", Some(Parameter::Real(*value))),
            Scalar::Text(value) => ("'text'", Some(Parameter::Text(value.clone()))),
        };
        match (self, parameter) {
            (Self::Column(name), Some(text @ Parameter::Text(_))) => {
                sql.push_str(&format!("(items.{name} IS NOT NULL AND items.{name} {sign} ?)"));
                parameters.push(text);
            }
            (Self::Column(name), None) if *scalar == Scalar::Null => {
                sql.push_str(&format!("(items.{name} IS NULL)"));
            }
            (Self::Column(_), _) => sql.push('0'),
            (Self::Metadata(path), None) => {
                sql.push_str(&format!("(json_type(items.metadata, ?) IS {kinds})"));
                parameters.push(Parameter::Text(path.clone()));
            }
            (Self::Metadata(path), Some(parameter)) => {
                sql.push_str(&format!(
                    "(IFNULL(json_type(items.metadata, ?), '') IN ({kinds}) AND json_extract(items.metadata, ?) {sign} ?)"
                ));
                parameters.extend([Parameter::Text(path.clone()), Parameter::Text(path.clone()), parameter]);
            }
        }
    }

    /// One look-up for all the strings of the list, one for all its numbers, and one comparison for each other value.
    fn write_in(&self, values: &[Scalar], sql: &mut String, parameters: &mut Vec<Parameter>) {
        let (mut texts, mut numbers, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for value in values {
            match value {
                Scalar::Text(_) => texts.push(value),
                Scalar::Integer(_) | Scalar::Real(_) => numbers.push(value),
                _ if others.contains(&value) => {}
                _ => others.push(value),
            }
        }
        sql.push('(');
        for (list, kinds) in [(texts, "'text'"), (numbers, "'integer', 'real'")] {
            match list[..] {
                [] => continue,
                [value] => self.write(value, "=", sql, parameters),
                _ => self.write_look_up(&list, kinds, sql, parameters),
            }
            sql.push_str(" OR ");
        }
        for value in others {
            self.write(value, "=", sql, parameters);
            sql.push_str(" OR ");
        }
        sql.push_str("0)");
    }

    fn write_look_up(&self, list: &[&Scalar], kinds: &str, sql: &mut String, parameters: &mut Vec<Parameter>) {
        match self {
            Self::Column(_) if kinds != "'text'" => return sql.push('0'),
            Self::Column(name) => sql
                .push_str(&format!("(items.{name} IS NOT NULL AND items.{name} IN (SELECT value FROM json_each(?)))")),
            Self::Metadata(path) => {
                sql.push_str(&format!(
                    "(IFNULL(json_type(items.metadata, ?), '') IN ({kinds}) AND \
                     json_extract(items.metadata, ?) IN (SELECT value FROM json_each(?)))"
                ));
                parameters.extend([Parameter::Text(path.clone()), Parameter::Text(path.clone())]);
            }
        }
        let list = list.iter().filter_map(|scalar| scalar.json());
        parameters.push(Parameter::Text(Value::from_iter(list).to_string()));
    }
}

impl Scalar {
    /// The value in JSON; a string with NUL, which SQLite would cut there and no item can have, is none.
    fn json(&self) -> Option<Value> {
        match self {
            Self::Text(text) => (!text.contains('\0')).then(|| Value::from(text.as_str())),
            Self::Integer(value) => Some(Value::from(*value)),
            Self::Real(value) => Some(Value::from(*value)),
            Self::Bool(value) => Some(Value::from(*value)),
            Self::Null => Some(Value::Null),
        }
    }
}

/// A set of row numbers: one bit each where they lie close together, as those of a catalog do, else hashed.
#[derive(Debug, Clone)]
pub struct Rows(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Dense { first: i64, bits: Vec<u64>, len: usize },
    Sparse(HashSet<i64>),
}

impl Rows {
    /// Whether `row` is in the set.
    pub fn contains(&self, row: i64) -> bool {
        match &self.0 {
            Kind::Dense { first, bits, .. } => {
                let offset = row.wrapping_sub(*first) as u64;
                bits.get((offset / 64) as usize).is_some_and(|word| word >> (offset % 64) & 1 == 1)
            }
            Kind::Sparse(rows) => rows.contains(&row),
        }
    }

    /// How many rows are in the set.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Dense { len, .. } => *len,
            Kind::Sparse(rows) => rows.len(),
        }
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<i64> for Rows {
    fn from_iter<I: IntoIterator<Item = i64>>(rows: I) -> Self {
        let rows: Vec<i64> = rows.into_iter().collect();
        let (first, last) = rows.iter().fold((i64::MAX, i64::MIN), |(a, b), &row| (a.min(row), b.max(row)));
        let span = (i128::from(last) - i128::from(first) + 1).max(0);
        // A hash set spends more than 64 bits on a row.
        if span > 64 * (rows.len() as i128) + 64 {
            return Self(Kind::Sparse(rows.into_iter().collect()));
        }
        let mut bits = vec![0_u64; (span as usize).div_ceil(64)];
        for row in rows {
            let offset = (row - first) as usize;
            bits[offset / 64] |= 1 << (offset % 64);
        }
        let len = bits.iter().map(|word| word.count_ones() as usize).sum();
        Self(Kind::Dense { first, bits, len })
    }
}
