//! Cells of rows: their centers, which lie where the rows lie, and the cells whose centers are nearest to a row.

use rayon::ThreadPool;

use crate::error::Result;
use crate::index::{Index, Part, Request};
use crate::vectors::Vectors;

/// Rows for each cell that its center is learned from, and the steps of learning.
const LEARNED: usize = 32;
const STEPS: usize = 6;
/// Rows that are looked up together.
pub(super) const TOGETHER: usize = 1024;

/// A copy of some rows.
pub(super) fn gathered(vectors: &Vectors, rows: &[usize]) -> Result<Vectors> {
    Vectors::normalize(vectors.dim(), rows.iter().flat_map(|row| vectors.row(*row)).copied().collect())
}

/// Learns centers of cells from rows that are evenly spread (spherical k-means).
pub(super) fn centers(vectors: &Vectors, cells: usize, pool: &ThreadPool) -> Result<Vectors> {
    let count = vectors.len();
    let learned = count.min(cells * LEARNED);
    let rows: Vec<usize> = (0..learned).map(|place| place * count / learned).collect();
    let first: Vec<usize> = (0..cells).map(|cell| rows[cell * learned / cells]).collect();
    let mut centers = gathered(vectors, &first)?;
    for _ in 0..STEPS {
        let dim = vectors.dim();
        let mut sums = vec![0.0_f32; cells * dim];
        for (row, cell) in rows.iter().zip(assigned(vectors, &rows, &centers, 1, pool)?) {
            let sum = &mut sums[cell[0] * dim..(cell[0] + 1) * dim];
            sum.iter_mut().zip(vectors.row(*row)).for_each(|(sum, value)| *sum += value);
        }
        for (cell, sum) in sums.chunks_exact_mut(dim).enumerate() {
            // A cell that has no row keeps its center.
            if sum.iter().all(|value| value.abs() < 1e-6) {
                sum.copy_from_slice(centers.row(cell));
            }
        }
        centers = Vectors::normalize(dim, sums)?;
    }
    Ok(centers)
}

/// The cells whose centers are nearest to each row, nearest first.
pub(super) fn assigned(
    vectors: &Vectors,
    rows: &[usize],
    centers: &Vectors,
    looked: usize,
    pool: &ThreadPool,
) -> Result<Vec<Vec<usize>>> {
    let mut index = Index::new(&[vectors.dim()])?;
    let numbers: Vec<i64> = (0..centers.len() as i64).collect();
    index.add(&numbers, &numbers, &[centers.as_slice()])?;
    let mut cells = Vec::with_capacity(rows.len());
    for some in rows.chunks(TOGETHER) {
        let queries = gathered(vectors, some)?;
        let weights = vec![1.0; some.len()];
        let parts = [Part { space: 0, vectors: &queries, weights: &weights, bounded: false, texts: false }];
        let found = index.search(&Request { pool: Some(pool), ..Request::new(&parts, looked) })?;
        cells.extend(found.into_iter().map(|found| found.iter().map(|one| one.item as usize).collect()));
    }
    Ok(cells)
}
