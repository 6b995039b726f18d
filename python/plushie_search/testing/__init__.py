"""Assertions about pictures and catalogs, and picture snapshots, for tests of programs that search."""

from __future__ import annotations

from .assertions import assert_finds, assert_similar
from .snapshots import Snapshots

__all__ = ["Snapshots", "assert_finds", "assert_similar"]
