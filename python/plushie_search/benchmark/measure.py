"""Measures a search: the time of single queries, throughput by several clients, and recall."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Hits of each search.
K = 10
#: Clients that search at the same time, in turn.
CLIENTS = (1, 2, 8)
#: Searches before the first one that is measured.
WARM = 20

#: Finds the ids of the best hits of a query, best first.
Search: TypeAlias = Callable[[NDArray[np.float32]], Sequence[Hashable]]


def latencies(search: Search, queries: NDArray[np.float32]) -> tuple[NDArray[np.float64], list[Sequence[Hashable]]]:
    """Searches for one query after another, and returns the seconds and the hits of each."""
    for query in queries[:WARM]:
        search(query)
    seconds, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        seconds.append(time.perf_counter() - start)
    return np.array(seconds), found


def throughput(search: Search, queries: NDArray[np.float32], clients: int) -> float:
    """Returns the searches a second of several threads that together search for each query once."""
    shares = [queries[client::clients] for client in range(clients)]

    def work(share: NDArray[np.float32]) -> None:
        for query in share:
            search(query)

    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        list(pool.map(work, shares))
        return len(queries) / (time.perf_counter() - start)


def recall(found: Sequence[Sequence[Hashable]], truth: Sequence[Sequence[Hashable]], k: int = K) -> float:
    """Returns the share of the exact best ``k`` that are among the ``k`` found, over all queries."""
    right = wanted = 0
    for hits, best in zip(found, truth, strict=True):
        right += len({*hits[:k]} & {*best[:k]})
        wanted += len(best[:k])
    return right / max(wanted, 1)


def anonymous_bytes() -> int | None:
    """Returns the anonymous memory of this process, without pages of files; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), None)


def disk_bytes(path: str) -> int:
    """Returns the bytes of all files below a directory."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


def figures(search: Search, queries: NDArray[np.float32], truth: Sequence[Sequence[Hashable]]) -> dict[str, Any]:
    """Returns milliseconds of single searches, searches a second by numbers of clients, and recall."""
    seconds, found = latencies(search, queries)
    p50, p95, p99 = (1e3 * np.quantile(seconds, share) for share in (0.5, 0.95, 0.99))
    return {
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "queries_per_second": {clients: throughput(search, queries, clients) for clients in CLIENTS},
        "recall": recall(found, truth),
    }
