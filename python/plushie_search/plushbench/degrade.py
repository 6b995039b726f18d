"""Degrades photos: blur of lens or motion, downscaling, and JPEG compression."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .. import _core

#: Of a Gaussian blur and of a motion blur, in pixels of a picture of 224; the share of the side kept; libjpeg's scale.
SIGMA, LENGTH, SENT, QUALITY = (1.0, 3.0), (6, 18), (0.45, 0.8), (10, 30)

Picture = NDArray[np.uint8]


def degrade(picture: Picture, *, seed: int) -> bytes:
    """Returns a JPEG file of the picture, blurred by lens or motion, downscaled, and of quality 10 to 30."""
    dice = np.random.default_rng(seed)
    unit = picture.shape[0] / 224
    if dice.random() < 0.5:
        blurred = gaussian_blur(picture, dice.uniform(*SIGMA) * unit)
    else:
        blurred = motion_blur(picture, dice.uniform(*LENGTH) * unit, dice.uniform(0, math.pi))
    side = round(picture.shape[0] * dice.uniform(*SENT))
    return _core.thumbnail(blurred, side, quality=int(dice.integers(QUALITY[0], QUALITY[1] + 1)))


def gaussian_blur(picture: Picture, sigma: float) -> Picture:
    """Returns the picture blurred by a Gaussian of this standard deviation in pixels; edges are repeated."""
    reach = math.ceil(3 * sigma)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    rows = _summed(picture, [(offset, 0) for offset in offsets.tolist()], weights)
    return _rounded(_summed(rows, [(0, offset) for offset in offsets.tolist()], weights))


def motion_blur(picture: Picture, length: float, angle: float) -> Picture:
    """Returns the picture blurred along a line of this length in pixels; edges are repeated."""
    steps = max(2, math.ceil(length) + 1)
    along = np.linspace(-length / 2, length / 2, steps)
    shifts = [(round(step * math.sin(angle)), round(step * math.cos(angle))) for step in along.tolist()]
    return _rounded(_summed(picture, shifts, np.full(steps, 1 / steps)))


def _summed(
    picture: NDArray[np.uint8] | NDArray[np.float32], shifts: list[tuple[int, int]], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Returns the weighted sum of copies that are shifted by whole pixels."""
    height, width = picture.shape[:2]
    reach = max(max(abs(down), abs(right)) for down, right in shifts)
    padded = np.pad(picture.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros(picture.shape, np.float32)
    for (down, right), weight in zip(shifts, weights.tolist(), strict=True):
        total += np.float32(weight) * padded[reach + down :, reach + right :][:height, :width]
    return total


def _rounded(picture: NDArray[np.float32]) -> Picture:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
