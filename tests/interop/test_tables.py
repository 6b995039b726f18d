"""Tables in and out: pandas, polars and Arrow against the engine's own results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import plushie_search as ps
import plushie_search.pandas
import plushie_search.polars
from plushie_search import arrow
from plushie_search.interop import tables

COLORS = {"red": (200, 30, 30), "green": (30, 180, 60), "blue": (20, 60, 220), "grey": (128, 128, 128)}


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, str]:
    """The paths of plain pictures by their color."""
    for name, color in COLORS.items():
        Image.new("RGB", (9, 7), color).save(tmp_path / f"{name}.png")
    return {name: str(tmp_path / f"{name}.png") for name in COLORS}


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path, photos: dict[str, str]) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        for name in ("red", "green", "blue"):
            engine.add(name, images=[photos[name]], label=f"a {name} one", metadata={"shade": name[0]})
        yield engine


def wanted(engine: ps.Engine, photos: dict[str, str], names: list[str | None], k: int) -> list[tuple[int, str, float]]:
    """The row, item and score of each hit, one search after another."""
    found = []
    for row, name in enumerate(names):
        if name is not None:
            found += [(row, hit.item, hit.score) for hit in engine.search_image(photos[name], k=k)]
    return found


NAMES = ["blue", None, "grey", "red"]


def test_pandas_rows_find_their_hits(engine: ps.Engine, photos: dict[str, str]) -> None:
    cells = [None if name is None else photos[name] for name in NAMES]
    frame = pd.DataFrame({"photo": cells, "price": [1, 2, 3, 4]}, index=list("wxyz"))
    hits = frame.plushie.search(engine, "photo", k=2)
    expected = wanted(engine, photos, NAMES, 2)
    assert [("wxyz".index(row), *pair) for row, *pair in zip(hits.index, hits["item"], hits["score"], strict=True)] == [
        (row, item, pytest.approx(score, abs=1e-6)) for row, item, score in expected
    ]
    assert next(iter(hits["metadata"])) == {"shade": "b"}
    joined = frame.join(frame.plushie.search(engine, "photo", k=1))
    assert joined.loc["w", "item"] == "blue"
    assert (joined.loc["w", "price"], joined["item"].isna().tolist()) == (1, [False, True, False, False])
    texts = pd.DataFrame({"words": ["a pink bear", "rabbit"]}).plushie.search(engine, "words", kind="text", k=1)
    assert texts["item"].tolist() == [hits[0].item for hits in engine.search_text(["a pink bear", "rabbit"], k=1)]
    empty = frame.head(0).plushie.search(engine, "photo")
    assert (len(empty), list(empty.columns)) == (0, list(hits.columns))
    only = frame.plushie.search(engine, "photo", k=3, where={"shade": "r"})
    assert set(only["item"]) == {"red"}


def test_pandas_cells_become_vectors_and_items(engine: ps.Engine, photos: dict[str, str], tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "sku": ["g-1", "g-1", "b-1"],
            "photo": [photos["grey"], photos["green"], photos["blue"]],
            "kind": ["x", "x", None],
            "price": [1.5, float("nan"), 2.5],
            "note": ["n", "n", "m"],
        }
    )
    vectors = frame.plushie.encode(engine, "photo")
    np.testing.assert_allclose(np.stack(list(vectors)), engine.encode_images(list(frame["photo"])), atol=1e-6)
    missing = pd.DataFrame({"photo": [None, photos["red"]]}, index=[7, 8]).plushie.encode(engine, "photo")
    assert (missing[7], missing.dtype) == (None, object)
    report = frame.plushie.add(engine, image="photo", id="sku", label="kind", metadata=["price"])
    assert (report.items, report.references, report.failed) == (2, 3, [])
    assert frame.plushie.add(engine, image="photo", id="sku", label="kind", metadata=["price"]).references == 0
    item = engine.get("g-1")
    assert (item.label, item.metadata, len(item.references)) == ("x", {"price": 1.5}, 2)
    assert engine.get("b-1").label is None
    other = pd.DataFrame({"photo": [[photos["red"], photos["grey"]]], "kind": ["y"], "price": [3]})
    other.plushie.add(engine, image="photo", metadata="rest")
    assert engine.get(photos["red"]).metadata == {"kind": "y", "price": 3}
    assert len(engine.get(photos["red"]).references) == 2


def test_polars_and_arrow_find_the_same(engine: ps.Engine, photos: dict[str, str]) -> None:
    cells = [None if name is None else photos[name] for name in NAMES]
    expected = wanted(engine, photos, NAMES, 2)
    hits = pl.DataFrame({"photo": cells}).plushie.search(engine, "photo", k=2)
    assert hits.select("row", "item").rows() == [(row, item) for row, item, _ in expected]
    np.testing.assert_allclose(hits["score"], [score for *_, score in expected], atol=1e-6)
    assert pl.DataFrame({"photo": []}, {"photo": pl.String}).plushie.search(engine, "photo").columns == hits.columns
    table = pa.table({"photo": cells, "n": [0, 1, 2, 3]})
    batches = [batch for start in range(4) for batch in table.slice(start, 1).to_batches()]
    reader = pa.RecordBatchReader.from_batches(table.schema, batches)
    found = list(arrow.search_batches(engine, reader, "photo", k=2))
    assert [batch.num_rows for batch in found] == [2, 0, 2, 2]
    together = pa.Table.from_batches(found)
    assert list(zip(together["row"].to_pylist(), together["item"].to_pylist(), strict=True)) == [
        (row, item) for row, item, _ in expected
    ]
    assert together["metadata"][0].as_py() == '{"shade": "b"}'


def test_polars_and_arrow_encode_and_add(engine: ps.Engine, photos: dict[str, str], toy_encoder: object) -> None:
    cells = [photos["grey"], None, photos["red"]]
    exact = engine.encode_images([photos["grey"], photos["red"]])
    frame = pl.DataFrame({"photo": cells, "id": ["a", "b", "c"], "tags": [["x"], [], ["y", "z"]]})
    for encoder in (engine, toy_encoder):
        series = frame.plushie.encode(encoder, "photo")
        assert series.is_null().to_list() == [False, True, False]
        np.testing.assert_allclose(np.stack(series.drop_nulls().to_list()), exact, atol=1e-6)
        (batch,) = arrow.encode_batches(encoder, frame.to_arrow(), "photo", name="v")
        assert batch.column("v").type == pa.list_(pa.float32(), exact.shape[1])
        assert batch.column("v").null_count == 1
    report = frame.filter(pl.col("photo").is_not_null()).plushie.add(engine, image="photo", id="id", metadata=["tags"])
    assert (report.items, report.references) == (2, 2)
    assert engine.get("c").metadata == {"tags": ["y", "z"]}
    raw = pa.table({"bytes": [Path(photos["blue"]).read_bytes()], "key": ["raw"]})
    assert arrow.add_batches(engine, raw, image="bytes", id="key").references == 1
    (hits,) = arrow.search_batches(engine, raw.to_batches()[0], "bytes", k=1)
    assert hits.column("item").to_pylist() == ["blue"]
    assert "raw" in engine


def test_rows_that_cannot_be_used(
    engine: ps.Engine, photos: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    frame = pd.DataFrame({"photo": [photos["red"], str(tmp_path / "bad.png"), photos["blue"]]})
    with pytest.raises(ps.PictureError, match=r"^row 1: .*bad\.png"):
        frame.plushie.search(engine, "photo")
    with pytest.raises(ps.PictureError, match=r"^row 1: "):
        list(arrow.encode_batches(engine, pa.Table.from_pandas(frame), "photo"))
    with caplog.at_level(logging.WARNING, logger="plushie_search"):
        hits = frame.plushie.search(engine, "photo", k=1, errors="skip")
    assert (hits.index.tolist(), hits["item"].tolist()) == ([0, 2], ["red", "blue"])
    assert "left out row 1: " in caplog.text
    assert frame.plushie.encode(engine, "photo", errors="skip").isna().tolist() == [False, True, False]


@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_no_row_is_to_blame_for_options(
    engine: ps.Engine, photos: dict[str, str], tmp_path: Path, errors: tables.OnError
) -> None:
    frame = pd.DataFrame({"photo": [photos["red"]], "words": ["a bear"]})
    wrong = [{"k": 0}, {"where": {"shade": {"$foo": 1}}}, {"models": {"nope": 1.0}}]
    for options in wrong:
        with pytest.raises(ps.ArgumentError, match=r"^(?!row)"):
            frame.plushie.search(engine, "photo", errors=errors, **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'top'"):
        frame.plushie.search(engine, "photo", errors=errors, top=3)
    with ps.Engine(tmp_path / "vectors", dim=8) as vectors, pytest.raises(ps.ModelError):
        frame.plushie.encode(vectors, "words", kind="text", errors=errors)
    engine.close()
    with pytest.raises(ps.ArgumentError, match="this engine is closed"):
        frame.plushie.search(engine, "photo", errors=errors)


def test_cells_may_be_path_objects(engine: ps.Engine, photos: dict[str, str]) -> None:
    frame = pd.DataFrame({"photo": [Path(photos["grey"])]})
    assert frame.plushie.add(engine, image="photo").items == 1
    assert photos["grey"] in engine
    assert frame.plushie.search(engine, "photo", k=1)["item"].tolist() == [photos["grey"]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, e: f.set_axis(["photo", "photo"], axis=1).plushie.search(e, "photo"), "several columns 'photo'"),
        (lambda f, e: f.plushie.search(e, "foto"), "there is no column 'foto': name one of photo, n"),
        (lambda f, e: f.plushie.search(e, "photo", kind="sound"), "kind='sound': give 'image' or 'text'"),
        (lambda f, e: f.plushie.search(e, "photo", errors="ignore"), "errors='ignore': give 'raise' or 'skip'"),
        (lambda f, e: f.plushie.add(e, label="n"), "name the column of the pictures by image="),
        (lambda f, e: f.plushie.add(e, image="photo", metadata=["m"]), "there is no column 'm'"),
    ],
)
def test_wrong_columns_and_options_are_refused(engine: ps.Engine, photos: dict[str, str], call, message: str) -> None:
    with pytest.raises(ps.ArgumentError, match=message):
        call(pd.DataFrame({"photo": [photos["red"]], "n": [1]}), engine)


def test_a_row_needs_an_id_or_a_path(engine: ps.Engine) -> None:
    with pytest.raises(ps.ArgumentError, match="row 0 has no id"):
        list(tables.rows({"images": [b"..."]}, []))
    with pytest.raises(ps.ArgumentError, match="there is a column 'photo' already"):
        list(arrow.encode_batches(engine, pa.table({"photo": ["x"]}), "photo", name="photo"))


def test_batches_are_of_the_rows_that_are_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Encoder:
        def encode_images(self, cells: list[int]) -> np.ndarray:
            asked.append(len(cells))
            return np.array(cells, np.float32)[:, None]

    cells = [None if number % 3 == 0 else number for number in range(300)]
    found = dict(tables.encoded(Encoder(), cells, kind="image", errors="raise"))  # type: ignore[arg-type]
    assert {number: float(vector[0]) for number, vector in found.items()} == {n: n for n in range(300) if n % 3}
    assert asked == [64, 64, 64, 8]
