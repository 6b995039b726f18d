//! Shares thread pools: one pool for each number of threads.
//!
//! All users of the same number of threads share one pool, because separate pools would compete for the cores. A pool
//! ends with its last user.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::process;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// The largest number of threads in a pool.
const MOST: usize = 1024;

/// Pools by process and size. The process is part of the key because threads do not survive a fork.
type Pools = HashMap<(u32, usize), Weak<ThreadPool>>;

/// The pools in use.
static POOLS: LazyLock<Mutex<Pools>> = LazyLock::new(Mutex::default);

/// Returns the pool of `threads` threads, by default one per core, which this process shares.
///
/// # Errors
/// [`Error::Argument`] if `threads` is not from 1 to 1024, [`Error::Internal`] if the system starts no more threads.
pub fn workers(threads: Option<usize>) -> Result<Arc<ThreadPool>> {
    let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST));
    if !(1..=MOST).contains(&threads) {
        return Err(Error::argument(format!("{threads} threads: give 1 to {MOST}")));
    }
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.retain(|_, pool| pool.strong_count() > 0);
    let key = (process::id(), threads);
    if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
        return Ok(pool);
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("plushie-{i}"))
        .build()
        .map_err(|error| Error::internal(format!("cannot start {threads} threads: {error}; ask for fewer")))?;
    let pool = Arc::new(pool);
    pools.insert(key, Arc::downgrade(&pool));
    Ok(pool)
}

/// Keeps other threads from starting or ending a pool, so that a fork does not copy a held lock.
pub(crate) fn hold() -> impl Sized {
    POOLS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_want_as_many_threads_share_them_as_long_as_they_live() {
        let (three, again, five) = (workers(Some(3)).unwrap(), workers(Some(3)).unwrap(), workers(Some(5)).unwrap());
        assert!(Arc::ptr_eq(&three, &again) && !Arc::ptr_eq(&three, &five));
        assert_eq!((three.current_num_threads(), five.current_num_threads()), (3, 5));
        let ended = Arc::downgrade(&three);
        drop((three, again));
        assert!(ended.upgrade().is_none());
        assert_eq!(workers(Some(3)).unwrap().install(|| 1 + 1), 2);
    }

    #[test]
    fn a_number_of_threads_must_make_sense() {
        for bad in [0, 1025] {
            let error = workers(Some(bad)).unwrap_err().to_string();
            assert_eq!(error, format!("{bad} threads: give 1 to 1024"));
        }
        assert_eq!(workers(None).unwrap().current_num_threads(), thread::available_parallelism().unwrap().get());
    }
}
