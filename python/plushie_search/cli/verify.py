"""The command `plushie-search verify`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ..show.table import counted, printable
from .common import DONE, SOME_FAILED, Commands, add_catalog, add_json, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    verify = commands.add("verify", run, "read a whole catalog and list its damage")
    add_catalog(verify, computes=False)
    add_json(verify)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        problems = engine.verify().problems
    if options.json:
        print_json([asdict(problem) for problem in problems])
    elif problems:
        for one in problems:
            place = ": ".join(printable(name) for name in (one.item, one.reference) if name is not None)
            print(f"{place}: {one.problem}" if place else one.problem)
        print(counted(len(problems), "problem"))
    else:
        print("the catalog is sound")
    return SOME_FAILED if problems else DONE
