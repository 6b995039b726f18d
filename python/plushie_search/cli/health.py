"""The command `plushie-search health`."""

from __future__ import annotations

import argparse
import http.client
import urllib.error
import urllib.request

from .common import DONE, ERROR, Commands, say

SECONDS = 5.0


def add_command(commands: Commands) -> None:
    """Adds the command."""
    health = commands.add("health", run, "ask a server whether it answers, for containers")
    health.add_argument("url", metavar="URL", nargs="?", default="http://127.0.0.1:8082", help="where (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    url = options.url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{options.url!r} is no address: give one like http://127.0.0.1:8082")
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=SECONDS) as answer:
            print(answer.read(1000).decode("utf-8", "replace"))
            return DONE
    except urllib.error.HTTPError as error:
        say(f"{url} is not ready: status {error.code}")
    except (OSError, http.client.HTTPException) as error:
        say(f"{url} does not answer: {getattr(error, 'reason', error)}")
    return ERROR
