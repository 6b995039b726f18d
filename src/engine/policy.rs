//! When an index is built, and which one.

use std::sync::Arc;

use crate::encoder::{Device, Products};
use crate::engine::memory::Memory;
use crate::error::{Error, Result};
use crate::index::{Factory, Plan, Snapshot};

/// Up to about so many references every one is compared: one search takes 10 ms for 256 numbers each.
pub(super) const EXACT: usize = 100_000;
/// An index is built anew when more than one in so many references has come or gone.
pub(super) const CHANGED: usize = 4;
/// From so many references on a device compares them sooner than the processor.
const ON_DEVICE: usize = 10_000;
/// Fewer of them cost nothing.
const FEW: usize = 10_000;
/// More added references than these become a part of the approximate index.
const LONG: usize = 16_384;
/// The share of the exact best 10 items that searches find by default.
pub const RECALL: f32 = 0.98;

/// Which index an engine has.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexOptions {
    /// `"auto"`: exact up to about 100,000 references, and approximate beyond; `"exact"`; or a factory string of faiss.
    pub index: String,
    /// The share of the exact best 10 items that searches are to find in an approximate index: above 0, and at most 1. By
    /// default that for which the catalog's index was built, or [`RECALL`].
    pub recall: Option<f32>,
    /// How much memory an approximate index may take, without pages of its file; by default as much as it needs.
    pub memory: Option<Memory>,
    /// The device that compares every reference by ONNX Runtime; by default the processor does, without it.
    pub device: Option<Device>,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self { index: "auto".to_owned(), recall: None, memory: None, device: None }
    }
}

/// When an approximate index is made, and how.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    wanted: Wanted,
    /// The device that compares every reference.
    pub(super) products: Option<Arc<Products>>,
    /// The factory string, or how it is chosen.
    pub(super) name: String,
    /// The fewest references.
    least: usize,
    pub(super) memory: Option<Memory>,
}

/// The approximate index.
#[derive(Debug, Clone)]
enum Wanted {
    /// None: every reference is always compared.
    Exact,
    /// One that suits the references.
    Chosen,
    /// Factory strings for the vectors of each model.
    Named(Vec<Factory>),
}

impl Policy {
    pub(super) fn new(options: &IndexOptions, dims: &[usize]) -> Result<Self> {
        let IndexOptions { index, recall, memory, .. } = options;
        if let Some(recall) = recall.filter(|recall| !(*recall > 0.0 && *recall <= 1.0)) {
            return Err(Error::argument(format!("recall {recall}: give a number above 0 and at most 1")));
        }
        let (wanted, least) = match index.as_str() {
            "exact" | "Flat" => (Wanted::Exact, 0),
            "auto" => (Wanted::Chosen, EXACT),
            text => {
                let factories = dims.iter().map(|dim| Factory::parse(text, *dim)).collect::<Result<Vec<_>>>()?;
                let least = factories.iter().map(Factory::least_rows).max().unwrap_or_default();
                (Wanted::Named(factories), least)
            }
        };
        Ok(Self { wanted, products: None, name: index.clone(), least, memory: *memory })
    }

    /// The same, on a device.
    pub(super) fn on_device(options: &IndexOptions, device: &Device, threads: usize) -> Result<Self> {
        let IndexOptions { index, .. } = options;
        if !["auto", "exact", "Flat"].contains(&index.as_str()) {
            return Err(Error::argument(format!(
                "index {index:?} with index_device {device}: a device compares every reference; leave one of them out"
            )));
        }
        let products = Some(Products::open(device, threads)?);
        Ok(Self { wanted: Wanted::Exact, products, name: "exact".to_owned(), least: ON_DEVICE, memory: None })
    }

    /// Whether there is ever something to build.
    pub(super) fn builds(&self) -> bool {
        self.is_approximate() || self.products.is_some()
    }

    /// How an approximate index is made for a recall, if there is one.
    ///
    /// # Errors
    /// Those of [`Memory::bytes`].
    pub(super) fn plan(&self, recall: f32) -> Result<Option<Plan>> {
        let factories = match &self.wanted {
            Wanted::Exact => return Ok(None),
            Wanted::Chosen => None,
            Wanted::Named(factories) => Some(factories.clone()),
        };
        let memory = self.memory.map(Memory::bytes).transpose()?;
        Ok(Some(Plan { factories, memory, recall }))
    }

    /// Whether it uses an approximate index.
    pub(super) fn is_approximate(&self) -> bool {
        !matches!(self.wanted, Wanted::Exact)
    }

    /// Whether an approximate index is chosen by itself.
    pub(super) fn chooses(&self) -> bool {
        matches!(self.wanted, Wanted::Chosen)
    }

    /// Whether an index is missing, or old: the codes of what was added later were learned without it.
    pub(super) fn is_due(&self, index: &Snapshot) -> bool {
        let all: usize = index.sealed().map(|sealed| sealed.len()).sum();
        let learned = index.sealed().next().map_or(0, |sealed| sealed.len());
        let (added, gone) = (all - learned + index.exact(), all + index.exact() - index.len());
        let is_old = added + gone > FEW.min(self.least) && added + gone > learned / CHANGED;
        self.builds() && index.len() >= self.least && is_old
    }

    /// Whether so many rows are compared one by one that they are worth a part of their own.
    pub(super) fn is_long(&self, index: &Snapshot) -> bool {
        self.is_approximate() && index.exact() > LONG && index.sealed().next().is_some()
    }

    /// Whether an index of that name is what it wants.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.chooses() || (self.is_approximate() && self.name == name)
    }
}
