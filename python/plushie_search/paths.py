"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> str:
    """The path with ``~`` and ``~user`` at its beginning replaced by a home directory, as a shell does it."""
    return os.path.expanduser(os.fspath(path))


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """The text, which is also written to a file if one is named."""
    if path is not None:
        Path(expanded(path)).write_text(text, encoding="utf-8", errors="backslashreplace")
    return text
