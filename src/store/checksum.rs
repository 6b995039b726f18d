//! The checksums of stored rows, which tell those that are not as they were written.

use rusqlite::types::ValueRef;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

/// Returns the checksum of the bytes of a vector and of what the row says of them: XXH3 in 64 bits, seeded with that of
/// the reference, the item and the model.
pub(super) fn checksum(reference: i64, item: i64, model: i64, vector: &[u8]) -> i64 {
    let mut owner = [0; 24];
    for (place, number) in owner.chunks_exact_mut(8).zip([reference, item, model]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    xxh3_64_with_seed(vector, xxh3_64(&owner)).cast_signed()
}

/// Returns the checksum of a thumbnail: XXH3 in 64 bits, seeded with that of the digest and the view.
pub(super) fn thumbnail_checksum(digest: &[u8], view: i64, jpeg: &[u8]) -> i64 {
    let owner = [digest, &view.to_le_bytes()].concat();
    xxh3_64_with_seed(jpeg, xxh3_64(&owner)).cast_signed()
}

/// Returns the checksum of the values of a row: XXH3 in 64 bits over the type, the length and the bytes of each.
pub(super) fn row_checksum<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> i64 {
    let mut sum = Xxh3::new();
    for value in values {
        let mut add = |kind: u8, bytes: &[u8]| {
            sum.update(&[kind]);
            sum.update(&(bytes.len() as u64).to_le_bytes());
            sum.update(bytes);
        };
        match value {
            ValueRef::Null => add(0, &[]),
            ValueRef::Integer(number) => add(1, &number.to_le_bytes()),
            ValueRef::Real(number) => add(2, &number.to_le_bytes()),
            ValueRef::Text(text) => add(3, text),
            ValueRef::Blob(bytes) => add(4, bytes),
        }
    }
    sum.digest().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_of_a_row_tells_each_value_and_its_place() {
        let (text, blob) = (ValueRef::Text(b"toy 34"), ValueRef::Blob(b"toy 34"));
        let sum = |values: &[ValueRef<'static>]| row_checksum(values.iter().copied());
        let whole = sum(&[text, ValueRef::Null, ValueRef::Integer(7)]);
        // A number that is stored in catalogs: another one would call them damaged.
        assert_eq!(whole, ROW);
        for other in [
            &[ValueRef::Text(b"tOy 34"), ValueRef::Null, ValueRef::Integer(7)][..],
            &[blob, ValueRef::Null, ValueRef::Integer(7)],
            &[ValueRef::Null, text, ValueRef::Integer(7)],
            &[text, ValueRef::Text(b""), ValueRef::Integer(7)],
            &[text, ValueRef::Null, ValueRef::Integer(8)],
            &[text, ValueRef::Null],
        ] {
            assert_ne!(sum(other), whole);
        }
        assert_ne!(
            sum(&[ValueRef::Text(b"ab"), ValueRef::Text(b"c")]),
            sum(&[ValueRef::Text(b"a"), ValueRef::Text(b"bc")])
        );
    }

    const ROW: i64 = 8_468_613_930_906_053_825;

    #[test]
    fn a_checksum_covers_the_whole_row() {
        let vector: Vec<u8> = (0..=255).collect();
        let whole = checksum(1, 2, 3, &vector);
        // A number that is stored in catalogs: another one would call them damaged.
        assert_eq!(whole, EXPECTED);
        let mut flipped = vector.clone();
        flipped[100] ^= 1;
        let others = [
            checksum(2, 1, 3, &vector),
            checksum(1, 2, 4, &vector),
            checksum(1, 2, 3, &flipped),
            checksum(1, 2, 3, &vector[..255]),
        ];
        assert!(others.iter().all(|other| *other != whole));
    }

    const EXPECTED: i64 = 5_281_109_022_708_410_073;
}
