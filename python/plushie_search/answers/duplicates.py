"""Finds references that are the same or nearly so, in separate classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, overload

import numpy as np

from .._core import ArgumentError
from ..meshes import Relation
from ..results import Thumbnails, reference_key
from ..show import page
from ..show.table import counted, shorter_path, table
from .fingerprint import FINGERPRINT, fingerprint, same
from .gallery import Gallery, Neighbors, Pairs, Spot, read_neighbors
from .geometry import RelatedMeshes, related_meshes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import _core
    from ..query import Where

Kind: TypeAlias = Literal["same bytes", "same picture", Relation, "same item", "look-alike"]
KINDS: tuple[Kind, ...] = ("same bytes", "same picture", *get_args(Relation), "same item", "look-alike")

#: The nearest other items that each reference is compared with.
NEIGHBORS = 8

#: The share of references that may be less near to their own item than two look-alikes are to each other.
FARTHER = 0.25

#: The least cosine of two encodings of one picture, and that from which vectors alone tell it.
ALIKE, EQUAL = 0.95, 0.99999


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two references that are the same or nearly so.

    Attributes:
        kind: ``"same bytes"``: one file under two items. ``"same picture"``: encoded or resized otherwise.
            ``"same item"``: two references of one item that show nearly the same. ``"look-alike"``: two items that are
            as near to each other as references of one item usually are. Of two meshes ``"same geometry"``,
            ``"scaled"``, ``"mirrored"`` or ``"re-meshed"``, as :meth:`Shape.relation` tells.
        first, second: The references.
        similarity: Their cosine, at most 1; of two meshes that of the means of their views.
        scale: How many times as large the second of two meshes with related geometry is; None for other pairs.
    """

    kind: Kind
    first: Spot
    second: Spot
    similarity: float
    scale: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return asdict(self)


