"""Writes a catalog as it is at one moment in formats that other programs read."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from .batch import SourceModel
from .columns import ParquetRows
from .copies import IDS, ITEMS, MANIFEST
from .growing import GrowingIndex, GrowingMatrix, TextList

ExportFormat: TypeAlias = Literal["jsonl", "npy", "parquet", "faiss"]
EXPORTS: tuple[ExportFormat, ...] = ("jsonl", "npy", "parquet", "faiss")
#: Items that are read at a time.
ITEMS_AT_ONCE = 1000

#: (id, label, text, metadata, [(name, digest, view, file of the original or None)]).
ItemRow: TypeAlias = "tuple[str, str | None, str | None, dict[str, Any], list[tuple[str, str, int, Path | None]]]"
Walk: TypeAlias = "Callable[[int, Callable[[list[ItemRow], list[NDArray[np.float32]]], object]], object]"
Progress: TypeAlias = "Callable[[int, int | None, str], object]"


@dataclass(frozen=True)
class Exported:
    """Outcome of :meth:`Engine.export`.

    Attributes:
        items: Items that were written.
        references: References that were written, each with its vectors.
        pictures: Originals that were copied.
    """

    items: int
    references: int
    pictures: int = 0


class Writer(Protocol):
    """Writes items and their vectors."""

    pictures: int

    def write(self, items: Sequence[ItemRow], vectors: Sequence[NDArray[np.float32]]) -> None:
        """Writes some items, with the vectors of each model for their references."""

    def close(self) -> None:
        """Finishes the files."""


class Columns:
    """The vectors of each model in a file, and the id of each row: ``npy`` and ``faiss``."""

    pictures = 0

    def __init__(self, folder: Path, models: Sequence[SourceModel], dims: Sequence[int], format: str) -> None:
        make, stem, ending = (
            (GrowingIndex, "index", "faiss") if format == "faiss" else (GrowingMatrix, "vectors", "npy")
        )
        files = _files(stem, ending, len(models))
        _write_manifest(folder, models, files)
        self._vectors = [make(folder / file, dim) for file, dim in zip(files, dims, strict=True)]
        self._ids = TextList(folder / IDS)

    def write(self, items: Sequence[ItemRow], vectors: Sequence[NDArray[np.float32]]) -> None:
        for file, some in zip(self._vectors, vectors, strict=True):
            file.add(some)
        for id, *_, references in items:
            for _ in references:
                self._ids.add(id)

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._ids.close)
            for file in self._vectors:
                stack.callback(file.close)


class Lines:
    """Items as JSON lines, the vectors of their references in their order, and their pictures: ``jsonl``."""

    def __init__(self, folder: Path, models: Sequence[SourceModel], dims: Sequence[int]) -> None:
        self.pictures = 0
        self._folder = folder
        files = _files("vectors", "npy", len(models))
        _write_manifest(folder, models, files)
        self._vectors = [GrowingMatrix(folder / file, dim) for file, dim in zip(files, dims, strict=True)]
        self._items = open(folder / ITEMS, "w", encoding="utf-8")  # noqa: SIM115  (closed by `close`)

    def write(self, items: Sequence[ItemRow], vectors: Sequence[NDArray[np.float32]]) -> None:
        for file, some in zip(self._vectors, vectors, strict=True):
            file.add(some)
        for id, label, text, metadata, references in items:
            record: dict[str, Any] = {"id": id, "label": label, "text": text, "metadata": metadata}
            record["references"] = [self._reference(*reference) for reference in references]
            self._items.write(json.dumps(record, ensure_ascii=False) + "\n")

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._items.close)
            for file in self._vectors:
                stack.callback(file.close)

    def _reference(self, name: str, digest: str, view: int, original: Path | None) -> dict[str, Any]:
        told: dict[str, Any] = {"name": name, "digest": digest}
        if view:
            told["view"] = view
        if original is not None:
            file = Path("pictures", original.parent.name, original.name)
            target = self._folder / file
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(original, target)
                self.pictures += 1
            told["picture"] = file.as_posix()
        return told


def export(
    walk: Walk,
    path: str,
    format: str,
    models: Sequence[SourceModel],
    dims: Sequence[int],
    *,
    total: int | None,
    progress: Progress | None,
) -> Exported:
    """Writes all items that ``walk`` gives to a new file or directory, which has its name once it is complete.

    Raises:
        ArgumentError: The format is unknown, or the catalog has no references.
        FileExistsError: There is something at ``path``.
        FileNotFoundError: The folder that it is to be in is not there.
        ImportError: The format needs an extra.
        OSError: It cannot be written; then nothing is left.
    """
    if format not in EXPORTS:
        raise ArgumentError(f"format {format!r}: give one of {', '.join(EXPORTS)}")
    done = [0, 0]
    with _complete(Path(path)) as part:
        writer: Writer
        if format == "parquet":
            writer = ParquetRows(part, models, dims)
        else:
            part.mkdir()
            writer = Lines(part, models, dims) if format == "jsonl" else Columns(part, models, dims, format)
        try:

            def told(items: list[ItemRow], vectors: list[NDArray[np.float32]]) -> None:
                if progress is not None:
                    progress(done[0], total, items[0][0])
                writer.write(items, vectors)
                done[0] += len(items)
                done[1] += sum(len(row[-1]) for row in items)

            walk(ITEMS_AT_ONCE, told)
        finally:
            writer.close()
        if not done[1]:
            raise ArgumentError(f"{path}: the catalog has no references to export: add some first")
    if progress is not None:
        progress(done[0], total, "")
    return Exported(done[0], done[1], writer.pictures)


@contextmanager
def _complete(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which gets its name at the end, or is removed if the writing fails."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path} is there already: choose another name, or remove it")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path} cannot be written, for there is no folder {path.parent}: make that folder first"
        )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        for one in [part, *part.rglob("*")] if part.is_dir() else [part]:
            _sync(one)
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is there already: choose another name, or remove it")
        part.rename(path)
        _sync(path.parent)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno, f"{path} cannot be written, for the disk is full; nothing was left: free some space"
            ) from error
        raise


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _files(stem: str, ending: str, count: int) -> list[str]:
    return [f"{stem}.{ending}"] if count == 1 else [f"{stem}-{number}.{ending}" for number in range(1, count + 1)]


def _write_manifest(folder: Path, models: Sequence[SourceModel], files: Sequence[str]) -> None:
    told = [{**vars(model), "file": file} for model, file in zip(models, files, strict=True)]
    (folder / MANIFEST).write_text(json.dumps({"models": told}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
