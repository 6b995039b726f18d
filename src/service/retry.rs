//! Which failures pass, how long to wait for that, and when to give up.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::{Duration, Instant};

/// The wait after the first failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait of ours is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Why a service gave no answer that can be used, in words that say what to do.
#[derive(Debug, Clone)]
pub struct Failure {
    kind: Kind,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Another try may succeed, after this time if the server said so.
    Passing(Option<Duration>),
    /// A connection from an earlier request had ended: another try is due at once.
    Stale,
    /// The server understood and refuses: it would again.
    Refused,
    /// The server failed with this request, and would again.
    Failed,
    /// Anything else that another try does not mend.
    Lasting,
}

impl Failure {
    pub(super) fn passing(reason: impl Into<String>, after: Option<Duration>) -> Self {
        Self { kind: Kind::Passing(after), reason: reason.into() }
    }

    pub(super) fn stale(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Stale, reason: reason.into() }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, reason: reason.into() }
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, reason: reason.into() }
    }

    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Lasting, reason: reason.into() }
    }

    /// Whether the server understood the request and refused it: another one may be accepted.
    pub fn is_refusal(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Whether the server answered that it does not do this: another way of asking may be better.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::Refused | Kind::Failed)
    }

    /// The same, said of something.
    pub(super) fn about(self, what: impl fmt::Display) -> Self {
        Self { reason: format!("{what}: {}", self.reason), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// How long and how often a request is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    pub(super) retries: u32,
}

impl Patience {
    /// Tries `work`, which is told how much time is left, until it succeeds, fails for good, or patience ends.
    pub(super) fn persist<T>(self, mut work: impl FnMut(Duration) -> Result<T, Failure>) -> Result<T, Failure> {
        let start = Instant::now();
        let (mut tries, mut stale) = (0, false);
        loop {
            let left = self.timeout.saturating_sub(start.elapsed());
            let failure = match work(left.max(Duration::from_millis(1))) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            tries += 1;
            let wait = match failure.kind {
                Kind::Stale if !stale => {
                    stale = true;
                    tries -= 1;
                    continue;
                }
                Kind::Refused | Kind::Failed | Kind::Lasting if tries == 1 => return Err(failure),
                Kind::Refused | Kind::Failed | Kind::Lasting => return Err(given_up(failure, tries, start, "")),
                Kind::Passing(Some(after)) => after,
                Kind::Passing(None) | Kind::Stale => backoff(tries - 1, random()),
            };
            let left = self.timeout.saturating_sub(start.elapsed());
            if tries > self.retries || wait >= left {
                let late = if tries <= self.retries { format!(" of {:?}", self.timeout) } else { String::new() };
                return Err(given_up(failure, tries, start, &late));
            }
            thread::sleep(wait);
        }
    }
}

fn given_up(failure: Failure, tries: u32, start: Instant, late: &str) -> Failure {
    let times = if tries == 1 { "1 attempt" } else { &format!("{tries} attempts") };
    let seconds = start.elapsed().as_secs_f64();
    Failure { reason: format!("{} (gave up after {times}, {seconds:.1} s{late})", failure.reason), kind: Kind::Lasting }
}

/// The wait after a failure with so many before it: half of it by chance, so that many clients do not come at once.
fn backoff(failures: u32, chance: f64) -> Duration {
    let whole = FIRST_WAIT.saturating_mul(1 << failures.min(16)).min(LONGEST_WAIT);
    whole.mul_f64(0.5 + chance / 2.0)
}

/// From 0 to 1.
fn random() -> f64 {
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(milliseconds: u64, retries: u32) -> Patience {
        Patience { timeout: Duration::from_millis(milliseconds), retries }
    }

    #[test]
    fn waits_double_and_end_somewhere() {
        let waits: Vec<u128> = (0..8).map(|failures| backoff(failures, 1.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 8000, 8000]);
        assert_eq!(backoff(1, 0.0).as_millis(), 200);
        assert_eq!(backoff(u32::MAX, 1.0), LONGEST_WAIT);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&random())));
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let mut tries = 0;
        let done = patience(10_000, 4).persist(|_| {
            tries += 1;
            if tries < 3 { Err(Failure::passing("busy", Some(Duration::ZERO))) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 3);
        for failure in [Failure::refused("no"), Failure::lasting("no")] {
            let mut tries = 0;
            let error = patience(10_000, 4).persist::<()>(|_| {
                tries += 1;
                Err(failure.clone())
            });
            assert_eq!((error.unwrap_err().to_string(), tries), ("no".to_string(), 1));
        }
    }

    #[test]
    fn retries_and_time_end() {
        let mut tries = 0;
        let mut busy = |after| {
            tries += 1;
            Err::<(), _>(Failure::passing("busy", Some(after)))
        };
        let error = patience(10_000, 2).persist(|_| busy(Duration::ZERO)).unwrap_err().to_string();
        assert!(error.starts_with("busy (gave up after 3 attempts, 0.0 s"), "{error}");
        // A wait that the server asks for and that does not fit is not begun.
        let error = patience(500, 2).persist(|_| busy(Duration::from_secs(3600))).unwrap_err().to_string();
        assert_eq!(error, "busy (gave up after 1 attempt, 0.0 s of 500ms)");
        assert_eq!(tries, 4);
    }

    #[test]
    fn a_connection_that_had_ended_costs_no_retry() {
        let mut tries = 0;
        let done = patience(10_000, 0).persist(|_| {
            tries += 1;
            if tries == 1 { Err(Failure::stale("closed")) } else { Ok(()) }
        });
        assert!(done.is_ok());
        let ended = patience(10_000, 0).persist::<()>(|_| Err(Failure::stale("closed"))).unwrap_err();
        assert!(ended.to_string().starts_with("closed (gave up after 1 attempt"), "{ended}");
    }
}
