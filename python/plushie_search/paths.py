"""Paths from users: home directories, and files below folders."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> str:
    """Returns the path with ``~`` or ``~user`` at its beginning replaced by the home directory, as in a shell."""
    return os.path.expanduser(os.fspath(path))


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """Returns the text, and writes it to a file if one is named."""
    if path is not None:
        Path(expanded(path)).write_text(text, encoding="utf-8", errors="backslashreplace")
    return text


def is_below(path: str, folder: str) -> bool:
    """Returns whether an absolute path leads into an absolute folder, by its parts alone."""
    return os.path.isabs(path) and os.path.normpath(path).startswith(os.path.join(os.path.normpath(folder), ""))


def is_gone(path: str, folder: str) -> bool:
    """Returns whether a file that was below a folder does not exist any more.

    Returns False if that is unknown: a link on the way is broken, as for a disk that is not mounted, or a folder cannot
    be read.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        parent = os.path.dirname(path)
        while is_below(parent, folder):
            if os.path.islink(parent) and not os.path.exists(parent):
                return False
            parent = os.path.dirname(parent)
        return True
    except OSError:
        return False
    return False
