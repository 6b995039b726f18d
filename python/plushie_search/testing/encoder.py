"""A model so small that its vectors can be computed by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The dimension of the vectors.
DIM = 24


class SuiteEncoder:
    """An encoder of pictures by their mean colors, and of texts by their words.

    A picture's vector is made of the mean color of each quarter, a text's of fixed random vectors of its words. It
    needs no network, no file and no package but numpy.
    """

    name = "suite"
    dim = DIM
    fingerprint = "suite-encoder-1"
    languages = ("en",)

    def encode_images(self, images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Returns the vectors of pictures, uint8 arrays of shape (height, width, 3)."""
        rows = []
        for image in images:
            height, width = image.shape[0] // 2 or 1, image.shape[1] // 2 or 1
            quarters = (
                image[:height, :width],
                image[:height, -width:],
                image[-height:, :width],
                image[-height:, -width:],
            )
            colors = np.concatenate([one.reshape(-1, 3).mean(axis=0) / 255 - 0.4 for one in quarters])
            rows.append(np.concatenate([colors, colors**2 - 0.1]))
        return np.array(rows, np.float32).reshape(len(rows), DIM)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the vectors of texts: the sums of those of their words."""
        rows = [np.sum([_word(word) for word in text.lower().split()] or [_word("")], axis=0) for text in texts]
        return np.array(rows, np.float32).reshape(len(rows), DIM)


def _word(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=DIM)


def picture(number: int) -> NDArray[np.uint8]:
    """Returns a picture of four colors that its number chooses: uint8 of shape (24, 24, 3)."""
    colors = np.random.default_rng(number).integers(0, 256, size=(2, 2, 3), dtype=np.uint8)
    return colors.repeat(12, axis=0).repeat(12, axis=1)


def unit(vectors: Any) -> NDArray[np.float64]:
    """Returns vectors scaled to length 1."""
    array = np.asarray(vectors, np.float64)
    scaled: NDArray[np.float64] = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return scaled
