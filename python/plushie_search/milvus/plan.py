"""Which model looks up what of a query, and with which vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._core import ArgumentError, ModelError

#: The mean vector of an item by a model, by its id and the model's name.
Mean = Callable[[str, str], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a query that one model looks up.

    Attributes:
        model: The model's name.
        vector: The unit vector: float32 of shape (dim,).
        weight: How much its scores count; all parts together 1.
        says: Whether it is of texts that have a vector of their own.
    """

    model: str
    vector: NDArray[np.float32]
    weight: float
    says: bool


@dataclass(slots=True)
class _Lookup:
    """The parts of queries that a model looks up, and its weight if that was given."""

    model: str
    weight: float | None = None
    images: bool = False
    texts: bool = False
    items: bool = False
    unnamed: bool = False


def weights_of(core: _core.Engine, models: Any) -> dict[str, float]:
    """Returns the weights of the models that a search names, none if it names none.

    Raises:
        ArgumentError: There is no such model, or it cannot count so.
    """
    given = {} if models is None else {models: 1.0} if isinstance(models, str) else dict(models)
    for name, weight in given.items():
        if name not in core.models:
            raise ArgumentError(f"there is no model {name!r}: this catalog has {', '.join(core.models)}")
        if not (np.isfinite(weight) and weight > 0):
            raise ArgumentError(f"model {name!r} cannot count {weight}: give a number above 0")
    return given


def plan(
    core: _core.Engine, rows: Sequence[Any], models: Any, *, apart: bool, expand: Any, mean: Mean
) -> list[list[Part]]:
    """Returns the parts of each query, given as :meth:`Query._row` gives it.

    Raises:
        ArgumentError: A part or a weight cannot be used, the parts of a query cancel each other out, or a vector is of
            another model.
        ModelError: No model sees pictures or reads texts.
        PictureError: A picture cannot be read.
    """
    _check(rows)
    lookups = _lookups(core, rows, weights_of(core, models))
    pictures = [image for images, *_ in rows for image, _ in images]
    texts = [text for _, said, *_ in rows for text, _ in said]
    seen = {by.model: core.encode_images(pictures, model=by.model) for by in lookups if by.images and pictures}
    read = {
        by.model: core.encode_texts(texts, model=by.model, expand=expand or None)
        for by in lookups
        if by.texts and texts
    }
    dims = {row["name"]: row["dimension"] for row in core.stats()["models"]}
    plans, at_image, at_text = [], 0, 0
    for number, (images, said, items, vectors) in enumerate(rows):
        parts = []
        for by in lookups:
            here = [(weight, seen[by.model][at_image + i]) for i, (_, weight) in enumerate(images) if by.images]
            told = [(weight, read[by.model][at_text + i]) for i, (_, weight) in enumerate(said) if by.texts]
            given = [(weight, mean(id, by.model)) for id, weight in items if by.items]
            given += [
                (weight, _checked(vector, dims[by.model], number))
                for (name, vector), weight in vectors
                if (by.unnamed if name is None else name == by.model)
            ]
            given = [(weight, _unit(vector, number)) for weight, vector in given]
            sums = [(here + ([] if apart else told) + given, False), (told if apart else [], True)]
            own = [(_sum(some, number), sum(abs(weight) for weight, _ in some), says) for some, says in sums if some]
            all_own = sum(weight for _, weight, _ in own)
            for vector, weight, says in own:
                share = weight if by.weight is None else by.weight * weight / all_own
                parts.append(Part(by.model, vector, share, says))
        if not parts:
            raise ArgumentError(f"no model looks up any part of query {number}")
        total = sum(part.weight for part in parts)
        plans.append([Part(part.model, part.vector, part.weight / total, part.says) for part in parts])
        at_image, at_text = at_image + len(images), at_text + len(said)
    return plans


def _lookups(core: _core.Engine, rows: Sequence[Any], weights: Mapping[str, float]) -> list[_Lookup]:
    able = {row["name"]: row for row in core.stats()["models"]}
    images, texts, items = (any(row[place] for row in rows) for place in range(3))
    named = {name for row in rows for (name, _), _ in row[3] if name is not None}
    unnamed = any(name is None for row in rows for (name, _), _ in row[3])
    if unknown := named - set(able):
        raise ArgumentError(f"there is no model {min(unknown)!r}: this catalog has {', '.join(able)}")
    if len(weights) > 1:
        if unnamed:
            raise ArgumentError("a vector belongs to one model: name it, or give a vector of each model")
        if texts and not any(able[name]["text"] for name in weights):
            raise ModelError(f"none of {', '.join(weights)} reads texts: name one that does")
        lookups = [
            _Lookup(name, weight, images=able[name]["image"], texts=able[name]["text"], items=True)
            for name, weight in weights.items()
        ]
    else:
        only = next(iter(weights), None)
        found: dict[str, _Lookup] = {}

        def by(name: str | None, kind: str) -> _Lookup:
            if name is None:
                raise ModelError(
                    f"no model of this catalog looks up {kind}s: open it with one that does, or give vectors"
                )
            if kind in ("image", "text") and not able[name][kind]:
                raise ModelError(f"model {name!r} looks up no {kind}s: name one that does")
            return found.setdefault(name, _Lookup(name))

        if images:
            by(only or core.image_model, "image").images = True
        if texts:
            by(only or core.text_model, "text").texts = True
        if items or unnamed:
            first = by(only or core.models[0], "vector")
            first.items, first.unnamed = items, unnamed
        for name in [only] if only else sorted(named, key=list(able).index):
            by(name, "vector")
        lookups = list(found.values())
    if lacking := named - {lookup.model for lookup in lookups}:
        raise ArgumentError(f"model {min(lacking)!r} has vectors, but no weight")
    for row in rows:
        own = {name for (name, _), _ in row[3]}
        if own and None not in own and not any(row[:3]) and (lacking := set(weights) - own):
            raise ArgumentError(f"model {min(lacking)!r} has a weight, but no vectors")
    return lookups


def _check(rows: Sequence[Any]) -> None:
    for row in rows:
        weights = [weight for part in row for _, weight in part]
        if not weights:
            raise ArgumentError("a query needs at least one picture, text, item or vector")
        if bad := [weight for weight in weights if not np.isfinite(weight) or weight == 0]:
            raise ArgumentError(f"a query's weights must be finite and not zero, got {bad[0]}")


def _checked(vector: Any, dim: int, number: int) -> NDArray[np.float32]:
    array, single = _core.each_vector(vector, f"vector {number}")
    if not single:
        raise ArgumentError(f"vector {number}: shape {array.shape} is not (dim,)")
    if array.shape[1] != dim:
        raise ArgumentError(f"queries of {array.shape[1]} numbers cannot be compared with vectors of {dim}")
    return array.reshape(-1)


def _unit(vector: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        raise ArgumentError(f"vector {number} has NaN, infinite values or no length: correct it")
    return (vector / np.float64(length)).astype(np.float32)


def _sum(parts: Sequence[tuple[float, NDArray[np.float32]]], number: int) -> NDArray[np.float32]:
    if len(parts) == 1 and parts[0][0] > 0:
        return parts[0][1]
    total = np.sum([np.float64(weight) * vector for weight, vector in parts], axis=0)
    total /= sum(abs(weight) for weight, _ in parts)
    if float(total @ total) < 1e-12:
        raise ArgumentError(f"the parts of query {number} cancel each other out: nothing is left")
    return _unit(total.astype(np.float32), number)
