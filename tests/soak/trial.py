"""Rounds of a trial: each has a seed, adds figures, and is a line of a file, so that a trial can be interrupted."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Figures = dict[str, float]

#: Failures after which a trial ends: more of them tell nothing new.
ENOUGH = 20


def options(name: str, about: str, *, rounds: int, more: Callable[[argparse.ArgumentParser], Any] | None = None) -> Any:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m soak.{name}", description=about)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how many rounds, {rounds} by default")
    parser.add_argument("--minutes", type=float, default=60.0, help="the most minutes of one run, 60 by default")
    parser.add_argument("--seed", type=int, help="the seed of all rounds, a random one by default")
    parser.add_argument("--only", type=int, metavar="ROUND", help="run one round alone, as a failure names it")
    parser.add_argument("--progress", type=Path, help="the file of rounds that are done; a second run goes on from it")
    parser.add_argument(
        "--base", type=Path, help="the folder of temporary files; by default one in memory, if there is"
    )
    if more is not None:
        more(parser)
    found = parser.parse_args()
    found.name = name
    return found


@contextmanager
def folder(base: Path | None) -> Iterator[Path]:
    """Makes a folder for the time of a round; in memory by default, since a kill of processes needs no disk."""
    memory = Path("/dev/shm")
    if base is None and os.access(memory, os.W_OK):
        base = memory
    made = Path(tempfile.mkdtemp(prefix="soak-", dir=base))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


class Progress:
    """The rounds that are done, in a file of JSON lines whose first one has the seed."""

    def __init__(self, path: Path | None, name: str, seed: int | None) -> None:
        self.path, self.done = path, dict[int, Any]()
        lines = path.read_text().splitlines(keepends=True) if path is not None and path.exists() else []
        # The last line may be half of one.
        whole = [line for line in lines if line.endswith("}\n")]
        rows = [json.loads(line) for line in whole]
        if path is not None and rows and rows[0]["trial"] == name and seed in (None, rows[0]["seed"]):
            path.write_text("".join(whole))
            self.seed = rows[0]["seed"]
            self.done = {row["round"]: row for row in rows[1:]}
            return
        self.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"trial": name, "seed": self.seed}) + "\n")

    def note(self, row: dict[str, Any]) -> None:
        self.done[row["round"]] = row
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")


def run(options: Any, one: Callable[[int, random.Random], Figures]) -> int:
    """Runs the rounds that are not done, prints the sums of their figures as the last line, and returns an exit status.

    Of figures whose names begin with ``most_`` the highest is kept, and of those with ``least_`` the lowest.
    """
    progress = Progress(options.progress, options.name, options.seed)
    print(f"{options.name}: seed {progress.seed}, {len(progress.done)} of {options.rounds} rounds done", flush=True)
    end, failed = time.monotonic() + 60 * options.minutes, 0
    for number in range(options.rounds) if options.only is None else [options.only]:
        if number in progress.done and options.only is None:
            continue
        if time.monotonic() > end or failed >= ENOUGH:
            break
        began, failure = time.monotonic(), None
        try:
            figures = one(number, random.Random(f"{progress.seed}-{number}"))
        except Exception:
            failed, figures, failure = failed + 1, {}, traceback.format_exc()
            again = f"python -m soak.{options.name} --seed {progress.seed} --only {number}"
            print(f"round {number} failed; again by: {again}\n{failure}", file=sys.stderr, flush=True)
        row = {"round": number, "seconds": round(time.monotonic() - began, 3), "figures": figures}
        progress.note(row if failure is None else {**row, "failure": failure})
    return report(options, progress)


def report(options: Any, progress: Progress) -> int:
    sums: dict[str, Any] = {"trial": options.name, "seed": progress.seed, "rounds": len(progress.done)}
    sums["failed"] = sum("failure" in row for row in progress.done.values())
    for row in progress.done.values():
        for key, value in row["figures"].items():
            best = max if key.startswith("most_") else min if key.startswith("least_") else None
            sums[key] = value if key not in sums else best(sums[key], value) if best else sums[key] + value
    sums["seconds"] = round(sum(row["seconds"] for row in progress.done.values()), 1)
    print(json.dumps(sums), flush=True)
    if len(progress.done) < options.rounds and options.only is None:
        print(f"{options.rounds - len(progress.done)} rounds are left: run it again to go on", file=sys.stderr)
    return int(sums["failed"] > 0)
