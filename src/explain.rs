//! Explains a score: how much of it each part of a picture carries.
//!
//! A window of the picture is left sharp and all else is blurred; the cosine of that picture with what was looked for, less
//! that of the wholly blurred picture, is the window's share. The windows together give a map. Of models that pool feature
//! maps a map is also read from these.

mod blur;
mod cam;
mod spread;
mod windows;

pub use self::cam::Activation;
pub use self::spread::{mesh, spread};
pub use self::windows::{Detail, Windows};
