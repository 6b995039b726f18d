"""The command `plushie-search export`."""

from __future__ import annotations

import argparse
from contextlib import closing

from ..exchange.export import EXPORTS, ExportFormat
from ..show.progress import ProgressBar
from ..show.table import counted
from .common import DONE, Commands, add_catalog, add_json, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("export", run, "write a catalog, as it is now, in a format that other programs read")
    add_catalog(command, computes=False)
    add_json(command)
    command.add_argument("out", metavar="OUT", help="the new directory, or file of parquet")
    command.add_argument(
        "--format", choices=EXPORTS, help="jsonl has all that an import needs (parquet if OUT ends so, else jsonl)"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    format: ExportFormat = options.format or ("parquet" if options.out.lower().endswith(".parquet") else "jsonl")
    with open_catalog(options) as engine, closing(ProgressBar("exporting")) as progress:
        done = engine.export(options.out, format=format, progress=progress)
    if options.json:
        print_json(vars(done))
        return DONE
    counts = [counted(done.items, "item"), counted(done.references, "reference")]
    counts += [counted(done.pictures, "picture")] * bool(done.pictures)
    print(f"{', '.join(counts)} written to {options.out}")
    return DONE
