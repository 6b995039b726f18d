"""Approximate search: ours, from a vector to hits with ids, against indexes of faiss-cpu, hnswlib and usearch.

These give row numbers. Single queries by pictures and by texts, on one thread, in one process, by turns.

    python benches/ann.py                                              # 100,000 x 256 clustered vectors
    python benches/ann.py --vectors 1000000 --dim 512 --recall 0.95 0.99 --keep FOLDER
    python benches/ann.py --plushes FOLDER --peers hnsw hnswlib        # vectors of benches/identify.py --keep

Ours chooses how much it looks at by itself, for the share of the exact best 10 that `--recall` asks. Each of the others
gets the least of its parameter with which 200 other queries find as much, or its most. Memory is what a process gets
anonymously while an index is built and searched first, so without pages of files. Ratios above 1 mean that ours is
faster, or smaller. Texts lie apart from all pictures, as those of models with two towers do, or are captions of
plushes. With `--keep`, what is built stays in the folder with its figures, and a run that was stopped goes on with it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from drawn import STEP, Clusters, Numbered, Plushes, Source, best, blocks

import plushie_search as ps
from plushie_search.benchmark.measure import K, anonymous_bytes

#: Queries by which efforts are chosen.
TUNED = 200
EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)


@dataclass
class Contender:
    """An index: how to build, keep and open it, and to search it for a query of a kind with so much effort."""

    name: str
    build: Callable[[Path], Any]
    search: Callable[[Any, str, int, int], list[int]]
    save: Callable[[Any, Path], None]
    open: Callable[[Path], Any]
    #: The efforts that are tried; none for one that chooses by itself.
    efforts: tuple[int, ...] = ()
    effort: int = 0
    index: Any = None
    seconds: float = 0.0
    bytes: int = 0
    times: list[float] = field(default_factory=list)
    right: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--recall", type=float, nargs="+", default=[0.98])
    parser.add_argument("--threads", type=int, default=2, help="those that build")
    parser.add_argument("--peers", nargs="*", default=["hnsw", "ivf", "hnswlib", "usearch"])
    parser.add_argument("--plushes", type=Path, metavar="FOLDER")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        compare(options.keep or Path(scratch), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Builds all, and asks each for the same by turns, for one recall after another."""
    source: Source = Plushes(options.plushes) if options.plushes else Clusters(options.vectors, options.dim)
    home = folder / f"ann-{'plushes' if options.plushes else options.dim}-{options.vectors}"
    vectors, asked, truth = prepared(home, source, options)
    count, dim = vectors.shape
    print(f"{count:,} x {dim}, one thread, k={K}; built by {options.threads} threads", flush=True)
    stored(home, vectors, asked, options.threads)
    peers = [PEERS[name](vectors, asked, options.threads) for name in options.peers]
    for recall in options.recall:
        mine = ours(asked, options.threads, recall)
        contenders = [mine, *peers]
        for contender in contenders:
            if contender.index is None:
                make(contender, home)
        for kind, rows in truth.items():
            for contender in contenders:
                tune(contender, kind, rows[:TUNED], recall)
            race(contenders, kind, rows[TUNED:])
            print(f"{kind}, recall {recall}")
            for contender in contenders:
                report(contender, mine, options.queries)
        mine.index.close()


