"""The transformer of pictures and texts gives the encoder's vectors, wherever scikit-learn puts it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import toy
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import _core, hub

pytest.importorskip("sklearn.base", reason="needs the extra `sklearn`")

from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags

from plushie_search.sklearn import PlushieEmbedder

TEXTS = ["brown teddy bear", "pink rabbit", "粉色兔子", "red scarf"]


@pytest.fixture
def pictures() -> list[NDArray[np.uint8]]:
    chance = np.random.default_rng(0)
    return [chance.integers(0, 256, (9 + number, 12, 3), dtype=np.uint8) for number in range(6)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are opened."""
    names: list[str] = []

    def open_encoder(model: Any, **options: Any) -> _core.Encoder:
        names.append(str(model))
        return hub.open_encoder(model, **options)

    monkeypatch.setattr("plushie_search.sklearn.open_encoder", open_encoder)
    return names


def test_vectors_are_those_of_the_encoder(toy_model: Path, pictures: Any) -> None:
    encoder = ps.open_encoder(toy_model)
    vectors = PlushieEmbedder(toy_model).fit(pictures).transform(pictures)
    assert (vectors.dtype, vectors.shape) == (np.float32, (6, toy.DIM))
    assert np.array_equal(vectors, encoder.encode_images(pictures))
    assert np.array_equal(PlushieEmbedder(toy_model).fit_transform(pictures), vectors)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6))
    for texts in (TEXTS, np.array(TEXTS), pd.Series(TEXTS), tuple(TEXTS)):
        found = PlushieEmbedder(toy_model, kind="text").transform(texts)
        assert np.array_equal(found, encoder.encode_texts(TEXTS))
    assert PlushieEmbedder(toy_model).transform([]).shape == (0, toy.DIM)


def test_the_built_in_model_is_the_default() -> None:
    toys = list(_core.render_plushes([1, 2], [3, 4]))
    wanted = ps.open_encoder("plushie-mini").encode_images(toys)
    assert np.array_equal(PlushieEmbedder().transform(np.stack(toys)), wanted)
    words = PlushieEmbedder(kind="text").transform(["a pink rabbit"])
    assert np.array_equal(words, ps.open_encoder("plushie-mini").encode_texts(["a pink rabbit"]))


def test_a_model_is_opened_once_and_late(toy_model: Path, pictures: Any, opened: list[str]) -> None:
    embedder = PlushieEmbedder(str(toy_model)).fit(pictures)
    assert opened == []
    first = embedder.transform(pictures)
    embedder.transform(pictures[:1])
    assert opened == [str(toy_model)]
    embedder.set_params(threads=1)
    assert np.array_equal(embedder.transform(pictures), first)
    assert opened == [str(toy_model)] * 2


def test_options_reach_the_encoder(toy_model: Path) -> None:
    encoder = PlushieEmbedder(toy_model, threads=1, max_batch=3)._encoder()
    assert (encoder.threads, encoder.max_batch, encoder.device) == (1, 3, "cpu")
    with pytest.raises(ps.ArgumentError, match="fp15"):
        PlushieEmbedder(toy_model, precision="fp15").transform([])


def test_pickles_and_clones_hold_no_model(toy_model: Path, pictures: Any, opened: list[str]) -> None:
    embedder = PlushieEmbedder(toy_model, max_batch=2)
    fresh = pickle.dumps(embedder)
    vectors = embedder.transform(pictures)
    assert pickle.dumps(embedder) == fresh
    assert joblib.hash(embedder) == joblib.hash(clone(embedder))
    for copy in (pickle.loads(fresh), clone(embedder)):
        assert copy.get_params() == embedder.get_params()
        assert np.array_equal(copy.transform(pictures), vectors)
    assert len(opened) == 3


def test_parameters_are_named() -> None:
    params = PlushieEmbedder().get_params()
    assert params == {
        "model": "plushie-mini",
        "kind": "image",
        "threads": None,
        "device": "cpu",
        "precision": None,
        "max_batch": None,
    }
    assert PlushieEmbedder(**params).set_params(kind="text").kind == "text"


def test_tags_say_that_it_needs_no_fitting() -> None:
    tags = get_tags(PlushieEmbedder())
    assert (tags.requires_fit, tags.no_validation) == (False, True)
    assert (tags.input_tags.two_d_array, tags.input_tags.string) == (False, True)


