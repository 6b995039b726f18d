//! A seed becomes a plush toy: a coloured mesh, its attributes and its captions.
