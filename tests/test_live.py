"""Searches do not wait for each other, nor for a commit."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import toy

import plushie_search as ps

ROWS = 60_000


def test_a_search_waits_for_no_long_search_after_a_commit(toy_model: Path, tmp_path: Path) -> None:
    """A batch takes seconds, another engine commits meanwhile, and further searches must still end at once."""
    chance = np.random.default_rng(0)
    with (
        ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine,
        ps.Engine(tmp_path / "c", model=toy_model, threads=1) as other,
    ):
        engine.add_vectors([f"item-{n % 20_000}" for n in range(ROWS)], chance.normal(size=(ROWS, toy.DIM)))
        queries = chance.normal(size=(100, toy.DIM)).astype(np.float32)
        start = time.perf_counter()
        engine.search_vector(queries, aggregate="mean")
        # As many as take two seconds.
        queries = np.tile(queries, (1 + int(2 / (time.perf_counter() - start)), 1))
        took: list[float] = []

        def batch() -> None:
            start = time.perf_counter()
            engine.search_vector(queries, aggregate="mean")
            took.append(time.perf_counter() - start)

        long = threading.Thread(target=batch)
        long.start()
        time.sleep(0.1)
        times = []
        for number in range(5):
            vector = chance.normal(size=toy.DIM)
            other.add_vectors([f"late-{number}"], [vector])
            start = time.perf_counter()
            found = engine.search_vector(vector, k=1)
            times.append(time.perf_counter() - start)
            assert isinstance(found, ps.Results)
            assert found[0].item == f"late-{number}"
        running = not took
        long.join()
        print(f"a batch of {took[0]:.2f} s; searches after a commit, in ms: {[round(1e3 * t, 1) for t in times]}")
        assert running
        assert max(times) < took[0] / 10


def test_an_item_that_is_replaced_all_the_time_is_always_found(toy_model: Path, tmp_path: Path) -> None:
    """A search that has found the former pictures of an item looks again."""
    colors = [(200, 0, 0), (190, 10, 0), (180, 0, 20)]
    pictures = [np.full((8, 8, 3), color, np.uint8) for color in colors]
    with (
        ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine,
        ps.Engine(tmp_path / "c", model=toy_model, threads=1, durability="relaxed") as other,
    ):
        for number, picture in enumerate(pictures):
            engine.add(f"item-{number}", images=[picture])
        # Searches that compare many take long enough for a change to come in between.
        far = -np.sum([toy.color_vector(color) for color in colors], axis=0)
        far = far + 0.1 * np.random.default_rng(0).normal(size=(20_000, toy.DIM))
        engine.add_vectors([f"far-{number}" for number in range(len(far))], far)
        done = threading.Event()

        def replace() -> None:
            turn = 0
            while not done.is_set():
                turn += 1
                place = turn % len(pictures)
                other.add(f"item-{place}", images=[pictures[place] + np.uint8(turn % 50)], upsert=True)
                time.sleep(0.005)

        replacing = threading.Thread(target=replace)
        replacing.start()
        try:
            queries = np.tile([toy.color_vector(color) for color in colors], (30, 1))
            for _ in range(100):
                for hits in engine.search_vector(queries, k=3):
                    assert sorted(hit.item for hit in hits) == ["item-0", "item-1", "item-2"]
        finally:
            done.set()
            replacing.join()
