"""The items of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import ArgumentError, UnknownItemError
from ..results import Item, Items, Reference
from .opened import Opened
from .store import Row
from .terms import both

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..query import Text, Where


class ItemMethods(Opened):
    """Reads items."""

    def get(self, id: Text) -> Item:
        """Returns the item of that id.

        Raises:
            KeyError: There is no such item.
        """
        return _item(self._rows(id))

    def vectors(self, id: Text, *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of an item's references: float32 (n, dim), of the first model or the one named.

        Raises:
            KeyError: There is no such item.
            ArgumentError: There is no such model.
        """
        space = self._space(model)
        rows = self._rows(id, vectors=True)
        return np.array([row[space.field] for row in rows], np.float32)

    def count(self, where: Where | None = None) -> int:
        """Returns how many items fit a filter, all of them by default.

        Raises:
            ArgumentError: ``where`` cannot be understood.
            UnsupportedError: ``where`` looks for a part of a text with ``%``, ``_`` or a backslash.
        """
        return self._store.count(both("head == true", self._where(where)))

    def iterate(self, where: Where | None = None, /, *, batch: int = 500) -> Iterator[Item]:
        """Yields the items that fit, in the order in which they were added, ``batch`` of them in a request.

        The ids of all that fit are read first: about 100 bytes each.

        Raises:
            ArgumentError: ``batch`` is less than 1, or ``where`` cannot be understood.
        """
        if batch < 1:
            raise ArgumentError(f"batch {batch}: give 1 or more")
        return self._walk(self._ids(where), batch)

    def _ids(self, where: Where | None) -> list[str]:
        heads = self._store.each(both("head == true", self._where(where)), ["item", "since"])
        return [row["item"] for row in sorted(heads, key=lambda row: row["since"])]

    def _walk(self, ids: list[str], batch: int) -> Iterator[Item]:
        for start in range(0, len(ids), batch):
            some = ids[start : start + batch]
            held = self._writing.held(some)
            yield from (_item(held[id]) for id in some if id in held)

    def items(self, *, where: Where | None = None, limit: int | None = None, offset: int = 0) -> Items:
        """Returns the items that fit, in the order in which they were added, ``limit`` of them behind ``offset``.

        Raises:
            ArgumentError: ``limit`` or ``offset`` is negative, or ``where`` cannot be understood.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise ArgumentError(f"limit {limit}, offset {offset}: give 0 or more")
        end = None if limit is None else offset + limit
        return Items(self._walk(self._ids(where)[offset:end], 500))

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Item]:
        return self.iterate()

    def __contains__(self, id: object, /) -> bool:
        try:
            return bool(self._writing.held([self._spelled(id)]))
        except (ArgumentError, TypeError):
            return False

    def _rows(self, id: Any, *, vectors: bool = False) -> list[Row]:
        spelled = self._spelled(id)
        rows = self._writing.held([spelled], vectors=vectors).get(spelled)
        if rows is None:
            raise UnknownItemError(f"there is no item {spelled!r} in {self.path}")
        return rows


def _item(rows: Sequence[Row]) -> Item:
    first = rows[0]
    references = tuple(reference_of(row) for row in rows)
    return Item(first["item"], first["label"], first["text"], dict(first["metadata"] or {}), references)


def reference_of(row: Row) -> Reference:
    return Reference(row["name"], row["digest"], row["view"] or None)
