"""Rows and columns as people have them (tuples, dicts, numpy and pandas values) → the tuples that the core takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ._core import _Image as ImageLike
    from ._core import _NewItem

Row: TypeAlias = tuple[Any, Any, Any, Any, Any] | Mapping[str, Any]
"""``(id, images, label, metadata, text)``, or a dict with these keys, of which only ``id`` must be there."""

#: The parts of a row, in the order of a tuple.
FIELDS = ("id", "images", "label", "metadata", "text")


def to_rows(items: Iterable[Row]) -> Iterator[_NewItem]:
    """Each row as the core takes it.

    Raises:
        TypeError, ValueError: A row is neither a tuple of five nor a dict with the right keys.
    """
    for number, row in enumerate(items):
        id, images, label, metadata, text = _parts(row, number)
        yield id, () if images is None else images, label, metadata, text


def pictures(items: Sequence[Row]) -> int:
    """How many pictures rows have."""
    return sum(_count(_parts(row, number)[1]) for number, row in enumerate(items))


def _parts(row: Row, number: int) -> tuple[Any, Any, Any, Any, Any]:
    if isinstance(row, Mapping):
        if unknown := [key for key in row if key not in FIELDS]:
            raise ValueError(f"row {number} has the unknown key {unknown[0]!r}; the keys are {', '.join(FIELDS)}")
        if "id" not in row:
            raise ValueError(f"row {number} has no key 'id'; the keys are {', '.join(FIELDS)}")
        return row["id"], row.get("images"), row.get("label"), row.get("metadata"), row.get("text")
    if not isinstance(row, (tuple, list)):
        raise TypeError(
            f"row {number} is of type {type(row).__name__}: give tuples ({', '.join(FIELDS)}) or dicts with these keys "
            "(of a pandas table: table.to_dict('records'))"
        )
    if len(row) != len(FIELDS):
        raise ValueError(f"row {number} has {len(row)} parts: give {len(FIELDS)}, ({', '.join(FIELDS)}), or a dict")
    return row[0], row[1], row[2], row[3], row[4]


def _count(images: ImageLike | Sequence[ImageLike] | None) -> int:
    if images is None:
        return 0
    if isinstance(images, (list, tuple)) or getattr(images, "ndim", None) == 4:
        return len(images)  # type: ignore[arg-type]
    return 1
