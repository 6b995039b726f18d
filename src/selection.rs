//! Which rows a search may return.

/// A set of row numbers: one bit each where they lie close together, as those of a catalog do, else a sorted list.
#[derive(Debug, Clone)]
pub struct Rows(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Dense { first: i64, bits: Vec<u64>, len: usize },
    Sparse(Vec<i64>),
}

impl Rows {
    /// Whether `row` is in the set.
    pub fn contains(&self, row: i64) -> bool {
        match &self.0 {
            Kind::Dense { first, bits, .. } => {
                let offset = row.wrapping_sub(*first) as u64;
                bits.get((offset / 64) as usize).is_some_and(|word| word >> (offset % 64) & 1 == 1)
            }
            Kind::Sparse(rows) => rows.binary_search(&row).is_ok(),
        }
    }

    /// The rows of the set from `first` to `last`, in order.
    pub fn between(&self, first: i64, last: i64) -> impl Iterator<Item = i64> + '_ {
        let (mut words, mut rows) = (None, None);
        match &self.0 {
            Kind::Dense { first: start, bits, .. } => {
                let word = |row: i64| (row.saturating_sub(*start).max(0) / 64) as usize;
                let range = word(first).min(bits.len())..word(last).saturating_add(1).min(bits.len());
                words = Some(range.flat_map(move |number| {
                    (0..64)
                        .filter(move |bit| bits[number] >> bit & 1 == 1)
                        .map(move |bit| start + number as i64 * 64 + bit)
                }));
            }
            Kind::Sparse(sorted) => {
                let range = sorted.partition_point(|row| *row < first)..sorted.partition_point(|row| *row <= last);
                rows = Some(sorted[range.start..range.end.max(range.start)].iter().copied());
            }
        }
        let all = words.into_iter().flatten().chain(rows.into_iter().flatten());
        all.filter(move |row| (first..=last).contains(row))
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
        // A list spends 64 bits on a row.
        if span > 64 * (rows.len() as i128) + 64 {
            let mut sorted = rows;
            sorted.sort_unstable();
            sorted.dedup();
            return Self(Kind::Sparse(sorted));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_same_close_together_and_far_apart() {
        for step in [1, 3, 1000] {
            let wanted: Vec<i64> = (5..205).map(|row| row * step).collect();
            let rows: Rows = wanted.iter().rev().chain(&wanted).copied().collect();
            assert_eq!(rows.len(), 200);
            for (first, last) in [(i64::MIN, i64::MAX), (7 * step, 9 * step + 1), (0, 0), (9, 3), (1 << 40, 1 << 41)] {
                let expected: Vec<i64> = wanted.iter().copied().filter(|row| (first..=last).contains(row)).collect();
                assert_eq!(rows.between(first, last).collect::<Vec<_>>(), expected, "{step} {first} {last}");
            }
            assert!((0..400 * step).all(|row| rows.contains(row) == wanted.contains(&row)));
        }
        assert_eq!(Rows::from_iter([]).between(0, 9).count(), 0);
    }
}
