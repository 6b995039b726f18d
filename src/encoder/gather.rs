//! Callers that wait for a device, whose rows then go through it together.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Gathers the jobs of callers while all runners are busy.
///
/// Computes at once if a runner is free, and does not wait for a batch to be full. The first caller that finds a free
/// runner computes its own job together with those that came while all were busy.
pub(super) struct Gather<J, R> {
    state: Mutex<State<J, R>>,
    changed: Condvar,
}

struct State<J, R> {
    /// The runners that are free, by number.
    free: Vec<usize>,
    /// The number of the next job.
    next: u64,
    waiting: VecDeque<(u64, J)>,
    /// Outcomes that have not been fetched; none of a job whose computation panicked.
    done: HashMap<u64, Option<R>>,
}

/// A runner at work: when it is dropped, its jobs are done and it is free.
struct Turn<'a, J, R> {
    gather: &'a Gather<J, R>,
    runner: usize,
    numbers: Vec<u64>,
    outcomes: Vec<R>,
}

impl<J, R> Gather<J, R> {
    pub(super) fn new(runners: usize) -> Self {
        let state =
            State { free: (0..runners).rev().collect(), next: 0, waiting: VecDeque::new(), done: HashMap::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Returns the outcome of `job`; `None` if its computation panicked in another thread.
    ///
    /// `compute` gets the number of a runner and at most `most` jobs, and returns an outcome for each, in their order.
    pub(super) fn run(&self, job: J, most: usize, compute: impl Fn(usize, Vec<J>) -> Vec<R>) -> Option<R> {
        let mut state = self.lock();
        let own = state.next;
        state.next += 1;
        state.waiting.push_back((own, job));
        loop {
            if let Some(outcome) = state.done.remove(&own) {
                return outcome;
            }
            // Jobs that are taken are done by another caller, who tells when they are.
            let waits = state.waiting.iter().any(|(number, _)| *number == own);
            let Some(runner) = state.free.pop_if(|_| waits) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let count = most.max(1).min(state.waiting.len());
            let (numbers, jobs) = state.waiting.drain(..count).unzip();
            drop(state);
            let mut turn = Turn { gather: self, runner, numbers, outcomes: Vec::new() };
            turn.outcomes = compute(runner, jobs);
            drop(turn);
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J, R> Drop for Turn<'_, J, R> {
    fn drop(&mut self) {
        let mut outcomes = self.outcomes.drain(..);
        let mut state = self.gather.lock();
        for number in self.numbers.drain(..) {
            state.done.insert(number, outcomes.next());
        }
        state.free.push(self.runner);
        drop(state);
        self.gather.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_caller_gets_the_outcome_of_its_own_job() {
        for (runners, most) in [(1, 1), (1, 4), (2, 3), (3, 100)] {
            let (gather, largest, at_it) = (Gather::new(runners), AtomicUsize::new(0), AtomicUsize::new(0));
            let compute = |runner: usize, jobs: Vec<usize>| -> Vec<usize> {
                assert!(runner < runners && at_it.fetch_add(1, Ordering::SeqCst) < runners);
                largest.fetch_max(jobs.len(), Ordering::SeqCst);
                thread::sleep(Duration::from_micros(300));
                at_it.fetch_sub(1, Ordering::SeqCst);
                jobs.into_iter().map(|job| job * 10).collect()
            };
            thread::scope(|scope| {
                for caller in 0..8 {
                    let (gather, compute) = (&gather, &compute);
                    scope.spawn(move || {
                        for job in (0..40).map(|turn| caller * 1000 + turn) {
                            assert_eq!(gather.run(job, most, compute), Some(job * 10));
                        }
                    });
                }
            });
            let largest = largest.into_inner();
            assert!(largest <= most && (largest > 1 || most == 1), "{largest} of {most}");
            assert!(gather.lock().done.is_empty() && gather.lock().free.len() == runners);
        }
    }

    #[test]
    fn jobs_that_come_while_one_is_computed_go_together() {
        let (gather, begun, sizes) = (Gather::new(1), Barrier::new(2), Mutex::new(vec![]));
        let compute = |_: usize, jobs: Vec<usize>| {
            sizes.lock().unwrap().push(jobs.len());
            if jobs == [0] {
                begun.wait();
                while gather.lock().waiting.len() < 5 {
                    thread::yield_now();
                }
            }
            jobs
        };
        thread::scope(|scope| {
            scope.spawn(|| gather.run(0, 64, compute));
            begun.wait();
            for job in 1..6 {
                let (gather, compute) = (&gather, &compute);
                scope.spawn(move || assert_eq!(gather.run(job, 64, compute), Some(job)));
            }
        });
        assert_eq!(sizes.into_inner().unwrap(), [1, 5]);
    }

    #[test]
    fn a_panic_reaches_everybody_whose_job_it_was_and_no_other() {
        let (gather, begun) = (Gather::new(1), Barrier::new(2));
        let compute = |_: usize, jobs: Vec<usize>| {
            if jobs == [0] {
                begun.wait();
                while gather.lock().waiting.len() < 3 {
                    thread::yield_now();
                }
            }
            assert!(!jobs.contains(&2), "no");
            jobs
        };
        let lost = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(gather.run(0, 9, compute), Some(0)));
            begun.wait();
            for job in 1..4 {
                let (gather, compute, lost) = (&gather, &compute, &lost);
                scope.spawn(move || {
                    let outcome = catch_unwind(AssertUnwindSafe(|| gather.run(job, 9, compute)));
                    assert!(!matches!(outcome, Ok(Some(_))));
                    lost.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(lost.into_inner(), 3);
        assert_eq!(gather.run(4, 9, compute), Some(4));
    }
}
