"""Exact search on a device, here ONNX Runtime's provider for the processor, compared with numpy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import plushie_search as ps

DIM = 16


def unit(count: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check(engine: ps.Engine, stored: dict[str, NDArray[Any]], queries: NDArray[Any], k: int, **how: Any) -> None:
    """Compares a batch with numpy: the scores, and the items but for those that score the same."""
    ids, rows = list(stored), np.stack(list(stored.values())).astype(np.float64)
    scores = queries.astype(np.float64) @ rows.T
    for hits, row in zip(engine.search_vector(queries, k=k, **how), scores, strict=True):
        best = np.sort(row)[::-1][:k]
        assert len(hits) == len(best)
        np.testing.assert_allclose([hit.score for hit in hits], best, atol=2e-6)
        np.testing.assert_allclose([row[ids.index(hit.item)] for hit in hits], best, atol=2e-6)
        assert len({hit.item for hit in hits}) == len(hits)


@pytest.fixture
def stored() -> dict[str, NDArray[np.float32]]:
    rows = unit(2000, 1)
    rows[100:140] = rows[100]  # ties
    return {f"i{number}": row for number, row in enumerate(rows)}


@pytest.fixture
def engine(stored: dict[str, NDArray[np.float32]], tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "toys.catalog", dim=DIM, threads=2, index_device="onnx:cpu") as engine:
        parity = [{"even": number % 2 == 0, "n": number} for number in range(len(stored))]
        engine.add_vectors(list(stored), np.stack(list(stored.values())), metadata=parity)
        engine.optimize()
        assert engine.stats()["index_device"] == {"device": "cpu", "references": 2000, "bytes": 2000 * DIM * 4}
        yield engine


@pytest.mark.parametrize("count", [1, 32, 1000])
def test_batches_are_those_of_numpy(count: int, engine: ps.Engine, stored: dict[str, NDArray[np.float32]]) -> None:
    check(engine, stored, unit(count, 2), 10)


def test_ties_and_more_items_than_there_are(engine: ps.Engine, stored: dict[str, NDArray[np.float32]]) -> None:
    check(engine, stored, stored["i100"][None], 50)
    check(engine, stored, unit(2, 3), 5000)


def test_what_comes_and_goes_is_seen_at_once(engine: ps.Engine, stored: dict[str, NDArray[np.float32]]) -> None:
    for number in range(0, 2000, 5):
        engine.remove(f"i{number}")
        del stored[f"i{number}"]
    fresh = {f"new{number}": row for number, row in enumerate(unit(50, 4))}
    engine.add_vectors(list(fresh), np.stack(list(fresh.values())))
    stored.update(fresh)
    check(engine, stored, unit(32, 5), 10)
    assert engine.search_vector(fresh["new7"], k=1)[0].item == "new7"
    engine.optimize()
    assert engine.stats()["index_device"]["references"] == len(stored)
    check(engine, stored, unit(32, 5), 10)


@pytest.mark.parametrize("where", [{"even": True}, {"n": {"$lt": 25}}, {"n": {"$lt": 0}}])
def test_filters_hold(where: dict[str, Any], engine: ps.Engine, stored: dict[str, NDArray[np.float32]]) -> None:
    allowed = {item.id for item in engine.items(where=where)}
    few = {name: row for name, row in stored.items() if name in allowed}
    if not few:
        assert not engine.search_vector(unit(1, 6)[0], where=where)
        return
    check(engine, few, unit(1, 6), 10, where=where)
    check(engine, few, unit(12, 6), 10, where=where)


def test_a_large_catalog_lies_on_the_device_when_it_is_opened(tmp_path: Path) -> None:
    rows = unit(11_000, 7)
    with ps.Engine(tmp_path / "large.catalog", dim=DIM, threads=2) as engine:
        engine.add_vectors([f"i{number}" for number in range(len(rows))], rows)
        assert engine.stats()["index_device"] is None
        plain = engine.search_vector(rows[:40], k=7)
    with ps.Engine(tmp_path / "large.catalog", threads=2, index_device="onnx:cpu", read_only=True) as engine:
        assert engine.stats()["index_device"]["references"] == 11_000
        found = engine.search_vector(rows[:40], k=7)
    assert [[hit.item for hit in hits] for hits in found] == [[hit.item for hit in hits] for hits in plain]


def test_a_device_that_is_not_there_is_refused_as_by_encoders(tmp_path: Path) -> None:
    with pytest.raises(ps.ModelError) as of_encoder:
        ps.open_encoder("plushie-mini", device="cuda:1")
    with pytest.raises(ps.ModelError) as of_index:
        ps.Engine(tmp_path / "c.catalog", dim=DIM, index_device="cuda:1")
    assert str(of_index.value) == str(of_encoder.value)
    assert re.search("cuda:1", str(of_index.value))
    with pytest.raises(ps.ArgumentError, match=r'unknown device "gpu": give cpu, auto, cuda'):
        ps.Engine(tmp_path / "c.catalog", dim=DIM, index_device="gpu")
    with pytest.raises(
        ps.ArgumentError, match=r'index "HNSW32" with index_device cpu: a device compares every reference'
    ):
        ps.Engine(tmp_path / "c.catalog", dim=DIM, index_device="onnx:cpu", index="HNSW32")
    with pytest.warns(UserWarning, match="index_device auto searches on the processor: .*CUDA"):
        engine = ps.Engine(tmp_path / "c.catalog", dim=DIM, index_device="auto")
    with engine:
        engine.add_vectors(["one"], unit(1, 1))
        assert engine.search_vector(unit(1, 1)[0])[0].item == "one"
