"""Encodes the pictures that the text tower learns from, with the finished picture network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .plushes import FIRST_SEED, VIEWS, Scene

SCENES: tuple[Scene, ...] = ("studio", "everyday", "cluttered")
"""The scenes of the plushes that texts are compared with; they show the whole plush."""
SIDE = 224
BATCH = 64


def of_plushes(encoder: _core.Encoder, pairs: int, work: Path, *, threads: int) -> NDArray[np.float32]:
    """Returns the vectors of training plushes, shape (2 * pairs, scenes, dimension), in the order of `Plushes`."""
    kept = work / f"plush-vectors-{encoder.fingerprint[:16]}-{pairs}.npy"
    if not kept.exists():
        with ThreadPoolExecutor(threads) as pool:
            vectors = _encode(encoder, (picture for pictures in pool.map(_draw, range(pairs)) for picture in pictures))
        np.save(kept, vectors.reshape(2 * pairs, len(SCENES), -1))
    return np.asarray(np.load(kept, allow_pickle=False))


def of_photos(encoder: _core.Encoder, paths: Sequence[Path], work: Path) -> NDArray[np.float32]:
    """Returns the vectors of photos, shape (n, dimension)."""
    told = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()
    kept = work / f"photo-vectors-{encoder.fingerprint[:16]}-{told[:16]}.npy"
    if not paths:
        return np.zeros((0, encoder.dim), np.float32)
    if not kept.exists():
        np.save(kept, _encode(encoder, map(str, paths)))
    return np.asarray(np.load(kept, allow_pickle=False))


def _draw(pair: int) -> list[NDArray[np.uint8]]:
    plush = _core.Plush(FIRST_SEED + pair)
    return [
        one.render(size=SIDE, view=FIRST_SEED + (2 * pair + place) * VIEWS + position, scene=scene)
        for place, one in enumerate((plush, plush.lookalike(0)))
        for position, scene in enumerate(SCENES)
    ]


def _encode(encoder: _core.Encoder, pictures: Iterator[Any]) -> NDArray[np.float32]:
    parts = []
    while batch := list(islice(pictures, BATCH)):
        parts.append(encoder.encode_images(batch))
    return np.concatenate(parts)
