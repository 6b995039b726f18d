"""Measures the cost of an engine without its model: opening a large catalog, and Python's share of a search.

    python benches/engine.py [--references 100000] [--repeats 7]

Prints medians; the peer of each figure is named beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import plushie_search as ps


def median_ms(call: Callable[[], Any], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def fill(catalog: Path, model: str, items: int, references: int) -> None:
    rng = np.random.default_rng(0)
    with ps.Engine(catalog, model=model) as engine:
        dim = engine.stats()["dimension"]
        for start in range(0, references, 10_000):
            rows = range(start, min(start + 10_000, references))
            ids = [f"item-{row % items}" for row in rows]
            engine.add_vectors(ids, rng.standard_normal((len(ids), dim), np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=100_000)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large.catalog"), Path(folder, "small.catalog")
        fill(large, options.model, options.references // 2, options.references)
        empty = Path(folder, "empty.catalog")
        ps.Engine(empty, model=options.model).close()
        opening = median_ms(lambda: ps.Engine(large, model=options.model).close(), options.repeats)
        model = median_ms(lambda: ps.Engine(empty, model=options.model).close(), options.repeats)
        print(
            f"open a catalog of {options.references:,} references: {opening:.0f} ms ({model:.0f} ms of it the model's)"
        )

        fill(small, options.model, 1000, 1000)
        with ps.Engine(small, model=options.model, threads=1) as engine:
            dim = engine.stats()["dimension"]
            vectors = np.random.default_rng(1).standard_normal((1000, dim), np.float32)
            table = np.random.default_rng(0).standard_normal((1000, dim), np.float32)
            rounds = range(len(vectors))

            def ours() -> None:
                for row in rounds:
                    engine.search_vector(vectors[row], k=5)

            def product() -> None:
                for row in rounds:
                    table @ vectors[row]

            search = median_ms(ours, options.repeats)
            numpy = median_ms(product, options.repeats)
        print(
            f"search_vector over 1,000 items, call to results: {search:.1f} µs (numpy's bare product: {numpy:.1f} µs)"
        )


if __name__ == "__main__":
    main()
