//! Waiting for another process or thread that writes: in small steps, so that Ctrl-C and a fork are heard at once.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel;
use crate::error::Result;
use crate::store::fork;

/// Between two tries. Those who write much pause for longer between two transactions, so that others get their turn.
const STEP: Duration = Duration::from_millis(4);
/// Beyond this, the sum with the time of day could overflow.
const LONGEST: Duration = Duration::from_secs(1 << 30);
/// Tries between two looks at Ctrl-C.
const LOOK: i32 = 12;

/// The pause between the transactions of a change that takes several.
pub(super) const PAUSE: Duration = Duration::from_millis(6);

thread_local! {
    /// Until when SQLite may let this thread wait, and whether it gives up for a fork.
    static END: Cell<Option<(Instant, bool)>> = const { Cell::new(None) };
}

/// How long this thread may wait for others, until it is dropped.
#[derive(Debug)]
pub(super) struct Patience {
    end: Instant,
    before: Option<(Instant, bool)>,
}

impl Patience {
    /// Begins to wait for as long as `limit`. A writer `yields` to a thread that is about to fork, and asks for its turn
    /// again afterwards.
    pub(super) fn begin(limit: Duration, yields: bool) -> Self {
        let end = Instant::now() + limit.min(LONGEST);
        Self { end, before: END.replace(Some((end, yields))) }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Waits for one step.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the work was called off.
    pub(super) fn step(&self) -> Result<()> {
        thread::sleep(STEP);
        cancel::poll()
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        END.set(self.before);
    }
}

/// SQLite's busy handler: waits for a step and says whether to try again, given the number of tries.
pub(super) fn wait(tries: i32) -> bool {
    let (end, yields) = END.get().unwrap_or_else(|| (Instant::now(), false));
    let called_off = tries % LOOK == LOOK - 1 && cancel::poll().is_err();
    if Instant::now() >= end || called_off || yields && fork::pending() {
        return false;
    }
    thread::sleep(STEP);
    true
}
