//! Exact nearest-neighbour search with faiss, kept up to date from the store.
