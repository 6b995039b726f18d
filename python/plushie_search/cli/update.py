"""The command `plushie-search update`."""

from __future__ import annotations

import argparse

from .common import DONE, METADATA, Commands, add_catalog, add_json, open_catalog, parse_metadata, print_json

FIELDS = ("label", "text", "metadata")


def add_command(commands: Commands) -> None:
    """Adds the command."""
    update = commands.add("update", run, "change an item's label, text or metadata")
    add_catalog(update, computes=False)
    add_json(update)
    update.add_argument("id", metavar="ID", help="the item")
    update.add_argument("--label", help="its new label")
    update.add_argument("--text", help="its new text")
    update.add_argument(
        "--metadata",
        type=parse_metadata,
        metavar="JSON",
        help=f"its new metadata, as '{METADATA}', in place of all it has",
    )
    update.add_argument(
        "--clear", action="append", choices=FIELDS, metavar="FIELD", default=[], help=f"clear {', '.join(FIELDS)}"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    changes = {name: value for name in FIELDS if (value := getattr(options, name)) is not None}
    for name in options.clear:
        if name in changes:
            raise ValueError(f"--{name} and --clear {name} contradict each other: give one of them")
    changes |= dict.fromkeys(options.clear)
    if not changes:
        raise ValueError("update needs a change: give --label, --text, --metadata or --clear")
    with open_catalog(options, changes=True) as engine:
        engine.update(options.id, **changes)
        item = engine.get(options.id)
    if options.json:
        print_json(item.to_dict())
    else:
        print(f"{', '.join(name for name in FIELDS if name in changes)} of {item.id} changed")
    return DONE
