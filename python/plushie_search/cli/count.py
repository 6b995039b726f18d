"""The command `plushie-search count`."""

from __future__ import annotations

import argparse

from .common import DONE, Commands, add_catalog, add_json, add_where, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    count = commands.add("count", run, "count items")
    add_catalog(count, computes=False)
    add_json(count)
    add_where(count, "only items that fit this filter")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        items = engine.count(options.where)
    if options.json:
        print_json({"items": items})
    else:
        print(items)
    return DONE
