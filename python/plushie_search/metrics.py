"""Figures of retrieval for ranked lists of any source, with intervals.

>>> from plushie_search import metrics
>>> lists = metrics.Rankings([["a", "b", "c"], ["x", "y", "z"]], [{"b"}, {"x"}])
>>> lists.ranks
array([2, 1])
>>> lists.hit(1)
array([0., 1.])
>>> print(metrics.mean(lists.reciprocal_rank()))
0.750 (0.500 to 1.000)

Each method of :class:`Rankings` gives one number from 0 to 1 for each query. :func:`mean` gives their mean with an
interval, :func:`difference` the mean difference of two systems on the same queries, :func:`open_set` the figures of
telling known queries from unknown ones by their scores, :func:`confusions` the items that are confused, and
:func:`reliability` and :func:`ece` how far probabilities can be trusted.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _core
from ._core import ArgumentError, Rankings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Bin",
    "Confusion",
    "Interval",
    "OpenSet",
    "Rankings",
    "confusions",
    "difference",
    "ece",
    "mean",
    "open_set",
    "reliability",
]

#: The number of draws of a bootstrap interval.
ROUNDS = 2000


class Interval(NamedTuple):
    """A figure and the ends of its interval, which has no width where all outcomes are equal, however few they are."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class OpenSet(NamedTuple):
    """Figures of telling known queries from unknown ones by their best scores; see :func:`open_set`."""

    auroc: Interval
    false_accept_rate: Interval
    false_reject_rate: float
    threshold: float


class Confusion(NamedTuple):
    """A pair of items: ``instead`` came first in ``times`` of the ``queries`` queries for ``item``."""

    item: str
    instead: str
    times: int
    queries: int


class Bin(NamedTuple):
    """Answers whose probabilities are from ``low`` to below ``high``; see :func:`reliability`."""

    low: float
    high: float
    answers: int
    probability: float
    right: float


