//! The items that a search may find, and the rows of their references in one snapshot.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::index::segment::Segment;
use crate::selection::Rows;

/// Of allowed items up to one for so many rows, each is looked up in a segment: else each row is.
const LOOKED_UP: usize = 16;
/// A number takes the place of so many bits.
const BITS: usize = 32;

/// Items that a search may find in the snapshot that has made it (see [`Snapshot::allow`](super::Snapshot::allow)). The
/// first search finds out where they lie, and others know it.
#[derive(Debug)]
pub struct Allowed {
    items: Rows,
    segments: Vec<OnceLock<Chosen>>,
}

impl Allowed {
    pub(super) fn new(items: Rows, segments: usize) -> Self {
        Self { items, segments: (0..segments).map(|_| OnceLock::new()).collect() }
    }

    /// The items.
    pub fn items(&self) -> &Rows {
        &self.items
    }

    /// The rows in a segment of the snapshot.
    pub(super) fn rows(&self, number: usize, segment: &dyn Segment) -> &Chosen {
        self.segments[number].get_or_init(|| Chosen::of(segment, &self.items))
    }
}

/// Rows of a segment: few as their numbers, which grow, and many as a bit for each row.
#[derive(Debug)]
pub(super) enum Chosen {
    Few(Vec<u32>),
    Many { bits: Vec<u8>, len: usize },
}

impl Chosen {
    /// The rows of a segment whose items are allowed and that were not removed.
    fn of(segment: &dyn Segment, allowed: &Rows) -> Self {
        let items = segment.items();
        let live = segment.live();
        let is_live = |row: &usize| live.is_none_or(|live| live.has(*row));
        if segment.is_sorted() && allowed.len() <= items.len() / LOOKED_UP {
            let (Some(first), Some(last)) = (items.first(), items.last()) else { return Self::Few(Vec::new()) };
            let (mut rows, mut next) = (Vec::new(), 0);
            for item in allowed.between(*first, *last) {
                next += items[next..].partition_point(|other| *other < item);
                let end = next + items[next..].iter().take_while(|other| **other == item).count();
                rows.extend((next..end).filter(is_live).map(|row| row as u32));
                next = end;
            }
            return Self::Few(rows);
        }
        let (mut bits, mut len) = (vec![0; items.len().div_ceil(8)], 0);
        for (row, item) in items.iter().enumerate() {
            if allowed.contains(*item) && is_live(&row) {
                bits[row / 8] |= 1 << (row % 8);
                len += 1;
            }
        }
        let many = Self::Many { bits, len };
        if len <= items.len() / BITS { Self::Few(many.rows().into_owned()) } else { many }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(rows) => rows.len(),
            Self::Many { len, .. } => *len,
        }
    }

    pub(super) fn rows(&self) -> Cow<'_, [u32]> {
        match self {
            Self::Few(rows) => Cow::Borrowed(rows),
            Self::Many { bits, .. } => {
                let rows = (0..8 * bits.len() as u32).filter(|row| bits[*row as usize / 8] & (1 << (row % 8)) != 0);
                Cow::Owned(rows.collect())
            }
        }
    }

    /// A bit for each of `count` rows.
    pub(super) fn bits(&self, count: usize) -> Cow<'_, [u8]> {
        match self {
            Self::Many { bits, .. } => Cow::Borrowed(bits),
            Self::Few(rows) => {
                let mut bits = vec![0; count.div_ceil(8)];
                rows.iter().for_each(|row| bits[*row as usize / 8] |= 1 << (row % 8));
                Cow::Owned(bits)
            }
        }
    }
}
