"""Search, filtered search and additions against indexes and vector databases, on the same vectors and threads.

    pip install lancedb chromadb qdrant-client
    python benches/peers.py                        # 10,000 and 100,000 x 256
    python benches/peers.py --vectors 1000000 --peers lancedb --keep FOLDER

All are in one process and take turns, query by query. Those called *index* go from a vector to row numbers; those
called *database* go from a vector to 10 hits with id, label and metadata, as ours does; *exact* is our index alone,
which compares all rows. Each gets the least of its parameter that finds 0.98 of the exact best 10 of other queries, or
its most. Three kinds of work are measured: single searches, the same with a filter that 10 % and .5 % of the rows pass,
and adding 1,000 rows and searching once after that (the median of three times).

Ratios above 1 mean that ours is faster. One that is not installed is left out. With `--keep`, our catalog and LanceDB's
table stay in the folder, and another run searches these.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from drawn import Clusters, blocks

import plushie_search as ps

K, RECALL, TUNED, ADDED, ADDITIONS = 10, 0.98, 100, 1000, 3
#: The shares of rows that pass the filters, by the key of the metadata that each compares with 0.
FILTERS = {"tenth": 10, "rare": 200}
EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)


@dataclass
class Peer:
    """A contender: its functions on vectors, and whether it gives metadata.

    ``search`` takes a query, an effort and the key of a filter or None, and returns row numbers.
    """

    kind: str
    search: Callable[[Any, int, str | None], list[int]]
    add: Callable[[Any, int], None] | None = None
    efforts: tuple[int, ...] = ()
    filters: bool = True
    effort: int = 0
    seconds: float = 0.0
    times: dict[str, list[float]] = field(default_factory=dict)
    right: dict[str, int] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2, help="those that build")
    parser.add_argument("--peers", nargs="*", default=list(MAKERS), choices=list(MAKERS))
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    os.environ |= {"RAYON_NUM_THREADS": str(options.threads), "LANCE_LOG": "error"}
    warnings.simplefilter("ignore")
    for count in options.vectors:
        compare(count, options)


def compare(count: int, options: argparse.Namespace) -> None:
    source = Clusters(count, options.dim)
    base, more = np.concatenate([block for _, block in blocks(source, count)]), source.draw(count, ADDITIONS * ADDED)
    queries = source.draw(10 * count, TUNED + options.queries)
    truths = {name: exact(base, queries, step) for name, step in {"": 1, **FILTERS}.items()}
    print(f"\n{count:,} x {options.dim}, k={K}, built by {options.threads} threads", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        home = options.keep / f"peers-{options.dim}-{count}" if options.keep else Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        peers: dict[str, Peer] = {}
        for name in ["ours", *options.peers]:
            make, installed = (ours, True) if name == "ours" else MAKERS[name]
            if not installed:
                print(f"{name}: not installed, left out")
                continue
            start = time.perf_counter()
            peers[name] = make(home, base, options.threads)
            peers[name].seconds = time.perf_counter() - start
            tune(peers[name], queries[:TUNED], truths[""][:TUNED])
            print(f"{name}: built in {peers[name].seconds:.1f} s, effort {peers[name].effort}", flush=True)
        read(home)
        for name, truth in truths.items():
            race(peers, name, queries[TUNED:], truth[TUNED:])
        added(peers, more, queries[TUNED:], count)
        report(peers, options.queries)


def read(home: Path) -> None:
    """Reads all files once, so that the system has their pages at hand, as it has those of what is searched often."""
    for path in home.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass


def exact(vectors: Any, queries: Any, step: int) -> list[set[int]]:
    """The best rows of each query among every ``step``-th row."""
    scores = queries @ vectors[::step].T
    best = np.argpartition(-scores, K, axis=1)[:, :K] * step
    return [set(row) for row in best.tolist()]


def facts(row: int) -> dict[str, int]:
    """The metadata of a row: two numbers that filters compare with 0, and one that they do not."""
    return {**{key: row % step for key, step in FILTERS.items()}, "price": row % 997}


def ours(home: Path, vectors: Any, threads: int) -> Peer:
    def names(start: int, count: int) -> dict[str, Any]:
        rows = range(start, start + count)
        return {"labels": [f"label {row % 1000}" for row in rows], "metadata": [facts(row) for row in rows]}

    engine = ps.Engine(home / "ours.catalog", dim=vectors.shape[1], threads=threads)
    if len(engine) < len(vectors):
        engine.add_vectors([str(row) for row in range(len(vectors))], vectors, **names(0, len(vectors)))
    if engine.stats()["index"] == "exact":
        engine.optimize()
    engine.remove([str(row) for row in range(len(vectors), len(vectors) + ADDITIONS * ADDED) if str(row) in engine])

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        hits = engine.search_vector(query, k=K, where=None if key is None else {key: 0})
        return [int(hit.item) for hit in hits if hit.metadata is not None]

    def add(more: Any, start: int) -> None:
        ids = [str(row) for row in range(start, start + len(more))]
        engine.add_vectors(ids, more, **names(start, len(more)))

    return Peer("database", search, add)


def compared(home: Path, vectors: Any, threads: int) -> Peer:
    """Ours without a catalog, which compares all rows."""
    index = ps.Index(vectors.shape[1])
    index.add(np.arange(len(vectors)), vectors)
    passing = {key: np.arange(0, len(vectors), step) for key, step in FILTERS.items()}

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        found = index.search(query[None], k=K, allowed=None if key is None else passing[key])
        return found[1][0].tolist()

    return Peer("index", search, lambda more, start: index.add(np.arange(start, start + len(more)), more))


def hnsw(home: Path, vectors: Any, threads: int) -> Peer:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    faiss.omp_set_num_threads(1)
    passing = {key: np.arange(len(vectors)) % step == 0 for key, step in FILTERS.items()}
    selectors = {key: faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little")) for key, rows in passing.items()}

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        how = faiss.SearchParametersHNSW(efSearch=effort)
        if key is not None:
            how.sel = selectors[key]
        return index.search(query[None], K, params=how)[1][0].tolist()

    return Peer("index", search, lambda more, start: index.add(more), EFFORTS)


def ivf(home: Path, vectors: Any, threads: int) -> Peer:
    import faiss

    faiss.omp_set_num_threads(threads)
    lists = int(4 * len(vectors) ** 0.5)
    index = faiss.index_factory(vectors.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:: max(1, len(vectors) // (lists * 64))])
    index.add(vectors)
    faiss.omp_set_num_threads(1)
    passing = {key: np.arange(len(vectors)) % step == 0 for key, step in FILTERS.items()}
    selectors = {key: faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little")) for key, rows in passing.items()}

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        how = faiss.SearchParametersIVF(nprobe=effort, sel=None if key is None else selectors[key])
        return index.search(query[None], K, params=how)[1][0].tolist()

    return Peer("index", search, lambda more, start: index.add(more), (1, 2, 4, 8, 16, 32, 64, 128, 256))


def of_hnswlib(home: Path, vectors: Any, threads: int) -> Peer:
    import hnswlib

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors) + ADDED, M=16, ef_construction=200)
    index.add_items(vectors, num_threads=threads)
    index.set_num_threads(1)

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        index.set_ef(effort)
        found: list[int] = index.knn_query(query, K)[0][0].tolist()
        return found

    def add(more: Any, start: int) -> None:
        index.add_items(more, np.arange(start, start + len(more)), num_threads=threads)

    return Peer("index", search, add, EFFORTS, filters=False)


def of_usearch(home: Path, vectors: Any, threads: int) -> Peer:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=16)
    index.add(np.arange(len(vectors)), vectors, threads=threads)

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        index.expansion_search = effort
        return index.search(query, K, threads=1).keys.tolist()

    def add(more: Any, start: int) -> None:
        index.add(np.arange(start, start + len(more)), more, threads=threads)

    return Peer("index", search, add, EFFORTS, filters=False)


def of_lancedb(home: Path, vectors: Any, threads: int) -> Peer:
    import lancedb
    import pyarrow as pa

    def table_of(rows: Any, start: int) -> Any:
        numbers = range(start, start + len(rows))
        columns = {key: [facts(row)[key] for row in numbers] for key in facts(0)}
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        return pa.table(
            {"id": list(numbers), "label": [f"label {row % 1000}" for row in numbers], "vector": values, **columns}
        )

    connection, built = lancedb.connect(home / "lance"), home / "lance.built"
    if built.exists():
        table = connection.open_table("rows")
        table.delete(f"id >= {len(vectors)}")
    else:
        table = connection.create_table("rows", table_of(vectors, 0), mode="overwrite")
        table.create_index(metric="cosine", vector_column_name="vector", index_type="IVF_HNSW_SQ")
        for key in FILTERS:
            table.create_scalar_index(key)
        built.touch()

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        # How much is looked at: compared in full, for each one that is wanted, of the 20 nearest lists.
        asked = table.search(query).metric("cosine").limit(K).nprobes(20).ef(max(effort, 4 * K)).refine_factor(4)
        if key is not None:
            asked = asked.where(f"{key} = 0", prefilter=True)
        return [row["id"] for row in asked.select(["id", "label", "price"]).to_list()]

    return Peer("database", search, lambda more, start: table.add(table_of(more, start)), EFFORTS)


def of_chroma(home: Path, vectors: Any, threads: int) -> Peer:
    import chromadb

    client = chromadb.PersistentClient(str(home / "chroma"))
    collection = client.create_collection("rows", metadata={"hnsw:space": "cosine", "hnsw:num_threads": threads})

    def add(rows: Any, start: int) -> None:
        for place in range(0, len(rows), 5000):
            numbers = range(start + place, start + min(place + 5000, len(rows)))
            told: list[Any] = [{"label": f"label {row % 1000}", **facts(row)} for row in numbers]
            part = rows[place : place + 5000]
            collection.add(ids=[str(row) for row in numbers], embeddings=part, metadatas=told)

    add(vectors, 0)

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        how: dict[str, Any] = {} if key is None else {"where": {key: 0}}
        found = collection.query(query_embeddings=query[None], n_results=K, include=["metadatas", "distances"], **how)
        return [int(id) for id in found["ids"][0]]

    return Peer("database", search, add)


def of_qdrant(home: Path, vectors: Any, threads: int) -> Peer:
    from qdrant_client import QdrantClient
    from qdrant_client import models as q

    client = QdrantClient(path=str(home / "qdrant"))
    params = q.VectorParams(size=vectors.shape[1], distance=q.Distance.COSINE)
    client.create_collection("rows", vectors_config=params)

    def add(rows: Any, start: int) -> None:
        numbers = range(start, start + len(rows))
        told = [{"label": f"label {row % 1000}", **facts(row)} for row in numbers]
        client.upload_collection("rows", vectors=rows, ids=list(numbers), payload=told)

    add(vectors, 0)

    def search(query: Any, effort: int, key: str | None) -> list[int]:
        passing = None
        if key is not None:
            passing = q.Filter(must=[q.FieldCondition(key=key, match=q.MatchValue(value=0))])
        found = client.query_points("rows", query=query.tolist(), limit=K, query_filter=passing, with_payload=True)
        return [int(point.id) for point in found.points]

    return Peer("database", search, add)


#: What makes a peer, and the module that it needs.
MAKERS: dict[str, tuple[Callable[[Path, Any, int], Peer], bool]] = {
    "exact": (compared, True),
    "hnsw": (hnsw, True),
    "ivf": (ivf, True),
    "hnswlib": (of_hnswlib, True),
    "usearch": (of_usearch, True),
    "lancedb": (of_lancedb, find_spec("lancedb") is not None),
    "chroma": (of_chroma, find_spec("chromadb") is not None),
    "qdrant": (of_qdrant, find_spec("qdrant_client") is not None),
}


def tune(peer: Peer, queries: Any, truth: list[set[int]]) -> None:
    # One that chooses by itself is searched as well, so that what it reads is in memory, as it is for the others.
    for effort in peer.efforts or (0,):
        peer.effort = effort
        found = sum(len({*peer.search(query, effort, None)} & best) for query, best in zip(queries, truth, strict=True))
        if found >= RECALL * K * len(queries):
            return


def race(peers: dict[str, Peer], key: str, queries: Any, truth: list[set[int]]) -> None:
    """Searches for each query by each peer; who is first changes."""
    names = [name for name, peer in peers.items() if not key or peer.filters]
    for name in names:
        peers[name].times[key], peers[name].right[key] = [], 0
        peers[name].search(queries[0], peers[name].effort, key or None)
    for number, (query, best) in enumerate(zip(queries, truth, strict=True)):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            peer = peers[name]
            start = time.perf_counter()
            found = peer.search(query, peer.effort, key or None)
            peer.times[key].append(time.perf_counter() - start)
            peer.right[key] += len({*found} & best)


def added(peers: dict[str, Peer], more: Any, queries: Any, count: int) -> None:
    """Adds rows and searches once, by turns."""
    for turn in range(ADDITIONS):
        for peer in peers.values():
            if peer.add is not None:
                first = turn * ADDED
                start = time.perf_counter()
                peer.add(more[first : first + ADDED], count + first)
                peer.search(queries[turn], peer.effort, None)
                peer.times.setdefault("add", []).append(time.perf_counter() - start)


def report(peers: dict[str, Peer], queries: int) -> None:
    mine = peers["ours"]
    for key, title in {
        "": "all rows",
        "tenth": "10 % pass",
        "rare": ".5 % pass",
        "add": f"add {ADDED:,}, search",
    }.items():
        print(f"-- {title}")
        for name, peer in peers.items():
            if key not in peer.times:
                continue
            each, own = median(peer.times[key]), median(mine.times[key])
            recall = f", recall {peer.right[key] / (K * queries):.3f}" if key in peer.right else ""
            print(f"{name:8} {peer.kind:8} {1e3 * each:9.3f} ms, ratio {each / own:6.2f}{recall}", flush=True)


if __name__ == "__main__":
    main()
