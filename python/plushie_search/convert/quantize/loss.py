"""Compares a faster model with the original: cosines of vectors, equal neighbors, time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core
from ..._core import PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The least number of pictures: fewer give no reliable ranges and loss.
FEWEST = 40
#: The number of pictures in a batch; Ctrl-C works after each batch.
BATCH = 32

#: The number of neighbors that are compared.
NEIGHBORS = 10

#: The number of timings of each model.
ROUNDS = 20

#: The number of rows that are compared with all others at a time.
BLOCK = 1024


def vectors(encoder: _core.Encoder, paths: Sequence[Path]) -> Iterator[tuple[Path, NDArray[np.float32] | str]]:
    """Yields each picture with its vector, or with the reason why it has none, in order."""
    for start in range(0, len(paths), BATCH):
        some: list[Any] = list(paths[start : start + BATCH])
        try:
            yield from zip(some, encoder.encode_images(some), strict=True)
        except PictureError:
            for path in some:
                try:
                    [vector] = encoder.encode_images([path])
                except PictureError as error:
                    yield path, str(error)
                else:
                    yield path, vector


def overlap(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Returns the mean share of the nearest neighbors of each row that are the same before and after."""
    same = 0
    for start in range(0, len(before), BLOCK):
        near = [_nearest(rows, slice(start, start + BLOCK)) for rows in (before, after)]
        same += sum(len(np.intersect1d(one, other)) for one, other in zip(*near, strict=True))
    return same / (NEIGHBORS * len(before))


def _nearest(rows: NDArray[np.float32], which: slice) -> NDArray[np.int64]:
    scores = rows[which] @ rows.T
    numbers = np.arange(len(rows))[which]
    scores[np.arange(len(numbers)), numbers] = -np.inf
    nearest: NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBORS]
    return nearest


def milliseconds(encoders: Sequence[_core.Encoder], paths: Sequence[Path], step: Callable[[], None]) -> list[float]:
    """Returns the median CPU time in ms of each encoder from a picture file to its vector, timed by turns."""
    taken: list[list[float]] = [[] for _ in encoders]
    for number in range(ROUNDS + 1):
        path = paths[number % len(paths)]
        for encoder, times in zip(encoders, taken, strict=True):
            start = time.process_time()
            encoder.encode_images(path)
            if number:  # the first one also fills caches
                times.append(1000 * (time.process_time() - start))
        step()
    return [statistics.median(times) for times in taken]
