"""Removing, counting, walking over items, copies of a catalog, and whether it is sound."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "toys.catalog", model=toy_model, threads=2) as engine:
        yield engine


def plain(*color: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), color, np.uint8)


def vectors(*seeds: int) -> NDArray[np.float32]:
    return np.stack([np.random.default_rng(seed).standard_normal(toy.DIM) for seed in seeds]).astype(np.float32)


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def numbered(engine: ps.Engine, count: int) -> list[str]:
    """Adds items, every third a bear."""
    ids = [f"i{n}" for n in range(count)]
    labels = ["bear" if n % 3 == 0 else "cat" for n in range(count)]
    engine.add_vectors(ids, vectors(*range(count)), labels=labels, metadata=[{"n": n} for n in range(count)])
    return ids


# Removing


def test_one_reference_is_removed_by_name_or_digest(
    engine: ps.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for name, color in (("a", (9, 9, 200)), ("b", (9, 200, 9)), ("c", (200, 9, 9))):
        path = tmp_path / f"{name}.png"
        Image.fromarray(plain(*color)).save(path)
        paths.append(path)
    engine.add("x", images=paths)
    engine.add("x", images=[b.read_bytes() for b in paths[:1]])
    a, b, c = engine.get("x").references
    with pytest.raises(KeyError, match="no item"):
        engine.remove_reference("y", paths[0])
    with pytest.raises(KeyError, match='item "x" has no reference "nothing"'):
        engine.remove_reference("x", "nothing")
    with pytest.raises(KeyError, match="has no reference"):
        engine.remove_reference("x", "0" * 64)
    query = unit(toy.color_vector((9, 9, 200))[None])[0]
    assert engine.search_vector(query, k=1)[0].score == pytest.approx(1, abs=1e-6)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError, match=r'item "x" has no reference "none\.png"'):
        engine.remove_reference("x", "none.png")
    assert engine.remove_reference("x", "a.png") == 2
    assert engine.get("x").references == (b, c)
    assert engine.search_vector(query, k=1)[0].score < 0.99
    assert engine.remove_reference("x", b.digest.upper()) == 1
    assert engine.remove_reference("x", c.name) == 0
    assert "x" not in engine
    assert engine.stats()["references"] == 0
    assert a.digest == hashlib.sha256(paths[0].read_bytes()).hexdigest()


def test_a_name_that_several_references_have_is_not_enough(engine: ps.Engine) -> None:
    engine.add_vectors(["x", "x"], vectors(1, 2))
    with pytest.raises(ValueError, match=r'item "x" has 2 references called "vector": .* by its digest'):
        engine.remove_reference("x", "vector")
    assert len(engine.get("x").references) == 2


def test_items_are_removed_by_id_or_by_a_filter(engine: ps.Engine) -> None:
    numbered(engine, 30)
    assert engine.remove("i1") == 1
    assert engine.remove(["i2", "i4", "i2"]) == 2
    with pytest.raises(KeyError):
        engine.remove(["i5", "i1"])
    assert "i5" in engine
    assert engine.remove(where={"label": "bear", "n": {"$lt": 9}}) == 3
    assert engine.remove(where={"label": "none"}) == 0
    assert [item.id for item in engine][:4] == ["i5", "i7", "i8", "i9"]
    assert engine.search_vector(vectors(3)[0], k=30, where={"id": "i3"}).to_dicts() == []
    for bad in ({}, {"ids": "i5", "where": {"n": 5}}):
        with pytest.raises(ValueError, match="give one of them"):
            engine.remove(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fits every item"):
        engine.remove(where={})
    with pytest.raises(ValueError, match=r"\$lq"):
        engine.remove(where={"n": {"$lq": 1}})
    assert len(engine) == 24
    assert engine.remove(where={"id": {"$exists": True}}) == 24
    assert list(engine) == []


def test_many_items_are_removed_in_steps_between_which_others_write(engine: ps.Engine, toy_model: Path) -> None:
    count = 40_000
    ids = [f"i{n}" for n in range(count)]
    rows = np.random.default_rng(1).standard_normal((count, toy.DIM), np.float32)
    engine.add_vectors(ids, rows, labels=["old"] * count)
    with ps.Engine(engine.path, model=toy_model, threads=1) as other:
        removed: list[int] = []
        thread = threading.Thread(target=lambda: removed.append(engine.remove(where={"label": "old"})))
        thread.start()
        seen = []
        while thread.is_alive():
            other.add_vectors([f"new{len(seen)}"], vectors(len(seen)))
            seen.append(other.count({"label": "old"}))
        thread.join()
        assert removed == [count]
        assert len(other) == len(seen)
        assert {found % 10_000 for found in seen} == {0}, "each step is whole"
        assert any(0 < found < count for found in seen), "others come in between"
        # All removals are more than the log keeps: the other engine has read everything again.
        found = other.search_vector(rows[7], k=len(seen) + 1)
        assert {hit.item for hit in found} == {f"new{n}" for n in range(len(seen))}


READER = """
import sys, plushie_search as ps, numpy as np
engine = ps.Engine(sys.argv[1], model=sys.argv[2], threads=1)
for line in sys.stdin:
    found = engine.search_vector(np.ones(int(sys.argv[3])), k=100_000)
    print(len(found), len({hit.item for hit in found}), engine.stats()["indexed"], flush=True)
