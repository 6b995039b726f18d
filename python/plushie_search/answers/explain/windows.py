"""Reads a picture's windows from the core, and makes maps of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of a picture.

    Attributes:
        size: Width and height of the upright picture.
        small: How many of them, the first ones, are small: they make a square grid, as the others do.
        boxes: float64 (n, 4): left, top, right and bottom, in shares of the picture.
        added: float32 (n, dim): the unit vector of the blurred picture with each window sharp, less that of the wholly
            blurred one.
    """

    size: tuple[int, int]
    small: int
    boxes: NDArray[np.float64]
    added: NDArray[np.float32]

    @classmethod
    def of(cls, core: _core.Engine, image: Any, *, detail: int, model: str) -> Windows:
        """Encodes the windows of a picture."""
        size, small, boxes, vectors, blurred = core.windows(image, detail=detail, model=model)
        return cls(size, small, boxes, vectors - blurred)

    def gains(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the share of each window in the cosine with a unit vector (dim,)."""
        return self.added @ vector

    def heat(self, vector: NDArray[np.float32]) -> tuple[tuple[int, int], NDArray[np.float32], float]:
        """Returns the picture's size, the map (h, w) of a unit vector (dim,), and what an average window adds.

        The map has what each part adds to the cosine beyond an average window of its size: any sharp window makes a
        blurred picture more like a picture, whatever it shows.
        """
        gains = self.gains(vector)
        average = float(gains.mean())
        for some in (gains[: self.small], gains[self.small :]):
            some -= some.mean() if len(some) else 0
        return self.size, self._spread(gains), average

    def contribution(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the map (h, w) of what each part adds to the cosine with a vector (dim,) in all."""
        return self._spread(self.gains(vector))

    def _spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return _core.spread_windows(self.boxes.tolist(), values.tolist(), self.size)

    @property
    def passes(self) -> int:
        """How many pictures went through the network."""
        return len(self.boxes) + 1
