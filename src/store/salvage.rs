//! Reads what can be read of a damaged `catalog.sqlite`, and writes it to a new one.
//!
//! A copy of the file is read, row by row in the order of their numbers and without any index. Where a page is damaged, the
//! next number is searched from which on rows can be read again. A vector counts if it has its checksum, a reference if it
//! has a vector of each model, and an item if it has a reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::cancel;
use crate::error::{Error, Result};
use crate::store::checksum::checksum;
use crate::store::connections::identity;
use crate::store::indexed::rebuild_indexes;
use crate::store::maintain::check_rows;
use crate::store::open::sql_error;
use crate::store::repair::is_unit;
use crate::store::schema;
use crate::store::schema::define;
use crate::store::{Access, Problem, Store, fork};

/// Bytes of a page, as `schema::create` sets them.
const PAGE: usize = 8192;
/// Numbers of rows that are searched: more than any catalog has given.
const MOST: i64 = 1 << 40;
/// Places in a table where reading may go on: a file of noise must end.
const GAPS: usize = 100_000;

/// What was saved of a damaged catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Items in the new catalog.
    pub items: usize,
    /// References of them.
    pub references: usize,
    /// What is lost, as far as the rest tells of it.
    pub lost: Vec<Problem>,
}

/// A row of a table, its number first.
type Line = Vec<Value>;

/// The tables of a damaged catalog, as far as they can be read.
#[derive(Default)]
struct Tables {
    models: Vec<Line>,
    items: BTreeMap<i64, Line>,
    references: BTreeMap<i64, Line>,
    vectors: Vec<Line>,
    removed: BTreeSet<i64>,
    settings: Vec<Line>,
    /// Problems of the tables themselves.
    problems: Vec<Problem>,
}

/// Writes what can be read of the `catalog.sqlite` in `source` into a new catalog in `target`, which must hold none.
/// Nothing in `source` is changed.
///
/// # Errors
/// [`Error::Catalog`] if nothing can be read, there is a catalog in `target`, or it cannot be written;
/// [`Error::Interrupted`]. Then there is no catalog in `target`.
pub fn salvage(source: &Path, target: &Path) -> Result<Salvaged> {
    let file = source.join("catalog.sqlite");
    if !file.is_file() {
        return Err(Error::catalog(source, "holds no catalog.sqlite; is this the right directory?"));
    }
    // Closing a handle of the file would undo the locks of its other connections in this process.
    if identity(&file).is_ok_and(fork::is_open) {
        return Err(Error::catalog(source, "is open in this process; close its engines first"));
    }
    if target.join("catalog.sqlite").symlink_metadata().is_ok() {
        return Err(Error::catalog(target, "holds a catalog already; choose an empty directory"));
    }
    fs::create_dir_all(target).map_err(Error::io(target))?;
    let work = target.join(format!(".salvage-{}", std::process::id()));
    let made = || -> Result<Salvaged> {
        fs::create_dir_all(&work).map_err(Error::io(&work))?;
        let copy = work.join("damaged.sqlite");
        for ending in ["", "-wal"] {
            let part = source.join(format!("catalog.sqlite{ending}"));
            if part.exists() {
                fs::copy(&part, work.join(format!("damaged.sqlite{ending}"))).map_err(Error::io(&part))?;
            }
        }
        let mut tables = read(&copy)?;
        if tables.models.is_empty() {
            // The first page tells where all tables begin, which is the same in all catalogs of a format.
            renew_first_page(&copy, &work)?;
            tables = read(&copy)?;
        }
        if tables.models.is_empty() {
            return Err(Error::catalog(source, "nothing can be read of its catalog.sqlite; go back to a backup"));
        }
        let fresh = work.join("fresh");
        let store = Store::open(&fresh, &Access { patience: Duration::ZERO, ..Access::default() })?;
        let salvaged = write(&store, tables)?;
        store.checkpoint()?;
        drop(store);
        fs::rename(fresh.join("catalog.sqlite"), target.join("catalog.sqlite")).map_err(Error::io(target))?;
        Ok(salvaged)
    };
    let made = made();
    // Files of ours alone.
    drop(fs::remove_dir_all(&work));
    made
}

