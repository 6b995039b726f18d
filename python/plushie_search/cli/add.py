"""The command `plushie-search add`."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from dataclasses import asdict

from ..interop.descriptions import read_descriptions
from ..paths import expanded
from ..results import Report
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
            print_json(asdict(report))
        else:
            print(_sentence(report, len(engine)))
    for name, reason in report.failed:
        say(reason if name in reason else f"{name}: {reason}")
    return SOME_FAILED if report.failed else DONE


def _sentence(report: Report, total: int) -> str:
    parts = [counted(report.items, "new item"), counted(report.references, "new reference")]
    if report.duplicates:
        parts.append(f"{report.duplicates} there already")
    if report.renamed:
        parts.append(f"{report.renamed} of them by a new name")
    if report.replaced:
        parts.append(f"{report.replaced} replaced")
    if report.moved:
        parts.append(f"{report.moved} moved from other items")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    return f"{', '.join(parts)}; {counted(total, 'item')} in the catalog"
