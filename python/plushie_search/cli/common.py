"""Parts that several commands share: their parser, the catalog that they open, and how they print."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeAlias

from ..engine import Engine
from ..hub import DEFAULT_MODEL
from ..paths import expanded
from ..show.table import printable
from ..stored import stored_models
from .filters import AddCondition, parse_filter
from .options import add_options, open_models, positive

#: Exit statuses: all went well; something could not be used; nothing could be done; Ctrl-C.
DONE, SOME_FAILED, ERROR, INTERRUPTED = 0, 1, 2, 130

Run: TypeAlias = Callable[[argparse.Namespace], int]

MODEL = (
    f"a model's name or directory (those that the catalog was filled with, or {DEFAULT_MODEL}); given several times, "
    "each sees every picture that is added, the first looks up pictures, and the first that reads texts those"
)
METADATA = '{"price": 12.5}'
PART = "with [left,top,right,bottom] behind it, in shares from 0 to 1, that part of it counts"
#: Of a catalog without a model.
VECTORS_ALONE = "was made of vectors of another program, and no model of it sees pictures or reads texts"
WEIGHT = "how much a --model counts, given once for each: then all of them look up what they can"


class Command(argparse.ArgumentParser):
    """A command whose options may stand before, between and after what it is about."""

    #: A command of commands leaves that to them.
    intermixed = True
    _intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._intermixed:  # some versions of Python come back here
            return super().parse_known_args(args, namespace)
        self._intermixed = True
        try:
            parse = self.parse_known_intermixed_args if self.intermixed else super().parse_known_args
            known, unknown = parse(args, namespace)
        finally:
            self._intermixed = False
        if unknown:
            # Here, and not in the parser of all commands, whose usage says nothing of this one.
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._alike(unknown[0])}")
        return known, unknown

    def _alike(self, flag: str) -> str:
        shown = [name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
        alike = get_close_matches(flag.partition("=")[0], shown, n=1)
        return f"; did you mean {alike[0]}?" if alike else ""


class Commands:
    """The commands of a parser."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._group = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Command)
        self.parser = parser

    def add(self, name: str, run: Run, help: str) -> Command:
        """Adds a command, which ``run`` does."""
        # An abbreviation is another option's name in the next version.
        command: Command = self._group.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False
        )
        command.set_defaults(run=run)
        return command


def add_catalog(command: argparse.ArgumentParser, *, nargs: str | None = None, computes: bool = True) -> None:
    """Adds the argument CATALOG and the options of the models that open it; a command that computes hides none."""
    command.add_argument("catalog", metavar="CATALOG", nargs=nargs, help="the catalog's directory")
    command.add_argument("--model", action="append", help=MODEL)
    command.set_defaults(computes=computes)
    add_options(command, several=True, shown=computes)


def add_k(command: argparse.ArgumentParser, k: int, help: str) -> None:
    """Adds the option for a number of items, ``k`` by default."""
    command.add_argument("-k", "--k", type=positive, default=k, metavar="K", help=f"{help} (%(default)s)")


def add_json(command: argparse.ArgumentParser) -> None:
    """Adds the flag that prints JSON."""
    command.add_argument("--json", action="store_true", help="print JSON, for machines")


def add_where(command: argparse.ArgumentParser, help: str) -> None:
    """Adds the option for a filter."""
    command.add_argument(
        "--where",
        type=parse_filter,
        action=AddCondition,
        metavar="FILTER",
        help=f"{help}: label=bear, 'price<20' (also !=, <=, > and >=), or JSON; given several times, all must hold",
    )


def add_weight(command: argparse.ArgumentParser) -> None:
    """Adds the option for the models' weights."""
    command.add_argument("--weight", type=float, action="append", metavar="W", help=WEIGHT)


def add_query_crops(command: argparse.ArgumentParser) -> None:
    """Adds the option for the middles of query pictures."""
    command.add_argument(
        "--query-crops",
        action="store_true",
        help="encode the middles of each photo, too, above all for a catalog with --crops: three times the time",
    )


