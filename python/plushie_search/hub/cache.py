"""Reads the model hub's cache on this disk without the hub's own package."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

#: The values that turn a setting of the hub on.
ON = {"1", "ON", "YES", "TRUE"}

#: The digests that the hub names files by: SHA-256 for large ones, git's SHA-1 for others.
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def folder() -> Path:
    """Returns the hub's cache: ``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``, else in the user's cache."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if place := os.environ.get(name):
            return Path(os.path.expandvars(place)).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def offline() -> bool:
    """Returns whether ``HF_HUB_OFFLINE`` (or ``TRANSFORMERS_OFFLINE``) forbids every call of the hub."""
    word = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return word.upper() in ON


def repository_folder(repository: str) -> Path:
    """Returns the files of a repository in the cache."""
    return folder() / "--".join(["models", *repository.split("/")])


def snapshot(repository: str, revision: str) -> Path:
    """Returns the directory with the files of a revision."""
    return repository_folder(repository) / "snapshots" / revision


def latest(repository: str) -> str | None:
    """Returns the latest revision at the time of the last download from the repository; None if there was none."""
    try:
        revision = (repository_folder(repository) / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return revision if re.fullmatch(r"[0-9a-f]{40}", revision) else None


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, as hexadecimal digits."""
    return _digest(path, "sha256", b"")


def same_bytes(path: Path, name: str) -> bool:
    """Returns whether a file has the digest that the hub names it by."""
    if len(name) == 64:
        return sha256(path) == name
    return _digest(path, "sha1", b"blob %d\0" % path.stat().st_size) == name


def _digest(path: Path, kind: str, before: bytes) -> str:
    digest = hashlib.new(kind, before)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
