"""Asks a server to explain hits and to inspect photos, and reads its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import ArgumentError, Hit
from ..answers.explain.explanation import Explanation
from ..answers.explain.parts import HeatMap, RunnerUp
from ..answers.explain.regions import Pair, Region
from ..answers.explain.subjects import small_copy
from ..answers.explain.words import WordPart
from ..answers.inspect.inspection import Inspection, Inspections
from ..query import Query
from ..results import Reference
from .coding import crop_of, file_of, name_of

if TYPE_CHECKING:
    from ..query import Text

    Ask = Callable[..., Any]
    Small = Callable[[str, str], bytes | None]


def explain(ask: Ask, small: Small, query: Any, hit: Hit | Text, reference: str | None, **options: Any) -> Explanation:
    """Explains a hit by the server; ``ask`` sends a request, and ``small`` returns the thumbnail of a reference.

    Raises:
        ArgumentError: The query has more than a picture and a text.
    """
    images, texts, items, vectors = query._row() if isinstance(query, Query) else ([(query, 1.0)], [], [], [])
    if len(images) > 1 or len(texts) > 1 or items or vectors:
        raise ArgumentError("a server explains a query of one picture, one text, or both: give these, or use an Engine")
    pictures = [one.read() if hasattr(one, "read") else one for one, _ in images]
    if isinstance(hit, Hit):
        key = Reference(hit.reference, hit.digest, hit.view).key if hit.digest else hit.reference
        item, reference = hit.item, reference or key or None
    else:
        item = str(hit)
    data: dict[str, Any] = {"item": item, **{name: str(value) for name, value in options.items()}}
    data |= {} if reference is None else {"reference": reference}
    data |= {"text": texts[0][0]} if texts else {}
    row = ask("POST", "/explain", files=_files(pictures), data={**data, **_crops(pictures)})
    pixels = small_copy(pictures[0]) if pictures else None
    thumbnail = None if row["matched"] is None else small(row["item"], reference or row["reference"])
    matched = None if thumbnail is None else small_copy(thumbnail)
    return Explanation(
        item=row["item"],
        reference=row["reference"],
        score=row["score"],
        model=row["model"],
        method=row["method"],
        query=_side(row["query"], pixels),
        matched=_side(row["matched"], matched),
        pairs=tuple(Pair(_box(one["query"]), _box(one["reference"]), one["similarity"]) for one in row["pairs"]),
        words=tuple(WordPart(one["word"], one["value"]) for one in row["key_features"] if one["kind"] == "word"),
        runner_up=_runner_up(row["runner_up"]),
        notes=tuple(row["notes"]),
        passes=row["passes"],
        language=options["language"],
    )


def inspect(ask: Ask, photos: Sequence[Any], item: Text, **options: Any) -> Inspections:
    """Inspects photos by the server; ``ask`` sends a request."""
    pictures = [one.read() if hasattr(one, "read") else one for one in photos]
    data = {"item": str(item), **{name: str(value) for name, value in options.items()}, **_crops(pictures)}
    answer = ask("POST", "/inspect", files=_files(pictures), data=data)
    used = {int(row["photo"]): row for row in answer["results"]}
    found = [_inspection(row, name_of(pictures[at]), small_copy(pictures[at])) for at, row in used.items()]
    failed = [(name_of(pictures[int(one["photo"])]), one["reason"]) for one in answer["failed"]]
    return Inspections(found, failed=failed)


def _files(pictures: Sequence[Any]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("image", (name_of(one), file_of(one))) for one in pictures]


def _crops(pictures: Sequence[Any]) -> dict[str, str]:
    return {key: json.dumps(boxes) for key, boxes in crop_of(pictures).items()}


def _inspection(row: Mapping[str, Any], photo: str, pixels: Any) -> Inspection:
    nearest = tuple((one["reference"], one["score"]) for one in row["nearest"])
    heat = None if row["map"] is None else np.array(row["map"], np.float32)
    regions = tuple(map(_region, row["regions"]))
    known = {"photo", "nearest", "map", "regions", "notes"}
    rest = {name: value for name, value in row.items() if name not in known}
    return Inspection(
        photo=photo, nearest=nearest, map=heat, regions=regions, notes=tuple(row["notes"]), pixels=pixels, **rest
    )


def _side(row: Mapping[str, Any] | None, pixels: Any) -> HeatMap | None:
    if row is None or pixels is None:
        return None
    heat, (width, height) = np.array(row["map"], np.float32), row["size"]
    return HeatMap(row["name"], (width, height), heat, tuple(map(_region, row["regions"])), row["rest"], pixels)


def _runner_up(row: Mapping[str, Any] | None) -> RunnerUp | None:
    if row is None:
        return None
    heat = None if row["map"] is None else np.array(row["map"], np.float32)
    return RunnerUp(row["item"], row["score"], heat, tuple(map(_region, row["regions"])))


def _region(row: Mapping[str, Any]) -> Region:
    return Region(_box(row["box"]), row["place"], row["share"], row["value"])


def _box(edges: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = edges
    return left, top, right, bottom
