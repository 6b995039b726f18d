"""The command `plushie-search import`."""

from __future__ import annotations

import argparse
from contextlib import closing

from .. import hub
from ..engine import Engine
from ..exchange.batch import Source
from ..exchange.sources import FORMATS, open_source
from ..paths import expanded
from ..show.progress import ProgressBar
from ..show.table import counted
from ..stored import stored_models
from .common import DONE, INTERRUPTED, Commands, add_catalog, add_json, filled, open_catalog, print_json, say


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add(
        "import", run, "add vectors of another program, or of an export, to a catalog, which is made if there is none"
    )
    add_catalog(command, computes=False)
    add_json(command)
    command.add_argument(
        "source", metavar="SOURCE", help="the file or directory: .npy, .parquet, an index of faiss ..."
    )
    command.add_argument(
        "--format", choices=FORMATS, help="the format of SOURCE (by its ending, or the files in the directory)"
    )
    command.add_argument(
        "--labels", metavar="FILE", help="JSON with the label of each row, or an object with id, label, text, metadata"
    )
    command.add_argument(
        "--ids", metavar="FILE", help="JSON with the id of each row (the file's name and the row's number)"
    )
    command.add_argument("--column", metavar="NAME", help="the column of vectors of a parquet file (the one of lists)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    how = {"format": options.format, "labels": options.labels, "ids": options.ids, "column": options.column}
    source = open_source(options.source, **how)
    with filled(options.catalog, lambda: _opened(options, source)) as engine:
        before = len(engine)
        try:
            with closing(ProgressBar("importing")) as progress:
                added = engine.import_vectors(options.source, **how, progress=progress)
        except KeyboardInterrupt:
            say(f"interrupted with {counted(len(engine), 'item')} in the catalog: run it again to continue there")
            return INTERRUPTED
        items = len(engine)
    if options.json:
        print_json({"items": items - before, **vars(added)})
        return DONE
    parts = [counted(items - before, "new item"), counted(added.references, "new reference")]
    parts += [f"{added.duplicates} there already"] * bool(added.duplicates)
    parts += [f"{added.replaced} replaced"] * bool(added.replaced)
    print(f"{', '.join(parts)}; {counted(items, 'item')} in the catalog")
    return DONE


def _opened(options: argparse.Namespace, source: Source) -> Engine:
    """Opens the catalog with its models, or a new one with ``--model``, the models of the source, or none."""
    if options.model:
        options.computes = True
        return open_catalog(options, create=True, changes=True)
    if stored_models(expanded(options.catalog), needed=False).absent:
        return open_catalog(options, changes=True)
    known = hub.models()
    # A directory that a stranger's file names is not opened.
    opened = [name for model in source.models if (name := model.opened_by or model.name) in known]
    if source.models and len(opened) == len(source.models):
        return Engine(options.catalog, model=opened, threads=options.threads)
    named = [model.name for model in source.models]
    if named and named != ["vectors"]:
        raise ValueError(f"{source.path}: its vectors are of {', '.join(named)}: name where that lies by --model")
    return Engine(options.catalog, dim=source.dim, threads=options.threads)
