//! Which rows a search may return.

use std::collections::HashSet;

/// A set of row numbers: one bit each where they lie close together, as those of a catalog do, else hashed.
#[derive(Debug, Clone)]
pub struct Rows(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Dense { first: i64, bits: Vec<u64>, len: usize },
    Sparse(HashSet<i64>),
}

impl Rows {
    /// Whether `row` is in the set.
    pub fn contains(&self, row: i64) -> bool {
        match &self.0 {
            Kind::Dense { first, bits, .. } => {
                let offset = row.wrapping_sub(*first) as u64;
                bits.get((offset / 64) as usize).is_some_and(|word| word >> (offset % 64) & 1 == 1)
            }
            Kind::Sparse(rows) => rows.contains(&row),
        }
    }

    /// How many rows are in the set.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Dense { len, .. } => *len,
            Kind::Sparse(rows) => rows.len(),
        }
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<i64> for Rows {
    fn from_iter<I: IntoIterator<Item = i64>>(rows: I) -> Self {
        let rows: Vec<i64> = rows.into_iter().collect();
        let (first, last) = rows.iter().fold((i64::MAX, i64::MIN), |(a, b), &row| (a.min(row), b.max(row)));
        let span = (i128::from(last) - i128::from(first) + 1).max(0);
        // A hash set spends more than 64 bits on a row.
        if span > 64 * (rows.len() as i128) + 64 {
            return Self(Kind::Sparse(rows.into_iter().collect()));
        }
        let mut bits = vec![0_u64; (span as usize).div_ceil(64)];
        for row in rows {
            let offset = (row - first) as usize;
            bits[offset / 64] |= 1 << (offset % 64);
        }
        let len = bits.iter().map(|word| word.count_ones() as usize).sum();
        Self(Kind::Dense { first, bits, len })
    }
}