class Duplicates(Sequence[Duplicate]):
    """Pairs of references that are the same or nearly so: class by class, the most similar first.

    Attributes:
        counts: How many pairs of each class there are; those beyond the limit are not listed.
    """

    __slots__ = ("_pairs", "_thumbnails", "counts")

    def __init__(
        self, pairs: Sequence[Duplicate], *, counts: dict[Kind, int] | None = None, thumbnails: Thumbnails | None = None
    ) -> None:
        self._pairs = tuple(pairs)
        self._thumbnails = thumbnails
        self.counts = {kind: len(self.of(kind)) for kind in KINDS} if counts is None else counts

    def of(self, kind: Kind) -> list[Duplicate]:
        """Returns the pairs of one class."""
        return [pair for pair in self._pairs if pair.kind == kind]

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> Duplicate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Duplicate, ...]: ...
    def __getitem__(self, index: int | slice) -> Duplicate | tuple[Duplicate, ...]:
        return self._pairs[index]

    def __eq__(self, other: object) -> bool:
        return self._pairs == other._pairs if isinstance(other, Duplicates) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the pairs as plain dicts, ready for JSON."""
        return [pair.to_dict() for pair in self._pairs]

    def __repr__(self) -> str:
        told = [kind for kind in KINDS if self.counts[kind] or kind not in get_args(Relation)]
        head = ", ".join(f"{self.counts[kind]} {kind}" for kind in told)
        if not self._pairs:
            return head
        rows = [
            (
                pair.kind,
                f"{pair.similarity:.3f}",
                pair.first.item,
                pair.second.item,
                shorter_path(pair.first.reference),
                shorter_path(pair.second.reference),
            )
            for pair in self._pairs
        ]
        return f"{head}\n{table(['class', 'similarity', 'item', 'other item', 'reference', 'other reference'], rows)}"

    def _repr_html_(self) -> str:
        parts = []
        for kind in KINDS:
            pairs = self.of(kind)
            if pairs:
                parts.append(page.heading(f"{kind}: {counted(self.counts[kind], 'pair')}"))
                parts += [page.pictures(*map(self._shown, (pair.first, pair.second))) for pair in pairs]
        return "".join(parts) or page.paragraph("no duplicates")

    def _shown(self, spot: Spot) -> page.Picture:
        try:
            jpeg = self._thumbnails(spot.item, reference_key(spot.digest, spot.view)) if self._thumbnails else None
        except (KeyError, ValueError, RuntimeError, OSError):
            jpeg = None  # The catalog was closed or has changed since: the pair stands without its pictures.
        return page.Picture(spot.item, shorter_path(spot.reference), spot.reference, jpeg)


def find_duplicates(
    core: _core.Engine,
    thumbnails: Thumbnails,
    *,
    where: Where | None,
    model: str | None,
    near: float,
    limit: int | None,
) -> Duplicates:
    """Returns the duplicates of a catalog; see ``Engine.duplicates``."""
    if not -1 <= near <= 1:
        raise ArgumentError(f"near {near}: give a cosine from -1 to 1")
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit {limit}: give 1 or more, or None for all")
    gallery, neighbors = read_neighbors(core, NEIGHBORS, where=where, model=model)
    meshes = related_meshes(core, gallery)
    pairs = _classes(gallery, neighbors, thumbnails, near, meshes)
    listed: list[Duplicate] = []
    for kind in KINDS:
        rows, scores = pairs[kind]
        best = np.argsort(-scores, kind="stable")[:limit]
        for (first, second), score in zip(rows[best].tolist(), scores[best].tolist(), strict=True):
            scale = meshes.scales.get((first, second))
            listed.append(Duplicate(kind, gallery.spot(first), gallery.spot(second), min(1.0, score), scale))
    return Duplicates(listed, counts={kind: len(pairs[kind][0]) for kind in KINDS}, thumbnails=thumbnails)


def _classes(
    gallery: Gallery, neighbors: Neighbors, thumbnails: Thumbnails, near: float, meshes: RelatedMeshes
) -> dict[Kind, Pairs]:
    """Returns the pairs of each class."""
    count = len(gallery.items)
    rows = np.arange(count)
    own = _distinct(rows, neighbors.own_rows, neighbors.own_scores, count)
    width = neighbors.other_rows.shape[1]
    others = _distinct(np.repeat(rows, width), neighbors.other_rows.ravel(), neighbors.other_scores.ravel(), count)

    digests = np.array(gallery.digests, dtype="U64")
    # Views of one mesh are one file.
    bytes_pairs = _of_bytes(digests, gallery.items)
    unlike = digests[own[0][:, 0]] != digests[own[0][:, 1]]
    own = own[0][unlike], own[1][unlike]
    pictures = np.concatenate([own[0], others[0]]), np.concatenate([own[1], others[1]])
    alike = pictures[1] >= ALIKE
    pictures = pictures[0][alike], pictures[1][alike]
    differ = digests[pictures[0][:, 0]] != digests[pictures[0][:, 1]]
    pictures = pictures[0][differ], pictures[1][differ]
    shown = _same_pictures(gallery, thumbnails, *pictures)
    pictures = pictures[0][shown], pictures[1][shown]

    taken = _keys(np.concatenate([bytes_pairs[0], pictures[0]]), count)
    by_geometry = np.concatenate([rows for rows, _ in meshes.pairs.values()])
    kept = ~np.isin(_keys(own[0], count), taken) & (own[1] >= near)
    items = gallery.items
    by_item = np.sort(items[others[0]], axis=1)
    # Items that share a picture are listed with that.
    shared = _keys(np.sort(items[np.concatenate([bytes_pairs[0], pictures[0], by_geometry])], axis=1), count)
    best = _best(_keys(by_item, count), others[1])
    best = best[~np.isin(_keys(by_item[best], count), shared) & (others[1][best] >= neighbors.within(FARTHER))]
    return {
        "same bytes": bytes_pairs,
        "same picture": pictures,
        "same geometry": meshes.pairs["same geometry"],
        "scaled": meshes.pairs["scaled"],
        "mirrored": meshes.pairs["mirrored"],
        "re-meshed": meshes.pairs["re-meshed"],
        "same item": (own[0][kept], own[1][kept]),
        "look-alike": (others[0][best], others[1][best]),
    }


def _of_bytes(digests: NDArray[np.str_], items: NDArray[np.int64]) -> Pairs:
    """Pairs the first reference of each digest with the first one of it in each further item."""
    _, firsts = np.unique(np.char.add(digests, items.astype("U20")), return_index=True)
    rows = np.sort(firsts)
    pairs, scores = _alike(digests[rows])
    return rows[pairs], scores


def _alike(digests: NDArray[np.str_]) -> Pairs:
    """Pairs the first place of each digest with each further one."""
    order = np.argsort(digests, kind="stable")
    same_as_before = np.flatnonzero(digests[order][1:] == digests[order][:-1]) + 1
    starts = np.flatnonzero(np.append(True, digests[order][1:] != digests[order][:-1])) if len(order) else order
    first = starts[np.searchsorted(starts, same_as_before, side="right") - 1]
    pairs = np.stack([order[first], order[same_as_before]], axis=1) if len(order) else np.empty((0, 2), np.int64)
    return pairs[np.argsort(pairs[:, 0], kind="stable")], np.ones(len(pairs))


def _distinct(first: NDArray[Any], second: NDArray[Any], scores: NDArray[Any], count: int) -> Pairs:
    """Returns each pair once, without those of a missing neighbor."""
    there = second >= 0
    pairs = np.sort(np.stack([first[there], second[there]], axis=1).astype(np.int64), axis=1)
    best = _best(_keys(pairs, count), scores[there])
    return pairs[best], scores[there][best].astype(np.float64)


def _keys(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Returns a number for each pair of numbers below ``count``."""
    return pairs[:, 0] * count + pairs[:, 1]


def _best(keys: NDArray[np.int64], scores: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the place of the highest score of each key."""
    order = np.lexsort((-scores, keys))
    _, firsts = np.unique(keys[order], return_index=True)
    return np.sort(order[firsts])


def _same_pictures(
    gallery: Gallery, thumbnails: Thumbnails, pairs: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Returns which pairs show the same picture: by their thumbnails, or by their vectors if neither has one."""
    rows, places = np.unique(pairs, return_inverse=True)
    prints = np.zeros(len(rows), FINGERPRINT)
    there = np.zeros(len(rows), bool)
    for place, row in enumerate(rows.tolist()):
        try:
            key = reference_key(gallery.digests[row], gallery.views[row])
            jpeg = thumbnails(gallery.ids[int(gallery.items[row])], key)
        except KeyError:
            continue  # It was removed in between.
        if jpeg is not None:
            prints[place], there[place] = fingerprint(jpeg), True
    first, second = places.reshape(pairs.shape).T
    found = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), 4096):
        part = slice(start, start + 4096)
        found[part] = same(prints[first[part]], prints[second[part]])
    found &= there[first] & there[second]
    found |= ~there[first] & ~there[second] & (scores >= EQUAL)
    return found
