"""Searches for, encodes and adds the rows of tables, a batch of rows at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .._core import ArgumentError, FileError, PictureError
from ..engine import Engine
from ..log import logger
from ..results import Results

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..encoders.protocol import EncoderLike

Kind: TypeAlias = Literal["image", "text"]
OnError: TypeAlias = Literal["raise", "skip"]

#: Rows that are searched for, or encoded, in one call.
BATCH = 64
#: The errors of a cell.
FAULTS = (PictureError, FileError, ArgumentError, TypeError)


def is_missing(value: Any) -> bool:
    """Returns whether a cell is empty: None, NaN, or the NA of a library of tables."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def check(kind: str, errors: str) -> None:
    """Checks options that are the same everywhere.

    Raises:
        ArgumentError: ``kind`` is neither ``"image"`` nor ``"text"``, or ``errors`` neither ``"raise"`` nor ``"skip"``.
    """
    if kind not in ("image", "text"):
        raise ArgumentError(f"kind={kind!r}: give 'image' or 'text'")
    if errors not in ("raise", "skip"):
        raise ArgumentError(f"errors={errors!r}: give 'raise' or 'skip'")


def found(
    engine: Engine, cells: Iterable[Any], *, kind: Kind, errors: OnError, options: Mapping[str, Any]
) -> Iterator[tuple[int, Results]]:
    """Yields the number of each row that is not empty, from 0, with its hits.

    Raises:
        ArgumentError, TypeError: An option makes no sense.
        PlushieError: A cell cannot be used, and ``errors`` is ``"raise"``; the message names its row. The catalog or
            the model cannot be used.
    """
    check(kind, errors)
    search: Any = engine.search_image if kind == "image" else engine.search_text
    if isinstance(engine, Engine):
        # Without cells, options that make no sense are the only reason to fail, and no row is to blame.
        search([], **options)
    yield from _each(lambda some: search(some, **options), cells, errors)


def encoded(
    encoder: EncoderLike | Engine, cells: Iterable[Any], *, kind: Kind, errors: OnError
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields the number of each row that is not empty, from 0, with its unit vector, float32 (dim,).

    Raises:
        As :func:`found`.
    """
    check(kind, errors)
    what: Any = encoder
    encode = what.encode_images if kind == "image" else what.encode_texts
    if isinstance(encoder, Engine):
        encode([])  # as above
    yield from _each(encode, cells, errors)


def _each(work: Any, cells: Iterable[Any], errors: OnError) -> Iterator[tuple[int, Any]]:
    """Yields each row's number with its outcome, computed in batches."""
    batch: list[tuple[int, Any]] = []
    for number, cell in enumerate(cells):
        if not is_missing(cell):
            batch.append((number, cell))
        if len(batch) == BATCH:
            yield from _batch(work, batch, errors)
            batch = []
    if batch:
        yield from _batch(work, batch, errors)


def _batch(work: Any, batch: Sequence[tuple[int, Any]], errors: OnError) -> Iterator[tuple[int, Any]]:
    try:
        outcomes = work([cell for _, cell in batch])
    except FAULTS:
        # Together they fail as one; one by one the row that is to blame is known.
        outcomes = None
    if outcomes is not None:
        yield from zip((number for number, _ in batch), outcomes, strict=True)
        return
    for number, cell in batch:
        try:
            (outcome,) = work([cell])
        except FAULTS as error:
            if errors == "raise":
                raise type(error)(f"row {number}: {error}") from error
            logger.warning("left out row %d: %s", number, error)
            continue
        yield number, outcome


def rows(columns: Mapping[str, Sequence[Any]], metadata: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the rows of columns as items for :meth:`plushie_search.Engine.add_items`.

    Args:
        columns: Cells by field: ``id``, ``images``, ``label``, ``text``, and the columns of ``metadata``. An empty cell
            leaves its field out. An id that is left out is the picture's path.
        metadata: The columns that become metadata.

    Raises:
        ArgumentError: A row has neither an id nor a path.
    """
    names = list(columns)
    for number, cells in enumerate(zip(*columns.values(), strict=True)):
        row = {name: cell for name, cell in zip(names, cells, strict=True) if not is_missing(cell)}
        told = {name: row.pop(name) for name in metadata if name in row}
        images = row.get("images", [])
        row["images"] = list(images) if isinstance(images, (list, tuple, np.ndarray)) else [images]
        if "id" not in row:
            paths = [os.fspath(image) for image in row["images"] if isinstance(image, (str, os.PathLike))]
            if not paths:
                raise ArgumentError(f"row {number} has no id: name the column of ids, or give pictures as paths")
            row["id"] = paths[0]
        yield {**row, "metadata": told} if told else row


def fields(
    names: Sequence[str], *, image: str | None, id: str | None, label: str | None, text: str | None, metadata: Any
) -> tuple[dict[str, str], list[str]]:
    """Returns the column of each field, and the columns of metadata: all that are left if ``metadata`` is ``"rest"``.

    Raises:
        ArgumentError: A column is not there, or there is neither ``image`` nor ``id``.
    """
    if image is None and id is None:
        raise ArgumentError("name the column of the pictures by image=, or that of the ids by id=")
    asked = {"id": id, "images": image, "label": label, "text": text}
    chosen = {field: column for field, column in asked.items() if column is not None}
    rest = [name for name in names if name not in chosen.values()]
    extra = rest if metadata == "rest" else list(metadata)
    for column in (*chosen.values(), *extra):
        present(names, column)
    return chosen, extra


def present(names: Sequence[str], column: str) -> str:
    """Returns the name of a column that is there once.

    Raises:
        ArgumentError: There is no such column, or more than one.
    """
    if column not in names:
        raise ArgumentError(f"there is no column {column!r}: name one of {', '.join(map(str, names))}")
    if list(names).count(column) > 1:
        raise ArgumentError(f"there are several columns {column!r}: give them names of their own")
    return column
