"""The command `plushie-search adapt`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from .common import DONE, Commands, add_catalog, add_json, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    adapt = commands.add(
        "adapt", run, "learn from the references how to tell the items better, without training a model"
    )
    add_catalog(adapt)
    adapt.add_argument("--forget", action="store_true", help="forget what was learned")
    add_json(adapt)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, changes=True, vectors=True) as engine:
        if options.forget:
            forgotten = engine.forget_adapter()
            if options.json:
                print_json({"forgotten": forgotten})
            else:
                print("forgotten" if forgotten else "there is nothing to forget")
            return DONE
        made = engine.adapt()
    if options.json:
        print_json(asdict(made))
    else:
        print(made)
    return DONE
