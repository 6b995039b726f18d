"""Finds the meshes of a catalog whose geometry is that of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from .._core import PlushieError
from ..meshes import CLOSE, Relation, Shape, measure
from .gallery import Gallery, Pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import _core


@dataclass(frozen=True, slots=True)
class RelatedMeshes:
    """Pairs of meshes, each by the row of its first view.

    Attributes:
        pairs: For each relation the pairs, with the cosines of the means of their views.
        scales: For each pair how many times as large the second mesh is.
    """

    pairs: dict[Relation, Pairs]
    scales: dict[tuple[int, int], float]


def related_meshes(core: _core.Engine, gallery: Gallery) -> RelatedMeshes:
    """Measures the meshes of a catalog and compares each with those whose ratios are near.

    A mesh whose file is gone, or has changed, is left out.
    """
    rows, shapes, means = [], [], []
    for row, views in _meshes(gallery).items():
        shape = _shape(core, gallery.ids[int(gallery.items[row])], gallery.digests[row])
        if shape is not None and shape.spread[0]:
            rows.append(row)
            shapes.append(shape)
            mean = gallery.vectors[views].sum(axis=0, dtype=np.float64)
            means.append(mean / np.linalg.norm(mean))
    found: dict[Relation, list[tuple[int, int, float]]] = {relation: [] for relation in get_args(Relation)}
    scales: dict[tuple[int, int], float] = {}
    for one, other in _near(shapes):
        relation = shapes[one].relation(shapes[other])
        # Copies of one file are told by their bytes.
        if relation is not None and gallery.digests[rows[one]] != gallery.digests[rows[other]]:
            pair = rows[one], rows[other]
            found[relation].append((*pair, float(means[one] @ means[other])))
            scales[pair] = shapes[one].scale(shapes[other])
    return RelatedMeshes({relation: _as_pairs(pairs) for relation, pairs in found.items()}, scales)


def _meshes(gallery: Gallery) -> dict[int, list[int]]:
    """Returns the rows of the views of each mesh, by the first of them."""
    meshes: dict[tuple[int, str], list[int]] = {}
    for row, view in enumerate(gallery.views):
        if view is not None:
            meshes.setdefault((int(gallery.items[row]), gallery.digests[row]), []).append(row)
    return {rows[0]: rows for rows in meshes.values()}


def _shape(core: _core.Engine, item: str, digest: str) -> Shape | None:
    try:
        path = core.original(item, digest)
        return None if path is None else measure(path)
    except (KeyError, OSError, PlushieError):
        return None  # It was removed or changed in between.


def _near(shapes: list[Shape]) -> list[tuple[int, int]]:
    """Returns pairs of places, the smaller first, whose first ratios are near enough for some relation."""
    ratios = np.array([shape.ratios[0] for shape in shapes])
    order = np.argsort(ratios, kind="stable")
    ends: NDArray[np.intp] = np.searchsorted(ratios[order], ratios[order] + CLOSE, side="right")
    pairs = [(order[start], order[other]) for start, end in enumerate(ends) for other in range(start + 1, end)]
    return sorted((min(int(one), int(other)), max(int(one), int(other))) for one, other in pairs)


def _as_pairs(found: list[tuple[int, int, float]]) -> Pairs:
    rows = np.array([(one, other) for one, other, _ in found], np.int64).reshape(-1, 2)
    return rows, np.array([score for *_, score in found], np.float64)
