//! Where the hits of a search go on after a page.

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::search::Search;
use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::query::Query;

/// The first byte of a cursor: other versions may write others.
const VERSION: u8 = 1;
/// More items than a catalog has.
const MOST: u64 = 1 << 40;
/// An item whose score has changed by more is no longer where it was.
const SAME: f32 = 1e-3;

/// The end of a page of hits. While the catalog does not change, the next page begins right behind it; if it does, behind
/// the last hit where that is now, or else where it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cursor {
    /// Identifies the query and the options.
    search: u64,
    /// Hits up to the end of the page.
    seen: u64,
    /// Candidates up to the last hit, of which the query's own were left out.
    passed: u64,
    /// The length of the lists that words and vectors were fused from, on the first page.
    depth: u64,
    /// The row of the last hit's item.
    item: i64,
    /// Its score.
    score: f32,
}

impl Cursor {
    /// The end of a page of a search: behind `seen` hits, `passed` candidates and this last one.
    pub(super) fn new(
        query: &Query,
        search: &Search,
        seen: usize,
        passed: usize,
        depth: usize,
        last: &Candidate,
    ) -> Self {
        let [seen, passed, depth] = [seen, passed, depth].map(|count| count as u64);
        Self { search: mark(query, search), seen, passed, depth, item: last.item, score: last.score }
    }

    /// Reads a cursor that [`text`](Self::text) wrote.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is no cursor.
    pub fn parse(text: &str) -> Result<Self> {
        let read = || {
            let digits: Vec<u8> = text.chars().map(|one| Some(one.to_digit(16)? as u8)).collect::<Option<_>>()?;
            let (pairs, []) = digits.as_chunks::<2>() else { return None };
            let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
            let (&VERSION, rest) = bytes.split_first()? else { return None };
            let (numbers, score) = rest.as_chunks::<8>();
            let &[search, seen, passed, depth, item] = numbers else { return None };
            let [search, seen, passed, depth, item] = [search, seen, passed, depth, item].map(u64::from_le_bytes);
            let score = f32::from_le_bytes(score.try_into().ok()?);
            let counts = [seen, passed, depth].iter().all(|count| *count < MOST);
            counts.then_some(Self { search, seen, passed, depth, item: item.cast_signed(), score })
        };
        read().ok_or_else(|| {
            Error::argument(format!("after {:?} is no cursor: give the cursor of a page of hits", short(text)))
        })
    }

    /// Writes it as hexadecimal digits.
    pub fn text(&self) -> String {
        let numbers = [self.search, self.seen, self.passed, self.depth, self.item.cast_unsigned()];
        let bytes = [&[VERSION][..], &numbers.map(u64::to_le_bytes).concat(), &self.score.to_le_bytes()].concat();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns how many hits come before the next page.
    pub fn seen(&self) -> usize {
        self.seen as usize
    }

    /// How many candidates come before the next page, if nothing has changed.
    pub(super) fn passed(&self) -> usize {
        self.passed as usize
    }

    /// The length of the lists that words and vectors are fused from.
    pub(super) fn depth(&self) -> usize {
        self.depth as usize
    }

    /// Checks that it continues this search of this query.
    pub(super) fn check(&self, query: &Query, search: &Search) -> Result<()> {
        match self.search == mark(query, search) {
            true => Ok(()),
            false => Err(Error::argument(
                "after is the cursor of another search: give it with the query and the options of its page",
            )),
        }
    }

    /// Returns the place of the first candidate of the next page; None if the last hit is not where it was.
    pub(super) fn start(&self, candidates: &[Candidate]) -> Option<usize> {
        let is_last = |one: &Candidate| one.item == self.item && (one.score - self.score).abs() < SAME;
        candidates.iter().position(is_last).map(|place| place + 1)
    }

    /// Returns the same among all candidates if the last hit is gone: of those in the order of their scores the place of the
    /// first one behind it, and otherwise that behind as many as came before.
    pub(super) fn start_without(&self, candidates: &[Candidate]) -> usize {
        let before = |one: &Candidate| one.score > self.score || (one.score == self.score && one.item <= self.item);
        match candidates.is_sorted_by(|a, b| a.score >= b.score) {
            true => candidates.partition_point(before),
            // Those behind it have moved up.
            false => self.passed().saturating_sub(1).min(candidates.len()),
        }
    }
}

/// Identifies a query, but for the content of its pictures, and the options that decide its hits and their order.
fn mark(query: &Query, search: &Search) -> u64 {
    let options = Search { k: 0, vectors: false, after: None, ..search.clone() };
    xxh3_64(format!("{} {options:?}", query.described()).as_bytes())
}

fn short(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: Cursor = Cursor { search: u64::MAX, seen: 40, passed: 3, depth: 100, item: -7, score: 0.25 };

    fn candidates(scores: &[(i64, f32)]) -> Vec<Candidate> {
        let candidate = |&(item, score)| Candidate { item, reference: item, score, segment: 0, row: 0 };
        scores.iter().map(candidate).collect()
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let text = CURSOR.text();
        assert_eq!((text.len(), Cursor::parse(&text).unwrap()), (90, CURSOR));
        for bad in [
            "",
            "x",
            &text[1..],
            &text[..88],
            &format!("{text}00"),
            &format!("02{}", &text[2..]),
            "兔子",
            &"f".repeat(90),
        ] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_begins_behind_the_last_hit() {
        let list = candidates(&[(1, 0.9), (2, 0.5), (-7, 0.25), (4, 0.1), (5, 0.0)]);
        assert_eq!(CURSOR.start(&list), Some(3));
        let grown = candidates(&[(9, 0.95), (1, 0.9), (2, 0.5), (-7, 0.2501), (4, 0.1)]);
        assert_eq!(CURSOR.start(&grown), Some(4));
        let moved = candidates(&[(-7, 0.99), (1, 0.9), (2, 0.5), (4, 0.1)]);
        assert_eq!((CURSOR.start(&moved), CURSOR.start(&[])), (None, None));
    }

    #[test]
    fn without_the_last_hit_its_score_tells_where_it_was() {
        let gone = candidates(&[(9, 0.95), (1, 0.9), (2, 0.5), (4, 0.1), (5, 0.0)]);
        assert_eq!(CURSOR.start_without(&gone), 3);
        let equal = candidates(&[(1, 0.9), (-9, 0.25), (-5, 0.25), (5, 0.0)]);
        assert_eq!(CURSOR.start_without(&equal), 2);
        let by_words = candidates(&[(1, 0.1), (2, 0.5), (4, 0.1), (5, 0.0)]);
        assert_eq!(CURSOR.start_without(&by_words), 2);
        assert_eq!(CURSOR.start_without(&by_words[..2]), 2);
        assert_eq!(CURSOR.start_without(&[]), 0);
    }
}
