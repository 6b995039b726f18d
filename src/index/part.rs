//! Makes a further approximate segment of what was added since, by the codes that were learned before: in a fraction of the
//! time that it takes to learn them anew.

use std::sync::Arc;

use rayon::ThreadPool;
use serde_json::Value;

use crate::error::Result;
use crate::fusion::Candidate;
use crate::index::approximate::Sealed;
use crate::index::coded::Coded;
use crate::index::file::IndexFile;
use crate::index::ledger::{Ledger, live_rows};
use crate::index::matrix::Matrix;
use crate::index::snapshot::Snapshot;

/// A part that has no more than so many times the rows of those behind it is merged with them, so that few parts remain.
const ALIKE: usize = 2;

/// The rows of a snapshot that are to become a further approximate segment.
#[derive(Debug)]
pub struct Extending {
    /// The approximate segments that stay, and the one that gives its codes.
    kept: Vec<usize>,
    base: Arc<Sealed>,
    rows: Vec<Candidate>,
}

/// A further approximate segment.
#[derive(Debug)]
pub struct Extended {
    kept: Vec<usize>,
    part: Sealed,
}

impl Extending {
    /// The rows of a snapshot that are compared one by one, and those of its small parts; none if there is no approximate
    /// segment to take the codes from, or nothing to add.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let sealed: Vec<usize> =
            (0..snapshot.segments.len()).filter(|number| snapshot.segments[*number].sealed().is_some()).collect();
        let (first, parts) = sealed.split_first()?;
        let mut count = snapshot.exact();
        let mut kept = parts.len();
        while kept > 0 && snapshot.segments[parts[kept - 1]].items().len() <= ALIKE * count {
            kept -= 1;
            count += live_rows(snapshot.segments[parts[kept]].as_ref()).count();
        }
        let kept: Vec<usize> = std::iter::once(*first).chain(parts[..kept].iter().copied()).collect();
        let mut rows: Vec<Candidate> = snapshot.rows().filter(|row| !kept.contains(&(row.segment as usize))).collect();
        rows.sort_unstable_by_key(|row| (row.item, row.reference));
        let base = Arc::clone(snapshot.segments[*first].sealed()?);
        (!rows.is_empty()).then_some(Self { kept, base, rows })
    }

    /// How many approximate segments stay before it.
    pub fn number(&self) -> usize {
        self.kept.len()
    }

    /// The checksum of the file of the last of these, if it has one.
    pub fn follows(&self, snapshot: &Snapshot) -> Option<u64> {
        snapshot.segments[*self.kept.last()?].sealed()?.written
    }

    /// Makes the segment, with its vectors as pages of a file if there is one, and else in memory.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::error::Error::Interrupted) when it is called off,
    /// [`Error::Io`](crate::error::Error::Io) when the file cannot be written; those of faiss.
    pub fn make(&self, snapshot: &Snapshot, pool: &ThreadPool, mut file: Option<&mut IndexFile>) -> Result<Extended> {
        let (mut vectors, mut coded) = (Vec::new(), Vec::new());
        for (space, codes) in self.base.coded.iter().enumerate() {
            let rows = self.rows.iter().map(|row| snapshot.vector(row, space));
            let matrix = match &mut file {
                Some(file) => file.add(codes.dim(), rows)?,
                None => Matrix::new(codes.dim(), rows.flatten().copied().collect()),
            };
            coded.push(Coded::like(codes, &matrix, pool.current_num_threads())?);
            vectors.push(matrix);
        }
        let references = self.rows.iter().map(|row| row.reference).collect();
        let items = self.rows.iter().map(|row| row.item).collect();
        let tuned = self.base.tuned.clone();
        let part = Sealed { references, items, vectors, coded, tuned, resident: None, written: None };
        Ok(Extended { kept: self.kept.clone(), part })
    }
}

impl Extended {
    /// Gives the file of the segment its name, with what its owner says of it.
    ///
    /// # Errors
    /// Those of [`IndexFile::finish`].
    pub fn keep(&mut self, file: IndexFile, about: &Value) -> Result<()> {
        file.finish(&mut self.part, about)
    }

    /// The rows of each segment that stays before it that are gone.
    pub fn gone(&self, snapshot: &Snapshot) -> Vec<Vec<u32>> {
        let gone = |number: &usize| {
            let segment = &snapshot.segments[*number];
            let live = segment.live();
            let is_gone = |row: &u32| live.is_some_and(|live| !live.has(*row as usize));
            (0..segment.items().len() as u32).filter(is_gone).collect()
        };
        self.kept.iter().map(gone).collect()
    }

    /// The ledger and the snapshot that begin with it, in the place of the snapshot that it was made of.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub fn ledger(self, snapshot: &Snapshot) -> Result<(Ledger, Snapshot)> {
        Ledger::with(snapshot, &self.kept, Arc::new(self.part))
    }
}
