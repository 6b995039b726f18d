//! Cancels long work with a token: the waiting thread cancels it, and the workers check it between steps.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::error::{Error, Result};

/// How often a waiting thread asks whether to cancel.
const PERIOD: Duration = Duration::from_millis(50);

thread_local! {
    /// The token of the work on this thread.
    static CURRENT: RefCell<Cancel> = RefCell::new(Cancel::default());
    /// The callback that [`poll`] asks on this thread.
    static CALLBACK: RefCell<Option<Box<dyn FnMut() -> bool>>> = const { RefCell::new(None) };
}

/// Runs `work` on this thread. [`poll`] asks `canceled` during it and fails as soon as that returns true.
pub fn polling<T>(canceled: impl FnMut() -> bool + 'static, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Box<dyn FnMut() -> bool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CALLBACK.set(self.0.take());
        }
    }
    let _restore = Restore(CALLBACK.replace(Some(Box::new(canceled))));
    work()
}

/// Checks whether the work on this thread is canceled, and asks the callback of [`polling`] if there is one.
///
/// # Errors
/// [`Error::Interrupted`] if the work is canceled.
pub fn poll() -> Result<()> {
    // Taken out, so that the callback may poll, too.
    let Some(mut callback) = CALLBACK.take() else { return Cancel::current().check() };
    let canceled = callback();
    CALLBACK.set(Some(callback));
    if canceled { Err(Error::Interrupted) } else { Cancel::current().check() }
}

/// A cancellation token: a flag that cancels the work started under it. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Returns the token of the work on this thread, for passing it to other threads that do a part of the work.
    pub fn current() -> Self {
        CURRENT.with_borrow(Self::clone)
    }

    /// Cancels all work started under this token.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Checks whether the work is canceled.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it is.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Work on a separate thread.
#[derive(Debug)]
pub struct Job<'scope, T> {
    thread: ScopedJoinHandle<'scope, ()>,
    done: Receiver<Result<T>>,
    cancel: Cancel,
}

impl<'scope, T: Send + 'scope> Job<'scope, T> {
    /// Starts `work` under the token `cancel`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system starts no more threads.
    pub fn begin(
        scope: &'scope Scope<'scope, '_>,
        cancel: &Cancel,
        work: impl FnOnce() -> Result<T> + Send + 'scope,
    ) -> Result<Self> {
        let (sender, done) = mpsc::channel();
        let own = cancel.clone();
        let run = move || {
            CURRENT.set(own);
            // The receiver is gone if the caller stopped waiting.
            let _ = sender.send(work());
        };
        let thread = Builder::new().name("plushie-job".into()).spawn_scoped(scope, run);
        let thread = thread
            .map_err(|error| Error::internal(format!("cannot start another thread: {error}; use fewer threads")))?;
        Ok(Self { thread, done, cancel: cancel.clone() })
    }

    /// Waits for the result. Asks `canceled` on this thread every 50 ms and cancels the token as soon as that returns
    /// true.
    ///
    /// # Errors
    /// Those of the work; [`Error::Interrupted`] at its next check after a cancellation.
    pub fn join(self, mut canceled: impl FnMut() -> bool) -> Result<T> {
        loop {
            match self.done.recv_timeout(PERIOD) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if canceled() => self.cancel.cancel(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let panic = self.thread.join().expect_err("the thread sends its result unless it panics");
                    std::panic::resume_unwind(panic)
                }
            }
        }
    }
}

/// Runs `work` on a separate thread. Asks `canceled` on this thread every 50 ms and cancels the work as soon as that
/// returns true.
///
/// # Errors
/// Those of `work`; [`Error::Interrupted`] at its next check after a cancellation.
pub fn cancellable<T: Send>(work: impl FnOnce() -> Result<T> + Send, canceled: impl FnMut() -> bool) -> Result<T> {
    thread::scope(|scope| Job::begin(scope, &Cancel::default(), work)?.join(canceled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_canceled_at_its_next_check() {
        let mut asked = 0;
        let work = || -> Result<()> {
            let cancel = Cancel::current();
            let other = thread::spawn(move || {
                while cancel.check().is_ok() {
                    thread::sleep(Duration::from_millis(1));
                }
            });
            other.join().expect("it only waits");
            Cancel::current().check()
        };
        let canceled = || {
            asked += 1;
            asked == 2
        };
        assert!(matches!(cancellable(work, canceled), Err(Error::Interrupted)));
        assert!(asked >= 2 && Cancel::current().check().is_ok());
    }

    #[test]
    fn work_that_is_not_canceled_returns_its_result() {
        assert_eq!(cancellable(|| Ok(7), || false).unwrap(), 7);
        assert_eq!(cancellable(|| Err::<(), _>(Error::argument("no")), || true).unwrap_err().to_string(), "no");
    }

    #[test]
    #[should_panic(expected = "broken")]
    fn a_panic_comes_through() {
        let _ = cancellable(|| -> Result<()> { panic!("broken") }, || false);
    }
}
