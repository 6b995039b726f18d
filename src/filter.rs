//! Reads conditions on items: the grammar of `where=`.

use serde_json::{Map, Value};

use crate::error::{Error, Result, short};
use crate::words;

/// How deep `$and`, `$or` and `$not` may be nested.
const MAX_DEPTH: usize = 32;
/// How many comparisons one filter may hold; the values of one `$in` count as one.
const MAX_CONDITIONS: usize = 200;

const OPERATORS: &str = "$eq $ne $lt $lte $gt $gte $in $nin $contains $not_contains $all $size $exists $not";

/// A condition on items, as `{"label": "bear", "price": {"$lt": 20}}`.
///
/// Each key names a field: `id`, `label`, `text`, or else a key of the item's metadata, where dots lead into nested
/// objects (`"size.height"`). Its value is what the field must equal, or an object of operators which must all hold:
/// `$eq $ne $lt $lte $gt $gte $in $nin $contains $not_contains $all $size $exists $not`. Several keys must all hold;
/// `$and`, `$or` and `$not` combine whole conditions. `{"$key": {"label": "x", "a.b": 3}}` asks for keys of the metadata
/// that are spelled so.
///
/// A comparison holds only between two strings, two numbers, two booleans or two nulls. A missing field therefore
/// fulfils no `$eq`, `$lt` or `$in`, and does fulfil `$ne`, `$nin` and `$not`. A missing label or text counts as null.
/// An id, a label or a text equals a whole number if it is its digits.
///
/// In metadata, a date equals its midnight without a time zone (`2026-01-02`, `2026-01-02T00:00:00`), and `Z` is
/// `+00:00` at the end of an instant; they are ordered so, too.
///
/// Of a list, a comparison holds if it holds for a member: `{"tags": "red"}` finds `["red", "scarf"]`, and `$ne`, `$nin`
/// and `$not_contains` are the exact opposites. Equality with a list means the whole list, in its order. `$all` takes
/// values that must all be members, `$size` the number of members, and `$contains` a member or, of a string, a part of
/// it. Lists in lists are not looked into. A path goes through lists of objects: `"parts.color"` is the color of any part.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Condition);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Is(Field, Test),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    /// A column of the table of items.
    Column(&'static str),
    /// The keys of a path into the metadata.
    Metadata(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    In(Vec<Scalar>),
    /// The smallest spelling of what it compares with, and the other ones.
    Order(&'static str, Scalar, Vec<Scalar>),
    /// The whole list, member by member.
    List(Vec<Scalar>),
    Contains(Scalar),
    Size(i64),
    Exists,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
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

    /// The keys of the metadata that it names, as they are written, each with a filter for the items that have it.
    pub fn keys(&self) -> Vec<(String, Self)> {
        let mut keys = Vec::new();
        self.0.visit(&mut |field| {
            if let Field::Metadata(path) = field {
                let key = path.join(".");
                if keys.iter().all(|(known, _)| *known != key) {
                    keys.push((key, Self(Condition::Is(field.clone(), Test::Exists))));
                }
            }
        });
        keys
    }

    /// The condition that it is.
    pub(crate) fn condition(&self) -> &Condition {
        &self.0
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
    // Empty ones count, too: they become SQL like others.
    if keys.is_empty() && depth > 0 {
        count(left)?;
    }
    let mut all = Vec::with_capacity(keys.len());
    for (key, value) in keys {
        all.push(match key.as_str() {
            "$and" => Condition::All(parse_list(key, value, depth, left)?),
            "$or" => Condition::Any(parse_list(key, value, depth, left)?),
            "$not" => Condition::Not(Box::new(parse_condition(value, depth + 1, left)?)),
            "$key" => parse_keys(value, depth, left)?,
            operator if operator.starts_with('$') => {
                return Err(Error::argument(format!(
                    "filter: {} cannot stand here; around fields use $and, $or, $not or $key",
                    short(operator)
                )));
            }
            _ => parse_field(key, value, depth, left)?,
        });
    }
    Ok(Condition::All(all))
}

fn count(left: &mut usize) -> Result<()> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| Error::argument(format!("filter: more than {MAX_CONDITIONS} comparisons; use $in for lists")))?;
    Ok(())
}

fn parse_list(operator: &str, value: &Value, depth: usize, left: &mut usize) -> Result<Vec<Condition>> {
    match value {
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|value| parse_condition(value, depth + 1, left)).collect()
        }
        _ => Err(Error::argument(format!("filter: {operator} takes a list of at least one condition"))),
    }
}

