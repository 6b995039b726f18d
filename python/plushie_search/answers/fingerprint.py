"""Tells whether two pictures are the same one, encoded or resized otherwise.

Each picture is reduced to the mean colors of 16 × 16 cells. Encoding and resizing change all cells a little, colors
more than brightness; another photo, or a scarf that only one of two plushes has, changes some cells much. So
brightness is compared in 16 × 16 cells and color in 8 × 8. A hash of brightness alone, such as pHash, takes a toy in
two colors for one picture.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from .. import _core

#: Cells in a row and in a column.
CELLS = 16

#: How far the mean brightness of a cell and the mean color of four cells may differ, of 255. JPEG files of 100 pixels
#: stay below 5 and 6; plush toys that differ in one attribute are above 34 and above 17.
BRIGHTNESS, COLOR = 12, 14

#: How far the logarithm of the ratio of the sides may differ.
SHAPE = 0.04

#: The shares of red, green and blue in brightness.
SHARES = np.array((0.299, 0.587, 0.114), np.float32)

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
    apart = first["cells"].astype(np.float32) - second["cells"]
    brightness = np.abs(apart @ SHARES).max(axis=(1, 2), initial=0)
    coarse = apart.reshape(len(apart), CELLS // 2, 2, CELLS // 2, 2, 3).mean(axis=(2, 4))
    color = np.abs(coarse).max(axis=(1, 2, 3), initial=0)
    shape = np.abs(first["shape"] - second["shape"])
    alike: NDArray[np.bool_] = (brightness <= BRIGHTNESS) & (color <= COLOR) & (shape <= SHAPE)
    return alike


@functools.lru_cache(maxsize=512)
def _shares(length: int) -> NDArray[np.float32]:
    """Returns the share of each pixel of a line in the mean of each cell: shape (cells, length)."""
    edges = np.linspace(0, length, CELLS + 1)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (covered.clip(0) * (CELLS / length)).astype(np.float32)
