//! Runs several requests at a time and returns their results in order; the first failure ends it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::ThreadPool;

use crate::encoder::semaphore::Semaphore;
use crate::error::Result;

/// Limits the requests to a server that are in flight, over all callers.
pub(super) struct RequestPool {
    most: usize,
    permits: Semaphore,
}

impl RequestPool {
    pub(super) fn new(most: usize) -> Self {
        Self { most, permits: Semaphore::new(most) }
    }

    /// The number of parts that keeps the server busy.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Runs `work` on each part and returns the results in order. A thread of `workers` does it all by itself: threads
    /// that it waited for might need it.
    ///
    /// # Errors
    /// The first one of `work`; parts that are not begun by then are left.
    pub(super) fn run<T: Sync, R: Send>(
        &self,
        parts: &[T],
        workers: &ThreadPool,
        work: impl Fn(&T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        if workers.current_thread_index().is_some() {
            return parts.iter().map(work).collect();
        }
        in_flight(parts, self.most, |part| {
            let _permit = self.permits.take();
            work(part)
        })
    }
}

/// Works on at most `requests` parts at a time.
pub(super) fn in_flight<T: Sync, R: Send>(
    parts: &[T],
    requests: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let threads = requests.min(parts.len());
    if threads < 2 {
        return parts.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Result<R>>>> = Mutex::new(parts.iter().map(|_| None).collect());
    let turn = || {
        while let Some((place, part)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, parts.get(i)?)))
        {
            let result = work(part);
            if result.is_err() {
                next.store(parts.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(result);
        }
    };
    thread::scope(|scope| {
        for number in 0..threads - 1 {
            // Without another thread this one does the work of both.
            let _ = thread::Builder::new().name(format!("plushie-request-{number}")).spawn_scoped(scope, turn);
        }
        turn();
    });
    // Parts are begun in order, so that a failure comes before what it left undone.
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_stand_in_the_order_of_their_parts() {
        let parts: Vec<usize> = (0..100).collect();
        for requests in [1, 3, 200] {
            let doubled = in_flight(&parts, requests, |part| Ok(2 * part)).unwrap();
            assert!(doubled.iter().enumerate().all(|(place, &double)| double == 2 * place), "{doubled:?}");
        }
        assert!(in_flight(&[0; 0], 4, |_| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn a_failure_ends_it() {
        let begun = AtomicUsize::new(0);
        let parts: Vec<usize> = (0..10_000).collect();
        let failed = in_flight(&parts, 4, |&part| {
            begun.fetch_add(1, Ordering::Relaxed);
            thread::sleep(std::time::Duration::from_millis(1));
            if part == 5 { Err(Error::argument("five")) } else { Ok(()) }
        });
        assert_eq!(failed.unwrap_err().to_string(), "five");
        assert!(begun.into_inner() < 100);
    }
}
