"""Columns of pandas tables stand for lists, whatever their index is; things that cannot be pickled say so."""

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import plushie_search as ps


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ps.Engine]:
    """An engine; in the current folder a.png, b.png and c.png."""
    monkeypatch.chdir(tmp_path)
    for name, color in (("a", "red"), ("b", "blue"), ("c", "green")):
        Image.new("RGB", (9, 9), color).save(f"{name}.png")
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        yield engine


def column(values: list[Any]) -> Any:
    return pd.Series(values, index=range(7, 7 + len(values)))


def index(values: list[Any]) -> Any:
    return pd.Index(values)


@pytest.mark.parametrize("of", [column, index])
def test_columns_are_lists_in_searches(engine: ps.Engine, of: Callable[[list[Any]], Any]) -> None:
    engine.add_images(["a.png", "b.png", "c.png"], ids=["x", "y", "z"])
    pictures, texts = ["a.png", "b.png"], ["red bear", "a scarf"]
    assert engine.search_image(of(pictures)) == engine.search_image(pictures)
    assert [results.query for results in engine.search_image(of(pictures))] == pictures
    assert engine.search_text(of(texts)) == engine.search_text(texts)
    assert engine.search_hybrid(of(pictures), of(texts)) == engine.search_hybrid(pictures, texts)
    assert np.array_equal(engine.encode_images(of(pictures)), engine.encode_images(pictures))
    assert np.array_equal(engine.encode_texts(of(texts)), engine.encode_texts(texts))
    vectors = list(engine.encode_images(pictures))
    for part in ({"image": pictures}, {"text": texts}, {"item": ["x", "y"]}, {"vector": vectors}):
        [(name, values)] = part.items()
        assert engine.search(ps.Query(**{name: column_of(values)})) == engine.search(ps.Query(**part))
    queries = [ps.Query(image="a.png"), ps.Query(text="bear")]
    assert engine.search(column_of(queries)) == engine.search(queries)
    one = vectors[0].tolist()
    assert engine.search(ps.Query(vector=of(one))) == engine.search(ps.Query(vector=one))


def column_of(values: list[Any]) -> Any:
    """A column of things that are no numbers or texts."""
    return pd.Series(values, index=range(3, 3 + len(values)), dtype=object)


def test_a_query_of_pictures_needs_no_weights(engine: ps.Engine) -> None:
    engine.add_images(["a.png", "b.png", "c.png"], ids=["x", "y", "z"])
    weighted = engine.search(ps.Query(image=[("a.png", 1.0), ("b.png", 1.0)]))
    pictures = [np.asarray(Image.open(name)) for name in ("a.png", "b.png")]
    for image in (["a.png", "b.png"], ("a.png", "b.png"), pictures, column(["a.png", "b.png"])):
        assert engine.search(ps.Query(image=image)) == weighted
    assert weighted != engine.search(ps.Query(image="a.png"))


@pytest.mark.parametrize("of", [column, index])
def test_columns_are_lists_of_items(engine: ps.Engine, of: Callable[[list[Any]], Any]) -> None:
    pictures = ["a.png", "b.png"]
    assert engine.add("both", images=of(pictures)).references == 2
    assert engine.add_items([{"id": "row", "images": of(pictures)}]).references == 2
    done: list[tuple[int, int | None]] = []
    engine.add_items([ps.ItemDraft("draft", of(pictures))], progress=lambda now, total, _: done.append((now, total)))
    assert done[-1] == (2, 2)
    report = engine.add_images(
        of(pictures),
        ids=of(["x", "y"]),
        labels=of(["bear", None]),
        texts=of([float("nan"), "a text"]),
        metadata=column_of([{"price": 3}, None]),
    )
    assert (report.items, report.references, report.failed) == (2, 2, [])
    x, y = engine.get(of(["x", "y"]))
    assert (x.label, x.text, x.metadata) == ("bear", None, {"price": 3})
    assert (y.label, y.text, y.metadata) == (None, "a text", {})
    assert [Path(item.references[0].name).name for item in (x, y)] == pictures
    assert engine.add_images(of(pictures)).items == 2
    assert "a.png" in engine
    assert engine.remove(of(["x", "y"])) == 2


def test_engines_cannot_be_pickled(engine: ps.Engine) -> None:
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(
            TypeError, match="an Engine cannot be pickled or copied: open the catalog again by its path"
        ):
            call(engine)


def test_an_encoder_says_that_it_cannot_be_pickled(toy_model: Path) -> None:
    encoder = ps.open_encoder(toy_model)
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="an Encoder cannot be pickled or copied: open it again by open_encoder"):
            call(encoder)
