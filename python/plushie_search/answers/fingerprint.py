"""Tells whether two pictures are the same one, encoded or resized otherwise.

Each picture is reduced to the mean colors of 16 × 16 cells. Encoding and resizing change all cells a little; another
photo, or a scarf that only one of two plushes has, changes some cells much. A hash of brightness alone, such as pHash,
takes a toy in two colors for one picture.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from .. import _core

#: Cells in a row and in a column.
CELLS = 16

#: How far the mean color of a cell may differ, of 255, and the logarithm of the ratio of the sides.
COLOR, SHAPE = 12, 0.04

#: The type of a fingerprint: the mean colors of the cells, and the logarithm of width / height.
FINGERPRINT = np.dtype([("cells", np.uint8, (CELLS, CELLS, 3)), ("shape", np.float32)])


def fingerprint(picture: bytes) -> NDArray[np.void]:
    """Returns the fingerprint of a picture file, of the type ``FINGERPRINT``.

    Raises:
        PictureError: It cannot be decoded.
    """
    pixels = _core.decode(picture)
    height, width, _ = pixels.shape
    rows = _shares(height) @ pixels.reshape(height, -1).astype(np.float32)
    cells = np.einsum("cw,rwk->rck", _shares(width), rows.reshape(CELLS, width, 3))
    found = np.zeros((), FINGERPRINT)
    found["cells"] = np.rint(cells).clip(0, 255)
    found["shape"] = np.log(width / height)
    return found


def same(first: NDArray[np.void], second: NDArray[np.void]) -> NDArray[np.bool_]:
    """Returns for each pair of fingerprints, of shape (n,), whether their pictures are the same: shape (n,)."""
    apart = np.abs(first["cells"].astype(np.int16) - second["cells"]).max(axis=(1, 2, 3), initial=0)
    return (apart <= COLOR) & (np.abs(first["shape"] - second["shape"]) <= SHAPE)


@functools.lru_cache(maxsize=512)
def _shares(length: int) -> NDArray[np.float32]:
    """Returns the share of each pixel of a line in the mean of each cell: shape (cells, length)."""
    edges = np.linspace(0, length, CELLS + 1)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (covered.clip(0) * (CELLS / length)).astype(np.float32)
