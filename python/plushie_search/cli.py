"""The command `plushie-search`: add, search, show, remove, stats, evaluate, models, plushbench, demo, plush."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import __version__, demo
from ._core import UnreadableTextWarning
from .catalogue import command as models
from .comparison import Comparison, compare_models
from .descriptions import read_descriptions
from .engine import Engine
from .evaluation import Evaluation
from .hub import DEFAULT_MODEL
from .options import add_options, for_model, for_models, positive
from .paths import expanded
from .plushbench import command as plushbench
from .progress import ProgressBar
from .results import Item, Report, printable, table

#: Exit statuses: all went well; something could not be used; nothing could be done; Ctrl-C.
DONE, SOME_FAILED, ERROR, INTERRUPTED = 0, 1, 2, 130

WEIGHT = "how much a --model counts, given once for each: then all of them look up what they can"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    # A file name may hold bytes that are no text in any encoding; they are printed as escapes, never as an error.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            # Who types a command has no use for the line of code that a warning is about.
            warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. What is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyError as error:
        _say(str(error.args[0] if error.args else error))
    except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
        _say(str(error) or type(error).__name__)
    return ERROR


def _add(options: argparse.Namespace) -> int:
    with _engine(options, create=True, changes=True) as engine:
        try:
            with closing(ProgressBar("adding")) as progress:
                if os.path.isdir(expanded(options.source)):
                    report = engine.add_folder(options.source, progress=progress)
                else:
                    items = read_descriptions(options.source)
                    report = engine.add_items([item.row() for item in items], progress=progress)
        except KeyboardInterrupt:
            _say(f"interrupted with {_count(len(engine), 'item')} in the catalog: run it again to continue there")
            return INTERRUPTED
        if options.json:
            _print_json(asdict(report))
        else:
            print(_sentence(report, len(engine)))
    for name, reason in report.failed:
        _say(reason if name in reason else f"{name}: {reason}")
    return SOME_FAILED if report.failed else DONE


def _sentence(report: Report, total: int) -> str:
    parts = [_count(report.items, "new item"), _count(report.references, "new reference")]
    if report.duplicates:
        parts.append(f"{report.duplicates} there already")
    if report.renamed:
        parts.append(f"{report.renamed} of them by a new name")
    if report.replaced:
        parts.append(f"{report.replaced} replaced")
    if report.moved:
        parts.append(f"{report.moved} moved from other items")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    return f"{', '.join(parts)}; {_count(total, 'item')} in the catalog"


def _search(options: argparse.Namespace) -> int:
    if options.image is None and options.text is None:
        raise ValueError("search needs an IMAGE, a --text, or both")
    if options.image is not None and not os.path.exists(expanded(options.image)):
        raise FileNotFoundError(f"there is no picture {options.image!r}; give words by --text")
    how: dict[str, Any] = {"k": options.k, "where": options.where, "min_score": options.min_score}
    with _engine(options) as engine, warnings.catch_warnings():
        # The results tell it, too, with the hits.
        warnings.simplefilter("ignore", UnreadableTextWarning)
        how["model"] = _weights(options, engine)
        if options.text is None:
            results = engine.search_image(options.image, **how)
        elif options.image is None:
            results = engine.search_text(options.text, **how)
        else:
            results = engine.search_hybrid(options.image, options.text, image_weight=options.image_weight, **how)
    if options.json:
        _print_json(results.to_dicts())
        for warning in results.warnings:
            _say(f"warning: {warning}")
    else:
        print(results)
    return DONE


def _show(options: argparse.Namespace) -> int:
    with _engine(options) as engine:
        if options.id:
            items = [engine.get(id) for id in options.id]
        else:
            items = engine.items(where=options.where, limit=options.limit, offset=options.offset)
    if options.json:
        _print_json([asdict(item) for item in items])
    elif options.id:
        print("\n\n".join(_details(item) for item in items))
    else:
        rows = [(item.id, item.label or "", str(len(item.references)), item.text or "") for item in items]
        print(table(["item", "label", "references", "text"], rows, widest=80))
    return DONE


def _details(item: Item) -> str:
    lines = [printable(item.id)]
    lines += [f"  {name}: {printable(value)}" for name, value in (("label", item.label), ("text", item.text)) if value]
    lines += [f"  {printable(str(key))}: {_json(value)}" for key, value in item.metadata.items()]
    lines += [f"  reference: {printable(reference.name)}" for reference in item.references]
    return "\n".join(lines)


def _remove(options: argparse.Namespace) -> int:
    with _engine(options, changes=True) as engine:
        ids = dict.fromkeys(options.id)
        present = [id for id in ids if id in engine]
        absent = [id for id in ids if id not in present]
        engine.remove(present)
    if options.json:
        _print_json({"removed": present, "absent": absent})
    else:
        print(f"{_count(len(present), 'item')} removed")
    for id in absent:
        _say(f"no item {id!r} in this catalog")
    return SOME_FAILED if absent else DONE


def _stats(options: argparse.Namespace) -> int:
    with _engine(options) as engine:
        stats = dict(engine.stats())
    if options.json:
        _print_json(stats)
    else:
        width = max(map(len, stats), default=0)
        print("\n".join(f"{name:{width}}  {printable(_plain(value))}" for name, value in stats.items()))
    return DONE


def _evaluate(options: argparse.Namespace) -> int:
    places, models = _places_and_models(options)
    queries = None if options.leave_one_out else places[1]
    evaluation: Evaluation | Comparison
    with closing(ProgressBar("evaluating")) as progress:
        how: dict[str, Any] = {"unknown": options.unknown, "k": options.k, "progress": progress}
        if not models:
            with _engine(options) as engine:
                evaluation = engine.evaluate(queries, where=options.where, model=_weights(options, engine), **how)
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
        _print_json(evaluation.to_dict())
    else:
        print(evaluation)
    for name, reason in evaluation.failed:
        _say(reason if name in reason else f"{name}: {reason}")
    return SOME_FAILED if evaluation.failed else DONE


def _compare(options: argparse.Namespace, models: list[str], queries: str | None, how: dict[str, Any]) -> Comparison:
    """Models side by side, on what a folder or a catalog holds; the model of that computes nothing."""
    its_own = (
        _catalog_models(options) if os.path.isfile(os.path.join(expanded(options.catalog), "catalog.sqlite")) else []
    )
    how = {**how, **for_models(options, models, besides=its_own)}
    if not its_own:
        return compare_models(models, options.catalog, queries, **how)
    opened = for_models(options, its_own, besides=models)
    plain = {name: opened[name] for name in ("threads", "accept_license", "encoder")}
    with Engine(options.catalog, model=its_own, create=False, **plain) as engine:
        return compare_models(models, engine, queries, **how)


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


def _models(options: argparse.Namespace) -> int:
    facts, text = models.run(options)
    if options.json:
        _print_json(facts)
    else:
        print(text)
    return DONE


def _plushbench(options: argparse.Namespace) -> int:
    try:
        report = plushbench.report(options)
    except KeyboardInterrupt:
        if options.work is not None:
            _say(f"interrupted: run it again with --work {options.work} to continue there")
            return INTERRUPTED
        raise
    if options.json:
        _print_json(report.to_dict())
    else:
        print(report)
    return DONE


def _demo(options: argparse.Namespace) -> int:
    demo.run(
        Path(expanded(options.directory)),
        model=options.model,
        plushes=options.plushes,
        seed=options.seed,
        **for_model(options, options.model),
    )
    return DONE


def _plush(options: argparse.Namespace) -> int:
    with closing(ProgressBar("rendering")) as progress:
        plushes = demo.write_plushes(
            Path(expanded(options.out)),
            seeds=range(options.seed, options.seed + options.count),
            views=options.views,
            side=options.size,
            progress=progress,
        )
    if options.json:
        _print_json(plushes)
    else:
        print(table(["plush", "caption"], [(plush["id"], plush["text"]) for plush in plushes], widest=100))
        print(f"{_count(len(plushes), 'plush', 'plushes')} in {printable(options.out)}, described in plushes.jsonl")
    return DONE


def _engine(options: argparse.Namespace, *, create: bool = False, changes: bool = False) -> Engine:
    models = _catalog_models(options)
    only = not changes and not _is_writable(options.catalog)
    return Engine(options.catalog, model=models, create=create, read_only=only, **for_models(options, models))


def _is_writable(catalog: str) -> bool:
    """Whether a catalog may be written: on read-only media it can still be searched and shown."""
    file = os.path.join(catalog, "catalog.sqlite")
    return not os.path.isfile(file) or (os.access(catalog, os.W_OK) and os.access(file, os.W_OK))


def _catalog_models(options: argparse.Namespace) -> list[str]:
    return options.model or [DEFAULT_MODEL]


def _weights(options: argparse.Namespace, engine: Engine) -> dict[str, float] | None:
    """How much each model counts, if that was said."""
    if not options.weight:
        return None
    if len(options.weight) != len(engine.models):
        raise ValueError(f"--weight stands once for each --model, so {len(engine.models)} times")
    return dict(zip(engine.models, options.weight, strict=True))


def _say(message: str) -> None:
    print(f"plushie-search: {printable(message)}", file=sys.stderr)


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _print_json(value: Any) -> None:
    print(_json(value))


# What the command line looks like


class _Command(argparse.ArgumentParser):
    """A command whose options may stand before, between and after what it is about."""

    #: A command of commands leaves that to them.
    intermixed = True
    _intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._intermixed or not self.intermixed:  # some versions of Python come back here
            return super().parse_known_args(args, namespace)
        self._intermixed = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixed = False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plushie-search",
        description="Find the right thing from a picture, a sentence, or both.",
        epilog="Exit status: 0 all went well, 1 some pictures or items could not be used, 2 nothing could be done, "
        "130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"plushie-search {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Command)

    def command(name: str, run: Any, help: str, *, catalog: bool = True) -> _Command:
        sub = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        sub.set_defaults(run=run)
        if catalog:
            sub.add_argument("catalog", metavar="CATALOG", help="the catalog's directory")
        if catalog or name in ("demo", "evaluate"):
            if name == "demo":
                sub.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or directory (%(default)s)")
            else:
                sub.add_argument(
                    "--model",
                    action="append",
                    help=f"a model's name or directory ({DEFAULT_MODEL}); given several times, each sees every picture "
                    "that is added, the first looks up pictures, and the first that reads texts those",
                )
            add_options(sub, several=name != "demo")
        if name not in ("demo", "models"):
            sub.add_argument("--json", action="store_true", help="print JSON, for machines")
        return sub

    add = command("add", _add, "add pictures to a catalog, which is made if there is none")
    add.add_argument("source", metavar="SOURCE", help="a folder of <item>/<picture>, or a .csv, .json or .jsonl file")

    search = command("search", _search, "find items by a picture, a text, or both")
    search.add_argument("image", metavar="IMAGE", nargs="?", help="the picture to look for")
    search.add_argument("--text", help="what to look for in words, or how it differs from IMAGE")
    search.add_argument("--image-weight", type=float, default=0.6, metavar="W", help="IMAGE's share (%(default)s)")
    search.add_argument("--weight", type=float, action="append", metavar="W", help=WEIGHT)
    search.add_argument("-k", type=int, default=5, help="how many items (%(default)s)")
    search.add_argument("--min-score", type=float, metavar="S", help="only hits with at least this cosine")
    search.add_argument("--where", type=_where, metavar="JSON", help="""a filter: '{"price": {"$lt": 20}}'""")

    show = command("show", _show, "show items, all or those named")
    show.add_argument("id", metavar="ID", nargs="*", help="the items; all of them if none is named")
    show.add_argument("--where", type=_where, metavar="JSON", help="only items that fit this filter")
    show.add_argument("--limit", type=positive, metavar="N", help="at most this many")
    show.add_argument("--offset", type=int, default=0, metavar="N", help="after so many (%(default)s)")

    remove = command("remove", _remove, "remove items")
    remove.add_argument("id", metavar="ID", nargs="+", help="the items")

    command("stats", _stats, "show what a catalog holds")

    evaluate = command("evaluate", _evaluate, "measure how often the right item is found", catalog=False)
    evaluate.add_argument("catalog", metavar="CATALOG", nargs="?", help="the catalog's directory")
    evaluate.add_argument("queries", metavar="QUERIES", nargs="?", help="a folder of <item>/<picture>")
    evaluate.add_argument("--leave-one-out", action="store_true", help="each stored reference is a query, in turn")
    evaluate.add_argument("--unknown", metavar="FOLDER", help="pictures of things that are not in the catalog")
    evaluate.add_argument(
        "--compare",
        nargs="+",
        metavar="MODEL",
        help="put models side by side, each in a catalog that is thrown away; CATALOG may then be a folder of "
        "<item>/<picture>",
    )
    evaluate.add_argument("--where", type=_where, metavar="JSON", help="search only among items that fit this filter")
    evaluate.add_argument("--weight", type=float, action="append", metavar="W", help=WEIGHT)
    evaluate.add_argument("-k", "--k", type=positive, default=10, help="look at so many items (%(default)s)")
    evaluate.add_argument("--html", metavar="FILE", help="write a page with pictures of the worst failures")
    evaluate.add_argument("--markdown", metavar="FILE", help="write the tables as Markdown")

    registry = command("models", _models, "list, show, download, check and make models", catalog=False)
    registry.intermixed = False
    models.add_arguments(registry, _Command)

    bench = command("plushbench", _plushbench, "measure models on plush toys that are rendered for it", catalog=False)
    plushbench.add_arguments(bench)

    show_off = command("demo", _demo, "make a collection of plush toys and search it", catalog=False)
    show_off.add_argument("directory", metavar="DIRECTORY", nargs="?", default="demo", help="where (demo)")
    show_off.add_argument("--plushes", type=positive, default=60, metavar="N", help="how many (%(default)s)")
    show_off.add_argument("--seed", type=_seed, default=1, metavar="N", help="the first plush (%(default)s)")

    plush = command("plush", _plush, "render plush toys, with captions", catalog=False)
    plush.add_argument("--seed", type=_seed, default=7, metavar="N", help="the first plush (%(default)s)")
    plush.add_argument("--count", type=positive, default=4, metavar="N", help="how many plushes (%(default)s)")
    plush.add_argument("--views", type=positive, default=1, metavar="N", help="pictures of each (%(default)s)")
    plush.add_argument("--size", type=positive, default=224, metavar="PIXELS", help="their side (%(default)s)")
    plush.add_argument("--out", default="plushes", metavar="DIR", help="where (%(default)s)")
    return parser


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"needs a number from 0 to {2**63 - 1}")
    return number


def _where(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('needs a JSON object, like {"label": "bear"}')
    return value
