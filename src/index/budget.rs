//! How much memory an approximate segment takes, and which codes fit into what may be taken.

use crate::error::{Error, Result};
use crate::index::factory::Factory;

/// The exponent of the rows that gives the lists: 4 times the square root at 10,000, and 8 times at a million. Short lists
/// are looked at sooner, and many take longer to learn.
const LISTS: f64 = 0.65;
/// Rows for each list that its center is learned from, at least.
const EACH: usize = 39;
/// From how many lists on their centers are compared by codes first.
const MANY: usize = 1000;
/// The fewest numbers of a vector of which two share a code of 4 bits.
const PAIRED: usize = 16;
/// The most numbers that share a code of 4 bits, where memory is short.
const MOST_SHARED: usize = 16;
/// Bytes of a row beside its code: its number in the list, its reference and item, and [`PLACE`].
const ROW: usize = 8 + 16 + PLACE;
/// Bytes of a row by which it is found, and of the bit that tells whether it was removed.
const PLACE: usize = 4 + 1;
/// Rows of a list whose codes of 4 bits are stored together.
const TOGETHER: usize = 32;

/// The factory string for so many rows of `dim` numbers: the longest codes that fit into `memory` bytes. The nearest of many
/// lists are found by codes of their centers, all of which are compared: a graph would be slower, and would not lead to the
/// centers that are nearest to a text, which is far from all of them.
///
/// # Errors
/// [`Error::Argument`] when none fits.
pub(super) fn chosen(rows: usize, dim: usize, memory: Option<usize>) -> Result<Factory> {
    let lists = ((rows as f64).powf(LISTS) as usize).clamp(1, (rows / EACH).max(1));
    let has_codes = lists > MANY && dim >= PAIRED && dim.is_multiple_of(2);
    let (centers, of_center) = match has_codes {
        true => (format!("(PQ{}x4fs,RFlat)", dim / 2), 4 * dim + dim / 4),
        false => (String::new(), 4 * dim),
    };
    let shared = (2..=MOST_SHARED).filter(|shared| dim >= PAIRED && dim.is_multiple_of(*shared));
    let mut codes: Vec<(String, usize)> =
        shared.map(|shared| (format!("PQ{}x4fs", dim / shared), (dim / shared).div_ceil(2))).collect();
    if codes.is_empty() {
        codes = vec![("SQ8".to_owned(), dim), ("SQ4".to_owned(), dim.div_ceil(2))];
    }
    // The last codes of a list are stored with room for others.
    let takes = |code: usize| rows * (ROW + code) + lists * (of_center + TOGETHER / 2 * code);
    let fitting = codes.iter().find(|(_, code)| memory.is_none_or(|memory| takes(*code) <= memory));
    match fitting {
        Some((code, _)) => Factory::parse(&format!("IVF{lists}{centers},{code}"), dim),
        None => {
            let least = codes.iter().map(|(_, code)| takes(*code)).min().unwrap_or_default();
            Err(too_little(memory, &format!("the shortest codes of {rows} references take {}", told(least))))
        }
    }
}

/// Bytes that so many rows take beside the segment itself.
pub(super) fn ledger_bytes(rows: usize) -> usize {
    PLACE * rows
}

/// The error for a memory that is too small.
pub(super) fn too_little(memory: Option<usize>, reason: &str) -> Error {
    let memory = told(memory.unwrap_or_default());
    Error::argument(format!("memory of {memory} for the index: {reason}; give more memory, or a lower recall"))
}

/// A number of bytes as people write it.
pub(super) fn told(bytes: usize) -> String {
    match bytes {
        100_000.. => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_into_the_memory() {
        let of = |memory| chosen(1_000_000, 512, memory).map(|factory| factory.as_str().to_owned());
        assert_eq!(of(None).unwrap(), "IVF7943(PQ256x4fs,RFlat),PQ256x4fs");
        assert_eq!(of(Some(1 << 30)).unwrap(), "IVF7943(PQ256x4fs,RFlat),PQ256x4fs");
        assert_eq!(of(Some(150_000_000)).unwrap(), "IVF7943(PQ256x4fs,RFlat),PQ128x4fs");
        assert_eq!(of(Some(70_000_000)).unwrap(), "IVF7943(PQ256x4fs,RFlat),PQ32x4fs");
        let error = of(Some(1_000_000)).unwrap_err().to_string();
        assert!(error.contains("memory of 1.0 MB") && error.contains("take 64.3 MB"), "{error}");
        assert_eq!(chosen(1000, 7, None).unwrap().as_str(), "IVF25,SQ8");
        assert_eq!(chosen(1_000_000, 7, None).unwrap().as_str(), "IVF7943,SQ8");
    }
}
