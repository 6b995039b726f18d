"""The classifier passes scikit-learn's own checks, and computes what its docstring says."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import toy
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps
from plushie_search import _core

pytest.importorskip("sklearn.base", reason="needs the extra `sklearn`")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from plushie_search.sklearn import PlushieClassifier, PlushieEmbedder

COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230)}
#: What parametrize_with_checks goes through; scikit-learn 1.7 gives that to pytest in a way that is an error.
CHECKS = list(estimator_checks_generator(PlushieClassifier(), legacy=True))
#: Plush toys for the comparison with other classifiers, and their views.
PLUSHES, VIEWS = range(5000, 5060), 7


def name_of(check: Any) -> str:
    return str(getattr(check, "func", check).__name__) if callable(check) else ""


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=name_of)
def test_scikit_learn_finds_nothing_wrong(check: Callable[[PlushieClassifier], None]) -> None:
    check(PlushieClassifier())


def test_scikit_learn_checks_all() -> None:
    names = {name_of(check) for _, check in CHECKS}
    assert len(CHECKS) > 45
    assert {"check_classifiers_train", "check_estimators_partial_fit_n_features", "check_estimators_pickle"} <= names


def clouds(seed: int, *, classes: int = 4, each: int = 5, dim: int = 8) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vectors of any length around random centers, and their labels, mixed."""
    chance = np.random.default_rng(seed)
    labels = chance.permutation(np.repeat(np.arange(classes), each))
    rows = chance.normal(size=(classes, dim))[labels] + chance.normal(size=(len(labels), dim))
    return rows * chance.uniform(0.1, 9, (len(labels), 1)), np.array(["ant", "bee", "cat", "dog", "eel"])[labels]


def scores_of(query: NDArray[Any], X: NDArray[Any], y: NDArray[Any], weight: float) -> dict[str, float]:
    """The score of each class, written out."""
    found = {}
    for label in sorted(set(y)):
        examples = toy.unit(X[y == label])
        best = max(float(toy.unit(query) @ example) for example in examples)
        prototype = float(toy.unit(query) @ toy.unit(examples.mean(axis=0)))
        found[label] = (1 - weight) * best + weight * prototype
    return found


# Scores and probabilities


@pytest.mark.parametrize("weight", [0, 0.3, 0.5, 1])
def test_scores_weigh_the_best_example_and_the_prototype(weight: float) -> None:
    X, y = clouds(0)
    queries, _ = clouds(1)
    model = PlushieClassifier(prototype_weight=weight).fit(X, y)
    wanted = [scores_of(query, X, y, weight) for query in queries]
    assert list(model.classes_) == list(wanted[0])
    assert model.decision_function(queries) == pytest.approx(np.array([list(one.values()) for one in wanted]))
    assert list(model.predict(queries)) == [max(one, key=one.__getitem__) for one in wanted]


def test_of_two_classes_the_score_is_a_difference() -> None:
    X, y = clouds(0, classes=2)
    queries, _ = clouds(1)
    model = PlushieClassifier().fit(X, y)
    wanted = [scores_of(query, X, y, 0.5) for query in queries]
    decisions = model.decision_function(queries)
    assert decisions == pytest.approx([one["bee"] - one["ant"] for one in wanted])
    probabilities = 1 / (1 + np.exp(-decisions / model.temperature_))
    assert model.predict_proba(queries)[:, 1] == pytest.approx(probabilities)


def test_without_prototypes_it_is_the_nearest_neighbor() -> None:
    X, y = clouds(2, classes=5, each=8)
    queries, _ = clouds(3, each=50)
    nearest = KNeighborsClassifier(1, metric="cosine").fit(X, y)
    assert list(PlushieClassifier(prototype_weight=0).fit(X, y).predict(queries)) == list(nearest.predict(queries))


def test_without_examples_it_is_the_nearest_mean_on_the_sphere() -> None:
    X, y = clouds(2, classes=5, each=8)
    queries, _ = clouds(3, each=50)
    means = NearestCentroid().fit(toy.unit(X), y)
    nearest = KNeighborsClassifier(1, metric="cosine").fit(means.centroids_, means.classes_)
    assert list(PlushieClassifier(prototype_weight=1).fit(X, y).predict(queries)) == list(nearest.predict(queries))


