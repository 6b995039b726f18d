//! Find the right thing from a picture, a sentence, or both.
//!
//! The modules stand in the order in which data flows through them, and each uses only those above it: read them
//! from top to bottom and you have read how a picture becomes a hit. PyO3 and numpy appear in `python` alone.
#![deny(missing_docs)]

pub mod error;
pub mod workers;
pub mod random;
pub mod cancel;
pub mod selection;
pub mod vectors;
pub mod fusion;
pub mod evaluate;
pub mod calibrate;
pub mod picture;
pub mod mesh;
pub mod render;
pub mod views;
pub mod plush;
pub mod preprocess;
pub mod model;
pub mod tokenize;
pub mod encoder;
pub mod expand;
pub mod explain;
pub mod words;
pub mod filter;
pub mod store;
pub mod index;
pub mod query;
pub mod engine;
pub mod ingest;

#[cfg(feature = "python")]
mod python;

pub use crate::error::{Error, Result};
