//! A path, bytes or pixels become an upright RGB picture, within limits.
