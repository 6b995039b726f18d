"""The result of an evaluation: figures with intervals, the outcome of each query, and confusions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..metrics import Confusion, Interval, OpenSet
from ..paths import written
from ..show import markdown, page
from ..show.table import counted, printable, table
from .certainty import BINS, RELIABILITY, Certainty

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

#: The most confusions that are printed.
PRINTED = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one query for items of the catalog.

    Attributes:
        query: The picture's path or number, the text, or the name of the reference that was left out.
        items: The right items.
        rank: The rank of the best right item, from 1; None if none is among the first ``depth``.
        score: Its cosine.
        reference: Its reference that matched best; where none was found, the first one of a right item.
        wrong: The best wrong item; None if nothing wrong was found.
        wrong_score: Its cosine.
        wrong_reference: Its reference that matched best.
        probability: The probability of the first hit; None if there is none.
    """

    query: str
    items: tuple[str, ...]
    rank: int | None
    score: float | None
    reference: str | None
    wrong: str | None
    wrong_score: float | None
    wrong_reference: str | None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class UnknownQuery:
    """A query for an item that is not in the catalog, with its best hit: the item, its cosine, its reference, and its
    probability, which is None if there is none."""

    query: str
    item: str | None
    score: float
    reference: str | None
    probability: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """Figures of a catalog for queries whose items are known.

    Prints as a table, shows its worst failures as pictures in a notebook, and converts with :meth:`to_dict`,
    :meth:`to_pandas`, :meth:`to_markdown` and :meth:`to_html`.

    Attributes:
        catalog: The catalog's directory.
        model: The model's name.
        metrics: Each figure with its 95 % interval: ``hit@1``, ``hit@k``, ``precision@k``, ``recall@k`` and ``nDCG@k``;
            ``mAP`` and ``MRR``, which count an item below rank ``depth`` as not found; with unknown queries ``AUROC``
            and the share of them accepted, ``false accepts``; with probabilities ``FPIR``, the share of unknown queries
            that :meth:`Engine.identify` takes for an item, and ``FNIR``, the share of the others that it misses.
        k, depth: The numbers of items that the figures look at.
        items: The number of different items with queries. The intervals draw each item with all its queries.
        outcomes: The outcome of each query.
        confusions: The pairs of items that are confused, the most frequent first.
        unknown: The best hit of each unknown query.
        open_set: The threshold behind AUROC and false accepts; None without unknown queries.
        certainty: How far probabilities can be trusted; None without them or without unknown queries.
        failed: Pictures that could not be used, each with the reason.
        skipped: The queries for items that are not in the catalog, which ``missing="skip"`` leaves out.
        near_duplicates: The number of picture queries that match a reference with cosine 1. They are most likely in the
            catalog, and their success says nothing.
    """

    catalog: str
    model: str
    metrics: dict[str, Interval]
    k: int
    depth: int
    items: int
    outcomes: tuple[Outcome, ...]
    confusions: tuple[Confusion, ...]
    unknown: tuple[UnknownQuery, ...]
    open_set: OpenSet | None
    certainty: Certainty | None
    failed: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...]
    near_duplicates: int
    #: The figures of each query, and the pictures of those that failed.
    _values: Mapping[str, NDArray[np.float64]]
    _subjects: Mapping[int, Any]

    @property
    def queries(self) -> int:
        """The number of queries for items of the catalog."""
        return len(self.outcomes)

    def failures(self) -> list[int]:
        """Returns the places in ``outcomes`` of queries that found no right item first, the worst first.

        Those that found no right item at all come before the others, which are sorted by the lead of the wrong item.
        """

        def margin(place: int) -> tuple[bool, float]:
            outcome = self.outcomes[place]
            return outcome.score is not None, (outcome.score or 0.0) - (outcome.wrong_score or 0.0)

        return sorted((i for i, outcome in enumerate(self.outcomes) if outcome.rank != 1), key=margin)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain dicts and lists, ready for JSON."""
        return {
            "catalog": self.catalog,
            "model": self.model,
            "queries": self.queries,
            "items": self.items,
            "k": self.k,
            "depth": self.depth,
            "near_duplicates": self.near_duplicates,
            "skipped": list(self.skipped),
            "metrics": {name: interval._asdict() for name, interval in self.metrics.items()},
            "threshold": None if self.open_set is None else self.open_set.threshold,
            "certainty": None if self.certainty is None else self.certainty.to_dict(),
            "confusions": [confusion._asdict() for confusion in self.confusions],
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "unknown": [asdict(query) for query in self.unknown],
            "failed": [{"query": name, "reason": reason} for name, reason in self.failed],
        }

    def to_pandas(self) -> pd.DataFrame:
        """Returns the outcomes as a data frame, one row for each query, with its figures.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Evaluation.to_pandas needs pandas; install it with: pip install pandas") from error
        frame = pd.DataFrame(map(asdict, self.outcomes), columns=list(Outcome.__dataclass_fields__))
        return frame.assign(**self._values)

    def to_markdown(self) -> str:
        """Returns the figures and the worst confusions as Markdown tables."""
        notes = (markdown.line(note) for note in self._notes())
        parts = [f"{markdown.line(self._head())}.", markdown.table(FIGURES, self._rows()), *notes]
        if self.certainty:
            parts += [f"{RELIABILITY}:", markdown.table(BINS, self.certainty.rows())]
        if self.confusions:
            parts += ["Found instead:", markdown.table(CONFUSIONS, self._confused())]
        return "\n\n".join(parts) + "\n"

    def to_html(self, path: str | os.PathLike[str] | None = None, *, worst: int = 24) -> str:
        """Returns a self-contained HTML page: figures, confusions, and the ``worst`` failures in pictures.

        Args:
            path: A file to write it to; none by default.
            worst: The most failures, and the most accepted unknown queries, to show.

        Raises:
            OSError: The file cannot be written.
        """
        return written(page.document(self._head(), heading="How good is the search?", content=self._page(worst)), path)

    def __repr__(self) -> str:
        lines = [self._head(), table(FIGURES, self._rows(), widest=80), *self._notes()]
        if self.certainty:
            lines += [f"{RELIABILITY}:", table(BINS, self.certainty.rows())]
        if self.confusions:
            lines += ["found instead:", table(CONFUSIONS, self._confused())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self._page(8)

    def _page(self, worst: int) -> str:
        """Returns the figures, confusions and failures in HTML."""
        parts = [page.paragraph(self._head()), page.table(FIGURES, self._rows())]
        parts += map(page.paragraph, self._notes())
        if self.certainty:
            parts += [page.heading(RELIABILITY), page.table(BINS, self.certainty.rows())]
        if self.confusions:
            parts += [page.heading("Found instead"), page.table(CONFUSIONS, self._confused())]
        failures = self.failures()
        if failures:
            parts.append(page.heading(f"The worst of {counted(len(failures), 'failure')}"))
            parts += [_failure(self.outcomes[i], self._subjects.get(i)) for i in failures[:worst]]
        bar = float("inf") if self.open_set is None else self.open_set.threshold
        accepted = sorted((one for one in self.unknown if one.score >= bar), key=lambda one: -one.score)
        if accepted:
            parts.append(page.heading(f"{counted(len(accepted), 'unknown query', 'unknown queries')} accepted"))
            parts += [_accepted(query) for query in accepted[:worst]]
        return "".join(parts)

    def _head(self) -> str:
        model, catalog = printable(self.model), printable(Path(self.catalog).name)
        return f"{counted(self.queries, 'query', 'queries')} for {counted(self.items, 'item')} in {catalog} ({model})"

    def _rows(self) -> list[tuple[str, ...]]:
        return [(name, *cells(interval)) for name, interval in self.metrics.items()]

    def _confused(self) -> list[tuple[str, ...]]:
        return [(row.item, row.instead, str(row.times), str(row.queries)) for row in self.confusions[:PRINTED]]

    def _notes(self) -> list[str]:
        notes = []
        if self.metrics["hit@1"].value == 1:
            # The rule of three (Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", 1983).
            least = max(0.0, 1 - 3 / self.items)
            notes.append(
                f"Where nothing failed the interval has no width, but with {counted(self.items, 'item')} the true rate "
                f"may be as low as {least:.2%}."
            )
        if self.open_set is not None:
            bar = self.open_set.threshold
            accepted = sum(query.score >= bar for query in self.unknown)
            unknown = counted(len(self.unknown), "unknown query", "unknown queries")
            notes.append(
                f"The threshold {bar:.3f} turns away {self.open_set.false_reject_rate:.1%} of the known queries and "
                f"accepts {accepted} of {unknown}."
            )
        if self.certainty is not None:
            notes += self.certainty.notes()
        notes += self._doubts()
        if self.failed:
            notes.append(f"{counted(len(self.failed), 'picture')} could not be used.")
        return notes

    def _doubts(self) -> list[str]:
        """Returns the reasons why the figures may be better than the search is."""
        notes = []
        if self.near_duplicates:
            verb, proves = ("is", "proves") if self.near_duplicates == 1 else ("are", "prove")
            queries = counted(self.near_duplicates, "query", "queries")
            notes.append(f"{queries} {verb} most likely in the catalog, with cosine 1, and {proves} nothing.")
        if self.skipped:
            verb = "was" if len(self.skipped) == 1 else "were"
            notes.append(
                f"{counted(len(self.skipped), 'query', 'queries')} {verb} left out, for items that are not in the "
                "catalog."
            )
        return notes


FIGURES = ["figure", "value", "95 % from", "to"]
CONFUSIONS = ["item", "found instead", "times", "of queries"]


def cells(interval: Interval) -> tuple[str, str, str]:
    """Returns an interval as three cells of a table."""
    return f"{interval.value:.3f}", f"{interval.low:.3f}", f"{interval.high:.3f}"


def _failure(outcome: Outcome, subject: Any) -> str:
    place = "not found" if outcome.rank is None else f"found at {outcome.rank}"
    right = " | ".join(outcome.items)
    return page.pictures(
        page.Picture("query", outcome.query, outcome.query, subject),
        page.Picture(f"right, {place}{_score(outcome.score)}", right, outcome.reference),
        page.Picture(f"instead{_score(outcome.wrong_score)}", outcome.wrong or "nothing", outcome.wrong_reference),
    )


def _accepted(query: UnknownQuery) -> str:
    return page.pictures(
        page.Picture("unknown", query.query, query.query),
        page.Picture(f"taken for{_score(query.score)}", query.item or "nothing", query.reference),
    )


def _score(score: float | None) -> str:
    return "" if score is None else f", {score:.3f}"