@pytest.mark.parametrize("weight", [0, 0.5, 1])
def test_the_temperature_has_the_least_loss_of_examples_left_out(weight: float) -> None:
    X, y = clouds(4)
    X, y = np.concatenate([X, X[:1] + 0.1]), np.append(y, "eel")  # one that cannot be left out
    model = PlushieClassifier(prototype_weight=weight).fit(X, y)
    kept = [number for number in range(len(y)) if y[number] != "eel"]
    scores = np.array([list(scores_of(X[i], np.delete(X, i, axis=0), np.delete(y, i), weight).values()) for i in kept])
    right = np.searchsorted(model.classes_, y[kept])
    targets = np.full(scores.shape, 1 / (len(kept) + 2) / 4)
    targets[np.arange(len(kept)), right] = (len(kept) + 1) / (len(kept) + 2)

    def loss(temperature: float) -> float:
        powers = np.exp(scores / temperature)
        return float(-(targets * np.log(powers / powers.sum(axis=1, keepdims=True))).sum(axis=1).mean())

    temperatures = np.geomspace(0.01, 10, 4001)
    losses = [loss(one) for one in temperatures]
    assert model.temperature_ == pytest.approx(temperatures[int(np.argmin(losses))], rel=3e-3)
    assert loss(model.temperature_) <= min(losses) + 1e-9


def test_probabilities_are_better_than_at_other_temperatures() -> None:
    X, y = clouds(5, each=12)
    model = PlushieClassifier().fit(X[::2], y[::2])
    fitted = log_loss(y[1::2], model.predict_proba(X[1::2]))
    for factor in (1 / 3, 3):
        other = clone(model).fit(X[::2], y[::2])
        other.temperature_ *= factor
        assert fitted < log_loss(y[1::2], other.predict_proba(X[1::2]))


def test_few_examples_that_are_all_right_give_no_certainty() -> None:
    X = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    probabilities = PlushieClassifier().fit(X, [0, 0, 1, 1]).predict_proba(X)
    assert probabilities.max(axis=1) == pytest.approx(np.full(4, 5 / 6), abs=1e-4)


@pytest.mark.parametrize("y", [[0, 1, 2], [0, 0, 0]])
def test_a_temperature_that_cannot_be_fitted_is_the_default(y: list[int]) -> None:
    assert PlushieClassifier().fit(np.eye(3), y).temperature_ == 1 / 20


def test_blocks_of_cosines_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = clouds(6)
    whole = PlushieClassifier().fit(X, y)
    monkeypatch.setattr("plushie_search.sklearn.MOST_COSINES", 50)
    parts = PlushieClassifier().fit(X, y)
    assert parts.temperature_ == pytest.approx(whole.temperature_)
    assert parts.decision_function(X) == pytest.approx(whole.decision_function(X))


def test_of_many_examples_some_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = clouds(7, each=200)
    whole = PlushieClassifier().fit(X, y).temperature_
    monkeypatch.setattr("plushie_search.sklearn.MOST_LEFT_OUT", 400)
    assert PlushieClassifier().fit(X, y).temperature_ == pytest.approx(whole, rel=0.1)


def test_float32_stays_float32() -> None:
    X, y = clouds(8)
    model = PlushieClassifier().fit(X.astype(np.float32), y)
    assert (model.vectors_.dtype, model.decision_function(X.astype(np.float32)).dtype) == (np.float32, np.float32)
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float64
    assert model.decision_function(X) == pytest.approx(PlushieClassifier().fit(X, y).decision_function(X), abs=1e-5)


# Learning in parts


def test_parts_give_what_the_whole_gives() -> None:
    X, y = clouds(9, classes=5)
    model = PlushieClassifier()
    for rows in (slice(0, 3), slice(3, 11), slice(11, None)):
        model.partial_fit(X[rows], y[rows])
    whole = PlushieClassifier().fit(X, y)
    for name in ("classes_", "vectors_", "targets_", "prototypes_", "temperature_"):
        assert np.array_equal(getattr(model, name), getattr(whole, name)), name
    assert np.array_equal(model.predict_proba(X), whole.predict_proba(X))


