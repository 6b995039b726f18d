"""The command `plushie-search compact`."""

from __future__ import annotations

import argparse

from .common import DONE, Commands, add_catalog, add_json, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    compact = commands.add("compact", run, "give back the space that removed items left")
    add_catalog(compact, computes=False)
    add_json(compact)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, changes=True) as engine:
        before = engine.stats()["bytes"]
        engine.compact()
        after = engine.stats()["bytes"]
    if options.json:
        print_json({"bytes_before": before, "bytes": after})
    else:
        print(f"{before:,} bytes before, {after:,} now")
    return DONE
