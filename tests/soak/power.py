"""Simulates losses of power: of what was not synchronized some is on the disk, some not, and some torn.

A process changes a catalog, and shim.c records its writes, synchronizations and names. Then the power goes at places
of that record. What was synchronized is there. Of the rest each write is there, missing, torn at 512 bytes or zeros, in
any order, and each new, moved or removed name is there or not. With durability="full" every acknowledged change must be
there, and with "relaxed" all changes up to one of them.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plushie_search as ps

from . import shim, trial
from .kill import MeanColor, check_pictures, picture
from .world import DIM, World, make, mark, state

SECTOR = 512
HEAD = struct.Struct("<cQQQ")
LIMIT = 120
KINDS = ["full", "relaxed", "pictures"]


# The process that is recorded


def write(kind: str, home: Path, seed: int, changes: int) -> None:
    """Makes changes, each noted before and after. The directories of the catalog are new, too."""
    notes, rng, world = shim.Loaded(), random.Random(seed), World()
    path = home / "new" / "c.catalog"
    how: dict[str, Any] = {"threads": 1, "thumbnails": kind == "pictures"}
    how |= {"model": MeanColor("mean", 0)} if kind == "pictures" else {"dim": DIM, "durability": kind}
    engine = ps.Engine(path, **how)
    for number in range(changes):
        if kind == "pictures":
            seeds = [3 * number + n for n in range(3)]
            notes.note("begin " + json.dumps(seeds))
            engine.add_items([{"id": str(one), "images": picture(one)} for one in seeds])
        else:
            change = world.change(rng, LIMIT)
            notes.note("begin " + json.dumps(change))
            make(engine, change)
            world.apply(change)
        notes.note("end")
        if number % 60 == 59:
            notes.note(f"backup {number}")
            engine.backup(home / "backups" / f"{number}")
            notes.note("kept")
        if number % 97 == 96:
            # The last one that closes it moves the log into the file.
            engine.close()
            engine = ps.Engine(path, **how)


# The disk


class File:
    """What is surely on the disk of a file, and the writes that may be."""

    def __init__(self) -> None:
        self.safe, self.pending = bytearray(), list[tuple[str, int, bytes]]()

    def crash(self, rng: random.Random, mode: str) -> bytearray:
        content, pending = bytearray(self.safe), self.pending
        if mode == "prefix":
            pending = pending[: rng.randint(0, len(pending))]
        elif mode == "none":
            pending = []
        elif mode != "all":
            pending = [one for one in pending if rng.random() < 0.5]
        for kind, place, data in pending:
            if kind == "W" and mode == "torn":
                for start in range(0, len(data), SECTOR):
                    if rng.random() < 0.5:
                        change(content, kind, place + start, data[start : start + SECTOR])
            elif kind == "W" and mode == "zeros" and rng.random() < 0.5:
                change(content, kind, place, bytes(len(data)))
            else:
                change(content, kind, place, data)
        return content


def change(content: bytearray, kind: str, place: int, data: bytes) -> None:
    """Writes data at a place, or cuts the content off there."""
    content.extend(bytes(max(0, place - len(content))))
    if kind == "T":
        del content[place:]
    else:
        content[place : place + len(data)] = data


class Disk:
    """Files and names, as far as they are safe; a directory is None."""

    def __init__(self, root: Path, *, lies: bool) -> None:
        self.root, self.lies = str(root), lies
        self.names: dict[str, File | None] = {self.root: None}
        self.safe: dict[str, File | None] = {self.root: None}
        self.inodes: dict[int, File] = {}
        self.folders: dict[int, str] = {}
        #: Changes of names that are not safe: the new name with what it leads to, and the name that is gone.
        self.pending: list[tuple[str | None, File | None, str | None]] = []

    def take(self, kind: str, inode: int, place: int, data: bytes) -> None:
        """Takes a record."""
        if kind == "O":
            path = data.decode()
            if place:
                self.names[path] = self.inodes[inode] = File()
                self.pending.append((path, self.inodes[inode], None))
            elif isinstance(found := self.names.get(path), File):
                self.inodes[inode] = found
        elif kind == "F":
            self.folders[inode] = data.decode()
        elif kind in "WT":
            self.inodes[inode].pending.append((kind, place, data))
        elif kind == "S" and not self.lies:
            file = self.inodes[inode]
            for one in file.pending:
                change(file.safe, *one)
            file.pending = []
        elif kind == "D" and not self.lies:
            folder = self.folders[inode]
            mine = [one for one in self.pending if str(Path(one[0] or str(one[2])).parent) == folder]
            self.pending = [one for one in self.pending if one not in mine]
            for one in mine:
                rename(self.safe, *one)
        elif kind == "M":
            self.names[data.decode()] = None
            self.pending.append((data.decode(), None, None))
        elif kind == "U":
            self.names.pop(data.decode(), None)
            self.pending.append((None, None, data.decode()))
        elif kind == "R":
            old, new = data.decode().split("\0")
            found = self.names.get(old)
            rename(self.names, new, found, old)
            self.pending.append((new, found, old))

    def crash(self, rng: random.Random, target: Path) -> str:
        """Writes one of the states in which the disk may be left into a folder, and returns its kind."""
        mode = rng.choice(["prefix", "some", "torn", "zeros", "all", "none"])
        names = dict(self.safe)
        in_order = rng.random() < 0.7
        for one in self.pending[: rng.randint(0, len(self.pending))] if in_order else self.pending:
            if in_order or rng.random() < 0.5:
                rename(names, *one)
        for path in sorted(names):
            # What lies in a directory that is gone is gone.
            if all(str(above) in names for above in Path(path).parents if str(above).startswith(self.root)):
                place, found = target / Path(path).relative_to(self.root), names[path]
                if found is None:
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    place.write_bytes(found.crash(rng, mode))
        return mode


def rename(names: dict[str, File | None], new: str | None, leads_to: File | None, old: str | None) -> None:
    if old is not None:
        names.pop(old, None)
    if new is not None:
        names[new] = leads_to


def records(path: Path) -> Iterator[tuple[str, int, int, bytes]]:
    data, at = path.read_bytes(), 0
    while at + HEAD.size <= len(data):
        kind, inode, place, length = HEAD.unpack_from(data, at)
        at += HEAD.size + length
        yield kind.decode(), inode, place, data[at - length : at]


# The trial


class Told:
    """What the process has acknowledged so far."""

    def __init__(self, kind: str) -> None:
        self.kind, self.acknowledged = kind, 0
        self.world, self.pending = World(), None
        self.marks = [self.world.mark()]
        self.seeds, self.backups = set[int](), dict[str, World]()
        self.backup = ""

    def take(self, note: str) -> None:
        word, _, rest = note.partition(" ")
        if word == "begin":
            self.pending = json.loads(rest)
        elif word == "end":
            self.acknowledged += 1
            if self.kind == "pictures":
                self.seeds |= set(self.pending or ())
            else:
                self.world.apply(self.pending or {})
                self.marks.append(self.world.mark())
            self.pending = None
        elif word == "backup":
            self.backup = rest
        elif word == "kept":
            self.backups[self.backup] = self.world.copy()

    def check(self, home: Path, rng: random.Random) -> trial.Figures:
        """Opens what was left, and compares it."""
        path = home / "new" / "c.catalog"
        if self.acknowledged == 0 and not (path / "catalog.sqlite").exists():
            return {"empty": 1}
        figures: trial.Figures = {}
        if self.kind == "pictures":
            check_pictures(path, MeanColor("mean", 0), self.seeds, set(self.pending or ()))
        else:
            figures = self.check_world(path, rng)
        for number, held in self.backups.items():
            with ps.Engine(home / "backups" / number, threads=1, create=False, model=[]) as engine:
                assert self.kind == "pictures" or state(engine) == held.state(), f"backup {number} has other content"
        return figures

    def check_world(self, path: Path, rng: random.Random) -> trial.Figures:
        after = self.world.copy()
        if self.pending is not None:
            after.apply(self.pending)
        with ps.Engine(path, dim=DIM, threads=1, create=self.acknowledged == 0) as engine:
            found = engine.verify()
            assert found.ok, found
            if self.kind == "full" or mark(state(engine)) in (self.marks[-1], after.mark()):
                is_after = state(engine) == after.state()
                (after if is_after else self.world).check(engine, rng, searches=1)
                return {"in_doubt_kept": is_after and self.pending is not None}
            held = mark(state(engine))
            assert held in self.marks, "this is not the state after any of the changes"
            lost = len(self.marks) - 1 - max(n for n, one in enumerate(self.marks) if one == held)
            return {"states_undone": 1, "most_changes_undone": lost}


def one(number: int, rng: random.Random, options: Any) -> trial.Figures:
    kind = KINDS[number % len(KINDS)]
    with trial.folder(options.base) as work:
        made, live, log = options.shim or shim.build(work), work / "live", work / "log"
        live.mkdir()
        arguments = ["write", kind, str(live), str(rng.randrange(2**32)), str(options.changes)]
        process = shim.start(made, "power", *arguments, watch=live, record=log)
        assert process.wait(600) == 0, "the process that is recorded failed"
        return replay(kind, live, list(records(log)), rng, options)


def replay(kind: str, live: Path, whole: list[Any], rng: random.Random, options: Any) -> trial.Figures:
    """Lets the power go at places of a record: half of them where names change and files are synchronized."""
    hot = [place for place, (kind, *_) in enumerate(whole) if kind in "ORUMSDT"]
    places = [rng.randrange(len(whole) + 1) for _ in range(options.states // 2)]
    places += [min(len(whole), rng.choice(hot) + rng.randint(0, 2)) for _ in range(options.states - len(places))]
    disk, told, taken = Disk(live, lies=options.lies), Told(kind), 0
    figures: dict[str, float] = {"states": 0, f"states_{kind}": options.states}
    for place in sorted(places):
        for letter, inode, at, data in whole[taken:place]:
            if letter == "A":
                told.take(data.decode())
            else:
                disk.take(letter, inode, at, data)
        taken = place
        left = live.with_name("left")
        left.mkdir()
        mode = disk.crash(rng, left)
        try:
            found = told.check(left, rng)
        except Exception as error:
            if options.keep is not None:
                shutil.copytree(left, options.keep / f"{kind}-{place}", dirs_exist_ok=True)
            raise AssertionError(f"{kind}, record {place} of {len(whole)}, unsynchronized writes {mode}") from error
        figures["states"] += 1
        for key, value in found.items():
            figures[key] = max(figures.get(key, 0), value) if key.startswith("most") else figures.get(key, 0) + value
        shutil.rmtree(left)
    return {**figures, "acknowledged": told.acknowledged, "records": len(whole)}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--states", type=int, default=50, help="states of the disk of each record, 50 by default")
    parser.add_argument("--changes", type=int, default=200, help="changes of each record, 200 by default")
    parser.add_argument("--lies", action="store_true", help="let the disk ignore synchronization: then much is lost")
    parser.add_argument("--keep", type=Path, help="the folder for copies of states that were refused")
    parser.add_argument("--shim", type=Path, help="the compiled shim, if there is one already")


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
        raise SystemExit(0)
    found = trial.options("power", __doc__.splitlines()[0], rounds=42, more=add_options)
    if shim.compiler() is None:
        raise SystemExit("needs Linux and a C compiler")
    raise SystemExit(trial.run(found, lambda number, rng: one(number, rng, found)))
