//! How good a retrieval is: figures of ranked lists, of open-set decisions, and how sure they are. Pure functions.

mod bootstrap;
mod confusion;
mod open_set;
mod rankings;

pub use self::bootstrap::{Bootstrap, Interval};
pub use self::confusion::{Confusion, confusions};
pub use self::open_set::{OpenSet, open_set};
pub use self::rankings::Rankings;
