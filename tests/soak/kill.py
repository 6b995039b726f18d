"""Kills a process by SIGKILL while it changes a catalog: nothing acknowledged may be lost, and nothing be half done.

Most rounds make random changes, with compaction, building of an approximate index and backups among them; others add
pictures with their originals, bring a catalog of format 1 up to date, or move one to another model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import plushie_search as ps

from . import trial
from .world import DIM, World, digest, make, state, vector

#: References from which an index of this kind can be learned, and around which a catalog stays.
INDEX, LEAST, LIMIT = "IVF4,SQ8", 600, 760
#: Seconds for which a process may be slow.
PATIENCE = 60
FORMER = Path(__file__).parents[1] / "catalogs" / "format-1.sql"


class Log:
    """Acknowledgements of a process that is going to be killed; what is written into a file outlasts it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, *row: Any) -> None:
        os.write(self.file, json.dumps(row).encode() + b"\n")

    def read(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def killed(work: Callable[[], object], log: Log, lines: int, seconds: float) -> bool:
    """Runs work in a child, and kills it that long after so many notes; returns whether it was still working."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            log.note("error", f"{type(error).__name__}: {error}")
            os._exit(1)
    end, ended = time.monotonic() + PATIENCE, 0
    while log.path.read_bytes().count(b"\n") < lines and time.monotonic() < end and not ended:
        time.sleep(0.0005)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    errors = [row for row in log.read() if row[0] == "error"]
    assert not errors, errors
    return os.WIFSIGNALED(status)


# Random changes


def change(path: Path, log: Log, world: World, rng: random.Random) -> None:
    """Makes changes until it is killed, each with a note before and after it."""
    with ps.Engine(path, dim=DIM, threads=1, index=INDEX) as engine:
        log.note("ready")
        backups = 0
        while True:
            chance = rng.random()
            if chance < 0.02 and world.references >= LEAST:
                log.note("optimize")
                engine.optimize()
            elif chance < 0.03:
                backups += 1
                log.note("backup", backups)
                engine.backup(path.with_name(f"backup-{backups}"))
                log.note("done backup", backups)
            else:
                one = world.grow(200) if world.references < LEAST else world.change(rng, LIMIT)
                log.note("begin", one)
                make(engine, one)
                log.note("end")
                world.apply(one)


def changes(work: Path, rng: random.Random, most: int, lives: int = 4) -> trial.Figures:
    """Kills several processes one after another on one catalog."""
    path, world = work / "c.catalog", World()
    figures = {"kills": 0, "acknowledged": 0, "in_doubt_kept": 0, "backups": 0, "indexes": 0}
    for life in range(lives):
        log, backups = Log(work / f"log-{life}"), dict[int, World | None]()
        seed = rng.randrange(2**32)
        # Two notes for each change; now and then the process has hardly begun.
        lines = rng.randint(1, 2 * most if rng.random() < 0.75 else 9)
        figures["kills"] += killed(
            lambda log=log, seed=seed: change(path, log, world, random.Random(seed)),  # type: ignore[misc]
            log,
            lines,
            rng.uniform(0, 0.01),
        )
        pending = None
        for kind, *rest in log.read():
            if kind == "begin":
                pending = rest[0]
            elif kind == "end":
                world.apply(pending)
                pending = None
                figures["acknowledged"] += 1
            elif kind == "backup":
                backups[rest[0]] = None
            elif kind == "done backup":
                backups[rest[0]] = world.copy()
        # The numbers that the process has used are not used again.
        world.number += 1_000_000 * (life + 1)
        figures["in_doubt_kept"] += settle(path, world, pending, rng)
        for number, held in backups.items():
            figures["backups"] += check_backup(work / f"backup-{number}", held, rng)
        figures["indexes"] += (path / "index" / "approximate").exists()
    return figures


def settle(path: Path, world: World, pending: Any, rng: random.Random) -> bool:
    """Opens what a killed process has left, and compares it with a fresh reading of all vectors."""
    with ps.Engine(path, dim=DIM, threads=1, index="exact") as engine:
        kept = False
        if pending is not None:
            after = world.copy()
            after.apply(pending)
            kept = state(engine) == after.state() != world.state()
            world.items = after.items if kept else world.items
        world.check(engine, rng)
        found = engine.verify()
        assert found.ok, found
    # The file of the index, if it is used, finds the same.
    with ps.Engine(path, dim=DIM, threads=1, index=INDEX) as engine:
        for item in rng.sample(sorted(world.items), min(3, len(world.items))):
            row = engine.vectors(item)[0]
            assert engine.search_vector(row, k=1)[0].score > 1 - 1e-5
    return kept


def check_backup(path: Path, held: World | None, rng: random.Random) -> bool:
    """A backup that was acknowledged is whole; one that was not is whole, or no catalog yet."""
    if held is None and not (path / "catalog.sqlite").exists():
        return False
    with ps.Engine(path, dim=DIM, threads=1, create=False) as engine:
        assert engine.verify().ok
        if held is not None:
            held.check(engine, rng, searches=1)
    return held is not None


# Pictures


class MeanColor:
    """A model whose vectors are simple to compute."""

    dim = 3

    def __init__(self, name: str, turn: int) -> None:
        self.name, self.fingerprint, self.turn = name, f"{name} 1", turn

    def encode_images(self, images: list[Any]) -> Any:
        return np.stack([self.of(image) for image in images])

    def of(self, image: Any) -> Any:
        return np.roll(1 + np.asarray(image, float).mean(axis=(0, 1)), self.turn)


def picture(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)


def check_pictures(path: Path, encoder: MeanColor, seeds: set[int], doubtful: set[int]) -> None:
    with ps.Engine(path, model=encoder, threads=1) as engine:
        found = {int(item.id) for item in engine.items()}
        assert seeds <= found <= seeds | doubtful, (seeds - found, found - seeds - doubtful)
        for seed in found:
            wanted = encoder.of(picture(seed))
            assert np.abs(engine.vectors(str(seed))[0] - wanted / np.linalg.norm(wanted)).max() < 1e-5
            assert engine.original(str(seed)) is not None, f"{seed} has no original"
        verified = engine.verify()
        assert verified.ok, verified


def pictures(work: Path, rng: random.Random, most: int) -> trial.Figures:
    """Kills a process that adds pictures whose originals are kept, or copies them into a backup."""
    path, encoder, log, first = work / "c.catalog", MeanColor("mean", 0), Log(work / "log"), rng.randrange(10**6)

    def add() -> None:
        with ps.Engine(path, model=encoder, threads=1) as engine:
            log.note("ready")
            for turn in range(10**6):
                seeds = [first + 3 * turn + n for n in range(3)]
                log.note("begin", seeds)
                report = engine.add_items([{"id": str(seed), "images": picture(seed)} for seed in seeds])
                assert not report.failed, report
                log.note("end", seeds)
                if turn % 7 == 6:
                    engine.backup(work / f"backup-{turn}")

    kills = killed(add, log, rng.randint(1, 40), rng.uniform(0, 0.01))
    rows = log.read()
    kept = {seed for kind, *rest in rows if kind == "end" for seed in rest[0]}
    begun = {seed for kind, *rest in rows if kind == "begin" for seed in rest[0]}
    check_pictures(path, encoder, kept, begun)
    for backup in work.glob("backup-*"):
        if (backup / "catalog.sqlite").exists():
            check_pictures(backup, encoder, set(), begun)
    return {"kills": kills, "acknowledged": len(kept) / 3}


def reencode(work: Path, rng: random.Random, most: int) -> trial.Figures:
    """Kills a process that moves a catalog to another model: it is wholly of one of them, and moves in the end."""
    path, old, new = work / "c.catalog", MeanColor("old", 0), MeanColor("new", 1)
    seeds = {rng.randrange(10**6) for _ in range(120)}
    with ps.Engine(path, model=old, threads=1) as engine:
        engine.add_items([{"id": str(seed), "images": picture(seed)} for seed in seeds])
    kills = acknowledged = 0
    for life in range(4):
        log = Log(work / f"log-{life}")

        def move(log: Log = log) -> None:
            with ps.Engine(path, model=[], threads=1) as engine:
                log.note("ready")
                engine.reencode(new)
                log.note("moved")

        kills += killed(move, log, 1, rng.uniform(0, 0.08))
        moved = any(kind == "moved" for kind, *_ in log.read())
        acknowledged += moved
        with ps.Engine(path, model=[], threads=1) as engine:
            models = engine.models
        assert models == ("new",) or not moved, models
        check_pictures(path, new if models == ("new",) else old, seeds, set())
    with ps.Engine(path, model=[], threads=1) as engine:
        engine.reencode(new)
    check_pictures(path, new, seeds, set())
    return {"kills": kills, "acknowledged": acknowledged}


# Former formats


def migrate(work: Path, rng: random.Random, most: int) -> trial.Figures:
    """Kills a process that brings a catalog of the first format up to date."""
    path, world = work / "c.catalog", World()
    path.mkdir()
    world.apply(world.grow(1500))
    rows = [(id, name, seed) for id, item in world.items.items() for name, seed in item["vectors"].items()]
    with sqlite3.connect(path / "catalog.sqlite") as file:
        file.executescript(FORMER.read_text(encoding="utf-8"))
        file.executescript("DELETE FROM vectors; DELETE FROM refs; DELETE FROM items; DELETE FROM models")
        file.execute(
            "INSERT INTO models (model, name, fingerprint, dim) VALUES (1, 'vectors', ?, ?)", [fingerprint(work), DIM]
        )
        for number, (id, item) in enumerate(world.items.items(), 1):
            fields = [number, id, item["label"], item["text"], json.dumps(item["metadata"])]
            file.execute("INSERT INTO items (item, id, label, text, metadata, added) VALUES (?, ?, ?, ?, ?, 1)", fields)
        numbers = {id: number for number, id in enumerate(world.items, 1)}
        for number, (id, name, seed) in enumerate(rows, 1):
            fields = [number, numbers[id], name, bytes.fromhex(digest(name, seed))]
            file.execute("INSERT INTO refs (reference, item, name, digest, added) VALUES (?, ?, ?, ?, 1)", fields)
            file.execute(
                "INSERT INTO vectors (reference, item, model, vector) VALUES (?, ?, 1, ?)",
                [number, numbers[id], vector(seed).tobytes()],
            )
    file.close()
    kills = acknowledged = 0
    for life in range(3):
        log = Log(work / f"log-{life}")

        def open_it(log: Log = log) -> None:
            log.note("ready")
            with ps.Engine(path, dim=DIM, threads=1):
                log.note("opened")

        kills += killed(open_it, log, 1, rng.uniform(0, 0.06))
        acknowledged += any(kind == "opened" for kind, *_ in log.read())
    settle(path, world, None, rng)
    return {"kills": kills, "acknowledged": acknowledged}


def fingerprint(work: Path) -> str:
    """The fingerprint by which a catalog of vectors alone is known."""
    with ps.Engine(work / "other.catalog", dim=DIM, threads=1) as engine:
        engine.add_vectors(["a"], np.ones((1, DIM)))
    with sqlite3.connect(work / "other.catalog" / "catalog.sqlite") as file:
        [found] = file.execute("SELECT fingerprint FROM models").fetchone()
    file.close()
    return str(found)


#: One round in eight is each of the last three.
KINDS = [changes, changes, pictures, changes, changes, reencode, changes, migrate]


def one(number: int, rng: random.Random, options: Any) -> trial.Figures:
    with trial.folder(options.base) as work:
        return KINDS[number % len(KINDS)](work, rng, options.most)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--most", type=int, default=560, help="the most changes before a kill, 560 by default")


if __name__ == "__main__":
    found = trial.options("kill", __doc__.splitlines()[0], rounds=200, more=add_options)
    raise SystemExit(trial.run(found, lambda number, rng: one(number, rng, found)))
