"""The command `plushie-search duplicates`."""

from __future__ import annotations

import argparse

from .common import DONE, Commands, add_catalog, add_json, add_where, open_catalog, print_json
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    duplicates = commands.add("duplicates", run, "list pictures that are there twice, and items that look alike")
    add_catalog(duplicates, computes=False)
    add_json(duplicates)
    add_where(duplicates, "only items that fit this filter")
    duplicates.add_argument(
        "--near",
        type=float,
        default=0.98,
        metavar="S",
        help="the least cosine of pictures of one item that show nearly the same (%(default)s)",
    )
    duplicates.add_argument(
        "--limit", type=positive, default=20, metavar="N", help="at most this many of each class (%(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        found = engine.duplicates(where=options.where, near=options.near, limit=options.limit)
    if options.json:
        print_json({"counts": found.counts, "pairs": found.to_dicts()})
    else:
        print(found)
    return DONE
