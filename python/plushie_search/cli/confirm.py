"""The command `plushie-search confirm`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from .common import DONE, Commands, add_catalog, add_json, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    confirm = commands.add("confirm", run, "add a picture that was looked up to the item that it shows")
    add_catalog(confirm)
    add_json(confirm)
    confirm.add_argument("image", metavar="IMAGE", help="the picture")
    confirm.add_argument("id", metavar="ID", help="the item, which must be there")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, changes=True) as engine:
        added = engine.confirm(options.image, options.id)
    if options.json:
        print_json(asdict(added))
    elif added.references:
        print(f"1 reference added to {options.id}")
    else:
        print(f"{options.id} has this picture already")
    return DONE
