"""Words of items beside the other options of a search: scores, fusions, exclusion, diversity and probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

import plushie_search as ps
from plushie_search import Query

pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")

COUNT = 400
#: Every item of these has the word.
WALNUT = {f"item-{number}" for number in range(0, COUNT, 50)}
PICTURE = np.full((8, 8, 3), 90, np.uint8)


def fill(engine: ps.Engine) -> None:
    dice = np.random.default_rng(11)
    ids = [f"item-{number}" for number in range(COUNT)]
    texts = ["a walnut" if id in WALNUT else "a thing" for id in ids]
    engine.add_vectors(ids, dice.standard_normal((COUNT, toy.DIM)), texts=texts)
    engine.add_vectors(ids[::2], dice.standard_normal((COUNT // 2, toy.DIM)))


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        fill(engine)
        yield engine


def fused(plain: ps.Results, depth: int) -> list[str]:
    """The order of the items of which some have one word, by reciprocal ranks."""

    def key(place: int) -> float:
        words = 1 / (60 + len(WALNUT)) if plain[place].item in WALNUT else 0.0
        return 1 / (61 + min(place, depth)) + words

    return [plain[place].item for place in sorted(range(len(plain)), key=lambda place: (-key(place), place))]


@pytest.mark.parametrize("aggregate", ["max", "mean", "softmax"])
@pytest.mark.parametrize("fusion", ["weighted", "sum", "rrf", "dbsf"])
def test_items_far_from_the_vector_have_their_scores(engine: ps.Engine, fusion: Any, aggregate: Any) -> None:
    how: Any = {"fusion": fusion, "aggregate": aggregate}
    plain = engine.search_text("walnut", k=COUNT, words=False, **how)
    assert any(hit.item in WALNUT for hit in plain[150:])
    hits = engine.search_text("walnut", k=12, **how)
    expected = fused(plain, 100 if fusion in ("weighted", "sum") else COUNT)
    assert [hit.item for hit in hits] == expected[:12]
    assert {hit.item for hit in hits if hit.matched} == {item for item in expected[:12] if item in WALNUT}
    scores = {hit.item: (hit.score, hit.scores["toy"], hit.reference) for hit in plain}
    for hit in hits:
        score, cosine, reference = scores[hit.item]
        assert (hit.score, hit.scores["toy"]) == pytest.approx((score, cosine), abs=1e-6)
        assert hit.reference == reference


def test_all_far_items_of_a_whole_field_are_compared(engine: ps.Engine) -> None:
    plain = engine.search_text("a walnut", k=COUNT, words=False)
    expected = [hit.item for hit in plain if hit.item in WALNUT]
    for k in (1, 3, 8, 9):
        assert [hit.item for hit in engine.search_text("a walnut", k=k)][:8] == expected[:k]
    least = next(hit.score for hit in plain if hit.item == expected[2])
    found = engine.search_text("a walnut", k=COUNT, min_score=least - 1e-5)
    assert [hit.item for hit in found][:3] == expected[:3]
    assert {hit.item for hit in found} == {hit.item for hit in plain if hit.score >= least - 1e-5}


@pytest.mark.parametrize("fusion", ["weighted", "sum", "rrf", "dbsf"])
def test_texts_beside_pictures_keep_their_scores(engine: ps.Engine, fusion: Any) -> None:
    query = Query(image=PICTURE, text="walnut")
    scores = {hit.item: hit.score for hit in engine.search(query, k=COUNT, words=False, fusion=fusion)}
    hits = engine.search(query, k=12, words=True, fusion=fusion)
    assert [hit.score for hit in hits] == pytest.approx([scores[hit.item] for hit in hits], abs=1e-6)
    assert hits[0].matched == ("text",)
    least = sorted(scores.values())[-5]
    hits = engine.search(query, k=COUNT, words=True, fusion=fusion, min_score=least - 1e-6)
    assert {hit.item for hit in hits} == {item for item, score in scores.items() if score >= least - 1e-6}


@pytest.mark.parametrize("share", [1.0, 0.8, 0.4])
def test_hits_differ_after_words_have_ordered_them(engine: ps.Engine, share: float) -> None:
    left = list(engine.search_text("walnut", k=8 * 6, vectors=True))
    scores = sorted((hit.score for hit in left), reverse=True)
    relevance = {hit.item: score for hit, score in zip(left, scores, strict=True)}
    chosen = [left.pop(0)]
    while len(chosen) < 6:

        def gain(hit: ps.Hit) -> float:
            cosines = [float(hit.vectors["toy"] @ one.vectors["toy"]) for one in chosen]  # type: ignore[index]
            return share * relevance[hit.item] - (1 - share) * max(cosines)

        chosen.append(left.pop(int(np.argmax([gain(hit) for hit in left]))))
    hits = engine.search_text("walnut", k=6, mmr=share)
    assert [(hit.item, hit.matched) for hit in hits] == [(hit.item, hit.matched) for hit in chosen]


def test_excluded_items_leave_their_places_to_others(engine: ps.Engine) -> None:
    hits = engine.search_text("walnut", k=12)
    without = engine.search_text("walnut", k=10, exclude=[hits[0].item, hits[3].item])
    assert [hit.item for hit in without] == [hit.item for hit in hits if hit.item not in (hits[0].item, hits[3].item)]


def test_words_alone_exclude_and_know_no_diversity(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "catalog", dim=toy.DIM) as engine:
        fill(engine)
        hits = engine.search_text("walnut", k=3)
        assert {hit.item for hit in hits} < WALNUT
        without = engine.search_text("walnut", k=2, exclude=hits[0].item)
        assert [hit.item for hit in without] == [hit.item for hit in hits[1:]]
        with pytest.raises(ps.ModelError, match="text"):
            engine.search_text("walnut", mmr=0.5)


def test_probabilities_stay_with_their_items(engine: ps.Engine) -> None:
    assert engine.search_text("walnut")[0].probability is None
    known = ["red", "pink", "brown", "bear", "rabbit", "scarf"]
    dice = np.random.default_rng(3)
    asked = [" ".join(dice.permutation(known)[:4]) for _ in range(30)]
    labels = [engine.search_text(text, k=2, words=False)[number % 5 == 0].item for number, text in enumerate(asked)]
    engine.calibrate([(Query(text=text), label) for text, label in zip(asked, labels, strict=True)])
    plain = {hit.item: hit.probability for hit in engine.search_text("walnut", k=COUNT, words=False)}
    assert len(set(plain.values())) > 100
    hits = engine.search_text("walnut", k=12)
    assert any(hit.matched for hit in hits)
    for hit in hits:
        assert hit.probability == pytest.approx(plain[hit.item], rel=1e-4)
    found = engine.identify(Query(text="walnut"))
    assert [hit.item for hit in found.hits] == list(plain)[:5]
