//! The checksums of stored vectors and thumbnails, which tell rows that are not as they were written.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

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

#[cfg(test)]
mod tests {
    use super::*;

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
