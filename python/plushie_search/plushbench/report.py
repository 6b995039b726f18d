"""The report of a benchmark: a figure for each question, for one model or several side by side."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..evaluate.comparison import short_names, signed
from ..metrics import Interval
from ..show import markdown
from ..show.table import table


@dataclass(frozen=True)
class Question:
    """A question of a run: the figures of two models for equal questions can be compared.

    Attributes:
        name: The kind of query, as `everyday`.
        figure: The name of the figure, as `hit@1`.
        references: The number of references of each item, if that was varied.
        language: The language of the texts.
    """

    name: str
    figure: str
    references: int | None = None
    language: str | None = None


@dataclass(frozen=True, eq=False)
class Figure:
    """The answer to a question.

    Attributes:
        question: The question.
        interval: The figure with its 95 % interval.
        queries: The number of queries.
        chance: The expected figure of guessing.
        outcomes: One number for each query, and the group of each; None for figures that are no means.
    """

    question: Question
    interval: Interval
    queries: int
    chance: float | None
    outcomes: NDArray[np.float64] | None = None
    groups: Sequence[Hashable] | None = None


def measured(
    question: Question,
    outcomes: NDArray[np.float64],
    *,
    groups: Sequence[Hashable] | None = None,
    chance: float | None = None,
) -> Figure:
    """Returns a figure that is a mean over queries."""
    return Figure(question, metrics.mean(outcomes, groups=groups), len(outcomes), chance, outcomes, groups)


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The figures of one or several models; prints as a table.

    Attributes:
        models: Their names as they were given; the others are compared with the first.
        configuration: The settings: items, references, seed and so on.
        figures: The figures of each model, without questions that it cannot answer (texts, without a text tower).
    """

    models: tuple[str, ...]
    configuration: dict[str, Any]
    figures: tuple[dict[Question, Figure], ...]

    def questions(self) -> list[Question]:
        """Returns every question that any model could be asked, in order."""
        return list(dict.fromkeys(question for figures in self.figures for question in figures))

    def difference(self, question: Question, model: int) -> Interval | None:
        """Returns a model's figure less that of the first model: a paired bootstrap over the same queries."""
        first, other = self.figures[0].get(question), self.figures[model].get(question)
        if first is None or other is None or first.outcomes is None or other.outcomes is None:
            return None
        return metrics.difference(first.outcomes, other.outcomes, groups=first.groups)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain dicts and lists, ready for JSON; None if a model could not be asked."""
        rows = []
        for question in self.questions():
            one = next(figures[question] for figures in self.figures if question in figures)
            shared: dict[str, Any] = {
                "test": question.name,
                "language": question.language,
                "references": question.references,
            }
            shared |= {"figure": question.figure, "queries": one.queries, "chance": one.chance}
            rows.append(
                shared | {"values": [_plain(f[question].interval if question in f else None) for f in self.figures]}
            )
            rows[-1]["differences"] = [_plain(self.difference(question, n)) for n in range(1, len(self.models))]
        return {**self.configuration, "models": list(self.models), "figures": rows}

    def to_markdown(self) -> str:
        """Returns the figures as a Markdown table."""
        return f"{self._head()}.\n\n{markdown.table(self._columns(), self._rows())}\n"

    def __repr__(self) -> str:
        return f"{self._head()}\n{table(self._columns(), self._rows(), widest=40)}"

    def _head(self) -> str:
        asked = self.configuration
        parts = f"{asked['items']} items, {asked['queries']} queries of each kind, seed {asked['seed']}"
        return f"PlushBench: {parts}; values with 95 % intervals"

    def _columns(self) -> list[str]:
        names = short_names(self.models)
        gains = [f"{name} - {names[0]}" for name in names[1:]]
        return ["test", "references", "figure", "queries", "chance", *names, *gains]

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for question in self.questions():
            one = next(figures[question] for figures in self.figures if question in figures)
            row = [question.name if question.language is None else f"{question.name}, {question.language}"]
            row += ["" if question.references is None else str(question.references), question.figure, str(one.queries)]
            row.append("" if one.chance is None else f"{one.chance:.3f}" if one.chance >= 0.001 else "<0.001")
            row += [str(figures[question].interval) if question in figures else "-" for figures in self.figures]
            gains = [self.difference(question, number) for number in range(1, len(self.models))]
            rows.append((*row, *("" if gain is None else signed(gain) for gain in gains)))
        return rows


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval._asdict()
