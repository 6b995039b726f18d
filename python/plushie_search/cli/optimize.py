"""The command `plushie-search optimize`."""

from __future__ import annotations

import argparse

from .common import DONE, Commands, add_catalog, add_json, open_catalog, print_json


def add_command(commands: Commands) -> None:
    """Adds the command."""
    optimize = commands.add("optimize", run, "build the approximate index of a large catalog, and measure it")
    add_catalog(optimize)
    optimize.add_argument(
        "--index",
        default="auto",
        metavar="STRING",
        help="a factory string of faiss, such as IVF1024,PQ64x4fs or HNSW32; by default one that suits the catalog",
    )
    optimize.add_argument(
        "--recall",
        type=float,
        metavar="R",
        help="the share of the exact best 10 items that searches are to find: by default that of the catalog's index, "
        "and 0.98 of a new one",
    )
    optimize.add_argument(
        "--memory",
        type=float,
        metavar="M",
        help="the memory that the index may take: bytes, or a share of what is free, such as 0.5; unlimited by default",
    )
    add_json(optimize)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    with open_catalog(options, changes=True, vectors=True) as engine:
        engine.optimize()
        stats = engine.stats()
    built = stats["approximate"]
    if options.json:
        print_json({"index": stats["index"], "approximate": built})
    elif not built:
        print(f"{stats['indexed']:,} references, each of which is compared: no index is needed")
    for model in [] if options.json else built:
        found = ", ".join(f"{kind} {model[kind]['recall']:.3f}" for kind in ("pictures", "texts"))
        print(f"{model['index']} over {model['references']:,} references of {model['model']}; recall: {found}")
    return DONE
