"""Values of Python, numpy and pandas as metadata, in filters, as ids and as vectors."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import plushie_search as ps


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        dim = engine.stats()["dimension"]
        engine.add_vectors(["toy", "other"], np.eye(2, dim))
        yield engine


class Level(enum.IntEnum):
    HIGH = 3


STORED = [
    (np.bool_(True), True),
    (np.array([3, 1])[0] > 2, True),
    (np.int64(7), 7),
    (np.uint8(7), 7),
    (np.float32(0.5), 0.5),
    (np.float64(0.1), 0.1),
    (np.longdouble(0.25), 0.25),
    (np.str_("red"), "red"),
    (np.array(5), 5),
    (np.array([[1, 2], [3, 4]], ">i4"), [[1, 2], [3, 4]]),
    (np.array([True, False]), [True, False]),
    (np.array(["a", None], object), ["a", None]),
    (np.ma.masked_array([1, 2], [False, True]), [1, None]),
    (pd.Series([1.5, 2.5]), [1.5, 2.5]),
    (pd.NA, None),
    (pd.NaT, None),
    (np.datetime64("NaT"), None),
    ([pd.NA, np.int8(1)], [None, 1]),
    (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
    (Level.HIGH, 3),
    (decimal.Decimal("12.50"), 12.5),
    (decimal.Decimal("12"), 12),
    (PurePosixPath("a/b.jpg"), "a/b.jpg"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (MappingProxyType({np.str_("k"): 1}), {"k": 1}),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    (np.datetime64("2026-01-02T03:04:05"), "2026-01-02T03:04:05"),
    (np.datetime64("2026-01-02T03:04:05", "ns"), "2026-01-02T03:04:05"),
    (np.datetime64("2026-01-02T03:04"), "2026-01-02T03:04:00"),
    (np.datetime64("2026-01-02T03:04:05.5", "ns"), "2026-01-02T03:04:05.500000"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, 500000), "2026-01-02T03:04:05.500000"),
    (pd.Timestamp("2026-01-02T03:04:05"), "2026-01-02T03:04:05"),
    (pd.Timestamp("2026-01-02T03:04:05+02:00"), "2026-01-02T01:04:05+00:00"),
    (dt.datetime(2026, 1, 2, 1, 4, 5, tzinfo=dt.timezone.utc), "2026-01-02T01:04:05+00:00"),
    (pd.Series(pd.to_datetime(["2026-01-02"])), ["2026-01-02T00:00:00"]),
]


@pytest.mark.parametrize(("value", "stored"), STORED, ids=lambda value: repr(value)[:40])
def test_values_have_a_plain_form(engine: ps.Engine, value: Any, stored: Any) -> None:
    engine.update("toy", metadata={"x": value})
    found = engine.get("toy").metadata["x"]
    assert (found, type(found)) == (stored, type(stored))
    if not isinstance(stored, (list, dict)):
        assert [item.id for item in engine.items(where={"x": value, "id": "toy"})] == ["toy"]


def test_numbers_keep_every_bit(engine: ps.Engine) -> None:
    numbers = (np.random.default_rng(0).random(2000) * 10).tolist()
    engine.update("toy", metadata={"x": numbers})
    assert engine.get("toy").metadata["x"] == numbers


class Itself:
    def __index__(self) -> Any:
        return self


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ({"a": [0, {"b": float("-inf")}]}, ValueError, r'metadata\["a"\]\[1\]\["b"\]: -inf is not a number'),
        ({"a": np.array([1, np.inf])}, ValueError, r'metadata\["a"\]\[1\]: inf is not a number'),
        ({"a": [1, 2**63]}, ValueError, r'metadata\["a"\]\[1\]: the integer does not fit into 64 bits'),
        ({"a": decimal.Decimal("0.12345678901234567890")}, ValueError, r'metadata\["a"\]: .* more digits'),
        ({"a": [b"x"]}, TypeError, r'metadata\["a"\]\[0\]: a value of type bytes cannot be stored'),
        ({"a": np.timedelta64(1, "s")}, TypeError, r'metadata\["a"\]: an array of type timedelta64'),
        ({"a": {1: 2}}, TypeError, r'metadata\["a"\]: keys must be str, got int'),
        ({"a": Itself()}, ValueError, "metadata is nested more than 64 levels deep"),
        ([], TypeError, "metadata must be a dict, got list"),
    ],
)
def test_errors_name_the_place_in_the_metadata(
    engine: ps.Engine, metadata: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        engine.update("toy", metadata=metadata)
    assert engine.get("toy").metadata == {}


def test_dates_compare(engine: ps.Engine) -> None:
    engine.update("toy", metadata={"made": dt.date(2026, 1, 2)})
    engine.update("other", metadata={"made": pd.Timestamp("2025-06-01T12:00")})
    assert [item.id for item in engine.items(where={"made": {"$gte": dt.datetime(2026, 1, 1)}})] == ["toy"]
    assert [item.id for item in engine.items(where={"made": {"$lt": np.datetime64("2026-01-01")}})] == ["other"]


def test_ids_and_labels_come_from_tables(engine: ps.Engine) -> None:
    dim = engine.stats()["dimension"]
    assert engine.add_vectors(pd.Series([np.int64(7), "a"]), np.eye(2, dim)) == ps.Added(2, 0)
    engine.update("7", label=np.str_("bear"), text=pd.NA)
    assert (engine.get("7").label, engine.get("7").text, "a" in engine) == ("bear", None, True)
    with pytest.raises(TypeError, match=r"the id ids\[1\] 1.5 is of type float: give a text or a whole number"):
        engine.add_vectors(["b", 1.5], np.eye(2, dim))  # type: ignore[list-item]


@pytest.mark.parametrize("number", [8, np.int64(8), np.uint8(8)])
def test_a_whole_number_means_its_digits_everywhere(engine: ps.Engine, number: Any) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    assert engine.add(number, images=picture, label=number, text=number) == ps.Added(1, 0)
    assert engine.add(number, label=float("nan"), text=pd.NA, metadata=np.nan) == ps.Added(0, 0)  # type: ignore[arg-type]
    item = engine.get(number)
    assert (item.id, item.label, item.text, item.metadata) == ("8", "8", "8", {})
    assert number in engine
    assert engine.vectors(number).shape[0] == 1
    engine.update(number, label=np.int64(3), text=np.float32("nan"))  # type: ignore[arg-type]
    assert (engine.get("8").label, engine.get("8").text) == ("3", None)
    for where in (
        {"id": number},
        {"id": {"$in": [number, "x"]}, "label": 3},
        {"label": {"$in": [3]}},
        {"label": {"$nin": [4]}, "id": {"$nin": ["toy", "other"]}},
    ):
        assert [one.id for one in engine.items(where=where)] == ["8"]
    assert engine.items(where={"id": {"$ne": number}, "label": 3}) == []
    engine.remove([number])
    assert number not in engine
    engine.add_vectors([number], np.eye(1, engine.stats()["dimension"]))
    engine.remove(number)
    assert (number in engine, "toy" in engine) == (False, True)


def test_other_ids_are_refused_by_their_field(engine: ps.Engine) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    for id in (True, np.bool_(True), 8.0, b"a"):
        for call in (lambda id: engine.add(id, images=picture), engine.get, engine.vectors, engine.update):
            with pytest.raises(TypeError, match=r"^the id .* is of type .*: give a text or a whole number$"):
                call(id)  # type: ignore[operator]
        with pytest.raises(TypeError, match=r"^the id ids\[1\] .* is of type "):
            engine.remove(["toy", id])  # type: ignore[list-item]
        assert id not in engine
    with pytest.raises(ValueError, match=r"^the id is missing: give a text or a whole number$"):
        engine.get(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^the label True is of type bool"):
        engine.update("toy", label=True)
    with pytest.raises(TypeError, match=r"^the text 1.5 is of type float"):
        engine.add("toy", text=1.5)  # type: ignore[arg-type]
    assert len(engine) == 2


def test_nan_in_metadata_is_none(engine: ps.Engine) -> None:
    nan = float("nan")
    values = {"a": nan, "b": [1, np.float32(nan)], "c": {"d": np.array([0.5, nan])}, "e": pd.Series([nan])}
    engine.update("toy", metadata=values)
    assert engine.get("toy").metadata == {"a": None, "b": [1, None], "c": {"d": [0.5, None]}, "e": [None]}
    engine.add_items([ps.ItemDraft("toy", (), None, nan)])
    engine.add("toy", metadata=np.float64(nan))  # type: ignore[arg-type]
    assert engine.get("toy").metadata["a"] is None
    engine.update("toy", metadata=np.nan)  # type: ignore[arg-type]
    assert engine.get("toy").metadata == {}
    with pytest.raises(ValueError, match=r'where\["a"\]: NaN is not a number'):
        engine.items(where={"a": nan})


DAY, UTC = "2024-01-02", dt.timezone.utc
MIDNIGHTS = [DAY, f"{DAY}T00:00:00"]
INSTANTS = [f"{DAY}T10:00:00Z", f"{DAY}T10:00:00+00:00"]


@pytest.mark.parametrize(
    ("asked", "same", "before", "after"),
    [
        (pd.Timestamp(DAY), MIDNIGHTS, ["2024-01-01T23:59:59.999"], [f"{DAY}T00:00:00.001", f"{DAY}T00:00:01"]),
        (dt.date(2024, 1, 2), MIDNIGHTS, ["2024-01-01"], ["2024-01-03", f"{DAY}T00:00:01"]),
        (
            dt.datetime(2024, 1, 2, 10, tzinfo=UTC),
            INSTANTS,
            [f"{DAY}T09:59:59.5Z", f"{DAY}T09:59:59.5+00:00"],
            [f"{DAY}T10:00:00.5Z", f"{DAY}T10:00:00.500000+00:00"],
        ),
        (pd.Timestamp("2024-01-02T12:00+02:00"), INSTANTS, ["2024-01-01"], ["2024-01-03"]),
        (INSTANTS[0], INSTANTS, [], []),
    ],
)
def test_dates_compare_in_all_spellings(
    engine: ps.Engine, asked: Any, same: list[str], before: list[str], after: list[str]
) -> None:
    kept = [*same, *before, *after]
    names = [f"n{place}" for place in range(len(kept))]
    engine.add_vectors(names, np.random.default_rng(1).normal(size=(len(kept), engine.stats()["dimension"])))
    for name, value in zip(names, kept, strict=True):
        engine.update(name, metadata={"d": [value] if name == "n1" else value})
    for operator, found in {
        "$eq": same,
        "$ne": [*before, *after],
        "$in": same,
        "$lt": before,
        "$lte": [*same, *before],
        "$gt": after,
        "$gte": [*same, *after],
    }.items():
        where = {"d": {"$exists": True, operator: [asked] if operator == "$in" else asked}}
        items = engine.items(where=where)
        assert sorted(kept[names.index(item.id)] for item in items) == sorted(found), operator


def test_dates_in_lists_compare_in_all_spellings(engine: ps.Engine) -> None:
    engine.update("toy", metadata={"d": [dt.date(2024, 1, 2), INSTANTS[0]]})
    asked = [dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 2, 10, tzinfo=UTC)]
    for test in (asked, {"$contains": asked[0]}, {"$contains": asked[1]}, {"$all": asked}, {"$in": asked[1:]}):
        assert [item.id for item in engine.items(where={"d": test})] == ["toy"]


def test_texts_that_are_no_dates_are_only_themselves(engine: ps.Engine) -> None:
    engine.update("toy", metadata={"d": "Z+00:00", "e": f"{DAY}T10:00Z"})
    assert engine.items(where={"d": "ZZ"}) == engine.items(where={"e": f"{DAY}T10:00+00:00"}) == []


def test_metadata_is_composed(engine: ps.Engine) -> None:
    engine.update("toy", metadata={"cafe\u0301": "e\u0301", "list": ["e\u0301", {"a": "e\u0301"}]})
    engine.add("other", metadata={"name": "cafe\u0301"})
    assert engine.get("toy").metadata == {"café": "é", "list": ["é", {"a": "é"}]}
    for where, id in [
        ({"name": "café"}, "other"),
        ({"name": "cafe\u0301"}, "other"),
        ({"name": {"$contains": "e\u0301"}}, "other"),
        ({"cafe\u0301": {"$gte": "e\u0301"}}, "toy"),
        ({"café": "é"}, "toy"),
        ({"list.a": {"$in": ["e\u0301"]}}, "toy"),
    ]:
        assert [item.id for item in engine.items(where=where)] == [id], where
    engine.update("toy", metadata={"list": ["e\u0301", "b"]})
    assert [item.id for item in engine.items(where={"list": ["e\u0301", "b"]})] == ["toy"]


FORMS = [
    lambda rows: rows.astype(np.float16),
    lambda rows: rows.astype(np.float64),
    lambda rows: rows.astype(">f4"),
    lambda rows: rows.astype(">f8"),
    lambda rows: rows.astype(np.longdouble),
    lambda rows: rows.astype(np.int64),
    lambda rows: rows.astype(object),
    lambda rows: rows.tolist(),
    lambda rows: list(rows),
    lambda rows: np.asfortranarray(rows),
    lambda rows: np.repeat(rows, 2, axis=1)[:, ::2],
    lambda rows: pd.Series(list(rows)),
    lambda rows: pd.Series(rows.tolist()),
    lambda rows: pd.Series(list(rows)).to_numpy(),
    pd.DataFrame,
]


@pytest.mark.parametrize("form", FORMS)
def test_vectors_come_in_all_forms(engine: ps.Engine, form: Any) -> None:
    dim = engine.stats()["dimension"]
    rows = np.random.default_rng(0).integers(-8, 9, (3, dim)).astype(np.float32)
    engine.add_vectors(["a", "b", "c"], form(rows))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(engine.vectors("b"), unit[1:2], atol=1e-6)
    assert [results[0].item for results in engine.search_vector(form(rows))] == ["a", "b", "c"]
    index = ps.Index(dim)
    index.add([0, 1, 2], form(rows))
    assert index.search(form(rows), k=1)[1].tolist() == [[0], [1], [2]]


def test_errors_about_vectors_give_shapes_rows_and_ids(engine: ps.Engine) -> None:
    dim = engine.stats()["dimension"]
    good = np.ones((2, dim))
    for rows, error, message in [
        (np.ones((2, 2, dim)), ValueError, r"vectors: shape \(2, 2, \d+\) is not \(dim,\) or \(n, dim\)$"),
        (np.ones(dim), ValueError, r"vectors: shape \(\d+,\) is not \(n, dim\)"),
        (good * 1j, TypeError, r"vectors: an array of shape \(2, \d+\) and type complex128 is not numbers$"),
        ([[1.0, 2.0], [1.0]], ValueError, "vectors: not an array of numbers"),
        (pd.Series([[1.0, 2.0], [1.0]]), ValueError, "vectors: not an array of numbers"),
        (pd.Series([[1.0, 2.0], None]), ValueError, "vectors: not an array of numbers"),
        (np.array(["a", "b"], object), TypeError, r"vectors: an array of shape \(2,\) and type .* is not numbers$"),
        (good * [[1], [0]], ValueError, r'vector 1 \(item "b"\) is all zeros'),
        (good * [[1], [np.nan]], ValueError, r'vector 1 \(item "b"\) has NaN'),
        (good * 1e300, ValueError, r'vector 0 \(item "a"\) has NaN or infinite'),
        (np.ones((2, 0)), ValueError, "the dimension of the vectors is 0: give at least one number each"),
    ]:
        with pytest.raises(error, match=message):
            engine.add_vectors(["a", "b"], rows)
    assert len(engine) == 2
    index = ps.Index(dim)
    with pytest.raises(TypeError, match="references: numbers of type float64 are not whole numbers"):
        index.add([0.5], np.ones((1, dim)))


def test_no_vectors_add_nothing(engine: ps.Engine) -> None:
    for rows in ([], np.empty((0, 256)), np.empty((0, engine.stats()["dimension"]), np.float32)):
        assert engine.add_vectors([], rows) == ps.Added(0, 0)
    with pytest.raises(ValueError, match="1 ids for 0 vectors"):
        engine.add_vectors(["a"], [])


def test_an_unknown_id_of_megabytes_is_shortened(engine: ps.Engine) -> None:
    with pytest.raises(KeyError) as raised:
        engine.get("x" * 1_000_000)
    assert str(raised.value.args[0]) == f'no item "{"x" * 80}"... in this catalog'


def test_ids_labels_and_texts_are_composed(engine: ps.Engine) -> None:
    engine.add_vectors(["cafe\u0301"], np.eye(1, engine.stats()["dimension"], 2))
    assert engine.get("cafe\u0301").id == engine.get("café").id == "café"
    engine.update("cafe\u0301", label="e\u0301", text="e\u0301")
    item = engine.get("café")
    assert (item.label, item.text, "cafe\u0301" in engine) == ("é", "é", True)
    assert [item.id for item in engine.items(where={"id": "cafe\u0301", "label": "e\u0301"})] == ["café"]
    assert engine.vectors("cafe\u0301").shape[0] == 1
    engine.remove("cafe\u0301")
    assert "café" not in engine


def test_keys_that_no_item_has_are_told(engine: ps.Engine) -> None:
    engine.update("toy", metadata={"price": 3})
    vector = engine.vectors("toy")[0]
    results = engine.search_vector(vector, where={"prize": 3})
    assert results.warnings == (
        "no item has the key 'prize' in its metadata, which the filter names: is it spelled so?",
    )
    assert repr(results) == f"0 hits for 'vector'\nwarning: {results.warnings[0]}"
    assert results.warnings[0].replace("'", "&#x27;") in results._repr_html_()
    assert engine.search_vector(vector, where={"price": 4}).warnings == ()
    assert engine.search_vector(vector, where={"price": {"$exists": True}})[:1].warnings == ()
