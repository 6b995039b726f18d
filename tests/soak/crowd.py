"""Lets many processes and threads read and write one catalog at once, half of them forked with it open.

Each thread that writes adds and removes items of its own, and finds each at once. What is stored for certain stands in
a common list, and threads that only read must find what others have put there. Memory and open files must not grow.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import plushie_search as ps

from . import trial, world
from .world import DIM

#: Each is drawn anew: remembered ones would count as memory that a catalog takes.
vector = world.vector.__wrapped__
THREADS, WRITERS, HELD = 8, 2, 40
#: The time before memory and files are measured, as a share of all.
WARM = 0.4


class List:
    """A file of what was stored and what may be removed, which all append to: lines of a sign, an id and a seed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, sign: str, ids: list[str]) -> None:
        os.write(self.file, "".join(f"{sign} {id}\n" for id in ids).encode())

    def recent(self) -> set[str]:
        """Ids that were stored lately, and not removed since."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 20_000))
            lines = file.read().decode().splitlines()[1:]
        gone = {line[2:] for line in lines if line.startswith("-")}
        return {line[2:] for line in lines if line.startswith("+")} - gone


def seed_of(id: str) -> int:
    return int(id.rpartition("-")[2])


def write(engine: ps.Engine, listed: List, name: str, rng: random.Random, end: float, told: dict[str, Any]) -> None:
    held: list[str] = []
    while time.monotonic() < end:
        new = [f"{name}-{rng.randrange(2**40)}" for _ in range(rng.randint(1, 4))]
        engine.add_vectors(new, np.stack([vector(seed_of(id)) for id in new]), labels=[name] * len(new))
        listed.note("+", new)
        held += new
        hit = engine.search_vector(vector(seed_of(new[0])), k=1)[0]
        assert hit.item == new[0], f"{new[0]} was stored and is not found, but {hit.item}"
        if len(held) > HELD:
            old, held = held[:-HELD], held[-HELD:]
            listed.note("-", old)
            engine.remove(old)
            assert old[0] not in engine
        told["writes"] += 1
    told["held"] += held


def read(engine: ps.Engine, listed: List, rng: random.Random, end: float, told: dict[str, Any]) -> None:
    while time.monotonic() < end:
        stored = listed.recent()
        if not stored:
            time.sleep(0.01)
            continue
        id = rng.choice(sorted(stored))
        query = vector(seed_of(id))
        found = engine.search_vector(query, k=3)
        # It may be removed at this moment.
        assert found[0].item == id or id not in listed.recent(), f"{id} was stored by another, and is not found"
        for hit in found:
            assert abs(float(vector(seed_of(hit.item)) @ query) - hit.score) < 1e-5, (id, hit)
        told["reads"] += 1


def measured() -> tuple[float, int]:
    """MiB of memory in use, and open files."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd"))


def work(name: str, path: Path, engine: ps.Engine | None, seconds: float, seed: int, out: Path) -> None:
    """Runs the threads of a process, whose engine may come from its parent, and writes what they have done."""
    warnings.simplefilter("ignore")
    if engine is None:
        engine = ps.Engine(path, dim=DIM, threads=1)
    listed, began = List(path.with_name("list")), time.monotonic()
    told: dict[str, Any] = {"writes": 0, "reads": 0, "held": [], "errors": []}

    def guarded(number: int) -> None:
        rng = random.Random(f"{seed}-{name}-{number}")
        try:
            if number < WRITERS:
                write(engine, listed, f"{name}{number}", rng, began + seconds, told)
            else:
                read(engine, listed, rng, began + seconds, told)
        except BaseException as error:
            told["errors"].append(f"{name}, thread {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    warm, last = None, (0.0, 0)
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.2)
        last = measured()
        if warm is None and time.monotonic() - began > WARM * seconds:
            warm = last
        elif warm is not None and time.monotonic() - began < 1.25 * WARM * seconds:
            warm = (max(warm[0], last[0]), max(warm[1], last[1]))
    told["memory"], told["files"] = (last[0] - warm[0], last[1] - warm[1]) if warm is not None else (0, 0)
    engine.close()
    out.write_text(json.dumps(told))


def one(number: int, rng: random.Random, options: Any) -> trial.Figures:
    with trial.folder(options.base) as folder:
        path, seed = folder / "c.catalog", rng.randrange(2**32)
        engine = ps.Engine(path, dim=DIM, threads=1)
        engine.add_vectors(["first-1"], [vector(1)])
        processes = []
        for place in range(4):
            is_fork = place % 2 == 0
            started = multiprocessing.get_context("fork" if is_fork else "spawn").Process(
                target=work,
                args=("abcd"[place], path, engine if is_fork else None, options.seconds, seed, folder / str(place)),
            )
            started.start()
            processes.append(started)
        for process in processes:
            process.join(options.seconds + 300)
            assert process.exitcode == 0, f"a process ended with {process.exitcode}"
        told = [json.loads((folder / str(place)).read_text()) for place in range(4)]
        errors = [error for one in told for error in one["errors"]]
        assert not errors, errors
        held = {id for one in told for id in one["held"]} | {"first-1"}
        for opened in (engine, ps.Engine(path, dim=DIM, threads=1)):
            found = {item.id for item in opened.items()}
            assert found == held, f"lost {sorted(held - found)[:5]}, phantom {sorted(found - held)[:5]}"
            assert opened.verify().ok
            for id in held:
                assert np.abs(opened.vectors(id)[0] - vector(seed_of(id))).max() < 1e-6
            opened.close()
        memory, files = max(one["memory"] for one in told), max(one["files"] for one in told)
        assert memory < 16, f"a process has grown by {memory:.1f} MiB"
        assert files <= 16, f"a process has {files} more files open"
        counts = {key: sum(one[key] for one in told) for key in ("writes", "reads")}
        return {**counts, "most_memory_mib": round(memory, 1), "most_more_files": files}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=300.0, help="how long one round takes, 300 by default")


if __name__ == "__main__":
    found = trial.options("crowd", __doc__.splitlines()[0], rounds=6, more=add_options)
    raise SystemExit(trial.run(found, lambda number, rng: one(number, rng, found)))
