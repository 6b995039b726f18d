"""Assertions about pictures and catalogs, picture snapshots, and checks for catalogs of your own."""

from __future__ import annotations

from .assertions import assert_finds, assert_similar
from .encoder import SuiteEncoder
from .snapshots import Snapshots
from .suite import Check, searcher_suite

__all__ = ["Check", "Snapshots", "SuiteEncoder", "assert_finds", "assert_similar", "searcher_suite"]
