"""The command `plushie-search reencode`."""

from __future__ import annotations

import argparse
from contextlib import closing

from ..engine import Engine
from ..hub import DEFAULT_MODEL
from ..show.progress import ProgressBar
from ..show.table import counted
from .common import DONE, INTERRUPTED, Commands, add_json, print_json, say
from .options import add_options, open_models


def add_command(commands: Commands) -> None:
    """Adds the command."""
    reencode = commands.add("reencode", run, "move a catalog to another model, or add one, which encodes its pictures")
    reencode.add_argument("catalog", metavar="CATALOG", help="the catalog's directory")
    models = reencode.add_mutually_exclusive_group()
    models.add_argument(
        "--model",
        action="append",
        help=f"the name or directory of the model that it is moved to ({DEFAULT_MODEL}); may be given several times",
    )
    models.add_argument(
        "--add",
        action="append",
        metavar="MODEL",
        help="the name or directory of a further model, beside those that it has; may be given several times",
    )
    add_json(reencode)
    add_options(reencode, several=True)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with Engine(options.catalog, model=[], threads=options.threads) as engine:
        encoders = open_models(options, options.add or options.model or [DEFAULT_MODEL])
        move = engine.add_model if options.add else engine.reencode
        try:
            with closing(ProgressBar("encoding")) as progress:
                report = move(encoders, progress=progress)
        except KeyboardInterrupt:
            say("interrupted, and nothing is changed yet: run it again to continue there")
            return INTERRUPTED
    if options.json:
        print_json(report.to_dict())
        return DONE
    print(report)
    if report.thumbnails:
        count = counted(report.thumbnails, "original")
        say(f"warning: {count} not found; vectors of thumbnails, at most 256 pixels, are a little less exact")
    return DONE
