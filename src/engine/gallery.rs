//! All references of a catalog at one time, with their vectors and their neighbors.

use std::collections::HashMap;

use rayon::prelude::*;
use serde_json::Value;

use crate::engine::Engine;
use crate::error::Result;
use crate::index::{EXACT, Near, nearest};
use crate::store::Version;
use crate::vectors::Vectors;

/// The most references of an item that each of them is compared with.
const COMPARED: usize = 256;

/// The references of a catalog that have vectors, in the order of their items.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// The id of each item.
    pub ids: Vec<String>,
    /// The label of each item.
    pub labels: Vec<Option<String>>,
    /// The place of each reference's item.
    pub items: Vec<i64>,
    /// The name of each reference.
    pub names: Vec<String>,
    /// SHA-256 of each reference's content.
    pub digests: Vec<[u8; 32]>,
    /// The view of each reference: 0 for a picture.
    pub views: Vec<i64>,
    /// The vector of each reference.
    pub vectors: Vectors,
}

/// The neighbors of each reference of a [`Gallery`].
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    /// The nearest other reference of its item, if it has another.
    pub own: Vec<Option<Near>>,
    /// The best reference of each of the nearest other items, nearest first.
    pub others: Vec<Vec<Near>>,
}

impl Engine {
    /// Returns all references with their vectors of one model, the first one by default, of the items that fit a filter.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the filter cannot be understood or there is no such model; those of the store.
    pub fn gallery(&self, filter: Option<&Value>, model: Option<&str>) -> Result<Gallery> {
        let space = model.map_or(Ok(0), |name| self.space(name))?;
        let state = self.current()?;
        let rows: HashMap<i64, _> = state.index.rows().map(|row| (row.reference, row)).collect();
        let mut gallery = Gallery {
            ids: Vec::new(),
            labels: Vec::new(),
            items: Vec::new(),
            names: Vec::new(),
            digests: Vec::new(),
            views: Vec::new(),
            vectors: Vectors::new(state.index.dims()[space]),
        };
        let mut data = Vec::with_capacity(rows.len() * state.index.dims()[space]);
        for item in self.items(filter, 0, None)? {
            let place = gallery.ids.len() as i64;
            for reference in item.references {
                // Those that came after the state was made have no row there.
                let Some(row) = rows.get(&reference.row) else { continue };
                data.extend_from_slice(state.index.vector(row, space));
                gallery.items.push(place);
                gallery.names.push(reference.name);
                gallery.digests.push(reference.digest);
                gallery.views.push(reference.view);
            }
            if gallery.items.last() == Some(&place) {
                gallery.ids.push(item.id);
                gallery.labels.push(item.label);
            }
        }
        gallery.vectors = Vectors::normalize(gallery.vectors.dim(), data)?;
        Ok(gallery)
    }

    /// Compares each reference of a gallery with the others: with up to 256 of its own item, evenly spread, and with those
    /// of other items, of which `k` are returned. Among more than 20,000 references a few neighbors may be missed.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::error::Error::Interrupted) when it is called off.
    pub fn neighbors(&self, gallery: &Gallery, k: usize) -> Result<Neighbors> {
        let others = nearest(&gallery.vectors, &gallery.items, k, EXACT, self.workers())?;
        let mut starts = vec![0];
        for run in gallery.items.chunk_by(|a, b| a == b) {
            starts.push(starts[starts.len() - 1] + run.len());
        }
        let own = self
            .workers()
            .install(|| starts.par_windows(2).flat_map_iter(|ends| own(&gallery.vectors, ends[0], ends[1])).collect());
        Ok(Neighbors { own, others })
    }

    /// Returns the sequence number of the catalog's last change of a vector, and a number of its last change of any kind,
    /// which means something only while this engine is open.
    ///
    /// # Errors
    /// Those of the store.
    pub fn position(&self) -> Result<(i64, Option<Version>)> {
        let state = self.current()?;
        Ok((state.position.sequence(), state.version))
    }
}

/// The nearest other row of each row from `start` to `end`.
fn own(vectors: &Vectors, start: usize, end: usize) -> Vec<Option<Near>> {
    let count = end - start;
    let compared: Vec<usize> =
        (0..count.min(COMPARED)).map(|place| start + place * count / count.min(COMPARED)).collect();
    let dot = |a: usize, b: usize| vectors.row(a).iter().zip(vectors.row(b)).map(|(a, b)| a * b).sum();
    let nearest = |row: usize| {
        let others =
            compared.iter().filter(|other| **other != row).map(|other| Near { row: *other, score: dot(row, *other) });
        others.reduce(|best, one| if one.score > best.score { one } else { best })
    };
    (start..end).map(nearest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_the_own_item_is_not_the_reference_itself() {
        let vectors = Vectors::normalize(2, vec![1.0, 0.0, 1.0, 0.1, 0.0, 1.0, 5.0, 5.0]).unwrap();
        let found = own(&vectors, 0, 3);
        assert_eq!(found.iter().map(|near| near.unwrap().row).collect::<Vec<_>>(), [1, 0, 1]);
        assert_eq!(own(&vectors, 3, 4), [None]);
        let many = Vectors::normalize(1, vec![1.0; 1000]).unwrap();
        assert!(own(&many, 0, 1000).iter().enumerate().all(|(row, near)| near.unwrap().row != row));
    }
}
