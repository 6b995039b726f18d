"""Learns a linear map of vectors from a catalog's references, and tells by references left out what it gains.

Candidates are of two families. Whitening reduces the directions along which references of one item differ (Hatch,
Kajarekar and Stolcke, 2006). Ridge regression takes each reference towards the mean of the other references of its
item, and is regularized towards leaving it as it is. With each of them, the best reference of an item counts more or
less beside the mean of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Rows: TypeAlias = NDArray[np.int64]

#: The parts of the items, and of the references of each: those of one are left out of what the others teach.
PARTS = 5
#: The most references that are learned from, that are left out, and that these are compared with.
LEARNED, ASKED, COMPARED = 4000, 1000, 20_000
#: The least references that are left out.
LEAST = 30
#: The most directions of a map, and those that the one of a calibration has.
DIRECTIONS, USUAL = 96, 32
#: By how many of its mean variances a covariance is regularized, and squares by how many of their means.
WHITENING, RIDGE = (1.0, 3.0), (1.0, 3.0)
#: How much the best reference counts beside the mean of all.
BEST = (0.0, 0.25, 0.5)
#: Steps in which the directions of a map are found.
STEPS = 3


@dataclass(frozen=True, slots=True)
class LinearMap:
    """A vector x becomes x + sum of (kept_i - 1) (x · direction_i) onto_i.

    Attributes:
        directions: Unit rows, float64 (n, dim).
        onto: Unit rows, float64 (n, dim); None where they are the directions.
        kept: Float64 (n,).
    """

    directions: Floats
    onto: Floats | None
    kept: Floats

    def of(self, vectors: Floats) -> Floats:
        """Returns mapped vectors of length 1."""
        onto = self.directions if self.onto is None else self.onto
        return unit(vectors + ((vectors @ self.directions.T) * (self.kept - 1)) @ onto)


@dataclass(frozen=True, slots=True)
class Way:
    """A kind of map and its strength: how references of an item are told from those of others.

    Attributes:
        name: ``"cosine"``, ``"whitening"`` or ``"ridge"``.
        strength: The share of regularization.
        directions: The most directions.
        best: How much the best reference counts, beside the mean of all.
    """

    name: Literal["cosine", "whitening", "ridge"]
    strength: float
    directions: int
    best: float


#: The two ways of a calibration.
NOW = (Way("cosine", 0.0, 0, 1.0), Way("whitening", 1.0, USUAL, 0.5))
#: Those that are tried beside them.
TRIED = (
    *(Way("whitening", strength, DIRECTIONS, best) for strength in WHITENING for best in BEST),
    *(Way("ridge", strength, DIRECTIONS, best) for strength in RIDGE for best in BEST),
)


@dataclass(frozen=True, slots=True)
class Learned:
    """A map that was chosen, and how often references left out have their item first, before and by it.

    Attributes:
        way: The way that was chosen by all references.
        before: How a calibration tells items.
        whole: The map of all items.
        parts: For each part of the items, the map of the other parts.
        part: The part of each item: int64 (items,).
        taught: The items that were learned from: int64 (n,).
        new_items: For each reference left out, whether its item comes first, before and after: bool (n, 2). Neither map
            nor choice has seen its item.
        new_photos: The same; the map has seen other references of its item.
    """

    way: Way
    before: Way
    whole: LinearMap
    parts: list[LinearMap]
    part: Rows
    taught: Rows
    new_items: NDArray[np.bool_]
    new_photos: NDArray[np.bool_]


def unit(vectors: Floats) -> Floats:
    """Returns rows of length 1."""
    lengths: Floats = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def learn(vectors: NDArray[np.float32], items: Rows) -> Learned | None:
    """Learns maps from references, and chooses the one by which those left out have the best ranks.

    Items are divided in parts, and so are the references of each: those of a part are looked up among all others by
    what the other parts teach. For a part of the items, the way is chosen by the others: that of the highest mean
    reciprocal rank. Before, items are told by cosines or by the whitening of a calibration, whichever has more of them
    first.

    Args:
        vectors: The unit vectors of the references: float32 (n, dim).
        items: The places of their items, in ascending order: int64 (n,).

    Returns:
        The chosen map with its figures; None if fewer than 30 references of five items have others beside them.
    """
    rows = spread_items(items, COMPARED)
    known, owners = vectors[rows].astype(np.float64), items[rows]
    counts = np.bincount(owners)
    several = np.flatnonzero(counts[owners] > 1)
    taught = np.unique(owners[several])
    if len(several) < LEAST or len(taught) < PARTS:
        return None
    part = np.zeros(int(items.max()) + 1, np.int64)
    part[taught] = np.arange(len(taught)) % PARTS
    # Neighboring references often are of one scene: what is left out together differs from item to item.
    fold = (np.arange(len(owners)) - np.searchsorted(owners, owners) + owners) % PARTS
    asked = several[:: -(-len(several) // ASKED)]
    by_item, maps = held_out(known, owners, part[owners], asked, (*NOW, *TRIED))
    by_photo, _ = held_out(known, owners, fold, asked, (*NOW, *TRIED))
    now = int((by_item[:, : len(NOW)] == 1).mean(0).argmax())
    worth = (1 / by_item + 1 / by_photo)[:, len(NOW) :]
    chosen = np.empty(len(asked), np.int64)
    for number in range(PARTS):
        inside = part[owners[asked]] == number
        chosen[inside] = len(NOW) + worth[~inside].mean(0).argmax()
    best = int(worth.mean(0).argmax())
    each = np.arange(len(asked))
    before_after = [np.stack([ranks[:, now], ranks[each, chosen]], 1) == 1 for ranks in (by_item, by_photo)]
    whole = Teacher(known, owners).map(TRIED[best])
    return Learned(TRIED[best], NOW[now], whole, [one[len(NOW) + best] for one in maps], part, taught, *before_after)


def spread_items(items: Rows, most: int) -> Rows:
    """Returns the rows of items that are evenly spread, so many that they have at most about ``most`` references."""
    step = -(-len(items) // most)
    return np.flatnonzero(items % step == 0) if step > 1 else np.arange(len(items))


def held_out(
    vectors: Floats, items: Rows, part: Rows, asked: Rows, ways: tuple[Way, ...]
) -> tuple[Rows, list[list[LinearMap]]]:
    """Returns the rank of the own item of each reference that is asked, int64 (asked, ways), and the maps of each part.

    Those of a part are looked up by maps of the other parts.
    """
    ranks = np.ones((len(asked), len(ways)), np.int64)
    own = np.cumsum(np.r_[0, np.diff(items) > 0])[asked]
    all_maps = []
    for number in range(PARTS):
        teacher = Teacher(vectors[part != number], items[part != number])
        maps = [teacher.map(way) for way in ways]
        all_maps.append(maps)
        places = np.flatnonzero(part[asked] == number)
        if not len(places):
            continue
        kept: dict[int, tuple[Floats, Floats]] = {}
        for column, (way, one) in enumerate(zip(ways, maps, strict=True)):
            if id(one) not in kept:
                kept[id(one)] = compared(one.of(vectors), items, asked[places])
            best, mean = kept[id(one)]
            scores = way.best * best + (1 - way.best) * mean
            right = scores[np.arange(len(places)), own[places]]
            ranks[places, column] = 1 + (scores > right[:, None]).sum(1)
    return ranks, all_maps


def compared(mapped: Floats, items: Rows, asked: Rows) -> tuple[Floats, Floats]:
    """Returns the cosines of references with the best reference of each item, and with the mean of its references.

    The references that are asked do not count among those of their items. Both are of shape (asked, items).
    """
    starts = np.flatnonzero(np.r_[True, np.diff(items) > 0])
    places = np.cumsum(np.r_[0, np.diff(items) > 0])[asked]
    each = np.arange(len(asked))
    sums = np.add.reduceat(mapped, starts)
    cosines = mapped[asked] @ mapped.T
    cosines[each, asked] = -np.inf
    means = mapped[asked] @ unit(sums).T
    rest = unit(sums[places] - mapped[asked])
    means[each, places] = np.einsum("nd,nd->n", mapped[asked], rest)
    return np.maximum.reduceat(cosines, starts, axis=1), means


class Teacher:
    """Learns maps from some references: from at most 4,000, of items that have several, evenly spread."""

    def __init__(self, vectors: Floats, items: Rows) -> None:
        several = np.flatnonzero(np.bincount(items)[items] > 1)
        rows = several[spread_items(items[several], LEARNED)] if len(several) else several
        self._vectors, items = vectors[rows], items[rows]
        _, places, counts = np.unique(items, return_inverse=True, return_counts=True)
        sums = np.zeros((len(counts), vectors.shape[1]))
        np.add.at(sums, places, self._vectors)
        self._count = counts[places, None]
        self._apart = self._vectors - sums[places] / self._count
        self._freedom = len(rows) - len(counts)
        self._parts: dict[str, tuple[Floats, Floats, Floats]] = {}
        self._known: dict[tuple[str, float, int], LinearMap] = {}

    def map(self, way: Way) -> LinearMap:
        """Returns a map; that of several ways is the same object."""
        key = (way.name, way.strength, way.directions)
        if key not in self._known:
            self._known[key] = self._made(way)
        return self._known[key]

    def _made(self, way: Way) -> LinearMap:
        dim = self._vectors.shape[1]
        if way.name == "cosine" or self._freedom < 2:
            return LinearMap(np.empty((0, dim)), None, np.empty(0))
        if way.name == "whitening":
            _, values, directions = self._decomposed("apart", self._apart)
            count = min(way.directions, self._freedom // 2, dim // (4 if way.directions == USUAL else 2))
            mean = way.strength * (values**2).sum() / (self._freedom * dim)
            variances = values[:count] ** 2 / self._freedom
            kept = np.sqrt(mean / np.maximum(variances + mean, 1e-30)) if mean > 0 else np.ones(len(variances))
            return LinearMap(directions[:count], None, kept)
        # Towards the mean of the others: each is apart from it by n / (n - 1) of what it is apart from the mean of all.
        left, values, right = self._decomposed("vectors", self._vectors)
        towards = -self._apart * self._count / (self._count - 1)
        regular = way.strength * (values**2).sum() / dim
        share = (values / (values**2 + regular))[:, None] * (left.T @ towards)
        return truncated(right, share, min(way.directions, dim // 2))

    def _decomposed(self, name: str, rows: Floats) -> tuple[Floats, Floats, Floats]:
        if name not in self._parts:
            self._parts[name] = np.linalg.svd(rows, full_matrices=False)
        return self._parts[name]


def truncated(left: Floats, right: Floats, count: int) -> LinearMap:
    """Returns the largest directions of the product of left.T (dim, n) and right (n, dim), left orthonormal."""
    basis = np.random.default_rng(0).normal(size=(right.shape[1], min(count + 8, len(right))))
    for _ in range(STEPS):
        basis = np.linalg.qr(right.T @ (right @ basis))[0]
    inner, values, outer = np.linalg.svd(right @ basis, full_matrices=False)
    onto = (basis @ outer.T).T
    return LinearMap((inner.T @ left)[:count], onto[:count], 1 + values[:count])
