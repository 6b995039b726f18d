//! A model directory on disk: manifest, files, fingerprint; no inference.
