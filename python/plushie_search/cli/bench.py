"""The command `plushie-search bench`."""

from __future__ import annotations

import argparse
import os

from ..benchmark.run import METRICS, QUERIES, benchmark_catalog, benchmark_files
from ..paths import expanded, written
from .common import DONE, Commands, add_json, print_json
from .options import add_threads, positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("bench", run, "measure how fast and how exact searches by vectors are")
    command.add_argument("catalog", metavar="CATALOG", nargs="?", help="the catalog, whose references are the queries")
    command.add_argument("--base", metavar="FILE", help="vectors instead of a catalog: .fvecs, .bvecs, .npy, .hdf5 ...")
    command.add_argument(
        "--query", metavar="FILE", help="the queries for --base, in such a file (those of a .hdf5 of ann-benchmarks)"
    )
    command.add_argument(
        "--truth", metavar="FILE", help="the best rows of each query: .ivecs or .npy (those of a .hdf5, or computed)"
    )
    command.add_argument(
        "--metric", choices=METRICS, help="how vectors of --base are compared (cosine; l2 for .fvecs; that of a .hdf5)"
    )
    command.add_argument(
        "--index",
        default="auto",
        metavar="STRING",
        help="auto, exact, or an index by its faiss string, which the catalog does not keep (%(default)s)",
    )
    command.add_argument(
        "--queries",
        type=positive,
        default=QUERIES,
        metavar="N",
        help="at most so many queries of a catalog (%(default)s)",
    )
    command.add_argument("--html", metavar="FILE", help="write a page with a plot of speed against recall")
    add_threads(command)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    if options.html is not None:
        folder = os.path.dirname(os.path.abspath(expanded(options.html)))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"--html {options.html}: there is no folder {folder}: make it first")
    files = {name: getattr(options, name) for name in ("base", "query", "truth", "metric")}
    if options.catalog is not None:
        if given := [name for name, value in files.items() if value is not None]:
            raise ValueError(f"--{given[0]} is for files of vectors: leave it out, or leave out {options.catalog}")
        if os.path.isfile(expanded(options.catalog)):
            raise ValueError(f"{options.catalog} is a file, and no catalog: give its vectors by --base")
        done = benchmark_catalog(options.catalog, index=options.index, queries=options.queries, threads=options.threads)
    elif options.base is None:
        raise ValueError("bench needs a CATALOG, or files of vectors: --base and --query")
    else:
        done = benchmark_files(
            options.base,
            options.query,
            truth=options.truth,
            metric=options.metric,
            index=options.index,
            threads=options.threads,
        )
    if options.html is not None:
        written(done.to_html(), options.html)
    if options.json:
        print_json(done.to_dict())
    else:
        print(done)
    return DONE
