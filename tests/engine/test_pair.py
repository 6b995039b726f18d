"""Several models in one engine: each sees every picture, one looks up pictures and another words."""

from __future__ import annotations

import json
import multiprocessing
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import toy
from numpy.typing import NDArray
from PIL import Image
from test_engine import BLUE, GREEN, RED, YELLOW, plain, shade

import plushie_search as ps
from plushie_search.cli import main

EYE_DIM = 4
EYE_WEIGHTS = np.random.default_rng(8).normal(size=(3, EYE_DIM)).astype(np.float32)
#: Without a mean to subtract, black is a vector of zeros, of which nothing can be made: only this model cannot use it.
BLACK = plain((0, 0, 0))


@pytest.fixture(scope="session")
def eye(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees pictures and reads nothing."""
    preprocess = {**toy.PREPROCESS, "mean": [0, 0, 0]}
    image = {"file": "image.onnx", "preprocess": preprocess}
    made = toy.write(
        tmp_path_factory.mktemp("models") / "eye", name="eye", dimension=EYE_DIM, image=image, text=None, languages=[]
    )
    onnx.save(toy.image_tower(weights=EYE_WEIGHTS), made / "image.onnx")
    return made


@pytest.fixture(scope="session")
def pen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads texts and sees nothing."""
    return toy.write(tmp_path_factory.mktemp("models") / "pen", name="pen", image=None)


@pytest.fixture
def models(eye: Path, toy_model: Path) -> list[Path]:
    return [eye, toy_model]


@pytest.fixture
def engine(models: list[Path], tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "pair.catalog", model=models, threads=2) as engine:
        yield engine


ITEMS = {f"item-{n}": [shade(1 + 3 * n + m) for m in range(1 + n % 3)] for n in range(30)}


@pytest.fixture
def toys(engine: ps.Engine) -> ps.Engine:
    for number, (id, pictures) in enumerate(ITEMS.items()):
        engine.add(id, images=pictures, metadata={"n": number})
    return engine


def vectors_of(engine: ps.Engine, model: str) -> dict[str, NDArray[np.float32]]:
    return {id: engine.encode_images(pictures, model=model) for id, pictures in ITEMS.items()}


def brute_force(
    engine: ps.Engine, asked: dict[str, tuple[NDArray[np.float32], float]], only: Sequence[str] | None = None
) -> list[tuple[str, float]]:
    """All items by the weighted sum of the cosines of their best reference; `asked` has vector and weight by model."""
    scores = {}
    for id in ITEMS if only is None else only:
        sums = np.zeros(len(ITEMS[id]))
        for model, (vector, weight) in asked.items():
            sums += weight * (vectors_of(engine, model)[id] @ (vector / np.linalg.norm(vector)))
        scores[id] = float(sums.max())
    return sorted(scores.items(), key=lambda pair: -pair[1])


def same(hits: ps.Results, expected: list[tuple[str, float]]) -> bool:
    return [hit.item for hit in hits] == [id for id, _ in expected] and [hit.score for hit in hits] == pytest.approx(
        [score for _, score in expected], abs=1e-5
    )


# Looking up


def test_pictures_are_looked_up_by_the_first_and_texts_by_the_one_that_reads(toys: ps.Engine) -> None:
    assert (toys.models, toys.image_model, toys.text_model) == (("eye", "toy"), "eye", "toy")
    seen = toys.encode_images([plain(BLUE)])
    assert seen.shape == (1, EYE_DIM)
    hits = toys.search_image(plain(BLUE), k=7)
    assert same(hits, brute_force(toys, {"eye": (seen[0], 1)})[:7])
    read = toys.encode_texts(["pink bear"])
    words = toys.search_text("pink bear", k=7)
    assert same(words, brute_force(toys, {"toy": (read[0], 1)})[:7])
    assert (hits.model, words.model, hits[1:].model) == ("eye", "toy", "eye")


def test_another_model_may_be_named(toys: ps.Engine, models: list[Path], tmp_path: Path) -> None:
    """Then it answers as an engine of that model alone."""
    picture, text = shade(77), "the brown rabbit"
    with ps.Engine(tmp_path / "alone.catalog", model=models[1]) as alone:
        for id, pictures in ITEMS.items():
            alone.add(id, images=pictures, metadata=toys.get(id).metadata)
        query = ps.Query(image=picture, text=[(text, 0.5)])
        for there, here in [
            (toys.search_image(picture, models="toy"), alone.search_image(picture)),
            (toys.search_text(text, models="toy"), alone.search_text(text)),
            (toys.search_hybrid(picture, text, models="toy"), alone.search_hybrid(picture, text)),
            (toys.search(query, models="toy"), alone.search(query)),
        ]:
            found, expected = ([(h.item, h.metadata) for h in hits] for hits in (there, here))
            assert found == expected
            assert [hit.score for hit in there] == [hit.score for hit in here]
            assert there.model == here.model == "toy"
        vector = alone.encode_images([picture])[0]
        assert np.array_equal(toys.encode_images([picture], model="toy")[0], vector)
        for by_name, by_itself in [
            (toys.search_vector(vector, models="toy"), alone.search_vector(vector)),
            (toys.search_vector(vector[None], models="toy")[0], alone.search_vector(vector[None])[0]),
        ]:
            assert isinstance(by_name, ps.Results)
            assert isinstance(by_itself, ps.Results)
            assert [hit.score for hit in by_name] == [hit.score for hit in by_itself]
        assert np.array_equal(toys.vectors("item-2", model="toy"), alone.vectors("item-2"))
    assert np.array_equal(toys.vectors("item-2"), toys.encode_images(ITEMS["item-2"]))


@pytest.mark.parametrize("image_weight", [0.1, 0.6, 0.95])
def test_a_hybrid_over_two_models_is_the_weighted_mean_of_their_cosines(toys: ps.Engine, image_weight: float) -> None:
    picture, text = shade(100), "粉色兔子"
    seen, read = toys.encode_images([picture])[0], toys.encode_texts([text])[0]
    expected = brute_force(toys, {"eye": (seen, image_weight), "toy": (read, 1 - image_weight)})
    hits = toys.search_hybrid(picture, text, image_weight=image_weight, fusion="sum", k=len(ITEMS))
    assert same(hits, expected)
    assert hits.model == "eye + toy"
    # The reference that is named is the one whose sum is best.
    weights = {"eye": (seen, image_weight), "toy": (read, 1 - image_weight)}
    sums = sum(weight * (toys.vectors(hits[0].item, model=model) @ v) for model, (v, weight) in weights.items())
    assert hits[0].score == pytest.approx(float(np.max(sums)), abs=1e-5)
    bar = expected[4][1] - 1e-4
    assert same(
        toys.search_hybrid(picture, text, image_weight=image_weight, fusion="sum", k=20, min_score=bar), expected[:5]
    )
    few = [f"item-{n}" for n in range(9)]
    where = {"n": {"$lt": 9}}
    within = brute_force(toys, weights, few)
    assert same(
        toys.search_hybrid(picture, text, image_weight=image_weight, fusion="sum", k=5, where=where), within[:5]
    )


def test_at_its_ends_a_hybrid_is_a_plain_search(toys: ps.Engine) -> None:
    for weight, plainly in [(1, toys.search_image(shade(4))), (0, toys.search_text("red scarf"))]:
        assert toys.search_hybrid(shade(4), "red scarf", image_weight=weight).to_dicts() == plainly.to_dicts()


def test_each_models_parts_become_one_vector(toys: ps.Engine) -> None:
    """Also with negative parts; what a model counts is the sum of its parts' weights without their signs."""
    a, b = toys.encode_images([shade(1), shade(2)])
    scarf, bear = toys.encode_texts(["red scarf", "teddy bear"])
    pictures = [(shade(1), 1.0), (shade(2), -0.5)]
    texts = [("red scarf", 0.5), ("teddy bear", -0.4)]
    whole = toys.search(ps.Query(image=pictures, text=texts), k=9, fusion="sum")
    weights = {"eye": (a - 0.5 * b, 1.5 / 2.4), "toy": (0.5 * scarf - 0.4 * bear, 0.9 / 2.4)}
    assert same(whole, brute_force(toys, weights)[:9])
    away = toys.search(ps.Query(image=shade(1), text=[("red scarf", -0.25)]), k=9, fusion="sum")
    assert same(away, brute_force(toys, {"eye": (a, 0.8), "toy": (-scarf, 0.2)})[:9])
    with pytest.raises(ValueError, match="query 0 cancel each other out"):
        toys.search(ps.Query(image=[(shade(1), 1.0), (shade(1), -1.0)], text="red"))


def test_several_models_look_up_the_same_picture(toys: ps.Engine) -> None:
    picture, text = shade(55), "brown teddy"
    eye, by_toy = (toys.encode_images([picture], model=name)[0] for name in toys.models)
    read = toys.encode_texts([text])[0]
    for weights in ({"eye": 0.6, "toy": 0.4}, {"toy": 1, "eye": 0.25}):
        a, b = weights["eye"] / sum(weights.values()), weights["toy"] / sum(weights.values())
        hits = toys.search_image(picture, k=9, models=weights, fusion="sum")
        assert same(hits, brute_force(toys, {"eye": (eye, a), "toy": (by_toy, b)})[:9])
        assert hits.model == " + ".join(weights)
        # What each can look up: words count only for the one that reads.
        hybrid = toys.search_hybrid(picture, text, image_weight=0.7, k=9, models=weights, fusion="sum")
        assert same(hybrid, brute_force(toys, {"eye": (eye, a), "toy": (0.7 * by_toy + 0.3 * read, b)})[:9])
        assert toys.search_text(text, models=weights).to_dicts() == toys.search_text(text).to_dicts()
        batch = toys.search([ps.Query(text=text), ps.Query(image=picture)], k=9, models=weights, fusion="sum")
        assert same(batch[1], [(hit.item, hit.score) for hit in hits])
        vectors = {"toy": by_toy, "eye": eye}
        by_vectors = toys.search_vector(vectors, k=9, models=weights, fusion="sum")
        assert isinstance(by_vectors, ps.Results)
        assert same(by_vectors, [(hit.item, hit.score) for hit in hits])
        rows = {name: np.stack([vector, -vector]) for name, vector in vectors.items()}
        first, second = toys.search_vector(rows, k=9, models=weights, fusion="sum")
        assert isinstance(first, ps.Results)
        assert isinstance(second, ps.Results)
        assert same(first, [(hit.item, hit.score) for hit in hits])
        assert same(second, brute_force(toys, {"eye": (-eye, a), "toy": (-by_toy, b)})[:9])
    assert (
        toys.search_image(picture, models={"toy": 3}).to_dicts() == toys.search_image(picture, models="toy").to_dicts()
    )
    evaluation = toys.evaluate([(ITEMS["item-4"][0], "item-4")], models={"eye": 1, "toy": 1})
    assert (evaluation.model, evaluation.metrics["hit@1"].value) == ("eye + toy", 1)
    for call, message in [
        (lambda: toys.search_image(picture, models={"eye": 1, "toy": 0}), 'model "toy" cannot count 0'),
        (lambda: toys.search_image(picture, models={"eye": 1, "toy": float("nan")}), 'model "toy" cannot count NaN'),
        (lambda: toys.search_image(picture, models={"eye": 1, "nose": 1}), 'no model "nose"'),
        (lambda: toys.search_vector(eye, models={"eye": 1, "toy": 1}), "a vector belongs to one model"),
        (lambda: toys.search_vector(vectors, models={"eye": 1}), 'model "toy" has vectors, but no weight'),
        (lambda: toys.search_vector({"eye": eye}, models={"eye": 1, "toy": 1}), 'model "toy" has a weight, but no vec'),
        (lambda: toys.search_vector({**vectors, "eye": rows["eye"]}, models=weights), "a vector and a weight for each"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="a dict with a weight for each name"):
        toys.search_image(picture, models=7)  # type: ignore[call-overload]


def test_a_batch_mixes_all_kinds_of_queries(toys: ps.Engine) -> None:
    queries = [
        [
            ps.Query(image=shade(n)),
            ps.Query(text=f"a bear{' red' * (n % 4)}"),
            ps.Query(image=[(shade(n), 1.0)], text=[("pink rabbit", 0.1 * n)]),
        ][n % 3]
        for n in range(1, 41)
    ]
    for where in (None, {"n": {"$gte": 12}}):
        batch = toys.search(queries, k=4, where=where)
        for query, hits in zip(queries, batch, strict=True):
            alone = toys.search(query, k=4, where=where)
            assert same(hits, [(hit.item, hit.score) for hit in alone])
            assert hits.model == alone.model
    assert toys.search([], k=4) == []
    pairs = toys.search_hybrid([shade(5), shade(6)], ["red", "brown bear"], k=3)
    assert [hits.model for hits in pairs] == ["eye + toy"] * 2


def test_it_prints_and_shows_as_ever(toys: ps.Engine) -> None:
    hits = toys.search_hybrid(plain(RED), "a <b>bear</b>", k=2)
    assert repr(hits).startswith("2 hits for <ndarray> × 0.5 and 'a <b>bear</b>' × 0.5\n#  item")
    assert "&lt;b&gt;" in hits._repr_html_()
    assert re.fullmatch(r"<Engine .*pair\.catalog model=eye\+toy>", repr(toys))


# Changing


def test_changes_concern_all_models(toys: ps.Engine) -> None:
    toys.update("item-1", label="changed")
    toys.remove(["item-2", "item-3"])
    toys.add("item-1", images=[plain(YELLOW)])
    assert len(toys.vectors("item-1")) == len(toys.vectors("item-1", model="toy")) == 3
    for hits in (
        toys.search_image(plain(YELLOW), k=99),
        toys.search_text("red", k=99),
        toys.search_hybrid(plain(YELLOW), "red", k=99),
    ):
        assert {hit.item for hit in hits} == {*ITEMS} - {"item-2", "item-3"}
        assert {hit.item: hit.label for hit in hits}["item-1"] == "changed"
    assert toys.search_image(plain(YELLOW), k=1)[0].item == "item-1"
    assert toys.add("item-1", images=[plain(YELLOW)]) == ps.Added(0, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_a_picture_that_one_model_cannot_use_is_refused_for_all(models: list[Path], tmp_path: Path, order: int) -> None:
    with ps.Engine(tmp_path / "c", model=models[::order]) as engine:
        with pytest.raises(ps.ModelError, match=r"model eye: .*only zeros"):
            engine.add("night", images=[plain(RED), BLACK])
        assert len(engine) == 0
        report = engine.add_images([plain(RED), BLACK, plain(BLUE)], ids=["a", "a", "b"])
        assert (report.items, report.references, len(report.failed)) == (2, 2, 1)
        assert [len(engine.vectors("a", model=name)) for name in engine.models] == [1, 1]


def test_vectors_of_ones_own(engine: ps.Engine) -> None:
    ids = ["a", "b", "a"]
    rng = np.random.default_rng(4)
    seen, read = rng.normal(size=(3, EYE_DIM)).astype(np.float32), rng.normal(size=(3, toy.DIM)).astype(np.float32)
    assert engine.add_vectors(ids, {"toy": read, "eye": seen}) == ps.Added(3, 0)
    assert engine.add_vectors(ids, {"eye": seen, "toy": read}) == ps.Added(0, 3)
    for model, rows in {"eye": seen, "toy": read}.items():
        assert engine.vectors("a", model=model) == pytest.approx(toy.unit(rows[[0, 2]]), abs=1e-6)
        hits = engine.search_vector(rows[1], k=1, models=model)
        assert isinstance(hits, ps.Results)
        assert hits[0].item == "b"
    for bad, message in [
        (seen, "give rows for each of"),
        ({"eye": seen}, 'those of "toy" are missing'),
        ({"eye": seen, "toy": read[:2]}, "3 ids for 2 vectors"),
        ({"eye": seen, "toy": seen}, "have 6 numbers, got 4"),
        ({"eye": seen, "toy": read, "nose": read}, 'no model "nose"'),
    ]:
        with pytest.raises(ValueError, match=message):
            engine.add_vectors(ids, bad)
    assert len(engine) == 2


def test_a_folder_goes_on_where_it_stopped(engine: ps.Engine, models: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "many"
    for index in range(150):
        (root / f"item-{index:03}").mkdir(parents=True)
        Image.fromarray(shade(index + 1)).save(root / f"item-{index:03}" / "a.png")

    def stop_soon(done: int, total: int, item: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.add_folder(root, progress=stop_soon)
    kept = len(engine)
    assert 0 < kept < 150
    with ps.Engine(engine.path, model=models[::-1]) as other:  # in whatever order they are given
        report = other.add_folder(root)
    assert (report.items, report.duplicates) == (150 - kept, kept)
    assert [stats["indexed"] for stats in engine.stats()["models"]] == [150, 150]


# Which models a catalog belongs to


def test_with_some_of_its_models_a_catalog_can_be_searched(toys: ps.Engine, models: list[Path], pen: Path) -> None:
    for model, name in zip(models, toys.models, strict=True):
        with ps.Engine(toys.path, model=model) as part:
            found, whole = part.search_image(shade(9)), toys.search_image(shade(9), models=name)
            # An engine keeps its calibration until a fifth of the references has changed.
            assert [hit.to_dict() | {"probability": None} for hit in found] == [
                hit.to_dict() | {"probability": None} for hit in whole
            ]
            assert part.stats()["other_models"] == [other for other in toys.models if other != name]
            with pytest.raises(ps.CatalogError, match=r'model=\["eye", "toy"\] to add to it'):
                part.add("new", images=[plain(RED)])
            with pytest.raises(ps.CatalogError, match=r'model=\["eye", "toy"\] to add to it'):
                part.add_images([plain(RED)], ids=["new"])
            with pytest.raises(ps.CatalogError, match="to add to it"):
                part.add_vectors(["new"], part.encode_images([plain(RED)]))
            part.update("item-4", text=f"seen by {name}")
            part.remove("item-5") if name == "eye" else None
        assert toys.get("item-4").text == f"seen by {name}"
    assert "item-5" not in {hit.item for hit in toys.search_text("red", k=99)}
    assert toys.stats()["other_models"] == []
    for wrong in ("plushie-mini", [*models, "plushie-mini"], pen):
        with pytest.raises(ps.CatalogError, match=r'none of "(plushie-mini|pen)": open it without naming a model'):
            ps.Engine(toys.path, model=wrong)
    assert toys.add("item-4", images=[plain(GREEN)]) == ps.Added(1, 0)


def test_another_version_of_the_second_model_is_refused(toys: ps.Engine, models: list[Path], tmp_path: Path) -> None:
    preprocess = {**toy.PREPROCESS, "mean": [0.1, 0.2, 0.3]}
    other = toy.write(tmp_path / "toy", image={"file": "image.onnx", "preprocess": preprocess})
    with pytest.raises(ps.CatalogError, match='another version of model "toy"'):
        ps.Engine(toys.path, model=[models[0], other])
    with ps.Engine(toys.path, model=models[0]) as eye:
        assert len(eye.search_image(shade(3))) == 5


def test_an_empty_catalog_belongs_to_the_first_writer(models: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "c"
    with ps.Engine(path, model=models) as both, ps.Engine(path, model=models[1]) as one:
        one.add("a", images=[plain(RED)])
        for call in (lambda: both.search_image(plain(RED)), lambda: both.add("b", images=[plain(RED)]), both.stats):
            with pytest.raises(ps.CatalogError, match='model="toy"'):
                call()
        both.remove("a")
        assert list(both.search_image(plain(RED))) == []
        both.add("b", images=[plain(BLUE)])
        assert both.search_text("red")[0].item == "b"
        assert one.search_image(plain(RED))[0].item == "b"
        with pytest.raises(ps.CatalogError, match="to add to it"):
            one.add("c", images=[plain(RED)])


def test_a_catalog_of_one_model_gets_another_by_adding_it_to_a_new_one(models: list[Path], tmp_path: Path) -> None:
    """As docs/models.md describes it."""
    photo = tmp_path / "photo.png"
    Image.fromarray(plain(RED)).save(photo)
    with ps.Engine(tmp_path / "old", model=models[1]) as old, ps.Engine(tmp_path / "new", model=models) as new:
        old.add("a", images=[photo], label="l", metadata={"price": 2}, text="t")
        new.add_items(
            ps.ItemDraft(item.id, [r.name for r in item.references], item.label, item.metadata, item.text)
            for item in old
        )
        assert new.items() == old.items()
        assert new.search_text("red").to_dicts() == old.search_text("red").to_dicts()
    with ps.Engine(tmp_path / "old", model=[models[1]]) as again:  # a list of one is that one
        assert again.search_text("red").to_dicts()[0]["item"] == "a"


# What a model lacks


def test_without_a_text_tower_it_is_said_how_to_have_one(eye: Path, toys: ps.Engine, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "eye", model=eye) as engine:
        assert engine.text_model is None
        engine.add("a", images=[plain(RED)])
        for call in (
            lambda: engine.search_text("red", words=False),
            lambda: engine.search_hybrid(plain(RED), "red"),
            lambda: engine.search(ps.Query(image=plain(RED), text="red")),
            lambda: engine.encode_texts(["red"]),
        ):
            with pytest.raises(
                ps.ModelError, match=r'model eye: has no text tower.*reencode\(\["eye", "plushie-mini"\]'
            ):
                call()
        assert engine.search(ps.Query(image=plain(RED)))[0].item == "a"
        assert engine.evaluate([(plain(RED), "a")]).model == "eye"
    with pytest.raises(ps.ModelError, match=r'model eye: has no text tower.*looked up by "toy"'):
        toys.search_text("red", models="eye")


def test_without_an_image_tower_the_error_has_a_cure(pen: Path, toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "pen", model=pen) as engine:
        vectors = engine.encode_texts(["red bear", "pink rabbit"])
        engine.add_vectors(["a", "b"], vectors)
        assert engine.search_text("pink rabbit")[0].item == "b"
        for call in (
            lambda: engine.search_image(plain(RED)),
            lambda: engine.add("c", images=[plain(RED)]),
            lambda: engine.add_images([plain(RED)], ids=["c"]),
            lambda: engine.encode_images([plain(RED)]),
        ):
            with pytest.raises(ps.ModelError, match=r"model pen: has no image tower.*plushie-mini"):
                call()
    with pytest.raises(ps.ModelError, match=r"model pen: has no image tower.*leave it out"):
        ps.Engine(tmp_path / "both", model=[toy_model, pen])
    assert not (tmp_path / "both").exists()


def test_models_must_be_some_and_tell_apart(toys: ps.Engine, models: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ps.CatalogError, match="does not exist"):
        ps.Engine(tmp_path / "c", model=[])
    with pytest.raises(ValueError, match='two models are called "eye"'):
        ps.Engine(tmp_path / "c", model=[*models, models[0]])
    for call in (
        lambda: toys.search_image(plain(RED), models="nose"),
        lambda: toys.search_text("red", models="nose"),
        lambda: toys.search_hybrid(plain(RED), "red", models="nose"),
        lambda: toys.search(ps.Query(text="red"), models="nose"),
        lambda: toys.search_vector(np.ones(EYE_DIM, np.float32), models="nose"),
        lambda: toys.vectors("item-1", model="nose"),
        lambda: toys.encode_images([plain(RED)], model="nose"),
        lambda: toys.evaluate([(plain(RED), "item-1")], models="nose"),
    ):
        with pytest.raises(ValueError, match=r"model .nose.*eye.*toy"):
            call()
    with pytest.raises(ValueError, match="queries of 6 numbers cannot be compared with vectors of 4"):
        toys.search_vector(np.ones(toy.DIM, np.float32))


# Around it


def test_stats_tell_of_each_model(toys: ps.Engine) -> None:
    stats = toys.stats()
    first, second = stats["models"]
    references = sum(map(len, ITEMS.values()))
    assert (stats["model"], stats["dimension"], stats["fingerprint"]) == ("eye", EYE_DIM, first["fingerprint"])
    assert (first["name"], first["image"], first["text"], first["languages"]) == ("eye", True, False, [])
    assert (second["name"], second["dimension"], second["text"]) == ("toy", toy.DIM, True)
    assert [model["indexed"] for model in stats["models"]] == [references] * 2 == [stats["indexed"]] * 2
    assert first["fingerprint"] != second["fingerprint"]


def test_evaluating_each_model(toys: ps.Engine) -> None:
    pictures = [(pictures[0], id) for id, pictures in ITEMS.items()]
    for model, name in [(None, "eye"), ("eye", "eye"), ("toy", "toy")]:
        evaluation = toys.evaluate(pictures, models=model)
        first = [toys.search_image(picture, k=1, models=name)[0].item == id for picture, id in pictures]
        assert (evaluation.model, evaluation.metrics["hit@1"].value) == (name, pytest.approx(np.mean(first)))
        left_out = toys.evaluate(models=model)
        for outcome in left_out.outcomes[:9]:
            [id] = outcome.items
            rows = toys.vectors(id, model=name)
            cosines = rows @ rows.T - 9 * np.eye(len(rows))
            assert any(abs(float(row.max()) - (outcome.score or 0)) < 1e-5 for row in cosines)
    both = toys.evaluate(models={"eye": 3, "toy": 1})
    for outcome in both.outcomes:
        [id] = outcome.items
        names = [reference.name for reference in toys.get(id).references]
        cosines = sum(
            share * (rows @ rows.T) for share, rows in ((0.75, toys.vectors(id)), (0.25, toys.vectors(id, model="toy")))
        ) - 9 * np.eye(len(names))
        assert any(abs(float(row.max()) - (outcome.score or 0)) < 1e-5 for row in cosines)
        better = {h.item for h in toys.search_image(ITEMS[id][0], k=99, models={"eye": 3, "toy": 1})} - {id}
        assert outcome.wrong in better
    assert both.model == "eye + toy"
    assert toys.evaluate(texts=[("red", "item-1")]).model == "toy"
    assert toys.evaluate(pictures, texts=[("red", "item-1")]).model == "eye + toy"


def test_the_command_line_takes_several_models(
    models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, color in {"red": RED, "green": GREEN, "blue": BLUE}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(plain(color)).save(tmp_path / "photos" / name / "a.png")
    catalog, photo = str(tmp_path / "c"), str(tmp_path / "photos" / "blue" / "a.png")
    both = [option for model in models for option in ("--model", str(model))]
    assert main(["add", catalog, *both, str(tmp_path / "photos")]) == 0
    capsys.readouterr()
    with ps.Engine(catalog, model=models) as engine:
        for query, hits in [
            ([photo], engine.search_image(photo)),
            (["--text", "red bear"], engine.search_text("red bear")),
            ([photo, "--text", "red bear"], engine.search_hybrid(photo, "red bear")),
        ]:
            assert main(["search", catalog, *both, *query, "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == hits.to_dicts()
    weighted = ["--weight", "3", "--weight", "1"]
    with ps.Engine(catalog, model=models) as engine:
        hits = engine.search_image(photo, models={"eye": 3, "toy": 1})
    assert main(["search", catalog, *both, *weighted, photo, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == hits.to_dicts()
    assert main(["evaluate", catalog, str(tmp_path / "photos"), *both, *weighted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "eye + toy"
    assert main(["search", catalog, *both, "--weight", "3", photo]) == 2
    assert "--weight stands once for each --model, so 2 times" in capsys.readouterr().err
    assert main(["search", catalog, "--model", str(models[1]), photo]) == 0
    assert main(["stats", catalog, *both]) == 0
    assert re.search(r"^model +eye$", capsys.readouterr().out, re.MULTILINE)
    assert main(["search", catalog, photo]) == 0
    assert main(["search", catalog, "--model", "plushie-mini", photo]) == 2
    assert 'has vectors of ["eye", "toy"] and none of "plushie-mini"' in capsys.readouterr().err


# Threads and processes


ADD = """
import sys, numpy as np, plushie_search as ps
path, name, *models = sys.argv[1:]
with ps.Engine(path, model=models, threads=1) as engine:
    print("open", flush=True)
    for n in range(int(sys.stdin.readline())):
        pictures = [np.full((8, 8, 3), (1 + n * 7 % 251, n * 13 % 241, m * 50), np.uint8) for m in range(2)]
        engine.add(f"{name}-{n}", images=pictures)
        print(n, flush=True)
"""


@contextmanager
def adding(path: str, name: str, models: list[Path], count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that adds items, from when it has opened the catalog."""
    command = [sys.executable, "-c", ADD, path, name, *map(str, models)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{count}\n")
        child.stdin.close()
        assert child.stdout.readline() == "open\n"
        yield child


def whole(engine: ps.Engine) -> bool:
    """Whether both models know the same references, all that there are."""
    references = {item.id: len(item.references) for item in engine.items()}
    seen, read = ({hit.item for hit in hits} for hits in both_ways(engine))
    rows = {id: {len(engine.vectors(id, model=name)) for name in engine.models} for id in references}
    return seen == read == {*references} and rows == {id: {count} for id, count in references.items()}


def both_ways(engine: ps.Engine) -> tuple[ps.Results, ps.Results]:
    return engine.search_image(plain(RED), k=10_000), engine.search_text("red", k=10_000)


def test_two_processes_add_while_a_third_searches(engine: ps.Engine, models: list[Path]) -> None:
    with adding(engine.path, "a", models, 40) as first, adding(engine.path, "b", models[::-1], 40) as second:
        while first.poll() is None or second.poll() is None:
            hits = engine.search_hybrid(plain(RED), "red bear", k=1000)
            assert all(np.isfinite(hit.score) for hit in hits)
            assert len({hit.item for hit in hits}) == len(hits)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(engine) == 80
    assert whole(engine)


def test_a_kill_leaves_no_reference_half_done(engine: ps.Engine, models: list[Path]) -> None:
    done: set[str] = set()
    for cycle in range(6):
        with adding(engine.path, f"c{cycle}", models, 10_000) as child:
            assert child.stdout is not None
            for _ in range(1 + 5 * cycle):
                done.add(f"c{cycle}-{int(child.stdout.readline())}")
            child.send_signal(signal.SIGKILL)
            said = [line for line in child.stdout.read().splitlines() if line.isdigit()]
        done |= {f"c{cycle}-{n}" for n in said}
        ids = {item.id for item in engine.items()}
        assert done <= ids
        assert len(ids - done) <= cycle + 1
        assert all(len(item.references) == 2 for item in engine.items())
        assert whole(engine)


def _search_in_child(engine: ps.Engine, answer: Any) -> None:
    try:
        engine.search_hybrid(plain(RED), "red")
        answer.put("searched")
    except RuntimeError as error:
        answer.put(str(error))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_opens_its_own(toys: ps.Engine) -> None:
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_search_in_child, args=(toys, answer))
    child.start()
    assert answer.get(timeout=60) == "searched"
    child.join(60)


def test_threads_search_both_while_one_writes(toys: ps.Engine) -> None:
    errors: list[BaseException] = []
    where = {"n": {"$gte": 0}}
    expected = toys.search_hybrid(plain(RED), "red", k=3, where=where, fusion="sum").to_dicts()

    def search() -> None:
        try:
            for _ in range(40):
                assert toys.search_hybrid(plain(RED), "red", k=3, where=where, fusion="sum").to_dicts() == expected
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for index in range(30):
        toys.add(f"extra-{index}", images=[shade(index + 500)])
        if index % 2:
            toys.remove(f"extra-{index}")
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(toys) == len(ITEMS) + 15