def test_fitting_forgets() -> None:
    X, y = clouds(9)
    model = PlushieClassifier().fit(X[:, :5], y).fit(X[:6], y[:6])
    assert np.array_equal(model.vectors_, PlushieClassifier().fit(X[:6], y[:6]).vectors_)


def test_classes_without_examples_come_last() -> None:
    X, y = clouds(10, classes=2)
    model = PlushieClassifier().partial_fit(X, y, classes=["bee", "aardvark", "ant"])
    assert list(model.classes_) == ["aardvark", "ant", "bee"]
    assert (model.decision_function(X)[:, 0] == -1).all()
    assert "aardvark" not in model.predict(X)
    assert model.temperature_ == PlushieClassifier().fit(X, y).temperature_
    model.partial_fit(-X[:1], ["aardvark"])
    assert model.predict(-X[:1]) == ["aardvark"]


def test_another_dimension_is_refused_and_changes_nothing() -> None:
    X, y = clouds(11)
    model = PlushieClassifier().fit(X, y)
    for call in (lambda: model.partial_fit(X[:, :5], y), lambda: model.predict(X[:, :5])):
        with pytest.raises(ValueError, match="X has 5 features, but PlushieClassifier is expecting 8"):
            call()
    assert np.array_equal(model.vectors_, PlushieClassifier().fit(X, y).vectors_)


# Pictures


def picture(color: str, number: int = 0) -> NDArray[np.uint8]:
    shade = np.clip(np.array(COLORS[color]) + 9 * number, 0, 255)
    return np.full((16, 16, 3), shade, np.uint8)


@pytest.fixture
def photos() -> tuple[list[NDArray[np.uint8]], list[str]]:
    labels = [color for color in COLORS for _ in range(4)]
    return [picture(color, number) for color in COLORS for number in range(4)], labels


def test_pictures_are_classified_by_their_vectors(toy_model: Path, photos: Any) -> None:
    pictures, labels = photos
    vectors = ps.open_encoder(toy_model).encode_images(pictures)
    model = PlushieClassifier(PlushieEmbedder(toy_model)).fit(pictures, labels)
    wanted = PlushieClassifier().fit(vectors, labels)
    assert np.array_equal(model.vectors_, wanted.vectors_)
    assert np.array_equal(model.predict_proba(pictures), wanted.predict_proba(vectors))
    assert np.array_equal(model.predict_proba(vectors), wanted.predict_proba(vectors))
    assert model.score(pictures, labels) == 1
    assert list(model.predict([picture("red", 9), picture("blue", 5)])) == ["red", "blue"]


def test_pictures_of_all_kinds(toy_model: Path, photos: Any, tmp_path: Path) -> None:
    pictures, labels = photos
    model = PlushieClassifier(PlushieEmbedder(toy_model)).fit(pictures, labels)
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    images = [Image.fromarray(one) for one in pictures]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    names = [str(path) for path in paths]
    ways = {
        "paths": paths,
        "tuple": tuple(names),
        "array": np.array(names),
        "column": pd.Series(names),
        "objects": np.array(paths, dtype=object),
        "bytes": [path.read_bytes() for path in paths],
        "files": [io.BytesIO(path.read_bytes()) for path in paths],
        "images": images,
        "stack": np.stack(pictures),
    }
    wanted = model.predict_proba(pictures)
    for name, way in ways.items():
        assert np.array_equal(model.predict_proba(way), wanted), name


def test_the_picture_that_cannot_be_read_is_named(toy_model: Path, photos: Any) -> None:
    model = PlushieClassifier(PlushieEmbedder(toy_model)).fit(*photos)
    with pytest.raises(FileNotFoundError) as caught:
        model.predict(["missing.jpg"])
    assert caught.value.filename == "missing.jpg"
    with pytest.raises(ps.PictureError, match="image 1"):
        model.predict([photos[0][0], b"no picture"])


