"""Calibrates the ranges of tensors from histograms of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The bins of a histogram.
BINS = 4096

#: Levels of an 8-bit number.
LEVELS = 256

#: The share of the values that the percentile method leaves out.
TAIL = 1e-4


class Histogram:
    """A histogram of the values of a tensor, in bins of equal width around 0 that grow with the values."""

    def __init__(self, channels: int = -1) -> None:
        """Makes an empty histogram; `channels` is the axis of the channels of the tensor."""
        self._channels = channels
        self._sums: NDArray[np.float64] | None = None
        self._times = 0
        self._counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self._limit = 2.0**-20
        self.lowest = self.highest = 0.0
        #: Whether it held one vector for each picture.
        self.single = False

    def add(self, values: NDArray[np.float32]) -> None:
        """Counts values.

        Raises:
            ValueError: One of them is NaN or infinite.
        """
        self.single = values.size == values.shape[-1]
        lowest, highest = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        if not np.isfinite(highest - lowest):
            raise ValueError("has values that are NaN or infinite")
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        while self._limit < max(-lowest, highest):
            middle = np.zeros_like(self._counts)
            middle[BINS // 4 : -BINS // 4] = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts, self._limit = middle, 2 * self._limit
        bins = ((values.reshape(-1) + self._limit) * (BINS / (2 * self._limit))).astype(np.int32)
        others = tuple(axis for axis in range(values.ndim) if axis != self._channels % values.ndim)
        sums = values.mean(axis=others, dtype=np.float64)
        self._sums = sums if self._sums is None else self._sums + sums
        self._times += 1
        self._counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    @property
    def means(self) -> NDArray[np.float64] | None:
        """The mean of each channel."""
        return None if self._sums is None else self._sums / self._times

    def everything(self) -> tuple[float, float]:
        """Returns the range of all values and of 0, which padding needs."""
        return self.lowest, self.highest

    def most(self) -> tuple[float, float]:
        """Returns the range without the outermost ``TAIL`` of the values."""
        share = np.cumsum(self._counts) / max(int(self._counts.sum()), 1)
        edges = np.linspace(-self._limit, self._limit, BINS + 1)
        low = edges[np.searchsorted(share, TAIL / 2, side="right")]
        high = edges[np.searchsorted(share, 1 - TAIL / 2) + 1]
        return max(self.lowest, min(float(low), 0.0)), min(self.highest, max(float(high), 0.0))

    def closest(self) -> tuple[float, float]:
        """Returns the range with the least mean squared error of 8 bits, from rounding inside and clipping outside."""
        centers = (np.arange(BINS) + 0.5) * (2 * self._limit / BINS) - self._limit
        seen = self._counts > 0
        counts, centers = self._counts[seen], centers[seen]

        def error(low: float, high: float) -> float:
            rounding = ((high - low) / (LEVELS - 1)) ** 2 / 12
            outside = centers - np.clip(centers, low, high)
            return float(counts @ np.where(outside == 0, rounding, outside**2))

        def shorter(end: float) -> list[float]:
            return [end * share for share in np.linspace(1, 0.2, 33)]

        low, high = self.lowest, self.highest
        for _ in range(3):  # each end in turn; neither moves far once the other is right
            low = min((error(end, high), end) for end in shorter(self.lowest))[1]
            high = min((error(low, end), end) for end in shorter(self.highest))[1]
        return low, high


#: The methods of calibration by name.
METHODS: dict[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": Histogram.everything,
    "percentile": Histogram.most,
    "mse": Histogram.closest,
}
