"""Checks for catalogs of your own that answer as an engine does."""

from .encoder import SuiteEncoder
from .suite import Check, searcher_suite

__all__ = ["Check", "SuiteEncoder", "searcher_suite"]
