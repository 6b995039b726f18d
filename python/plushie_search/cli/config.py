"""The command `plushie-search config`."""

from __future__ import annotations

import argparse
import sys

from .common import DONE, Commands


def add_command(commands: Commands) -> None:
    """Adds the command."""
    config = commands.add("config", run, "print or check a server's configuration, or make a key")
    what = config.add_mutually_exclusive_group(required=True)
    what.add_argument("--example", action="store_true", help="print a file with every key and its default")
    what.add_argument("--show", action="store_true", help="print the values that count, and where each is from")
    what.add_argument("--key", action="store_true", help="print a new key, and its hash for the file")
    config.add_argument("--config", metavar="FILE", help="the YAML file to show")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    from ..server.auth import hash_key, new_key
    from ..server.example import example, shown

    if options.key:
        key = new_key()
        print(f"key   {key}\nhash  sha256:{hash_key(key)}")
    else:
        sys.stdout.write(example() if options.example else shown(options.config))
    return DONE
