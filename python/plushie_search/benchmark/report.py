"""The figures of a benchmark, as a table, a dict or a page."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..show.plot import plot_page
from ..show.table import table


@dataclass(frozen=True)
class Point:
    """How many searches a second one client makes, and their recall, at one effort.

    Attributes:
        effort: The option of the search, such as ``nprobe=8``.
        recall: The share of the exact best 10 that was found.
        queries_per_second: Searches a second, one after another.
    """

    effort: str
    recall: float
    queries_per_second: float


@dataclass(frozen=True)
class Benchmark:
    """The figures of a search.

    Attributes:
        source: The catalog or file.
        vectors, dimension, metric, index: How many vectors, their numbers, how they are compared, and by which index.
        queries: How many queries were measured.
        build_seconds: The time to build the index; None if it was there.
        p50_ms, p95_ms, p99_ms: Milliseconds that half, 95 % and 99 % of single searches take at most.
        queries_per_second: Searches a second, by the number of clients.
        recall: The share of the exact best 10 that was found.
        memory_bytes: Anonymous memory that vectors and index take; None where the system does not tell.
        disk_bytes: Bytes of the catalog's directory as it is, so without an index that was built to be measured; with
            it for vectors of a file, which are in a catalog of their own. None without a catalog.
        curve: Recall and speed at several efforts.
    """

    source: str
    vectors: int
    dimension: int
    metric: str
    index: str
    queries: int
    build_seconds: float | None
    p50_ms: float
    p95_ms: float
    p99_ms: float
    queries_per_second: dict[int, float]
    recall: float
    memory_bytes: int | None
    disk_bytes: int | None
    curve: list[Point] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures by their names, for JSON."""
        return asdict(self)

    def to_html(self) -> str:
        """Returns a page with the table and a plot of queries a second against recall."""
        points = [(point.recall, point.queries_per_second, point.effort) for point in self.curve]
        return plot_page(
            f"{self.source}: {self.index}", self._rows(), points, "recall of the exact best 10", "queries a second"
        )

    def __str__(self) -> str:
        rows = self._rows()
        lines = [table(("figure", "value"), rows, widest=60)]
        if len(self.curve) > 1:
            points = [(one.effort, f"{one.recall:.3f}", f"{one.queries_per_second:,.0f}") for one in self.curve]
            lines.append(table(("effort", "recall", "queries a second"), points))
        return "\n\n".join(lines)

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("vectors", f"{self.vectors:,} x {self.dimension}"),
            ("metric", self.metric),
            ("index", self.index),
            ("queries", f"{self.queries:,}"),
            ("recall of the exact best 10", f"{self.recall:.3f}"),
            ("one search, p50 / p95 / p99", f"{self.p50_ms:.3g} / {self.p95_ms:.3g} / {self.p99_ms:.3g} ms"),
        ]
        for clients, rate in self.queries_per_second.items():
            rows.append((f"searches a second, {clients} {'client' if clients == 1 else 'clients'}", f"{rate:,.0f}"))
        if self.build_seconds is not None:
            rows.append(("index built in", f"{self.build_seconds:.2f} s"))
        for name, size in (("memory", self.memory_bytes), ("disk of the catalog", self.disk_bytes)):
            if size is not None:
                rows.append((name, f"{size / 1e6:,.1f} MB"))
        return rows
