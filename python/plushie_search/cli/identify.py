"""The command `plushie-search identify`."""

from __future__ import annotations

import argparse
from typing import Any

from .._core import FileError, PictureError
from ..query import Query, shown_in
from ..show.table import printable
from .common import (
    DONE,
    ERROR,
    PART,
    SOME_FAILED,
    Commands,
    add_catalog,
    add_json,
    add_k,
    add_query_crops,
    add_weight,
    add_where,
    open_catalog,
    print_json,
    say,
    weights,
)


def add_command(commands: Commands) -> None:
    """Adds the command."""
    identify = commands.add("identify", run, "say which item each photo shows, or that it shows none")
    add_catalog(identify)
    add_json(identify)
    identify.add_argument("photos", metavar="PHOTO", nargs="+", help=f"a photo of one thing; {PART}")
    identify.add_argument("--together", action="store_true", help="the photos are several views of one thing")
    identify.add_argument(
        "--target-fpr",
        type=share,
        default=0.01,
        metavar="P",
        help="the share of photos of other things that may be taken for an item (%(default)s)",
    )
    identify.add_argument(
        "--prior",
        type=share,
        default=0.5,
        metavar="P",
        help="the share of photos whose item is in the catalog; it shifts probabilities (%(default)s)",
    )
    add_k(identify, 5, "how many items --json tells")
    add_query_crops(identify)
    add_where(identify, "only items that fit this filter")
    add_weight(identify)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    how: dict[str, Any] = {
        "target_fpr": options.target_fpr,
        "prior": options.prior,
        "k": options.k,
        "where": options.where,
        "query_crops": options.query_crops,
    }
    groups = [options.photos] if options.together else [[photo] for photo in options.photos]
    rows, failed = [], 0
    with open_catalog(options) as engine:
        how["models"] = weights(options, engine)
        for photos in groups:
            try:
                found = engine.identify(Query(image=[shown_in(photo) for photo in photos]), **how)
            except (FileError, PictureError) as error:
                failed += 1
                say(str(error))
                continue
            if options.json:
                rows.append({"photos": photos, **found.to_dict()})
            else:
                print(f"{', '.join(map(printable, photos))}: {found}")
    if options.json:
        print_json(rows)
    if failed:
        return ERROR if failed == len(groups) else SOME_FAILED
    return DONE


def share(text: str) -> float:
    """Returns a number above 0 and below 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError("needs a number above 0 and below 1")
    return value
