"""Sets the limit of a score by golden samples, with a bound on false alarms that holds for any distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence


def limit_of(scores: Sequence[float], alarm_rate: float) -> tuple[float, float]:
    """Returns the limit that good samples exceed at most at this rate, and the rate that is kept.

    The score of one more good sample is as likely in each place among those of n others (conformal prediction, Vovk et
    al. 2005): it is above the k-th smallest of them with a probability of at most 1 - k / (n + 1). A rate below
    1 / (n + 1) cannot be kept: then the limit is the highest score, and the rate 1 / (n + 1). For 5 % that takes 19.

    Args:
        scores: Those of the golden samples, each beside the others; 1 or more.
        alarm_rate: The share of good samples that may be taken for bad ones, above 0 and below 1.
    """
    ordered, count = sorted(scores), len(scores)
    # One part in a billion keeps a rate such as 0.05 = 1 / 20 from being missed by rounding.
    place = min(count, math.ceil((count + 1) * (1 - alarm_rate) - 1e-9))
    return ordered[place - 1], 1 - place / (count + 1)


def p_value(score: float, scores: Sequence[float]) -> float:
    """Returns how likely a good sample has this score or a higher one: (1 + those that have) / (n + 1)."""
    return (1 + sum(one >= score for one in scores)) / (len(scores) + 1)
