"""Runs a benchmark of a catalog, or of files with vectors, queries and their exact best."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError, Index
from ..engine import Engine
from ..exchange.hdf5 import Hdf5
from ..exchange.matrices import Matrix
from ..exchange.sources import open_matrix
from ..paths import expanded
from ..results import Results
from ..stored import stored_models
from .judged import Metric, Part, described
from .measure import K, Search, anonymous_bytes, disk_bytes, figures, latencies, recall
from .report import Benchmark, Point

METRICS: tuple[Metric, ...] = ("cosine", "ip", "l2")

#: Queries that are taken of a catalog, and of each place in it; and those at each effort of the curve.
QUERIES, TOGETHER, CURVE = 500, 10, 200
#: Efforts that are tried, from the least.
EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: Rows that are read at a time.
ROWS = 100_000


def benchmark_catalog(
    path: str, *, index: str = "auto", queries: int = QUERIES, threads: int | None = None
) -> Benchmark:
    """Measures the search of a catalog by vectors, with references of it as queries.

    The first reference of ``queries`` items, evenly spread, are looked up; the item itself does not count among the
    hits. The truth is found by an exact search of the same catalog, which is opened to be read alone: an index that is
    missing is built in memory, and the catalog stays as it is.

    Args:
        path: The catalog.
        index: As in :class:`plushie_search.Engine`; one that the catalog has not is built.
        queries: How many queries there are at most.
        threads: The most threads of a search; by default all cores.

    Raises:
        ArgumentError: The catalog has no items.
        CatalogError: It cannot be opened.
    """
    path = expanded(path)
    before = anonymous_bytes()
    with _opened(path, index, threads) as engine:
        ids = _spread(engine, queries)
        asked = np.stack([engine.vectors(id)[0] for id in ids])
        seconds = _build(engine, index)
        stats = engine.stats()
        search = _other_items(engine, dict(zip(map(bytes, asked), ids, strict=True)))
        search()(asked[0])
        memory = _since(before)
        if stats["index"] == "exact":
            truth = [search()(query) for query in asked]
        else:
            with _opened(path, "exact", threads) as exact:
                find = _other_items(exact, dict(zip(map(bytes, asked), ids, strict=True)))()
                truth = [find(query) for query in asked]
        return Benchmark(
            source=path,
            vectors=stats["references"],
            dimension=asked.shape[1],
            metric="cosine",
            index=stats["index"],
            queries=len(asked),
            build_seconds=seconds,
            memory_bytes=memory,
            disk_bytes=disk_bytes(path),
            curve=_curve(search, stats["index"], asked, truth),
            **figures(search(), asked, truth),
        )


def benchmark_files(
    base: str | os.PathLike[str],
    query: str | os.PathLike[str] | None = None,
    *,
    truth: str | os.PathLike[str] | None = None,
    metric: Metric | None = None,
    index: str = "auto",
    threads: int | None = None,
) -> Benchmark:
    """Measures the search of vectors in a file, by queries in another.

    By cosines, vectors are stored in a catalog in a temporary folder, which has an index as any has. By ``"ip"`` and
    ``"l2"``, each is compared as it is.

    Args:
        base: The vectors: ``.fvecs``, ``.bvecs``, ``.npy``, ``.npz``, ``.hdf5`` or an index file of faiss.
        query: The queries, in such a file; by default the data set ``test`` of a ``.hdf5`` file of ann-benchmarks.
        truth: The numbers of the best rows of each query: ``.ivecs`` or ``.npy``; by default the data set ``neighbors``
            of such a file if its own queries are asked by its own metric, and otherwise they are computed.
        metric: ``"cosine"``, ``"ip"`` or ``"l2"``; by default that of such a file, ``"l2"`` for ``.fvecs`` and
            ``.bvecs``, and otherwise ``"cosine"``.
        index: As in :class:`plushie_search.Engine`; for cosines.
        threads: The most threads of a search; by default all cores.

    Raises:
        OSError: A file cannot be read.
        ArgumentError: A file is damaged or has no queries, the dimensions or numbers of rows differ, a number is NaN or
            infinite, or the index is not for the metric.
    """
    path = expanded(base)
    vectors = open_matrix(path)
    own, told = described(path) if isinstance(vectors, Hdf5) else ([], None)
    if metric is None:
        metric = told or ("l2" if path.lower().endswith((".fvecs", ".bvecs")) else "cosine")
    if metric not in METRICS:
        raise ArgumentError(f"metric {metric!r}: give one of {', '.join(METRICS)}")
    if metric != "cosine" and index not in ("auto", "exact"):
        raise ArgumentError(f"index {index!r} compares by cosines: leave it out, or give metric 'cosine'")
    if query is None and "test" not in own:
        raise ArgumentError(f"{path}: has no queries beside the vectors: give a file of them by query (--query)")
    queries: Matrix = Part(path, "test") if query is None else open_matrix(expanded(query))
    asked = np.concatenate(list(_blocks(queries)))
    if queries.dim != vectors.dim:
        raise ArgumentError(
            f"{queries.path}: has {queries.dim} numbers in a row, and {path} {vectors.dim}: give queries of as many"
        )
    judged: Matrix | None = None
    if truth is not None:
        judged = open_matrix(expanded(truth))
    elif query is None and "neighbors" in own and told in (None, metric):
        judged = Part(path, "neighbors")
    best = _truth(vectors, asked, metric) if judged is None else _given(judged, len(asked), vectors.rows)
    return (
        _cosines(vectors, asked, best, index, threads) if metric == "cosine" else _plain(vectors, asked, best, metric)
    )


def _cosines(
    vectors: Matrix, asked: NDArray[np.float32], truth: list[list[int]], index: str, threads: int | None
) -> Benchmark:
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "vectors.catalog")
        with Engine(path, dim=vectors.dim, index="exact", threads=threads) as engine:
            start = 0
            for block in _blocks(vectors):
                engine.add_vectors([str(row) for row in range(start, start + len(block))], block)
                start += len(block)
        before = anonymous_bytes()
        with Engine(path, dim=vectors.dim, index=index, threads=threads) as engine:
            seconds = _build(engine, index)

            def search(**effort: Any) -> Search:
                return lambda query: [int(hit.item) for hit in _hits(engine, query, K, effort)]

            search()(asked[0])
            memory, named = _since(before), engine.stats()["index"]
            return Benchmark(
                source=vectors.path,
                vectors=vectors.rows,
                dimension=vectors.dim,
                metric="cosine",
                index=named,
                queries=len(asked),
                build_seconds=seconds,
                memory_bytes=memory,
                disk_bytes=disk_bytes(path),
                curve=_curve(search, named, asked, truth),
                **figures(search(), asked, truth),
            )


def _plain(vectors: Matrix, asked: NDArray[np.float32], truth: list[list[int]], metric: str) -> Benchmark:
    before, start = anonymous_bytes(), time.perf_counter()
    exact = _filled(vectors, metric)
    seconds = time.perf_counter() - start

    def search(query: NDArray[np.float32]) -> list[int]:
        found: list[int] = exact.search(query[None], k=K)[1][0].tolist()
        return found

    memory = _since(before)
    return Benchmark(
        source=vectors.path,
        vectors=vectors.rows,
        dimension=vectors.dim,
        metric=metric,
        index="exact",
        queries=len(asked),
        build_seconds=seconds,
        memory_bytes=memory,
        disk_bytes=None,
        curve=_curve(lambda: search, "exact", asked, truth),
        **figures(search, asked, truth),
    )


def _opened(path: str, index: str, threads: int | None) -> Engine:
    if not os.path.isdir(path) or not stored_models(path, read_only=True, needed=False).absent:
        raise ArgumentError(f"{path}: is no catalog with items: add some first")
    return Engine(path, model=[], index=index, threads=threads, read_only=True)


def _build(engine: Engine, index: str) -> float | None:
    """Builds the index if it is missing and wanted, and returns the seconds."""
    if index == "exact" or engine.stats()["index"] != "exact":
        return None
    start = time.perf_counter()
    engine.optimize()
    return time.perf_counter() - start if engine.stats()["index"] != "exact" else None


def _spread(engine: Engine, count: int) -> list[str]:
    """The ids of items that are evenly spread."""
    items = len(engine)
    if items <= count:
        return [item.id for item in engine]
    places = [place * items // (count // TOGETHER or 1) for place in range(count // TOGETHER or 1)]
    return [item.id for place in places for item in engine.items(limit=TOGETHER, offset=place)][:count]


def _other_items(engine: Engine, own: dict[bytes, str]) -> Callable[..., Search]:
    """Searches for other items than that of a query."""

    def search(**effort: Any) -> Search:
        def find(query: NDArray[np.float32]) -> list[str]:
            mine = own[bytes(query)]
            return [hit.item for hit in _hits(engine, query, K + 1, effort) if hit.item != mine][:K]

        return find

    return search


def _hits(engine: Engine, query: NDArray[np.float32], k: int, effort: dict[str, Any]) -> Results:
    found = engine.search_vector(query, k=k, **effort)
    assert isinstance(found, Results)  # of one query
    return found


def _curve(
    search: Callable[..., Search], index: str, queries: NDArray[np.float32], truth: Sequence[Sequence[Any]]
) -> list[Point]:
    queries, truth = queries[:CURVE], truth[:CURVE]
    if index == "exact":
        efforts: list[tuple[str, dict[str, int]]] = [("exact", {})]
    else:
        name = "ef_search" if index.startswith("HNSW") else "nprobe"
        efforts = [(f"{name}={effort}", {name: effort}) for effort in EFFORTS]
    points = []
    for label, effort in efforts:
        seconds, found = latencies(search(**effort), queries)
        points.append(Point(label, recall(found, truth), len(queries) / float(seconds.sum())))
        if len(points) > 1 and points[-1].recall >= 1:
            break
    return points


def _filled(vectors: Matrix, metric: Any) -> Index:
    index = Index(vectors.dim, metric=metric)
    start = 0
    for block in _blocks(vectors):
        index.add(np.arange(start, start + len(block)), block)
        start += len(block)
    return index


def _truth(vectors: Matrix, asked: NDArray[np.float32], metric: str) -> list[list[int]]:
    found: list[list[int]] = _filled(vectors, metric).search(asked, k=K)[1].tolist()
    return found


def _given(judged: Matrix, queries: int, rows: int) -> list[list[int]]:
    path, best = judged.path, np.concatenate(list(judged.blocks(ROWS)))
    if best.dtype.kind not in "iu":
        raise ArgumentError(f"{path}: holds no whole numbers of rows: give an .ivecs, or an .npy of integers")
    if len(best) != queries or best.shape[1] < K or best.min() < 0 or best.max() >= rows:
        raise ArgumentError(
            f"{path}: has {len(best)} rows of {best.shape[1]} numbers from {best.min()} to {best.max()}: give {K} or "
            f"more rows of the {rows} vectors for each of the {queries} queries"
        )
    return [row[:K] for row in best.tolist()]


def _blocks(matrix: Matrix) -> Iterator[NDArray[np.float32]]:
    """The rows of a file, of which each has numbers alone."""
    start = 0
    for block in matrix.blocks(ROWS):
        numbers = np.asarray(block, np.float32)
        if (odd := np.flatnonzero(~np.isfinite(numbers).all(axis=1))).size:
            raise ArgumentError(f"{matrix.path}: row {start + int(odd[0])} has NaN or infinite values: leave it out")
        yield numbers
        start += len(numbers)


def _since(before: int | None) -> int | None:
    now = anonymous_bytes()
    return None if before is None or now is None else max(now - before, 0)
