"""The command `plushie-search explain`."""

from __future__ import annotations

import argparse

from ..query import Query, shown_in
from .common import DONE, PART, Commands, add_catalog, add_json, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    explain = commands.add("explain", run, "show why an item matches a photo or words: heat maps of both pictures")
    add_catalog(explain)
    add_json(explain)
    explain.add_argument("query", metavar="QUERY", help=f"a picture, {PART}; with --text, words")
    explain.add_argument("item", metavar="ITEM", nargs="?", help="the item's id; by default the best hit's")
    explain.add_argument("--text", action="store_true", help="QUERY is words")
    explain.add_argument("--reference", metavar="NAME", help="the name or digest of the item's reference")
    explain.add_argument(
        "--method",
        choices=["windows", "cam"],
        default="windows",
        help="windows of the picture, for every model, or class activation, at once, for those that pool feature maps "
        "(%(default)s)",
    )
    explain.add_argument(
        "--detail", type=int, choices=[1, 2], default=1, help="41 or 81 windows of each picture (%(default)s)"
    )
    explain.add_argument(
        "--language", choices=["en", "zh"], default="en", help="the language of the sentence (%(default)s)"
    )
    explain.add_argument("--out", metavar="FILE", help="write the pictures to FILE.png, or all of it to FILE.html")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        query = Query(text=options.query) if options.text else Query(image=shown_in(options.query))
        item = options.item
        if item is None:
            hits = engine.search(query, k=1)
            if not hits:
                raise ValueError(f"the catalog {options.catalog} has no item: add some first")
            item = hits[0]
        found = engine.explain(
            query,
            item,
            options.reference,
            method=options.method,
            detail=options.detail,
            language=options.language,
        )
    if options.out is not None:
        found.save(options.out)
    if options.json:
        print_json(found.to_dict())
    else:
        print(found)
    return DONE
