"""Queries that make little sense: each has an answer, or an error that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from test_engine import shade

import plushie_search as ps

pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")


@pytest.fixture(scope="module")
def engine(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path_factory.mktemp("bad") / "c", model=toy_model, threads=1) as engine:
        for number in range(10):
            engine.add(f"item-{number}", images=shade(25 * number), label="bear", text="a red thing")
        yield engine


def opposite(engine: ps.Engine, vector: Any) -> list[str]:
    """The items, those that are the least like a vector first."""
    return sorted((item.id for item in engine), key=lambda id: float(engine.vectors(id)[0] @ vector))


@pytest.mark.parametrize("fusion", ["weighted", "sum"])
def test_a_query_of_negative_parts_alone_finds_what_is_least_like_them(engine: ps.Engine, fusion: Any) -> None:
    text, image = engine.encode_texts(["red"])[0], engine.encode_images([shade(40)])[0]
    hits = engine.search(ps.Query(text=[("red", -1)]), k=10, fusion=fusion)
    assert [hit.item for hit in hits] == opposite(engine, text)
    # A query of negative texts alone has no words to look up, and no probability.
    assert all(hit.matched == () and hit.probability is None for hit in hits)
    hits = engine.search(ps.Query(image=[(shade(40), -0.5)]), k=10, fusion=fusion)
    assert [hit.item for hit in hits] == opposite(engine, image)
    assert hits[0].score == pytest.approx(float(-engine.vectors(hits[0].item)[0] @ image), abs=1e-6)


@pytest.mark.parametrize(
    "query",
    [
        ps.Query(text=[("red", 1), ("red", -1)]),
        ps.Query(text=[("red", 0.3), ("red", -0.1), ("red", -0.2)]),
        ps.Query(image=[(shade(9), 1), (shade(9), -1)], text="red"),
        ps.Query(item=[("item-1", 2), ("item-1", -2)]),
    ],
)
def test_parts_that_cancel_each_other_out_are_told(engine: ps.Engine, query: ps.Query) -> None:
    for call in (engine.search, lambda query: engine.search([ps.Query(text="red"), query])):
        with pytest.raises(ps.ArgumentError, match=r"the parts of query [01] cancel each other out: nothing is left"):
            call(query)


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e20])
def test_only_the_ratio_of_weights_counts(engine: ps.Engine, size: float) -> None:
    wanted = engine.search(ps.Query(text=[("red", 1), ("teddy", -0.5)]), k=5)
    hits = engine.search(ps.Query(text=[("red", size), ("teddy", -0.5 * size)]), k=5)
    assert [hit.item for hit in hits] == [hit.item for hit in wanted]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in wanted], abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf"), -float("inf"), 1e39])
def test_a_weight_that_is_no_number_is_refused(engine: ps.Engine, weight: float) -> None:
    with pytest.raises(ps.ArgumentError, match="weights must be finite and not zero"):
        engine.search(ps.Query(text=[("red", weight)]))


def test_what_is_not_there_is_named(engine: ps.Engine) -> None:
    for call, error, said in [
        (lambda: engine.search(ps.Query(item="lion")), KeyError, "lion"),
        (lambda: engine.search(ps.Query(text="red", item=[("lion", -1)])), KeyError, "lion"),
        (lambda: engine.search_text("red", models="none"), ps.ArgumentError, 'no model "none"'),
        (lambda: engine.search_text("red", models={"toy": 1, "none": 1}), ps.ArgumentError, 'no model "none"'),
        (lambda: engine.search(ps.Query()), ps.ArgumentError, "needs at least one picture, text, item or vector"),
        (lambda: engine.search_text(""), ps.ArgumentError, "the text is empty"),
        (lambda: engine.search(ps.Query(text=[])), ps.ArgumentError, "needs at least one"),
        (lambda: engine.classify(shade(3), ["bear", "lion"], by="images"), ps.ArgumentError, "the label 'lion'"),
    ]:
        with pytest.raises(error, match=said):
            call()
    # An excluded item need not be there.
    assert len(engine.search_text("red", k=10, exclude="lion")) == 10


def test_one_item_is_found_by_everything(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        engine.add("only", images=shade(80), label="bear")
        for query in (
            ps.Query(image=shade(3)),
            ps.Query(text="red"),
            ps.Query(text=[("red", -1)]),
            ps.Query(image=shade(3), text="red"),
            ps.Query(vector=np.ones(toy.DIM)),
        ):
            for fusion in ("weighted", "sum", "rrf", "dbsf"):
                hits = engine.search(query, k=5, fusion=fusion)  # type: ignore[arg-type]
                assert ([hit.item for hit in hits], hits.cursor) == (["only"], None)
                assert np.isfinite(hits[0].score)
        assert list(engine.search(ps.Query(item="only"))) == []
        assert engine.identify(shade(80)).hits[0].item == "only"
        assert len(engine.search_image(shade(3), mmr=0.5)) == 1
        with pytest.raises(ps.ArgumentError, match="only the label 'bear'"):
            engine.classify(shade(3))


def test_an_empty_catalog_finds_nothing(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        for query in (ps.Query(image=shade(3)), ps.Query(text="red"), ps.Query(image=shade(3), text="red")):
            hits = engine.search(query)
            assert (list(hits), hits.cursor) == ([], None)


def test_one_picture_under_two_items_ties_in_the_order_of_adding(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        for id in ("z", "a", "m"):
            engine.add(id, images=shade(60), label="twin")
        engine.add("other", images=shade(61), label="other")
        hits = engine.search_image(shade(60), k=3)
        assert [hit.item for hit in hits] == ["z", "a", "m"]
        assert len({hit.score for hit in hits}) == 1
        assert [hit.item for hit in engine.search_text("red", words=False, k=9) if hit.item != "other"] == [
            "z",
            "a",
            "m",
        ]
        assert engine.identify(shade(60)).verdict != "match"
        assert engine.classify(shade(60), by="images")[0].name == "twin"
