"""The command `plushie-search plush`."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from ..paths import expanded
from ..plush.pictures import write_plushes
from ..show.progress import ProgressBar
from ..show.table import counted, printable, table
from .common import DONE, Commands, add_json, print_json, seed
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    plush = commands.add("plush", run, "render plush toys, with captions")
    add_json(plush)
    plush.add_argument("--seed", type=seed, default=7, metavar="N", help="the first plush (%(default)s)")
    plush.add_argument("--count", type=positive, default=4, metavar="N", help="how many plushes (%(default)s)")
    plush.add_argument("--views", type=positive, default=1, metavar="N", help="pictures of each (%(default)s)")
    plush.add_argument("--size", type=positive, default=224, metavar="PIXELS", help="their side (%(default)s)")
    plush.add_argument("--stl", action="store_true", help="write the surface of each as an STL file, too")
    plush.add_argument("--out", default="plushes", metavar="DIR", help="where (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with closing(ProgressBar("rendering")) as progress:
        plushes = write_plushes(
            Path(expanded(options.out)),
            seeds=range(options.seed, options.seed + options.count),
            views=options.views,
            side=options.size,
            stl=options.stl,
            progress=progress,
        )
    if options.json:
        print_json(plushes)
    else:
        print(table(["plush", "caption"], [(plush["id"], plush["text"]) for plush in plushes], widest=100))
        print(f"{counted(len(plushes), 'plush', 'plushes')} in {printable(options.out)}, described in plushes.jsonl")
    return DONE
