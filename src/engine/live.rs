//! Keeps the state of the catalog that searches share; a commit replaces it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::engine::selected::{InState, Lasting};
use crate::engine::worded::Remembered;
use crate::error::Result;
use crate::index::{Extended, Ledger, Left, Sealed, Snapshot};
use crate::store::{Changes, Entry, Position, Store, Version};

#[cfg(test)]
mod tests;

/// Vectors that are read from the store at once while the index catches up.
const STEP: usize = 16_384;
/// The most references of a change that is made in place if no search uses the state: it takes less than a millisecond.
const IN_PLACE: usize = 1024;
/// Bytes of the entries of hits that are kept in memory.
const REMEMBERED: usize = 32 << 20;
/// The largest entry of them: to make Python's objects of a larger one takes longer than to read it again.
const LARGEST: usize = 64 << 10;
/// Bytes that an entry takes beside its texts, about.
const ENTRY: usize = 256;
/// How far the square of a vector's length may be from 1: rounding of 4,096 numbers to 32 bits stays far below.
const UNIT: f32 = 1e-3;

/// The state that searches begin with, and what prepares the next one.
pub(super) struct Live {
    state: RwLock<Arc<State>>,
    writer: Mutex<Writer>,
}

/// Everything that was committed up to the store's `version`. A search keeps its state and holds no lock.
pub(super) struct State {
    /// A space for each model, so that they cannot answer from two states.
    pub(super) index: Snapshot,
    /// None before the first look.
    pub(super) version: Option<Version>,
    /// The place in the store's log up to which it reaches.
    pub(super) position: Position,
    entries: Mutex<Entries>,
    pub(super) filters: InState,
    pub(super) lasting: Lasting,
    pub(super) words: Mutex<Remembered>,
}

/// Reads commits and makes them part of the index, one thread at a time.
struct Writer {
    ledger: Ledger,
    dims: Vec<usize>,
    /// The place in the store's log that the ledger has reached.
    position: Position,
    /// The index that the ledger has reached if no search may see it yet: the rest of the changes could not be read.
    ahead: Option<Snapshot>,
}

/// Entries of hits since the last change, by item and reference.
#[derive(Default)]
struct Entries {
    by_row: HashMap<(i64, i64), Arc<Entry>>,
    bytes: usize,
}

