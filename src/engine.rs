//! An open catalog: add, remove, search.
