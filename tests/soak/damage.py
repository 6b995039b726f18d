"""Damages each kind of file of a catalog: no wrong answer without a word, and no crash.

A file is cut off, has bits flipped, zeros or noise in it, is deleted, or changes its place with another part or another
catalog's. Damage in the index is healed, damage in the log loses the newest changes at most, and damage in the other
files is told by the answer or by ``verify``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import plushie_search as ps

from . import trial
from .kill import INDEX, MeanColor, picture

#: Vectors of a catalog with an index, which cannot be learned from fewer, and of one without.
MANY, FEW = 620, 40
PICTURES, QUERIES, DIM = 4, 6, 3
ENCODER = MeanColor("mean", 0)
FILES = ["catalog.sqlite", "catalog.sqlite-wal", "index/approximate", "thumbnails.sqlite", "media"]
#: Seconds after which a case counts as one that hangs.
LONG = 60


def seeded(seed: int, count: int) -> Any:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def open_it(path: Path) -> ps.Engine:
    return ps.Engine(path, model=ENCODER, threads=1, index=INDEX, create=False)


class Template:
    """A catalog that was closed, and one that was not, with the answers that they must give."""

    def __init__(self, home: Path, seed: int, count: int) -> None:
        self.closed, self.crashed = home / f"closed-{count}-{seed}", home / f"crashed-{count}-{seed}"
        rows = seeded(seed, count)
        with ps.Engine(self.closed, model=ENCODER, threads=1, index=INDEX) as engine:
            names = [f"v{n}" for n in range(count)]
            texts, labels = [f"toy {n}" for n in range(count)], [f"l{n % 7}" for n in range(count)]
            metadata = [{"n": n % 5} for n in range(count)]
            engine.add_vectors(names, rows, references=names, texts=texts, labels=labels, metadata=metadata)
            for n in range(PICTURES):
                engine.add(f"p{n}", images=picture(100 * seed + n), label="picture")
            engine.remove([f"v{n}" for n in range(9)])
            if count == MANY:
                engine.optimize()
        self.whole = whole(self.closed)
        #: What the catalog has after each of the changes that are in its log.
        self.states = [self.whole["items"]]
        shutil.copytree(self.closed, home / "live")
        with open_it(home / "live") as engine:
            for n in range(6):
                engine.add_vectors([f"late{n}"], seeded(1000 + n, 1), labels=["late"])
                self.states.append(items(engine))
            shutil.copytree(home / "live", self.crashed)
        shutil.rmtree(home / "live")


def items(engine: ps.Engine) -> dict[str, Any]:
    return {
        item.id: (item.label, item.text, dict(item.metadata), [(one.name, one.digest) for one in item.references])
        for item in engine.items()
    }


def answers(engine: ps.Engine) -> Any:
    """Searches by vectors, a filter and words."""
    looked = [engine.search_vector(row, k=4) for row in seeded(77, QUERIES)]
    looked.append(engine.search_vector(seeded(78, 1)[0], k=4, where={"label": "l3"}))
    looked.append(engine.search_vector(seeded(79, 1)[0], k=4, where={"n": 2}))
    return [[(hit.item, round(hit.score, 5), hit.label, hit.reference) for hit in found] for found in looked]


def whole(path: Path) -> dict[str, Any]:
    with open_it(path) as engine:
        return {
            "items": items(engine),
            "answers": answers(engine),
            "vectors": {item.id: engine.vectors(item.id) for item in engine.items()},
            "thumbnails": {f"p{n}": engine.thumbnail(f"p{n}") for n in range(PICTURES)},
        }


# Damage


def flip(data: bytearray, rng: random.Random, other: bytes) -> None:
    for _ in range(rng.choice([1, 1, 1, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zero(data: bytearray, rng: random.Random, other: bytes) -> None:
    place, length = rng.randrange(len(data)), rng.choice([1, 16, 512, 4096, 8192])
    place = place // 512 * 512 if length >= 512 else place
    end = min(len(data), place + length)
    data[place:end] = bytes(end - place)


def noise(data: bytearray, rng: random.Random, other: bytes) -> None:
    place = rng.randrange(len(data))
    end = min(len(data), place + rng.choice([1, 16, 512, 8192]))
    data[place:end] = rng.randbytes(end - place)


def cut(data: bytearray, rng: random.Random, other: bytes) -> None:
    place = rng.choice([0, rng.randrange(len(data)), rng.randrange(len(data)) // 512 * 512])
    del data[place:]


def grow(data: bytearray, rng: random.Random, other: bytes) -> None:
    data.extend(rng.choice([bytes, rng.randbytes])(rng.choice([1, 100, 8192, 70000])))


def swap(data: bytearray, rng: random.Random, other: bytes) -> None:
    """Puts another catalog's file in its place, or exchanges two pages."""
    pages = len(data) // 8192
    # A whole file of another catalog is a catalog, and sound; SQLite takes another one's log, too.
    is_whole = data.startswith((b"SQLite format 3", b"\x37\x7f\x06"))
    if not is_whole and (pages < 2 or rng.random() < 0.3):
        data[:] = other
        return
    if pages < 2:
        return
    one, two = (8192 * page for page in rng.sample(range(pages), 2))
    data[one : one + 8192], data[two : two + 8192] = data[two : two + 8192], data[one : one + 8192]


