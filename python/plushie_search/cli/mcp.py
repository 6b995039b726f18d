"""The command `plushie-search mcp`."""

from __future__ import annotations

import argparse

from .common import DONE, Commands, add_catalog, open_catalog


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add(
        "mcp", run, "let language models search a catalog, as a server of the Model Context Protocol on standard input"
    )
    add_catalog(command)
    command.add_argument("--changes", action="store_true", help="let them add items, too")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    try:
        from ..interop.mcp import make_server
    except ImportError as error:
        raise ImportError(f"this needs {error.name}; install it with: pip install 'plushie_search[mcp]'") from error
    with open_catalog(options, changes=options.changes, vectors=True) as engine:
        make_server(engine, changes=options.changes).run("stdio")
    return DONE
