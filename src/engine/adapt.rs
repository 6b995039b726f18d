//! Keeps a linear map that was learned from the catalog's references: pictures are identified by it.

use std::collections::HashMap;

use crate::calibrate::Metric;
use crate::engine::Engine;
use crate::engine::calibration::Calibrated;
use crate::engine::ensemble::Ensemble;
use crate::engine::labeled::Labeled;
use crate::engine::second::PARTS;
use crate::error::{Error, Result};
use crate::query::Kind;

/// A map, and what is needed to tell what its scores mean.
#[derive(Debug, Clone)]
pub struct Adapting {
    /// The map of all items.
    pub whole: Metric,
    /// For each of five parts of the items, the map of the other parts.
    pub parts: Vec<Metric>,
    /// The part of each item that was learned from, by its id.
    pub items: Vec<(String, usize)>,
}

/// The same, with the rows of the items.
pub(super) struct Adapter {
    pub(super) whole: Metric,
    pub(super) parts: Vec<Metric>,
    pub(super) items: HashMap<i64, usize>,
}

impl Engine {
    /// Identifies pictures by a map from now on, and calibrates them by it. Stores it with the catalog, unless that was
    /// opened to be read only. Labeled queries count no longer.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such model, it sees no pictures, or the maps are not of its vectors; those of
    /// the store.
    pub fn adapt(&self, model: Option<&str>, given: &Adapting) -> Result<Calibrated> {
        let state = self.current()?;
        let space = self.seeing(model)?;
        let dim = state.index.dims()[space];
        let parts = PARTS as usize;
        let fits = given.parts.iter().chain([&given.whole]).all(|metric| metric.dim() == dim);
        if !fits || given.parts.len() != parts || given.items.iter().any(|(_, part)| *part >= parts) {
            return Err(Error::argument(format!(
                "an adapter needs maps of {dim} numbers, one for each of {parts} parts"
            )));
        }
        // An item that has been removed meanwhile is not left out.
        let rows = given.items.iter().filter_map(|(id, part)| match self.get(id) {
            Ok(item) => Some(Ok((item.row, *part))),
            Err(Error::UnknownItem(_)) => None,
            Err(error) => Some(Err(error)),
        });
        let items = rows.collect::<Result<_>>()?;
        let adapter = Adapter { whole: given.whole.clone(), parts: given.parts.clone(), items };
        let ensemble = Ensemble::one(space);
        let _work = self.calibrations.work();
        let (chosen, left_out) = self.left_out(&state, &ensemble)?;
        let (look, found) = self.adapted_look(&state, &ensemble, &chosen, &adapter)?;
        let second = self.second(&state, &ensemble, look, &found, Vec::new())?.by_adapter(found);
        let made = self.assembled(&state, &ensemble, Kind::Image, &left_out, Vec::new(), Some(second))?;
        let report = self.report(&state, &ensemble, Kind::Image, &made);
        self.keep_calibration(&ensemble, made)?;
        Ok(report)
    }

    /// Forgets the map of a model and calibrates pictures as if there had been none. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such model or it sees no pictures; those of the store.
    pub fn forget_adapter(&self, model: Option<&str>) -> Result<bool> {
        let state = self.current()?;
        let ensemble = Ensemble::one(self.seeing(model)?);
        let _work = self.calibrations.work();
        if self.adapter(&state, &ensemble)?.is_none() {
            return Ok(false);
        }
        let none = Labeled::none(self, ensemble.spaces());
        let made = self.calibration(&state, &ensemble, Kind::Image, &none, None)?;
        self.keep_calibration(&ensemble, made)?;
        Ok(true)
    }
}
