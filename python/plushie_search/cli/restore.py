"""The command `plushie-search restore`."""

from __future__ import annotations

import argparse

from ..keeping import restore
from ..show.table import counted
from .common import DONE, Commands


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("restore", run, "restore a catalog from a backup, which is verified before")
    command.add_argument("backup", metavar="BACKUP", help="the directory of the backup")
    command.add_argument("catalog", metavar="CATALOG", help="the directory of the restored catalog")
    command.add_argument(
        "--overwrite", action="store_true", help="replace a catalog that is there, which is moved to CATALOG.replaced"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    restored = restore(options.backup, options.catalog, overwrite=options.overwrite)
    print(f"{counted(restored.items, 'item')} restored to {options.catalog}")
    if restored.moved is not None:
        print(f"the catalog that was there is in {restored.moved}")
    return DONE
