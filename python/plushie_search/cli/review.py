"""The command `plushie-search review`."""

from __future__ import annotations

import argparse

from .common import DONE, Commands, add_catalog, add_json, add_where, open_catalog, print_json
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    review = commands.add("review", run, "list items that need attention: mixed up easily, or with one picture")
    add_catalog(review, computes=False)
    add_json(review)
    add_where(review, "only items that fit this filter")
    review.add_argument(
        "--margin",
        type=float,
        default=0.05,
        metavar="S",
        help="how much nearer an item's own pictures must be than others, as a difference of cosines (%(default)s)",
    )
    review.add_argument("--limit", type=positive, default=20, metavar="N", help="at most this many (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        found = engine.review(where=options.where, margin=options.margin, limit=options.limit)
    if options.json:
        print_json({"total": found.total, "items": found.to_dicts()})
    else:
        print(found)
    return DONE
