"""Evaluates several models on the same items and queries, each in a catalog that is thrown away."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from . import _core, metrics
from ._core import ArgumentError
from .encoders.protocol import Model, name_of, named
from .engine import Engine
from .evaluate.comparison import Comparison, difference
from .evaluate.run import Missing, Pictures, Texts, Unknown, evaluate
from .paths import expanded
from .rows import ItemDraft
from .searcher import Progress


def compare_models(
    models: Sequence[Model] | Mapping[str, Model],
    items: str | os.PathLike[str] | Engine,
    queries: Pictures | None = None,
    *,
    texts: Texts | None = None,
    unknown: Unknown | None = None,
    k: int = 10,
    missing: Missing = "error",
    threads: int | None = None,
    rounds: int = metrics.ROUNDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Evaluates several models on the same items and queries, each in a catalog of its own that is thrown away.

    Args:
        models: Models as for :class:`plushie_search.Engine`, perhaps by the names that they get; the others are
            compared with the first.
        items: A folder of ``<item>/<picture>``, or an engine, whose pictures must still be at their paths.
        queries, texts, unknown, k, missing, rounds, seed: As for :meth:`plushie_search.Engine.evaluate`.
        threads: As for :class:`plushie_search.Engine`.
        progress: Called with the percentage done of all steps, of 100 for each step; each model has two steps.

    Raises:
        ArgumentError: There are fewer than two models, a picture of an item is no longer there, or as
            :meth:`plushie_search.Engine.evaluate`.
    """
    items = items if isinstance(items, Engine) else expanded(items)
    pairs = named(models)
    names = tuple(name_of(model) if name is None else name for name, model in pairs)
    if len(names) < 2:
        raise ArgumentError("a comparison needs two or more models")
    rows = _rows_of(items) if isinstance(items, Engine) else _rows_in(items)
    title = Path(items.path if isinstance(items, Engine) else items).resolve().name or "items"
    steps = 2 * len(names)
    evaluations = []
    failed: dict[tuple[str, str], None] = {}
    with TemporaryDirectory(prefix="plushie-search-") as directory:
        for number, name in enumerate(names):
            catalog = Path(directory) / str(number) / title
            catalog.parent.mkdir()
            with Engine(catalog, model=pairs[number][1], threads=threads) as engine:
                report = engine.add_items(rows, progress=_step(progress, 2 * number, steps, name))
                failed.update(dict.fromkeys(report.failed))
                evaluation = evaluate(
                    engine,
                    queries,
                    texts=texts,
                    unknown=unknown,
                    k=k,
                    missing=missing,
                    rounds=rounds,
                    seed=seed,
                    progress=_step(progress, 2 * number + 1, steps, name),
                )
            evaluations.append(evaluation)
            failed.update(dict.fromkeys(evaluation.failed))
    differences = tuple(difference(evaluations[0], other, rounds, seed) for other in evaluations[1:])
    return Comparison(models=names, evaluations=tuple(evaluations), differences=differences, failed=tuple(failed))


def _rows_in(folder: str | os.PathLike[str]) -> list[ItemDraft]:
    return [ItemDraft(item, paths) for item, paths in _core.folder_items(folder)]


def _rows_of(engine: Engine) -> list[ItemDraft]:
    rows: list[ItemDraft] = []
    for item in engine:
        paths = [Path(reference.name) for reference in item.references]
        lost = next((path for path in paths if not path.is_file()), None)
        if lost is not None:
            raise ArgumentError(
                f"item {item.id!r}: its picture {str(lost)!r} is no file any more, so no other model can see it: "
                "give a folder of items instead"
            )
        rows.append(ItemDraft(item.id, paths, item.label, item.metadata, item.text))
    return rows


def _step(progress: Progress | None, step: int, steps: int, model: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total, name: progress(
        100 * step + (100 * done // total if total else 100), 100 * steps, f"{Path(model).name}: {name}"
    )
