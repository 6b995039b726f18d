"""Finds, downloads and opens models by name, and finds the library that runs them."""

from .names import (
    BUILT_IN,
    DEFAULT_MODEL,
    MANIFEST,
    Located,
    built_in_manifest,
    built_in_models,
    entry,
    models,
    pull_model,
    resolve,
)
from .open import as_encoder, load_device, open_encoder
from .runtime import runtime_library

__all__ = [
    "BUILT_IN",
    "DEFAULT_MODEL",
    "MANIFEST",
    "Located",
    "as_encoder",
    "built_in_manifest",
    "built_in_models",
    "entry",
    "load_device",
    "models",
    "open_encoder",
    "pull_model",
    "resolve",
    "runtime_library",
]
