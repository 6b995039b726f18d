"""The command `plushie-search calibrate`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from .._core import ArgumentError, folder_items
from ..engine import Engine
from ..paths import expanded
from .common import DONE, Commands, add_catalog, add_json, add_weight, open_catalog, print_json, weights


def add_command(commands: Commands) -> None:
    """Adds the command."""
    calibrate = commands.add(
        "calibrate", run, "learn from the references what scores mean, and how much each of several models counts"
    )
    add_catalog(calibrate)
    calibrate.add_argument(
        "photos", metavar="PHOTOS", nargs="?", help="a folder of <item>/<picture>: photos that CATALOG does not hold"
    )
    calibrate.add_argument("--unknown", metavar="FOLDER", help="photos of things that are not in the catalog")
    add_json(calibrate)
    add_weight(calibrate)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, changes=True) as engine:
        made = engine.calibrate(_labeled(options, engine), models=weights(options, engine))
    if options.json:
        print_json(asdict(made))
    else:
        print(made)
        if made.learned is not None:
            print(made.learned)
    return DONE


def _labeled(options: argparse.Namespace, engine: Engine) -> list[tuple[Path, str | None]]:
    known = [] if options.photos is None else folder_items(expanded(options.photos))
    absent = [item for item, _ in known if item not in engine]
    if absent:
        raise ArgumentError(
            f"{options.photos}: {absent[0]!r} is not in the catalog, one of {len(absent)} such folders: move those of "
            "other things to a folder of their own and give that as --unknown"
        )
    unknown = [] if options.unknown is None else folder_items(expanded(options.unknown))
    labeled: list[tuple[Path, str | None]] = [(path, item) for item, paths in known for path in paths]
    return labeled + [(path, None) for _, paths in unknown for path in paths]