/// Opens the copy so that SQLite reads as far as it can, and reads all tables; none if it cannot be opened.
fn read(copy: &Path) -> Result<Tables> {
    let open = || -> rusqlite::Result<Connection> {
        let connection =
            Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        // A file that was cut off has fewer pages than its header says.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
        connection.pragma_update(None, "writable_schema", true)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        define(&connection)?;
        connection.prepare("SELECT item FROM items")?;
        Ok(connection)
    };
    let mut tables = Tables::default();
    let Ok(connection) = open() else { return Ok(tables) };
    let columns = "model, name, fingerprint, dim, probe_image, probe_text";
    tables.models = tables.take(&connection, "models", columns)?;
    let is_model = |line: &Line| matches!(line[..], [_, _, Value::Text(_), Value::Text(_), Value::Integer(1..), ..]);
    tables.models.retain(is_model);
    for line in tables.take(&connection, "items", "item, id, label, text, metadata, added")? {
        if let (Value::Integer(row), Value::Text(_)) = (&line[0], &line[2]) {
            tables.items.insert(*row, line);
        }
    }
    for line in tables.take(&connection, "refs", "reference, item, name, digest, view, added")? {
        if let [Value::Integer(row), _, Value::Integer(_), Value::Text(_), Value::Blob(digest), ..] = &line[..]
            && digest.len() == 32
        {
            tables.references.insert(*row, line);
        }
    }
    tables.vectors = tables.take(&connection, "vectors", "sequence, reference, item, model, vector, checksum")?;
    let (kept, others) = std::mem::take(&mut tables.vectors).into_iter().partition(is_sound);
    tables.vectors = kept;
    let removed = |line: Line| match (&line[2], &line[5]) {
        (Value::Integer(reference), Value::Null) => Some(*reference),
        _ => None,
    };
    let others: Vec<Line> = others;
    tables.removed = others.into_iter().filter_map(removed).collect();
    tables.settings = tables.take(&connection, "settings", "key, value")?;
    // Saved as they are: only their owner can tell what they should be. Damaged pages are told already.
    drop(check_rows(&connection, &mut tables.problems));
    Ok(tables)
}

/// Whether a row of the log has a vector as it was written.
fn is_sound(line: &Line) -> bool {
    let [_, _, Value::Integer(reference), Value::Integer(item), Value::Integer(model), Value::Blob(bytes), sum] =
        &line[..]
    else {
        return false;
    };
    let (numbers, rest) = bytes.as_chunks();
    let numbers: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    rest.is_empty() && *sum == Value::Integer(checksum(*reference, *item, *model, bytes)) && is_unit(&numbers)
}

impl Tables {
    /// Reads the rows of a table that can be read, each with its number before its columns.
    fn take(&mut self, connection: &Connection, table: &str, columns: &str) -> Result<Vec<Line>> {
        let count = 1 + columns.split(',').count();
        let sql = format!("SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid");
        let readable = |from: i64| -> bool {
            let found = connection.prepare_cached(&format!("{sql} LIMIT 1")).and_then(|mut statement| {
                let mut rows = statement.query([from])?;
                rows.next().map(drop)
            });
            found.is_ok()
        };
        let (mut lines, mut next) = (Vec::new(), 0);
        for _ in 0..GAPS {
            let ended = (|| -> rusqlite::Result<()> {
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query([next])?;
                while let Some(row) = rows.next()? {
                    let line = (0..count).map(|place| row.get(place)).collect::<rusqlite::Result<Line>>()?;
                    // In a damaged table, pages may come again.
                    if let Value::Integer(number) = line[0]
                        && number >= next
                    {
                        next = number.saturating_add(1);
                        lines.push(line);
                    }
                }
                Ok(())
            })();
            cancel::poll()?;
            let Err(error) = ended else { return Ok(lines) };
            // The least number from which on rows can be read: by steps that grow, and halves of the last one.
            let (mut behind, mut step) = (next, 1);
            while behind + step < MOST && !readable(behind + step) {
                behind += step;
                step *= 2;
            }
            let end = behind + step < MOST;
            let mut first = behind + step;
            while end && first - behind > 1 {
                let middle = behind + (first - behind) / 2;
                if readable(middle) { first = middle } else { behind = middle }
            }
            let place = if end { format!("rows {next} to {}", first - 1) } else { format!("rows from {next} on") };
            let problem = format!("table {table}: {place} cannot be read ({error})");
            self.problems.push(Problem { item: None, reference: None, problem });
            if !end {
                break;
            }
            next = first;
        }
        Ok(lines)
    }
}

