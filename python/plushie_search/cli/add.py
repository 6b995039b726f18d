"""The command `plushie-search add`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from functools import reduce
from operator import add
from pathlib import Path

from .._core import folder_items
from ..interop.descriptions import SUFFIXES, Description, picture_ids, read_descriptions, read_json_lines
from ..paths import expanded
from ..results import Report
from ..show.progress import ProgressBar
from ..show.table import counted
from .common import (
    DONE,
    ERROR,
    INTERRUPTED,
    METADATA,
    SOME_FAILED,
    Commands,
    add_catalog,
    add_json,
    filled,
    open_catalog,
    parse_metadata,
    print_json,
    say,
)
from .options import positive

#: The source that stands for JSON lines on the standard input.
STDIN = "-"


@dataclass(frozen=True)
class Sources:
    """Folders, and items from tables, the standard input and pictures."""

    folders: Sequence[str]
    items: Sequence[Description]


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("add", run, "add pictures to a catalog, which is made if there is none")
    add_catalog(command)
    add_json(command)
    command.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="a folder of <item>/<picture>; a .csv, .json or .jsonl file; a picture, named by its path without the "
        f"ending; or {STDIN} for JSON lines from the standard input",
    )
    command.add_argument("--id", help="the item to which all SOURCEs belong, which are pictures")
    command.add_argument("--label", help="the label of pictures")
    command.add_argument("--text", help="the text of pictures")
    command.add_argument(
        "--metadata", type=parse_metadata, metavar="JSON", help=f"the metadata of pictures, as '{METADATA}'"
    )
    command.add_argument(
        "--upsert",
        action="store_true",
        help="make each item exactly as it is given, and remove its other pictures; not for folders",
    )
    command.add_argument(
        "--crops",
        action="store_true",
        default=None,
        help="encode the middle of each picture, too: that takes three times as long, and finds more things that are "
        "small in a photo; the catalog remembers it",
    )
    command.add_argument(
        "--views",
        type=positive,
        metavar="N",
        help="the views of each 3D model (STL, OBJ, PLY, GLB, 3MF), each a reference beside their mean; the catalog "
        "remembers it (20)",
    )
    command.add_argument(
        "--prune", action="store_true", help="after a folder, remove the pictures whose files are gone from it"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    sources = read_sources(options)
    with filled(options.catalog, lambda: open_catalog(options, create=True, changes=True)) as engine:
        try:
            with closing(ProgressBar("adding")) as progress:
                reports = [
                    engine.add_folder(folder, prune=options.prune, progress=progress) for folder in sources.folders
                ]
                if sources.items:
                    reports.append(engine.add_items(sources.items, upsert=options.upsert, progress=progress))
        except KeyboardInterrupt:
            say(f"interrupted with {counted(len(engine), 'item')} in the catalog: run it again to continue there")
            return INTERRUPTED
        report = reduce(_sum, reports)
        used = report.references + report.duplicates > 0
        if options.json:
            print_json(report.to_dict())
        elif used or not report.failed:
            print(f"{report}; {counted(len(engine), 'item')} in the catalog")
    for name, reason in report.failed:
        say(reason if name in reason else f"{name}: {reason}")
    for name, note in report.notes:
        say(f"{name}: {note}")
    if report.failed and not used:
        return ERROR
    return SOME_FAILED if report.failed else DONE


def read_sources(options: argparse.Namespace) -> Sources:
    """Returns the sources of a command, all of them checked before a catalog is opened.

    Raises:
        OSError: There is no such file, or a folder or table cannot be read.
        ValueError: A folder has no picture, a table cannot be understood, or an option is for sources of another kind.
    """
    folders: list[str] = []
    items: list[Description] = []
    pictures: list[str] = []
    for source in options.source:
        path = expanded(source)
        if source == STDIN:
            if sys.stdin is None:
                raise ValueError("the standard input is closed: give a folder, a table or pictures instead of -")
            items += read_json_lines(sys.stdin.buffer, "standard input")
        elif os.path.isdir(path):
            folder_items(path)
            folders.append(source)
        elif not os.path.exists(path):
            raise FileNotFoundError(f"there is no folder, table or picture {source!r}")
        elif path.lower().endswith(SUFFIXES):
            items += read_descriptions(path)
        else:
            pictures.append(path)
    others = [source for source in options.source if expanded(source) not in pictures]
    for name in ("id", "label", "text", "metadata"):
        if getattr(options, name) is not None and others:
            raise ValueError(f"--{name} is for pictures, and {others[0]} is none: add that by a command of its own")
    if options.upsert and folders:
        raise ValueError(f"--upsert is not for folders, as {folders[0]}: give --prune, which removes what is gone")
    if options.prune and not folders:
        raise ValueError("--prune is for folders: give one as SOURCE")
    return Sources(folders, items + _items(pictures, options))


def _items(pictures: Sequence[str], options: argparse.Namespace) -> list[Description]:
    """Returns the items of pictures that were named one by one."""

    def item(id: str, images: Sequence[str]) -> Description:
        return Description(id, [Path(image) for image in images], options.label, options.metadata, options.text)

    if options.id is not None:
        return [item(options.id, pictures)]
    names = picture_ids([os.path.normpath(picture) for picture in pictures])
    return [item(name, [picture]) for name, picture in zip(names, pictures, strict=True)]


def _sum(one: Report, other: Report) -> Report:
    return Report(*(add(getattr(one, field.name), getattr(other, field.name)) for field in fields(Report)))
