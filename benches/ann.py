"""Approximate search: ours, from a vector to hits with ids, against indexes of faiss-cpu, hnswlib and usearch.

These give row numbers. Clustered vectors, single queries on one thread, in one process, by turns.

    python benches/ann.py                                  # 100,000 x 256
    python benches/ann.py --vectors 1000000 --peers ivf    # those named alone: hnsw, ivf, hnswlib, usearch
    python benches/ann.py --texts                          # queries that lie apart, as texts do beside pictures

Ours chooses how much it looks at by itself, for 0.98 of the exact best 10. Each of the others gets the least of its
parameter with which 200 other queries find as much. Memory is what a process gets anonymously while an index is built
and searched first, so without pages of files. Ratios above 1 mean that ours is faster, or smaller.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from growth import Numbered, texts_about

K = 10
RECALL = 0.98
TUNED = 200
#: Vectors that are made and compared at once.
STEP = 50_000


@dataclass
class Contender:
    """An index: how to build it, and how to search it for one query with so much effort."""

    build: Callable[[], Any]
    search: Callable[[Any, Any, int], list[int]]
    #: The efforts that are tried; none for one that chooses by itself.
    efforts: tuple[int, ...] = ()
    effort: int = 0
    index: Any = None
    seconds: float = 0.0
    bytes: int = 0
    times: list[float] = field(default_factory=list)
    right: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2, help="those that build")
    parser.add_argument("--texts", action="store_true")
    parser.add_argument("--peers", nargs="*", default=["hnsw", "ivf", "hnswlib", "usearch"])
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as home:
        vectors, queries = clustered(Path(home) / "vectors", options.vectors, options.dim, TUNED + options.queries)
        if options.texts:
            queries = texts_about(queries)
        truth = exact(vectors, queries)
        contenders = {"ours": ours(Path(home), vectors, queries if options.texts else None, options.threads)}
        contenders |= {name: PEERS[name](vectors, options.threads) for name in options.peers}
        for contender in contenders.values():
            make(contender, queries[0])
            tune(contender, queries[:TUNED], truth[:TUNED])
        race(contenders, queries[TUNED:], truth[TUNED:])
        print(f"{options.vectors:,} x {options.dim}, one thread, k={K}; built by {options.threads} threads")
        for name, contender in contenders.items():
            report(name, contender, contenders["ours"], options.queries)


def clustered(file: Path, count: int, dim: int, queries: int) -> tuple[Any, Any]:
    """Unit vectors around a hundredth as many centers, as pages of a file, and queries around the same."""
    import numpy as np

    random = np.random.default_rng(0)
    centers = random.standard_normal((count // 100, dim), dtype=np.float32)

    def draw(rows: int) -> Any:
        drawn = random.standard_normal((rows, dim), dtype=np.float32)
        drawn += centers[random.integers(len(centers), size=rows)]
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return drawn

    vectors = np.memmap(file, np.float32, "w+", shape=(count, dim))
    for start in range(0, count, STEP):
        vectors[start : start + STEP] = draw(min(STEP, count - start))
    return vectors, draw(queries)


def exact(vectors: Any, queries: Any) -> Any:
    import numpy as np

    scores = np.full((len(queries), K), -np.inf, np.float32)
    rows = np.zeros((len(queries), K), np.int64)
    for start in range(0, len(vectors), STEP):
        found = queries @ vectors[start : start + STEP].T
        best = np.argpartition(-found, K, axis=1)[:, :K]
        scores = np.concatenate([scores, np.take_along_axis(found, best, 1)], axis=1)
        rows = np.concatenate([rows, best + start], axis=1)
        order = np.argsort(-scores, axis=1)[:, :K]
        scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    return rows


def ours(home: Path, vectors: Any, texts: Any, threads: int) -> Contender:
    """Ours; a search by one of the texts goes through a model that gives its vector."""
    import plushie_search as ps

    model = {"dim": vectors.shape[1]} if texts is None else {"model": Numbered(texts, texts)}
    numbers = {} if texts is None else {text.tobytes(): str(number) for number, text in enumerate(texts)}

    def opened() -> Any:
        return ps.Engine(home / "vectors.catalog", threads=threads, **model)

    start = time.perf_counter()
    with opened() as engine:
        for first in range(0, len(vectors), STEP):
            some = vectors[first : first + STEP]
            engine.add_vectors([str(row) for row in range(first, first + len(some))], some)
    print(f"ours: stored in {time.perf_counter() - start:.1f} s", flush=True)

    def build() -> Any:
        before = anonymous()
        with opened() as engine:
            engine.optimize()
            stats = engine.stats()
            print(f"ours: {(anonymous() - before) / 1e6:,.0f} MB when it is built", flush=True)
        print(f"ours: {stats['index']}", *stats["approximate"], flush=True)
        start = time.perf_counter()
        engine = opened()
        print(f"ours: opened in {time.perf_counter() - start:.2f} s", flush=True)
        return engine

    def search(engine: Any, query: Any, effort: int) -> list[int]:
        if texts is None:
            return [int(hit.item) for hit in engine.search_vector(query, k=K)]
        return [int(hit.item) for hit in engine.search_text(numbers[query.tobytes()], k=K, words=False)]

    return Contender(build, search)


def hnsw(vectors: Any, threads: int) -> Contender:
    import faiss

    def build() -> Any:
        faiss.omp_set_num_threads(threads)
        index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.add(vectors)
        faiss.omp_set_num_threads(1)
        return index

    def search(index: Any, query: Any, effort: int) -> list[int]:
        index.hnsw.efSearch = effort
        return index.search(query[None], K)[1][0].tolist()

    return Contender(build, search, (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512))


def ivf(vectors: Any, threads: int) -> Contender:
    import faiss

    count, dim = vectors.shape
    lists = int(4 * count**0.5)

    def build() -> Any:
        faiss.omp_set_num_threads(threads)
        index = faiss.index_factory(dim, f"IVF{lists},PQ{dim // 2}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, count // (lists * 64))])
        index.add(vectors)
        faiss.omp_set_num_threads(1)
        return index

    def search(index: Any, query: Any, effort: int) -> list[int]:
        probed = faiss.SearchParametersIVF(nprobe=effort)
        how = faiss.IndexRefineSearchParameters(k_factor=8, base_index_params=probed)
        return index.search(query[None], K, params=how)[1][0].tolist()

    return Contender(build, search, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128))


def of_hnswlib(vectors: Any, threads: int) -> Contender:
    import hnswlib

    def build() -> Any:
        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), M=16, ef_construction=200)
        index.add_items(vectors, num_threads=threads)
        index.set_num_threads(1)
        return index

    def search(index: Any, query: Any, effort: int) -> list[int]:
        index.set_ef(effort)
        return index.knn_query(query, K)[0][0].tolist()

    return Contender(build, search, (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512))


def of_usearch(vectors: Any, threads: int) -> Contender:
    import numpy as np
    from usearch.index import Index

    def build() -> Any:
        index = Index(ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=16)
        index.add(np.arange(len(vectors)), vectors, threads=threads)
        return index

    def search(index: Any, query: Any, effort: int) -> list[int]:
        index.expansion_search = effort
        return index.search(query, K, threads=1).keys.tolist()

    return Contender(build, search, (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512))


PEERS = {"hnsw": hnsw, "ivf": ivf, "hnswlib": of_hnswlib, "usearch": of_usearch}


def make(contender: Contender, query: Any) -> None:
    gc.collect()
    before, start = anonymous(), time.perf_counter()
    contender.index = contender.build()
    contender.seconds = time.perf_counter() - start
    contender.search(contender.index, query, contender.efforts[0] if contender.efforts else 0)
    gc.collect()
    contender.bytes = anonymous() - before


def anonymous() -> int:
    """The anonymous memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def tune(contender: Contender, queries: Any, truth: Any) -> None:
    for effort in contender.efforts:
        contender.effort = effort
        found = [contender.search(contender.index, query, effort) for query in queries]
        if sum(len({*a} & {*b}) for a, b in zip(found, truth.tolist(), strict=True)) >= RECALL * K * len(queries):
            return


def race(contenders: dict[str, Contender], queries: Any, truth: Any) -> None:
    """Searches for each query by each contender; who is first changes."""
    names = list(contenders)
    for number, (query, best) in enumerate(zip(queries, truth.tolist(), strict=True)):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            contender = contenders[name]
            start = time.perf_counter()
            found = contender.search(contender.index, query, contender.effort)
            contender.times.append(time.perf_counter() - start)
            contender.right += len({*found} & {*best})


def report(name: str, contender: Contender, mine: Contender, queries: int) -> None:
    each, own = median(contender.times), median(mine.times)
    print(
        f"{name:8} recall {contender.right / (K * queries):.3f}, {1e3 * each:.3f} ms ({1 / each:,.0f} a second, ratio "
        f"{each / own:.2f}), {contender.bytes / 1e6:,.0f} MB (ratio {contender.bytes / mine.bytes:.1f}), built in "
        f"{contender.seconds:.1f} s (ratio {contender.seconds / mine.seconds:.1f})"
        + (f", with {contender.effort}" if contender.efforts else ""),
        flush=True,
    )


if __name__ == "__main__":
    main()
