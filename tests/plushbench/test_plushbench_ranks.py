"""Ranks that are counted while items pass by, against hand-computed cases and a search that keeps everything."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from plushie_search.plushbench import ranks
from plushie_search.plushbench.ranks import Ranks, best_of_first, stream


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def naive(queries: np.ndarray, own: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks and best scores by 1, 2 ... references, from the whole table of cosines."""
    table = np.einsum("qd,ird->rqi", queries.astype(np.float64), gallery.astype(np.float64))
    table = np.maximum.accumulate(table, axis=0)
    found = []
    for scores in table:
        mine = scores[np.arange(len(own)), own]
        others = scores.copy()
        others[np.arange(len(own)), own] = -np.inf
        found.append(1 + (others >= mine[:, None] - ranks.TIE).sum(1))
    return np.array(found), table.max(2)


def test_ranks_by_hand() -> None:
    # Three items with two references each, in the plane; one query along the first axis.
    angles = np.radians([[50, 10], [20, 90], [60, 30]])
    gallery = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    queries = np.array([[1, 0]] * 4, np.float32)
    own = np.array([0, 1, 2, -1])
    own_scores = np.stack([best_of_first(queries[row : row + 1], gallery[own[row]][None])[:, 0] for row in range(3)], 1)
    np.testing.assert_allclose(own_scores, np.cos(np.radians([[50, 20, 60], [10, 20, 30]])), atol=1e-6)
    counted = Ranks(queries, own, np.concatenate([own_scores, np.full((2, 1), np.inf)], 1).astype(np.float32))
    counted.pass_by(gallery[:2])
    counted.pass_by(gallery[2:])
    assert counted.passed == 3
    # By the first reference: item 1 at 20 degrees, item 0 at 50, item 2 at 60. By both: 10, 20 and 30 degrees.
    assert counted.ranks()[:, :3].tolist() == [[2, 1, 3], [1, 2, 3]]
    np.testing.assert_allclose(counted.best, np.cos(np.radians([[20] * 4, [10] * 4])), atol=1e-6)


def test_a_tie_counts_against_us() -> None:
    gallery = np.array([[[1, 0]], [[1, 0]], [[0, 1]]], np.float32)
    queries, own = unit(np.array([[1.0, 0.2]])), np.array([0])
    counted = Ranks(queries, own, best_of_first(queries, gallery[own]))
    counted.pass_by(gallery)
    assert counted.ranks().tolist() == [[2]]


def test_distractors_count_for_their_queries_alone() -> None:
    gallery = unit(np.array([[[1.0, 0.5]], [[0.5, 1.0]]]))
    queries, own = unit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])), np.array([0, 1, 0])
    counted = Ranks(queries, own, best_of_first(queries, gallery[own]))
    counted.pass_by(gallery)
    counted.distract(unit(np.array([[[1.0, 0.1]], [[1.0, 0.2]], [[-1.0, 0.0]]])), np.array([0, 1]))
    assert counted.ranks().tolist() == [[3, 1, 1]]
    assert counted.best[0, 2] == pytest.approx(np.cos(np.arctan(0.5)))


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(3)
    gallery = unit(dice.normal(size=(700, 3, 8)))
    gallery[40] = gallery[41]  # an exact copy
    own = dice.integers(700, size=1500)
    own[0], own[1] = 40, 41
    queries = unit(gallery[own, dice.integers(3, size=1500)] + 0.2 * dice.normal(size=(1500, 8)))
    return queries, own, gallery


def counted(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Ranks:
    queries, own, gallery = case
    return Ranks(queries, own, best_of_first(queries, gallery[own]))


def test_a_stream_finds_the_same_as_a_whole_search(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    queries, own, gallery = case
    found = counted(case)
    sizes = []
    stream(found, lambda first, end: (sizes.append(end - first), gallery[first:end])[1], len(gallery))
    assert sizes == [256, 256, 188]
    expected, best = naive(queries, own, gallery)
    assert 1 < np.median(expected) < 100
    np.testing.assert_array_equal(found.ranks(), expected)
    np.testing.assert_allclose(found.best, best, atol=1e-6)


def test_a_stream_that_is_cut_goes_on(case: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    gallery = case[2]
    whole = counted(case)
    stream(whole, lambda first, end: gallery[first:end], len(gallery))
    file = tmp_path / "ranks.npz"
    cut = counted(case)

    def fails(first: int, end: int) -> np.ndarray:
        if first >= 512:
            raise KeyboardInterrupt
        return gallery[first:end]

    with pytest.raises(KeyboardInterrupt):
        stream(cut, fails, len(gallery), checkpoint=file, every=1)
    again = counted(case)
    again.load(file)
    assert again.passed == 512
    asked = []
    stream(again, lambda first, end: (asked.append(first), gallery[first:end])[1], len(gallery), checkpoint=file)
    assert asked == [512]
    np.testing.assert_array_equal(again.ranks(), whole.ranks())
    np.testing.assert_array_equal(again.best, whole.best)
    assert [path.name for path in tmp_path.iterdir()] == ["ranks.npz"]


def test_memory_does_not_grow_with_the_items() -> None:
    dice = np.random.default_rng(0)
    pool = unit(dice.normal(size=(256, 2, 32)))
    queries, own = unit(dice.normal(size=(300, 32))), np.arange(300) % 256

    def peak(items: int) -> int:
        tracemalloc.start()
        counted = Ranks(queries, own, best_of_first(queries, pool[own]))
        stream(counted, lambda first, end: pool[: end - first].copy(), items)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(256)
    assert peak(256 * 40) < 1.05 * peak(256 * 4)
