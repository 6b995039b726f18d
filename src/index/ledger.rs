//! Where each reference lies, and how a change is made to the segments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::index::approximate::{Approximate, Left, Sealed};
use crate::index::device::OnDevice;
use crate::index::exact::Exact;
use crate::index::matrix::Matrix;
use crate::index::segment::Segment;
use crate::index::snapshot::Snapshot;

/// Rows in a segment: few enough to share 100 000 vectors among several threads.
const SEGMENT_ROWS: usize = 16_384;

/// The writer's side of an index. All changes of a [`Snapshot`] and its copies go through one ledger, one after another.
#[derive(Debug)]
pub struct Ledger {
    segment_rows: usize,
    /// Where those of the first segment lie, if it is approximate.
    fixed: Option<Fixed>,
    /// Segment and row of each other reference.
    places: HashMap<i64, (u32, u32)>,
    /// How many other references each item has.
    counts: HashMap<i64, u32>,
    /// How many items there are.
    items: usize,
}

/// Finds the rows of a segment that has most of all references, without a table of them: these rows are removed in place, and
/// their items grow.
#[derive(Debug)]
struct Fixed {
    /// The rows in the order of their references, unless these grow with the rows.
    order: Option<Vec<u32>>,
}

impl Ledger {
    /// Begins with an empty snapshot of `dims[i]` numbers in space `i`.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no space, or one of 0 or more than 65 536 numbers.
    pub fn new(dims: &[usize]) -> Result<(Self, Snapshot)> {
        Self::with_segment_rows(dims, SEGMENT_ROWS)
    }

    pub(super) fn with_segment_rows(dims: &[usize], segment_rows: usize) -> Result<(Self, Snapshot)> {
        if dims.is_empty() {
            return Err(Error::argument("an index needs at least one kind of vectors"));
        }
        Exact::new(dims)?;
        let (places, counts) = Default::default();
        Ok((Self { segment_rows, fixed: None, places, counts, items: 0 }, Snapshot::new(dims)))
    }

