"""Reads all references of a catalog with their vectors and neighbors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import _core
    from ..query import Where


Pairs: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.float64]]"
"""Rows of pairs, int64 of shape (n, 2) with the smaller row first, and their cosines, float64 of shape (n,)."""

#: The share of other items that are less near than the references of one item, if no item has two.
USUAL = 0.95


@dataclass(frozen=True, slots=True)
class Spot:
    """One reference of an item.

    Attributes:
        item: The item's id.
        label: The item's label; None if it has none.
        reference: The name of the reference.
        digest: The SHA-256 of the reference's content, 64 hexadecimal digits.
        view: The side of a mesh, ``view:azimuth,elevation`` in degrees or ``view:all``; None for a picture.
    """

    item: str
    label: str | None
    reference: str
    digest: str
    view: str | None = None


@dataclass(frozen=True, slots=True)
class Gallery:
    """All references of the items that were asked for, in the order of the items.

    Attributes:
        ids: The id of each item.
        labels: The label of each item.
        items: For each reference the place of its item: int64 of shape (n,).
        names: The name of each reference.
        digests: The digest of each reference.
        views: The view of each reference, of a mesh; None for a picture.
        vectors: The unit vector of each reference: float32 of shape (n, dim).
    """

    ids: list[str]
    labels: list[str | None]
    items: NDArray[np.int64]
    names: list[str]
    digests: list[str]
    views: list[str | None]
    vectors: NDArray[np.float32]

    def spot(self, row: int) -> Spot:
        """Returns a reference by its row."""
        item = int(self.items[row])
        return Spot(self.ids[item], self.labels[item], self.names[row], self.digests[row], self.views[row])


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The references that are most like each reference; a row of -1 with the cosine -inf stands for none.

    Attributes:
        own_rows: The nearest other reference of the same item: int64 of shape (n,).
        own_scores: Its cosine: float32 of shape (n,).
        other_rows: The best reference of each of the k nearest other items, nearest first: int64 of shape (n, k).
        other_scores: Their cosines: float32 of shape (n, k).
    """

    own_rows: NDArray[np.int64]
    own_scores: NDArray[np.float32]
    other_rows: NDArray[np.int64]
    other_scores: NDArray[np.float32]

    def within(self, share: float) -> float:
        """Returns the cosine that all but this share of the references reach with another one of their item.

        If no item has two references, it is the cosine that the nearest twentieth reach with another item; 1 if there
        is none.
        """
        own, others = self.own_scores.astype(np.float64), self.other_scores[:, 0].astype(np.float64)
        known = own[np.isfinite(own)]
        if len(known):
            return float(np.quantile(known, share))
        known = others[np.isfinite(others)]
        return float(np.quantile(known, USUAL)) if len(known) else 1.0


def read_gallery(core: _core.Engine, *, where: Where | None, model: str | None) -> Gallery:
    """Returns the references of the items that fit ``where``, with their vectors of a model, the first by default."""
    return Gallery(*core.gallery(where=where, model=model))


def read_neighbors(core: _core.Engine, k: int, *, where: Where | None, model: str | None) -> tuple[Gallery, Neighbors]:
    """Returns the references of the items that fit ``where``, and the neighbors of each of them."""
    row, found = core.neighbors(k, where=where, model=model)
    return Gallery(*row), Neighbors(*found)
