"""The command `plushie-search demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import demo
from ..hub import DEFAULT_MODEL
from ..paths import expanded
from .common import DONE, Commands, seed
from .options import add_options, open_model, positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("demo", run, "make a collection of plush toys and search it")
    command.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or directory (%(default)s)")
    add_options(command, several=False)
    command.add_argument("directory", metavar="DIRECTORY", nargs="?", default="demo", help="where (demo)")
    command.add_argument("--plushes", type=positive, default=60, metavar="N", help="how many (%(default)s)")
    command.add_argument("--seed", type=seed, default=1, metavar="N", help="the first plush (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    demo.run(
        Path(expanded(options.directory)),
        model=open_model(options, options.model),
        plushes=options.plushes,
        seed=options.seed,
        threads=options.threads,
    )
    return DONE