/// Reads conditions on keys of the metadata that are taken as they are: `label` is no column, and dots lead nowhere.
fn parse_keys(value: &Value, depth: usize, left: &mut usize) -> Result<Condition> {
    let Value::Object(keys) = value else {
        return Err(Error::argument(format!(
            "filter: $key takes an object of keys and conditions, such as {{\"a.b\": 3}}, not {}",
            kind(value)
        )));
    };
    let field = |(key, value): (&String, &Value)| match key.contains('\0') {
        true => Err(Error::argument(format!("filter: {key:?} is no key; leave out the character of value 0"))),
        false => parse_on(key, &Field::Metadata(vec![words::composed(key).into_owned()]), value, depth, left),
    };
    keys.iter().map(field).collect::<Result<_>>().map(Condition::All)
}

fn parse_field(key: &str, value: &Value, depth: usize, left: &mut usize) -> Result<Condition> {
    parse_on(key, &Field::parse(key)?, value, depth, left)
}

fn parse_on(key: &str, field: &Field, value: &Value, depth: usize, left: &mut usize) -> Result<Condition> {
    match value {
        Value::Object(tests) => parse_tests(key, field, tests, depth, left),
        _ => parse_test(key, field, "$eq", value, depth, left),
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
    count(left)?;
    let is = |test| Condition::Is(field.clone(), test);
    let not = |condition| Condition::Not(Box::new(condition));
    let scalar = |value| Scalar::parse(key, operator, value);
    let text = |value| scalar(value).map(|scalar| field.spellings(scalar));
    let order = |sign| match scalar(value)? {
        Scalar::Null | Scalar::Bool(_) => {
            Err(Error::argument(format!("filter: {operator} of {key:?} takes a number or a string, not {value}")))
        }
        scalar => {
            let mut spellings = field.instants(scalar.composed()).into_iter();
            let smallest = spellings.next().expect("a value has a spelling");
            Ok(is(Test::Order(sign, smallest, spellings.collect())))
        }
    };
    let values = || match value {
        Value::Array(values) => Ok(values),
        _ => Err(Error::argument(format!("filter: {operator} of {key:?} takes a list, not {}", kind(value)))),
    };
    let list = || Ok::<_, Error>(Test::In(values()?.iter().map(text).collect::<Result<Vec<_>>>()?.concat()));
    let equal = |left: &mut usize| match (value, field) {
        (Value::Array(_), Field::Column(_)) => Err(Error::argument(format!(
            "filter: {operator} of {key:?} compares with a text, not a list; for one of several use $in"
        ))),
        (Value::Array(values), _) => {
            values.iter().try_for_each(|_| count(left))?;
            values.iter().map(|value| scalar(value).map(Scalar::composed)).collect::<Result<_>>().map(Test::List)
        }
        _ => text(value).map(Test::In),
    };
    let contains = || scalar(value).map(|scalar| is(Test::Contains(scalar.composed())));
    Ok(match operator {
        "$eq" => is(equal(left)?),
        "$ne" => not(is(equal(left)?)),
        "$lt" => order("<")?,
        "$lte" => order("<=")?,
        "$gt" => order(">")?,
        "$gte" => order(">=")?,
        "$in" => is(list()?),
        "$nin" => not(is(list()?)),
        "$contains" => contains()?,
        "$not_contains" => not(contains()?),
        "$all" => {
            let values = values()?;
            values.iter().try_for_each(|_| count(left))?;
            let member = |value| text(value).map(|scalars| is(Test::In(scalars)));
            match values.is_empty() {
                // As in MongoDB: all of nothing asks for nothing that an item could have.
                true => Condition::Any(Vec::new()),
                false => Condition::All(values.iter().map(member).collect::<Result<_>>()?),
            }
        }
        "$size" => match value.as_i64().filter(|size| *size >= 0) {
            Some(size) => is(Test::Size(size)),
            None => {
                return Err(Error::argument(format!(
                    "filter: $size of {key:?} takes a number of members, not {value}"
                )));
            }
        },
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
                format!("operators are {OPERATORS}")
            } else {
                "for a nested key write the keys with dots between them, as \"size.height\"".to_owned()
            };
            let (operator, key) = (short(operator), short(key));
            return Err(Error::argument(format!("filter: unknown operator {operator} of {key}; {hint}")));
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

impl Condition {
    /// Calls `see` with each field that it names.
    fn visit(&self, see: &mut impl FnMut(&Field)) {
        match self {
            Self::All(all) | Self::Any(all) => all.iter().for_each(|condition| condition.visit(see)),
            Self::Not(condition) => condition.visit(see),
            Self::Is(field, _) => see(field),
        }
    }
}

impl Field {
    /// Reads a key.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is no path.
    pub(crate) fn parse(key: &str) -> Result<Self> {
        Ok(match key {
            "id" => Self::Column("id"),
            "label" => Self::Column("label"),
            "text" => Self::Column("text"),
            _ if key.split('.').any(str::is_empty) || key.contains('\0') => {
                return Err(Error::argument(format!("filter: {key:?} is no key; dots separate the keys of a path")));
            }
            _ => {
                let path: Vec<String> = words::composed(key).split('.').map(str::to_owned).collect();
                if path.len() > MAX_DEPTH {
                    return Err(Error::argument(format!("filter: a key of more than {MAX_DEPTH} parts")));
                }
                Self::Metadata(path)
            }
        })
    }

    /// The scalar, and its composed form if that is another: older catalogs have both. A date or an instant in each of
    /// its spellings, and a whole number that a column can only have as its digits.
    fn spellings(&self, scalar: Scalar) -> Vec<Scalar> {
        let scalar = match (self, scalar) {
            (Self::Column(_), Scalar::Integer(number)) => Scalar::Text(number.to_string()),
            (_, scalar) => scalar,
        };
        let composed = scalar.clone().composed();
        if composed == scalar { self.instants(scalar) } else { vec![scalar, composed] }
    }

    /// The spellings of a date or an instant in metadata, the smallest one first; anything else is its only one.
    fn instants(&self, scalar: Scalar) -> Vec<Scalar> {
        match self {
            Self::Column(_) => vec![scalar],
            Self::Metadata(_) => scalar.instants(),
        }
    }
}

/// Both spellings of a date, which is its midnight without a time zone, or of an instant in UTC.
fn instants(text: &str) -> Option<[String; 2]> {
    const MIDNIGHT: &str = "T00:00:00";
    let form = |text: &str, form: &str| {
        let fits = |(byte, wanted)| if wanted == b'0' { u8::is_ascii_digit(&byte) } else { byte == wanted };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
    };
    let date = text.strip_suffix(MIDNIGHT).unwrap_or(text);
    if form(date, "0000-00-00") {
        return Some([date.to_owned(), format!("{date}{MIDNIGHT}")]);
    }
    let instant = text.strip_suffix("+00:00").or_else(|| text.strip_suffix('Z'))?;
    let (seconds, digits) = instant.split_once('.').unwrap_or((instant, "0"));
    let is_instant = form(seconds, "0000-00-00T00:00:00")
        && !digits.is_empty()
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_instant.then(|| [format!("{instant}+00:00"), format!("{instant}Z")])
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

impl Scalar {
    /// Texts are kept in composed form (NFC).
    fn composed(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(words::composed(&text).into_owned()),
            scalar => scalar,
        }
    }

    /// Its spellings as a value of metadata, the smallest one first.
    pub(crate) fn instants(&self) -> Vec<Self> {
        match self {
            Self::Text(text) => instants(text).map_or_else(|| vec![self.clone()], |texts| texts.map(Self::Text).into()),
            scalar => vec![scalar.clone()],
        }
    }
}
