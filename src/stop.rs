//! Calling off work that takes long: whoever waits for it sets a flag, and those who do it look at that between steps.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::error::{Error, Result};

/// How often whoever waits looks whether to call the work off.
const PERIOD: Duration = Duration::from_millis(50);

thread_local! {
    /// What calls off the work of this thread.
    static CURRENT: RefCell<Stop> = RefCell::new(Stop::default());
    /// Asked by work on this thread that waits.
    static ASKED: RefCell<Option<Box<dyn FnMut() -> bool>>> = const { RefCell::new(None) };
}

/// Does `work` on this thread. As long as it waits for others it asks `wanted` now and then, and ends if that says so.
pub fn listening<T>(wanted: impl FnMut() -> bool + 'static, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Box<dyn FnMut() -> bool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ASKED.set(self.0.take());
        }
    }
    let _restore = Restore(ASKED.replace(Some(Box::new(wanted))));
    work()
}

/// Looks whether the work of this thread is called off, or is to be.
///
/// # Errors
/// [`Error::Interrupted`] then.
pub fn look() -> Result<()> {
    // Taken out, so that it may do anything but wait.
    let Some(mut wanted) = ASKED.take() else { return Stop::current().check() };
    let called_off = wanted();
    ASKED.set(Some(wanted));
    if called_off { Err(Error::Interrupted) } else { Stop::current().check() }
}

/// A flag that calls off the work that was begun under it; clones are one flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What calls off the work of this thread: take it along to others that do a part of it.
    pub fn current() -> Self {
        CURRENT.with_borrow(Self::clone)
    }

    /// Calls off all work that was begun under it.
    pub fn call_off(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`Error::Interrupted`] when the work was called off.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Work on a thread of its own.
#[derive(Debug)]
pub struct Job<'scope, T> {
    thread: ScopedJoinHandle<'scope, ()>,
    done: Receiver<Result<T>>,
    stop: Stop,
}

impl<'scope, T: Send + 'scope> Job<'scope, T> {
    /// Begins `work` under `stop`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system starts no more threads.
    pub fn begin(
        scope: &'scope Scope<'scope, '_>,
        stop: &Stop,
        work: impl FnOnce() -> Result<T> + Send + 'scope,
    ) -> Result<Self> {
        let (sender, done) = mpsc::channel();
        let own = stop.clone();
        let run = move || {
            CURRENT.set(own);
            // Nobody waits any more when the others were given up.
            let _ = sender.send(work());
        };
        let thread = Builder::new().name("plushie-job".into()).spawn_scoped(scope, run);
        let thread = thread.map_err(|error| Error::internal(format!("cannot start another thread: {error}")))?;
        Ok(Self { thread, done, stop: stop.clone() })
    }

    /// Waits for it, and calls off all that was begun under its flag as soon as `wanted`, which is asked now and then on
    /// this thread, says so.
    ///
    /// # Errors
    /// Those of the work; it ends with [`Error::Interrupted`] at the next step where it looks.
    pub fn join(self, mut wanted: impl FnMut() -> bool) -> Result<T> {
        loop {
            match self.done.recv_timeout(PERIOD) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if wanted() => self.stop.call_off(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let panic = self.thread.join().expect_err("it says what came of the work, unless that panics");
                    std::panic::resume_unwind(panic)
                }
            }
        }
    }
}

/// Does `work` on a thread of its own, and calls it off as soon as `wanted`, which is asked now and then on this one,
/// says so.
///
/// # Errors
/// Those of `work`; it ends with [`Error::Interrupted`] at the next step where it looks.
pub fn interruptible<T: Send>(work: impl FnOnce() -> Result<T> + Send, wanted: impl FnMut() -> bool) -> Result<T> {
    thread::scope(|scope| Job::begin(scope, &Stop::default(), work)?.join(wanted))
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
