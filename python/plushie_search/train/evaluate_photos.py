"""How good a model is on real photos of groceries: the phone photos of `val` among 81 products, by nearest vector."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Figure = tuple[str, NDArray[np.float64]]
REPEATS = 10


class Encoder(Protocol):
    """What turns pictures and texts into unit vectors."""

    def encode_images(self, images: list[Any], /) -> Vectors:
        """One row per picture."""

    def encode_texts(self, texts: list[str], /) -> Vectors:
        """One row per text."""


def figures(encoder: Encoder, root: Path) -> Iterator[Figure]:
    """Products known by one, three or five random photos of `train`, or by their studio picture."""
    with (root / "classes.csv").open(newline="", encoding="utf-8") as file:
        studio = {
            row["Class Name (str)"]: root / row["Iconic Image Path (str)"].lstrip("/") for row in csv.DictReader(file)
        }
    products = sorted(studio)
    shots = _by_product(root / "train")
    judged = _by_product(root / "val")
    queries = _encode(encoder, [path for name in products for path in judged[name]])
    truth = np.array([number for number, name in enumerate(products) for _ in judged[name]])
    pool = {name: _encode(encoder, shots[name]) for name in products}
    for count in (1, 3, 5):
        outcomes = []
        for repeat in range(REPEATS):
            dice = np.random.default_rng(repeat)
            drawn = [pool[name][dice.permutation(len(pool[name]))[:count]].mean(0) for name in products]
            outcomes.append(_right(np.stack(drawn), queries, truth))
        yield f"grocery photos, {count} shots each, accuracy", np.mean(outcomes, 0)
    known = _encode(encoder, [studio[name] for name in products])
    yield "grocery photos, studio picture each, accuracy", _right(known, queries, truth)


def _by_product(folder: Path) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for path in sorted(folder.rglob("*.jpg")):
        found[path.parent.name].append(path)
    return found


def _encode(encoder: Encoder, paths: Sequence[Path]) -> Vectors:
    return np.concatenate(
        [encoder.encode_images([str(path) for path in paths[start : start + 64]]) for start in range(0, len(paths), 64)]
    )


def _right(known: Vectors, queries: Vectors, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    return ((queries @ unit.T).argmax(1) == truth).astype(np.float64)
