"""Computes the rank of the right item among any number of items in constant memory.

A query's rank is 1 plus the number of other items that score as high as its own or higher: ties count as failures.
Queries and the references of their own items are encoded first. All items then pass by in chunks and are counted, so
that memory does not grow with their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Gallery = Callable[[int, int], Vectors]
"""The references of the items from one number to below another, of shape (items, references, dimension)."""

CHUNK = 256
"""The number of items in memory."""
BLOCK = 1024
"""The number of queries that are compared with them at once."""
OTHERS = 1 << 62
"""The number of the first distractor: an item that is relevant to no query."""
TIE = 1e-6
"""The least difference of cosines: rounding depends on the order of summation."""


class Ranks:
    """The ranks of queries among the items counted so far.

    Args:
        queries: One unit vector for each, of shape (n, d).
        own: The number of each query's item; -1 if it is not in the catalog.
        own_scores: The cosine with its own item by the first 1, 2 ... references, as from `best_of_first`, of shape
            (R, n); infinite if it is not in the catalog.
    """

    def __init__(self, queries: Vectors, own: NDArray[np.int64], own_scores: Vectors) -> None:
        self._queries, self._own, self._own_scores = queries, own, own_scores
        #: The number of other items that score as high, and the best score of any item: shape (R, n).
        self.ahead = np.zeros(own_scores.shape, np.int64)
        self.best = np.full(own_scores.shape, -np.inf, np.float32)
        self.passed = 0

    def ranks(self) -> NDArray[np.int64]:
        """Returns the rank of each query's item by its first 1, 2 ... references, from 1: shape (R, n)."""
        return 1 + self.ahead

    def pass_by(self, gallery: Vectors) -> None:
        """Counts the next items, of shape (items, R, d)."""
        self._count(gallery, np.arange(len(self._queries)), self.passed)
        self.passed += len(gallery)

    def distract(self, gallery: Vectors, rows: NDArray[np.int64]) -> None:
        """Counts distractors, for the queries of these rows alone."""
        self._count(gallery, rows, OTHERS)

    def _count(self, gallery: Vectors, rows: NDArray[np.int64], first: int) -> None:
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            queries, own = self._queries[part], self._own[part]
            itself = np.nonzero((own >= first) & (own < first + len(gallery)))[0]
            best: Vectors | None = None
            for number in range(len(self.ahead)):
                scores = queries @ gallery[:, number].T
                best = scores if best is None else np.maximum(best, scores)
                ahead = best >= self._own_scores[number, part, None] - np.float32(TIE)
                ahead[itself, own[itself] - first] = False
                self.ahead[number, part] += ahead.sum(1)
                self.best[number, part] = np.maximum(self.best[number, part], best.max(1))

    def save(self, path: Path) -> None:
        """Writes the counts atomically."""
        save(path, ahead=self.ahead, best=self.best, passed=np.array(self.passed))

    def load(self, path: Path) -> None:
        """Reads the counts of a file."""
        with np.load(path, allow_pickle=False) as file:
            self.ahead, self.best, self.passed = file["ahead"], file["best"], int(file["passed"])


def best_of_first(queries: Vectors, references: Vectors) -> Vectors:
    """Returns the best cosines (R, n) of queries (n, d) with the first 1, 2 ... of their references (n, R, d)."""
    cosines: Vectors = np.einsum("nd,nrd->rn", queries, references)
    return np.maximum.accumulate(cosines, axis=0)


def stream(ranks: Ranks, gallery: Gallery, items: int, *, checkpoint: Path | None = None, every: int = 8) -> None:
    """Counts all items that are not counted yet; writes a checkpoint after ``every`` chunks, and at the end.

    To resume from a checkpoint, `Ranks.load` it before.
    """
    chunk = 0
    while ranks.passed < items:
        ranks.pass_by(gallery(ranks.passed, min(items, ranks.passed + CHUNK)))
        chunk += 1
        if checkpoint is not None and (chunk % every == 0 or ranks.passed == items):
            ranks.save(checkpoint)


def save(path: Path, **arrays: NDArray[np.generic]) -> None:
    """Writes arrays to an `.npz` file atomically."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
