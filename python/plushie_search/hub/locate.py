"""Finds the files of a model of the registry in the hub's cache, downloads missing ones, and verifies them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from .._core import ModelError
from . import cache, license, pins
from .fetch import fetch
from .registry import Entry


def locate(entry: Entry, *, accept_license: bool = False, thorough: bool = False) -> tuple[Path, str]:
    """Returns the directory with the files of a model, and their revision; downloads missing files.

    Files that have not changed since their digest was computed are read again only if ``thorough``.

    Raises:
        ModelError: The license needs consent, a file cannot be downloaded, or has another digest than the pinned one.
        ImportError: A file is missing and ``huggingface_hub`` is not installed.
    """
    known = pins.read(entry.name)
    accepted = license.check(entry, accept=accept_license, accepted=known.accepted)
    if accepted != known.accepted:
        known.accepted = accepted
        known.write(entry.name)  # even if the download fails
    before = asdict(known)
    if entry.repository is None:
        raise ModelError(
            f"model {entry.name} is not published as ONNX; make it, and then give its directory as the model: "
            f"plushie-search models export {entry.export} {entry.name}"
        )
    if not entry.files:  # it has networks only, which run on a server
        return Path(__file__).parent, entry.revision or "elsewhere"
    if known.repository != entry.repository or entry.revision not in (None, known.revision):
        known = pins.Pins(repository=entry.repository, accepted=accepted)
    try:
        directory, revision = _present(entry, known)
    except OSError as error:
        raise ModelError(
            f"model {entry.name}: the cache of the model hub cannot be read: {error}; get the right to read it, or "
            "name another place by HF_HOME"
        ) from error
    if directory is None:
        if cache.offline():
            raise ModelError(
                f"model {entry.name} is not (or not wholly) in {cache.folder()}, and HF_HUB_OFFLINE forbids "
                f"downloads; unset that, or run `plushie-search models pull {entry.name}` elsewhere, and copy it"
            )
        revision = fetch(entry, revision, known)
        directory = cache.snapshot(entry.repository, revision)
    known.revision = revision
    _verify(entry, directory, known, thorough=thorough)
    if asdict(known) != before:
        known.write(entry.name)
    assert revision is not None
    return directory, revision


def is_here(entry: Entry) -> bool:
    """Returns whether all files of a model are in the hub's cache; reads and downloads none."""
    try:
        return entry.repository is not None and _present(entry, pins.read(entry.name))[0] is not None
    except OSError:  # a cache that this user may not read
        return False


def _present(entry: Entry, known: pins.Pins) -> tuple[Path | None, str | None]:
    """Returns the directory if it has all files, and the revision if one is pinned or offline."""
    assert entry.repository is not None
    revision = entry.revision or (known.revision if known.repository == entry.repository else None)
    if revision is None and cache.offline():
        revision = cache.latest(entry.repository)
    if revision is None:
        return None, None
    directory = cache.snapshot(entry.repository, revision)
    there = all((directory / file.path).is_file() for file in entry.files)
    return (directory if there else None), revision


def _verify(entry: Entry, directory: Path, known: pins.Pins, *, thorough: bool) -> None:
    for file in entry.files:
        path = directory / file.path
        blob = path.resolve()
        facts = path.stat()
        seen = [facts.st_size, facts.st_mtime_ns]
        wanted = file.sha256 or known.sha256.get(file.path)
        if (
            not thorough
            and wanted is not None
            and known.sha256.get(file.path) == wanted
            and known.seen.get(file.path) == seen
        ):
            continue
        got = cache.sha256(path)
        # If no digest is pinned, the hub's own is the name of the file that the snapshot links to.
        named = cache.DIGEST.fullmatch(blob.name) is not None
        if got != wanted if wanted is not None else named and not cache.same_bytes(path, blob.name):
            raise ModelError(
                f"model {entry.name}: {blob} should have the digest {wanted or blob.name}, but has the SHA-256 {got}: "
                "it is damaged, or was put there by someone else. Delete it and run: plushie-search models pull "
                f"{entry.name}"
            )
        known.sha256[file.path] = got
        known.seen[file.path] = seen
