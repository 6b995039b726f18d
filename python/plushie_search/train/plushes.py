"""Rendered plushes for training: pairs of look-alikes in several views each, kept on disk in chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plushie_search import _core
from plushie_search.train import captions

CHUNK = 500
"""Pairs in one file."""
FIRST_SEED = 1_000_000_000
"""Training plushes have seeds from here on; evaluation stays below."""
Scene = Literal["studio", "everyday", "light", "pose", "occluded", "head_only", "cluttered"]
_USUAL: tuple[Scene, ...] = ("studio", "everyday", "everyday", "light", "pose")
_HARD: tuple[Scene, ...] = ("cluttered", "occluded", "head_only")
SIDE = 128
VIEWS = len(_USUAL) + 1


class Plushes:
    """`pairs` pairs of training plushes; the two of a pair differ in one attribute."""

    def __init__(self, work: Path, pairs: int, *, threads: int) -> None:
        self._pictures: list[NDArray[np.uint8]] = []
        self.attributes: list[Mapping[str, Any]] = []
        for number in range((pairs + CHUNK - 1) // CHUNK):
            pictures, about = work / f"plushes-{number:03}.npy", work / f"plushes-{number:03}.json"
            if not about.exists():
                _render(number, pictures, about, threads)
            self._pictures.append(np.load(pictures, mmap_mode="r"))
            self.attributes += json.loads(about.read_text(encoding="utf-8"))
        self.facts = captions.table(captions.facts_of(attributes) for attributes in self.attributes)

    def __len__(self) -> int:
        return len(self.attributes)

    def pictures(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.uint8]:
        """View `views[i]` of plush `rows[i]`, as `(n, 3, SIDE, SIDE)`."""
        size = 2 * CHUNK
        return np.stack([self._pictures[row // size][row % size, view] for row, view in zip(rows, views, strict=True)])


def scenes(row: int) -> tuple[Scene, ...]:
    """The circumstances of each view of a plush."""
    return (*_USUAL, _HARD[row // 2 % len(_HARD)])


def clear(rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the whole plush can be seen, so that what is said about it can be read off the picture."""
    return ~((views == VIEWS - 1) & (rows // 2 % len(_HARD) > 0))


def _render(number: int, pictures: Path, about: Path, threads: int) -> None:
    shape = (2 * CHUNK, VIEWS, 3, SIDE, SIDE)
    partial = pictures.with_suffix(".partial")
    kept = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)

    def draw(pair: int) -> list[Mapping[str, Any]]:
        plush = _core.Plush(FIRST_SEED + number * CHUNK + pair)
        alike = plush.lookalike(0)
        for place, one in enumerate((plush, alike)):
            row = 2 * pair + place
            for position, scene in enumerate(scenes(row)):
                view = (number * 2 * CHUNK + row) * VIEWS + position
                picture = one.render(size=SIDE, view=FIRST_SEED + view, scene=scene)
                kept[row, position] = np.asarray(picture).transpose(2, 0, 1)
        return [plush.attributes, alike.attributes]

    with ThreadPoolExecutor(threads) as pool:
        attributes = [one for both in pool.map(draw, range(CHUNK)) for one in both]
    kept.flush()
    partial.rename(pictures)
    about.write_text(json.dumps(attributes), encoding="utf-8")