/// Writes the tables into an empty store, and returns what is left of them.
fn write(store: &Store, tables: Tables) -> Result<Salvaged> {
    let Tables { models, items, references, vectors, removed, settings, problems } = tables;
    let number = |value: &Value| if let Value::Integer(number) = value { *number } else { 0 };
    let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
    let dims: BTreeMap<i64, usize> = models.iter().map(|line| (number(&line[0]), number(&line[4]) as usize)).collect();
    let fits = |line: &&Line| matches!(&line[5], Value::Blob(bytes) if dims.get(&number(&line[4])).is_some_and(|dim| bytes.len() == 4 * dim));
    // For each reference its item and its rows in the log.
    let mut held: BTreeMap<i64, (i64, Vec<&Line>)> = BTreeMap::new();
    for line in vectors.iter().filter(fits) {
        let (reference, item) = (number(&line[2]), number(&line[3]));
        held.entry(reference).or_insert_with(|| (item, Vec::new())).1.push(line);
    }
    let used: BTreeSet<i64> = held.values().flat_map(|(_, lines)| lines.iter().map(|line| number(&line[4]))).collect();
    let id_of = |item: i64| items.get(&item).and_then(|line| text(&line[2]));
    let mut lost = problems;
    let mut lose = |item: i64, reference: Option<String>, problem: &str| {
        let id = id_of(item).unwrap_or_else(|| format!("number {item}"));
        lost.push(Problem { item: Some(id), reference, problem: problem.to_owned() });
    };
    let mut kept: BTreeMap<i64, (&Line, &Vec<&Line>)> = BTreeMap::new();
    for (reference, line) in &references {
        let (item, name) = (number(&line[2]), text(&line[3]));
        match held.get(reference) {
            Some((of, lines)) if *of == item && lines.len() == used.len() => {
                if items.contains_key(&item) {
                    kept.insert(*reference, (line, lines));
                } else {
                    lose(item, name, "its item cannot be read");
                }
            }
            _ => lose(item, name, "its vector cannot be read"),
        }
    }
    for (reference, (item, _)) in &held {
        if !references.contains_key(reference) && !removed.contains(reference) {
            lose(*item, Some(format!("number {reference}")), "it cannot be read");
        }
    }
    let whole: BTreeSet<i64> = kept.values().map(|(line, _)| number(&line[2])).collect();
    for item in items.keys().filter(|item| !whole.contains(item)) {
        lose(*item, None, "none of its references can be read");
    }
    let salvaged = Salvaged { items: whole.len(), references: kept.len(), lost };
    store.write(|transaction| {
        let insert = |table: &str, columns: &str, line: &[Value]| -> rusqlite::Result<()> {
            let marks = vec!["?"; line.len()].join(", ");
            transaction
                .prepare_cached(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})"))?
                .execute(params_from_iter(line))
                .map(drop)
        };
        for line in models.iter().filter(|line| used.contains(&number(&line[0]))) {
            insert("models", "model, name, fingerprint, dim, probe_image, probe_text", &line[1..])?;
        }
        for (row, line) in items.iter().filter(|(row, _)| whole.contains(row)) {
            let mut line = line[1..].to_vec();
            let is_json = |text: &str| serde_json::from_str::<serde_json::Map<_, _>>(text).is_ok();
            if !text(&line[4]).is_some_and(|text| is_json(&text)) {
                line[4] = Value::Text("{}".to_owned());
            }
            for place in [2, 3] {
                if !matches!(line[place], Value::Text(_)) {
                    line[place] = Value::Null;
                }
            }
            line[0] = Value::Integer(*row);
            line[5] = Value::Integer(number(&line[5]));
            insert("items", "item, id, label, text, metadata, added", &line)?;
        }
        let mut log: Vec<&&Line> = Vec::new();
        for (row, (line, lines)) in &kept {
            let mut line = line[1..].to_vec();
            (line[0], line[4], line[5]) =
                (Value::Integer(*row), Value::Integer(number(&line[4])), Value::Integer(number(&line[5])));
            insert("refs", "reference, item, name, digest, view, added", &line)?;
            log.extend(lines.iter());
        }
        log.sort_unstable_by_key(|line| number(&line[0]));
        for line in log {
            insert("vectors", "sequence, reference, item, model, vector, checksum", &line[1..])?;
        }
        for line in settings.iter().filter(|line| line[1..].iter().all(|value| text(value).is_some())) {
            insert("settings", "key, value", &line[1..])?;
        }
        transaction.execute_batch(schema::MAKE_CHECKSUMS)?;
        rebuild_indexes(transaction)?;
        Ok(())
    })?;
    Ok(salvaged)
}

/// Gives a damaged file the first page of a new catalog.
fn renew_first_page(copy: &Path, work: &Path) -> Result<()> {
    let fail = |error: rusqlite::Error| sql_error(work, &error);
    let path = work.join("model.sqlite");
    let mut model = Connection::open(&path).map_err(fail)?;
    define(&model).map_err(fail)?;
    schema::create(&mut model).map_err(fail)?;
    drop(model);
    let renew = || -> std::io::Result<()> {
        let mut page = vec![0; PAGE];
        fs::File::open(&path)?.read_exact(&mut page)?;
        let mut file = fs::File::options().read(true).write(true).open(copy)?;
        let pages = (file.metadata()?.len() / PAGE as u64) as u32;
        // How many pages there are, and none that is free: SQLite's file format, section 1.3.
        page[28..32].copy_from_slice(&pages.to_be_bytes());
        page[32..40].fill(0);
        page.copy_within(24..28, 92);
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&page)?;
        // A log of other pages would take their place.
        match fs::remove_file(copy.with_file_name("damaged.sqlite-wal")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    renew().map_err(Error::io(copy))
}