def add_expand(command: argparse.ArgumentParser, *, default: bool) -> None:
    """Adds the options for phrases around texts."""
    command.add_argument(
        "--expand",
        action=argparse.BooleanOptionalAction,
        default=default,
        help=f'look words up by the model\'s phrases around them, as "a photo of ..." ({"on" if default else "off"})',
    )
    command.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help='a phrase of your own with {} in the place of the words, such as "a photo of {}"; may be repeated',
    )


def expansion(options: argparse.Namespace) -> bool | list[str]:
    """Returns whether words are looked up by phrases around them, or the templates of these."""
    return list(options.template) if options.template else bool(options.expand)


def open_catalog(
    options: argparse.Namespace, *, create: bool = False, changes: bool = False, vectors: bool = False
) -> Engine:
    """Opens the catalog with its models; to change it if ``changes``.

    ``vectors`` says whether a command that computes can be asked of a catalog of vectors alone, too.

    Raises:
        ValueError: The catalog has vectors alone, and the command needs a model.
    """
    only = not changes and not _is_writable(options.catalog)
    how: dict[str, Any] = {
        "threads": options.threads,
        "create": create,
        "read_only": only,
        "crops": getattr(options, "crops", None),
        "views": getattr(options, "views", None),
        "index": getattr(options, "index", "auto"),
        "memory": getattr(options, "memory", None),
    }
    if getattr(options, "recall", None) is not None:
        how["recall"] = options.recall
    if not options.model and (not options.computes or _has_vectors_alone(options.catalog)):
        if options.computes and not vectors:
            raise ValueError(
                f"{options.catalog}: {VECTORS_ALONE}: import the vectors into a new catalog with the model that made "
                "them: plushie-search import NEW FILE --model MODEL"
            )
        return Engine(options.catalog, model=[], **how)
    models = catalog_models(options)
    encoders = open_models(options, list(models.values()) if isinstance(models, dict) else models)
    named = dict(zip(models, encoders, strict=True)) if isinstance(models, dict) else encoders
    return Engine(options.catalog, model=named, **how)


@contextmanager
def filled(catalog: str, opened: Callable[[], Engine]) -> Iterator[Engine]:
    """Opens a catalog that is added to, and removes it again if it is new and nothing was added."""
    path = expanded(catalog)
    is_new, is_empty = not os.path.lexists(path), False
    try:
        with opened() as engine:
            try:
                yield engine
            finally:
                is_empty = len(engine) == 0
    finally:
        if is_new and is_empty:
            shutil.rmtree(path)


def _is_writable(catalog: str) -> bool:
    """Returns whether a catalog may be written: on read-only media it can still be searched and shown."""
    file = os.path.join(catalog, "catalog.sqlite")
    return not os.path.isfile(file) or (os.access(catalog, os.W_OK) and os.access(file, os.W_OK))


def _has_vectors_alone(catalog: str) -> bool:
    path = expanded(catalog)
    return stored_models(path, read_only=not _is_writable(path)).dim is not None


def catalog_models(options: argparse.Namespace) -> dict[str, str] | list[str]:
    """Returns the models of ``--model``; by default those of the catalog by their names in it, or that of a new one."""
    if options.model:
        return list(options.model)
    path = expanded(options.catalog)
    return stored_models(path, read_only=not _is_writable(path)).models or [DEFAULT_MODEL]


def weights(options: argparse.Namespace, engine: Engine) -> dict[str, float] | None:
    """Returns how much each model counts; None if all do alike."""
    if not options.weight:
        return None
    if len(options.weight) != len(engine.models):
        raise ValueError(f"--weight stands once for each --model, so {len(engine.models)} times")
    return dict(zip(engine.models, options.weight, strict=True))


def say(message: str) -> None:
    """Prints a message for people."""
    print(f"plushie-search: {printable(message)}", file=sys.stderr)


def as_json(value: Any) -> str:
    """Returns a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def parse_metadata(text: str) -> dict[str, Any]:
    """Returns the metadata that a text of JSON holds."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}; give an object, as {METADATA}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object; give one, as {METADATA}")
    return value


def plain(value: Any) -> str:
    """Returns a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else as_json(value)


def print_json(value: Any) -> None:
    """Prints a value as JSON on one line."""
    print(as_json(value))


def seed(text: str) -> int:
    """Returns the number of a plush."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"needs a number from 0 to {2**63 - 1}")
    return number
