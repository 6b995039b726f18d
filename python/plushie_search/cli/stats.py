"""The command `plushie-search stats`."""

from __future__ import annotations

import argparse

from ..show.table import printable
from .common import DONE, Commands, add_catalog, add_json, open_catalog, plain, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    stats = commands.add("stats", run, "show what a catalog holds")
    add_catalog(stats, computes=False)
    add_json(stats)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        stats = dict(engine.stats())
    if options.json:
        print_json(stats)
    else:
        width = max(map(len, stats), default=0)
        print("\n".join(f"{name:{width}}  {printable(plain(value))}" for name, value in stats.items()))
    return DONE
