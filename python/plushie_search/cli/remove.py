"""The command `plushie-search remove`."""

from __future__ import annotations

import argparse

from ..show.table import counted
from .common import DONE, SOME_FAILED, Commands, add_catalog, add_json, open_catalog, print_json, say


def add_command(commands: Commands) -> None:
    """Adds the command."""
    remove = commands.add("remove", run, "remove items")
    add_catalog(remove, computes=False)
    add_json(remove)
    remove.add_argument("id", metavar="ID", nargs="+", help="the items")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, changes=True) as engine:
        ids = dict.fromkeys(options.id)
        present = [id for id in ids if id in engine]
        absent = [id for id in ids if id not in present]
        engine.remove(present)
    if options.json:
        print_json({"removed": present, "absent": absent})
    else:
        print(f"{counted(len(present), 'item')} removed")
    for id in absent:
        say(f"no item {id!r} in this catalog")
    return SOME_FAILED if absent else DONE
