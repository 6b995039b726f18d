//! Cells of rows: their centers, which lie where the rows lie, and the cells whose centers are nearest to a row.

use std::collections::HashMap;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::error::Result;
use crate::index::faiss::inner_product;
use crate::index::{Index, Part, Request};
use crate::vectors::Vectors;

/// Rows for each cell among which the first centers are chosen, and the rounds in which they are.
const CHOSEN: usize = 8;
const ROUNDS: usize = 8;
/// In each round one row in so many may become a center: those farthest from the centers so far.
const FAR: usize = 4;
/// Rows for each cell that its center is learned from, in so many steps: few at first, which are enough to move it far.
const LEARNED: [(usize, usize); 3] = [(16, 1), (16, 4), (32, 3)];
/// Cells that a row is compared with in all steps but the first of these: those that were nearest to it then.
const NEAREST: usize = 16;
/// A cell with fewer than one in so many of the rows that it should have is given up for a part of a large one.
const SMALL: usize = 4;
/// Rows that are looked up together.
pub(super) const TOGETHER: usize = 1024;

/// The most rows for each cell that centers are learned from.
pub(super) const MOST_LEARNED: usize = LEARNED[LEARNED.len() - 1].0;

/// A copy of some rows.
pub(super) fn gathered(vectors: &Vectors, rows: &[usize]) -> Result<Vectors> {
    Vectors::normalize(vectors.dim(), rows.iter().flat_map(|row| vectors.row(*row)).copied().collect())
}

/// Learns centers of cells from rows that are evenly spread (spherical k-means; Dhillon and Modha, Machine Learning 2001).
/// The first centers lie far from each other, for groups of rows that no center is near would be torn apart for good. Once
/// they have moved among their rows they move little, so that a row finds its next among those that were near before.
pub(super) fn centers(vectors: &Vectors, cells: usize, pool: &ThreadPool) -> Result<Vectors> {
    let count = vectors.len();
    let some = |each: usize| -> Vec<usize> {
        let count_of = count.min(cells * each);
        (0..count_of).map(|place| place * count / count_of).collect()
    };
    let mut centers = first_centers(vectors, &some(CHOSEN), cells, pool)?;
    for (each, steps) in LEARNED {
        let rows = some(each);
        let mut near = assigned(vectors, &rows, &centers, if steps > 1 { NEAREST } else { 1 }, pool)?;
        for step in 0..steps {
            let cells = match step {
                0 => near.iter().map(|near| near[0]).collect(),
                _ => nearest_of(vectors, &rows, &near, &centers, pool),
            };
            let parted;
            (centers, parted) = moved(vectors, &rows, &cells, &centers)?;
            for (near, cell) in near.iter_mut().zip(cells) {
                near.extend(parted.get(&cell));
            }
        }
    }
    Ok(centers)
}

/// Chooses rows as centers, in rounds: at first evenly spread ones, then some of those that are farthest from all before.
fn first_centers(vectors: &Vectors, rows: &[usize], cells: usize, pool: &ThreadPool) -> Result<Vectors> {
    let mut chosen: Vec<usize> = Vec::with_capacity(cells);
    let mut nearest = vec![f32::NEG_INFINITY; rows.len()];
    for round in 1..=ROUNDS {
        let missing = cells * round / ROUNDS - chosen.len();
        let mut far: Vec<usize> = (0..rows.len()).collect();
        if round > 1 {
            far.sort_unstable_by(|a, b| nearest[*a].total_cmp(&nearest[*b]).then(a.cmp(b)));
            far.truncate((rows.len() / FAR).max(missing));
            far.sort_unstable();
        }
        let new: Vec<usize> = (0..missing).map(|place| rows[far[place * far.len() / missing]]).collect();
        if round < ROUNDS && !new.is_empty() {
            let found = looked_up(vectors, rows, &gathered(vectors, &new)?, 1, pool)?;
            nearest.iter_mut().zip(found).for_each(|(best, found)| *best = best.max(found[0].1));
        }
        chosen.extend(new);
    }
    gathered(vectors, &chosen)
}

