"""The command `plushie-search calibrate`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from .common import DONE, Commands, add_catalog, add_json, add_weight, open_catalog, print_json, weights


def add_command(commands: Commands) -> None:
    """Adds the command."""
    calibrate = commands.add(
        "calibrate", run, "learn from the references what scores mean, and how much each of several models counts"
    )
    add_catalog(calibrate)
    add_json(calibrate)
    add_weight(calibrate)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, changes=True) as engine:
        made = engine.calibrate(models=weights(options, engine))
    if options.json:
        print_json(asdict(made))
    else:
        print(made)
        if made.learned is not None:
            print(made.learned)
    return DONE
