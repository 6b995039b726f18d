//! Computes retrieval metrics with confidence intervals: figures of ranked lists and of open-set decisions. All
//! functions are pure.
//!
//! ```
//! use plushie_search::evaluate::{Bootstrap, Rankings};
//! use std::num::NonZeroUsize;
//!
//! // Three queries: the relevant item came first, third, and not at all.
//! let rankings = Rankings::from_ranks([NonZeroUsize::new(1), NonZeroUsize::new(3), None]);
//! let three = NonZeroUsize::new(3).unwrap();
//! assert_eq!(rankings.hit(three), [1.0, 1.0, 0.0]);
//! assert_eq!(rankings.reciprocal_rank(three), [1.0, 1.0 / 3.0, 0.0]);
//!
//! let interval = Bootstrap::default().mean(&rankings.hit(three), None)?;
//! assert!(interval.low <= interval.value && interval.value <= interval.high);
//! # Ok::<(), plushie_search::Error>(())
//! ```

mod bootstrap;
mod confusion;
mod open_set;
mod rankings;

pub use self::bootstrap::{Bootstrap, Interval};
pub use self::confusion::{Confusion, confusions};
pub use self::open_set::{OpenSet, open_set};
pub use self::rankings::Rankings;
