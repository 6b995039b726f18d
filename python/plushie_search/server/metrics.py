"""Metrics for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from .._core import __version__
from .catalog import Catalog
from .lanes import Lane, Memory

#: The variable that names the folder in which the processes of a server count together.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts requests and their times.

    Args:
        catalogs: The catalogs, whose sizes are told.
        lanes: The lanes, whose requests are told.
        memory: The bodies that are held.
    """

    def __init__(self, catalogs: Iterable[Catalog], lanes: Iterable[Lane], memory: Memory) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "plushie_requests_total", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self.stages = Histogram(
            "plushie_stage_seconds",
            "Seconds of the stages of requests: queue, read, compute (of it encode, search), total.",
            ["stage", "lane"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "plushie_batch_queries", "Queries in a request.", buckets=SIZES, registry=self._registry
        )
        self._children: dict[Any, Any] = {}
        self._gauges = _Gauges(list(catalogs), list(lanes), memory)
        self._registry.register(self._gauges)

    def count(self, route: str, status: int) -> None:
        """Counts an answer."""
        child = self._children.get((route, status))
        if child is None:
            child = self._children[route, status] = self.requests.labels(route, str(status))
        child.inc()

    def time(self, stage: str, lane: str, seconds: float) -> None:
        """Notes how long a stage of a request took."""
        child = self._children.get((stage, lane, "time"))
        if child is None:
            child = self._children[stage, lane, "time"] = self.stages.labels(stage, lane)
        child.observe(seconds)

    def text(self) -> bytes:
        """Returns all metrics in the format of Prometheus; of all processes if they count together."""
        if not os.environ.get(MULTIPROCESS):
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        registry.register(self._gauges)
        return generate_latest(registry)


class _Gauges:
    """Tells sizes at the time of the question."""

    def __init__(self, catalogs: list[Catalog], lanes: list[Lane], memory: Memory) -> None:
        self._catalogs, self._lanes, self._memory = catalogs, lanes, memory

    def collect(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily("plushie_info", "The version of the program.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        waiting = GaugeMetricFamily("plushie_requests_inside", "Requests that wait or compute.", labels=["lane"])
        for lane in self._lanes:
            waiting.add_metric([lane.name], lane.inside)
        yield waiting
        yield _gauge("plushie_body_bytes", "Bytes of bodies that are held.", self._memory.held)
        if (memory := resident()) is not None:
            yield _gauge("plushie_resident_bytes", "Memory of the process that answers.", memory)
        items = GaugeMetricFamily("plushie_items", "Items of a catalog.", labels=["catalog"])
        references = GaugeMetricFamily("plushie_references", "References of a catalog.", labels=["catalog"])
        cache = GaugeMetricFamily(
            "plushie_cache",
            "Queries that were remembered (hits) or encoded (misses).",
            labels=["catalog", "kind", "outcome"],
        )
        for catalog in self._catalogs:
            name, stats = catalog.name, catalog.engine.stats()
            items.add_metric([name], stats["items"])
            references.add_metric([name], stats["references"])
            for kind, counts in stats.get("cache", {}).items():
                for outcome, number in counts.items():
                    cache.add_metric([name, kind, outcome], number)
        yield from (items, references, cache)


def _gauge(name: str, help: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help, value)


def resident() -> int | None:
    """Returns the bytes of memory that this process holds; None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
