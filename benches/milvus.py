"""Compares `MilvusEngine` on Milvus Lite with pymilvus used by hand, and with the local engine: values and speed.

    pip install 'plushie_search[milvus]'
    python benches/milvus.py
    python benches/milvus.py --values    # 10,000 references, 500 queries of each kind: ids and scores

By hand is what the manual shows: a collection with a key, a label and a vector, rows inserted in batches of 4,000, and
a search for k rows with their labels. "Same collection" is such a search of the collection that `MilvusEngine` filled.
Each side fills its collection, and all search by turns, in one process, which Milvus Lite shares. Times are those of
the clock, and of the processor, which say more on a busy machine.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps

BATCH = 4000


def vectors_of(count: int, dim: int) -> NDArray[np.float32]:
    dice = np.random.default_rng(0)
    centers = dice.standard_normal((200, dim))
    rows = centers[dice.integers(0, 200, count)] + 0.7 * dice.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_hand(client: Any, rows: NDArray[np.float32]) -> None:
    """Fills a collection as the manual of pymilvus shows."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("label", DataType.VARCHAR, max_length=200)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=rows.shape[1])
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="COSINE")
    client.create_collection("hand", schema=schema, index_params=index, consistency_level="Strong")
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        client.insert(
            "hand",
            [{"pk": f"item-{start + n}", "label": f"label {n % 7}", "vector": row} for n, row in enumerate(some)],
        )
    client.flush("hand")
    client.load_collection("hand")


def timed(work: Callable[[], Any]) -> NDArray[np.float64]:
    """Returns the seconds of the clock and of the processor."""
    began = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - began[0], time.process_time() - began[1]])


def speed(options: argparse.Namespace) -> None:
    from pymilvus import MilvusClient

    rows = vectors_of(options.vectors, options.dim)
    queries = vectors_of(options.queries, options.dim) + 0.01
    ids = [f"item-{row}" for row in range(len(rows))]
    labels = [f"label {row % 7}" for row in range(len(rows))]
    with tempfile.TemporaryDirectory() as folder:
        client = MilvusClient(f"{folder}/hand.db")
        filled = {"pymilvus by hand": timed(lambda: by_hand(client, rows))}
        engine = ps.MilvusEngine(f"{folder}/ours.db", dim=options.dim, timeout=600)
        filled["MilvusEngine"] = timed(lambda: engine.add_vectors(ids, rows, labels=labels) and ids[0] in engine)
        local = ps.Engine(f"{folder}/catalog", dim=options.dim, index="exact")
        filled["Engine, exact"] = timed(lambda: local.add_vectors(ids, rows, labels=labels))
        beside = MilvusClient(f"{folder}/ours.db")

        def hand(query: NDArray[np.float32]) -> list[str]:
            found = client.search("hand", [query], anns_field="vector", limit=options.k, output_fields=["label"])
            return [hit["pk"] for hit in found[0]]

        def same(query: NDArray[np.float32]) -> list[str]:
            fields = ["item", "label"]
            found = beside.search("plushie", [query], anns_field="vector_0", limit=options.k, output_fields=fields)
            return [hit["entity"]["item"] for hit in found[0]]

        sides: dict[str, Callable[[NDArray[np.float32]], list[str]]] = {
            "pymilvus by hand": hand,
            "same collection": same,
            "MilvusEngine": lambda query: [hit.item for hit in engine.search_vector(query, k=options.k)],
            "Engine, exact": lambda query: [hit.item for hit in local.search_vector(query, k=options.k)],
        }
        times: dict[str, list[NDArray[np.float64]]] = {name: [] for name in sides}
        found: dict[str, list[list[str]]] = {name: [] for name in sides}
        for side in sides.values():
            side(queries[0])
        dice = random.Random(0)
        for query in queries:
            for name, side in dice.sample(list(sides.items()), len(sides)):
                times[name].append(timed(lambda: found[name].append(side(query))))  # noqa: B023
        print(f"{options.vectors:,} × {options.dim}, k = {options.k}, medians of {options.queries} queries")
        hand_time = np.median(times["pymilvus by hand"], axis=0)
        for name in sides:
            middle = np.median(times[name], axis=0)
            agree = np.mean([a == b for a, b in zip(found[name], found["Engine, exact"], strict=True)])
            print(f"{name:18} {told(1000 * middle, 'ms')}, {ratio(middle, hand_time)}; as the exact one: {agree:.3f}")
        print("filled")
        for name, fill in filled.items():
            print(f"{name:18} {told(fill, 's')}, {ratio(fill, filled['pymilvus by hand'])}")
        beside.close()
        engine.close()
        local.close()