    /// Begins with the rows of an approximate segment, or of one on a device.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub fn of(sealed: &Arc<Sealed>) -> Result<(Self, Snapshot)> {
        let segment: Arc<dyn Segment> = match sealed.resident {
            Some(_) => Arc::new(OnDevice::new(sealed)),
            None => Arc::new(Approximate::new(Arc::clone(sealed))),
        };
        Self::over(&dims_of(sealed), vec![segment])
    }

    /// Begins with the rows that are left of an approximate segment and of its further parts.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub fn of_parts(parts: &[Left]) -> Result<(Self, Snapshot)> {
        let dims = parts.first().map(|left| dims_of(&left.sealed)).unwrap_or_default();
        Self::over(&dims, parts.iter().map(|left| Arc::new(Approximate::left_of(left)) as _).collect())
    }

    /// Begins with some segments of a snapshot as they are, and with one more.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub(super) fn with(snapshot: &Snapshot, kept: &[usize], more: Arc<Sealed>) -> Result<(Self, Snapshot)> {
        let more: Arc<dyn Segment> = Arc::new(Approximate::new(more));
        let kept = kept.iter().map(|number| Arc::clone(&snapshot.segments[*number]));
        Self::over(&snapshot.dims, kept.chain([more]).collect())
    }

    /// Begins with segments as they are.
    fn over(dims: &[usize], segments: Vec<Arc<dyn Segment>>) -> Result<(Self, Snapshot)> {
        let (mut ledger, mut snapshot) = Self::new(dims)?;
        snapshot.segments = segments;
        if let Some(first) = snapshot.segments.first().filter(|first| first.sealed().is_some() && first.is_sorted()) {
            ledger.fixed = Some(Fixed::of(first.references()));
            ledger.items = distinct(live_rows(first.as_ref()).map(|row| first.items()[row])).count();
        }
        for (number, segment) in (0..).zip(&snapshot.segments).skip(usize::from(ledger.fixed.is_some())) {
            for row in live_rows(segment.as_ref()) {
                ledger.note(&snapshot, segment.references()[row], segment.items()[row], (number, row as u32));
            }
        }
        ledger.count(&mut snapshot);
        Ok((ledger, snapshot))
    }

    /// Makes the changes here that have led from snapshot `before` to `after`.
    ///
    /// # Errors
    /// Those of [`Ledger::add`].
    pub fn follow(&mut self, snapshot: &mut Snapshot, before: &Snapshot, after: &Snapshot) -> Result<()> {
        let changed = |all: &Snapshot, other: &Snapshot| -> Vec<(usize, Arc<dyn Segment>)> {
            let same = |number: usize, held: &Arc<dyn Segment>| {
                other.segments.get(number).is_some_and(|other| Arc::ptr_eq(held, other))
            };
            let all = all.segments.iter().enumerate().filter(|(number, held)| !same(*number, held));
            all.map(|(number, held)| (number, Arc::clone(held))).collect()
        };
        let spaces = 0..snapshot.dims.len();
        let (mut old, mut new) = (changed(before, after), changed(after, before));
        // Of the same codes, rows can only have gone.
        let mut lost = Vec::new();
        old.retain(|(_, old)| {
            let Some(sealed) = old.sealed() else { return true };
            let is_same = |held: &dyn Segment| held.sealed().is_some_and(|other| Arc::ptr_eq(sealed, other));
            let Some(place) = new.iter().position(|(_, held)| is_same(held.as_ref())) else { return true };
            let (_, held) = new.swap_remove(place);
            let is_gone = |row: &usize| held.live().is_some_and(|live| !live.has(*row));
            lost.extend(live_rows(old.as_ref()).filter(is_gone).map(|row| old.references()[row]));
            false
        });
        let rows = |(place, (_, held)): (usize, &(usize, Arc<dyn Segment>))| -> Vec<(i64, (usize, usize))> {
            live_rows(held.as_ref()).map(|row| (held.references()[row], (place, row))).collect()
        };
        let mut gone: HashMap<i64, (usize, usize)> = old.iter().enumerate().flat_map(rows).collect();
        let (mut references, mut items) = (Vec::new(), Vec::new());
        let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); spaces.len()];
        for (reference, (place, row)) in new.iter().enumerate().flat_map(rows) {
            let held = &new[place].1;
            let is_same = |(place, other): (usize, usize)| {
                let old = &old[place].1;
                spaces.clone().all(|space| old.vector(space, other) == held.vector(space, row))
            };
            if !gone.remove(&reference).is_some_and(is_same) {
                references.push(reference);
                items.push(held.items()[row]);
                spaces.clone().for_each(|space| vectors[space].extend_from_slice(held.vector(space, row)));
            }
        }
        lost.extend(gone.into_keys());
        self.remove(snapshot, &lost)?;
        self.add(snapshot, &references, &items, &vectors)
    }

    /// Adds references, each with its item and its vectors (`vectors` has for each space one after another); a reference
    /// that is there already is replaced. Segments that other snapshots share are copied first.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths do not fit, a reference is given twice, or a vector has NaN or infinity.
    /// Then nothing is changed.
    pub fn add<V: AsRef<[f32]>>(
        &mut self,
        snapshot: &mut Snapshot,
        references: &[i64],
        items: &[i64],
        vectors: &[V],
    ) -> Result<()> {
        let vectors: Vec<&[f32]> = vectors.iter().map(AsRef::as_ref).collect();
        check(&snapshot.dims, references, items, &vectors)?;
        self.remove(snapshot, references)?;
        let mut start = 0;
        while start < references.len() {
            let number = self.segment_with_room(snapshot)?;
            let segment = self.own(&mut snapshot.segments[number])?;
            let first = segment.items().len();
            let end = references.len().min(start + self.segment_rows - first);
            let parts: Vec<&[f32]> =
                vectors.iter().zip(&snapshot.dims).map(|(vectors, dim)| &vectors[start * dim..end * dim]).collect();
            segment.add(&references[start..end], &items[start..end], &parts)?;
            if segment.items().len() == self.segment_rows {
                segment.seal();
            }
            for (row, (&reference, &item)) in references[start..end].iter().zip(&items[start..end]).enumerate() {
                self.note(snapshot, reference, item, (number as u32, (first + row) as u32));
            }
            start = end;
        }
        self.count(snapshot);
        Ok(())
    }

    /// Removes references; those that are not there are passed over. Returns how many were there. Segments that other
    /// snapshots share are copied first.
    ///
    /// # Errors
    /// [`Error::Argument`] when faiss fails, which it has no reason to.
    pub fn remove(&mut self, snapshot: &mut Snapshot, references: &[i64]) -> Result<usize> {
        let mut gone: BTreeMap<u32, Vec<(i64, u32)>> = BTreeMap::new();
        let mut fixed: BTreeSet<(u32, i64)> = BTreeSet::new();
        for reference in references {
            let Some((number, row)) = self.places.remove(reference) else {
                fixed.extend(self.fixed_row(snapshot, *reference).map(|row| (row, *reference)));
                continue;
            };
            let item = snapshot.segments[number as usize].items()[row as usize];
            if let Some(count) = self.counts.get_mut(&item) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&item);
                    self.items -= usize::from(!self.is_fixed(snapshot, item));
                }
            }
            gone.entry(number).or_default().push((*reference, row));
        }
        if !fixed.is_empty() {
            gone.insert(0, fixed.iter().map(|(row, reference)| (*reference, *row)).collect());
        }
        for (number, gone) in &gone {
            let segment = self.own(&mut snapshot.segments[*number as usize])?;
            for (reference, row) in segment.remove(gone)? {
                self.places.insert(reference, (*number, row));
            }
        }
        let items = distinct(fixed.iter().map(|(row, _)| snapshot.segments[0].items()[*row as usize]));
        self.items -= items.filter(|item| !self.counts.contains_key(item) && !self.is_fixed(snapshot, *item)).count();
        self.count(snapshot);
        Ok(gone.values().map(Vec::len).sum())
    }

    /// Notes where a reference lies.
    fn note(&mut self, snapshot: &Snapshot, reference: i64, item: i64, place: (u32, u32)) {
        self.places.insert(reference, place);
        let count = self.counts.entry(item).or_default();
        *count += 1;
        if *count == 1 {
            self.items += usize::from(!self.is_fixed(snapshot, item));
        }
    }

    /// The row of a reference in the first segment, if that is fixed.
    fn fixed_row(&self, snapshot: &Snapshot, reference: i64) -> Option<u32> {
        let (fixed, first) = self.fixed.as_ref().zip(snapshot.segments.first())?;
        let row = fixed.row(first.references(), reference)?;
        first.live().is_none_or(|live| live.has(row as usize)).then_some(row)
    }

    /// Whether the first segment is fixed and has a reference of an item.
    fn is_fixed(&self, snapshot: &Snapshot, item: i64) -> bool {
        let Some((_, first)) = self.fixed.as_ref().zip(snapshot.segments.first()) else { return false };
        let (items, live) = (first.items(), first.live());
        let rows = items.partition_point(|one| *one < item)..items.len();
        rows.take_while(|row| items[*row] == item).any(|row| live.is_none_or(|live| live.has(row)))
    }

    fn segment_with_room(&self, snapshot: &mut Snapshot) -> Result<usize> {
        let room = |segment: &Arc<dyn Segment>| segment.grows() && segment.items().len() < self.segment_rows;
        if let Some(number) = snapshot.segments.iter().position(room) {
            return Ok(number);
        }
        snapshot.segments.push(Arc::new(Exact::new(&snapshot.dims)?));
        Ok(snapshot.segments.len() - 1)
    }

    /// A segment to change: a copy of it if another snapshot shares it.
    fn own<'a>(&self, segment: &'a mut Arc<dyn Segment>) -> Result<&'a mut dyn Segment> {
        if Arc::get_mut(segment).is_none() {
            *segment = segment.duplicate()?;
        }
        Ok(Arc::get_mut(segment).expect("nothing else knows the copy"))
    }

    fn count(&self, snapshot: &mut Snapshot) {
        let fixed = self.fixed.as_ref().zip(snapshot.segments.first());
        let fixed = fixed.map_or(0, |(_, first)| first.live().map_or(first.items().len(), |live| live.len));
        snapshot.references = self.places.len() + fixed;
        snapshot.items = self.items;
    }
}

