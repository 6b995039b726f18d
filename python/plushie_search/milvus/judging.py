"""Calibrates pictures on a sample of the references, and judges scores as an engine does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .. import _core
from .._core import judge
from ..identification import Calibration, Identification, LearnedWeights
from ..metrics import Interval
from ..results import Results
from .looking import Found, Sample
from .schema import FIELDS, Space
from .staged import Stage
from .store import Row

#: The items that are looked at: the best one, and those behind it whose scores are part of its strength.
LOOK = 11
#: The share of the references that may come or go before a calibration is made again.
STALE = 0.2
#: The share of other things that reach the threshold that a calibration tells.
TARGET = 0.01


@dataclass(frozen=True, slots=True)
class Labeled:
    """A calibration with labeled queries: what `judge` takes, and its figures."""

    fit: str
    figures: Calibration


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
        self._labeled: dict[Any, Labeled] = {}
        #: The learned weights of the models, if these find more than the first one alone.
        self.usual: dict[str, float] | None = None

    def fit(self, models: Mapping[str, float], count: int) -> str:
        """Returns the calibration for a collection of ``count`` references, as ``judge`` takes it."""
        key = _key(models)
        with self._lock:
            if key in self._labeled:
                return self._labeled[key].fit
            known = self._fits.get(key)
            if known is None or abs(known[0] - count) > STALE * known[0]:
                with self._filled(self._sample.rows(self._columns, count)) as core:
                    known = self._fits[key] = (count, core.fit_of_pictures(models=dict(models)))
            return known[1]

    def calibrate(
        self,
        queries: Sequence[Any],
        labels: Sequence[str | None],
        models: Any,
        *,
        rows: Sequence[Row],
        count: int,
        items: int,
    ) -> Calibration:
        """Calibrates on the sample, the ``rows`` of labeled items and the queries, and returns the figures.

        Args:
            queries: The queries, as :meth:`Query._row` gives them.
            labels: The item of each query, or None.
            models: As :meth:`Engine.calibrate` takes them.
            rows: The references of the items in ``labels``, with their vectors.
            count: The references of the collection.
            items: Its items.
        """
        with self._lock:
            known = {row["pk"]: row for row in [*self._sample.rows(self._columns, count), *rows]}
            with self._filled(list(known.values())) as core:
                told, weights, learned = core.calibrate(list(queries), list(labels), models=models)
                one = models[0] if isinstance(models, (list, tuple)) and len(models) == 1 else models
                fit = core.fit_of_pictures(models=None if learned or isinstance(one, (list, tuple)) else one)
            weighed = LearnedWeights(dict(learned[0]), Interval(*learned[1]), learned[2]) if learned else None
            made = Calibration(*told, weights=dict(weights), learned=weighed)
            # Those of an engine may be of a second look, and are of as many items as were calibrated with.
            threshold = judge(fit, [], [], gallery=items, target_fpr=TARGET, prior=0.5)[3]
            accepted = np.array(json.loads(fit)["accepted"], np.float64)
            figures = replace(
                made,
                items=items,
                second_look=False,
                threshold=threshold,
                false_accept_rate=TARGET,
                false_reject_rate=float(np.mean(accepted < threshold)),
            )
            self._labeled[_key(figures.weights)] = Labeled(fit, figures)
            if weighed is not None:
                self.usual = weighed.weights if weighed.used else None
            return figures

    def stats(self) -> list[dict[str, Any]]:
        """Returns the figures of the calibrations that were asked for, as dicts."""
        with self._lock:
            return [
                {name: value for name, value in asdict(one.figures).items() if name != "learned"}
                for one in self._labeled.values()
            ]

    @property
    def _columns(self) -> list[str]:
        return [*FIELDS, *(space.field for space in self._spaces)]

    @contextmanager
    def _filled(self, rows: Sequence[Row]) -> Iterator[_core.Engine]:
        """Gives a temporary catalog of these references."""
        stage = self._stage()
        try:
            if rows:
                rows = sorted(rows, key=lambda row: (row["since"], row["added"]))
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
            yield stage.core
        finally:
            stage.close()


def _key(models: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    total = sum(models.values())
    return tuple(sorted((name, round(weight / total, 6)) for name, weight in models.items()))


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
