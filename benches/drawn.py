"""Vectors that other benchmarks search: clusters, or rendered plushes; queries about them, and their exact answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from identify import FIRST, Studio
from numpy.typing import NDArray

from plushie_search import _core
from plushie_search.benchmark.measure import K
from plushie_search.hub import as_encoder

#: Vectors that are made and compared at once.
STEP = 50_000
#: The share of a text's vector that all texts have in common, and that of the picture it is about.
COMMON, ABOUT = 0.85, 0.35
Vectors = NDArray[np.float32]


class Source(Protocol):
    """Draws vectors, the same for the same numbers, and vectors of texts about pictures that it has drawn."""

    def draw(self, start: int, rows: int) -> Vectors: ...

    def texts(self, start: int, pictures: Vectors) -> Vectors: ...


class Clusters:
    """Unit vectors around a hundredth as many centers."""

    def __init__(self, count: int, dim: int) -> None:
        self.centers = np.random.default_rng(0).standard_normal((max(1, count // 100), dim), dtype=np.float32)

    def draw(self, start: int, rows: int) -> Vectors:
        random = np.random.default_rng([1, start])
        drawn = random.standard_normal((rows, self.centers.shape[1]), dtype=np.float32)
        return unit(drawn + self.centers[random.integers(len(self.centers), size=rows)])

    def texts(self, start: int, pictures: Vectors) -> Vectors:
        """One direction that all texts share, that of the picture, and noise."""
        random = np.random.default_rng(3)
        common = unit(random.standard_normal((1, pictures.shape[1]), dtype=np.float32))
        noise = unit(random.standard_normal(pictures.shape, dtype=np.float32))
        return unit(COMMON * common + ABOUT * pictures + (1 - COMMON**2 - ABOUT**2) ** 0.5 * noise)


class Plushes:
    """Vectors of rendered plushes, of which each further round differs as another picture of one plush does."""

    def __init__(self, folder: Path) -> None:
        self.encoder = as_encoder("plushie-mini", threads=1)
        count = sum(len(np.load(name, mmap_mode="r")) for name in folder.glob("*-studio-0-*.npy"))
        self.seeds = range(FIRST, FIRST + count)
        self.vectors = Studio(self.encoder, folder).vectors(self.seeds, 0, "studio")
        other = np.concatenate([np.load(name, allow_pickle=False) for name in sorted(folder.glob("*-everyday-*.npy"))])
        # Which picture shows which plush is told by the nearest one: nine of ten are right.
        nearest = np.concatenate([(some @ self.vectors.T).argmax(1) for some in np.array_split(other, 32)])
        differences = other - self.vectors[nearest]
        self.differences = differences[np.linalg.norm(differences, axis=1) < 1]

    def draw(self, start: int, rows: int) -> Vectors:
        random = np.random.default_rng([2, start])
        numbers = np.arange(start, start + rows)
        drawn = self.vectors[numbers % len(self.vectors)].copy()
        again = numbers >= len(self.vectors)
        drawn[again] += self.differences[random.integers(len(self.differences), size=int(again.sum()))]
        return unit(drawn)

    def texts(self, start: int, pictures: Vectors) -> Vectors:
        """The captions of the plushes."""
        numbers = range(start, start + len(pictures))
        return self.encoder.encode_texts(
            [_core.Plush(self.seeds[number % len(self.seeds)]).caption("en") for number in numbers]
        )


class Numbered:
    """A model whose picture or text is the number of a vector that was drawn before; other texts are of `reader`."""

    name, fingerprint, cache = "numbered", "numbered", 1

    def __init__(self, pictures: Vectors, texts: Vectors, reader: _core.Encoder | None = None) -> None:
        self.pictures, self.texts, self.reader, self.dim = pictures, texts, reader, pictures.shape[1]

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        return self.pictures[[int.from_bytes(bytes(image[0, 0]), "big") for image in images]]

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        if self.reader is not None and not texts[0].isdecimal():
            return self.reader.encode_texts(list(texts))
        return self.texts[[int(text) for text in texts]]


def unit(rows: Vectors) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def blocks(source: Source, count: int) -> Iterable[tuple[int, Vectors]]:
    """Blocks of the first vectors, each with the number of its first row."""
    return ((start, source.draw(start, min(STEP, count - start))) for start in range(0, count, STEP))


def best(drawn: Iterable[tuple[int, Vectors]], queries: Vectors) -> NDArray[np.int64]:
    """The exact best rows of each query, the best first."""
    scores, rows = np.full((len(queries), K), -np.inf, np.float32), np.zeros((len(queries), K), np.int64)
    for start, block in drawn:
        found = queries @ block.T
        some = np.argpartition(-found, K, axis=1)[:, :K]
        scores = np.concatenate([scores, np.take_along_axis(found, some, 1)], axis=1)
        rows = np.concatenate([rows, some + start], axis=1)
        order = np.argsort(-scores, axis=1)[:, :K]
        scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    return rows
