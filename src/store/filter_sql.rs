//! Writes filters as SQL.

use rusqlite::types::{ToSql, ToSqlOutput, Value as SqlValue, ValueRef};
use serde_json::Value;

use crate::filter::{Condition, Field, Filter, Scalar, Test};

/// A value to bind to a `?` of the SQL that a filter becomes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parameter {
    Integer(i64),
    Real(f64),
    Text(String),
}

/// Writes a filter as an SQL expression over the table `items`, and the values for its `?`s in order.
pub(super) fn sql(filter: &Filter) -> (String, Vec<Parameter>) {
    let mut parameters = Vec::new();
    (condition(filter.condition(), &mut parameters), parameters)
}

/// Writes one condition, whose values follow those that are there.
pub(super) fn condition(condition: &Condition, parameters: &mut Vec<Parameter>) -> String {
    let mut sql = String::new();
    write_condition(condition, &mut sql, &mut Binder(parameters));
    sql
}

/// Hands values over to SQLite: each gets a number, by which an expression may name it several times.
struct Binder<'a>(&'a mut Vec<Parameter>);

impl Binder<'_> {
    fn bind(&mut self, parameter: Parameter) -> String {
        self.0.push(parameter);
        format!("?{}", self.0.len())
    }

    /// A path in SQLite's syntax: a key in JSON's own quoting is what that expects between the dots.
    fn path(&mut self, keys: &[String]) -> String {
        let quoted: String = keys.iter().map(|key| format!(".{}", Value::from(key.as_str()))).collect();
        self.bind(Parameter::Text(format!("${quoted}")))
    }
}

/// Writes an expression that is 0 or 1, never NULL, so that `NOT` means what it says.
fn write_condition(condition: &Condition, sql: &mut String, binder: &mut Binder<'_>) {
    match condition {
        Condition::All(all) => write_joined(all, "AND", "1", sql, binder),
        Condition::Any(any) => write_joined(any, "OR", "0", sql, binder),
        Condition::Not(condition) => {
            sql.push_str("NOT ");
            write_condition(condition, sql, binder);
        }
        Condition::Is(field, test) => match field {
            Field::Column(name) => test.write_column(name, sql, binder),
            Field::Metadata(keys) => test.write_metadata(keys, sql, binder),
        },
    }
}

fn write_joined(list: &[Condition], word: &str, empty: &str, sql: &mut String, binder: &mut Binder<'_>) {
    sql.push('(');
    for (i, condition) in list.iter().enumerate() {
        if i > 0 {
            sql.push_str(&format!(" {word} "));
        }
        write_condition(condition, sql, binder);
    }
    if list.is_empty() {
        sql.push_str(empty);
    }
    sql.push(')');
}

