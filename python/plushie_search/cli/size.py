"""The command `plushie-search size`."""

from __future__ import annotations

import argparse

from ..benchmark.sizing import size
from .common import DONE, Commands, add_json, print_json
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("size", run, "compute the memory, disk and machines that a catalog needs")
    command.add_argument("--items", type=float, required=True, metavar="N", help="how many items, such as 1e8")
    command.add_argument("--dim", type=positive, default=512, metavar="N", help="numbers in a vector (%(default)s)")
    command.add_argument(
        "--references", type=float, default=1.0, metavar="N", help="references of an item, on average (%(default)s)"
    )
    command.add_argument(
        "--recall", type=float, default=0.98, metavar="SHARE", help="the share of the best items to find (%(default)s)"
    )
    command.add_argument(
        "--memory", type=float, default=64.0, metavar="GB", help="memory of a machine, in GB (%(default)s)"
    )
    command.add_argument("--cores", type=positive, default=16, metavar="N", help="its cores (%(default)s)")
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    found = size(
        options.items,
        dim=options.dim,
        references=options.references,
        recall=options.recall,
        memory=options.memory * 1e9,
        cores=options.cores,
    )
    if options.json:
        print_json(found.to_dict())
    else:
        print(found)
    return DONE
