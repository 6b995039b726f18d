"""An encoder whose vectors a test chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Pixels:
    """An encoder of pictures of one pixel, whose color is the number of a vector; and of texts that are numbers."""

    def __init__(self, vectors: Vectors, name: str = "pixels") -> None:
        self.name = self.fingerprint = name
        self.vectors, self.dim = vectors, vectors.shape[1]

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        return self.vectors[[int.from_bytes(bytes(image[0, 0]), "big") for image in images]]

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return self.vectors[[int(text) for text in texts]]


def pixel(number: int) -> NDArray[np.uint8]:
    """Returns the picture of a vector's number."""
    return np.frombuffer(number.to_bytes(3, "big"), np.uint8).reshape(1, 1, 3)
