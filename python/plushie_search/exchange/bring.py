"""Stores the vectors of a source in a catalog, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from .batch import Batch, Source

#: Rows of a batch: as many as are stored in one transaction.
BATCH = 10_000

Progress = Callable[[int, "int | None", str], object]
A = TypeVar("A", covariant=True)
T = TypeVar("T")


class AddVectors(Protocol[A]):
    """Adds vectors as :meth:`plushie_search.Engine.add_vectors` does; ``by_digest`` passes over names in the search."""

    def __call__(self, ids: Sequence[Any], vectors: Any, **columns: Any) -> A:
        """Adds a batch."""


def bring(
    source: Source,
    add_vectors: AddVectors[A],
    models: Sequence[dict[str, Any]],
    *,
    keep: Callable[[list[tuple[str, str]]], object],
    progress: Progress | None,
) -> list[A]:
    """Adds all vectors of a source, and returns the counts of each batch.

    Args:
        source: The source.
        add_vectors: Adds a batch.
        models: Name, fingerprint and dimension of each model of the catalog, by which vectors of others are refused.
        keep: Keeps the originals of pictures, files with their digests.
        progress: Called with (rows done, rows in all, the item that comes next).

    Raises:
        ArgumentError: The vectors are of another model or dimension, a row has NaN or no length, or a cell cannot be
            stored. Batches before it are stored, which the text says.
    """
    names = _names(source, models)
    batches = source.batches(BATCH)
    done: list[A] = []
    rows = 0

    def add(batch: Batch, ids: Sequence[Any]) -> A:
        vectors = {names.get(name, name): part for name, part in batch.vectors.items() if name in names}
        for part in vectors.values():
            _check(part, batch, ids)
        if batch.pictures:
            keep(batch.pictures)
        cells = {name: value for name, value in vars(batch.cells).items() if name != "ids" and value is not None}
        # Of a source that names no model, the vectors alone. References of an export may share names, and have all
        # their digests.
        return add_vectors(ids, vectors.pop(None, vectors), by_digest=bool(source.models), **cells)

    while (batch := _located(source, rows, lambda: next(batches, None))) is not None:
        ids = _located(source, rows, partial(batch_ids, source, batch))
        if progress is not None:
            progress(rows, source.rows, str(ids[0]))
        done.append(_located(source, rows, partial(add, batch, ids)))
        rows += len(ids)
    if progress is not None:
        progress(rows, source.rows, "")
    return done


def _located(source: Source, rows: int, work: Callable[[], T]) -> T:
    """Does a step of an import; its error says in which file it came up, and how many rows are stored."""
    try:
        return work()
    except (ArgumentError, TypeError) as error:
        text = str(error)
        if source.path not in text:
            text = f"{source.path}: {text}"
        if not rows:
            raise ArgumentError(f"{text}; nothing was stored") from error
        raise ArgumentError(
            f"{text}; the {rows} rows before are stored: correct the file and import it again, which goes on there"
        ) from error


def batch_ids(source: Source, batch: Batch) -> list[Any]:
    """Returns the ids of rows: their own, or else the names of their references, or the file's name and their numbers.

    Raises:
        ArgumentError: Some rows have an id and others have none.
    """
    for column in (batch.cells.ids, batch.cells.references):
        if column is None or all(value is None for value in column):
            continue
        if lacking := [number for number, value in zip(batch.numbers, column, strict=True) if value is None]:
            raise ArgumentError(f"row {int(lacking[0])} has no id, and others have: give each row one")
        return list(column)
    stem = os.path.splitext(os.path.basename(os.path.normpath(source.path)))[0]
    return [f"{stem}-{number}" for number in batch.numbers]


def _names(source: Source, models: Sequence[dict[str, Any]]) -> dict[str | None, str | None]:
    """The name in the catalog of each model of a source."""
    if not source.models:
        if len(models) == 1 and models[0]["dimension"] != source.dim:
            raise ArgumentError(
                f"{source.path}: has vectors of {source.dim} numbers, and those of {models[0]['name']!r} have "
                f"{models[0]['dimension']}: they are another model's, which needs a catalog of its own; open one "
                "with that model"
            )
        return {None: None}
    known = {model["fingerprint"]: model["name"] for model in models}
    names: dict[str | None, str | None] = {
        model.name: known[model.fingerprint] for model in source.models if model.fingerprint in known
    }
    if len(names) < len(known):
        held = [model.name for model in source.models]
        lacking = [name for name in known.values() if name not in names.values()]
        raise ArgumentError(
            f"{source.path}: has vectors of {held}, and none of {lacking} as the catalog needs them: open a catalog "
            "with the models of the vectors"
        )
    return names


@np.errstate(all="ignore")
def _check(vectors: NDArray[Any], batch: Batch, ids: Sequence[Any]) -> None:
    """Names the first row that has no direction by its number in the source."""
    if vectors.dtype.kind != "f":
        bad = ~vectors.any(axis=1)
    else:
        # A sum is NaN or infinite if a number is, and seldom otherwise.
        sums = np.abs(vectors).sum(axis=1, dtype=np.float64)
        bad = ~(np.isfinite(sums) & (sums > 0))
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        number, kind = (
            int(batch.numbers[place]),
            "is all zeros" if not vectors[place].any() else "has NaN or infinite values",
        )
        raise ArgumentError(f"row {number} (item {ids[place]!r}) {kind}: correct it, or leave the row out")
