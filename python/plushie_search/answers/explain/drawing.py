"""Draws maps over pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .regions import Box

    Pixels = NDArray[np.uint8]

#: The color of the map, of its contour, and of the boxes of pairs.
HEAT = (230, 60, 0)
CONTOUR = (120, 20, 0)
BOXES = ((0, 110, 220), (20, 150, 90), (150, 60, 190))
#: How much of the color lies over the picture where the map has its maximum.
OPACITY = 0.75
#: The space between two pictures, in pixels.
GAP = 12


def resized(values: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Returns (h, w) or (h, w, c) values at another size, between cells linearly."""
    for axis, count in ((0, rows), (1, columns)):
        length = values.shape[axis]
        at = np.clip((np.arange(count) + 0.5) * length / count - 0.5, 0, length - 1)
        first = np.minimum(at.astype(int), max(0, length - 2))
        rest = (at - first).astype(np.float32)
        rest = rest.reshape([-1 if one == axis else 1 for one in range(values.ndim)])
        second = np.minimum(first + 1, length - 1)
        values = values.take(first, axis) * (1 - rest) + values.take(second, axis) * rest
    return values


def overlaid(pixels: Pixels, heat: NDArray[np.float32], scale: float, *, opacity: float = OPACITY) -> Pixels:
    """Returns a picture (h, w, 3) in gray under a map: nothing at 0 and below, the full color at ``scale``.

    A line is drawn around what is above half of the scale.
    """
    rows, columns, _ = pixels.shape
    share = np.clip(resized(heat, rows, columns) / max(scale, 1e-9), 0, 1)
    gray = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    cover = (opacity * share)[:, :, None]
    drawn = gray[:, :, None] * (1 - cover) + np.array(HEAT, np.float32) * cover
    inside = share >= 0.5
    edge = np.zeros_like(inside)
    edge[1:] |= inside[1:] != inside[:-1]
    edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    drawn[edge] = CONTOUR
    shown: Pixels = np.clip(drawn + 0.5, 0, 255).astype(np.uint8)
    return shown


def framed(pixels: Pixels, boxes: Iterable[Box]) -> Pixels:
    """Returns a picture with boxes in it, each in a color of its own."""
    drawn = pixels.copy()
    rows, columns, _ = drawn.shape
    for number, (left, top, right, bottom) in enumerate(boxes):
        color = BOXES[number % len(BOXES)]
        x, end = int(left * columns), max(int(right * columns), int(left * columns) + 1)
        y, below = int(top * rows), max(int(bottom * rows), int(top * rows) + 1)
        for band in (
            (slice(y, y + 2), slice(x, end)),
            (slice(max(below - 2, 0), below), slice(x, end)),
            (slice(y, below), slice(x, x + 2)),
            (slice(y, below), slice(max(end - 2, 0), end)),
        ):
            drawn[band] = color
    return drawn


def beside(pictures: Iterable[Pixels]) -> Pixels:
    """Returns pictures side by side on white, all as high as the highest."""
    row = list(pictures)
    height = max(len(one) for one in row)
    parts: list[Pixels] = []
    for pixels in row:
        rows, columns, _ = pixels.shape
        if rows != height:
            wide = max(1, round(columns * height / rows))
            pixels = np.round(resized(pixels.astype(np.float32), height, wide)).astype(np.uint8)
        parts += [pixels, np.full((height, GAP, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)
