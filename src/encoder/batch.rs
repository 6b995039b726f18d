//! Batches on their way: while some are computed, the next one is made.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ort::value::Tensor;

/// Room for the pixels of a batch, which is used again and again.
pub(super) enum Room {
    /// Ordinary memory.
    Plain(Vec<f32>),
    /// Memory that a device copies from fast.
    Pinned(Tensor<f32>),
}

impl Room {
    pub(super) fn numbers(&mut self) -> &mut [f32] {
        match self {
            Self::Plain(numbers) => numbers,
            Self::Pinned(tensor) => tensor.extract_tensor_mut().1,
        }
    }
}

/// Makes `count` batches one after another with `make` on this thread, and computes each on one of `runners` others,
/// which are given their number; the results come in the order of the batches.
///
/// At any time there are at most so many batches as runners, and the one that is being made. A single batch is computed
/// on this thread, and so are all where there is no runner.
pub(super) fn flow<B: Send, R: Send>(
    count: usize,
    runners: usize,
    mut make: impl FnMut(usize) -> B,
    compute: impl Fn(usize, B) -> R + Sync,
) -> Vec<R> {
    let runners = runners.min(count);
    if runners == 0 || count == 1 {
        return (0..count).map(|number| compute(0, make(number))).collect();
    }
    let results = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<R>>>());
    // Without room for a batch that waits, their maker keeps it until it is taken.
    let (sender, receiver) = mpsc::sync_channel::<(usize, B)>(0);
    let receiver = Arc::new(Mutex::new(receiver));
    thread::scope(|scope| {
        for runner in 0..runners {
            let (receiver, results, compute) = (Arc::clone(&receiver), &results, &compute);
            scope.spawn(move || {
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, batch)) = next else { break };
                    let result = compute(runner, batch);
                    results.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(result);
                }
            });
        }
        // Should all runners panic, none is left to receive, and sending fails rather than waits for ever.
        drop(receiver);
        for number in 0..count {
            if sender.send((number, make(number))).is_err() {
                break;
            }
        }
        drop(sender);
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("a runner that panics ends the scope")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_whichever_is_faster() {
        for (count, runners) in [(0, 2), (1, 2), (2, 1), (7, 3), (40, 4), (3, 8), (5, 0)] {
            let compute = |_, number: usize| {
                thread::sleep(Duration::from_micros((number * 7919 % 13) as u64 * 100));
                number * 10
            };
            let expected: Vec<usize> = (0..count).map(|number| number * 10).collect();
            assert_eq!(flow(count, runners, |number| number, compute), expected);
        }
    }

    #[test]
    fn no_more_batches_than_runners_wait_for_them() {
        let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let make = |_| {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        };
        let compute = |_, ()| {
            thread::sleep(Duration::from_millis(2));
            alive.fetch_sub(1, Ordering::SeqCst);
        };
        flow(50, 3, make, compute);
        assert_eq!(alive.into_inner(), 0);
        assert!((2..=4).contains(&most.into_inner()), "one for each runner, and one that is being made");
    }

    #[test]
    fn every_runner_gets_work_and_the_next_batch_is_made_meanwhile() {
        let waiting = [AtomicUsize::new(0), AtomicUsize::new(0)];
        // The first batches end only when both runners have one.
        let compute = |runner: usize, _| {
            waiting[runner].fetch_add(1, Ordering::SeqCst);
            while waiting.iter().any(|count| count.load(Ordering::SeqCst) == 0) {
                thread::yield_now();
            }
        };
        flow(6, 2, |_| (), compute);
        assert_eq!(waiting.iter().map(|count| count.load(Ordering::SeqCst)).sum::<usize>(), 6);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn runners_that_panic_do_not_leave_the_maker_waiting() {
        flow(10, 2, |number| number, |_, number: usize| assert_eq!(number, 100));
    }
}