def mean(
    values: ArrayLike,
    *,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    rounds: int = ROUNDS,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns the mean and its percentile bootstrap interval (Efron 1979), equal for equal seeds on every machine.

    Args:
        values: One number for each query.
        groups: The group of each query, such as its item. Queries of one group succeed or fail together and are
            drawn together; to draw each by itself would give an interval that is too narrow.
        rounds: The number of draws of the groups, with replacement.
        confidence: The share of the draws within the interval.
        seed: The seed of the random numbers.

    Raises:
        ArgumentError: There are no values, one is NaN or infinite, or there are not as many groups.
    """
    numbers = _numbers(groups)
    return Interval(*_core.bootstrap_mean(values, groups=numbers, rounds=rounds, confidence=confidence, seed=seed))


def difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    rounds: int = ROUNDS,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns the mean of ``b - a`` over the same queries: ``b`` is better if the interval is above 0.

    The bootstrap is paired: each draw takes both results of a query. See :func:`mean` for the options.

    Raises:
        ArgumentError: The numbers of values differ, or as :func:`mean`.
    """
    before, after = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if before.shape != after.shape:
        raise ArgumentError(f"{before.size} values cannot be paired with {after.size}: both need the same queries")
    return mean(after - before, groups=groups, rounds=rounds, confidence=confidence, seed=seed)


def open_set(
    known: ArrayLike,
    unknown: ArrayLike,
    *,
    false_reject_rate: float = 0.05,
    groups: Sequence[Hashable] | NDArray[Any] | None = None,
    rounds: int = ROUNDS,
    confidence: float = 0.95,
    seed: int = 0,
) -> OpenSet:
    """Measures how well scores separate queries for items of the catalog from unknown queries.

    ``auroc`` is the probability that a known query scores higher than an unknown one, ties counted half (Hanley and
    McNeil 1982). ``threshold`` is the highest score of a known query below which at most
    ``false_reject_rate`` of the known ones score; ``false_accept_rate`` of the unknown ones reach it. The
    intervals draw known and unknown queries anew, and the threshold with them.

    Args:
        known: The best score of each query for an item of the catalog, even if it found another one.
        unknown: The best score of each query for an item that is not in the catalog.
        false_reject_rate: The share of known queries that may be rejected, from 0 to below 1.
        groups: The groups of the known queries; see :func:`mean`, also for the other options.

    Raises:
        ArgumentError: There are no known or no unknown scores, one is NaN, or there are not as many groups.
    """
    auroc, false_accepts, rejected, threshold = _core.open_set(
        known,
        unknown,
        false_reject_rate=false_reject_rate,
        groups=_numbers(groups),
        rounds=rounds,
        confidence=confidence,
        seed=seed,
    )
    return OpenSet(Interval(*auroc), Interval(*false_accepts), rejected, threshold)


def confusions(items: Sequence[str], wrong: Sequence[str | None], *, worst: int = 20) -> list[Confusion]:
    """Counts confusions, the most frequent first.

    Args:
        items: The right item of each query.
        wrong: The wrong item that came first, or None where none did.
        worst: The most confusions to return.

    Raises:
        ArgumentError: The lists differ in length.
    """
    return [Confusion(*row) for row in _core.confusions(list(items), list(wrong), worst=worst)]


def reliability(
    probabilities: ArrayLike, right: ArrayLike, *, weights: ArrayLike | None = None, bins: int = 10
) -> list[Bin]:
    """Compares the probabilities of answers with the share of them that is right, in bins of equal width.

    Args:
        probabilities: One from 0 to 1 for each answer, shape (n,).
        right: Whether it was right, shape (n,).
        weights: How much each answer counts in the means of its bin, 0 or more, shape (n,); 1 by default.
        bins: The number of bins, 1 or more.

    Returns:
        The bins that have answers, each with its bounds, the number of its answers, their mean probability and the
        share of them that is right. The last one has the probability 1, too.

    Raises:
        ArgumentError: The lengths differ, a probability is not from 0 to 1, or ``bins`` is below 1.
    """
    return [found for found, _ in _bins(probabilities, right, weights, bins)]


def ece(probabilities: ArrayLike, right: ArrayLike, *, weights: ArrayLike | None = None, bins: int = 10) -> float:
    """Returns the expected calibration error, from 0 (best) to 1: the mean difference of probability and share of right
    answers over the bins of :func:`reliability`, each weighted by its answers.

    Raises:
        ArgumentError: There are no answers, or as :func:`reliability`.
    """
    found = _bins(probabilities, right, weights, bins)
    total = sum(weight for _, weight in found)
    if total <= 0:
        raise ArgumentError("no answers to compare: give at least one probability")
    return float(sum(weight * abs(one.probability - one.right) for one, weight in found) / total)


def _bins(probabilities: ArrayLike, right: ArrayLike, weights: ArrayLike | None, bins: int) -> list[tuple[Bin, float]]:
    """Returns each bin with the weight of its answers."""
    likely, truth = np.asarray(probabilities, np.float64), np.asarray(right, np.float64)
    counts = np.ones_like(likely) if weights is None else np.asarray(weights, np.float64)
    if not likely.shape == truth.shape == counts.shape or likely.ndim != 1:
        raise ArgumentError(
            f"{likely.size} probabilities, {truth.size} outcomes and {counts.size} weights: give one of each for each "
            "answer"
        )
    if bins < 1 or not ((likely >= 0) & (likely <= 1)).all():
        raise ArgumentError(f"bins {bins}: give 1 or more, and probabilities from 0 to 1")
    places = np.minimum((likely * bins).astype(np.int64), bins - 1)
    found = []
    for place in range(bins):
        chosen = places == place
        weight = float(counts[chosen].sum())
        if weight > 0:
            means = [float((values[chosen] * counts[chosen]).sum() / weight) for values in (likely, truth)]
            found.append((Bin(place / bins, (place + 1) / bins, int(chosen.sum()), *means), weight))
    return found


def _numbers(groups: Sequence[Hashable] | NDArray[Any] | None) -> NDArray[np.int64] | None:
    """Returns the groups as numbers, equal for equal groups."""
    if groups is None:
        return None
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)
