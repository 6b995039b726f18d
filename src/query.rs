//! Pictures, texts and weights become one unit vector.