def test_tables(toy_model: Path, pictures: Any) -> None:
    embedder = PlushieEmbedder(toy_model)
    names = [f"plushieembedder{number}" for number in range(toy.DIM)]
    assert list(embedder.get_feature_names_out()) == names
    vectors = embedder.transform(pictures)
    embedder.set_output(transform="pandas")
    table = embedder.transform(pictures)
    assert (list(table.columns), list(table.index)) == (names, list(range(6)))
    assert np.array_equal(table.to_numpy(), vectors)
    column = pd.Series(pictures, index=list("uvwxyz"))
    assert list(embedder.transform(column).index) == list("uvwxyz")


def test_a_column_of_a_table_beside_numbers(toy_model: Path) -> None:
    table = pd.DataFrame({"name": TEXTS, "price": [1.0, 2.0, 3.0, 4.0]})
    words = PlushieEmbedder(toy_model, kind="text")
    columns = ColumnTransformer([("words", words, "name"), ("price", "passthrough", ["price"])])
    found = columns.fit_transform(table)
    assert np.array_equal(found[:, :-1], words.transform(TEXTS).astype(np.float64))
    assert list(found[:, -1]) == [1, 2, 3, 4]
    assert columns.get_feature_names_out()[-1] == "price__price"


def test_pipelines_and_grids(toy_model: Path, pictures: Any, tmp_path: Path) -> None:
    labels = [0, 1, 0, 1, 0, 1]
    vectors = PlushieEmbedder(toy_model).transform(pictures)
    wanted = NearestCentroid().fit(vectors, labels).predict(vectors)
    pipe = make_pipeline(PlushieEmbedder(toy_model), NearestCentroid(), memory=str(tmp_path))
    assert list(pipe.fit(pictures, labels).predict(pictures)) == list(wanted)
    assert list(pickle.loads(pickle.dumps(pipe)).predict(pictures)) == list(wanted)
    steps = Pipeline([("embed", PlushieEmbedder(toy_model)), ("classify", NearestCentroid())])
    grid = {"embed__max_batch": [1, 2], "classify__shrink_threshold": [None, 0.1]}
    search = GridSearchCV(steps, grid, cv=2, n_jobs=2, error_score="raise").fit(pictures, labels)
    assert len(search.cv_results_["params"]) == 4
    assert len(search.predict(pictures)) == 6


# Errors


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a.jpg", "a str"),
        (np.zeros((4, 4, 3), np.uint8), r"of shape \(4, 4, 3\)"),
        (np.zeros((2, 6)), r"of shape \(2, 6\)"),
        ([[0.1, 0.2]], "a list of list"),
        ([0.1, 0.2], "a list of float"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), r"of shape \(1, 2\)"),
        (None, "a NoneType"),
    ],
)
def test_things_that_are_no_list_of_pictures(toy_model: Path, given: Any, said: str) -> None:
    with pytest.raises(ps.ArgumentError, match=f"X is {said}: give a list of pictures"):
        PlushieEmbedder(toy_model).transform(given)


def test_members_that_are_no_pictures_and_no_texts(toy_model: Path, pictures: Any) -> None:
    with pytest.raises(TypeError, match="image 1 is of type dict"):
        PlushieEmbedder(toy_model).transform([pictures[0], {}])
    with pytest.raises(TypeError, match="text 1 is of type"):
        PlushieEmbedder(toy_model, kind="text").transform(["bear", None])
    with pytest.raises(ps.ArgumentError, match="X is a list of int: give a list of texts"):
        PlushieEmbedder(toy_model, kind="text").transform([1])


def test_parameters_that_make_no_sense(toy_encoder: _core.Encoder) -> None:
    with pytest.raises(ps.ArgumentError, match="kind 'sound': give 'image' or 'text'"):
        PlushieEmbedder(kind="sound").fit()  # type: ignore[arg-type]
    with pytest.raises(ps.ArgumentError, match="model is of type Encoder: give the name of a model"):
        PlushieEmbedder(toy_encoder).transform([])  # type: ignore[arg-type]


def test_a_lack_of_scikit_learn_is_told() -> None:
    code = "import sys; sys.modules['sklearn.base'] = None; import plushie_search.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs scikit-learn from 1.6 on; install it with: pip install 'plushie_search[sklearn]'" in done.stderr
