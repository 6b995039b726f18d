"""Makes one call of the system fail after the other, while a catalog is made, opened, searched, changed and copied.

The call fails once, or from then on until the work has ended, for want of space (ENOSPC) or memory (ENOMEM), by the
disk (EIO) or for want of rights (EACCES). Each time the work is done, or an error says why not and the catalog is as it
was; and afterwards everything works.
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import plushie_search as ps

from . import shim, trial
from .kill import INDEX, LEAST, MeanColor, picture
from .world import DIM, World, make, mark, state

ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.ENOMEM]
#: Seconds after which a case counts as one that hangs.
LONG = 60


class Place:
    """A catalog that is copied for each case, and its contents before and after the work."""

    def __init__(self, work: Path, *, is_indexed: bool) -> None:
        self.template, self.path, self.copy = work / "template", work / "c.catalog", work / "copy"
        self.world = World()
        with self.open(self.template) as engine:
            while self.world.references < (LEAST + 20 if is_indexed else 60):
                self.change(engine, self.world.grow(200 if is_indexed else 30))
            if is_indexed:
                engine.optimize()

    def open(self, path: Path, **how: Any) -> ps.Engine:
        return ps.Engine(path, dim=DIM, threads=1, index=INDEX, **how)

    def change(self, engine: ps.Engine, change: Any) -> None:
        make(engine, change)
        self.world.apply(change)


def change_of(place: Place, kind: str) -> Any:
    ids = sorted(place.world.items)
    return {
        "add": {"do": "add", "rows": [["new", f"n{n}", 10**6 + n, "bear", "soft", {"n": 1}] for n in range(3)]},
        "update": {"do": "update", "id": ids[3], "fields": {"label": "fox", "text": "red", "metadata": {"n": 2}}},
        "remove": {"do": "remove", "ids": ids[:40]},
        "compact": {"do": "compact"},
    }[kind]


def opened(place: Place) -> None:
    with place.open(place.path, create=False) as engine:
        assert len(engine) == len(place.world.items)


def searched(place: Place) -> None:
    with place.open(place.path, read_only=True) as engine:
        place.world.check_searches(engine, random.Random(1), 2)


def verified(place: Place) -> None:
    with place.open(place.path) as engine:
        # A call that fails may be told as a problem of the catalog, in words that name it.
        if not (found := engine.verify()).ok:
            raise ps.CatalogError(str(found))


def optimized(place: Place) -> None:
    with place.open(place.path) as engine:
        engine.optimize()
        place.world.check_searches(engine, random.Random(1), 1)


def copied(place: Place) -> None:
    with place.open(place.path) as engine:
        engine.backup(place.copy)


def created(place: Place) -> None:
    with place.open(place.copy) as engine:
        make(engine, change_of(place, "add"))


def changed(kind: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        with place.open(place.path) as engine:
            make(engine, change_of(place, kind))

    return change


def pictured(place: Place) -> None:
    with ps.Engine(place.copy, model=MeanColor("mean", 0), threads=1) as engine:
        engine.add("p", images=[picture(1), picture(2)])


WORKS: dict[str, Callable[[Place], None]] = {
    "create": created,
    "open": opened,
    "search": searched,
    **{kind: changed(kind) for kind in ("add", "update", "remove", "compact")},
    "optimize": optimized,
    "verify": verified,
    "backup": copied,
    "pictures": pictured,
}

#: Work on catalogs that have an approximate index; the others are small.
INDEXED = {"open", "search", "optimize"}


def check(place: Place, name: str, error: Exception | None) -> None:
    """The catalog is as the outcome says, and works."""
    after = place.world.copy()
    if name in ("add", "update", "remove"):
        after.apply(change_of(place, name))
    with place.open(place.path) as engine:
        found = mark(state(engine))
        if error is None:
            assert found == after.mark(), f"{name} was done, and is not there"
        else:
            # The connection is closed within the work, which may fail after the change was made.
            assert found in (place.world.mark(), after.mark()), f"{name} failed and left something else"
        make(engine, {"do": "add", "rows": [["later", "l", 7, None, None, None]]})
        assert engine.get("later").references[0].name == "l"
        problems = engine.verify().problems
        assert not problems, problems
    if name == "backup" and (place.copy / "catalog.sqlite").exists():
        with place.open(place.copy) as engine:
            assert state(engine) == place.world.state()
            assert engine.verify().ok
    elif name == "create":
        with place.open(place.copy) as engine:
            assert error is not None or "new" in engine
            make(engine, change_of(place, "add"))
    elif name == "pictures":
        with ps.Engine(place.copy, model=MeanColor("mean", 0), threads=1) as engine:
            assert error is not None or engine.original("p") is not None
            engine.add("p", images=[picture(1), picture(2)])
            assert np.abs(engine.vectors("p") @ engine.vectors("p").T).max() < 1 + 1e-5
            assert not (problems := engine.verify().problems), problems


def cases(most: int | None, sparse: bool) -> Iterator[tuple[int, int, bool]]:
    """Numbers of calls, errors, and whether the calls after it fail, too; it ends when it is sent True."""
    number = 0
    while number != most:
        number += 1
        for turn, (error, lasts) in enumerate((error, lasts) for lasts in (False, True) for error in ERRORS):
            if sparse and (turn - number) % (2 * len(ERRORS)):
                continue
            if (yield number, error, lasts):
                return


def child(name: str, work: Path, most: int, sparse: bool) -> None:
    """Runs all cases of a kind of work, and prints each before it begins."""
    warnings.simplefilter("ignore")
    loaded, place = shim.Loaded(), Place(work, is_indexed=name in INDEXED)
    walk, ended = cases(most or None, sparse), False
    case = next(walk)
    figures = {"cases": 0, "refused": 0, "most_calls": 0}
    while True:
        number, code, lasts = case
        print(f"case {name} {number} {errno.errorcode[code]} {'lasting' if lasts else 'once'}", flush=True)
        shutil.copytree(place.template, place.path)
        signal.alarm(LONG)
        error = None
        loaded.fail(-number if lasts else number, code)
        try:
            WORKS[name](place)
        except (ps.CatalogError, OSError, MemoryError) as caught:
            error = caught
        calls = loaded.calls()
        loaded.rest()
        if error is not None:
            assert len(str(error)) > 20, f"{error!r} says too little"
            assert "is damaged" not in str(error), f"calls a sound catalog damaged: {error}"
        check(place, name, error)
        signal.alarm(0)
        figures["cases"] += 1
        figures["refused"] += error is not None
        figures["most_calls"] = max(figures["most_calls"], calls)
        for made in (place.path, place.copy):
            shutil.rmtree(made, ignore_errors=True)
        ended = calls < number
        try:
            case = walk.send(ended)
        except StopIteration:
            break
    print(json.dumps(figures), flush=True)


def one(number: int, rng: random.Random, options: Any) -> trial.Figures:
    name = list(WORKS)[number % len(WORKS)]
    with trial.folder(options.base) as work:
        made, watched = options.shim or shim.build(work), work / "watched"
        watched.mkdir()
        arguments = ["child", name, str(watched), str(options.most), str(int(options.sparse))]
        process = shim.start(made, "faults", *arguments, watch=watched)
        said = process.communicate()[0].splitlines()
        assert process.returncode == 0, f"ended with status {process.returncode} in {said[-1:]}"
        figures: trial.Figures = json.loads(said[-1])
        return figures


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--most", type=int, default=0, help="the last call that fails; by default all calls do by turns"
    )
    parser.add_argument("--sparse", action="store_true", help="one kind of failure for each call, not all eight")
    parser.add_argument("--shim", type=Path, help="the compiled shim, if there is one already")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), bool(int(sys.argv[5])))
        raise SystemExit(0)
    found = trial.options("faults", __doc__.splitlines()[0], rounds=len(WORKS), more=add_options)
    if shim.compiler() is None:
        raise SystemExit("needs Linux and a C compiler")
    raise SystemExit(trial.run(found, lambda number, rng: one(number, rng, found)))
