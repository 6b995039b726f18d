//! The catalog in SQLite: items, references, vectors, models; every change in one transaction.
