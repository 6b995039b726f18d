"""The command `plushie-search compare`."""

from __future__ import annotations

import argparse

from ..query import shown_in
from .common import (
    DONE,
    PART,
    SOME_FAILED,
    Commands,
    add_catalog,
    add_json,
    add_weight,
    open_catalog,
    print_json,
    weights,
)


def add_command(commands: Commands) -> None:
    """Adds the command."""
    compare = commands.add("compare", run, "tell how like a picture is to another one, or to an item")
    add_catalog(compare)
    add_json(compare)
    compare.add_argument("image", metavar="IMAGE", help=f"the picture; {PART}")
    compare.add_argument("other", metavar="OTHER", nargs="?", help="the picture to compare it with")
    compare.add_argument("--item", metavar="ID", help="the item to compare it with, in place of OTHER")
    add_weight(compare)
    compare.add_argument(
        "--threshold",
        type=float,
        default=0.9,
        metavar="S",
        help="the similarity from which both are the same, 0 to 1 (%(default)s); below it the exit status is 1",
    )
    compare.add_argument("--audit", metavar="FILE", help="append a line of JSON with the verdict to this file")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        found = engine.compare(
            shown_in(options.image),
            None if options.other is None else shown_in(options.other),
            item=options.item,
            threshold=options.threshold,
            models=weights(options, engine),
            audit=options.audit,
        )
    if options.json:
        print_json(found.to_dict())
    else:
        print(found)
    return DONE if found.same else SOME_FAILED
