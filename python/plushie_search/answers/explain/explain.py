"""Explains why an item matches a query; see ``Engine.explain``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..._core import ArgumentError, Crop, Hit
from ...query import DEFAULTS, Query
from ...results import Reference
from .cam import Activation
from .explanation import Explanation
from .parts import HeatMap, RunnerUp
from .regions import FLAT, find_pairs, find_regions
from .subjects import Subject, find_subject, picture_of, small_copy
from .windows import Windows
from .words import parts_of_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ... import _core
    from ..._core import _QueryRow
    from ...query import SearchOptions, Text
    from .explanation import Method
    from .regions import Pair
    from .sentences import Language


def explain(
    core: _core.Engine,
    query: Any,
    hit: Hit | Text,
    reference: str | None,
    *,
    method: Method,
    detail: int,
    model: str | None,
    sides: str,
    language: Language,
) -> Explanation:
    """Explains why an item matches a query; see ``Engine.explain``."""
    if method not in ("windows", "cam"):
        raise ArgumentError(f'method {method!r}: give "windows" or "cam"')
    if sides not in ("both", "query"):
        raise ArgumentError(f'sides {sides!r}: give "both" or "query"')
    if language not in ("en", "zh"):
        raise ArgumentError(f'language {language!r}: give "en" or "zh"')
    row = _row(query)
    images, texts, _, _ = row
    model = _model(core, model, sees=bool(images), reads=bool(texts))
    vector = core.query_vectors([row], model=model)[0]
    item: Text = hit.item if isinstance(hit, Hit) else hit
    if reference is None and isinstance(hit, Hit):
        reference = _key(hit)
    subject = find_subject(core, item, reference, vector, model)
    score = float(vector @ subject.vector)
    other = _next_best(core, row, subject.item, vector, model)
    picture = max(images, key=lambda one: one[1])[0] if images else None

    def look(image: Any) -> Windows | Activation:
        if method == "cam":
            return Activation(core, image, model)
        return Windows.of(core, image, detail=detail, model=model)

    seen: list[Windows | Activation] = []
    asked: HeatMap | None = None
    against: NDArray[np.float32] | None = None
    if picture is not None:
        seen.append(look(picture))
        asked = _map(_name(picture), seen[0], subject.vector, small_copy(picture))
        if other is not None:
            against = seen[0].contribution(subject.vector) - seen[0].contribution(other.vector)
    runner_up: RunnerUp | None = None
    if other is not None:
        regions = () if against is None else find_regions(against, flat=_flat(method, against))
        runner_up = RunnerUp(other.item, float(vector @ other.vector), against, regions)
    matched: HeatMap | None = None
    notes: list[str] = []
    if sides == "both" or picture is None:
        kept, small, note = picture_of(core, subject)
        notes += [] if note is None else [note]
        if small is not None:
            seen.append(look(kept))
            matched = _map(subject.name, seen[-1], vector, small)
    return Explanation(
        item=subject.item,
        reference=subject.name,
        score=score,
        model=model,
        method=method,
        query=asked,
        matched=matched,
        pairs=_pairs(seen, subject.vector, vector),
        words=parts_of_words(core, row, subject.vector, score, model),
        runner_up=runner_up,
        notes=tuple(notes),
        passes=sum(one.passes for one in seen),
        language=language,
    )


def _row(query: Any) -> _QueryRow:
    """Returns a picture or query as the core takes it, open files as their bytes: they are read more than once."""
    images, texts, items, vectors = query._row() if isinstance(query, Query) else ([(query, 1.0)], [], [], [])
    return [(one.read() if hasattr(one, "read") else one, weight) for one, weight in images], texts, items, vectors


def _model(core: _core.Engine, model: str | None, *, sees: bool, reads: bool) -> str:
    """Returns the name of the model that looks up all of the query, and sees pictures."""
    if model is not None:
        return model
    found = core.image_model if sees or not reads else core.text_model
    if found is None:
        raise ArgumentError("no model of this engine looks the query up: open the catalog with one that does")
    return found


def _next_best(
    core: _core.Engine, row: _QueryRow, item: str, vector: NDArray[np.float32], model: str
) -> Subject | None:
    """Returns the best reference of the best other item."""
    asked = [one for one, _ in row[2]]
    options: SearchOptions = {**DEFAULTS, "k": 1, "models": model, "exclude": [item, *asked], "words": False}
    answers, _, _, _ = core.search([([], [], [], [((model, vector), 1.0)])], **options)
    return next((find_subject(core, hit.item, _key(hit), vector, model) for hit in answers[0]), None)


def _key(hit: Hit) -> str | None:
    """Returns the key of a hit's reference: its digest, with its view if it is one of a mesh."""
    return Reference(hit.reference, hit.digest, hit.view).key if hit.digest else hit.reference or None


def _map(name: str, seen: Windows | Activation, vector: NDArray[np.float32], pixels: NDArray[np.uint8]) -> HeatMap:
    size, heat, rest = seen.heat(vector)
    method: Method = "windows" if isinstance(seen, Windows) else "cam"
    return HeatMap(name, size, heat, find_regions(heat, flat=_flat(method, heat)), rest, pixels)


def _flat(method: Method, heat: NDArray[np.float32]) -> float:
    """Returns the value that the highest cell of a map must have for any to stand out."""
    return FLAT if method == "windows" else 10 * FLAT / heat.size


def _pairs(
    seen: list[Windows | Activation], target: NDArray[np.float32], vector: NDArray[np.float32]
) -> tuple[Pair, ...]:
    if len(seen) < 2:
        return ()
    query, reference = seen
    if not isinstance(query, Windows) or not isinstance(reference, Windows):
        return ()
    return find_pairs(
        (query.boxes, query.added, query.gains(target)), (reference.boxes, reference.added, reference.gains(vector))
    )


def _name(picture: Any) -> str:
    if isinstance(picture, Crop):
        return _name(picture.image)
    return os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else "query"
