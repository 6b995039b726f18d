"""Calibrations of a catalog in Milvus are those of the local engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pixels import Pixels, pixel

import plushie_search as ps
from plushie_search import _core

ITEMS, KNOWN, DIM = 80, 60, 24


def rows(noise: float, seed: int) -> Any:
    """Vectors of three pictures of each item: two references and a query."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(ITEMS, 1, DIM)) + noise * random.normal(size=(ITEMS, 3, DIM))
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


#: The first model sees less than the second.
ROWS = {"first": rows(1.2, 0), "second": rows(0.5, 1)}
QUERIES = [(pixel(3 * item + 2), f"item {item}" if item < KNOWN else None) for item in range(ITEMS)]


def models() -> list[Pixels]:
    return [Pixels(own.reshape(-1, DIM), name) for name, own in ROWS.items()]


def fill(engine: Any) -> None:
    ids = [f"item {item}" for item in range(KNOWN) for _ in range(2)]
    engine.add_vectors(ids, {name: own[:KNOWN, :2].reshape(-1, DIM) for name, own in ROWS.items()})


@pytest.fixture
def local(tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=models()) as engine:
        fill(engine)
        yield engine


def test_labeled_pictures_change_what_is_identified_as_in_an_engine(
    local: ps.Engine, open_milvus: Callable[..., Any]
) -> None:
    milvus = open_milvus(model=models())
    fill(milvus)
    assert milvus.stats()["calibration"] == []
    before = milvus.identify(QUERIES[0][0], models="second")
    made, wanted = (one.calibrate(QUERIES[::4], models="second") for one in (milvus, local))
    for name in ("model", "kind", "genuine", "impostors", "queries", "items", "weights", "learned"):
        assert getattr(made, name) == getattr(wanted, name), name
    fit = local._core.fit_of_pictures(models="second")
    assert made.threshold == pytest.approx(_core.judge(fit, [], [], gallery=KNOWN, target_fpr=0.01, prior=0.5)[3])
    assert milvus.stats()["calibration"][0]["queries"] == 20
    picture = QUERIES[0][0]
    found = milvus.identify(picture, models="second")
    assert found.threshold == pytest.approx(made.threshold)
    assert found.threshold != pytest.approx(before.threshold, abs=1e-6)
    scores = [hit.score for hit in local.search_image(picture, models="second", k=11, fusion="sum")]
    told = _core.judge(fit, scores, scores, gallery=KNOWN, target_fpr=0.01, prior=0.5)
    assert (found.verdict, len(found.plausible)) == (told[0], told[4])
    assert [hit.probability for hit in found.hits] == pytest.approx(told[5][:5], abs=1e-4)
    known = milvus.identify([picture for picture, _ in QUERIES[:KNOWN]], models="second")
    missed = np.mean([one.item != item for one, (_, item) in zip(known, QUERIES, strict=False)])
    assert missed == pytest.approx(made.false_reject_rate, abs=0.15)


def test_learned_weights_look_pictures_up_from_then_on(local: ps.Engine, open_milvus: Callable[..., Any]) -> None:
    milvus = open_milvus(model=models())
    fill(milvus)
    pictures = [picture for picture, _ in QUERIES]
    assert [hits[0].item for hits in milvus.search_image(pictures)] == [
        hits[0].item for hits in local.search_image(pictures)
    ]
    made, wanted = (one.calibrate() for one in (milvus, local))
    assert wanted.learned is not None
    assert wanted.learned.used
    assert (made.weights, made.learned) == (wanted.weights, wanted.learned)
    for found, other in zip(milvus.search_image(pictures, k=4), local.search_image(pictures, k=4), strict=True):
        assert [hit.item for hit in found] == [hit.item for hit in other]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in other], abs=1e-5)
    answers = milvus.identify(pictures)
    assert [one.item for one in answers[:KNOWN]].count(None) < KNOWN / 2
    assert all(one.item in (None, f"item {n}") for n, one in enumerate(answers[:KNOWN]))


def test_queries_that_cannot_be_calibrated_are_refused(open_milvus: Callable[..., Any]) -> None:
    milvus = open_milvus(model=models())
    fill(milvus)
    with pytest.raises(ps.UnknownItemError, match="there is no item 'item 999'"):
        milvus.calibrate([(pixel(0), "item 999")])
    with pytest.raises(ps.UnsupportedError, match="pictures alone: give pictures, or use an Engine"):
        milvus.calibrate([(ps.Query(text="bear"), "item 1")])
    with pytest.raises(ps.ArgumentError, match="items, vectors or negative weights"):
        milvus.calibrate([(ps.Query(item="item 2"), "item 1")])
    with pytest.raises(ps.ArgumentError, match='this engine has no model "third"'):
        milvus.calibrate(models=["first", "third"])
    assert milvus.stats()["calibration"] == []
