//! Rows that go to a server together, as long as it takes them.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::encoder::custom::BatchError;
use crate::error::Result;
use crate::vectors::Vectors;

/// The number of rows that a server takes at a time, as far as that is known.
pub(super) struct AdaptiveBatch(AtomicUsize);

impl AdaptiveBatch {
    pub(super) fn new(most: usize) -> Self {
        Self(AtomicUsize::new(most))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The vector of each row. Those that a server refuses to compute together are halved, so that one bad row spoils no
    /// other; where it was only too much for one request, later ones are smaller.
    pub(super) fn run(
        &self,
        rows: Range<usize>,
        run: &impl Fn(Range<usize>) -> Result<Vectors, BatchError>,
    ) -> Result<Vec<Result<Vectors>>> {
        let (most, count) = (self.get(), rows.len());
        if count == 0 {
            return Ok(Vec::new());
        }
        if count <= most {
            match run(rows.clone()) {
                Ok(vectors) => return Ok(vectors.split().into_iter().map(Ok).collect()),
                Err(trouble) if !trouble.about_these => return Err(trouble.error),
                Err(trouble) if count == 1 => return Ok(vec![Err(trouble.error)]),
                Err(_) => {}
            }
        }
        let half = count.div_ceil(2);
        let mut done = self.run(rows.start..rows.start + half, run)?;
        done.extend(self.run(rows.start + half..rows.end, run)?);
        if count <= most && done.iter().all(Result::is_ok) {
            self.0.fetch_min(half, Ordering::Relaxed);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::error::Error;

    fn vectors(rows: Range<usize>) -> Vectors {
        Vectors::normalize(2, rows.flat_map(|row| [row as f32, 1.0]).collect()).unwrap()
    }

    fn trouble(about_these: bool) -> BatchError {
        BatchError { error: Error::argument("no"), about_these }
    }

    #[test]
    fn a_bad_row_is_found_by_halving() {
        let most = AdaptiveBatch::new(16);
        let run = |rows: Range<usize>| if rows.contains(&5) { Err(trouble(true)) } else { Ok(vectors(rows)) };
        let done = most.run(0..9, &run).unwrap();
        for (row, vector) in done.iter().enumerate() {
            assert_eq!(vector.as_ref().ok(), (row != 5).then(|| vectors(row..row + 1)).as_ref(), "{row}");
        }
        assert_eq!(most.get(), 16);
        assert!(most.run(0..0, &run).unwrap().is_empty());
    }

    #[test]
    fn a_server_that_takes_fewer_rows_is_given_fewer() {
        let (most, asked) = (AdaptiveBatch::new(16), RefCell::new(vec![]));
        let run = |rows: Range<usize>| {
            asked.borrow_mut().push(rows.len());
            if rows.len() > 4 { Err(trouble(true)) } else { Ok(vectors(rows)) }
        };
        assert_eq!(most.run(0..16, &run).unwrap().len(), 16);
        assert_eq!((most.get(), asked.take()), (4, vec![16, 8, 4, 4, 4, 4]));
        assert_eq!(most.run(0..16, &run).unwrap().len(), 16);
        assert_eq!(asked.take(), [4, 4, 4, 4]);
    }

    #[test]
    fn what_would_hit_every_row_ends_it() {
        assert!(AdaptiveBatch::new(4).run(0..4, &|_| Err(trouble(false))).is_err());
    }
}
