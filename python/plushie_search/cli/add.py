"""The command `plushie-search add`."""

from __future__ import annotations

import argparse
import os
from contextlib import closing

from ..interop.descriptions import read_descriptions
from ..paths import expanded
from ..show.progress import ProgressBar
from ..show.table import counted
from .common import DONE, INTERRUPTED, SOME_FAILED, Commands, add_catalog, add_json, open_catalog, print_json, say


def add_command(commands: Commands) -> None:
    """Adds the command."""
    add = commands.add("add", run, "add pictures to a catalog, which is made if there is none")
    add_catalog(add)
    add_json(add)
    add.add_argument("source", metavar="SOURCE", help="a folder of <item>/<picture>, or a .csv, .json or .jsonl file")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, create=True, changes=True) as engine:
        try:
            with closing(ProgressBar("adding")) as progress:
                if os.path.isdir(expanded(options.source)):
                    report = engine.add_folder(options.source, progress=progress)
                else:
                    items = read_descriptions(options.source)
                    report = engine.add_items(items, progress=progress)
        except KeyboardInterrupt:
            say(f"interrupted with {counted(len(engine), 'item')} in the catalog: run it again to continue there")
            return INTERRUPTED
        if options.json:
            print_json(report.to_dict())
        else:
            print(f"{report}; {counted(len(engine), 'item')} in the catalog")
    for name, reason in report.failed:
        say(reason if name in reason else f"{name}: {reason}")
    return SOME_FAILED if report.failed else DONE
