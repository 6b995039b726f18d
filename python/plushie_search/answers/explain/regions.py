"""Finds the regions of a map that carry a score, and those of two pictures that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Box = tuple[float, float, float, float]

#: The most regions of a picture, the most pairs of two pictures, and the least share of the map of a region.
REGIONS, PAIRS, LEAST = 3, 3, 0.05
#: A map whose highest value is below this cosine has no region.
FLAT = 0.005


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture that carries the score.

    Attributes:
        box: Left, top, right and bottom, in shares of the picture from 0 to 1.
        place: Where it is: ``"upper left"``, ``"top"``, ``"center"`` and so on.
        share: Its share of the positive values of the map, from 0 to 1.
        value: The highest value of the map in it, a cosine.
    """

    box: Box
    place: str
    share: float
    value: float

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return {**asdict(self), "box": list(self.box)}


@dataclass(frozen=True, slots=True)
class Pair:
    """A part of the query's picture and the part of the reference that is most like it.

    Attributes:
        query: The box in the query's picture: left, top, right and bottom, in shares from 0 to 1.
        reference: The box in the reference's picture.
        similarity: The cosine between what both add to their blurred pictures' vectors.
    """

    query: Box
    reference: Box
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return {**asdict(self), "query": list(self.query), "reference": list(self.reference)}


def find_regions(heat: NDArray[np.float32], *, flat: float = FLAT) -> tuple[Region, ...]:
    """Returns the connected parts of a map (h, w) above half of its maximum, those of the largest shares first.

    If that is most of the picture, those above three quarters of it. There is none if the maximum is below ``flat``.
    """
    found = _above(heat, 0.5, flat)
    return _above(heat, 0.75, flat) if found and found[0].place == "whole" else found


def _above(heat: NDArray[np.float32], level: float, flat: float) -> tuple[Region, ...]:
    positive = np.maximum(heat, 0)
    peak, total = float(positive.max(initial=0)), float(positive.sum())
    if peak <= 0 or peak < flat:
        return ()
    rows, columns = heat.shape
    found = []
    for cells in _connected(positive >= level * peak):
        y, x = cells[:, 0], cells[:, 1]
        box = (x.min() / columns, y.min() / rows, (x.max() + 1) / columns, (y.max() + 1) / rows)
        values = positive[y, x]
        share = float(values.sum()) / total
        if share >= LEAST:
            edges = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
            found.append(Region(edges, place_of(edges), share, float(values.max())))
    return tuple(sorted(found, key=lambda region: -region.share)[:REGIONS])


def place_of(box: Box) -> str:
    """Returns where the center of a box is, or ``"whole"`` for one that has most of the picture."""
    left, top, right, bottom = box
    if (right - left) * (bottom - top) > 0.6:
        return "whole"
    across = ("left", "", "right")[min(2, int(1.5 * (left + right)))]
    down = ("upper", "", "lower")[min(2, int(1.5 * (top + bottom)))]
    if across and down:
        return f"{down} {across}"
    return across or {"upper": "top", "lower": "bottom"}.get(down, "center")


def find_pairs(query: tuple[Any, Any, Any], reference: tuple[Any, Any, Any]) -> tuple[Pair, ...]:
    """Returns windows of two pictures that are each other's most similar ones, those that add most first.

    Each side is the boxes (n, 4) of its windows, what they add to the blurred picture's vector (n, dim), and their
    gains (n,). Windows with a gain of 0 or less have no part in it, and no pair overlaps another one.
    """
    (boxes, added, gains), (others, other_added, other_gains) = query, reference
    cosines = _unit(added) @ _unit(other_added).T
    cosines[gains <= 0] = -1
    cosines[:, other_gains <= 0] = -1
    pairs: list[tuple[int, int]] = []
    order = np.argsort(-np.where(gains > 0, gains, -1) * cosines.max(axis=1, initial=-1))
    for window in order:
        other = int(cosines[window].argmax())
        mutual = int(cosines[:, other].argmax()) == window and cosines[window, other] > 0
        apart = all(
            not _overlap(boxes[window], boxes[one]) and not _overlap(others[other], others[two]) for one, two in pairs
        )
        if mutual and apart:
            pairs.append((int(window), other))
    return tuple(Pair(_box(boxes[one]), _box(others[two]), float(cosines[one, two])) for one, two in pairs[:PAIRS])


def _connected(mask: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Returns the cells of each part of a mask whose cells touch by an edge."""
    left, parts = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        stack = [left.pop()]
        part = []
        while stack:
            y, x = stack.pop()
            part.append((y, x))
            near = {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} & left
            left -= near
            stack += near
        parts.append(np.array(part))
    return parts


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return bool(
        min(one[2], other[2]) - max(one[0], other[0]) > 1e-9 and min(one[3], other[3]) - max(one[1], other[1]) > 1e-9
    )


def _box(edges: Sequence[float]) -> Box:
    return float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3])
