"""Exact search, ours against faiss-cpu's IndexFlatIP from its wheel: same vectors, same threads, one process.

    python benches/search.py            # 1 and 2 threads, 100,000 vectors of 256 and 512 numbers, k=10

Candidate and reference take turns, so that a busy neighbor slows both; the ratio of the medians is what counts
(above 1 means that ours is faster). Both must find the same ids.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 128])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    if len(options.threads) == 1:
        run(options)
        return
    # The number of threads is fixed once a process has started its pools.
    for threads in options.threads:
        arguments = [*sys.argv[1:], "--threads", str(threads)]
        subprocess.run([sys.executable, __file__, *arguments], check=True)


def run(options: argparse.Namespace) -> None:
    threads = options.threads[0]
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    import faiss
    import numpy as np

    from plushie_search._core import Index

    faiss.omp_set_num_threads(threads)
    random = np.random.default_rng(0)
    for dim in options.dims:
        vectors = random.standard_normal((options.vectors, dim), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        theirs = faiss.IndexFlatIP(dim)
        theirs.add(vectors)
        ours = Index(dim)
        ours.add(np.arange(options.vectors), vectors)
        for batch in options.batches:
            queries = random.standard_normal((options.rounds, batch, dim), dtype=np.float32)
            queries /= np.linalg.norm(queries, axis=2, keepdims=True)
            searches = {
                "ours": lambda query, index=ours: index.search(query, k=K)[:2],
                "theirs": lambda query, index=theirs: index.search(query, K),
            }
            times = interleave(searches, queries)
            mine, other = median(times["ours"]), median(times["theirs"])
            print(
                f"{options.vectors} x {dim}, threads {threads}, batch {batch:4}: ours {1e3 * mine:7.2f} ms, "
                f"faiss {faiss.__version__} {1e3 * other:7.2f} ms, ratio {other / mine:5.2f}",
                flush=True,
            )


def interleave(searches: dict[str, Callable], queries: Iterable) -> dict[str, list[float]]:
    """The seconds of each search for each query, after comparing what they found; they take turns at being first."""
    times: dict[str, list[float]] = {name: [] for name in searches}
    for number, query in enumerate(queries):
        found = {}
        for name in sorted(searches, reverse=number % 2 == 1):
            start = time.perf_counter()
            found[name] = searches[name](query)
            times[name].append(time.perf_counter() - start)
        compare(found["ours"], found["theirs"])
    return times


def compare(ours: tuple, theirs: tuple) -> None:
    """The ids must be the same; where two scores are equal to six digits, either may come first."""
    (our_scores, our_ids), (their_scores, their_ids) = ours, theirs
    assert abs(our_scores - their_scores).max() < 1e-6, "the scores differ"
    for i, j in zip(*(our_ids != their_ids).nonzero(), strict=True):
        neighbors = (abs(our_scores[i] - our_scores[i, j]) < 1e-6).sum() - 1
        assert neighbors or j == K - 1, "the ids differ"


if __name__ == "__main__":
    main()
