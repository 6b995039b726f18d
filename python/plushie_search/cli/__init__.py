"""The command `plushie-search`."""

from .main import main

__all__ = ["main"]
