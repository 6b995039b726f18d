"""Converts items (dataclasses, dicts, columns of numpy and pandas) to the rows that the core takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, SupportsIndex, TypeAlias

from ._core import ArgumentError
from .query import listed

if TYPE_CHECKING:
    from ._core import _Image as ImageLike
    from ._core import _NewItem


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """An item to add, for :meth:`Engine.add_items`.

    Attributes:
        id: The item's id: a text of 1 to 512 bytes without control characters, or a whole number, which means its
            digits.
        images: One image or a sequence of them; none by default, which adds to an item that is there.
        label: A class that items share; None keeps the stored one.
        metadata: A dict of JSON values, which replaces the stored one; None keeps the stored one.
        text: A description; None keeps the stored one.
        names: The names that the references of ``images`` get, one for each, None for those that keep their own: an
            upload's file name, or "image 0 (bytes)". A file's name is its path.
    """

    id: str | SupportsIndex
    images: ImageLike | Sequence[ImageLike] = ()
    label: str | SupportsIndex | None = None
    metadata: Mapping[str, Any] | None = None
    text: str | SupportsIndex | None = None
    names: Sequence[str | None] | None = None


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


Row: TypeAlias = ItemDraft | Mapping[str, Any] | _Dataclass
"""An :class:`ItemDraft`, another dataclass with its fields, or a dict with these keys; only ``id`` must be there."""

#: The fields of a row, in the order in which the core takes them.
FIELDS = ("id", "images", "label", "metadata", "text", "names")


def to_rows(items: Iterable[Row]) -> Iterator[_NewItem]:
    """Yields each row as the core takes it.

    Raises:
        TypeError: A row is neither a dataclass nor a dict.
        ArgumentError: A row has an unknown field, or no id.
    """
    for number, row in enumerate(items):
        cells = _cells(row, number)
        images = listed(cells.get("images"))
        yield (
            cells["id"],
            () if images is None else images,
            cells.get("label"),
            cells.get("metadata"),
            cells.get("text"),
            cells.get("names"),
        )


def count_images(items: Sequence[Row]) -> int:
    """Returns the number of images of the rows."""
    return sum(_count(listed(_cells(row, number).get("images"))) for number, row in enumerate(items))


def grouped(rows: Iterable[_NewItem]) -> Iterator[_NewItem]:
    """Yields one row for each run of rows with the same id; of each field the last value that is not None."""
    for id, group in groupby(rows, key=lambda row: row[0]):
        images: list[Any] = []
        names: list[str | None] = []
        kept: list[Any] = [None, None, None]
        for _, more, *cells, some in group:
            images.extend(more)  # type: ignore[arg-type]
            names.extend([None] * len(more) if some is None else some)  # type: ignore[arg-type]
            kept = [new if new is not None else old for old, new in zip(kept, cells, strict=True)]
        yield id, images, kept[0], kept[1], kept[2], names


def _cells(row: Any, number: int) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        cells = row
    elif is_dataclass(row) and not isinstance(row, type):
        cells = {field.name: getattr(row, field.name) for field in fields(row)}
    else:
        raise TypeError(
            f"row {number} is of type {type(row).__name__}: give ItemDraft(id, images, ...), another dataclass with "
            f"its fields, or a dict with the keys {', '.join(FIELDS)} (of a pandas table: table.to_dict('records'))"
        )
    if unknown := [key for key in cells if key not in FIELDS]:
        raise ArgumentError(f"row {number} has the unknown field {unknown[0]!r}; the fields are {', '.join(FIELDS)}")
    if "id" not in cells:
        raise ArgumentError(f"row {number} has no field 'id'; the fields are {', '.join(FIELDS)}")
    return cells


def _count(images: ImageLike | Sequence[ImageLike] | None) -> int:
    if images is None:
        return 0
    if isinstance(images, (list, tuple)) or getattr(images, "ndim", None) == 4:
        return len(images)  # type: ignore[arg-type]
    return 1
