"""A model of the mean colors of pictures, whose work a test may count and disturb."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class Mean:
    """A model that says how many pictures it has seen, and fails or does something else on the way."""

    name, dim, fingerprint, batch = "mean", 3, "mean 1", 8

    def __init__(self, meanwhile: Callable[[int], object] = lambda seen: None) -> None:
        self.seen = 0
        self._meanwhile = meanwhile

    def encode_images(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        self.seen += len(images)
        self._meanwhile(self.seen)
        return np.stack([1 + image.mean((0, 1)) for image in images])
