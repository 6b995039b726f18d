"""Models side by side, on the same items and the same queries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from . import _core, metrics
from .evaluate import Pictures, Texts, Unknown, evaluate, items_of
from .evaluation import Evaluation, counted, markdown, written
from .metrics import Interval
from .paths import expanded
from .results import table
from .service import Remote, one_each

if TYPE_CHECKING:
    from .engine import Engine, Progress


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """Several models on the same items and the same queries.

    Prints as a table and converts with :meth:`to_dict`, :meth:`to_markdown` and :meth:`to_html`.

    Attributes:
        models: Their names as they were given, the first being what the others are compared with.
        evaluations: What evaluating each came to.
        differences: For each model but the first, how much higher its figures are, with 95 % intervals: a paired
            bootstrap over the queries that all models could use. A model is better where the interval is above 0.
            ``AUROC`` and ``false accepts`` are no means over queries and have no difference.
        failed: Pictures of items or queries that a model could not use, and why.
    """

    models: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    differences: tuple[dict[str, Interval], ...]
    failed: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain dicts and lists, ready for JSON."""
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
        """The figures as a Markdown table with the models as columns."""
        return f"{escape(self._head(), quote=False)}.\n\n{markdown(self._columns(), self._rows())}\n"

    def to_html(self, path: str | os.PathLike[str] | None = None, *, worst: int = 24) -> str:
        """A page that needs nothing but itself: the table, then each model's failures; see `Evaluation.to_html`."""
        from .evaluation_page import comparison_page

        return written(comparison_page(self, worst=worst), path)

    def __repr__(self) -> str:
        return f"{self._head()}\n{table(self._columns(), self._rows(), widest=60)}"

    def _repr_html_(self) -> str:
        from .evaluation_page import html_table

        return html_table(self._columns(), self._rows())

    def _head(self) -> str:
        first = self.evaluations[0]
        return f"{counted(first.queries, 'query', 'queries')} for {counted(first.items, 'item')}, 95 % intervals"

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
    """A difference with its interval."""
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def short_names(models: Sequence[str]) -> list[str]:
    """The last part of each path, or the whole where two end alike."""
    last = [Path(model).name or model for model in models]
    return last if len(set(last)) == len(last) else list(models)


def compare_models(
    models: Sequence[str | os.PathLike[str]],
    items: str | os.PathLike[str] | Engine,
    queries: Pictures | None = None,
    *,
    texts: Texts | None = None,
    unknown: Unknown | None = None,
    k: int = 10,
    threads: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
    max_batch: int | None = None,
    accept_license: bool = False,
    encoder: Sequence[Remote | None] | None = None,
    rounds: int = metrics.ROUNDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Evaluates several models on the same items and queries, each in a catalog of its own that is thrown away.

    Args:
        models: Names or directories of models; the others are compared with the first.
        items: A folder of ``<item>/<picture>``, or an engine whose items' pictures are where they were added from.
        queries, texts, unknown, k, rounds, seed: As for :meth:`plushie_search.Engine.evaluate`.
        threads, device, precision, max_batch, accept_license: As for :class:`plushie_search.Engine`, of every model.
        encoder: The service of each model, None for those that run here.
        progress: Called with how much of a hundred parts for each step is done; each model has two steps.

    Raises:
        ValueError: There are fewer than two models, a picture of an item is no longer there, there are not as many
            encoders as models, or as :meth:`plushie_search.Engine.evaluate`.
    """
    from .engine import Engine

    items = items if isinstance(items, Engine) else expanded(items)
    names = tuple(os.fspath(model) for model in models)
    if len(names) < 2:
        raise ValueError("a comparison needs two or more models")
    services = one_each(encoder, len(names))
    rows = _rows_of(items) if isinstance(items, Engine) else _rows_in(items)
    title = Path(items.path if isinstance(items, Engine) else items).resolve().name or "items"
    steps = 2 * len(names)
    evaluations = []
    failed: dict[tuple[str, str], None] = {}
    with TemporaryDirectory(prefix="plushie-search-") as directory:
        for number, name in enumerate(names):
            catalog = Path(directory) / str(number) / title
            catalog.parent.mkdir()
            opened = Engine(
                catalog,
                model=models[number],
                threads=threads,
                device=device,
                precision=precision,
                max_batch=max_batch,
                accept_license=accept_license,
                encoder=services[number],
            )
            with opened as engine:
                report = engine.add_items(rows, progress=_step(progress, 2 * number, steps, name))
                failed.update(dict.fromkeys(report.failed))
                evaluation = evaluate(
                    engine,
                    queries,
                    texts=texts,
                    unknown=unknown,
                    k=k,
                    rounds=rounds,
                    seed=seed,
                    progress=_step(progress, 2 * number + 1, steps, name),
                )
            evaluations.append(evaluation)
            failed.update(dict.fromkeys(evaluation.failed))
    differences = tuple(_difference(evaluations[0], other, rounds, seed) for other in evaluations[1:])
    return Comparison(models=names, evaluations=tuple(evaluations), differences=differences, failed=tuple(failed))


_NewItem: TypeAlias = "tuple[str, list[Path], str | None, Mapping[str, Any] | None, str | None]"


def _rows_in(folder: str | os.PathLike[str]) -> list[_NewItem]:
    return [(item, paths, None, None, None) for item, paths in _core.folder_items(folder)]


def _rows_of(engine: Engine) -> list[_NewItem]:
    rows: list[_NewItem] = []
    for item in items_of(engine):
        paths = [Path(reference.name) for reference in item.references]
        lost = next((path for path in paths if not path.is_file()), None)
        if lost is not None:
            raise ValueError(
                f"item {item.id!r}: its picture {str(lost)!r} is no file any more, so no other model can see it: "
                "give a folder of items instead"
            )
        rows.append((item.id, paths, item.label, item.metadata, item.text))
    return rows


def _step(progress: Progress | None, step: int, steps: int, model: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total, name: progress(
        100 * step + (100 * done // total if total else 100), 100 * steps, f"{Path(model).name}: {name}"
    )


def _difference(a: Evaluation, b: Evaluation, rounds: int, seed: int) -> dict[str, metrics.Interval]:
    """By how much ``b`` is better, over the queries that both could use."""
    first = _places(a)
    pairs = [(first[key], place) for key, place in _places(b).items() if key in first]
    if not pairs:
        raise ValueError("the models have no query in common that both could use")
    before, after = (list(places) for places in zip(*pairs, strict=True))
    groups = [a.outcomes[place].items for place in before]
    return {
        name: metrics.difference(
            a._values[name][before], b._values[name][after], groups=groups, rounds=rounds, seed=seed
        )
        for name in a._values
    }


def _places(evaluation: Evaluation) -> dict[tuple[Any, ...], int]:
    """Where each query stands; equal ones are told apart by their number."""
    places: dict[tuple[Any, ...], int] = {}
    seen: dict[tuple[Any, ...], int] = {}
    for place, outcome in enumerate(evaluation.outcomes):
        query = (outcome.query, outcome.items)
        seen[query] = seen.get(query, 0) + 1
        places[(*query, seen[query])] = place
    return places