impl Live {
    /// A state without vectors, for models whose vectors have these dimensions.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub(super) fn new(dims: &[usize]) -> Result<Self> {
        let (ledger, index) = Ledger::new(dims)?;
        let state = State::new(index, None, Position::default(), Lasting::default());
        let writer = Writer { ledger, dims: dims.into(), position: Position::default(), ahead: None };
        Ok(Self { state: RwLock::new(Arc::new(state)), writer: Mutex::new(writer) })
    }

    /// Returns a state with everything that any process has committed before this call, and every transaction whole.
    ///
    /// # Errors
    /// Those of the store, and for a stored vector that is damaged.
    pub(super) fn current(&self, store: &Store, models: &[i64]) -> Result<Arc<State>> {
        if let Some(state) = self.at(store.version()?) {
            return Ok(state);
        }
        // One thread reads the changes, without keeping the others from searching; those that must see them wait here.
        let mut writer = lock(&self.writer);
        // Read before the changes are: what is committed in between is found again at the next call.
        let version = store.version()?;
        if let Some(state) = self.at(version) {
            return Ok(state);
        }
        store.check_search(models)?;
        let mut changes = writer.read(store, models)?;
        let rows = changes.references.len() + changes.removed.len();
        if !changes.more && rows <= IN_PLACE && writer.ahead.is_none() {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(unused) = Arc::get_mut(&mut state) {
                writer.apply(&mut unused.index, &changes)?;
                unused.version = Some(version);
                unused.position = writer.position;
                unused.entries = Mutex::default();
                unused.filters = Mutex::default();
                unused.words = Mutex::default();
                return Ok(Arc::clone(&state));
            }
        }
        let mut index = writer.ahead.take().unwrap_or_else(|| self.state().index.clone());
        loop {
            let more = changes.more;
            let next = writer.apply(&mut index, &changes).and_then(|()| match more {
                true => writer.read(store, models).map(Some),
                false => Ok(None),
            });
            match next {
                Ok(Some(next)) => changes = next,
                Ok(None) => break,
                Err(error) => {
                    writer.ahead = Some(index);
                    return Err(error);
                }
            }
        }
        let state = Arc::new(State::new(index, Some(version), writer.position, self.lasting()));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state);
        Ok(state)
    }

    /// Begins with the rows of an approximate segment and its parts, which the log had at a place.
    ///
    /// # Errors
    /// Those of [`Ledger::of_parts`].
    pub(super) fn begin(&self, parts: &[Left], position: Position) -> Result<()> {
        let (ledger, index) = Ledger::of_parts(parts)?;
        let mut writer = lock(&self.writer);
        (writer.ledger, writer.position, writer.ahead) = (ledger, position, None);
        self.replace(State::new(index, None, position, self.lasting()));
        Ok(())
    }

    /// Forgets everything, to be read again.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub(super) fn forget(&self) -> Result<()> {
        let mut writer = lock(&self.writer);
        let (ledger, index) = Ledger::new(&writer.dims)?;
        (writer.ledger, writer.position, writer.ahead) = (ledger, Position::default(), None);
        self.replace(State::new(index, None, Position::default(), self.lasting()));
        Ok(())
    }

    /// Puts an approximate segment in the place of the rows of `state`, of which it was made. What has changed since then
    /// stays changed, and searches that go on keep their state.
    ///
    /// # Errors
    /// Those of [`Ledger::follow`].
    pub(super) fn adopt(&self, sealed: &Arc<Sealed>, state: &State) -> Result<()> {
        self.go_on(Ledger::of(sealed)?, state)
    }

    /// Puts a further approximate segment in the place of rows of `state`, of which it was made.
    ///
    /// # Errors
    /// Those of [`Ledger::follow`].
    pub(super) fn extend(&self, extended: Extended, state: &State) -> Result<()> {
        self.go_on(extended.ledger(&state.index)?, state)
    }

    /// Goes on from an index that was made of `state`, with what has changed since then.
    fn go_on(&self, (mut ledger, mut index): (Ledger, Snapshot), state: &State) -> Result<()> {
        let mut writer = lock(&self.writer);
        let now = self.state();
        ledger.follow(&mut index, &state.index, writer.ahead.as_ref().unwrap_or(&now.index))?;
        writer.ledger = ledger;
        match &mut writer.ahead {
            Some(ahead) => *ahead = index,
            None => self.replace(State::new(index, now.version, now.position, self.lasting())),
        }
        Ok(())
    }

    fn replace(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    /// The results of filters, which the next state may take over.
    fn lasting(&self) -> Lasting {
        Arc::clone(&self.state().lasting)
    }

    /// The state that searches begin with, if it is of this version.
    fn at(&self, version: Version) -> Option<Arc<State>> {
        Some(self.state()).filter(|state| state.version == Some(version))
    }

    /// Returns the state that searches begin with, which may lack later commits.
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Writer {
    /// Reads the next changes.
    fn read(&self, store: &Store, models: &[i64]) -> Result<Changes> {
        let changes = store.changes(models, self.position, STEP)?;
        changes.vectors.iter().try_for_each(|vectors| check_units(store, &changes.references, vectors))?;
        Ok(changes)
    }

    /// Makes changes in the index that the ledger has reached.
    fn apply(&mut self, index: &mut Snapshot, changes: &Changes) -> Result<()> {
        if changes.restarted {
            (self.ledger, *index) = Ledger::new(&self.dims)?;
        }
        self.ledger.add(index, &changes.references, &changes.items, &changes.vectors)?;
        self.ledger.remove(index, &changes.removed)?;
        self.position = changes.position;
        Ok(())
    }
}

impl State {
    fn new(index: Snapshot, version: Option<Version>, position: Position, lasting: Lasting) -> Self {
        let (entries, filters, words) = Default::default();
        Self { index, version, position, entries, filters, lasting, words }
    }

    /// Returns the entries to show for `(item, reference)` rows; `None` for rows that were removed meanwhile.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn entries(&self, store: &Store, rows: &[(i64, i64)]) -> Result<Vec<Option<Arc<Entry>>>> {
        let mut entries: Vec<Option<Arc<Entry>>> = {
            let known = lock(&self.entries);
            rows.iter().map(|row| known.by_row.get(row).cloned()).collect()
        };
        let missing: Vec<usize> = (0..rows.len()).filter(|&i| entries[i].is_none()).collect();
        if !missing.is_empty() {
            let read = store.entries(&missing.iter().map(|&i| rows[i]).collect::<Vec<_>>())?;
            let mut known = lock(&self.entries);
            for (i, entry) in missing.into_iter().zip(read) {
                let Some(entry) = entry.map(Arc::new) else { continue };
                known.keep(rows[i], &entry);
                entries[i] = Some(entry);
            }
        }
        Ok(entries)
    }
}

impl Entries {
    fn keep(&mut self, row: (i64, i64), entry: &Arc<Entry>) {
        let texts = [&entry.label, &entry.text].into_iter().flatten().map(String::len).sum::<usize>();
        let bytes = ENTRY + texts + entry.id.len() + entry.metadata.len() + entry.reference.len();
        if bytes > LARGEST {
            return;
        }
        if self.bytes + bytes > REMEMBERED {
            *self = Self::default();
        }
        if self.by_row.insert(row, Arc::clone(entry)).is_none() {
            self.bytes += bytes;
        }
    }
}

/// Refuses stored vectors that are not of length 1, as all are when they are written: their scores would be no cosines,
/// and come first.
pub(super) fn check_units(store: &Store, references: &[i64], vectors: &[f32]) -> Result<()> {
    let Some(dim) = vectors.len().checked_div(references.len()).filter(|dim| *dim > 0) else { return Ok(()) };
    for (reference, vector) in references.iter().zip(vectors.chunks_exact(dim)) {
        let square: f32 = vector.iter().map(|value| value * value).sum();
        // NaN is near nothing.
        let is_unit = (square - 1.0).abs() < UNIT;
        if !is_unit {
            return Err(store.damaged(*reference, &format!("its length is {} instead of 1", square.sqrt()))?);
        }
    }
    Ok(())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
