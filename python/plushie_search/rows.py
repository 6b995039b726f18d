"""Rows and columns as people have them (tuples, dicts, numpy and pandas values) → the tuples that the core takes."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from ._core import _Failed, _NewItem
    from ._core import _Image as ImageLike

Row: TypeAlias = tuple[Any, Any, Any, Any, Any] | Mapping[str, Any]
"""``(id, images, label, metadata, text)``, or a dict with these keys, of which only ``id`` must be there."""

#: The parts of a row, in the order of a tuple.
FIELDS = ("id", "images", "label", "metadata", "text")


def to_rows(items: Iterable[Row]) -> Iterator[_NewItem | _Failed]:
    """Each row as the core takes it, or as one that cannot be used: its name, the reason, and how many pictures it has.

    Raises:
        TypeError, ValueError: A row is neither a tuple of five nor a dict with the right keys.
    """
    for number, row in enumerate(items):
        id, images, label, metadata, text = _parts(row, number)
        try:
            name = _text(id, "id")
            if name is None:
                raise ValueError("the id is missing: give a text or a whole number")
            yield (
                name,
                () if images is None else images,
                _text(label, "label"),
                None if is_missing(metadata) else metadata,
                _text(text, "text"),
            )
        except (TypeError, ValueError) as error:
            yield f"row {number} ({id!r:.80})", str(error), pictures([row])


def pictures(items: Sequence[Row]) -> int:
    """How many pictures rows have."""
    return sum(_count(_parts(row, number)[1]) for number, row in enumerate(items))


def is_missing(value: object) -> bool:
    """Whether it is None, NaN, or what pandas has in cells without a value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


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


def _text(value: object, what: str) -> str | None:
    """A text, or a whole number as its decimal digits, as they come from columns of identifiers."""
    if isinstance(value, str):
        return str(value)
    if is_missing(value):
        return None
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    raise TypeError(f"the {what} {value!r:.80} is of type {type(value).__name__}: give a text or a whole number")