def prepared(home: Path, source: Source, options: argparse.Namespace) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The vectors as pages of a file, and of each kind of queries their vectors and the exact best rows of each."""
    home.mkdir(parents=True, exist_ok=True)
    count, queries = options.vectors, TUNED + options.queries
    if not (home / "queries.npz").exists():
        pictures = source.draw(10 * count, queries)
        asked = {"pictures": pictures, "texts": source.texts(10 * count, pictures)}
        file = np.lib.format.open_memmap(home / "vectors.npy", "w+", np.float32, (count, pictures.shape[1]))
        for start, block in blocks(source, count):
            file[start : start + len(block)] = block
        together = ((start, file[start : start + STEP]) for start in range(0, count, STEP))
        truth = best(together, np.concatenate(list(asked.values())))
        np.savez(home / "part.npz", **asked, truth=truth)
        (home / "part.npz").replace(home / "queries.npz")
    drawn = np.load(home / "queries.npz", allow_pickle=False)
    asked = {kind: drawn[kind] for kind in ("pictures", "texts")}
    if len(asked["pictures"]) != queries:
        raise SystemExit(f"{home} has {len(asked['pictures']) - TUNED} queries: ask as many, or give another --keep")
    truth = dict(zip(asked, np.split(drawn["truth"], 2), strict=True))
    return np.load(home / "vectors.npy", mmap_mode="r"), asked, truth


def stored(home: Path, vectors: Any, asked: dict[str, Any], threads: int) -> None:
    """Stores what is not yet in the catalog that ours searches."""
    start = time.perf_counter()
    with ps.Engine(home / "vectors.catalog", model=Numbered(**asked), threads=threads, index="exact") as engine:
        for first in range(len(engine), len(vectors), STEP):
            some = vectors[first : first + STEP]
            engine.add_vectors([str(row) for row in range(first, first + len(some))], some)
    print(f"ours: stored in {time.perf_counter() - start:.1f} s", flush=True)


def ours(asked: dict[str, Any], threads: int, recall: float) -> Contender:
    def opened(home: Path) -> ps.Engine:
        return ps.Engine(home / "vectors.catalog", model=Numbered(**asked), threads=threads, recall=recall)

    def build(home: Path) -> ps.Engine:
        # One for a higher recall would be used, and look at more.
        shutil.rmtree(home / "vectors.catalog" / "index", ignore_errors=True)
        before = anonymous_bytes() or 0
        with opened(home) as engine:
            engine.optimize()
            print(f"ours: {((anonymous_bytes() or 0) - before) / 1e6:,.0f} MB when it is built", flush=True)
        return open(home)

    def open(home: Path) -> ps.Engine:
        start = time.perf_counter()
        engine = opened(home)
        print(f"ours: opened in {time.perf_counter() - start:.2f} s", *engine.stats()["approximate"], flush=True)
        return engine

    def search(engine: ps.Engine, kind: str, number: int, effort: int) -> list[int]:
        if kind == "texts":
            return [int(hit.item) for hit in engine.search_text(str(number), k=K, words=False)]
        return [int(hit.item) for hit in engine.search_vector(asked[kind][number], k=K)]

    return Contender(f"ours, {recall}", build, search, lambda engine, home: None, open)


def hnsw(vectors: Any, asked: dict[str, Any], threads: int) -> Contender:
    import faiss

    def build(home: Path) -> Any:
        faiss.omp_set_num_threads(threads)
        index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.add(vectors)
        faiss.omp_set_num_threads(1)
        return index

    def search(index: Any, kind: str, number: int, effort: int) -> list[int]:
        index.hnsw.efSearch = effort
        return index.search(asked[kind][number, None], K)[1][0].tolist()

    return Contender("hnsw", build, search, *by_faiss("hnsw"), EFFORTS)


def ivf(vectors: Any, asked: dict[str, Any], threads: int) -> Contender:
    import faiss

    count, dim = vectors.shape
    lists = int(4 * count**0.5)

    def build(home: Path) -> Any:
        faiss.omp_set_num_threads(threads)
        index = faiss.index_factory(dim, f"IVF{lists},PQ{dim // 2}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, count // (lists * 64))])
        index.add(vectors)
        faiss.omp_set_num_threads(1)
        return index

    def search(index: Any, kind: str, number: int, effort: int) -> list[int]:
        probed = faiss.SearchParametersIVF(nprobe=effort)
        how = faiss.IndexRefineSearchParameters(k_factor=8, base_index_params=probed)
        return index.search(asked[kind][number, None], K, params=how)[1][0].tolist()

    efforts = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512)
    return Contender("ivf", build, search, *by_faiss("ivf"), efforts)


def by_faiss(name: str) -> tuple[Callable[[Any, Path], None], Callable[[Path], Any]]:
    import faiss

    def opened(home: Path) -> Any:
        faiss.omp_set_num_threads(1)
        return faiss.read_index(str(home / name))

    return lambda index, home: faiss.write_index(index, str(home / name)), opened


def of_hnswlib(vectors: Any, asked: dict[str, Any], threads: int) -> Contender:
    import hnswlib

    def build(home: Path) -> Any:
        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), M=16, ef_construction=200)
        index.add_items(vectors, num_threads=threads)
        index.set_num_threads(1)
        return index

    def opened(home: Path) -> Any:
        index = hnswlib.Index("ip", vectors.shape[1])
        index.load_index(str(home / "hnswlib"))
        index.set_num_threads(1)
        return index

    def search(index: Any, kind: str, number: int, effort: int) -> list[int]:
        index.set_ef(effort)
        return index.knn_query(asked[kind][number], K)[0][0].tolist()

    return Contender(
        "hnswlib", build, search, lambda index, home: index.save_index(str(home / "hnswlib")), opened, EFFORTS
    )


def of_usearch(vectors: Any, asked: dict[str, Any], threads: int) -> Contender:
    from usearch.index import Index

    def empty() -> Any:
        return Index(ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=16)

    def build(home: Path) -> Any:
        index = empty()
        index.add(np.arange(len(vectors)), vectors, threads=threads)
        return index

    def opened(home: Path) -> Any:
        index = empty()
        index.load(str(home / "usearch"))
        return index

    def search(index: Any, kind: str, number: int, effort: int) -> list[int]:
        index.expansion_search = effort
        return index.search(asked[kind][number], K, threads=1).keys.tolist()

    return Contender("usearch", build, search, lambda index, home: index.save(str(home / "usearch")), opened, EFFORTS)


PEERS = {"hnsw": hnsw, "ivf": ivf, "hnswlib": of_hnswlib, "usearch": of_usearch}


def make(contender: Contender, home: Path) -> None:
    """Builds an index, or opens the one that was built before, with the figures of that build."""
    path = home / "built.json"
    built = json.loads(path.read_text(encoding="ascii")) if path.exists() else {}
    if contender.name in built:
        contender.index = contender.open(home)
        contender.seconds, contender.bytes = built[contender.name]
        return
    gc.collect()
    before, start = anonymous_bytes() or 0, time.perf_counter()
    contender.index = contender.build(home)
    contender.seconds = time.perf_counter() - start
    contender.search(contender.index, "pictures", 0, max(contender.efforts, default=0))
    gc.collect()
    contender.bytes = (anonymous_bytes() or 0) - before
    print(f"{contender.name}: built in {contender.seconds:.1f} s", flush=True)
    contender.save(contender.index, home)
    # A catalog has one index.
    replaced = [name for name in built if name.startswith("ours") and contender.name.startswith("ours")]
    kept = {name: figures for name, figures in built.items() if name not in replaced}
    path.write_text(json.dumps({**kept, contender.name: [contender.seconds, contender.bytes]}), encoding="ascii")


def tune(contender: Contender, kind: str, truth: Any, recall: float) -> None:
    for effort in contender.efforts:
        contender.effort = effort
        found = [contender.search(contender.index, kind, number, effort) for number in range(len(truth))]
        if sum(len({*a} & {*b}) for a, b in zip(found, truth.tolist(), strict=True)) >= recall * K * len(truth):
            return


def race(contenders: list[Contender], kind: str, truth: Any) -> None:
    """Searches for each query by each contender; who is first changes."""
    for contender in contenders:
        contender.times, contender.right = [], 0
    for number, rows in enumerate(truth.tolist()):
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            start = time.perf_counter()
            found = contender.search(contender.index, kind, TUNED + number, contender.effort)
            contender.times.append(time.perf_counter() - start)
            contender.right += len({*found} & {*rows})


def report(contender: Contender, mine: Contender, queries: int) -> None:
    each, own = median(contender.times), median(mine.times)
    print(
        f"{contender.name:10} recall {contender.right / (K * queries):.3f}, {1e3 * each:.3f} ms ({1 / each:,.0f} a "
        f"second, ratio {each / own:.2f}), {contender.bytes / 1e6:,.0f} MB (ratio {contender.bytes / mine.bytes:.1f}), "
        f"built in {contender.seconds:.1f} s (ratio {contender.seconds / mine.seconds:.1f})"
        + (f", with {contender.effort}" if contender.efforts else ""),
        flush=True,
    )


if __name__ == "__main__":
    main()