def test_texts_by_an_embedder_of_texts(toy_model: Path) -> None:
    model = PlushieClassifier(PlushieEmbedder(toy_model, kind="text"))
    model.partial_fit(["teddy bear", "brown bear"], ["bear", "bear"]).partial_fit(["pink rabbit"], ["rabbit"])
    assert list(model.predict(["brown teddy bear", "rabbit"])) == ["bear", "rabbit"]


def test_an_opened_model_is_not_pickled(toy_model: Path, photos: Any) -> None:
    pictures, labels = photos
    model = PlushieClassifier(PlushieEmbedder(toy_model)).fit(pictures, labels)
    wanted = model.predict_proba(pictures)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(pictures), wanted)
    assert np.array_equal(clone(model).fit(pictures, labels).predict_proba(pictures), wanted)


def test_parameters_are_searched(toy_model: Path, photos: Any) -> None:
    pictures, labels = photos
    grid = {"prototype_weight": [0, 0.5, 1], "embedder__model": [str(toy_model)]}
    search = GridSearchCV(PlushieClassifier(PlushieEmbedder()), grid, cv=2, error_score="raise")
    search.fit(pictures, labels)
    assert (search.best_score_, search.n_features_in_) == (1, toy.DIM)
    piped = make_pipeline(PlushieEmbedder(toy_model), PlushieClassifier())
    assert list(cross_val_predict(piped, pictures, labels, cv=2)) == labels


# Against others


@pytest.fixture(scope="module")
def plushes() -> NDArray[np.float32]:
    """The built-in model's vectors of plush toys that are half hidden, of shape (toys, views, dimension)."""
    views = [(seed, 100 * seed + view) for seed in PLUSHES for view in range(VIEWS)]
    pictures = _core.render_plushes([seed for seed, _ in views], [view for _, view in views], scene="occluded")
    return PlushieEmbedder().transform(pictures).reshape(len(PLUSHES), VIEWS, -1)


def test_toys_are_recognized_as_well_as_by_others(plushes: NDArray[np.float32]) -> None:
    right: dict[str, list[float]] = {}
    for shots in (2, 4):
        X, queries = (part.reshape(-1, plushes.shape[2]) for part in (plushes[:, :shots], plushes[:, 4:]))
        y, wanted = (np.repeat(PLUSHES, count) for count in (shots, VIEWS - 4))
        for model in (PlushieClassifier(), NearestCentroid(), KNeighborsClassifier(1)):
            right.setdefault(type(model).__name__, []).append(model.fit(X, y).score(queries, wanted))
    means = {name: float(np.mean(shares)) for name, shares in right.items()}
    ours = means.pop("PlushieClassifier")
    assert 0.8 < ours < 1  # hard enough to tell them apart
    assert ours >= max(means.values()) - 0.01, means


# Errors


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), "half", None])
def test_a_weight_out_of_range(weight: Any) -> None:
    with pytest.raises(ps.ArgumentError, match="prototype_weight must be between 0 and 1, got"):
        PlushieClassifier(prototype_weight=weight).fit(np.eye(2), [0, 1])


def test_labels_of_two_kinds() -> None:
    with pytest.raises(ps.ArgumentError, match="types NoneType and str: give strings only, or numbers only"):
        PlushieClassifier().fit(np.eye(2), ["a", None])
    model = PlushieClassifier().fit(np.eye(2), ["a", "b"])
    with pytest.raises(ps.ArgumentError, match="types int and str"):
        model.partial_fit(np.eye(2), [1, 2])
    assert list(model.classes_) == ["a", "b"]


def test_fractions_are_no_classes() -> None:
    with pytest.raises(ValueError, match="Unknown label type"):
        PlushieClassifier().fit(np.eye(2), [0.5, 1.5])


def test_it_must_be_fitted_before() -> None:
    with pytest.raises(NotFittedError):
        PlushieClassifier().predict(np.eye(2))
    with pytest.raises(ValueError, match="0 sample"):
        PlushieClassifier().fit([], [])
