"""Rows of vectors with their columns, as a source gives them, and the names of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError

#: The fields of a row, each with the names that columns and records have for it.
NAMES = {
    "id": ("id", "item", "item_id", "key"),
    "label": ("label", "class"),
    "text": ("text", "description", "caption"),
    "reference": ("reference", "image_path", "path", "filename"),
    "digest": ("digest", "sha256"),
    "metadata": ("metadata",),
}


@dataclass
class Cells:
    """The columns of some rows; a column that no row has is None.

    Attributes:
        ids, labels, texts, references, digests, metadata: A value for each row, or None for a row without it.
        views: The number of the view of a mesh that each row is, 0 for a picture.
    """

    ids: Sequence[Any] | None = None
    labels: Sequence[Any] | None = None
    texts: Sequence[Any] | None = None
    references: Sequence[Any] | None = None
    digests: Sequence[Any] | None = None
    metadata: Sequence[Any] | None = None
    views: Sequence[int] | None = None

    def over(self, other: Cells) -> Cells:
        """Returns these columns, and those of ``other`` where these have none."""
        return Cells(**{name: other_one if own is None else own for name, own, other_one in _pairs(self, other)})


@dataclass
class Batch:
    """Some rows of a source.

    Attributes:
        vectors: Numbers of shape (rows, dim) for each model, by its name; by None if the source names no model.
        cells: What is known of the rows.
        numbers: The number of each row in the source, by which errors and ids name it.
        pictures: The files of originals that come along, each with its digest.
    """

    vectors: dict[str | None, NDArray[Any]]
    numbers: Sequence[int] | NDArray[np.int64]
    cells: Cells = field(default_factory=Cells)
    pictures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class SourceModel:
    """A model that a source names: its name, its fingerprint, and the name or directory to open it by if known."""

    name: str
    fingerprint: str
    opened_by: str | None = None


class Source(Protocol):
    """Vectors that can be imported.

    Attributes:
        path: The file or directory.
        rows: How many rows it has.
        dim: The numbers in each vector, of its first model.
        models: The models of its vectors, in their order; empty if it does not tell.
    """

    path: str
    rows: int
    dim: int
    models: Sequence[SourceModel]

    def batches(self, size: int) -> Iterator[Batch]:
        """Yields all rows in their order, about ``size`` at a time."""


def take_cells(columns: Mapping[str, Sequence[Any]], count: int) -> Cells:
    """Returns the cells of columns by their names; those of other names become metadata.

    ``columns`` holds lists of ``count`` values.

    Raises:
        ArgumentError: Two columns have names of one field.
    """
    found: dict[str, Sequence[Any]] = {}
    rest = dict(columns)
    for field_name, names in NAMES.items():
        there = [name for name in names if name in rest]
        # An id names the row best; `key` and `item` beside it are further facts.
        if len(there) > 1 and field_name not in ("id", "reference"):
            raise ArgumentError(f"columns {there[0]!r} and {there[1]!r} mean the same: leave one out")
        if there:
            found[field_name] = rest.pop(there[0])
    metadata = _metadata(found.get("metadata"), rest, count)
    return Cells(
        ids=found.get("id"),
        labels=found.get("label"),
        texts=found.get("text"),
        references=found.get("reference"),
        digests=found.get("digest"),
        metadata=metadata,
    )


def _metadata(own: Sequence[Any] | None, rest: Mapping[str, Sequence[Any]], count: int) -> Sequence[Any] | None:
    if not rest:
        return own
    names = list(rest)
    rows: Iterable[dict[str, Any]] = (
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*rest.values(), strict=True)
    )
    # A row without any keeps the metadata of its item.
    if own is None:
        return [row or None for row in rows]
    return [{**row, **(one or {})} if row or one is not None else None for row, one in zip(rows, own, strict=True)]


def _pairs(one: Cells, other: Cells) -> Iterator[tuple[str, Any, Any]]:
    for name in one.__dataclass_fields__:
        yield name, getattr(one, name), getattr(other, name)
