"""The command `plushie-search thumbnail`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..engine import Engine
from ..paths import expanded
from .common import DONE, Commands, add_catalog, open_catalog


def add_command(commands: Commands) -> None:
    """Adds the command."""
    thumbnail = commands.add("thumbnail", run, "write the small copy of an item's picture that the catalog keeps")
    add_catalog(thumbnail, computes=False)
    thumbnail.add_argument("id", metavar="ID", help="the item")
    thumbnail.add_argument("--reference", metavar="NAME", help="the picture's path, name or digest (the item's first)")
    thumbnail.add_argument("--out", metavar="FILE", required=True, help="the JPEG file to write")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        jpeg = engine.thumbnail(options.id, _stored(engine, options))
    if jpeg is None:
        raise ValueError(f"{options.id}: its picture is neither in the catalog nor in its file; add the item again")
    Path(expanded(options.out)).write_bytes(jpeg)
    print(f"{len(jpeg):,} bytes written to {options.out}")
    return DONE


def _stored(engine: Engine, options: argparse.Namespace) -> str | None:
    """Returns the name of the reference: paths are stored as absolute ones."""
    if options.reference is None:
        return None
    path = os.path.abspath(expanded(options.reference))
    names = [reference.name for reference in engine.get(options.id).references]
    return path if path in names else options.reference
