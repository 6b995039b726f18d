"""Methods of an engine that read items."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

from .._core import ArgumentError
from ..results import Item, Items, Reference
from .opened import Opened

if TYPE_CHECKING:
    from pathlib import Path

    from ..query import Text, Where


class ItemMethods(Opened):
    """Reads items."""

    __slots__ = ()

    @overload
    def get(self, id: Text) -> Item: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, id: Iterable[Text]) -> list[Item]: ...
    def get(self, id: Text | Iterable[Text]) -> Item | list[Item]:
        """Returns the item of that id; a list of ids gives a list of items, all as they were at one time.

        Raises:
            KeyError: There is no such item; it names the first one of a list.
        """
        if isinstance(id, Iterable) and not isinstance(id, (str, bytes)):
            return [_item(row) for row in self._core.get_all(list(id))]
        return _item(self._core.get(id))  # type: ignore[arg-type]

    def count(self, where: Where | None = None) -> int:
        """Returns how many items fit a filter, all of them by default.

        Raises:
            ArgumentError: ``where`` cannot be understood.
        """
        return self._core.count(where=where)

    def iterate(self, where: Where | None = None, *, batch: int = 1000) -> Iterator[Item]:
        """Returns an iterator of the items, in the order in which they were added, however many there are.

        ``batch`` items are read at a time. Items that are added meanwhile come at the end; others that are changed or
        removed before they are read come so.

        Raises:
            ArgumentError: ``batch`` is less than 1, or ``where`` cannot be understood.
        """
        if batch < 1:
            raise ArgumentError(f"batch {batch}: give at least 1")
        return self._walk(where, batch)

    def _walk(self, where: Where | None, batch: int) -> Iterator[Item]:
        after = 0
        while True:
            after, rows = self._core.items_after(after, batch, where=where)
            yield from map(_item, rows)
            if len(rows) < batch:
                return

    def __iter__(self) -> Iterator[Item]:
        return self.iterate()

    def thumbnail(self, item: Text, reference: str | Reference | None = None) -> bytes | None:
        """Returns a small copy of a reference as a JPEG file: upright, sRGB, at most 256 pixels on the longer side.

        It is the copy that was kept when the picture was added, or else made of the original. None if neither is there,
        as for vectors that were added without a picture.

        Args:
            item: The item's id.
            reference: The reference, its name or its digest; the item's first one by default.

        Raises:
            KeyError: There is no such item, or it has no such reference.
        """
        return self._core.thumbnail(item, reference_key(reference))

    def original(self, item: Text, reference: str | Reference | None = None) -> Path | None:
        """Returns the file that holds a reference's original; None if there is none.

        It is the copy in the catalog's ``media/``, or else the file that the picture was added from, if that still has
        the same content. Bytes are kept as they came; arrays and PIL images as a PNG of the 8-bit RGB picture that the
        models see. Do not change the file.

        Args:
            item: The item's id.
            reference: The reference, its name or its digest; the item's first one by default.

        Raises:
            KeyError: There is no such item, or it has no such reference.
        """
        return self._core.original(item, reference_key(reference))

    def items(self, *, where: Where | None = None, limit: int | None = None, offset: int = 0) -> Items:
        """Returns the items in the order in which they were added, ``limit`` of them from ``offset`` on.

        For many items :meth:`iterate` is faster. Warns if there is none, and ``where`` names a key that the metadata of
        no item has.

        Raises:
            ArgumentError: ``limit`` or ``offset`` is negative, or ``where`` cannot be understood.
        """
        for name, number in (("limit", limit), ("offset", offset)):
            if number is not None and number < 0:
                raise ArgumentError(f"{name} {number}: give 0 or more")
        items = Items(_item(row) for row in self._core.items(where=where, limit=limit, offset=offset))
        if where and not items:
            for note in self._unknown_keys(where):
                warnings.warn(note, stacklevel=2)
        return items

    def _unknown_keys(self, where: Where) -> list[str]:
        """Notes about a filter that fits nothing; one that fits something has no need to be doubted."""
        return [
            f"no item has the key {key!r} in its metadata, which the filter names: is it spelled so?"
            for key in self._core.unknown_keys(where)
        ]

    def page(self, after: int = 0, *, limit: int = 100, where: Where | None = None) -> tuple[Items, int | None]:
        """Returns a page of the items, in the order in which they were added, and the place where the next one begins.

        Items that are added or removed meanwhile shift no page, and a late page costs as little as the first one.

        Args:
            after: The place that the page before returned; 0, the beginning, by default.
            limit: The most items of the page.
            where: Only items that fit.

        Returns:
            The items, and the next page's ``after``; None if there is none.

        Raises:
            ArgumentError: ``after`` is negative, ``limit`` is less than 1, or ``where`` cannot be understood.
        """
        if after < 0 or limit < 1:
            raise ArgumentError(f"after {after}, limit {limit}: give 0 or more, and 1 or more")
        after, rows = self._core.items_after(after, limit, where=where)
        return Items(map(_item, rows)), after if len(rows) == limit else None

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, id: object) -> bool:
        return self._core.contains(id)


def reference_key(reference: str | Reference | None) -> str | None:
    """The name or digest by which the core knows a reference."""
    return reference.key if isinstance(reference, Reference) else reference


def _item(row: tuple[Any, ...]) -> Item:
    id, label, text, metadata, references = row
    return Item(id, label, text, metadata, tuple(Reference(*reference) for reference in references))
