"""The command `plushie-search classify`."""

from __future__ import annotations

import argparse

from ..query import shown_in
from ..show.table import printable
from .common import (
    DONE,
    PART,
    Commands,
    add_catalog,
    add_expand,
    add_json,
    add_where,
    expansion,
    open_catalog,
    print_json,
)


def add_command(commands: Commands) -> None:
    """Adds the command."""
    classify = commands.add("classify", run, "tell which class pictures are of, by the catalog's labels or by names")
    add_catalog(classify)
    add_json(classify)
    classify.add_argument("image", metavar="IMAGE", nargs="+", help=f"the pictures; {PART}")
    classify.add_argument(
        "--label", action="append", metavar="NAME", help="a class, given for each of two or more; all labels by default"
    )
    classify.add_argument(
        "--by",
        choices=("auto", "images", "texts"),
        default="auto",
        help="go by examples, by names, or by both (%(default)s)",
    )
    add_expand(classify, default=True)
    add_where(classify, "only examples of items that fit this filter")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options) as engine:
        answers = engine.classify(
            [shown_in(image) for image in options.image],
            options.label,
            by=options.by,
            where=options.where,
            expand=expansion(options),
        )
    if options.json:
        rows = [{"image": image, **one.to_dict()} for image, one in zip(options.image, answers, strict=True)]
        print_json(rows[0] if len(rows) == 1 else rows)
        return DONE
    for number, (image, one) in enumerate(zip(options.image, answers, strict=True)):
        if len(answers) > 1:
            print(*[""] * (number > 0), printable(image), sep="\n")
        print(one)
    return DONE