"""


def test_an_engine_that_has_missed_removals_reads_everything_again(engine: ps.Engine, toy_model: Path) -> None:
    command = [sys.executable, "-c", READER, engine.path, str(toy_model), str(toy.DIM)]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdin is not None
    assert reader.stdout is not None

    def seen() -> str:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
        return reader.stdout.readline().strip()

    try:
        rows = np.random.default_rng(1).standard_normal((30_000, toy.DIM), np.float32)
        ids = [f"i{n}" for n in range(len(rows))]
        with ps.Engine(engine.path, model=toy_model, threads=1) as other:
            engine.add_vectors(ids, rows)
            assert seen() == "30000 30000 30000"
            assert other.stats()["indexed"] == 30_000
            engine.remove(ids[:25_000])
            engine.add_vectors(["new"], rows[:1])
            assert seen() == "5001 5001 5001"
            assert other.search_vector(rows[0], k=1)[0].item == "new"
            for _ in range(3):
                engine.remove("new")
                engine.compact()
                engine.add_vectors(["new"], rows[:1])
                assert seen() == "5001 5001 5001"
                assert other.search_vector(rows[0], k=1)[0].item == "new"
            engine.compact()
            engine.remove(["i29999"])
            assert seen() == "5000 5000 5000"
            assert other.stats()["indexed"] == 5000
    finally:
        reader.communicate("")


def test_added_and_removed_items_leave_nothing_for_ever(engine: ps.Engine) -> None:
    """40 bytes for each reference that was ever removed, in the past."""
    rows = np.random.default_rng(1).standard_normal((5000, toy.DIM), np.float32)
    ids = [f"i{n}" for n in range(len(rows))]
    sizes = []
    for _ in range(16):
        engine.add_vectors(ids, rows)
        engine.remove(ids)
        sizes.append(engine.stats()["bytes"] - Path(engine.path, "catalog.sqlite-wal").stat().st_size)
    assert sizes[-1] < 1.3 * max(sizes[:6]), sizes
    engine.compact()
    assert engine.stats()["bytes"] < 200_000


# Looking


def test_items_are_counted_and_got_by_lists(engine: ps.Engine) -> None:
    ids = numbered(engine, 30)
    assert engine.count() == 30
    assert engine.count({"label": "bear"}) == 10
    assert engine.count(where={"label": "bear", "n": {"$gte": 15}}) == 5
    with pytest.raises(ValueError, match=r"\$lq"):
        engine.count({"n": {"$lq": 1}})
    found = engine.get(["i7", "i3", "i7"])
    assert found == [engine.get("i7"), engine.get("i3"), engine.get("i7")]
    assert engine.get(iter(ids)) == engine.items()
    assert engine.get([]) == []
    with pytest.raises(KeyError, match="nobody"):
        engine.get(["i1", "nobody", "other"])


@pytest.mark.parametrize("where", [None, {"label": "bear"}, {"label": {"$in": ["bear", "cat"]}}, {"n": {"$lt": 77}}])
@pytest.mark.parametrize("batch", [1, 7, 90, 1000])
def test_iteration_gives_the_same_as_items(engine: ps.Engine, where: dict[str, Any] | None, batch: int) -> None:
    numbered(engine, 90)
    engine.remove(["i0", "i50", "i89"])
    assert list(engine.iterate(where, batch=batch)) == engine.items(where=where)
    assert list(engine) == engine.items()


def test_iteration_goes_on_while_items_come_and_go(engine: ps.Engine) -> None:
    numbered(engine, 30)
    walk = engine.iterate(batch=10)
    first = [next(walk).id for _ in range(10)]
    engine.remove(["i3", "i12", "i29"])
    engine.add_vectors(["late"], vectors(99))
    rest = [item.id for item in walk]
    assert first + rest == [f"i{n}" for n in range(30) if n not in (12, 29)] + ["late"]
    for batch in (0, -1):
        with pytest.raises(ValueError, match="give at least 1"):
            engine.iterate(batch=batch)


def test_iteration_takes_time_in_proportion(engine: ps.Engine) -> None:
    count = 40_000
    rows = np.random.default_rng(1).standard_normal((count, toy.DIM), np.float32)
    engine.add_vectors([f"i{n}" for n in range(count)], rows, labels=[f"l{n % 2}" for n in range(count)])

    def seconds(where: dict[str, Any] | None, part: slice) -> float:
        begin = time.perf_counter()
        after = [0, count // 2][part.start or 0]
        for _ in range(40):
            after, _items = engine._core.items_after(after, 100, where=where)
        return time.perf_counter() - begin

    for where in (None, {"label": {"$in": ["l0", "l1"]}}, {"label": "l1"}, {"id": {"$exists": True}}):
        early = min(seconds(where, slice(0, 1)) for _ in range(3))
        late = min(seconds(where, slice(1, 2)) for _ in range(3))
        all_at_once = min(_timed(lambda: engine.items(where=where)) for _ in range(2))  # noqa: B023
        assert late < 4 * early, (where, early, late)
        # A tenth of the items, or a fifth of those with half of the labels.
        assert early < 2 * all_at_once, (where, early, all_at_once)


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


# Keeping


def test_a_backup_of_a_catalog_that_is_written_is_whole(engine: ps.Engine, toy_model: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            engine.add_vectors([f"p{n}", f"p{n}"], vectors(n, n + 1))
            n += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for n in range(5):
            copy = tmp_path / "copies" / str(n)
            engine.backup(copy)
            with ps.Engine(copy, model=toy_model, threads=1, create=False) as other:
                assert other.verify().ok
                items = other.items()
                assert all(len(item.references) == 2 for item in items)
                if items:
                    found = other.search_vector(other.vectors(items[-1].id)[0], k=1)[0]
                    assert found.score == pytest.approx(1, abs=1e-6)
                other.add_vectors(["mine"], vectors(5))
                assert "mine" not in engine
    finally:
        stop.set()
        thread.join()
    before = (copy / "catalog.sqlite").read_bytes()
    for path in (copy, Path(engine.path)):
        with pytest.raises(ps.CatalogError, match="holds a catalog already"):
            engine.backup(path)
    assert (copy / "catalog.sqlite").read_bytes() == before
    assert not list(copy.glob("*.part"))
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises((ps.CatalogError, OSError)):
        engine.backup(file)


def test_a_backup_of_a_catalog_that_may_only_be_read(engine: ps.Engine, toy_model: Path, tmp_path: Path) -> None:
    numbered(engine, 3)
    with ps.Engine(engine.path, model=toy_model, read_only=True) as reader:
        reader.backup(tmp_path / "copy")
        assert reader.verify().ok
        for change in (reader.compact, lambda: reader.remove(where={"n": 1})):
            with pytest.raises(ps.CatalogError, match="read_only=True"):
                change()
    with ps.Engine(tmp_path / "copy", model=toy_model) as copy:
        assert copy.items() == engine.items()


def test_damage_is_found_with_item_and_reference(engine: ps.Engine, toy_model: Path) -> None:
    numbered(engine, 10)
    assert engine.verify() == ps.Verification(())
    assert engine.verify().ok
    path = engine.path
    engine.close()
    with sqlite3.connect(Path(path, "catalog.sqlite")) as file:
        (vector,) = file.execute("SELECT vector FROM vectors WHERE reference = 4").fetchone()
        flipped = bytes([vector[0] ^ 1]) + vector[1:]
        file.execute("UPDATE vectors SET vector = ? WHERE reference = 4", [flipped])
        file.execute("UPDATE items SET metadata = 'no' WHERE id = 'i7'")
    file.close()
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        found = engine.verify()
        assert not found.ok
        assert found.problems == (
            ps.Problem("i3", "vector", 'its vector of model "toy" is damaged: it has another checksum'),
            ps.Problem("i7", None, "its metadata is no JSON"),
            ps.Problem(
                "i7",
                None,
                "its id, label, text, metadata or time is not as it was written: set its label, text and metadata "
                "again",
            ),
            ps.Problem(
                None,
                None,
                "the index of metadata has values that no item has: compact the catalog, which makes it anew",
            ),
        )
        with pytest.raises(
            ps.CatalogError, match=r'item "i3", reference "vector" is damaged \(it has another checksum\)'
        ):
            engine.search_vector(vectors(1)[0])
        engine.remove("i3")
        engine.update("i7", metadata={})
        assert engine.verify().ok
        assert engine.search_vector(vectors(1)[0], k=1)[0].item == "i1"


def test_a_damaged_page_is_a_problem_and_no_crash(engine: ps.Engine, toy_model: Path) -> None:
    numbered(engine, 2000)
    with sqlite3.connect(Path(engine.path, "catalog.sqlite")) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = dict(file.execute("SELECT name, rootpage FROM sqlite_schema"))
    file.close()
    path = Path(engine.path)
    engine.close()
    with (path / "catalog.sqlite").open("r+b") as file:
        file.seek((pages["items_by_label"] - 1) * 8192)
        file.write(os.urandom(8192))
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        found = engine.verify()
    assert not found.ok
    assert all(problem.item is None for problem in found.problems)


def test_compact_gives_space_back(engine: ps.Engine) -> None:
    rows = np.random.default_rng(1).standard_normal((20_000, toy.DIM), np.float32)
    engine.add_vectors([f"i{n}" for n in range(len(rows))], rows, texts=["x" * 200] * len(rows))
    engine.remove([f"i{n}" for n in range(4000)])
    before = engine.stats()["bytes"]
    engine.compact()
    assert engine.stats()["bytes"] < before
    assert len(engine) == 16_000
    assert engine.verify().ok
    assert engine.search_vector(rows[5000], k=1)[0].item == "i5000"


def test_the_choice_of_durability_is_checked(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", dim=toy.DIM, durability="relaxed") as engine:
        engine.add_vectors(["a"], vectors(1))
    with ps.Engine(tmp_path / "c", dim=toy.DIM) as engine:
        assert engine.search_vector(vectors(1)[0], k=1)[0].item == "a"
    with pytest.raises(ps.ArgumentError, match='durability "none": give full or relaxed'):
        ps.Engine(tmp_path / "d", dim=toy.DIM, durability="none")  # type: ignore[arg-type]
    assert not (tmp_path / "d").exists()
