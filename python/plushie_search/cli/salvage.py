"""The command `plushie-search salvage`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ..keeping import salvage
from ..show.table import counted
from .common import DONE, SOME_FAILED, Commands, add_json, print_json
from .verify import print_problems


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("salvage", run, "save what can be read of a damaged catalog to a new one")
    command.add_argument("catalog", metavar="CATALOG", help="the damaged catalog's directory, which is not changed")
    command.add_argument("out", metavar="OUT", help="the directory of the new catalog, which holds none yet")
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    saved = salvage(options.catalog, options.out)
    if options.json:
        print_json(asdict(saved))
    else:
        items, references = counted(saved.items, "item"), counted(saved.references, "reference")
        print(f"{items} with {references} saved to {options.out}")
        print_problems("lost: ", saved.lost)
    return SOME_FAILED if saved.lost else DONE