def told(both: NDArray[np.float64], unit: str) -> str:
    return f"{both[0]:8.2f} {unit}, processor {both[1]:8.2f} {unit}"


def ratio(both: NDArray[np.float64], hand: NDArray[np.float64]) -> str:
    clock, processor = both / hand
    return f"{clock:5.2f} (processor {processor:5.2f}) of by hand"


class Random:
    """An encoder of random vectors of what it sees and reads."""

    def __init__(self, name: str, dim: int) -> None:
        self.name, self.dim, self.fingerprint = name, dim, f"{name}-{dim}"

    def encode_images(self, images: list[Any]) -> Any:
        return np.stack([self._vector(int(image.astype(np.int64).sum())) for image in images])

    def encode_texts(self, texts: list[str]) -> Any:
        return np.stack([self._vector(hash(text) % 2**32) for text in texts])

    def _vector(self, seed: int) -> Any:
        return np.random.default_rng(seed).normal(size=self.dim) + 0.2


def values(options: argparse.Namespace) -> None:
    models = [Random("first", 64), Random("second", 48)]
    count, asked = 10_000, options.queries
    ids = [f"item {row // 2}" for row in range(count)]
    rows = {model.name: vectors_of(count, model.dim) for model in models}
    metadata = [{"n": row % 17} for row in range(count)]
    pictures = np.random.default_rng(1).integers(0, 256, size=(asked, 6, 6, 3), dtype=np.uint8)
    texts = [f"text {number}" for number in range(asked)]
    both = {"first": 0.6, "second": 0.4}
    kinds: dict[str, tuple[list[ps.Query], dict[str, Any]]] = {
        "image": ([ps.Query(image=one) for one in pictures], {}),
        "text": ([ps.Query(text=one) for one in texts], {}),
        "filtered": ([ps.Query(image=one) for one in pictures], {"where": {"n": {"$lt": 5}}}),
        "hybrid": ([ps.Query(image=a, text=b) for a, b in zip(pictures, texts, strict=True)], {}),
        "weighted": (
            [
                ps.Query(image=[(a, 0.7), (b, 0.3)], text=[(text, 0.5), (f"not {text}", -0.2)])
                for a, b, text in zip(pictures, pictures[::-1], texts, strict=True)
            ],
            {},
        ),
        "two models": ([ps.Query(image=one) for one in pictures], {"models": both}),
        "sum": ([ps.Query(image=a, text=b) for a, b in zip(pictures, texts, strict=True)], {"fusion": "sum"}),
    }
    with tempfile.TemporaryDirectory() as folder:
        local = ps.Engine(f"{folder}/catalog", model=models)
        milvus = ps.MilvusEngine(f"{folder}/m.db", model=models, index="FLAT")
        for one in (local, milvus):
            one.add_vectors(ids, rows, metadata=metadata, references=[str(row) for row in range(count)])
        for kind, (queries, how) in kinds.items():
            off, differ = 0.0, 0
            for found, wanted in zip(
                milvus.search(queries, k=10, **how), local.search(queries, k=10, words=False, **how), strict=True
            ):
                differ += [hit.item for hit in found] != [hit.item for hit in wanted]
                off = max(off, *(abs(a.score - b.score) for a, b in zip(found, wanted, strict=True)))
            print(
                f"{kind:12} {asked} queries over {count:,} references: {differ} lists differ, scores by {off:.1e}",
                flush=True,
            )
        milvus.close()
        local.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", action="store_true", help="compare ids and scores in place of speed")
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=0, help="500 for values, 30 for speed by default")
    parser.add_argument("-k", type=int, default=10)
    options = parser.parse_args()
    if find_spec("pymilvus") is None:
        raise SystemExit("this needs pymilvus: pip install 'plushie_search[milvus]'")
    options.queries = options.queries or (500 if options.values else 30)
    values(options) if options.values else speed(options)


if __name__ == "__main__":
    main()
