//! Calling off work that takes long: whoever waits for it sets a flag, and those who do it look at that between steps.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::error::{Error, Result};

/// How often whoever waits looks whether to call the work off.
const PERIOD: Duration = Duration::from_millis(50);

thread_local! {
    /// What calls off the work of this thread.
    static CURRENT: RefCell<Stop> = RefCell::new(Stop::default());
}

/// A flag that calls off the work that was begun under it; clones are one flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What calls off the work of this thread: take it along to others that do a part of it.
    pub fn current() -> Self {
        CURRENT.with_borrow(Self::clone)
    }

    /// # Errors
    /// [`Error::Interrupted`] when the work was called off.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Does `work` on a thread of its own, and calls it off as soon as `wanted`, which is asked now and then on this one,
/// says so.
///
/// # Errors
/// Those of `work`; it ends with [`Error::Interrupted`] at the next step where it looks.
pub fn interruptible<T: Send>(work: impl FnOnce() -> Result<T> + Send, mut wanted: impl FnMut() -> bool) -> Result<T> {
    /// Wakes the one who waits, also after a panic.
    struct Wake(Thread);
    impl Drop for Wake {
        fn drop(&mut self) {
            self.0.unpark();
        }
    }

    let stop = Stop::default();
    let waiting = Wake(thread::current());
    thread::scope(|scope| {
        let job = scope.spawn({
            let stop = stop.clone();
            move || {
                let _wake = waiting;
                CURRENT.set(stop);
                work()
            }
        });
        while !job.is_finished() {
            thread::park_timeout(PERIOD);
            if !job.is_finished() && wanted() {
                stop.0.store(true, Ordering::Relaxed);
            }
        }
        job.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_called_off_at_its_next_step() {
        let mut asked = 0;
        let work = || -> Result<()> {
            let stop = Stop::current();
            let other = thread::spawn(move || {
                while stop.check().is_ok() {
                    thread::sleep(Duration::from_millis(1));
                }
            });
            other.join().expect("it only waits");
            Stop::current().check()
        };
        let wanted = || {
            asked += 1;
            asked == 2
        };
        assert!(matches!(interruptible(work, wanted), Err(Error::Interrupted)));
        assert!(asked >= 2 && Stop::current().check().is_ok());
    }

    #[test]
    fn work_that_nobody_calls_off_ends_as_it_would() {
        assert_eq!(interruptible(|| Ok(7), || false).unwrap(), 7);
        assert_eq!(interruptible(|| Err::<(), _>(Error::argument("no")), || true).unwrap_err().to_string(), "no");
    }

    #[test]
    #[should_panic(expected = "broken")]
    fn a_panic_comes_through() {
        let _ = interruptible(|| -> Result<()> { panic!("broken") }, || false);
    }
}
