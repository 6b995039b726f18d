"""Classes of pictures by examples, by names, and by both, compared with what is computed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search.answers.fit import Examples, learn

DIM = 48
Vectors = NDArray[np.float32]
NAMES = ["bear", "cat", "dog", "fox", "hen", "owl", "pig", "rat"]


def unit(rows: NDArray[Any]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


class World:
    """Eight classes of items, and pictures of one pixel, whose color is the number of a vector.

    A name has the vector of its class, turned by ``blur``; of other words nothing is known.
    """

    name, fingerprint, dim, languages = "world", "world", DIM, ["en"]

    def __init__(self, blur: float = 0.5) -> None:
        dice = np.random.default_rng(1)
        self.centers = unit(dice.normal(size=(len(NAMES), DIM)))
        items = unit(self.centers[:, None] + dice.normal(size=(len(NAMES), 12, DIM)) * 0.12)
        views = unit(items[:, :, None] + dice.normal(size=(len(NAMES), 12, 3, DIM)) * 0.08)
        strange = unit(dice.normal(size=(60, DIM)))
        self.vectors = np.concatenate([views.reshape(-1, DIM), strange])
        self.words = unit(self.centers + dice.normal(size=self.centers.shape) * blur / np.sqrt(DIM))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        return self.vectors[[int.from_bytes(bytes(image[0, 0]), "big") for image in images]]

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        rows = [next((self.words[n] for n, name in enumerate(NAMES) if name in text), np.ones(DIM)) for text in texts]
        return unit(np.stack(rows))


def view(label: int, item: int, number: int = 0) -> NDArray[np.uint8]:
    return pixel((label * 12 + item) * 3 + number)


def stranger(number: int) -> NDArray[np.uint8]:
    return pixel(len(NAMES) * 36 + number)


def pixel(number: int) -> NDArray[np.uint8]:
    return np.frombuffer(number.to_bytes(3, "big"), np.uint8).reshape(1, 1, 3)


def fill(engine: ps.Engine, labels: Sequence[int], items: int) -> None:
    for label in labels:
        for item in range(items):
            pictures = [view(label, item, number) for number in range(2)]
            engine.add(f"{NAMES[label]}-{item}", images=pictures, label=NAMES[label])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ps.Engine]:
    """Six classes of six items with two references each; the other items and two classes are not in the catalog."""
    with ps.Engine(tmp_path_factory.mktemp("classify") / "c", model=World(), threads=1) as engine:
        fill(engine, range(6), 6)
        engine.add("plain", images=stranger(59))
        yield engine


def test_new_items_are_classified_by_the_catalogs_labels(engine: ps.Engine) -> None:
    pictures = [view(label, item) for label in range(6) for item in range(6, 12)]
    answers = engine.classify(pictures)
    assert [one.top_class.name for one in answers] == [NAMES[label] for label in range(6) for _ in range(6)]
    for one in answers:
        assert sum(entry.confidence for entry in one) + one.other == pytest.approx(1.0)
        assert len(one) == 6
        assert [entry.confidence for entry in one] == sorted((entry.confidence for entry in one), reverse=True)
    assert np.mean([one["confidence"] for one in answers]) > 0.8
    top = answers[0].top_class
    assert (top["name"], top["confidence"], top["examples"]) == (answers[0]["name"], answers[0]["confidence"], 12)
    with pytest.raises(KeyError, match="no 'color'"):
        top["color"]
    alone = engine.classify(pictures[0])
    assert [one.name for one in alone][:1] == ["bear"]
    assert [one.confidence for one in alone] == pytest.approx([one.confidence for one in answers[0]])
    assert engine.classify([]) == []


def test_strangers_and_other_classes_are_others(engine: ps.Engine) -> None:
    known = [engine.classify(view(label, item)).other for label in range(6) for item in range(6, 12)]
    strange = [one.other for one in engine.classify([stranger(number) for number in range(40)])]
    absent = [one.other for one in engine.classify([view(6, item) for item in range(12)])]
    assert np.mean(known) < 0.15
    assert np.mean(strange) > 0.8
    assert np.mean(absent) > 0.8


def test_scores_of_examples_are_those_of_brute_force() -> None:
    dice = np.random.default_rng(2)
    classes = np.sort(dice.integers(0, 4, 30))
    classes[classes == 2] = 1
    rows = unit(dice.normal(size=(30, 8)))
    examples = Examples(rows, classes, np.arange(30) // 2, 5)
    queries = unit(dice.normal(size=(300, 8)))
    hidden = [np.flatnonzero(classes == 1)[:2]] * 300
    best, mean = examples.scores(queries, hidden)
    for place in (0, 299):
        for number in range(5):
            own = [row for row in np.flatnonzero(classes == number) if row not in hidden[place]]
            if not own:
                assert (best[place, number], mean[place, number]) == (-np.inf, -np.inf)
                continue
            center = rows[own].sum(axis=0) / np.linalg.norm(rows[own].sum(axis=0))
            assert best[place, number] == pytest.approx((queries[place] @ rows[own].T).max(), abs=1e-6)
            assert mean[place, number] == pytest.approx(queries[place] @ center, abs=1e-6)
    everything = examples.scores(queries[:1], [np.flatnonzero(classes == 3)])
    assert everything[0][0, 3] == everything[1][0, 3] == -np.inf


def test_names_alone_find_classes_without_examples(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=World(), threads=1) as engine:
        for item in range(20):
            engine.add(str(item), images=stranger(item))
        found = engine.classify([view(label, 3) for label in range(8)], NAMES)
        assert [one["name"] for one in found] == NAMES
        assert all(one.other == 0 and one.image_weight == 0 for one in found)
        assert all(sum(entry.confidence for entry in one) == pytest.approx(1) for one in found)
        assert found[0][0].examples == 0


def test_the_weight_goes_to_what_is_right(tmp_path: Path) -> None:
    """Names that say nothing do not count; names that are exact do."""
    weights = {}
    for blur in (0.0, 20.0):
        with ps.Engine(tmp_path / str(blur), model=World(blur), threads=1) as engine:
            fill(engine, range(8), 4)
            weights[blur] = engine.classify(view(0, 9)).image_weight
            wrong = sum(engine.classify(view(label, 9))["name"] != NAMES[label] for label in range(8))
            assert wrong == 0
            assert engine.classify(view(0, 9), by="images").image_weight == 1
            assert engine.classify(view(0, 9), by="texts").image_weight == 0
    assert weights[0.0] < weights[20.0]
    assert weights[20.0] >= 0.75


def test_labels_choose_classes_and_may_lack_examples(engine: ps.Engine) -> None:
    found = engine.classify([view(1, 8), view(7, 8)], ["cat", "dog", "rat"])
    assert [one["name"] for one in found] == ["cat", "rat"]
    assert {entry.name: entry.examples for entry in found[0]} == {"cat": 12, "dog": 12, "rat": 0}
    one = engine.classify(view(7, 8), ["cat", "rat"])
    assert one["name"] == "rat"
    assert len(engine.classify(view(1, 8), ["cat", "dog", "cat"])) == 2
    few = engine.classify(view(1, 8), where={"id": {"$in": ["cat-0", "dog-0"]}})
    assert {entry.name: entry.examples for entry in few} == {"cat": 2, "dog": 2}


def test_it_learns_anew_when_the_catalog_changes(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=World(), threads=1) as engine:
        fill(engine, (0, 1), 3)
        assert {entry.name for entry in engine.classify(view(2, 9))} == {"bear", "cat"}
        with ps.Engine(tmp_path / "c", model=World(), threads=1) as other:
            fill(other, (2,), 3)
        assert engine.classify(view(2, 9))["name"] == "dog"
        engine.update("dog-0", label="hound")
        assert {entry.name for entry in engine.classify(view(2, 9))} == {"bear", "cat", "dog", "hound"}


def test_probabilities_can_be_trusted(engine: ps.Engine) -> None:
    """Of new items and strangers, half and half: the mean confidence is near the share of right ones."""
    pictures = [view(label, item, number) for label in range(6) for item in range(6, 12) for number in range(3)]
    labels = [NAMES[label] for label in range(6) for _ in range(18)]
    answers = engine.classify(pictures)
    right = np.mean([one["name"] == label for one, label in zip(answers, labels, strict=True)])
    sure = np.mean([one["confidence"] / (1 - one.other) for one in answers])
    assert abs(right - sure) < 0.1


def test_one_example_of_each_class_is_enough() -> None:
    examples = Examples(unit(np.eye(3)), np.arange(3), np.arange(3), 3)
    fit = learn(examples, None, np.empty((0, 3)), None)
    assert (fit.known, fit.weight) == (None, 1.0)
    best, mean = examples.scores(unit(np.array([[1.0, 0.1, 0.0]])))
    shares, other = fit.shares(fit.blended(best, mean, np.full((1, 3), -np.inf)))
    assert (int(shares.argmax()), other.tolist()) == (0, [0.0])
    assert shares.sum() == pytest.approx(1.0)


def test_a_class_shows_itself(engine: ps.Engine) -> None:
    one = engine.classify(view(0, 7))
    assert repr(one).splitlines()[0].split() == ["class", "confidence", "examples"]
    assert repr(one).splitlines()[1].split()[0] == "bear"
    assert repr(one).splitlines()[-1].startswith("(other)")
    assert "bear" in one._repr_html_()
    assert one.to_dict()["classes"][0] == {"name": "bear", "confidence": one["confidence"], "examples": 12}
    assert len(one[:2]) == 2


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (["cat"], {}, "labels has 1 names"),
        ([], {}, "labels has 0 names"),
        ("cat", {}, "labels is one text"),
        (["cat", " "], {}, "empty or no text"),
        (["cat", 3], {}, "empty or no text"),
        (["cat", "rat"], {"by": "images"}, "no item of the catalog has the label 'rat'"),
        (None, {"where": {"label": "cat"}}, "only the label 'cat'"),
        (None, {"where": {"id": "plain"}}, "no labels"),
        (None, {"by": "magic"}, "by='magic'"),
        (None, {"expand": ["a photo"]}, "template"),
        (None, {"expand": []}, "templates"),
        (None, {"model": "none"}, "none"),
    ],
)
def test_bad_input_is_refused(engine: ps.Engine, labels: Any, options: Any, said: str) -> None:
    with pytest.raises(ps.ArgumentError, match=said):
        engine.classify(view(0, 7), labels, **options)


def test_names_that_no_model_knows_are_refused(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        engine.add("a", images=np.full((8, 8, 3), 9, np.uint8), label="teddy")
        with pytest.raises(ps.ArgumentError, match="knows no word of the label 'xyzzy'"):
            engine.classify(np.full((8, 8, 3), 9, np.uint8), ["teddy", "xyzzy"])
        # A label that has examples needs no name.
        engine.add("b", images=np.full((8, 8, 3), 200, np.uint8), label="xyzzy")
        found = engine.classify(np.full((8, 8, 3), 9, np.uint8))
        assert sum(entry.confidence for entry in found) + found.other == pytest.approx(1.0)


def test_a_catalog_of_vectors_has_no_model_to_see_pictures(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", dim=3) as engine:
        engine.add_vectors(["a", "b"], np.eye(3)[:2], labels=["x", "y"])
        with pytest.raises(ps.ModelError):
            engine.classify(np.full((8, 8, 3), 9, np.uint8))
