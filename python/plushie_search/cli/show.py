"""The command `plushie-search show`."""

from __future__ import annotations

import argparse

from ..results import Item
from ..show.table import printable, table
from .common import DONE, Commands, add_catalog, add_json, add_where, as_json, open_catalog, print_json
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    show = commands.add("show", run, "show items, all or those named")
    add_catalog(show, computes=False)
    add_json(show)
    show.add_argument("id", metavar="ID", nargs="*", help="the items; all of them if none is named")
    add_where(show, "only items that fit this filter")
    show.add_argument("--limit", type=positive, metavar="N", help="at most this many")
    show.add_argument("--offset", type=int, default=0, metavar="N", help="after so many (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        if options.id:
            items = engine.get(options.id)
        else:
            items = engine.items(where=options.where, limit=options.limit, offset=options.offset)
    if options.json:
        print_json([item.to_dict() for item in items])
    elif options.id:
        print("\n\n".join(_details(item) for item in items))
    else:
        rows = [(item.id, item.label or "", str(len(item.references)), item.text or "") for item in items]
        print(table(["item", "label", "references", "text"], rows, widest=80))
    return DONE


def _details(item: Item) -> str:
    lines = [printable(item.id)]
    lines += [f"  {name}: {printable(value)}" for name, value in (("label", item.label), ("text", item.text)) if value]
    lines += [f"  {printable(str(key))}: {as_json(value)}" for key, value in item.metadata.items()]
    lines += [f"  reference: {printable(reference.name)}" for reference in item.references]
    return "\n".join(lines)
