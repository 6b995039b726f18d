"""The interface of a model to a benchmark."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _core

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Encodes pictures and texts into unit vectors, as `_core.Encoder` does."""

    def encode_images(self, images: list[Any], /) -> Vectors:
        """Returns one row per picture."""

    def encode_texts(self, texts: list[str], /) -> Vectors:
        """Returns one row per text; raises `ModelError` if the model reads none."""


def reads_texts(encoder: Encoder) -> bool:
    """Returns whether the model has a text tower."""
    try:
        encoder.encode_texts(["a plush"])
    except _core.ModelError:
        return False
    return True
