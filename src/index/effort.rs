//! How much of an approximate index a search looks at.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The settings of one search; by default those that were measured for the index. Exact segments ignore them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effort {
    /// The lists that are probed (faiss's `nprobe`), in an index that has lists.
    pub nprobe: Option<usize>,
    /// The rows that are kept in view (faiss's `efSearch`), in a graph.
    pub ef_search: Option<usize>,
    /// For each row that is wanted, how many are compared by their full vectors: at least 1.
    pub k_factor: Option<f32>,
}

impl Effort {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] for one that makes no sense.
    pub fn check(&self) -> Result<()> {
        for (name, number) in [("nprobe", self.nprobe), ("ef_search", self.ef_search)] {
            if number == Some(0) {
                return Err(Error::argument(format!("{name} 0: give at least 1")));
            }
        }
        match self.k_factor {
            Some(factor) if !(factor.is_finite() && factor >= 1.0) => {
                Err(Error::argument(format!("k_factor {factor}: give a finite number, 1 or more")))
            }
            _ => Ok(()),
        }
    }
}

/// How much one kind of query looks at, and what it finds so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Lists that are probed, or rows that are kept in view.
    pub looked: usize,
    /// For each row that is wanted, how many are compared by their full vectors.
    pub k_factor: f32,
    /// The measured share of the exact best 10 items; `None` where nothing was measured.
    pub recall: Option<f32>,
}

/// What was measured for an index.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// For queries by pictures, items and vectors.
    pub pictures: Setting,
    /// For queries by texts.
    pub texts: Setting,
    /// So many rows are compared by their full vectors in the time that a search takes.
    pub few: usize,
}

impl Tuned {
    /// The setting of a kind of query.
    pub(super) fn of(&self, texts: bool) -> &Setting {
        if texts { &self.texts } else { &self.pictures }
    }
}
