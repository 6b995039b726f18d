//! Folders and lists become items: batches, progress, resume.