impl Fixed {
    fn of(references: &[i64]) -> Self {
        let order = (!references.is_sorted()).then(|| {
            let mut rows: Vec<u32> = (0..references.len() as u32).collect();
            rows.par_sort_unstable_by_key(|row| references[*row as usize]);
            rows
        });
        Self { order }
    }

    fn row(&self, references: &[i64], reference: i64) -> Option<u32> {
        match &self.order {
            Some(order) => {
                let place = order.binary_search_by_key(&reference, |row| references[*row as usize]).ok()?;
                Some(order[place])
            }
            None => Some(references.binary_search(&reference).ok()? as u32),
        }
    }
}

fn dims_of(sealed: &Sealed) -> Vec<usize> {
    sealed.vectors.iter().map(Matrix::dim).collect()
}

/// Numbers that grow, each once.
fn distinct(numbers: impl Iterator<Item = i64>) -> impl Iterator<Item = i64> {
    let mut last = None;
    numbers.filter(move |number| last.replace(*number) != Some(*number))
}

/// The rows of a segment that were not removed.
pub(super) fn live_rows(segment: &dyn Segment) -> impl Iterator<Item = usize> + '_ {
    let live = segment.live();
    (0..segment.items().len()).filter(move |row| live.is_none_or(|live| live.has(*row)))
}

fn check(dims: &[usize], references: &[i64], items: &[i64], vectors: &[&[f32]]) -> Result<()> {
    let numbers: Vec<usize> = vectors.iter().map(|vectors| vectors.len()).collect();
    let wanted: Vec<usize> = dims.iter().map(|dim| references.len() * dim).collect();
    if references.len() != items.len() || numbers != wanted {
        let sum = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" + ");
        return Err(Error::argument(format!(
            "{} references, {} items and {} numbers do not make vectors of {}",
            references.len(),
            items.len(),
            sum(&numbers),
            sum(dims)
        )));
    }
    for (vectors, dim) in vectors.iter().zip(dims) {
        if let Some(bad) = vectors.iter().position(|value| !value.is_finite()) {
            return Err(Error::argument(format!("vector {} has NaN or infinite values", bad / dim)));
        }
    }
    // References that come from a catalog grow.
    if !references.is_sorted_by(|a, b| a < b) {
        let mut sorted = references.to_vec();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::argument(format!("reference {} is given twice", pair[0])));
        }
    }
    Ok(())
}
