"""Simulates a search that asks every shard and waits for the last: the tail of fan-out, stragglers and hedging.

    python benches/sharded.py

A shard's latency is drawn from the latencies of searches that are measured here, in a catalog of one shard. In a share
of the requests a shard is a straggler: it pauses, as a collector of garbage or a busy disk makes it. Hedging sends a
request again to a replica after the 95th percentile, and takes the first answer.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps


def measured(references: int, dim: int, queries: int) -> NDArray[np.float64]:
    """Returns the milliseconds of searches in a catalog of one shard: shape (queries,)."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((references, dim)).astype(np.float32)
    asked = random.standard_normal((queries, dim)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder, ps.Engine(f"{folder}/catalog", dim=dim) as engine:
        engine.add_vectors([str(row) for row in range(references)], vectors)
        engine.search_vector(asked[0], k=10)
        times = []
        for query in asked:
            began = time.perf_counter()
            engine.search_vector(query, k=10)
            times.append(1000 * (time.perf_counter() - began))
    return np.array(times)


def simulated(
    base: NDArray[np.float64], shards: int, *, pauses: float, pause: float, hedge: bool, rounds: int
) -> NDArray[np.float64]:
    """Returns the milliseconds of searches over shards: shape (rounds,)."""
    random = np.random.default_rng(1)

    def drawn() -> NDArray[np.float64]:
        times = random.choice(base, (rounds, shards))
        return times + np.where(random.random((rounds, shards)) < pauses, random.exponential(pause, times.shape), 0)

    times = drawn()
    if hedge:
        after = np.quantile(times, 0.95)
        times = np.where(times > after, np.minimum(times, after + drawn()), times)
    return times.max(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--references", type=int, default=20_000, help="of the shard that is measured")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--pauses", type=float, default=0.01, help="the share of requests in which a shard pauses")
    parser.add_argument("--pause", type=float, default=50.0, help="how long on average, in milliseconds")
    parser.add_argument("--rounds", type=int, default=5000)
    options = parser.parse_args()
    base = measured(options.references, options.dim, options.queries)
    print(f"one shard: {np.median(base):.2f} ms at the median, {np.quantile(base, 0.99):.2f} ms at the 99th percentile")
    print("shards   median   99th      with hedging: median   99th   (times the median of one shard)")
    for shards in (1, 4, 16, 64, 256):
        row = []
        for hedge in (False, True):
            times = simulated(
                base, shards, pauses=options.pauses, pause=options.pause, hedge=hedge, rounds=options.rounds
            )
            row += [np.quantile(times, share) / np.median(base) for share in (0.5, 0.99)]
        print(f"{shards:6}   {row[0]:6.1f} {row[1]:6.1f}                    {row[2]:6.1f} {row[3]:6.1f}")


if __name__ == "__main__":
    main()
