"""Approximate indexes of an engine, beside exact search."""

from __future__ import annotations

import functools
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search.cli.main import main

DIM = 32
QUERIES = 30


def near_centers(count: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(7).standard_normal((40, DIM))
    rows = centers[random.integers(40, size=count)] + 0.7 * random.standard_normal((count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fill(path: Path, count: int = 3000, seed: int = 0) -> NDArray[np.float32]:
    """Stores items of two references each, and returns these."""
    rows = near_centers(count, seed)
    with ps.Engine(path, dim=DIM, index="exact") as engine:
        names = [f"item-{row // 2}" for row in range(count)]
        engine.add_vectors(names, rows, labels=[f"label {row // 2 % 100}" for row in range(count)])
    return rows


def best(rows: NDArray[np.float32], query: NDArray[np.float32], k: int = 10) -> list[str]:
    """The items of the references that numpy finds nearest."""
    items = dict.fromkeys(f"item-{row // 2}" for row in np.argsort(-(rows @ query)))
    return list(items)[:k]


def recall(engine: ps.Engine, rows: NDArray[np.float32]) -> float:
    queries = near_centers(QUERIES, 99)
    found = [[hit.item for hit in engine.search_vector(query, k=10)] for query in queries]
    right = [len({*best(rows, query)} & {*items}) for query, items in zip(queries, found, strict=True)]
    return sum(right) / (10 * QUERIES)


@pytest.mark.parametrize("index", ["IVF32,PQ16x4fs", "IVF32,SQ8", "OPQ16,IVF32,PQ16x4fs", "HNSW16"])
def test_a_named_index_finds_what_numpy_finds(tmp_path: Path, index: str) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index=index) as engine:
        assert engine.stats()["index"] == "exact"
        engine.optimize()
        stats = engine.stats()
        assert (stats["index"], stats["indexed"]) == (index, 3000)
        (built,) = stats["approximate"]
        assert built["pictures"]["recall"] >= 0.98
        assert built["texts"]["recall"] >= 0.98
        assert recall(engine, rows) > 0.95
        # All of a list of queries find what one finds.
        queries = near_centers(QUERIES, 99)
        together = engine.search([ps.Query(vector=query) for query in queries], k=10)
        alone = [engine.search_vector(query, k=10) for query in queries]
        for many, one in zip(together, alone, strict=True):
            assert [hit.item for hit in many] == [hit.item for hit in one]


def test_changes_are_found_at_once(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
        new = near_centers(1, 5)[0]
        engine.add_vectors(["new"], new[None])
        assert engine.search_vector(new, k=1)[0].item == "new"
        nearest = best(rows, rows[10], 3)
        assert engine.search_vector(rows[10], k=1)[0].item == nearest[0] == "item-5"
        engine.remove("item-5")
        assert engine.search_vector(rows[10], k=2)[0].item == nearest[1]
        engine.remove("new")
        assert "new" not in {hit.item for hit in engine.search_vector(new, k=50)}
        assert engine.stats()["index"] == "IVF32,SQ8"
        assert engine.stats()["indexed"] == 2998


@pytest.mark.parametrize("labels", [50, 10, 1])
def test_filters_find_what_numpy_finds(tmp_path: Path, labels: int) -> None:
    rows = fill(tmp_path / "c")
    where = {"label": {"$in": [f"label {number}" for number in range(labels)]}}
    fits = np.array([row // 2 % 100 < labels for row in range(len(rows))])
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,PQ16x4fs") as engine:
        engine.optimize()
        right = 0
        for query in near_centers(QUERIES, 99):
            hits = engine.search_vector(query, k=10, where=where)
            assert len(hits) == 10
            wanted = dict.fromkeys(f"item-{row // 2}" for row in np.argsort(-(rows @ query)) if fits[row])
            assert {hit.item for hit in hits} <= wanted.keys()
            right += len({*list(wanted)[:10]} & {hit.item for hit in hits})
        assert right > 0.95 * 10 * QUERIES


@pytest.mark.parametrize("index", ["IVF64,PQ16x4fs", "IVF64,RaBitQ", "HNSW16"])
@pytest.mark.parametrize("passing", [150, 30])
def test_a_filter_that_leaves_other_clusters_finds_what_numpy_finds(tmp_path: Path, index: str, passing: int) -> None:
    """Asks for rows of some clusters by pictures of all: where a query lies, few or none pass."""
    random = np.random.default_rng(11)
    centers = random.standard_normal((300, DIM))
    clusters = random.integers(300, size=12_000)
    rows = centers[clusters] + 0.6 * random.standard_normal((12_000, DIM))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = centers[random.integers(300, size=60)] + 0.6 * random.standard_normal((60, DIM))
    with ps.Engine(tmp_path / "c", dim=DIM, index=index) as engine:
        names = [str(row) for row in range(12_000)]
        engine.add_vectors(names, rows, metadata=[{"cluster": int(cluster)} for cluster in clusters])
        engine.optimize()
        right = 0
        for query in queries:
            hits = engine.search_vector(query, k=10, where={"cluster": {"$lt": passing}})
            scores = np.where(clusters < passing, rows @ query, -np.inf)
            right += len({int(hit.item) for hit in hits} & {*np.argsort(-scores)[:10].tolist()})
    assert right >= 0.95 * 600


@pytest.mark.parametrize(("k", "step"), [(10, 1), (10, 4), (10, 10), (100, 1), (100, 10), (1000, 1)])
def test_many_hits_and_the_best_of_few_are_found_beyond_their_cluster(
    clustered: tuple[ps.Engine, NDArray[np.float32], NDArray[np.float32]], k: int, step: int
) -> None:
    engine, rows, queries = clustered
    right = 0
    for query in queries:
        hits = engine.search_vector(query, k=k, where={f"by {step}": 0})
        scores = rows[::step] @ query
        right += len({int(hit.item) for hit in hits} & {*(step * np.argsort(-scores)[:k]).tolist()})
    assert right >= 0.97 * k * len(queries)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ps.Engine, NDArray[np.float32], Any]]:
    """A catalog of 1,000 clusters of about a hundred rows each, its rows, and queries beside them."""
    random, count, dim = np.random.default_rng(3), 100_000, 128
    centers = random.standard_normal((1000, dim), dtype=np.float32)
    drawn = centers[random.integers(1000, size=count + 60)] + random.standard_normal(
        (count + 60, dim), dtype=np.float32
    )
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    rows, queries = drawn[:count], drawn[count:]
    with ps.Engine(tmp_path_factory.mktemp("clustered") / "c", dim=dim, index="IVF1500,PQ64x4fs") as engine:
        facts = [{f"by {step}": row % step for step in (1, 4, 10)} for row in range(count)]
        engine.add_vectors([str(row) for row in range(count)], rows, metadata=facts)
        engine.optimize()
        yield engine, rows, queries


def test_an_engine_takes_the_recall_of_the_catalogs_index(tmp_path: Path) -> None:
    fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,PQ16x4fs", recall=0.8) as engine:
        engine.optimize()
        built = engine.stats()["approximate"]
    with ps.Engine(tmp_path / "c", dim=DIM) as engine:
        assert engine.stats()["approximate"] == built
    with ps.Engine(tmp_path / "c", dim=DIM, recall=0.9) as engine:
        assert engine.stats()["index"] == "exact"
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,PQ16x4fs") as engine:
        engine.optimize()
        assert engine.stats()["approximate"][0]["pictures"]["recall"] < 0.98
    with ps.Engine(tmp_path / "c", dim=DIM, recall=0.8) as engine:
        assert engine.stats()["index"] == "IVF32,PQ16x4fs"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_in_the_place_of_the_index_is_told_and_ignored(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    (tmp_path / "c" / "index").mkdir()
    os.mkfifo(tmp_path / "c" / "index" / "approximate")
    with pytest.warns(UserWarning, match="not a plain file"), ps.Engine(tmp_path / "c", dim=DIM) as engine:
        assert engine.search_vector(rows[8], k=1)[0].item == "item-4"


def test_an_index_is_kept_and_follows_the_catalog(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
        before = [hit.item for hit in engine.search_vector(rows[0], k=10)]
    assert (tmp_path / "c" / "index" / "approximate").exists()
    new = near_centers(1, 5)[0]
    with ps.Engine(tmp_path / "c", dim=DIM, index="exact") as engine:
        engine.add_vectors(["new"], new[None])
        engine.remove("item-5")
    for read_only in (True, False):
        with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8", read_only=read_only) as engine:
            assert engine.stats()["index"] == "IVF32,SQ8"
            assert engine.search_vector(new, k=1)[0].item == "new"
            hits = [hit.item for hit in engine.search_vector(rows[0], k=10)]
            assert hits[0] == before[0] == "item-0"
            assert "item-5" not in {hit.item for hit in engine.search_vector(rows[10], k=100)}
            assert engine.stats()["indexed"] == 2999
    with ps.Engine(tmp_path / "c", dim=DIM, index="exact") as engine:
        assert engine.stats()["index"] == "exact"
    with ps.Engine(tmp_path / "c", dim=DIM) as engine:
        assert engine.stats()["index"] == "IVF32,SQ8"


def test_a_damaged_file_is_told_and_ignored(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
    file = tmp_path / "c" / "index" / "approximate"
    whole = file.read_bytes()
    # References, items and codes lie behind the vectors.
    place = 64 + 4 * DIM * len(rows) + 999
    for damaged in (b"", whole[: len(whole) // 2], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"approximate.*built anew"):
            engine = ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8")
        with engine:
            assert engine.stats()["index"] == "exact"
            assert engine.search_vector(rows[4], k=1)[0].item == "item-2"


def test_a_damaged_vector_is_noticed_when_it_is_looked_at(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
        expected = [hit.item for hit in engine.search_vector(rows[4], k=10)]
    file = tmp_path / "c" / "index" / "approximate"
    whole = bytearray(file.read_bytes())
    # The vector of the fifth row, which lies in the order of the items, is turned around.
    place = 64 + 4 * DIM * 4
    whole[place : place + 4 * DIM] = (-rows[4]).tobytes()
    file.write_bytes(whole)
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        assert engine.stats()["index"] == "IVF32,SQ8"
        with pytest.warns(UserWarning, match=r"approximate: vectors in it are damaged.*built anew"):
            hits = engine.search_vector(rows[4], k=10)
        assert [hit.item for hit in hits] == best(rows, rows[4]) == expected
        assert hits[0].score == pytest.approx(1, abs=1e-5)
        assert engine.stats()["index"] == "exact"
        engine.optimize()
        assert engine.stats()["index"] == "IVF32,SQ8"
        assert engine.search_vector(rows[4], k=1)[0].item == "item-2"


def anonymous() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Anonymous"))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells what memory is anonymous")
def test_vectors_stay_pages_of_the_file(tmp_path: Path) -> None:
    count, dim = 10_000, 512
    rows = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    with ps.Engine(tmp_path / "c", dim=dim, index="IVF32,PQ64x4fs", recall=0.3) as engine:
        engine.add_vectors([str(row) for row in range(count)], rows)
        engine.optimize()
    before = anonymous()
    with ps.Engine(tmp_path / "c", dim=dim, index="IVF32,PQ64x4fs", recall=0.3) as engine:
        assert engine.search_vector(rows[9], k=1)[0].item == "9"
        assert engine.stats()["index"] != "exact"
        assert engine.stats()["index_bytes"] < rows.nbytes / 10
        assert anonymous() - before < rows.nbytes / 2


def test_codes_fit_into_the_memory(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    for memory, index in ((1e9, "IVF32,SQ8"), (0.9, "IVF32,SQ8")):
        with ps.Engine(tmp_path / "c", dim=DIM, index=index, memory=memory) as engine:
            engine.optimize()
            assert engine.stats()["index"] == index
            assert engine.stats()["index_bytes"] < 1e9
    with ps.Engine(tmp_path / "d", dim=DIM, index="IVF32,SQ8", memory=100_000) as engine:
        engine.add_vectors([str(row) for row in range(len(rows))], rows)
        with pytest.raises(ps.ArgumentError, match=r"memory of 0.1 MB for the index: IVF32,SQ8 takes 0.[0-9] MB; give"):
            engine.optimize()
        assert engine.stats()["index"] == "exact"
        assert engine.search_vector(rows[4], k=1)[0].item == "4"
    for bad in (0, -5, float("nan")):
        with pytest.raises(ps.ArgumentError, match="give bytes"):
            ps.Engine(tmp_path / "c", dim=DIM, memory=bad)


def test_many_additions_become_a_part_of_the_index(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c", 72_000)
    new = near_centers(17_000, 5)
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
        engine.add_vectors([f"new-{row}" for row in range(len(new))], new)
        engine.remove("item-2")
        all_rows = np.concatenate([rows, new])
        names = [f"item-{row // 2}" for row in range(len(rows))] + [f"new-{row}" for row in range(len(new))]
        assert engine.search_vector(new[3], k=1)[0].item == "new-3"
        small = engine.stats()["index_bytes"]
        until = time.monotonic() + 60
        while engine.stats()["approximate"][0]["references"] == 72_000 and time.monotonic() < until:
            engine.search_vector(new[3], k=1)
            time.sleep(0.05)
        stats = engine.stats()
        assert stats["approximate"][0]["references"] == 89_000
        assert (stats["index"], stats["indexed"]) == ("IVF32,SQ8", 88_998)
        assert stats["index_bytes"] < small
        engine.remove("new-5")
        right = 0
        for query in near_centers(QUERIES, 99):
            wanted = dict.fromkeys(names[row] for row in np.argsort(-(all_rows @ query))[:60])
            expected = [item for item in wanted if item not in ("item-2", "new-5")][:10]
            found = [hit.item for hit in engine.search_vector(query, k=10)]
            assert not {"item-2", "new-5"} & {*found}
            right += len({*found} & {*expected})
        assert right > 0.95 * 10 * QUERIES
        assert "new-5" not in {hit.item for hit in engine.search_vector(new[5], k=20)}


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float32], NDArray[np.float32]]:
    """A catalog whose index has a part in a file, without an item of the file before it; what was built, and added."""
    path = tmp_path_factory.mktemp("parted") / "c"
    rows = fill(path, 69_000)
    new = near_centers(17_000, 5)
    with ps.Engine(path, dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
        engine.add_vectors([f"new-{row}" for row in range(len(new))], new)
        engine.remove("item-2")
        wait_for(engine, 86_000)
    return path, rows, new


def wait_for(engine: ps.Engine, references: int) -> None:
    """Searches until so many references are in approximate segments."""
    until = time.monotonic() + 60
    while engine.stats()["approximate"][0]["references"] < references and time.monotonic() < until:
        engine.search_vector(np.eye(1, DIM)[0], k=1)
        time.sleep(0.05)
    assert engine.stats()["approximate"][0]["references"] == references


def test_a_part_of_the_index_is_kept_in_a_file(
    tmp_path: Path, parted: tuple[Path, NDArray[np.float32], NDArray[np.float32]]
) -> None:
    path, rows, new = parted
    shutil.copytree(path, tmp_path / "c")
    assert (tmp_path / "c" / "index" / "part-1").exists()
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        stats = engine.stats()
        assert (stats["approximate"][0]["references"], stats["indexed"]) == (86_000, 85_998)
        # Codes, references and items are in memory, the vectors of both are pages of files.
        assert stats["index_bytes"] < 1.3 * 86_000 * (DIM + 16)
        hits = [hit.item for hit in engine.search_vector(new[3], k=5)]
        assert hits[0] == "new-3"
        assert "item-2" not in {hit.item for hit in engine.search_vector(rows[4], k=20)}
        engine.remove("new-3")
        engine.add_vectors(["last"], new[3:4])
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        hits = [hit.item for hit in engine.search_vector(new[3], k=5)]
        assert hits[0] == "last"
        assert "new-3" not in hits
        assert engine.stats()["indexed"] == 85_998
        assert engine.verify().problems == ()
        engine.optimize()
    assert not (tmp_path / "c" / "index" / "part-1").exists()


def test_a_part_that_is_damaged_or_of_another_index_is_left_alone(
    tmp_path: Path, parted: tuple[Path, NDArray[np.float32], NDArray[np.float32]]
) -> None:
    path, _, new = parted
    shutil.copytree(path, tmp_path / "c")
    part = tmp_path / "c" / "index" / "part-1"
    whole = part.read_bytes()

    def found() -> tuple[int, str]:
        with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
            return engine.stats()["approximate"][0]["references"], engine.search_vector(new[3], k=1)[0].item

    for cut in (10, len(whole) - 100):
        part.write_bytes(whole[:cut])
        with pytest.warns(UserWarning, match="part-1: .*it is ignored"):
            assert found() == (69_000, "new-3")
        with ps.Engine(tmp_path / "c", dim=DIM, index="exact") as engine:
            assert "part-1" in str(engine.verify().problems)
    part.write_bytes(whole)
    assert found() == (86_000, "new-3")
    # That of an index that was built later is another one.
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
    part.write_bytes(whole)
    assert found() == (85_998, "new-3")


def test_the_file_of_another_catalog_is_told_and_ignored(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    fill(tmp_path / "d", seed=3)
    with ps.Engine(tmp_path / "d", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
    (tmp_path / "d" / "index").rename(tmp_path / "c" / "index")
    with pytest.warns(UserWarning, match="of another catalog"):
        engine = ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8")
    with engine:
        assert engine.search_vector(rows[4], k=1)[0].item == "item-2"


def test_a_catalog_put_back_to_an_older_state_has_no_later_index(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM) as engine:
        engine.backup(tmp_path / "older")
        engine.add_vectors([f"more-{row}" for row in range(500)], near_centers(500, 8))
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        engine.optimize()
    with ps.Engine(tmp_path / "older", dim=DIM) as engine:
        engine.add_vectors([f"other-{row}" for row in range(500)], near_centers(500, 9))
    (tmp_path / "c" / "index").rename(tmp_path / "older" / "index")
    with pytest.warns(UserWarning, match="another state"):
        engine = ps.Engine(tmp_path / "older", dim=DIM, index="IVF32,SQ8")
    with engine:
        assert engine.search_vector(rows[4], k=1)[0].item == "item-2"
        assert not [hit for hit in engine.search_vector(rows[4], k=3500) if hit.item.startswith("more")]


def test_an_index_is_built_in_the_background(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        until = time.monotonic() + 60
        while engine.stats()["index"] == "exact" and time.monotonic() < until:
            assert engine.search_vector(rows[4], k=1)[0].item == "item-2"
            time.sleep(0.05)
        assert engine.stats()["index"] == "IVF32,SQ8"
        assert recall(engine, rows) > 0.95


def test_a_small_catalog_needs_none(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c", 200)
    with ps.Engine(tmp_path / "c", dim=DIM) as engine:
        engine.optimize()
        assert engine.stats()["index"] == "exact"
        assert engine.stats()["approximate"] == []
        assert recall(engine, rows) == 1.0
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") as engine:
        with pytest.raises(ps.ArgumentError, match="at least 1248 references, and the catalog has 200"):
            engine.optimize()
        assert recall(engine, rows) == 1.0


def test_how_much_is_looked_at_can_be_said(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    with ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,PQ16x4fs") as engine:
        engine.optimize()
        query = near_centers(1, 99)[0]
        hits = engine.search_vector(query, k=10, nprobe=32, k_factor=100)
        assert [hit.item for hit in hits] == best(rows, query)
        few = engine.search_vector(query, k=10, nprobe=1, k_factor=1)
        assert len(few) == 10


@pytest.mark.parametrize(
    ("options", "words"),
    [({"nprobe": 0}, "nprobe 0"), ({"ef_search": -3}, "ef_search -3"), ({"k_factor": 0.5}, "k_factor 0.5")],
)
def test_numbers_must_make_sense(tmp_path: Path, options: dict[str, float], words: str) -> None:
    rows = fill(tmp_path / "c", 10)
    with ps.Engine(tmp_path / "c", dim=DIM) as engine, pytest.raises(ps.ArgumentError, match=words):
        engine.search_vector(rows[0], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("IDMap2,Flat", "numbers its rows by itself"),
        ("NSG32", "cannot filter"),
        ("PQ16x4fs", "only in lists"),
        ("IVF32,Flat,RFlat", "k_factor"),
        ("IVF32,PQ7x4fs", "faiss refuses it"),
        ("nonsense", "is not a code"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused(tmp_path: Path, index: str, reason: str) -> None:
    with pytest.raises(ps.ArgumentError, match=reason):
        ps.Engine(tmp_path / "c", dim=DIM, index=index)
    for recall in (0.0, 1.1, float("nan")):
        with pytest.raises(ps.ArgumentError, match="recall"):
            ps.Engine(tmp_path / "c", dim=DIM, recall=recall)


def test_random_changes_agree_with_a_dictionary(tmp_path: Path) -> None:
    """Adds, updates, removes, searches, filters, opens again and optimizes, beside a scan of a dictionary by numpy."""
    random = np.random.default_rng(3)
    rows = fill(tmp_path / "c", 2000)
    known: dict[str, tuple[NDArray[np.float32], str]] = {
        f"item-{number}": (rows[2 * number : 2 * number + 2], f"label {number % 100}") for number in range(1000)
    }
    open_again = functools.partial(ps.Engine, tmp_path / "c", dim=DIM, index="IVF16,PQ16x4fs")
    engine = open_again()
    right = wanted = 0
    for step in range(2000):
        action = random.integers(100)
        some = list(known)[random.integers(len(known))]
        if action < 15:
            vectors = near_centers(int(random.integers(1, 4)), 1000 + step)
            label = f"label {random.integers(100)}"
            engine.add_vectors([f"new-{step}"] * len(vectors), vectors, labels=[label] * len(vectors))
            known[f"new-{step}"] = (vectors, label)
        elif action < 25:
            label = f"label {random.integers(100)}"
            engine.update(some, label=label)
            known[some] = (known[some][0], label)
        elif action < 35 and len(known) > 900:
            engine.remove(some)
            del known[some]
        elif action == 35:
            engine.close()
            engine = open_again()
        elif action == 36:
            engine.optimize()
        else:
            labels = [None, 50, 5, 1][random.integers(4)]
            names = [f"label {number}" for number in range(labels or 0)]
            fits = [item for item, (_, label) in known.items() if labels is None or label in names]
            query = near_centers(1, 5000 + step)[0]
            hits = engine.search_vector(query, k=10, where={"label": {"$in": names}} if labels else None)
            scores = {item: float((known[item][0] @ query).max()) for item in fits}
            assert len(hits) == min(10, len(fits)), step
            for hit in hits:
                assert hit.score == pytest.approx(scores[hit.item], abs=1e-5)
            bar = sorted(scores.values(), reverse=True)[: len(hits)]
            wanted += len(hits)
            right += sum(hit.score >= bar[-1] - 1e-5 for hit in hits)
    engine.close()
    assert right > 0.95 * wanted


def test_the_command_tells_what_it_has_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "c")
    assert main(["optimize", str(tmp_path / "c"), "--index", "IVF32,SQ8"]) == 0
    told = capsys.readouterr().out
    assert re.fullmatch(r"IVF32,SQ8 over 3,000 references of vectors; recall: pictures [.0-9]+, texts [.0-9]+\n", told)
    assert main(["optimize", str(tmp_path / "c"), "--index", "NSG32"]) == 2
    assert "cannot filter" in capsys.readouterr().err


def test_engines_of_one_process_write_files_of_their_own(tmp_path: Path) -> None:
    rows = fill(tmp_path / "c")
    engines = [ps.Engine(tmp_path / "c", dim=DIM, index="IVF32,SQ8") for _ in range(3)]
    for _ in range(6):
        threads = [threading.Thread(target=engine.optimize) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for engine in engines:
            assert recall(engine, rows) > 0.95
    for engine in engines:
        assert engine.verify().ok
        engine.close()
