"""How long `duplicates` and `review` take on many references, and how many neighbors the cells miss.

    python benches/order.py [--references 100000] [--dim 256] [--asked 1000]

The references are random vectors, three of each item around a center, and centers around those of 200 kinds. The
neighbors of `--asked` references are compared with those among all references.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search.answers.gallery import read_neighbors


def vectors(count: int, dim: int) -> tuple[list[str], NDArray[np.float32]]:
    """Returns the items and the unit vectors of references."""
    dice = np.random.default_rng(0)
    items = np.arange(count) // 3
    kinds = dice.normal(size=(200, dim))
    centers = kinds[dice.integers(0, 200, items[-1] + 1)] + dice.normal(size=(items[-1] + 1, dim)) * 0.7
    rows = centers[items] + dice.normal(size=(count, dim)) * 0.4
    return [f"item-{item}" for item in items], (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def timed(name: str, work: Callable[[], Any]) -> Any:
    began, computed = time.perf_counter(), time.process_time()
    found = work()
    took, computing = time.perf_counter() - began, time.process_time() - computed
    # In kilobytes, but for macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    print(f"{name}: {took:.1f} s, {computing:.1f} s of processors, {peak:.2f} GB at most so far", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--asked", type=int, default=1000)
    options = parser.parse_args()
    ids, rows = vectors(options.references, options.dim)
    with tempfile.TemporaryDirectory() as folder, ps.Engine(Path(folder) / "c", dim=options.dim) as engine:
        names = [str(number) for number in range(len(ids))]
        timed("add_vectors", lambda: engine.add_vectors(ids, rows, references=names))
        timed("duplicates", engine.duplicates)
        timed("review", engine.review)
        gallery, near = read_neighbors(engine._core, 8, where=None, model=None)
    asked = np.random.default_rng(1).choice(len(ids), options.asked, replace=False)
    cosines = gallery.vectors[asked] @ gallery.vectors.T
    cosines[gallery.items[asked][:, None] == gallery.items] = -np.inf
    best = cosines.max(axis=1)
    found = near.other_scores[asked, 0] >= best - 1e-5
    for least in (0.0, 0.5, 0.6, 0.7):
        alike = best >= least
        if alike.any():
            print(
                f"nearest other item found, of {alike.sum()} at a cosine of {least} or more: {found[alike].mean():.4f}"
            )


if __name__ == "__main__":
    main()
