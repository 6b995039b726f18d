//! Remembers the vectors of recent texts and of pictures that were searched for.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::vectors::Vectors;

/// Texts whose vectors are remembered.
const TEXTS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Vectors of one encoder, and so of one fingerprint, by the SHA-256 of the text or of the picture's content. A part of a
/// picture is a picture with content of its own.
pub struct Cache {
    texts: Side,
    /// None if no picture is remembered.
    images: Option<Side>,
}

/// How often a vector was remembered, and how often it had to be computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Vectors that were remembered.
    pub hits: u64,
    /// Vectors that had to be computed.
    pub misses: u64,
}

struct Side {
    rows: Mutex<LruCache<[u8; 32], Arc<Vectors>>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Cache {
    /// The number of pictures that are remembered by default.
    pub const IMAGES: usize = 1000;

    /// An empty cache for so many pictures.
    pub fn new(images: usize) -> Self {
        Self { texts: Side::new(TEXTS), images: NonZeroUsize::new(images).map(Side::new) }
    }

    /// The key of a text.
    pub(super) fn key(text: &str) -> [u8; 32] {
        Sha256::digest(text).into()
    }

    /// Whether pictures are remembered at all.
    pub(super) fn has_images(&self) -> bool {
        self.images.is_some()
    }

    pub(super) fn texts(&self, keys: &[[u8; 32]]) -> HashMap<[u8; 32], Arc<Vectors>> {
        self.texts.get(keys)
    }

    pub(super) fn keep_texts(&self, rows: &[([u8; 32], Arc<Vectors>)]) {
        self.texts.keep(rows);
    }

    pub(super) fn images(&self, keys: &[[u8; 32]]) -> HashMap<[u8; 32], Arc<Vectors>> {
        self.images.as_ref().map(|side| side.get(keys)).unwrap_or_default()
    }

    pub(super) fn keep_images(&self, rows: &[([u8; 32], Arc<Vectors>)]) {
        if let Some(side) = &self.images {
            side.keep(rows);
        }
    }

    /// The counts of pictures.
    pub fn image_counts(&self) -> Counts {
        self.images.as_ref().map(Side::counts).unwrap_or_default()
    }

    /// The counts of texts.
    pub fn text_counts(&self) -> Counts {
        self.texts.counts()
    }
}

impl Side {
    fn new(size: NonZeroUsize) -> Self {
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { rows: Mutex::new(LruCache::new(size)), hits, misses }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<[u8; 32], Arc<Vectors>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that are remembered. A key that comes again in the same call is computed once, so it is a hit.
    fn get(&self, keys: &[[u8; 32]]) -> HashMap<[u8; 32], Arc<Vectors>> {
        let mut found = HashMap::with_capacity(keys.len());
        let mut missing = HashMap::new();
        let mut rows = self.lock();
        for key in keys {
            match rows.get(key) {
                Some(row) => drop(found.insert(*key, Arc::clone(row))),
                None => drop(missing.insert(*key, ())),
            }
        }
        self.hits.fetch_add((keys.len() - missing.len()) as u64, Ordering::Relaxed);
        self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        found
    }

    fn keep(&self, fresh: &[([u8; 32], Arc<Vectors>)]) {
        let mut rows = self.lock();
        for (key, row) in fresh {
            rows.put(*key, Arc::clone(row));
        }
    }

    fn counts(&self) -> Counts {
        Counts { hits: self.hits.load(Ordering::Relaxed), misses: self.misses.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f32) -> Arc<Vectors> {
        Arc::new(Vectors::normalize(2, vec![value, 1.0]).unwrap())
    }

    #[test]
    fn the_rows_that_were_used_last_are_kept() {
        let cache = Cache::new(2);
        let keys = ["a", "b", "c"].map(Cache::key);
        assert!(cache.images(&keys[..2]).is_empty());
        cache.keep_images(&[(keys[0], row(1.0)), (keys[1], row(2.0))]);
        assert_eq!(cache.images(&keys[..1])[&keys[0]], row(1.0));
        cache.keep_images(&[(keys[2], row(3.0))]);
        let found = cache.images(&keys);
        assert!(found.contains_key(&keys[0]) && !found.contains_key(&keys[1]) && found.contains_key(&keys[2]));
        assert_eq!(cache.image_counts(), Counts { hits: 3, misses: 3 });
        assert_eq!(cache.text_counts(), Counts::default());
    }

    #[test]
    fn a_key_that_comes_twice_is_missed_once() {
        let cache = Cache::new(1);
        let key = Cache::key("a");
        assert!(cache.texts(&[key, key]).is_empty());
        assert_eq!(cache.text_counts(), Counts { hits: 1, misses: 1 });
    }

    #[test]
    fn no_picture_is_remembered_if_there_is_no_place() {
        let cache = Cache::new(0);
        cache.keep_images(&[(Cache::key("a"), row(1.0))]);
        assert!(cache.images(&[Cache::key("a")]).is_empty() && !cache.has_images());
        assert_eq!(cache.image_counts(), Counts::default());
    }
}
