//! Limits the memory of all decoders of this process with a weighted semaphore.

use std::process;
use std::sync::{Condvar, Mutex, PoisonError};

/// The budget of all decoders, in bytes. A single picture may take more if its own limit allows it.
pub(super) static DECODERS: Budget = Budget::new(512 << 20);

pub(super) struct Budget {
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    taken: u64,
    /// Turns are taken in order, so that a large picture does not wait behind small ones indefinitely.
    next: u64,
    serving: u64,
    /// Threads do not survive a fork, and neither do their shares.
    process: u32,
}

/// A share of a budget, returned when dropped.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
    process: u32,
}

impl Budget {
    const fn new(size: u64) -> Self {
        let state = State { taken: 0, next: 0, serving: 0, process: 0 };
        Self { size, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Keeps other threads from taking a share, so that a fork does not copy a held lock.
    pub(super) fn hold(&self) -> impl Sized + '_ {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` are free, at most the whole budget. A thread must not hold a share when it takes another.
    pub(super) fn take(&self, bytes: u64) -> Share<'_> {
        let bytes = bytes.min(self.size);
        let process = process::id();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.process != process {
            *state = State { taken: 0, next: 0, serving: 0, process };
        }
        let turn = state.next;
        state.next += 1;
        let waits = |state: &mut State| state.serving != turn || state.taken + bytes > self.size;
        let mut state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        state.serving += 1;
        state.taken += bytes;
        drop(state);
        self.changed.notify_all();
        Share { budget: self, bytes, process }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.process == self.process {
            state.taken -= self.bytes;
        }
        drop(state);
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_together_stay_within_the_budget_and_each_gets_its_turn() {
        let (budget, taken, most, turns) = (Budget::new(100), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for bytes in [10, 30, 60, 90, 100, 5000] {
                let (budget, taken, most, turns) = (&budget, &taken, &most, &turns);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let _share = budget.take(bytes);
                        let counted = bytes.min(100);
                        most.fetch_max(taken.fetch_add(counted, Ordering::SeqCst) + counted, Ordering::SeqCst);
                        thread::sleep(Duration::from_micros(200));
                        taken.fetch_sub(counted, Ordering::SeqCst);
                        turns.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((most.into_inner(), turns.into_inner()), (100, 120));
        assert_eq!(budget.state.into_inner().unwrap().taken, 0);
    }
}
