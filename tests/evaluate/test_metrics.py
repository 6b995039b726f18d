"""Figures of ranked lists and open-set decisions, against scikit-learn and cases computed by hand."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from plushie_search import metrics

#: The scores of items in the order of their numbers, different from each other, and their grades.
SCORED = st.integers(2, 12).flatmap(
    lambda n: st.tuples(st.permutations(range(n)), st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
)


def judged(scores: list[int], grades: list[int]) -> metrics.Rankings:
    ranked = np.argsort(scores)[::-1]
    return metrics.Rankings([ranked], [dict(enumerate(map(float, grades)))])


@given(SCORED)
def test_average_precision_is_that_of_scikit_learn(scored: tuple[list[int], list[int]]) -> None:
    scores, grades = scored
    found = judged(scores, grades).average_precision()
    assert found == pytest.approx(average_precision_score(np.array(grades) > 0, scores))


@given(SCORED, st.integers(1, 14))
def test_ndcg_is_that_of_scikit_learn(scored: tuple[list[int], list[int]], k: int) -> None:
    scores, grades = scored
    assert judged(scores, grades).ndcg(k) == pytest.approx(ndcg_score([grades], [scores], k=k))
    assert judged(scores, grades).ndcg() == pytest.approx(ndcg_score([grades], [scores]))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_the_area_is_that_of_scikit_learn(known: list[int], unknown: list[int]) -> None:
    truth = [1] * len(known) + [0] * len(unknown)
    found = metrics.open_set(known, unknown, rounds=10)
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, known + unknown))


def test_figures_of_two_queries() -> None:
    lists = metrics.Rankings([["a", "b", "c", "d"], ["x", "y"]], [{"b", "d", "e"}, ["z"]])
    assert len(lists) == 2
    assert lists.ranks.tolist() == [2, 0]
    assert lists.hit(1).tolist() == [0, 0]
    assert lists.hit(2).tolist() == [1, 0]
    assert lists.precision(5).tolist() == [0.4, 0]
    assert lists.recall(4) == pytest.approx([2 / 3, 0])
    assert lists.average_precision() == pytest.approx([(1 / 2 + 2 / 4) / 3, 0])
    assert lists.average_precision(3) == pytest.approx([(1 / 2) / 3, 0])
    assert lists.reciprocal_rank().tolist() == [0.5, 0]
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert lists.ndcg(4) == pytest.approx([(1 / math.log2(3) + 1 / math.log2(5)) / best, 0])
    assert repr(lists) == "Rankings(queries=2)"


def test_ranks_are_enough_where_one_item_is_right() -> None:
    lists = metrics.Rankings.from_ranks(np.array([1, 3, 0], np.int32))
    assert lists.hit(2).tolist() == [1, 0, 0]
    assert lists.recall(3).tolist() == [1, 1, 0]
    assert lists.precision(2).tolist() == [0.5, 0, 0]
    assert lists.reciprocal_rank() == pytest.approx([1, 1 / 3, 0])
    assert lists.average_precision() == pytest.approx([1, 1 / 3, 0])
    assert lists.ndcg() == pytest.approx([1, 1 / 2, 0])
    assert lists.reciprocal_rank(2).tolist() == [1, 0, 0]


def test_numbers_and_names_are_ids() -> None:
    ranked = np.array([[3, 1], [2, 4]])
    assert metrics.Rankings(ranked, [{1}, {2}]).ranks.tolist() == [2, 1]
    assert metrics.Rankings([(1, 2)], [{"1"}]).ranks.tolist() == [0]
    assert metrics.Rankings([], []).hit(1).tolist() == []


@pytest.mark.parametrize(
    ("ranked", "relevant", "message"),
    [
        ([["a", "b", "a"]], [{"a"}], 'query 0: "a" is in the ranked list twice'),
        ([["a"], [7, 7]], [{"a"}, {7}], "query 1: 7 is in the ranked list twice"),
        ([["a"]], [set()], "query 0 has no relevant item"),
        ([["a"]], [{"a": 0.0}], "query 0 has no relevant item"),
        ([["a"]], [{"a": -1.0}], 'the grade of "a" is -1'),
        ([["a"]], [], "1 ranked lists but 0 sets of relevant items"),
    ],
)
def test_meaningless_arguments_are_refused(ranked: list, relevant: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        metrics.Rankings(ranked, relevant)


def test_wrong_types_and_numbers_are_refused() -> None:
    for wrong in ("ab", ["ab"], [[1.5]], 3):
        with pytest.raises(TypeError):
            metrics.Rankings(wrong, [{"a"}])  # type: ignore[arg-type]
    lists = metrics.Rankings.from_ranks([1])
    for k in (0, -3):
        with pytest.raises(ValueError, match="k must be at least 1"):
            lists.hit(k)
    with pytest.raises(ValueError, match="ranks start at 1"):
        metrics.Rankings.from_ranks([1, -1])


def test_an_interval_is_that_of_a_bootstrap_written_out() -> None:
    dice = np.random.default_rng(3)
    values = dice.random(80)
    drawn = values[dice.integers(80, size=(40_000, 80))].mean(1)
    found = metrics.mean(values, rounds=40_000)
    assert found.value == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.002)
    assert metrics.mean(values, seed=7) == metrics.mean(values, seed=7) != metrics.mean(values, seed=8)
    wide, narrow = metrics.mean(values, confidence=0.99), metrics.mean(values, confidence=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_queries_of_one_item_are_drawn_together() -> None:
    values = np.repeat(np.arange(50) % 2, 8).astype(float)
    items = [f"item {number}" for number in np.repeat(np.arange(50), 8)]
    alone, together = metrics.mean(values), metrics.mean(values, groups=items)
    one_each = metrics.mean(values[::8])
    assert (together.low, together.high) == (one_each.low, one_each.high)
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(8), rel=0.1)


def test_a_difference_keeps_its_pairs() -> None:
    hard = np.linspace(0, 1, 200)
    found = metrics.difference(hard, hard + 0.01)
    assert found == pytest.approx((0.01, 0.01, 0.01))
    with pytest.raises(ValueError, match="3 values cannot be paired with 2"):
        metrics.difference([1, 0, 1], [1, 0])


def test_accepts_and_rejects_at_a_threshold() -> None:
    known, unknown = np.arange(100) / 100, np.array([0.04, 0.05, 0.5, 0.995])
    found = metrics.open_set(known, unknown, false_reject_rate=0.05)
    assert (found.threshold, found.false_reject_rate) == (0.05, 0.05)
    assert found.false_accept_rate.value == 0.75
    assert found.false_accept_rate.low < 0.75 < found.false_accept_rate.high
    assert found.auroc.low < found.auroc.value < found.auroc.high
    with pytest.raises(ValueError, match="no unknown scores"):
        metrics.open_set([0.5], [])


def test_the_interval_of_the_area_is_that_of_hanley_and_mcneil() -> None:
    """Their standard error for scores from two exponential distributions, as in the paper's section on its size."""
    dice = np.random.default_rng(1)
    known, unknown = dice.exponential(3, 400), dice.exponential(1, 300)
    found = metrics.open_set(known, unknown).auroc
    area = found.value
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = math.sqrt((area * (1 - area) + 399 * (q1 - area**2) + 299 * (q2 - area**2)) / (400 * 300))
    assert [found.low, found.high] == pytest.approx([area - 1.96 * error, area + 1.96 * error], abs=0.006)


def test_confusions_count_the_first_items() -> None:
    found = metrics.confusions(["bear", "bear", "cat", "bear"], ["dog", None, "dog", "dog"])
    assert found == [("bear", "dog", 2, 3), ("cat", "dog", 1, 1)]
    assert (found[0].instead, found[0].queries) == ("dog", 3)
    assert metrics.confusions(["a", "b"], ["b", "a"], worst=1) == [("a", "b", 1, 1)]
    with pytest.raises(ValueError, match="1 items but 2 wrong ones"):
        metrics.confusions(["a"], [None, None])


def test_the_examples_of_the_module_run() -> None:
    flags = doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(metrics, optionflags=flags)
    assert results.attempted >= 4
    assert results.failed == 0
