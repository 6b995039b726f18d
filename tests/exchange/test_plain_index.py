"""Indexes by inner products and distances find what numpy and faiss find, for vectors of any length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_data import vectors

import plushie_search as ps

COUNT, DIM, K = 400, 9, 12


def scores(metric: str, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The score of each row for each query, in double precision."""
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return ((queries[:, None] - rows[None]) ** 2).sum(axis=2)
    if metric == "cosine":
        queries, rows = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (queries, rows))
    return queries @ rows.T


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_the_best_are_those_of_numpy(metric: Any) -> None:
    rows = vectors(COUNT, DIM) * np.random.default_rng(2).uniform(0.1, 9, (COUNT, 1)).astype(np.float32)
    queries = vectors(30, DIM, seed=1) * 3
    index = ps.Index(DIM, metric=metric)
    assert (index.metric, index.dim) == (metric, DIM)
    index.add(np.arange(COUNT), rows)
    found, items, references = index.search(queries, k=K)
    wanted = scores(metric, queries, rows)
    order = np.argsort(wanted if metric == "l2" else -wanted, axis=1)[:, :K]
    np.testing.assert_array_equal(items, order)
    np.testing.assert_array_equal(references, order)
    np.testing.assert_allclose(found, np.take_along_axis(wanted, order, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_scores_are_those_of_faiss(metric: Any) -> None:
    faiss = pytest.importorskip("faiss")
    rows, queries = vectors(COUNT, DIM) * 5, vectors(30, DIM, seed=1)
    index = ps.Index(DIM, metric=metric)
    index.add(np.arange(COUNT), rows)
    flat = faiss.IndexFlatIP(DIM) if metric == "ip" else faiss.IndexFlatL2(DIM)
    flat.add(rows)
    found, items, _ = index.search(queries, k=K)
    wanted, best = flat.search(queries, K)
    np.testing.assert_array_equal(items, best)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_changes_items_and_filters(metric: Any) -> None:
    rows, query = vectors(COUNT, DIM), vectors(1, DIM, seed=1)
    index = ps.Index(DIM, metric=metric)
    items = np.arange(COUNT) // 4
    index.add(np.arange(COUNT), vectors(COUNT, DIM, seed=7), items=items)
    index.add(np.arange(COUNT), rows, items=items)
    assert index.remove([3, 10, 3, 999]) == 2
    assert (len(index), repr(index)) == (COUNT - 2, f"Index(dim={DIM}, references={COUNT - 2}, items={COUNT // 4})")
    score = scores(metric, query, rows)[0] * (1 if metric == "l2" else -1)
    order = [row for row in np.argsort(score).tolist() if row not in (3, 10)]
    best: dict[int, int] = {}
    for row in order:
        best.setdefault(row // 4, row)
    _, found, references = index.search(query, k=1000)
    assert (found[0].tolist(), references[0].tolist()) == (list(best), list(best.values()))
    allowed = [item for item in best if item % 3 == 0]
    found_scores, found, _ = index.search(query, k=5, allowed=allowed)
    assert found[0].tolist() == allowed[:5]
    _, found, _ = index.search(query, k=1000, min_score=float(found_scores[0, 2]))
    assert found[0].tolist()[: list(best).index(allowed[2]) + 1] == list(best)[: list(best).index(allowed[2]) + 1]
    assert found[0, list(best).index(allowed[2]) + 1 :].max() == -1
    gap = np.inf if metric == "l2" else -np.inf
    few, ids, _ = index.search(query, k=3, allowed=[allowed[0]])
    assert (few[0, 1:].tolist(), ids[0].tolist()) == ([gap, gap], [allowed[0], -1, -1])


def test_what_means_nothing_is_refused() -> None:
    with pytest.raises(ps.ArgumentError, match='metric "dot": give "cosine", "ip" or "l2"'):
        ps.Index(4, metric="dot")  # type: ignore[arg-type]
    with pytest.raises(ps.ArgumentError, match="dim 0: give 1 to 65536"):
        ps.Index(0, metric="l2")
    index = ps.Index(4, metric="l2")
    with pytest.raises(ps.ArgumentError, match="vector 1 has NaN or infinite values"):
        index.add([1, 2], [[1, 2, 3, 4], [1, 2, 3, np.nan]])
    with pytest.raises(ps.ArgumentError, match="vectors of 3 numbers in an index of 4"):
        index.add([1], [[1, 2, 3]])
    with pytest.raises(ps.ArgumentError, match="1 references, 1 items and 8 numbers"):
        index.add([1], [[1, 2, 3, 4], [1, 2, 3, 4]])
    assert len(index) == 0
    index.add([1], [[0, 0, 0, 0]])
    with pytest.raises(ps.ArgumentError, match="queries of 2 numbers for vectors of 4"):
        index.search([[1, 2]])
    with pytest.raises(ps.ArgumentError, match="k must be at least 1"):
        index.search([[1, 2, 3, 4]], k=0)


def test_the_truth_of_sift_is_found(assets: Path) -> None:
    sift = np.load(assets / "vectors" / "sift5k" / "sift5k.npz")
    base, query, truth = (sift[name] for name in ("base", "query", "gt"))
    index = ps.Index(base.shape[1], metric="l2")
    index.add(np.arange(len(base)), base)
    _, found, _ = index.search(query, k=10)
    distances = scores("l2", query, base)
    limit = np.take_along_axis(distances, truth[:, 9:10].astype(np.int64), axis=1)
    # Rows as near as the tenth may take its place.
    assert (np.take_along_axis(distances, found, axis=1) <= limit).all()
    assert np.mean([len({*a} & {*b}) for a, b in zip(found.tolist(), truth[:, :10].tolist(), strict=True)]) > 9.9