WAYS: list[Callable[[bytearray, random.Random, bytes], None]] = [flip, flip, zero, noise, cut, grow, swap]


def damage(path: Path, rng: random.Random, other: Path) -> str:
    """Damages a file, and returns how."""
    way = rng.choice([*WAYS, None])
    before = path.read_bytes()
    if way is None or not before:
        path.unlink()
        return "delete"
    data = bytearray(before)
    way(data, rng, other.read_bytes())
    if data == before:
        return "nothing"
    path.write_bytes(data)
    return way.__name__


# Outcomes


def outcome(path: Path, name: str, template: Template, is_crashed: bool) -> str:
    """Uses a damaged catalog, and returns how that went; raises AssertionError for a wrong answer without a word."""
    try:
        with open_it(path) as engine:
            found = {"items": items(engine), "answers": answers(engine)}
            verified = engine.verify()
            told = not verified.ok
            if name == "index/approximate":
                assert found["answers"] == template.whole["answers"], "another answer by a damaged index"
                engine.optimize()
                assert engine.stats()["index"] == INDEX
                assert engine.verify().ok, "the index was not made anew"
                return "healed"
            if name == "thumbnails.sqlite":
                return thumbnails(engine, template, told=told)
            if name == "media":
                check_same(found, template.whole)
                return "told" if told else "missing"
            if is_crashed and found["items"] in template.states:
                lost = len(template.states) - 1 - template.states.index(found["items"])
                return "newest_lost" if lost else "same"
            if told:
                return "told"
            vectors = {id: engine.vectors(id) for id in found["items"]}
    except (ps.CatalogError, OSError) as error:
        if not name.startswith("catalog") or len(str(error)) < 30:
            raise AssertionError(f"damage of {name} fails the catalog, or in too few words: {error}") from error
        return "told"
    check_same(found, template.whole)
    assert all(np.array_equal(rows, template.whole["vectors"][id]) for id, rows in vectors.items()), "other vectors"
    return "same"


def check_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in found.items():
        if value != wanted[key]:
            differing = (
                [(id, value.get(id), row) for id, row in wanted[key].items() if value.get(id) != row][:2]
                if isinstance(value, dict)
                else [pair for pair in zip(value, wanted[key], strict=True) if pair[0] != pair[1]][:2]
            )
            raise AssertionError(f"other {key} without a word: {differing}")


def thumbnails(engine: ps.Engine, template: Template, *, told: bool) -> str:
    found = {id: engine.thumbnail(id) for id in template.whole["thumbnails"]}
    wrong = [id for id, jpeg in found.items() if jpeg not in (None, template.whole["thumbnails"][id])]
    assert not wrong or told, f"other thumbnails without a word: {wrong}"
    return "told" if told else "same" if found == template.whole["thumbnails"] else "missing"


def child(home: Path, seed: int, cases: int) -> None:
    warnings.simplefilter("ignore")
    rng = random.Random(seed)
    pairs = {count: [Template(home, seed, count) for seed in (1, 2)] for count in (MANY, FEW)}
    figures: dict[str, int] = {}
    wrong = []
    for case in range(cases):
        name = rng.choice([FILES[0], FILES[0], FILES[0], *FILES])
        is_crashed = name == "catalog.sqlite-wal"
        one, other = pairs[MANY if name == "index/approximate" else FEW]
        path, twin = home / "c.catalog", other.crashed if is_crashed else other.closed
        shutil.copytree(one.crashed if is_crashed else one.closed, path)
        if name == "media":
            target = rng.choice(sorted(path.glob("media/*/*")))
            source = rng.choice(sorted(twin.glob("media/*/*")))
        else:
            target, source = path / name, twin / name
        way = damage(target, rng, source)
        print(f"case {case} {name} {way}", flush=True)
        signal.alarm(LONG)
        try:
            found = outcome(path, name, one, is_crashed)
        except Exception as error:
            found = "wrong"
            wrong.append(f"case {case} of seed {seed}, {name} {way}: {type(error).__name__}: {error}")
        signal.alarm(0)
        for key in ("cases", f"{name} {found}"):
            figures[key] = figures.get(key, 0) + 1
        shutil.rmtree(path)
    print(json.dumps({"figures": figures, "wrong": wrong}), flush=True)


def one(number: int, rng: random.Random, options: Any) -> trial.Figures:
    """Runs cases in a process of its own, since some might end it."""
    with trial.folder(options.base) as work:
        seed = rng.randrange(2**32)
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            os.dup2(write, 1)
            command = [sys.executable, "-m", "soak.damage", "child", str(work), str(seed), str(options.cases)]
            os.execv(sys.executable, command)
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read().splitlines()
        _, status = os.waitpid(process, 0)
        assert status == 0, f"ended with status {status} in {said[-1:]}, of seed {seed}"
        told = json.loads(said[-1])
        assert not told["wrong"], "\n".join(told["wrong"])
        figures: trial.Figures = told["figures"]
        return figures


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=500, help="damaged catalogs of each round, 500 by default")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        raise SystemExit(0)
    found = trial.options("damage", __doc__.splitlines()[0], rounds=40, more=add_options)
    raise SystemExit(trial.run(found, lambda number, rng: one(number, rng, found)))
