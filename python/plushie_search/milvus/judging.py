"""Calibrates pictures on a sample of the references, and judges scores as an engine does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .._core import judge
from ..identification import Identification
from ..results import Results
from .looking import Found, Sample
from .schema import FIELDS, Space
from .staged import Stage

#: The items that are looked at: the best one, and those behind it whose scores are part of its strength.
LOOK = 11
#: The share of the references that may come or go before a calibration is made again.
STALE = 0.2


class Judging:
    """The calibrations of a catalog's pictures, by the models that look them up.

    Args:
        sample: The references that are calibrated with.
        spaces: The fields of the models.
        stage: Makes an empty catalog with these models.
    """

    def __init__(self, sample: Sample, spaces: Sequence[Space], stage: Callable[[], Stage]) -> None:
        self._sample, self._spaces, self._stage = sample, spaces, stage
        self._lock = threading.Lock()
        self._fits: dict[Any, tuple[int, str]] = {}

    def fit(self, models: Mapping[str, float] | None, count: int) -> str:
        """Returns the calibration for a collection of ``count`` references, as ``judge`` takes it."""
        key = None if models is None else tuple(sorted(models.items()))
        with self._lock:
            known = self._fits.get(key)
            if known is None or abs(known[0] - count) > STALE * known[0]:
                known = self._fits[key] = (count, self._made(models, count))
            return known[1]

    def _made(self, models: Mapping[str, float] | None, count: int) -> str:
        rows = self._sample.rows([*FIELDS, *(space.field for space in self._spaces)], count)
        rows.sort(key=lambda row: (row["since"], row["added"]))
        stage = self._stage()
        try:
            if rows:
                vectors = [
                    (space.name, np.array([row[space.field] for row in rows], np.float32)) for space in self._spaces
                ]
                stage.core.add_vectors(
                    [row["item"] for row in rows],
                    vectors,
                    references=[row["name"] for row in rows],
                    digests=[key_digest(row) for row in rows],
                    by_digest=True,
                )
            return stage.core.fit_of_pictures(models=models)
        finally:
            stage.close()


def key_digest(row: Mapping[str, Any]) -> str:
    """Returns a digest that no other reference of the item has: views of a mesh have one digest."""
    return str(row["pk"])


def judged(
    fit: str,
    found: Sequence[Found],
    crowd: Sequence[Found],
    *,
    gallery: int,
    target_fpr: float,
    prior: float,
    k: int,
    results: Callable[[Sequence[Found], Sequence[float]], Results],
) -> Identification:
    """Returns the answer for a picture whose best items are ``found``, and of the whole catalog ``crowd``."""
    scores = [one.score for one in found]
    verdict, margin, strength, threshold, plausible, probabilities = judge(
        fit, scores, [one.score for one in crowd], gallery=gallery, target_fpr=target_fpr, prior=prior
    )
    ids = tuple(str(one.row["item"]) for one in found[:plausible])
    return Identification(
        verdict=verdict,
        item=ids[0] if ids else None,
        probability=probabilities[0] if probabilities else None,
        margin=margin,
        strength=strength,
        threshold=threshold,
        plausible=ids,
        hits=results(found[:k], probabilities[:k]),
    )
