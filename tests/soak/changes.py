"""Makes random changes by two engines, and compares them with a dictionary and searches with a scan of all vectors.

Engines are closed and opened again now and then. Half of the rounds have an approximate index, whose answers must have
the right scores, and nearly always the best.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

import plushie_search as ps

from . import trial
from .kill import INDEX, LEAST, LIMIT
from .world import DIM, World, make, vector

#: Changes between two comparisons of everything.
WHOLE = 250


def one(number: int, rng: random.Random, options: Any) -> trial.Figures:
    is_approximate = number % 2 == 1
    world, figures = World(), {"changes": 0, "searches": 0, "restarts": 0, "best": 0}
    with trial.folder(options.base) as work:
        path, index = work / "c.catalog", INDEX if is_approximate else "exact"
        engines = [ps.Engine(path, dim=DIM, threads=1, index=index) for _ in range(2)]
        for turn in range(options.changes):
            if rng.random() < 0.004:
                place = rng.randrange(2)
                engines[place].close()
                engines[place] = ps.Engine(path, dim=DIM, threads=1, index=index)
                figures["restarts"] += 1
            grows = is_approximate and world.references < LEAST
            change = world.grow(200) if grows else world.change(rng, LIMIT if is_approximate else 250)
            make(rng.choice(engines), change)
            world.apply(change)
            if is_approximate and rng.random() < 0.01 and world.references >= LEAST:
                rng.choice(engines).optimize()
            engine = rng.choice(engines)
            if is_approximate:
                figures["best"] += near(engine, world, rng)
            else:
                world.check_searches(engine, rng, 1, filtered=rng.random() < 0.5)
                figures["best"] += 1
            figures["searches"] += 1
            figures["changes"] += 1
            if turn % WHOLE == WHOLE - 1:
                world.check(rng.choice(engines), rng, searches=0)
        for engine in engines:
            found = engine.verify()
            assert found.ok, found
            world.check(engine, rng, searches=0)
            engine.close()
    assert figures["best"] > 0.97 * figures["searches"], figures
    return figures


def near(engine: ps.Engine, world: World, rng: random.Random) -> bool:
    """Searches an approximate index, whose scores must be right; returns whether it has found the best item."""
    query = vector(rng.randrange(2**16))
    best = world.nearest(query)
    found = engine.search_vector(query, k=3)
    assert len(found) == min(3, len(best))
    for hit in found:
        assert abs(best[hit.item] - hit.score) < 1e-5, f"{hit.item} has {best[hit.item]}, found {hit.score}"
    return abs(found[0].score - max(best.values())) < 1e-5


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--changes", type=int, default=2500, help="changes of each round, 2,500 by default")


if __name__ == "__main__":
    found = trial.options("changes", __doc__.splitlines()[0], rounds=160, more=add_options)
    raise SystemExit(trial.run(found, lambda number, rng: one(number, rng, found)))
