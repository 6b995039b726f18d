"""Renders plushes for training: pairs of look-alikes in several views each, stored on disk in chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .. import _core
from ..plush import facts as truth

CHUNK = 250
"""The number of pairs in a file."""
FIRST_SEED = 1_000_000_000
"""The first seed of training plushes; those of the benchmark are below."""
Scene = Literal["studio", "everyday", "light", "pose", "occluded", "head_only", "cluttered"]
SCENES: tuple[Scene, ...] = (
    *("studio", "everyday", "light", "pose", "cluttered"),
    *("everyday", "pose", "occluded", "head_only"),
)
"""The scene of each view of a plush."""
CLEAR = 7
"""The number of scenes that show the whole plush, so that its facts can be read off the picture."""
PASTED = (5, 6, 8)
"""The views that are cut out and pasted onto a real photo, if there are any."""
SIDE = 160
VIEWS = len(SCENES)


def attributes(pairs: int) -> list[Mapping[str, Any]]:
    """Returns the attributes of the training plushes: pairs whose two differ in one."""
    plushes = (_core.Plush(FIRST_SEED + pair) for pair in range(pairs))
    return [one.attributes for plush in plushes for one in (plush, plush.lookalike(0))]


class Plushes:
    """Pairs of training plushes; the two of a pair differ in one attribute."""

    def __init__(self, work: Path, pairs: int, *, threads: int, photos: NDArray[np.uint8] | None = None) -> None:
        self._pictures: list[NDArray[np.uint8]] = []
        self.attributes: list[Mapping[str, Any]] = []
        for number in range((pairs + CHUNK - 1) // CHUNK):
            pictures, about = work / f"plushes-{number:03}.npy", work / f"plushes-{number:03}.json"
            if not about.exists():
                _render(number, pictures, about, threads, photos)
            self._pictures.append(np.load(pictures, mmap_mode="r", allow_pickle=False))
            self.attributes += json.loads(about.read_text(encoding="utf-8"))
        self.facts = truth.table(truth.facts_of(attributes) for attributes in self.attributes)

    def __len__(self) -> int:
        return len(self.attributes)

    def pictures(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns view `views[i]` of plush `rows[i]`, uint8 `(n, 3, SIDE, SIDE)`."""
        size = 2 * CHUNK
        return np.stack([self._pictures[row // size][row % size, view] for row, view in zip(rows, views, strict=True)])

    def alike(self, count: int, chance: np.random.Generator) -> NDArray[np.int64]:
        """Draws pairs of one species or of one color, which are hard to distinguish."""
        name = ("species", "color")[int(chance.integers(2))]
        wanted = self.attributes[2 * int(chance.integers(len(self) // 2))][name]
        pairs = np.array([n for n in range(len(self) // 2) if self.attributes[2 * n][name] == wanted])
        return chance.choice(pairs, min(count, len(pairs)), replace=False)


def _render(number: int, pictures: Path, about: Path, threads: int, photos: NDArray[np.uint8] | None) -> None:
    shape = (2 * CHUNK, VIEWS, 3, SIDE, SIDE)
    partial = pictures.with_suffix(".partial")
    kept = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)

    def draw(pair: int) -> list[Mapping[str, Any]]:
        plush = _core.Plush(FIRST_SEED + number * CHUNK + pair)
        alike = plush.lookalike(0)
        for place, one in enumerate((plush, alike)):
            row = 2 * pair + place
            for position, scene in enumerate(SCENES):
                view = FIRST_SEED + (number * 2 * CHUNK + row) * VIEWS + position
                if photos is not None and position in PASTED:
                    picture = _paste(one.cutout(size=SIDE, view=view, scene=scene), photos, view)
                else:
                    picture = one.render(size=SIDE, view=view, scene=scene)
                kept[row, position] = picture.transpose(2, 0, 1)
        return [plush.attributes, alike.attributes]

    with ThreadPoolExecutor(threads) as pool:
        attributes = [one for both in pool.map(draw, range(CHUNK)) for one in both]
    kept.flush()
    partial.rename(pictures)
    about.write_text(json.dumps(attributes), encoding="utf-8")


def _paste(cut: NDArray[np.uint8], photos: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Returns a cut-out plush pasted onto a region of a photo, with soft edges."""
    chance = np.random.default_rng(seed)
    behind = photos[int(chance.integers(len(photos))), int(chance.integers(photos.shape[1]))].transpose(1, 2, 0)
    ground = Image.fromarray(behind).resize(cut.shape[1::-1])
    edge = Image.fromarray(cut[..., 3]).filter(ImageFilter.GaussianBlur(0.6))
    ground.paste(Image.fromarray(cut[..., :3]), mask=edge)
    return np.asarray(ground)
