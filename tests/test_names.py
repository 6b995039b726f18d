"""References without a file have the names that they are given."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps


def picture(shade: int) -> np.ndarray:
    return np.full((8, 8, 3), shade, np.uint8)


class Upload(io.BytesIO):
    """A file as web frameworks give it."""

    filename = "bear.png"


def upload(shade: int) -> Upload:
    file = Upload()
    Image.fromarray(picture(shade)).save(file, "PNG")
    return file


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        yield engine


def names(engine: ps.Engine, id: str) -> list[str]:
    return [reference.name for reference in engine.get(id).references]


def test_pictures_get_names(engine: ps.Engine) -> None:
    engine.add("a", images=[picture(1), upload(2), upload(3).getvalue()], names=["front", None, "back"])
    assert names(engine, "a") == ["front", "bear.png", "back"]
    engine.add("b", images=picture(4), names="only")
    assert names(engine, "b") == ["only"]
    assert engine.search_image(picture(4), k=1)[0].reference == "only"
    assert engine.remove_reference("a", "front") == 2


def test_rows_and_columns_have_names(engine: ps.Engine) -> None:
    engine.add_items(
        [ps.ItemDraft("a", [picture(1), picture(2)], names=["x", None]), {"id": "b", "images": picture(3)}]
    )
    assert (names(engine, "a"), names(engine, "b")) == (["x", "image 1 (array)"], ["image (array)"])
    engine.add_images([picture(4), picture(5)], ids=["c", "c"], names=["up", "down"])
    assert names(engine, "c") == ["up", "down"]
    engine.add_images([picture(6), picture(4)], ids=["c", "c"], names=["side", "up"], upsert=True)
    assert sorted(names(engine, "c")) == ["side", "up"]


def test_names_that_do_not_fit_are_refused(engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(upload(1).getvalue())
    with pytest.raises(ps.ArgumentError, match="2 images but 1 names: give one for each"):
        engine.add("a", images=[picture(1), picture(2)], names=["x"])
    with pytest.raises(ps.ArgumentError, match=r'name "x": the picture is the file .*a\.png, whose path is its name'):
        engine.add("a", images=[path], names=["x"])
    report = engine.add_items(
        [{"id": "a", "images": [picture(1)], "names": ["x", "y"]}, {"id": "b", "images": picture(2)}]
    )
    assert (report.items, len(report.failed)) == (1, 1)
    assert "1 images but 2 names" in report.failed[0][1]
    assert "a" not in engine
