"""How far the probabilities of hits can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import metrics
from ..metrics import Bin

#: A bin of fewer answers says little.
FEW = 20
#: Sizes of a catalog for which the share of accepted unknown queries is told.
SIZES = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000)

RELIABILITY = "Probabilities, and how often they are right"
BINS = ["probability", "mean", "right", "answers"]


@dataclass(frozen=True, slots=True)
class Certainty:
    """How far the probabilities of first hits can be trusted, where known and unknown queries count a half each.

    Attributes:
        threshold: The strength that :meth:`Engine.identify` takes for a match by default.
        target: The share of unknown queries that is meant to reach it.
        ece: The expected calibration error over 10 bins of equal width; see :func:`plushie_search.metrics.ece`.
        bins: The reliability diagram; see :func:`plushie_search.metrics.reliability`.
        items: Items of the catalog.
        by_size: For other sizes of the catalog, the share of unknown queries that would reach this threshold, by
            1 - (1 - FMR) ** N.
    """

    threshold: float
    target: float
    ece: float
    bins: tuple[Bin, ...]
    items: int
    by_size: tuple[tuple[int, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        sizes = [{"items": size, "FPIR": share} for size, share in self.by_size]
        return {**asdict(self), "bins": [one._asdict() for one in self.bins], "by_size": sizes}

    def rows(self) -> list[tuple[str, ...]]:
        """Returns the cells of the reliability diagram; bins of fewer than 20 answers are marked with "few"."""
        return [
            (
                f"{one.low:.1f} to {one.high:.1f}",
                f"{one.probability:.3f}",
                f"{one.right:.3f}",
                f"{one.answers}{' (few)' if one.answers < FEW else ''}",
            )
            for one in self.bins
        ]

    def notes(self) -> list[str]:
        """Returns sentences about the threshold and the probabilities."""
        sizes = ", ".join(f"{share:.4f} among {size:,}" for size, share in self.by_size)
        return [
            f"FPIR and FNIR are those of the threshold {self.threshold:.3f}, which is meant for an FPIR of "
            f"{self.target:g} among {self.items:,} items. The same threshold would give {sizes} items.",
            f"The expected calibration error of the probabilities is {self.ece:.3f}.",
        ]


def certainty(
    known: Sequence[tuple[float, bool]],
    unknown: Sequence[float],
    *,
    threshold: float,
    target: float,
    accepted: float,
    items: int,
) -> Certainty:
    """Judges probabilities.

    Args:
        known: The probability of the first hit of each known query, and whether that is right.
        unknown: That of each unknown query, which is never right.
        threshold, target: Those of :class:`Certainty`.
        accepted: The share of unknown queries that reach the threshold.
        items: Items of the catalog.

    Raises:
        ArgumentError: There are no known or no unknown queries.
    """
    likely = np.array([*(probability for probability, _ in known), *unknown])
    right = np.array([*(right for _, right in known), *([False] * len(unknown))])
    weights = np.repeat([0.5 / max(len(known), 1), 0.5 / max(len(unknown), 1)], [len(known), len(unknown)])
    return Certainty(
        threshold=threshold,
        target=target,
        ece=metrics.ece(likely, right, weights=weights),
        bins=tuple(metrics.reliability(likely, right, weights=weights)),
        items=items,
        by_size=tuple((size, 1 - (1 - accepted) ** (size / items)) for size in SIZES),
    )
