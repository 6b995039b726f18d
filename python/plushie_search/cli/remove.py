"""The command `plushie-search remove`."""

from __future__ import annotations

import argparse

from ..engine import Engine
from ..show.table import counted
from .common import DONE, SOME_FAILED, Commands, add_catalog, add_json, add_where, open_catalog, print_json, say


def add_command(commands: Commands) -> None:
    """Adds the command."""
    remove = commands.add("remove", run, "remove items, or one picture of an item")
    add_catalog(remove, computes=False)
    add_json(remove)
    remove.add_argument("id", metavar="ID", nargs="*", help="the items")
    remove.add_argument(
        "--reference",
        metavar="NAME",
        help="remove only this picture of the item ID, by its path, name or digest; the item goes with its last one",
    )
    add_where(remove, "remove the items that fit this filter")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    if options.reference is not None:
        if len(options.id) != 1 or options.where is not None:
            raise ValueError("--reference removes a picture of one item: give its ID, and no --where")
    elif bool(options.id) == (options.where is not None):
        raise ValueError("remove needs an ID or --where, and not both")
    with open_catalog(options, changes=True) as engine:
        if options.reference is not None:
            return _remove_reference(engine, options)
        if options.where is not None:
            return _remove_where(engine, options)
        return _remove_items(engine, options)


def _remove_reference(engine: Engine, options: argparse.Namespace) -> int:
    [id] = options.id
    left = engine.remove_reference(id, options.reference)
    if options.json:
        print_json({"removed": options.reference, "item": id, "left": left})
    else:
        rest = f"{left} left" if left else "the item is removed, for it was the last one"
        print(f"1 reference of {id} removed, {rest}")
    return DONE


def _remove_where(engine: Engine, options: argparse.Namespace) -> int:
    removed = engine.remove(where=options.where)
    if options.json:
        print_json({"removed": removed})
    else:
        print(f"{counted(removed, 'item')} removed")
    return DONE


def _remove_items(engine: Engine, options: argparse.Namespace) -> int:
    ids = dict.fromkeys(options.id)
    present = [id for id in ids if id in engine]
    absent = [id for id in ids if id not in present]
    engine.remove(present)
    if options.json:
        print_json({"removed": present, "absent": absent})
    else:
        print(f"{counted(len(present), 'item')} removed")
    for id in absent:
        say(f"no item {id!r} in this catalog")
    return SOME_FAILED if absent else DONE
