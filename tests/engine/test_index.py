"""The exact index from Python: against numpy, and what it refuses."""

import threading

import numpy as np
import pytest

from plushie_search import Index


def unit(array: np.ndarray) -> np.ndarray:
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((500, 24), dtype=np.float32)


@pytest.fixture
def index(vectors: np.ndarray) -> Index:
    index = Index(24)
    index.add(np.arange(500), vectors, items=np.arange(500) // 2)
    return index


def best(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The scores and items by numpy: each item owns two vectors that follow each other."""
    scores = (unit(vectors) @ unit(query)).reshape(-1, 2).max(axis=1)
    order = np.argsort(-scores)[:k]
    return scores[order], order


def test_it_finds_the_same_as_numpy(index: Index, vectors: np.ndarray) -> None:
    queries = np.random.default_rng(2).standard_normal((40, 24))  # float64 and not of length 1: converted
    scores, items, references = index.search(queries, k=7)
    assert (scores.dtype, items.dtype, references.dtype) == (np.float32, np.int64, np.int64)
    for i, query in enumerate(queries):
        expected_scores, expected_items = best(vectors, query, 7)
        np.testing.assert_allclose(scores[i], expected_scores, atol=1e-6)
        np.testing.assert_array_equal(items[i], expected_items)
        np.testing.assert_allclose(unit(vectors[references[i]]) @ unit(query), scores[i], atol=1e-6)
    np.testing.assert_array_equal(items, references // 2)
    alone = [index.search(query[None], k=7)[1][0] for query in queries]
    np.testing.assert_array_equal(alone, items)


def test_only_allowed_items_count_and_gaps_are_marked(index: Index, vectors: np.ndarray) -> None:
    scores, items, references = index.search(vectors[6:7], k=5, allowed=[3, 4], min_score=0.99)
    assert items.tolist() == [[3, -1, -1, -1, -1]]
    assert references.tolist() == [[6, -1, -1, -1, -1]]
    assert scores[0, 0] == pytest.approx(1, abs=1e-6)
    assert np.isneginf(scores[0, 1:]).all()
    assert index.search(vectors[:2], k=5, allowed=[])[1].tolist() == [[-1] * 5] * 2


def test_removed_vectors_are_gone_and_added_ones_replace(index: Index, vectors: np.ndarray) -> None:
    assert index.remove([6, 6, 999]) == 1
    assert index.search(vectors[6:7], k=1)[2][0, 0] != 6
    index.add([7], vectors[6:7], items=[1000])
    assert index.search(vectors[6:7], k=1)[1].tolist() == [[1000]]
    assert (len(index), index.dim, repr(index)) == (499, 24, "Index(dim=24, references=499, items=250)")
    assert index.remove(np.arange(500)) == 499
    assert index.search(vectors[:3])[0].shape == (3, 0)


@pytest.mark.parametrize(
    ("references", "rows", "message"),
    [
        ([1, 2], np.ones((2, 12)), "vectors of 12 numbers in an index of 24"),
        ([1], np.ones((2, 24)), "1 references, 1 items and 48 numbers"),
        ([1, 1], np.ones((2, 24)), "reference 1 is given twice"),
        ([1, 2], np.zeros((2, 24)), "vector 0 is all zeros"),
        ([1, 2], np.full((2, 24), np.nan), "vector 0 has NaN"),
    ],
)
def test_bad_vectors_are_refused(index: Index, references: list[int], rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        index.add(references, rows)
    assert len(index) == 500


def test_bad_queries_are_refused(index: Index) -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(np.ones((1, 24)), k=0)
    with pytest.raises(ValueError, match="queries of 3 numbers cannot be compared with vectors of 24"):
        index.search(np.ones((1, 3)))
    with pytest.raises(ValueError, match="0 numbers cannot be indexed"):
        Index(0)


def test_threads_may_search_and_change_it_at_once(index: Index, vectors: np.ndarray) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(50):
                extra = 1000 + 100 * number + step
                index.add([extra], vectors[:1] + number + 1)
                assert index.search(vectors[10:12], k=1)[2].tolist() == [[10], [11]]
                assert index.remove([extra]) == 1
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(index) == 500
