"""Paths as people write them."""

from __future__ import annotations

import os


def expanded(path: str | os.PathLike[str]) -> str:
    """The path with ``~`` and ``~user`` at its beginning replaced by a home directory, as a shell does it."""
    return os.path.expanduser(os.fspath(path))