/// Moves each center to the mean of the rows of its cell. Returns with them the large cells of which a part is one now, each
/// with the cell that was given up for it.
fn moved(
    vectors: &Vectors,
    rows: &[usize],
    cells: &[usize],
    centers: &Vectors,
) -> Result<(Vectors, HashMap<usize, usize>)> {
    let (dim, count) = (vectors.dim(), centers.len());
    let (mut sums, mut sizes, mut members) = (vec![0.0_f32; count * dim], vec![0; count], vec![0; count]);
    for (row, cell) in rows.iter().zip(cells) {
        let sum = &mut sums[cell * dim..(cell + 1) * dim];
        sum.iter_mut().zip(vectors.row(*row)).for_each(|(sum, value)| *sum += value);
        sizes[*cell] += 1;
        members[*cell] = *row;
    }
    let mut by_size: Vec<usize> = (0..count).collect();
    by_size.sort_unstable_by_key(|cell| (sizes[*cell], *cell));
    let mut parted = HashMap::new();
    for (small, large) in by_size.iter().zip(by_size.iter().rev()) {
        if sizes[*small] * SMALL * count >= rows.len() || sizes[*large] * count < 2 * rows.len() {
            break;
        }
        sums[small * dim..(small + 1) * dim].copy_from_slice(vectors.row(members[*large]));
        parted.insert(*large, *small);
    }
    for (cell, sum) in sums.chunks_exact_mut(dim).enumerate() {
        // A cell that has no row keeps its center.
        if sum.iter().all(|value| value.abs() < 1e-6) {
            sum.copy_from_slice(centers.row(cell));
        }
    }
    Ok((Vectors::normalize(dim, sums)?, parted))
}

/// Of some cells of each row, the one whose center is nearest to it.
fn nearest_of(
    vectors: &Vectors,
    rows: &[usize],
    cells: &[Vec<usize>],
    centers: &Vectors,
    pool: &ThreadPool,
) -> Vec<usize> {
    let nearest = |(row, cells): (&usize, &Vec<usize>)| {
        let score = |cell: usize| inner_product(vectors.row(*row), centers.row(cell));
        let best = cells.iter().map(|cell| (*cell, score(*cell))).max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map_or(0, |(cell, _)| cell)
    };
    pool.install(|| rows.par_iter().zip(cells).map(nearest).collect())
}

/// The cells whose centers are nearest to each row, nearest first.
pub(super) fn assigned(
    vectors: &Vectors,
    rows: &[usize],
    centers: &Vectors,
    looked: usize,
    pool: &ThreadPool,
) -> Result<Vec<Vec<usize>>> {
    let found = looked_up(vectors, rows, centers, looked, pool)?;
    Ok(found.into_iter().map(|found| found.into_iter().map(|(cell, _)| cell).collect()).collect())
}

fn looked_up(
    vectors: &Vectors,
    rows: &[usize],
    centers: &Vectors,
    looked: usize,
    pool: &ThreadPool,
) -> Result<Vec<Vec<(usize, f32)>>> {
    let mut index = Index::new(&[vectors.dim()])?;
    let numbers: Vec<i64> = (0..centers.len() as i64).collect();
    index.add(&numbers, &numbers, &[centers.as_slice()])?;
    let mut cells = Vec::with_capacity(rows.len());
    for some in rows.chunks(TOGETHER) {
        let queries = gathered(vectors, some)?;
        let weights = vec![1.0; some.len()];
        let parts = [Part { space: 0, vectors: &queries, weights: &weights, bounded: false, texts: false }];
        let found = index.search(&Request { pool: Some(pool), ..Request::new(&parts, looked) })?;
        cells.extend(found.into_iter().map(|found| found.iter().map(|one| (one.item as usize, one.score)).collect()));
    }
    Ok(cells)
}
