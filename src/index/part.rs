//! Makes a further approximate segment of what was added since, by the codes that were learned before: in a fraction of the
//! time that it takes to learn them anew.

use std::sync::Arc;

use rayon::ThreadPool;

use crate::error::{Error, Result};
use crate::fusion::Candidate;
use crate::index::approximate::Sealed;
use crate::index::coded::Coded;
use crate::index::ledger::{Ledger, live_rows};
use crate::index::matrix::Matrix;
use crate::index::snapshot::Snapshot;

/// A part that has no more than so many times the rows of those behind it is merged with them, so that few parts remain.
const ALIKE: usize = 2;

/// A snapshot whose added rows have become part of an approximate segment, and the ledger that goes on from it.
#[derive(Debug)]
pub struct Extended {
    kept: Vec<usize>,
    part: Arc<Sealed>,
}

impl Extended {
    /// Makes a segment of the rows of a snapshot that are compared one by one, and of its small parts; none if there is
    /// no approximate segment to take the codes from, or nothing to add.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when it is called off; those of faiss.
    pub fn new(snapshot: &Snapshot, pool: &ThreadPool) -> Result<Option<Self>> {
        let sealed: Vec<usize> =
            (0..snapshot.segments.len()).filter(|number| snapshot.segments[*number].sealed().is_some()).collect();
        let Some((first, parts)) = sealed.split_first() else { return Ok(None) };
        let first = *first;
        let mut count = snapshot.exact();
        let mut kept = parts.len();
        while kept > 0 && snapshot.segments[parts[kept - 1]].items().len() <= ALIKE * count {
            kept -= 1;
            count += live_rows(snapshot.segments[parts[kept]].as_ref()).count();
        }
        let kept: Vec<usize> = std::iter::once(first).chain(parts[..kept].iter().copied()).collect();
        let mut rows: Vec<Candidate> = snapshot.rows().filter(|row| !kept.contains(&(row.segment as usize))).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        rows.sort_unstable_by_key(|row| (row.item, row.reference));
        let base = snapshot.segments[first].sealed().ok_or_else(|| Error::internal("a segment without codes"))?;
        let (mut vectors, mut coded) = (Vec::new(), Vec::new());
        for (space, codes) in base.coded.iter().enumerate() {
            let data = rows.iter().flat_map(|row| snapshot.vector(row, space)).copied().collect();
            let matrix = Matrix::new(codes.dim(), data);
            coded.push(Coded::like(codes, &matrix, pool.current_num_threads())?);
            vectors.push(matrix);
        }
        let references = rows.iter().map(|row| row.reference).collect();
        let items = rows.iter().map(|row| row.item).collect();
        let part = Arc::new(Sealed { references, items, vectors, coded, tuned: base.tuned.clone(), resident: None });
        Ok(Some(Self { kept, part }))
    }

    /// The ledger and the snapshot that begin with it, in the place of the snapshot that it was made of.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub fn ledger(&self, snapshot: &Snapshot) -> Result<(Ledger, Snapshot)> {
        Ledger::with(snapshot, &self.kept, &self.part)
    }
}
