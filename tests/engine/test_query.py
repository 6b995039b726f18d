"""Queries of pictures, texts, items and vectors, and how their scores are fused: against numpy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import toy
from numpy.typing import NDArray
from test_engine import shade

import plushie_search as ps

Vectors = dict[str, NDArray[np.float32]]
ITEMS = {f"item-{n}": [shade(1 + 3 * n + m) for m in range(1 + n % 3)] for n in range(30)}
WEIGHTS = {"eye": 0.3, "toy": 0.7}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ps.Engine]:
    """Thirty items of one to three pictures, seen by two models."""
    home = tmp_path_factory.mktemp("query")
    eye = toy.write(
        home / "eye",
        name="eye",
        dimension=4,
        image={"file": "image.onnx", "preprocess": {**toy.PREPROCESS, "mean": [0, 0, 0]}},
        text=None,
        languages=[],
    )
    weights = np.random.default_rng(8).normal(size=(3, 4)).astype(np.float32)
    onnx.save(toy.image_tower(weights=weights), eye / "image.onnx")
    with ps.Engine(home / "c", model=[eye, toy.write(home / "toy")], threads=2) as engine:
        for number, (id, pictures) in enumerate(ITEMS.items()):
            engine.add(id, images=pictures, label="even" if number % 2 == 0 else "odd", text=f"text of {id}")
        yield engine


@pytest.fixture(scope="module")
def stored(engine: ps.Engine) -> Vectors:
    """For each model the vectors of all references, in the order of the items."""
    return {model: np.concatenate([engine.vectors(id, model=model) for id in ITEMS]) for model in engine.models}


#: The item of each row of `stored`.
OWNERS = np.array([id for id, pictures in ITEMS.items() for _ in pictures])


def unit(vector: Any) -> NDArray[np.float64]:
    vector = np.asarray(vector, np.float64)
    return vector / np.linalg.norm(vector)


def grouped(scores: NDArray[Any], combine: Callable[[NDArray[Any]], float] = np.max) -> list[tuple[str, float]]:
    """Every item with its combined score, best first."""
    pairs = [(id, float(combine(scores[id == OWNERS]))) for id in ITEMS]
    return sorted(pairs, key=lambda pair: -pair[1])


def same(hits: Any, expected: list[tuple[str, float]]) -> bool:
    assert isinstance(hits, ps.Results)
    return [hit.item for hit in hits] == [id for id, _ in expected] and [hit.score for hit in hits] == pytest.approx(
        [score for _, score in expected], abs=1e-6
    )


def test_a_vector_in_a_query(engine: ps.Engine, stored: Vectors) -> None:
    vector = np.random.default_rng(1).normal(size=4)
    expected = grouped(stored["eye"] @ unit(vector))[:7]
    alone = engine.search_vector(vector, k=7)
    assert same(alone, expected)
    given: list[Any] = [vector, vector.tolist(), (vector, 2.0), [vector], {"eye": vector}, np.float32(vector) * 3]
    for one in given:
        assert same(engine.search(ps.Query(vector=one), k=7), expected)
    # Given once, it is scaled once: not a bit of a score differs.
    again = engine.search([ps.Query(vector=vector), ps.Query(vector=vector)], k=7)
    assert [hit.score for hit in engine.search(ps.Query(vector=vector), k=7)] == [hit.score for hit in alone]
    assert [hit.item for hit in again[1]] == [hit.item for hit in alone]
    opposite = engine.search(ps.Query(vector=(vector, -1.0)), k=7)
    assert same(opposite, grouped(stored["eye"] @ -unit(vector))[:7])
    two = np.random.default_rng(2).normal(size=(2, 4))
    both = engine.search(ps.Query(vector=[two[0], (two[1], -0.5)]), k=7)
    assert same(both, grouped(stored["eye"] @ unit(unit(two[0]) - 0.5 * unit(two[1])))[:7])
    assert (both.model, both[0].scores) == ("eye", {"eye": both[0].score})


def test_vectors_of_several_models_count_alike_by_default(engine: ps.Engine, stored: Vectors) -> None:
    chance = np.random.default_rng(3)
    vectors = {"toy": chance.normal(size=6), "eye": chance.normal(size=4)}
    for fusion in ("sum", "weighted"):
        how: Any = {"k": 5, "fusion": fusion}
        alike = fused({model: (stored[model] @ unit(vectors[model]), 0.5) for model in vectors}, fusion)
        for hits in (engine.search(ps.Query(vector=vectors), **how), engine.search_vector(vectors, **how)):
            assert same(hits, grouped(alike)[:5])
        weighted = engine.search(ps.Query(vector=vectors), models=WEIGHTS, **how)
        lists = {model: (stored[model] @ unit(vectors[model]), weight) for model, weight in WEIGHTS.items()}
        assert same(weighted, grouped(fused(lists, fusion))[:5])
    assert engine.search_vector(vectors, k=5) == engine.search_vector(vectors, k=5, fusion="weighted")


def fused(
    lists: dict[str, tuple[NDArray[np.float64], float]], fusion: str, *, bounded: str = ""
) -> NDArray[np.float64]:
    """The scores of references from those of several lists, each with its weight; all weights sum to 1."""
    above = {name: (scores - scores.mean()) / scores.std() for name, (scores, _) in lists.items()}
    if bounded:
        [words] = [scores for name, scores in above.items() if name != bounded]
        near, fits = np.tanh(above[bounded] / 2.5), np.maximum(0, 1 - (words.max() - words))
        above[bounded] = near + (above[bounded] - near) * fits
    weights = {name: weight for name, (_, weight) in lists.items()}
    total = sum(weight * above[name] for name, weight in weights.items())
    if fusion == "dbsf":
        return np.asarray(0.5 + total / 6)
    if fusion == "weighted":
        middle, spread = (sum(weight * of(scores) for scores, weight in lists.values()) for of in (np.mean, np.std))
        return np.asarray(middle + spread * total)
    return np.asarray(sum(weight * scores for scores, weight in lists.values()))


def test_words_count_beside_a_picture(engine: ps.Engine, stored: Vectors) -> None:
    picture, words = ITEMS["item-3"][0], "red scarf"
    seen = stored["toy"] @ unit(engine.encode_images([picture], model="toy")[0])
    read = stored["toy"] @ unit(engine.encode_texts([words])[0])
    lists = {"seen": (seen, 0.6), "read": (read, 0.4)}
    for fusion in ("weighted", "dbsf", "sum"):
        scores = fused(lists, fusion, bounded="seen" if fusion == "weighted" else "")
        if fusion == "sum":  # one vector, of length 1
            scores = scores / np.linalg.norm(
                0.6 * unit(engine.encode_images([picture], model="toy")[0])
                + 0.4 * unit(engine.encode_texts([words])[0])
            )
        hits = engine.search_hybrid(picture, words, image_weight=0.6, k=30, models="toy", fusion=fusion)
        assert same(hits, grouped(scores)), fusion
        few = engine.search_hybrid(picture, words, k=3, models="toy", fusion=fusion, where={"label": "odd"})
        assert same(few, [pair for pair in grouped(scores) if int(pair[0][5:]) % 2 == 1][:3]), fusion
    hits = engine.search_hybrid(picture, words, image_weight=0.6, k=30, models="toy")
    assert hits == engine.search_hybrid(picture, words, image_weight=0.6, k=30, models="toy", fusion="weighted")
    for hit in hits:
        place = next(row for row in np.flatnonzero(hit.item == OWNERS) if digests(engine)[row] == hit.digest)
        assert hit.scores == pytest.approx({"toy": 0.6 * seen[place] + 0.4 * read[place]}, abs=1e-6)
    ranks = {name: 1 + np.argsort(np.argsort(-scores.round(9), kind="stable")) for name, (scores, _) in lists.items()}
    for k in (0.0, 5.0):
        by_rank = 0.6 / (k + ranks["seen"]) + 0.4 / (k + ranks["read"])
        hits = engine.search_hybrid(picture, words, k=30, models="toy", fusion="rrf", rrf_k=k)
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in grouped(by_rank)], rel=1e-4)


def digests(engine: ps.Engine) -> list[str]:
    return [reference.digest for id in ITEMS for reference in engine.get(id).references]


def test_excluded_items_are_not_among_the_hits(engine: ps.Engine) -> None:
    whole = engine.search_image(shade(55), k=30)
    for out in ("item-3", ["item-3", whole[0].item], (whole[0].item,), "no such item"):
        names = {out} if isinstance(out, str) else set(out)
        hits = engine.search_image(shade(55), k=4, exclude=out)
        assert [hit.item for hit in hits] == [hit.item for hit in whole if hit.item not in names][:4]
        assert [hit.rank for hit in hits] == [1, 2, 3, 4]


def test_hits_may_differ_from_each_other(engine: ps.Engine, stored: Vectors) -> None:
    whole = engine.search_image(shade(55), k=30, models="eye", vectors=True)
    plain = engine.search_image(shade(55), k=3, models="eye", mmr=1.0)
    assert [hit.item for hit in plain] == [hit.item for hit in whole][:3]
    left = list(whole)[: 8 * 3]
    chosen = [left.pop(0)]
    while len(chosen) < 3:

        def gain(hit: ps.Hit) -> float:
            assert hit.vectors is not None
            return 0.4 * hit.score - 0.6 * max(float(hit.vectors["eye"] @ one.vectors["eye"]) for one in chosen)  # type: ignore[index]

        chosen.append(left.pop(int(np.argmax([gain(hit) for hit in left]))))
    hits = engine.search_image(shade(55), k=3, models="eye", mmr=0.4)
    assert [hit.item for hit in hits] == [hit.item for hit in chosen]
    assert [hit.item for hit in hits] != [hit.item for hit in plain]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, list])
def test_vectors_of_any_kind_of_number(engine: ps.Engine, stored: Vectors, kind: Any) -> None:
    rows = np.random.default_rng(4).normal(size=(3, 4)).astype(np.float16)
    given = rows.tolist() if kind is list else rows.astype(kind)
    answers = engine.search_vector(given, k=4)
    assert isinstance(answers, list)
    for hits, row in zip(answers, rows, strict=True):
        assert same(hits, grouped(stored["eye"] @ unit(row))[:4])
    assert same(engine.search_vector(given[0], k=4), grouped(stored["eye"] @ unit(rows[0]))[:4])


def test_more_like_an_item(engine: ps.Engine, stored: Vectors) -> None:
    mean = unit(stored["eye"][OWNERS == "item-5"].mean(axis=0))
    others = [pair for pair in grouped(stored["eye"] @ mean) if pair[0] != "item-5"]
    hits = engine.search(ps.Query(item="item-5"), k=8)
    assert same(hits, others[:8])
    assert (hits.model, [hit.rank for hit in hits]) == ("eye", list(range(1, 9)))
    assert same(engine.search(ps.Query(item="item-5"), k=100), others)
    several = engine.search(ps.Query(item="item-5"), k=8, models=WEIGHTS, fusion="sum")
    means = {model: unit(stored[model][OWNERS == "item-5"].mean(axis=0)) for model in WEIGHTS}
    sums = np.asarray(sum(weight * stored[model] @ means[model] for model, weight in WEIGHTS.items()))
    assert same(several, [pair for pair in grouped(sums) if pair[0] != "item-5"][:8])


def test_items_beside_other_parts(engine: ps.Engine, stored: Vectors) -> None:
    def mean(id: str) -> NDArray[np.float64]:
        return unit(stored["toy"][id == OWNERS].mean(axis=0))

    query = ps.Query(item=["item-4", ("item-9", -0.5)], text=("red scarf", 0.5), image=ITEMS["item-1"][0])
    text = unit(engine.encode_texts(["red scarf"])[0])
    picture = unit(engine.encode_images([ITEMS["item-1"][0]], model="toy")[0])
    asked = unit(picture + 0.5 * text + mean("item-4") - 0.5 * mean("item-9"))
    expected = [pair for pair in grouped(stored["toy"] @ asked) if pair[0] not in ("item-4", "item-9")]
    alone, plain = engine.search([query, ps.Query(text="red scarf")], k=6, models="toy", fusion="sum")
    assert same(alone, expected[:6])
    assert same(plain, grouped(stored["toy"] @ text)[:6])
    odd = engine.search(query, k=6, models="toy", where={"label": "odd"}, fusion="sum")
    assert same(odd, [pair for pair in expected if int(pair[0][5:]) % 2 == 1][:6])


def test_impossible_queries(engine: ps.Engine) -> None:
    with pytest.raises(KeyError, match="nothing"):
        engine.search(ps.Query(item="nothing"))
    for query, message in [
        (ps.Query(), "at least one picture, text, item or vector"),
        (ps.Query(vector=np.zeros(4)), "vector 0 is all zeros"),
        (ps.Query(vector=np.ones((2, 4))), r"vector: shape \(2, 4\) is not \(dim,\)"),
        (ps.Query(vector=np.ones(5)), "queries of 5 numbers cannot be compared with vectors of 4"),
        (ps.Query(vector={"nose": np.ones(5)}), 'no model "nose"'),
        (ps.Query(item=[("item-1", 1.0), ("item-1", -1.0)]), "cancel each other out"),
        (ps.Query(item=("item-1", 0.0)), "weights must be finite and not zero"),
    ]:
        with pytest.raises(ValueError, match=message):
            engine.search(query)
    options: list[tuple[dict[str, Any], str]] = [
        ({"fusion": "max"}, 'fusion "max": give "weighted", "sum", "rrf" or "dbsf"'),
        ({"fusion": "rrf", "rrf_k": -1}, "rrf_k -1: give a finite number, 0 or more"),
        ({"mmr": 1.5}, "mmr 1.5: give a number from 0 to 1"),
        ({"mmr": 0.5, "fusion": "rrf"}, "mmr compares scores with cosines"),
        ({"aggregate": "sum"}, 'aggregate "sum": give "max", "mean" or "softmax"'),
        ({"aggregate": "softmax", "temperature": 0}, "temperature 0: give a finite number above 0"),
        ({"k": 0}, "k must be at least 1"),
    ]
    for given, message in options:
        with pytest.raises(ValueError, match=message):
            engine.search_vector(np.ones(4), **given)
    with pytest.raises(TypeError, match="unexpected keyword argument 'model'"):
        engine.search_vector(np.ones(4), model="toy")  # type: ignore[call-arg]


@pytest.mark.parametrize("models", ["toy", WEIGHTS])
def test_an_item_may_have_the_mean_of_its_references(engine: ps.Engine, stored: Vectors, models: Any) -> None:
    picture = shade(55)
    weights = models if isinstance(models, dict) else {models: 1.0}
    asked = {model: unit(engine.encode_images([picture], model=model)[0]) for model in weights}
    scores = np.asarray(sum(weight * stored[model] @ asked[model] for model, weight in weights.items()))
    mean = engine.search_image(picture, k=30, models=models, aggregate="mean", fusion="sum")
    assert same(mean, grouped(scores, np.mean))

    def softmax(scores: NDArray[Any]) -> float:
        weights = np.exp(scores / 0.05)
        return float((weights * scores).sum() / weights.sum())

    soft = engine.search_image(picture, k=30, models=models, aggregate="softmax", temperature=0.05, fusion="sum")
    assert same(soft, grouped(scores, softmax))
    wanted = grouped(scores, np.mean)[3][1]
    assert (
        len(engine.search_image(picture, k=30, models=models, aggregate="mean", min_score=wanted - 1e-4, fusion="sum"))
        == 4
    )
    few = engine.search_image([picture] * 9, k=3, models=models, aggregate="mean", where={"label": "odd"}, fusion="sum")
    for hits in few:
        assert same(hits, [pair for pair in grouped(scores, np.mean) if int(pair[0][5:]) % 2 == 1][:3])
    # A hit shows its best reference and that one's cosines, whatever the item's score.
    for hit in mean:
        own = hit.item == OWNERS
        place = int(scores[own].argmax())
        assert hit.digest == engine.get(hit.item).references[place].digest
        assert hit.scores == pytest.approx({model: stored[model][own][place] @ asked[model] for model in weights})


def test_reciprocal_rank_fusion(engine: ps.Engine, stored: Vectors) -> None:
    picture = shade(56)
    fused = np.zeros(len(OWNERS))
    for model, weight in WEIGHTS.items():
        scores = stored[model] @ unit(engine.encode_images([picture], model=model)[0])
        # Equal scores go by item and reference, which are the rows.
        ranks = 1 + np.argsort(np.argsort(-scores.round(9), kind="stable"))
        fused += weight / (60 + ranks)
    hits = engine.search_image(picture, k=30, models=WEIGHTS, fusion="rrf")
    assert same(hits, grouped(fused))
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in grouped(fused)], rel=1e-5)
    assert hits[0].score < 1 / 60 < hits[0].scores["toy"]
    by_mean = engine.search_image(picture, k=30, models=WEIGHTS, fusion="rrf", aggregate="mean")
    assert [hit.score for hit in by_mean] == pytest.approx([s for _, s in grouped(fused, np.mean)], rel=1e-5)
    one = engine.search_image(picture, k=5, models="toy", fusion="rrf")
    assert [hit.item for hit in one] == [hit.item for hit in engine.search_image(picture, k=5, models="toy")]


def test_hits_tell_the_match(engine: ps.Engine, stored: Vectors) -> None:
    picture = ITEMS["item-8"][2]
    [hit] = engine.search_image(picture, k=1, models=WEIGHTS, vectors=True, fusion="sum")
    asked = {model: engine.encode_images([picture], model=model)[0] for model in WEIGHTS}
    assert (hit.item, hit.text, hit.label, hit.probability) == ("item-8", "text of item-8", "even", None)
    assert hit.digest == engine.get("item-8").references[2].digest
    assert hit.vectors is not None
    assert list(hit.vectors) == list(hit.scores) == ["eye", "toy"]
    for model, vector in hit.vectors.items():
        assert np.array_equal(vector, engine.vectors("item-8", model=model)[2])
        assert hit.scores[model] == pytest.approx(asked[model] @ vector, abs=1e-6)
    assert hit.score == pytest.approx(sum(WEIGHTS[model] * hit.scores[model] for model in WEIGHTS), abs=1e-6)
    assert engine.search_image(picture, k=1)[0].vectors is None
    hybrid = engine.search_hybrid(picture, "red scarf", image_weight=0.25, k=3, fusion="sum")
    for hit in hybrid:
        assert hit.score == pytest.approx(0.25 * hit.scores["eye"] + 0.75 * hit.scores["toy"], abs=1e-6)


def test_a_hybrid_is_a_query_of_two_parts(engine: ps.Engine) -> None:
    picture, text = shade(60), "red scarf"
    hybrid = engine.search_hybrid(picture, text, image_weight=0.25, models="toy")
    parts = engine.search(ps.Query(image=(picture, 0.25), text=(text, 0.75)), models="toy")
    assert hybrid == parts
    for weight, alone in [(1, engine.search_image(picture)), (0, engine.search_text(text))]:
        assert engine.search_hybrid(picture, text, image_weight=weight) == alone
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="image_weight must be between 0 and 1"):
            engine.search_hybrid(picture, text, image_weight=weight)


def test_a_list_of_two_numbers_is_a_vector() -> None:
    row = ps.Query(vector=[0.5, 0.25])._row()
    assert row[3] == [((None, [0.5, 0.25]), 1.0)]
    assert ps.Query(vector=([1.0, 2.0], 0.5))._row()[3] == [((None, [1.0, 2.0]), 0.5)]
    assert ps.Query(vector=[[1.0, 2.0], [3.0, 4.0]])._row()[3] == [((None, [1.0, 2.0]), 1.0), ((None, [3.0, 4.0]), 1.0)]
    assert ps.Query(item=7)._row()[2] == [(7, 1.0)]
    assert ps.Query(item=[7, 8])._row()[2] == [(7, 1.0), (8, 1.0)]
    assert ps.Query(item=(7, 0.5))._row()[2] == [(7, 0.5)]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("粉色兔子", {"text": [("粉色兔子", 1.0)]}),
        ("2*bunny + a.png - hat", {"text": [("bunny", 2.0), ("hat", -1.0)], "image": [("a.png", 1.0)]}),
        ("- .5 * red hat + item:bear 1", {"text": [("red hat", -0.5)], "item": [("bear 1", 1.0)]}),
        ('0.25*"a + b" + "item:x" + "a.png"', {"text": [("a + b", 0.25), ("item:x", 1.0), ("a.png", 1.0)]}),
        ("t-shirt -2 +x 3*4", {"text": [("t-shirt -2 +x 3*4", 1.0)]}),
        ("  a\t+\nb ", {"text": [("a", 1.0), ("b", 1.0)]}),
        ("b.png + none.png", {"text": [("b.png", 1.0), ("none.png", 1.0)]}),
    ],
)
def test_a_line_is_a_query(line: str, parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(b"")
    Path("b.png").mkdir()
    assert ps.Query.parse(line) == ps.Query(**parts)


def test_a_line_does_not_open_files_if_they_are_not_to_be() -> None:
    assert ps.Query.parse(__file__, files=False) == ps.Query(text=[(__file__, 1.0)])


@pytest.mark.parametrize(
    ("line", "symptom"),
    [
        ("", "nothing beside a sign"),
        ("a + + b", "nothing beside a sign"),
        ("a -", "nothing beside a sign"),
        ("2*", "nothing beside a sign"),
        ("a + 0*b", "the weight 0 for 'b'"),
        ("- a - 2*b", "names only what hits should not be like"),
    ],
)
def test_a_line_that_is_no_query_is_refused(line: str, symptom: str) -> None:
    with pytest.raises(ps.ArgumentError, match=re.escape(symptom)):
        ps.Query.parse(line)


def test_a_line_finds_what_its_query_finds(engine: ps.Engine) -> None:
    line = ps.Query.parse("2*red scarf - 0.5*item:item-9 + item:item-4")
    query = ps.Query(text=("red scarf", 2.0), item=[("item-9", -0.5), "item-4"])
    assert engine.search(line, k=3) == engine.search(query, k=3)