/// A condition on a value: its JSON types, and how it compares in SQL with the `{}`.
type Wanted = Vec<(&'static str, Option<String>)>;

const NUMBERS: &str = "'integer', 'real'";
const TEXTS: &str = "'text'";

impl Test {
    fn write_column(&self, name: &str, sql: &mut String, binder: &mut Binder<'_>) {
        let column = format!("items.{name}");
        let wanted = match self {
            Self::Exists => return sql.push_str(&format!("({column} IS NOT NULL)")),
            Self::List(_) | Self::Size(_) => return sql.push('0'),
            Self::Contains(Scalar::Text(text)) => vec![contained(text, binder)],
            Self::Order(_, Scalar::Text(_), _) => self.wanted(binder),
            Self::Contains(_) | Self::Order(..) => return sql.push('0'),
            // Others are never equal to a text, and SQLite counts each value that it gets against the `?`s.
            Self::In(scalars) => {
                let fitting = scalars.iter().filter(|scalar| matches!(scalar, Scalar::Text(_) | Scalar::Null));
                Self::In(fitting.cloned().collect()).wanted(binder)
            }
        };
        let terms = wanted.iter().filter_map(|(types, compare)| match (*types, compare) {
            (TEXTS, Some(compare)) => Some(format!("({column} IS NOT NULL AND {})", compare.replace("{}", &column))),
            ("'null'", _) => Some(format!("({column} IS NULL)")),
            _ => None,
        });
        sql.push_str(&any(terms));
    }

    fn write_metadata(&self, keys: &[String], sql: &mut String, binder: &mut Binder<'_>) {
        let path = binder.path(keys);
        let (kind, value) = (format!("json_type(items.metadata, {path})"), format!("items.metadata, {path}"));
        let (own, member) = match self {
            Self::List(list) => {
                let members = list.iter().enumerate().map(|(place, scalar)| {
                    let at = format!("{path} || '[{place}]'");
                    let kind = format!("IFNULL(json_type(items.metadata, {at}), '')");
                    let wanted = Self::In(scalar.instants()).wanted(binder);
                    format!(" AND {}", is_one(&wanted, &kind, &format!("json_extract(items.metadata, {at})")))
                });
                let members: String = members.collect();
                let length = list.len();
                sql.push_str(&format!("({kind} IS 'array' AND json_array_length({value}) = {length}{members})"));
                return;
            }
            Self::Size(size) => {
                sql.push_str(&format!("({kind} IS 'array' AND json_array_length({value}) = {size})"));
                return;
            }
            Self::Exists => {
                let mut terms = vec![format!("{kind} IS NOT NULL")];
                terms.extend(through_lists(keys, "1", binder));
                return sql.push_str(&any(terms));
            }
            Self::Contains(scalar) => {
                let member = Self::In(scalar.instants()).wanted(binder);
                match scalar {
                    Scalar::Text(text) => (vec![contained(text, binder)], member),
                    _ => (Wanted::new(), member),
                }
            }
            Self::In(_) | Self::Order(..) => {
                let wanted = self.wanted(binder);
                (wanted.clone(), wanted)
            }
        };
        let of_member = is_one(&member, "each.type", "each.value");
        let mut cases =
            format!("WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each({value}) AS each WHERE {of_member})");
        for (types, compare) in &own {
            let holds = compare
                .as_ref()
                .map_or("1".to_owned(), |compare| compare.replace("{}", &format!("json_extract({value})")));
            types.split(", ").for_each(|kind| cases.push_str(&format!(" WHEN {kind} THEN {holds}")));
        }
        // A path that ends nowhere may lead through lists; the last step has the values that it leads to.
        let last = keys.len() - 1;
        let listed = is_one(&member, &format!("step{last}.type"), &format!("step{last}.value"));
        let listed =
            through_lists(keys, &listed, binder).map_or("0".to_owned(), |test| format!("{kind} IS NULL AND {test}"));
        sql.push_str(&format!("(CASE {kind} {cases} ELSE {listed} END)"));
    }

    /// The condition on a single value.
    fn wanted(&self, binder: &mut Binder<'_>) -> Wanted {
        let (scalars, sign, others) = match self {
            Self::In(scalars) => (&scalars[..], "=", &[][..]),
            Self::Order(sign, scalar, others) => (std::slice::from_ref(scalar), *sign, &others[..]),
            _ => return Wanted::new(),
        };
        let (mut wanted, mut texts, mut numbers) = (Wanted::new(), Vec::new(), Vec::new());
        for scalar in scalars {
            let kind = match scalar {
                Scalar::Text(_) => {
                    texts.push(scalar);
                    continue;
                }
                Scalar::Integer(_) | Scalar::Real(_) => {
                    numbers.push(scalar);
                    continue;
                }
                Scalar::Null => "'null'",
                Scalar::Bool(true) => "'true'",
                Scalar::Bool(false) => "'false'",
            };
            if wanted.iter().all(|(known, _)| *known != kind) {
                wanted.push((kind, None));
            }
        }
        // One look-up for all the strings of a list, and one for all its numbers.
        for (list, types) in [(texts, TEXTS), (numbers, NUMBERS)] {
            let compare = match &list[..] {
                [] => continue,
                [scalar] => {
                    let mut compare = format!("{{}} {sign} {}", binder.bind(scalar.parameter()));
                    // The other spellings are above the smallest one, but stand for the same.
                    for other in others {
                        match sign {
                            ">" => compare += &format!(" AND {{}} != {}", binder.bind(other.parameter())),
                            "<=" => compare += &format!(" OR {{}} = {}", binder.bind(other.parameter())),
                            _ => {}
                        }
                    }
                    format!("({compare})")
                }
                _ => {
                    let json = Value::from_iter(list.iter().filter_map(|scalar| scalar.json()));
                    format!("{{}} IN (SELECT value FROM json_each({}))", binder.bind(Parameter::Text(json.to_string())))
                }
            };
            wanted.push((types, Some(compare)));
        }
        wanted
    }
}

fn contained(text: &str, binder: &mut Binder<'_>) -> (&'static str, Option<String>) {
    (TEXTS, Some(format!("instr({{}}, {}) > 0", binder.bind(Parameter::Text(text.to_owned())))))
}

fn any(terms: impl IntoIterator<Item = String>) -> String {
    let terms: Vec<String> = terms.into_iter().collect();
    if terms.is_empty() { "0".to_owned() } else { format!("({})", terms.join(" OR ")) }
}

/// Whether a value of the JSON type `kind` is one of those wanted.
fn is_one(wanted: &Wanted, kind: &str, value: &str) -> String {
    any(wanted.iter().map(|(types, compare)| match compare {
        Some(compare) => format!("({kind} IN ({types}) AND {})", compare.replace("{}", value)),
        None => format!("{kind} = {types}"),
    }))
}

/// Whether a path leads, through lists of objects, to a value for which `test` holds. `stepN` is each
/// value of its key N: the members of a list, or the value itself.
fn through_lists(keys: &[String], test: &str, binder: &mut Binder<'_>) -> Option<String> {
    if keys.len() < 2 {
        return None;
    }
    let mut steps = Vec::with_capacity(keys.len());
    for (number, key) in keys.iter().enumerate() {
        let path = binder.path(std::slice::from_ref(key));
        let (document, object) = match number {
            0 => ("items.metadata".to_owned(), "1".to_owned()),
            _ => (format!("step{}.value", number - 1), format!("step{}.type = 'object'", number - 1)),
        };
        // SQLite reads only objects as JSON here: a string would be an error.
        let kind = format!("CASE WHEN {object} THEN json_type({document}, {path}) END");
        steps.push(format!(
            "json_each(CASE {kind} WHEN 'array' THEN {document} -> {path} ELSE \
             IFNULL('[' || (CASE WHEN {object} THEN {document} -> {path} END) || ']', '[]') END) AS step{number}"
        ));
    }
    Some(format!("EXISTS (SELECT 1 FROM {} WHERE {test})", steps.join(", ")))
}

impl Scalar {
    /// The value to compare with in SQL.
    fn parameter(&self) -> Parameter {
        match self {
            Self::Text(text) => Parameter::Text(text.clone()),
            Self::Integer(value) => Parameter::Integer(*value),
            Self::Real(value) => Parameter::Real(*value),
            Self::Null | Self::Bool(_) => unreachable!("their JSON types say all"),
        }
    }

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

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Integer(value) => ToSqlOutput::Owned(SqlValue::Integer(*value)),
            Self::Real(value) => ToSqlOutput::Owned(SqlValue::Real(*value)),
            Self::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
        })
    }
}
