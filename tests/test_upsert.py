"""Items that become exactly what is given, and the rows that give them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from numpy.typing import NDArray

import plushie_search as ps


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "toys.catalog", model=toy_model, threads=2) as engine:
        yield engine


def plain(*color: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), color, np.uint8)


RED, GREEN, BLUE = plain(200, 0, 0), plain(0, 200, 0), plain(0, 0, 200)


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_upsert_replaces_everything_of_an_item(engine: ps.Engine) -> None:
    engine.add("x", images=[RED, GREEN], label="l", metadata={"a": 1}, text="t")
    engine.add("y", images=[RED])
    before = {name: engine.vectors(name) for name in "xy"}
    assert engine.add("x", images=[GREEN, BLUE], text="new", upsert=True) == ps.Added(1, 1, 1)
    item = engine.get("x")
    assert (item.label, item.metadata, item.text) == (None, {}, "new")
    np.testing.assert_array_equal(engine.vectors("x")[0], before["x"][1])
    np.testing.assert_array_equal(engine.vectors("y"), before["y"])
    best = engine.search_vector(toy.color_vector((200, 0, 0)), k=2)
    assert [hit.item for hit in best] == ["y", "x"]
    assert best[1].score < 0.999
    assert engine.add("new", images=[RED, RED], label="l", upsert=True) == ps.Added(1, 1, 0)
    assert engine.add("x", images=[GREEN, BLUE], text="new", upsert=True) == ps.Added(0, 2, 0)
    assert engine.verify().ok


def test_upsert_without_pictures_or_with_bad_ones_changes_nothing(engine: ps.Engine) -> None:
    engine.add("x", images=[RED, GREEN], label="l")
    before = engine.get("x")
    with pytest.raises(ValueError, match='item "x": upsert takes the place of all its pictures'):
        engine.add("x", label="m", upsert=True)
    with pytest.raises(ps.PictureError):
        engine.add("x", images=[BLUE, b"no picture"], upsert=True)
    report = engine.add_items(
        [
            {"id": "x", "images": [BLUE, b"no picture"]},
            {"id": "x"},
            ps.ItemDraft("y", [RED], "m"),
            {"id": "x", "images": [BLUE, 3]},
            {"id": "z"},
        ],
        upsert=True,
    )
    assert engine.get("x") == before
    assert (report.items, report.references, len(report.failed)) == (1, 1, 4)
    told = dict(report.failed)
    assert 'row 0 has the id "x", too' in told["row 1 ('x')"]
    assert "so give at least one" in told["z"]


def test_upsert_of_many_items(engine: ps.Engine, tmp_path: Path) -> None:
    many = [plain(n, 2 * n % 256, 7) for n in range(200)]
    engine.add_items([ps.ItemDraft(f"i{n}", [many[n], many[n + 1]], "l", {"n": n}) for n in range(150)])
    report = engine.add_items(
        (ps.ItemDraft(f"i{n}", [many[n + 1], many[n + 2]], text="t") for n in range(160)), upsert=True
    )
    assert (report.items, report.references, report.duplicates, report.replaced) == (10, 170, 150, 150)
    for n in (0, 80, 149, 159):
        item = engine.get(f"i{n}")
        assert (item.label, item.metadata, item.text, len(item.references)) == (None, {}, "t", 2)
        expected = unit(np.stack([toy.color_vector(many[n + k][0, 0]) for k in (1, 2)]))
        np.testing.assert_allclose(engine.vectors(f"i{n}"), expected, atol=1e-6)
    # One item with more pictures than a batch holds is one change.
    engine.add("big", images=[RED])
    large = [np.random.default_rng(n).integers(0, 255, (600, 600, 3), np.uint8) for n in range(80)]
    report = engine.add_items([{"id": "big", "images": large, "label": "large"}], upsert=True)
    assert (report.references, report.replaced) == (80, 1)
    assert len(engine.get("big").references) == 80


def test_add_images_with_upsert_takes_pictures_of_one_item_together(engine: ps.Engine) -> None:
    engine.add("a", images=[RED, GREEN], label="l", text="t")
    report = engine.add_images(
        [GREEN, BLUE, RED, RED], ids=["a", "a", "b", "a"], labels=["first", None, "b", "c"], upsert=True
    )
    assert (report.items, report.references, report.duplicates, report.replaced) == (1, 2, 1, 1)
    assert [name for name, _ in report.failed] == ["row 2 ('a')"]
    item = engine.get("a")
    assert (item.label, item.text, len(item.references)) == ("first", None, 2)


def test_rows_may_be_any_dataclass_or_dict(engine: ps.Engine) -> None:
    @dataclasses.dataclass
    class Mine:
        id: int
        images: Any
        text: str

    engine.add_items(iter([Mine(7, RED, "t"), {"id": "b", "images": RED}, ps.ItemDraft("c", [RED], 3)]))
    assert [(item.id, item.label, item.text) for item in engine] == [
        ("7", None, "t"),
        ("b", None, None),
        ("c", "3", None),
    ]
