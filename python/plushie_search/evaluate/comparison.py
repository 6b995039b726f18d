"""The result of a comparison: the figures of several models on the same items and queries, and the differences."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import metrics
from .._core import ArgumentError
from ..metrics import Interval
from ..paths import written
from ..show import markdown, page
from ..show.table import counted, table
from .result import Evaluation


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """Figures of several models on the same items and the same queries.

    Prints as a table and converts with :meth:`to_dict`, :meth:`to_markdown` and :meth:`to_html`.

    Attributes:
        models: Their names as they were given; the others are compared with the first.
        evaluations: The evaluation of each model.
        differences: For each model but the first, its figures less those of the first, with 95 % intervals: a paired
            bootstrap over the queries that both could use. A model is better where the interval is above 0.
            ``AUROC`` and ``false accepts`` are no means over queries and have no difference.
        failed: Pictures of items or queries that a model could not use, each with the reason.
    """

    models: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    differences: tuple[dict[str, Interval], ...]
    failed: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain dicts and lists, ready for JSON."""
        return {
            "models": list(self.models),
            "evaluations": [evaluation.to_dict() for evaluation in self.evaluations],
            "differences": [
                {"model": model, "from": self.models[0], **{name: part._asdict() for name, part in rows.items()}}
                for model, rows in zip(self.models[1:], self.differences, strict=True)
            ],
            "failed": [{"picture": name, "reason": reason} for name, reason in self.failed],
        }

    def to_markdown(self) -> str:
        """Returns the figures as a Markdown table with the models as columns."""
        parts = [f"{markdown.line(self._head())}.", markdown.table(self._columns(), self._rows())]
        return "\n\n".join([*parts, *map(markdown.line, self._notes())]) + "\n"

    def to_html(self, path: str | os.PathLike[str] | None = None, *, worst: int = 24) -> str:
        """Returns a self-contained HTML page: the table, then each model's failures; see `Evaluation.to_html`."""
        parts = [self._repr_html_()]
        for name, evaluation in zip(self.models, self.evaluations, strict=True):
            parts += [page.heading(name, level=2), evaluation._page(worst)]
        return written(page.document(self._head(), heading="How good is the search?", content="".join(parts)), path)

    def __repr__(self) -> str:
        return "\n".join([self._head(), table(self._columns(), self._rows(), widest=60), *self._notes()])

    def _repr_html_(self) -> str:
        return "".join([page.table(self._columns(), self._rows()), *map(page.paragraph, self._notes())])

    def _head(self) -> str:
        first = self.evaluations[0]
        return f"{counted(first.queries, 'query', 'queries')} for {counted(first.items, 'item')}, 95 % intervals"

    def _notes(self) -> list[str]:
        """Returns the reasons why the figures may be better than the search is."""
        # A copy of a picture in the catalog has cosine 1 by every model; by some, other pictures do, too.
        return min(self.evaluations, key=lambda evaluation: evaluation.near_duplicates)._doubts()

    def _columns(self) -> list[str]:
        names = short_names(self.models)
        return ["figure", *names, *(f"{name} - {names[0]}" for name in names[1:])]

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for figure in self.evaluations[0].metrics:
            figures = [str(evaluation.metrics[figure]) for evaluation in self.evaluations]
            gains = [signed(rows[figure]) if figure in rows else "" for rows in self.differences]
            rows.append((figure, *figures, *gains))
        return rows


def signed(interval: Interval) -> str:
    """Returns a difference with its interval, as text."""
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def short_names(models: Sequence[str]) -> list[str]:
    """Returns the last part of each path, or the whole paths if two end alike."""
    last = [Path(model).name or model for model in models]
    return last if len(set(last)) == len(last) else list(models)


def difference(a: Evaluation, b: Evaluation, rounds: int, seed: int) -> dict[str, metrics.Interval]:
    """Returns the figures of ``b`` less those of ``a``, over the queries that both could use."""
    first = _places(a)
    pairs = [(first[key], place) for key, place in _places(b).items() if key in first]
    if not pairs:
        raise ArgumentError("the models have no query in common that both could use")
    before, after = (list(places) for places in zip(*pairs, strict=True))
    groups = [a.outcomes[place].items for place in before]
    return {
        name: metrics.difference(
            a._values[name][before], b._values[name][after], groups=groups, rounds=rounds, seed=seed
        )
        for name in a._values
    }


def _places(evaluation: Evaluation) -> dict[tuple[Any, ...], int]:
    """Returns the place of each query; equal queries are numbered."""
    places: dict[tuple[Any, ...], int] = {}
    seen: dict[tuple[Any, ...], int] = {}
    for place, outcome in enumerate(evaluation.outcomes):
        query = (outcome.query, outcome.items)
        seen[query] = seen.get(query, 0) + 1
        places[(*query, seen[query])] = place
    return places
