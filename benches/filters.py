"""Searches with a filter: ours, where each filter is asked for the first time and again, and faiss-cpu with a bitmap.

    python benches/filters.py                    # 100,000 x 256; filters that half a percent and 10 % pass

faiss gets the rows that pass as bits that were made before. Ours finds them by the metadata of the items.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--groups", type=int, nargs="+", default=[200, 10], help="one item in so many passes")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"
    import faiss
    import numpy as np

    import plushie_search as ps

    faiss.omp_set_num_threads(1)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((options.vectors, options.dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = faiss.IndexFlatIP(options.dim)
    flat.add(vectors)
    metadata = [
        {"price": row % 97 + 0.5, "sold": row % 2 == 0}
        | {f"by {each}": f"group {row % each}" for each in options.groups}
        for row in range(options.vectors)
    ]
    with (
        tempfile.TemporaryDirectory() as home,
        ps.Engine(Path(home) / "c", dim=options.dim, index="exact", threads=1) as engine,
    ):
        start = time.perf_counter()
        engine.add_vectors([str(row) for row in range(options.vectors)], vectors, metadata=metadata)
        print(f"stored in {time.perf_counter() - start:.1f} s")
        engine.search_vector(vectors[0], k=K)
        for each in options.groups:
            report(engine, flat, vectors, each, options.rounds)


def report(engine: Any, flat: Any, vectors: Any, each: int, rounds: int) -> None:
    import faiss
    import numpy as np

    times: dict[str, list[float]] = {"first": [], "again": [], "faiss": []}
    for number in range(min(rounds, each)):
        query = vectors[17 * number]
        bits = np.packbits(np.arange(len(vectors)) % each == number, bitorder="little")
        selected = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        found = {}
        for name in times:
            start = time.perf_counter()
            if name == "faiss":
                found[name] = flat.search(query[None], K, params=selected)[1][0].tolist()
            else:
                hits = engine.search_vector(query, k=K, where={f"by {each}": f"group {number}"})
                found[name] = [int(hit.item) for hit in hits]
            times[name].append(time.perf_counter() - start)
        assert found["first"] == found["again"] == found["faiss"]
    told = ", ".join(f"{name} {1e3 * median(of):.2f} ms" for name, of in times.items())
    print(f"one item in {each} passes: {told}", flush=True)


if __name__ == "__main__":
    main()
