"""The command `plushie-search search`."""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
import webbrowser
from pathlib import Path
from typing import Any

from .._core import ModelError, UnreadableTextWarning
from ..paths import expanded
from ..query import Query, shown_in
from ..results import Results
from .common import (
    DONE,
    PART,
    VECTORS_ALONE,
    Commands,
    add_catalog,
    add_expand,
    add_json,
    add_k,
    add_query_crops,
    add_weight,
    add_where,
    expansion,
    open_catalog,
    print_json,
    say,
    weights,
)
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    search = commands.add("search", run, "find items by a picture, a text, or both")
    add_catalog(search)
    add_json(search)
    search.add_argument("image", metavar="IMAGE", nargs="?", help=f"the picture to look for; {PART}")
    search.add_argument("--text", help="what to look for in words, or how it differs from IMAGE")
    search.add_argument(
        "--query",
        metavar="LINE",
        help='parts with weights in one line: "2*bunny + pic.jpg - hat", where item:ID is an item of the catalog',
    )
    search.add_argument("--item", metavar="ID", help="more like this item of the catalog, which is not among the hits")
    search.add_argument("--image-weight", type=float, default=0.5, metavar="W", help="IMAGE's share (%(default)s)")
    add_weight(search)
    add_k(search, 5, "how many items")
    search.add_argument("--min-score", type=float, metavar="S", help="only hits with at least this score")
    search.add_argument(
        "--fusion",
        choices=("weighted", "sum", "rrf", "dbsf"),
        default="weighted",
        help="how the scores of several models, or of a picture and words, become one: the mean of cosines of the same "
        "spread, or as they are, reciprocal ranks, or distribution-based (%(default)s)",
    )
    search.add_argument("--rrf-k", type=float, default=60.0, metavar="N", help="that of --fusion rrf (%(default)s)")
    search.add_argument(
        "--exclude", metavar="ID", action="append", help="an item that is not among the hits; may be repeated"
    )
    search.add_argument(
        "--mmr",
        type=float,
        metavar="M",
        help="make hits differ: 0 to 1, how much a score counts beside how little a hit is like those before it",
    )
    search.add_argument(
        "--aggregate",
        choices=("max", "mean", "softmax"),
        default="max",
        help="how the scores of an item's pictures become its score (%(default)s)",
    )
    add_query_crops(search)
    add_expand(search, default=False)
    search.add_argument(
        "--words",
        action=argparse.BooleanOptionalAction,
        help="whether the items' own words count beside vectors; by default for --text alone, in id, label and text",
    )
    search.add_argument(
        "--words-in",
        action="append",
        metavar="FIELD",
        help="look for words in this field: id, label, text or a key of the metadata; may be given several times",
    )
    search.add_argument("--nprobe", type=positive, metavar="N", help="lists of an approximate index that are probed")
    search.add_argument("--ef-search", type=positive, metavar="N", help="references that a graph keeps in view")
    search.add_argument(
        "--k-factor",
        type=float,
        metavar="F",
        help="references that an approximate index finds for each one that is wanted; without these three, as measured",
    )
    add_where(search, "only items that fit this filter")
    search.add_argument("--html", metavar="FILE", help="write a page with the hits as pictures")
    search.add_argument("--open", action="store_true", help="show that page in the browser; without --html a new file")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    if options.words_in and options.words is False:
        raise ValueError("--no-words looks for none: leave out --words-in")
    given = [name for name in ("item", "query") if getattr(options, name) is not None]
    if len(given) > 1 or (given and (options.image is not None or options.text is not None)):
        raise ValueError(f"--{given[0]} is a search of its own: leave out IMAGE, --text and others")
    if options.image is None and options.text is None and not given:
        raise ValueError("search needs an IMAGE, a --text, or both, an --item, or a --query")
    image = None if options.image is None else shown_in(options.image)
    if isinstance(image, str) and not os.path.exists(expanded(image)):
        raise FileNotFoundError(f"there is no picture {image!r}; give words by --text, or parts by --query")
    how: dict[str, Any] = {
        "k": options.k,
        "where": options.where,
        "min_score": options.min_score,
        "exclude": options.exclude,
        "mmr": options.mmr,
        "fusion": options.fusion,
        "rrf_k": options.rrf_k,
        "aggregate": options.aggregate,
        "query_crops": options.query_crops,
        "expand": expansion(options),
        "words": options.words_in or options.words,
        "nprobe": options.nprobe,
        "ef_search": options.ef_search,
        "k_factor": options.k_factor,
    }
    with open_catalog(options, vectors=True) as engine, warnings.catch_warnings():
        # The results tell it, too, with the hits.
        warnings.simplefilter("ignore", UnreadableTextWarning)
        how["models"] = weights(options, engine)
        try:
            if options.item is not None:
                results = engine.search(Query(item=options.item), **how)
            elif options.query is not None:
                results = engine.search(Query.parse(options.query), **how)
            elif image is None:
                results = engine.search_text(options.text, **how)
            elif options.text is None:
                results = engine.search_image(image, **how)
            else:
                results = engine.search_hybrid(image, options.text, image_weight=options.image_weight, **how)
        except ModelError as error:
            if engine.image_model is None and engine.text_model is None:
                raise ValueError(f"{options.catalog}: {VECTORS_ALONE}: search by --item ID") from error
            raise
    if options.open or options.html is not None:
        _write_page(results, options.html, show=options.open)
    if options.json:
        print_json(results.to_dicts())
        for warning in results.warnings:
            say(f"warning: {warning}")
    else:
        print(results)
    return DONE


def _write_page(results: Results, file: str | None, *, show: bool) -> None:
    """Writes the page of the hits, to a new file if none is named, and shows it in the browser if asked."""
    if file is None:
        handle, file = tempfile.mkstemp(prefix="plushie-search-", suffix=".html")
        os.close(handle)
    results.to_html(file)
    if show and not webbrowser.open(Path(expanded(file)).absolute().as_uri()):
        say(f"no browser was found; open {file} in one")
