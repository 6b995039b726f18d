"""Describes the parts of a picture, and compares them with the same parts of golden samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._core import ModelError, decode
from ..explain.windows import Windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ... import _core

#: Where the tiles of a picture begin, and how long they are, in shares of each side.
STARTS, LENGTH = (0.0, 0.25, 0.5), 0.5
#: The least side at which a picture is decoded, in pixels.
SIDE = 640
#: The share of all parts by which the score of a picture is told: the mean of those that differ most.
TOP = 0.01
#: The fewest samples whose parts can be compared: each is compared with others that differ from each other.
FEWEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of a picture.

    Attributes:
        size: Width and height of the picture.
        features: float32 (tiles, rows, columns, channels).
        boxes: float64 (tiles, rows, columns, 4): left, top, right and bottom, in shares of the picture.
        reach: How many parts away the same detail of another sample may be.
    """

    size: tuple[int, int]
    features: NDArray[np.float32]
    boxes: NDArray[np.float64]
    reach: int


def parts_of(core: _core.Engine, image: Any, model: str) -> Parts:
    """Returns the parts of a picture: by the feature maps of nine overlapping tiles, or else by small windows."""
    try:
        return _tiled(core, decode(image, at_least=(SIDE, SIDE)), model)
    except ModelError:
        pass  # its vectors are not made of feature maps
    windows = Windows.of(core, image, detail=1, model=model)
    side = round(windows.small**0.5)
    features = windows.added[: windows.small].reshape(1, side, side, -1)
    return Parts(windows.size, features, windows.boxes[: windows.small].reshape(1, side, side, 4), reach=0)


def _tiled(core: _core.Engine, pixels: NDArray[np.uint8], model: str) -> Parts:
    height, width, _ = pixels.shape
    features, boxes = [], []
    for above in STARTS:
        for begin in STARTS:
            rows = slice(int(above * height), max(int((above + LENGTH) * height), int(above * height) + 1))
            columns = slice(int(begin * width), max(int((begin + LENGTH) * width), int(begin * width) + 1))
            maps, covered = core.feature_maps(np.ascontiguousarray(pixels[rows, columns]), model)
            finest = max(maps, key=lambda one: one.shape[1] * one.shape[2])
            features.append(np.moveaxis(finest, 0, -1))
            boxes.append(_boxes(finest.shape[1:], covered, (begin, above)))
    return Parts((width, height), np.stack(features), np.stack(boxes), reach=1)


def _boxes(
    shape: tuple[int, ...], covered: tuple[float, float, float, float], start: tuple[float, float]
) -> NDArray[np.float64]:
    """Returns the boxes (rows, columns, 4) of the places of a tile that begins there, in shares of the picture."""
    rows, columns = shape
    left, top, right, bottom = covered
    x = start[0] + LENGTH * np.linspace(left, right, columns + 1)
    y = start[1] + LENGTH * np.linspace(top, bottom, rows + 1)
    edges = (x[None, :-1], y[:-1, None], x[None, 1:], y[1:, None])
    return np.stack([np.broadcast_to(edge, (rows, columns)) for edge in edges], axis=-1)


class Bank:
    """The parts of golden samples: a memory bank as PatchCore's (Roth et al. 2022), in which each place has its own.

    Args:
        samples: The parts of each sample, of one model and one shape; :data:`FEWEST` or more.
        free: Whether the same detail may be anywhere in another sample, as in photos by hand; otherwise it is in the
            same place, as with a fixed camera.
    """

    def __init__(self, samples: Sequence[Parts], *, free: bool) -> None:
        self.samples = tuple(samples)
        self._distance = _anywhere if free else _in_place
        count = len(samples)
        # How far each part of one sample is from another: (samples, samples, tiles, rows, columns).
        self._between = np.full((count, count, *samples[0].features.shape[:3]), np.inf, np.float32)
        for one, other in np.ndindex(count, count):
            if one != other:
                self._between[one, other] = self._distance(samples[one], samples[other])
        # Copies of one picture differ by nothing: a hundredth of the features stands for noise.
        self._noise = 0.01 * float(np.mean([np.linalg.norm(one.features, axis=-1).mean() for one in samples])) + 1e-9
        everyone = list(range(count))
        self._usual = self._spread(everyone)
        #: The score of each sample beside the others, which know nothing of it.
        self.scores = [self._score_of(place, [one for one in everyone if one != place]) for place in everyone]

    def compare(self, parts: Parts) -> tuple[float, NDArray[np.float32]]:
        """Returns the score of a picture, and how far each part (tiles, rows, columns) is from the nearest sample.

        1 is about the distance that the samples have from each other.
        """
        nearest = np.min([self._distance(parts, sample) for sample in self.samples], axis=0)
        ratios = nearest / self._usual
        return _score(ratios), ratios

    def _spread(self, places: list[int]) -> NDArray[np.float32]:
        """Returns how far a part of one of these samples is from the nearest other one, on average."""
        nearest: NDArray[np.float32] = self._between[np.ix_(places, places)].min(axis=1).mean(axis=0)
        return nearest + max(float(nearest.mean()), self._noise)

    def _score_of(self, place: int, others: list[int]) -> float:
        return _score(self._between[place, others].min(axis=0) / self._spread(others))


def _score(ratios: NDArray[np.float32]) -> float:
    count = max(1, round(TOP * ratios.size))
    return float(np.sort(ratios, axis=None)[-count:].mean())


def _in_place(parts: Parts, other: Parts) -> NDArray[np.float32]:
    """Returns the distance of each part from the nearest in the same place or beside it."""
    rows, columns = parts.features.shape[1:3]
    reach = parts.reach
    padded = np.pad(other.features, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    shifts = [
        np.linalg.norm(parts.features - padded[:, y : y + rows, x : x + columns], axis=-1)
        for y in range(2 * reach + 1)
        for x in range(2 * reach + 1)
    ]
    nearest: NDArray[np.float32] = np.min(shifts, axis=0)
    return nearest


def _anywhere(parts: Parts, other: Parts) -> NDArray[np.float32]:
    """Returns the distance of each part from the nearest anywhere in the other picture."""
    own, rest = (one.features.reshape(-1, one.features.shape[-1]) for one in (parts, other))
    squares = (own**2).sum(1)[:, None] + (rest**2).sum(1)[None] - 2 * own @ rest.T
    nearest: NDArray[np.float32] = np.sqrt(np.maximum(squares.min(1), 0)).reshape(parts.features.shape[:3])
    return nearest
