"""The command `plushie-search evaluate`."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from ..compare import compare_models
from ..engine import Engine
from ..evaluate.comparison import Comparison
from ..evaluate.result import Evaluation
from ..hub import open_encoder
from ..paths import expanded
from ..show.progress import ProgressBar
from .common import (
    DONE,
    SOME_FAILED,
    Commands,
    add_catalog,
    add_json,
    add_k,
    add_weight,
    add_where,
    catalog_models,
    open_catalog,
    print_json,
    say,
    weights,
)
from .options import for_models, open_models


def add_command(commands: Commands) -> None:
    """Adds the command."""
    evaluate = commands.add("evaluate", run, "measure how often the right item is found")
    add_catalog(evaluate, nargs="?")
    add_json(evaluate)
    evaluate.add_argument("queries", metavar="QUERIES", nargs="?", help="a folder of <item>/<picture>")
    evaluate.add_argument("--leave-one-out", action="store_true", help="each stored reference is a query, in turn")
    evaluate.add_argument("--unknown", metavar="FOLDER", help="pictures of things that are not in the catalog")
    evaluate.add_argument(
        "--skip-missing", action="store_true", help="leave out and count the queries for items that CATALOG has not"
    )
    evaluate.add_argument(
        "--compare",
        nargs="+",
        metavar="MODEL",
        help="put models side by side, each in a catalog that is thrown away; CATALOG may then be a folder of "
        "<item>/<picture>",
    )
    add_where(evaluate, "search only among items that fit this filter")
    add_weight(evaluate)
    add_k(evaluate, 10, "look at so many items")
    evaluate.add_argument("--html", metavar="FILE", help="write a page with pictures of the worst failures")
    evaluate.add_argument("--markdown", metavar="FILE", help="write the tables as Markdown")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    places, models = _places_and_models(options)
    queries = None if options.leave_one_out else places[1]
    evaluation: Evaluation | Comparison
    with closing(ProgressBar("evaluating")) as progress:
        how: dict[str, Any] = {"unknown": options.unknown, "k": options.k, "progress": progress}
        how["missing"] = "skip" if options.skip_missing else "error"
        if not models:
            with open_catalog(options, vectors=True) as engine:
                evaluation = engine.evaluate(queries, where=options.where, models=weights(options, engine), **how)
        elif options.where is not None:
            raise ValueError("--where asks one catalog, and --compare makes its own: give one of them")
        else:
            evaluation = _compare(options, models, queries, how)
    if options.html is not None:
        evaluation.to_html(options.html)
    if options.markdown is not None:
        Path(expanded(options.markdown)).write_text(
            evaluation.to_markdown(), encoding="utf-8", errors="backslashreplace"
        )
    if options.json:
        print_json(evaluation.to_dict())
    else:
        print(evaluation)
    for name, reason in evaluation.failed:
        say(reason if name in reason else f"{name}: {reason}")
    return SOME_FAILED if evaluation.failed else DONE


def _compare(options: argparse.Namespace, models: list[str], queries: str | None, how: dict[str, Any]) -> Comparison:
    """Models side by side, on what a folder or a catalog holds; the model of that computes nothing."""
    is_catalog = os.path.isfile(os.path.join(expanded(options.catalog), "catalog.sqlite"))
    found = catalog_models(options) if is_catalog else []
    its_own = list(found.values()) if isinstance(found, dict) else found
    how["threads"] = options.threads
    compared = dict(zip(models, open_models(options, models, besides=its_own), strict=True))
    if not its_own:
        return compare_models(compared, options.catalog, queries, **how)
    told = for_models(options, its_own, besides=models)
    plain = [{name: one[name] for name in ("threads", "accept_license", "service")} for one in told]
    encoders = [open_encoder(model, **one) for model, one in zip(its_own, plain, strict=True)]
    with Engine(options.catalog, model=encoders, threads=options.threads, create=False) as engine:
        return compare_models(compared, engine, queries, **how)


def _places_and_models(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """CATALOG and QUERIES, and the models to compare: `--compare A B CATALOG QUERIES` takes all four for models."""
    places = [place for place in (options.catalog, options.queries) if place is not None]
    models = list(options.compare or [])
    needed = 1 if options.leave_one_out else 2
    while len(places) < needed and len(models) > 2:
        places.insert(0, models.pop())
    if len(places) != needed:
        raise ValueError("evaluate needs a CATALOG and either QUERIES or --leave-one-out")
    options.catalog = places[0]
    return places, models
