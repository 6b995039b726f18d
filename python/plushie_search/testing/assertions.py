"""Assertions that a picture is like another one, and that a catalog finds an item."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import ArgumentError, PlushieError
from ..encoders.protocol import Model
from ..query import Query
from . import failures, likeness

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import _Image as ImageLike

#: How far an item is looked for that was not among the first k, to tell its rank.
FAR = 100


def check_threshold(value: float) -> None:
    """Checks a least similarity.

    Raises:
        ArgumentError: It is not from 0 to 1.
    """
    if not (0 <= value <= 1 and math.isfinite(value)):
        raise ArgumentError(f"min_similarity={value!r}: give a number from 0 to 1")


def assert_similar(
    image: ImageLike, reference: ImageLike, *, min_similarity: float = 0.9, model: Model | None = None
) -> None:
    """Asserts that a picture is like another one.

    The similarity is the cosine of the pictures' vectors, or 0 if that is negative. On a failure in pytest, both are
    written side by side as a PNG file, in which color shows what makes them alike.

    Args:
        image: The picture: a path, a file's bytes, an open file, a PIL image or an array.
        reference: The picture that it is to be like.
        min_similarity: The least similarity, from 0 to 1; 0.9 by default. What that means depends on the model.
        model: A model's name, directory or encoder; that of ``--plushie-model`` by default, or else the built-in one.

    Raises:
        AssertionError: They are less alike; the message has the similarity and the path of the PNG file.
        ArgumentError: ``min_similarity`` is not from 0 to 1.
        PictureError: A picture cannot be decoded.
        FileError: A file cannot be read.
        ModelError: The model cannot be opened.
    """
    __tracebackhide__ = True
    check_threshold(min_similarity)
    similarity = likeness.similarity(image, reference, model)
    if similarity < min_similarity:
        names = f"{named(image)} and {named(reference)}"
        message = f"{names} have the similarity {similarity:.4f}, which is below {min_similarity:g}"
        raise AssertionError(failures.told(message, likeness.drawn(image, reference, model)))


def assert_finds(engine: Any, query: ImageLike | Query, item: str | int, *, k: int = 1, **options: Any) -> None:
    """Asserts that an item is among the first hits of a query.

    On a failure in pytest, a PNG file shows the query's picture beside the item, and below it beside the best hit.

    Args:
        engine: A :class:`plushie_search.Engine`, or another object with its ``search``.
        query: A picture, or a :class:`plushie_search.Query` of pictures, texts, items and vectors. A text by itself is
            ``Query(text=...)``: a plain text is the path of a picture.
        item: The item's id.
        k: How many hits there are to be among; 1 by default, which is the first place.
        options: Further options of the search, such as ``where`` or ``models``.

    Raises:
        AssertionError: The item is not among them; the message has its rank and the hits that were found.
        ArgumentError: ``k`` is below 1, or an option makes no sense.
        PictureError: The query's picture cannot be decoded.
    """
    __tracebackhide__ = True
    if k < 1:
        raise ArgumentError(f"k={k}: give 1 or more")
    asked = query if isinstance(query, Query) else Query(image=query)
    wanted = str(item)
    hits = engine.search(asked, k=max(k, FAR), **options)
    rank = next((hit.rank for hit in hits if hit.item == wanted), None)
    if rank is not None and rank <= k:
        return
    if wanted not in engine:
        where = "there is no such item"
    elif rank is None:
        where = f"it is not among the first {len(hits)}"
    else:
        where = f"it has the rank {rank}"
    found = "\n".join(f"{hit.rank:>3}  {hit.item}  {hit.score:.4f}" for hit in hits[: min(k, 10)])
    message = f"{named(query)} does not find item {wanted!r} among the first {k}: {where}\n{found or 'no hits'}"
    others = [hit.item for hit in hits[:1] if hit.item != wanted]
    raise AssertionError(failures.told(message, _explained(engine, asked, [wanted, *others])))


def named(image: object) -> str:
    """Returns a picture or query as messages name it."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    return f"the {'query' if isinstance(image, Query) else type(image).__name__}"


def _explained(engine: Any, query: Query, items: list[str]) -> NDArray[np.uint8] | None:
    """Returns the explanations of some items below each other; None if none of them can be drawn."""
    explain = getattr(engine, "explain", None)
    rows = []
    if explain is None:
        return None
    for item in items:
        try:
            rows.append(explain(query, item).to_image())
        except (PlushieError, NotImplementedError):
            continue  # The assertion has failed already, and that is what is to be told.
    if not rows:
        return None
    width = max(row.shape[1] for row in rows)
    wide = [np.pad(row, ((0, 12), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(wide)
