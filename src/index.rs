//! Search by inner product over the vectors of references, one hit for each item.
//!
//! A reference has one vector in each *space*, which is what one model sees in it; a search asks one space, or fuses what
//! several say. The vectors lie in segments of bounded size: a single query runs on all threads, one segment each, and a
//! change touches few segments. Searches read a [`Snapshot`], which stays as it is while a [`Ledger`] prepares the next.
//! [`build`] makes an approximate segment of what a snapshot has; what is added later goes to exact ones again.

mod allowed;
mod approximate;
mod budget;
mod build;
mod cells;
mod coded;
mod device;
mod effort;
mod exact;
mod factory;
mod faiss;
mod file;
mod ledger;
mod mapping;
mod matrix;
mod near;
mod part;
mod plain;
mod rounded;
mod scan;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::allowed::Allowed;
pub use self::approximate::{Left, Sealed};
pub use self::build::{Plan, Texts, build};
pub use self::device::{Resident, hold};
pub use self::effort::{Effort, Setting, Tuned};
pub use self::factory::Factory;
pub use self::file::IndexFile;
pub use self::ledger::Ledger;
pub use self::matrix::damages;
pub use self::near::{EXACT, Near, nearest};
pub use self::part::{Extended, Extending};
pub use self::plain::{Metric, Plain};
pub use self::snapshot::{Part, Request, Snapshot};

use crate::error::Result;
use crate::fusion::Candidate;

/// Vectors of references, each of which belongs to an item; changed in place.
#[derive(Debug)]
pub struct Index {
    ledger: Ledger,
    snapshot: Snapshot,
}

impl Index {
    /// An index without vectors, for vectors of `dims[i]` numbers in space `i`.
    ///
    /// # Errors
    /// Those of [`Ledger::new`].
    pub fn new(dims: &[usize]) -> Result<Self> {
        let (ledger, snapshot) = Ledger::new(dims)?;
        Ok(Self { ledger, snapshot })
    }

    /// Its present state.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Adds references as [`Ledger::add`] does.
    ///
    /// # Errors
    /// Those of [`Ledger::add`].
    pub fn add<V: AsRef<[f32]>>(&mut self, references: &[i64], items: &[i64], vectors: &[V]) -> Result<()> {
        self.ledger.add(&mut self.snapshot, references, items, vectors)
    }

    /// Removes references as [`Ledger::remove`] does.
    ///
    /// # Errors
    /// Those of [`Ledger::remove`].
    pub fn remove(&mut self, references: &[i64]) -> Result<usize> {
        self.ledger.remove(&mut self.snapshot, references)
    }

    /// Searches as [`Snapshot::search`] does.
    ///
    /// # Errors
    /// Those of [`Snapshot::search`].
    pub fn search(&self, request: &Request<'_>) -> Result<Vec<Vec<Candidate>>> {
        self.snapshot.search(request)
    }
}
