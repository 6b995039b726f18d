"""The command `plushie-search`: its commands, and the exit status of each."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from .._core import __version__
from . import (
    adapt,
    add,
    backup,
    bench,
    calibrate,
    classify,
    compact,
    compare,
    completion,
    config,
    confirm,
    count,
    demo,
    duplicates,
    encode,
    evaluate,
    explain,
    export,
    health,
    identify,
    import_,
    inspect,
    mcp,
    models,
    optimize,
    plush,
    plushbench,
    reencode,
    remove,
    render,
    restore,
    review,
    salvage,
    search,
    serve,
    show,
    size,
    stats,
    thumbnail,
    train,
    update,
    verify,
)
from .common import DONE, ERROR, INTERRUPTED, Commands, say

#: The commands in the order in which --help lists them.
COMMANDS = (
    *(add, search, identify, calibrate, adapt, show, count, update, remove, thumbnail, stats),
    *(classify, compare, explain, inspect, duplicates, review, confirm),
    *(encode, import_, export),
    *(backup, restore, verify, salvage, compact, optimize, reencode),
    *(serve, health, config, mcp),
    *(size, evaluate, bench, models, train, plushbench, demo, plush, render, completion),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    # A file name may hold bytes that are no text in any encoding; they are printed as escapes, never as an error.
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            # Who types a command has no use for the line of code that a warning is about.
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        _drop_output()
        return DONE
    except KeyError as error:
        say(str(error.args[0] if error.args else error))
    except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
        say(str(error) or type(error).__name__)
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    return ERROR


def _open_missing_streams() -> None:
    """Opens the streams that the caller closed (``>&-``), so that output can be written there and is lost."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (open until the process ends)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _drop_output() -> None:
    """Sends the rest of the output, which could not be written, nowhere, so that it does not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plushie-search",
        description="Find the right thing from a picture, a sentence, or both.",
        epilog="Exit status: 0 all went well, 1 some pictures or items could not be used or are damaged, 2 nothing "
        "could be done, 130 interrupted.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"plushie-search {__version__}")
    commands = Commands(parser)
    for module in COMMANDS:
        module.add_command(commands)
    return parser
