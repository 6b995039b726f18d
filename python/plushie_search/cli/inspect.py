"""The command `plushie-search inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..answers.inspect.inspection import Inspection, Inspections
from ..paths import expanded
from ..query import shown_in
from ..show.table import printable
from .common import DONE, ERROR, PART, SOME_FAILED, Commands, add_catalog, add_json, open_catalog, print_json, say
from .identify import share


def add_command(commands: Commands) -> None:
    """Adds the command."""
    inspect = commands.add("inspect", run, "tell photos of good products from those of faulty ones")
    add_catalog(inspect)
    add_json(inspect)
    inspect.add_argument("photo", metavar="PHOTO", help=f"a photo, {PART}; or a folder of photos")
    inspect.add_argument("--item", metavar="ID", help="the item whose references are the golden samples")
    inspect.add_argument(
        "--golden", metavar="FILE", action="append", help="a golden sample or a folder of them; may be repeated"
    )
    inspect.add_argument(
        "--threshold",
        type=float,
        default=0.9,
        metavar="S",
        help="the similarity from which a photo shows the item, 0 to 1 (%(default)s)",
    )
    inspect.add_argument(
        "--alarm-rate",
        type=share,
        default=0.05,
        metavar="P",
        help="the share of good photos that may be taken for faulty ones (%(default)s)",
    )
    inspect.add_argument(
        "--camera",
        choices=["fixed", "free"],
        default="fixed",
        help="whether all photos show the product in one place and pose (%(default)s)",
    )
    inspect.add_argument("--report", metavar="FILE", help="write a report to FILE.html or FILE.csv")
    inspect.add_argument("--audit", metavar="FILE", help="append a line of JSON for each verdict to this file")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status: 0 only if every photo passes."""
    kind = Path(options.report or ".html").suffix.lower() if options.report else None
    if kind not in (None, ".html", ".htm", ".csv"):
        raise ValueError(f"--report {options.report}: give a file that ends in .html or .csv")
    with open_catalog(options) as engine:
        found = engine.inspect(
            shown_in(options.photo),
            options.item,
            golden=options.golden,
            threshold=options.threshold,
            alarm_rate=options.alarm_rate,
            camera=options.camera,
            audit=options.audit,
        )
    several = Inspections([found]) if isinstance(found, Inspection) else found
    if options.report is not None:
        write = several.to_csv if kind == ".csv" else several.to_html
        write(expanded(options.report))
    for name, reason in several.failed:
        say(f"{printable(name)}: {reason}")
    if options.json:
        print_json(found.to_dict() if isinstance(found, Inspection) else several.to_dicts())
    else:
        print(found)
    if not several:
        return ERROR
    return DONE if not several.failed and all(one.verdict == "pass" for one in several) else SOME_FAILED
