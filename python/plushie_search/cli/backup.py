"""The command `plushie-search backup`."""

from __future__ import annotations

import argparse

from ..show.table import counted
from .common import DONE, Commands, add_catalog, open_catalog


def add_command(commands: Commands) -> None:
    """Adds the command."""
    backup = commands.add("backup", run, "copy a catalog, while others may write to it")
    add_catalog(backup, computes=False)
    backup.add_argument("path", metavar="PATH", help="the directory of the copy, which holds no catalog yet")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        engine.backup(options.path)
        print(f"{counted(len(engine), 'item')} copied to {options.path}")
    return DONE
