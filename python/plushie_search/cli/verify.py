"""The command `plushie-search verify`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict

from .._core import ModelError
from ..engine import Engine
from ..results import Problem
from ..show.table import counted, printable
from .common import DONE, SOME_FAILED, Commands, add_catalog, add_json, open_catalog, print_json, say


def add_command(commands: Commands) -> None:
    """Adds the command."""
    verify = commands.add("verify", run, "read a whole catalog and list its damage")
    add_catalog(verify, computes=False)
    verify.add_argument(
        "--repair",
        action="store_true",
        help="make anew what can be, by the catalog's models, and move damaged files aside; nothing is deleted",
    )
    add_json(verify)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with _opened(options) as engine:
        found = engine.verify(repair=options.repair)
    if options.json:
        print_json(asdict(found) if options.repair else [asdict(problem) for problem in found.problems])
        return DONE if found.ok else SOME_FAILED
    print_problems("repaired: ", found.repaired)
    print_problems("", found.problems)
    print_problems("no damage: ", found.remarks)
    print("the catalog is sound" if found.ok else counted(len(found.problems), "problem"))
    return DONE if found.ok else SOME_FAILED


def print_problems(before: str, problems: Iterable[Problem]) -> None:
    """Prints a line for each problem, with its item and reference."""
    for one in problems:
        names = (printable(name) for name in (one.item, one.reference) if name is not None)
        print(before + ": ".join([*names, printable(one.problem)]))


def _opened(options: argparse.Namespace) -> Engine:
    """Opens the catalog: to repair it with its models, if they are there."""
    if not options.repair or options.model:
        options.computes = options.repair
        return open_catalog(options, changes=options.repair)
    try:
        return Engine(options.catalog, create=False, threads=options.threads)
    except ModelError as error:
        say(f"vectors are not encoded again: {error}")
        return open_catalog(options, changes=True)
