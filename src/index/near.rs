//! The nearest rows of every row of a matrix, among rows of other items.
//!
//! Few rows are compared with all others. Many are divided into about as many cells as a cell has rows, around centers
//! that lie where the rows lie, and each row is compared with those of the cells whose centers are nearest to it: the work
//! grows as the count's power of 1.5. A row that is very near shares a cell with it almost always.

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::fusion::Candidate;
use crate::index::cells::{TOGETHER, assigned, centers, gathered};
use crate::index::{Index, Part, Request};
use crate::vectors::Vectors;

/// Up to this many rows every row is compared with every other one.
pub const EXACT: usize = 20_000;
/// Cells whose rows each row is compared with.
const LOOKED: usize = 8;

/// A row that is near another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// The number of the row.
    pub row: usize,
    /// The cosine.
    pub score: f32,
}

/// Returns for each row the best row of each of the `k` nearest other items, nearest first. `items` has the item of each
/// row. More than `exact` rows are divided into cells: then a few of the neighbors may be missed.
///
/// # Errors
/// [`Error::Interrupted`](crate::error::Error::Interrupted) when it is called off; those of the index.
pub fn nearest(vectors: &Vectors, items: &[i64], k: usize, exact: usize, pool: &ThreadPool) -> Result<Vec<Vec<Near>>> {
    let count = vectors.len();
    if count == 0 || k == 0 {
        return Ok(vec![Vec::new(); count]);
    }
    let rows: Vec<usize> = (0..count).collect();
    if count <= exact {
        return compared(vectors, items, k, &rows, &rows, Some(pool));
    }
    let cells = (count as f64).sqrt().ceil() as usize;
    let looked = assigned(vectors, &rows, &centers(vectors, cells, pool)?, LOOKED, pool)?;
    let (mut members, mut visitors) = (vec![Vec::new(); cells], vec![Vec::new(); cells]);
    for (row, cells) in looked.iter().enumerate() {
        members[cells[0]].push(row);
        cells.iter().for_each(|cell| visitors[*cell].push(row));
    }
    let cancel = Cancel::current();
    let found: Vec<Vec<Vec<Near>>> = pool.install(|| {
        members
            .par_iter()
            .zip(&visitors)
            .map(|(members, visitors)| {
                cancel.check()?;
                compared(vectors, items, k, members, visitors, None)
            })
            .collect::<Result<_>>()
    })?;
    let mut nearest: Vec<Vec<Near>> = vec![Vec::new(); count];
    for (visitors, found) in visitors.iter().zip(found) {
        for (row, found) in visitors.iter().zip(found) {
            nearest[*row].extend(found);
        }
    }
    for near in &mut nearest {
        near.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        let mut kept: Vec<i64> = Vec::with_capacity(k);
        near.retain(|one| {
            let is_new = kept.len() < k && !kept.contains(&items[one.row]);
            if is_new {
                kept.push(items[one.row]);
            }
            is_new
        });
    }
    Ok(nearest)
}

/// Compares some rows with the members of a cell.
fn compared(
    vectors: &Vectors,
    items: &[i64],
    k: usize,
    members: &[usize],
    rows: &[usize],
    pool: Option<&ThreadPool>,
) -> Result<Vec<Vec<Near>>> {
    if members.is_empty() {
        return Ok(vec![Vec::new(); rows.len()]);
    }
    let mut index = Index::new(&[vectors.dim()])?;
    let own: Vec<i64> = members.iter().map(|row| items[*row]).collect();
    let numbers: Vec<i64> = members.iter().map(|row| *row as i64).collect();
    index.add(&numbers, &own, &[gathered(vectors, members)?.as_slice()])?;
    let mut nearest = Vec::with_capacity(rows.len());
    for some in rows.chunks(TOGETHER) {
        let queries = gathered(vectors, some)?;
        let weights = vec![1.0; some.len()];
        let parts = [Part { space: 0, vectors: &queries, weights: &weights, bounded: false, texts: false }];
        let found = index.search(&Request { pool, ..Request::new(&parts, k + 1) })?;
        nearest.extend(some.iter().zip(found).map(|(row, found)| others(found, items[*row], k)));
    }
    Ok(nearest)
}

fn others(found: Vec<Candidate>, item: i64, k: usize) -> Vec<Near> {
    let others = found.into_iter().filter(|one| one.item != item).take(k);
    others.map(|one| Near { row: one.reference as usize, score: one.score }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::workers;

    /// Items of two rows each around centers of their own; numbers come from a simple generator.
    fn rows(items: usize, dim: usize) -> (Vectors, Vec<i64>) {
        let mut seed = 7_u64;
        let mut dice = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut data = Vec::new();
        for _ in 0..items {
            let center: Vec<f32> = (0..dim).map(|_| dice()).collect();
            for _ in 0..2 {
                data.extend(center.iter().map(|value| value + 0.5 * dice()));
            }
        }
        (Vectors::normalize(dim, data).unwrap(), (0..2 * items as i64).map(|row| row / 2).collect())
    }

    /// Compares every row with every other one.
    fn reference(vectors: &Vectors, items: &[i64], row: usize) -> Near {
        let dot = |other: usize| vectors.row(row).iter().zip(vectors.row(other)).map(|(a, b)| a * b).sum();
        let others = (0..items.len()).filter(|other| items[*other] != items[row]);
        let near = others.map(|other| Near { row: other, score: dot(other) });
        near.max_by(|a, b| a.score.total_cmp(&b.score)).unwrap()
    }

    #[test]
    fn few_rows_are_compared_with_all_others() {
        let (vectors, items) = rows(60, 8);
        let found = nearest(&vectors, &items, 3, EXACT, &workers(Some(2)).unwrap()).unwrap();
        for (row, near) in found.iter().enumerate() {
            let best = reference(&vectors, &items, row);
            assert_eq!((near.len(), near[0].row), (3, best.row));
            assert!((near[0].score - best.score).abs() < 1e-5);
            assert!(near.iter().all(|one| items[one.row] != items[row]));
            assert!(near[0].score >= near[1].score && near[1].score >= near[2].score);
        }
    }

    #[test]
    fn cells_miss_few_of_the_nearest() {
        let (vectors, items) = rows(1500, 8);
        let pool = workers(Some(2)).unwrap();
        let exact = nearest(&vectors, &items, 2, EXACT, &pool).unwrap();
        let cells = nearest(&vectors, &items, 2, 100, &pool).unwrap();
        let same = exact.iter().zip(&cells).filter(|(a, b)| a[0].row == b[0].row).count();
        assert!(same as f64 >= 0.95 * exact.len() as f64, "{same} of {}", exact.len());
        for (row, near) in cells.iter().enumerate() {
            assert!(near.iter().all(|one| items[one.row] != items[row]));
            assert!(near.len() < 2 || items[near[0].row] != items[near[1].row]);
        }
    }

    #[test]
    fn one_item_has_no_neighbors() {
        let (vectors, _) = rows(2, 4);
        let found = nearest(&vectors, &[5; 4], 3, EXACT, &workers(Some(1)).unwrap()).unwrap();
        assert!(found.iter().all(Vec::is_empty) && found.len() == 4);
        assert!(nearest(&Vectors::new(4), &[], 3, EXACT, &workers(Some(1)).unwrap()).unwrap().is_empty());
    }
}
