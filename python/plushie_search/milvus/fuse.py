"""Fuses the scores of several lists as an engine does, and groups references by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
#: Beside words that do not fit, a picture's score d standard deviations above the mean counts as tanh(d / REACH).
REACH = 2.5


@dataclass(frozen=True, slots=True)
class Moments:
    """The mean, the standard deviation and the highest of the scores of all references."""

    mean: float
    deviation: float
    highest: float

    def above(self, scores: Scores) -> Scores:
        """Returns how many standard deviations scores lie above the mean; 0 where all are the same."""
        return (scores - self.mean) / self.deviation if self.deviation > 1e-6 else np.zeros_like(scores)


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean and the covariance of all vectors of a model, by which the moments of any query are known."""

    mean: Scores
    covariance: Scores

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Spread:
        """Returns those of vectors, float32 of shape (n, dim)."""
        exact = vectors.astype(np.float64)
        mean = exact.mean(axis=0)
        return cls(mean, exact.T @ exact / len(exact) - np.outer(mean, mean))

    def moments(self, query: NDArray[np.float32], highest: float) -> Moments:
        """Returns the moments of a query's scores."""
        exact = query.astype(np.float64)
        variance = float(exact @ self.covariance @ exact)
        return Moments(float(exact @ self.mean), max(variance, 0.0) ** 0.5, highest)


@dataclass(frozen=True, slots=True)
class List:
    """The scores that one part of a query gives to candidates.

    Attributes:
        scores: One for each candidate: float64 of shape (n,).
        weight: How much it counts; all lists together 1.
        moments: Those of its scores of all references.
        bounded: Whether it is of pictures that words go with.
    """

    scores: Scores
    weight: float
    moments: Moments
    bounded: bool


def fuse(lists: Sequence[List], fusion: str, rrf_k: float, order: NDArray[np.int64]) -> Scores:
    """Returns the fused score of each candidate; equal scores of a list rank by ``order``."""
    fused = np.zeros(len(order))
    fits = _fits(lists) if fusion == "weighted" else np.zeros(len(order))
    for one in lists:
        if fusion == "sum":
            part = one.scores
        elif fusion == "rrf":
            ranks = np.empty(len(order))
            ranks[np.lexsort((order, -one.scores))] = np.arange(1, len(order) + 1)
            part = 1 / (rrf_k + ranks)
        elif fusion == "dbsf":
            part = 0.5 + one.moments.above(one.scores) / 6
        elif one.bounded:
            above = one.moments.above(one.scores)
            near = np.tanh(above / REACH)
            part = near + (above - near) * fits
        else:
            part = one.moments.above(one.scores)
        fused += one.weight * part
    if fusion == "weighted":
        middle = sum(one.weight * one.moments.mean for one in lists)
        spread = sum(one.weight * one.moments.deviation for one in lists)
        fused = middle + spread * fused
    return fused.astype(np.float32).astype(np.float64)


def highest_unseen(lists: Sequence[List], ends: Sequence[float], fusion: str) -> float:
    """Returns a bound of the fused score of references whose scores are at most ``ends``, one for each list."""
    if fusion != "weighted":
        return float(fuse(_at(lists, ends), fusion, 0.0, np.zeros(1, np.int64))[0])
    # The score grows with each list's, but where a picture lies below its mean, worse words help it.
    best = float(fuse(_at(lists, ends), fusion, 0.0, np.zeros(1, np.int64))[0])
    spread = sum(one.weight * one.moments.deviation for one in lists)
    for one, end in zip(lists, ends, strict=True):
        above = float(one.moments.above(np.array([end]))[0])
        if one.bounded and above < 0:
            best += spread * one.weight * (np.tanh(above / REACH) - above)
    return best


def _at(lists: Sequence[List], ends: Sequence[float]) -> list[List]:
    return [List(np.array([end]), one.weight, one.moments, one.bounded) for one, end in zip(lists, ends, strict=True)]


def _fits(lists: Sequence[List]) -> Scores:
    """Returns how well words fit each candidate beside the reference that they fit best: 1 for that one."""
    words = [one for one in lists if not one.bounded]
    total = sum(one.weight for one in words)
    fits, best = np.zeros(len(lists[0].scores)), 0.0
    for one in words:
        best += one.weight / total * float(one.moments.above(np.array([one.moments.highest]))[0])
        fits += one.weight / total * one.moments.above(one.scores)
    return np.maximum(1 - (best - fits), 0.0)


def group(
    scores: Scores,
    items: Sequence[str],
    since: NDArray[np.int64],
    added: NDArray[np.int64],
    aggregate: str,
    temperature: float,
) -> list[tuple[int, float]]:
    """Returns the best candidate of each item with the item's score, best first; equal scores go by age."""
    order = np.lexsort((added, since, -scores)).tolist()
    first: dict[str, int] = {}
    own: dict[str, list[float]] = {}
    for place in order:
        first.setdefault(items[place], place)
        own.setdefault(items[place], []).append(float(scores[place]))
    if aggregate == "max":
        return [(place, float(scores[place])) for place in first.values()]
    found = []
    for item, place in first.items():
        values = np.array(own[item])
        weights = np.ones(len(values)) if aggregate == "mean" else np.exp((values - values[0]) / temperature)
        found.append((place, float(np.float32(values @ weights / weights.sum()))))
    return sorted(found, key=lambda one: (-one[1], since[one[0]], added[one[0]]))
