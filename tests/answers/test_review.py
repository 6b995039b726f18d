"""Items that need attention, and pictures that are confirmed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps
from plushie_search import _core


def at(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    """Directions in a plane: "mixed" has one reference beside "twin", "alone" has one, and "sound" is far from all."""
    rows = {
        "mixed": (0, 40),
        "twin": (45, 50),
        "sound": (120, 121, 122),
        "alone": (200,),
        "close": (230, 232),
        "by": (240, 243),
    }
    with ps.Engine(tmp_path / "c", dim=2) as engine:
        for id, degrees in rows.items():
            names = [f"{id} at {one}" for one in degrees]
            engine.add_vectors([id] * len(degrees), [at(one) for one in degrees], references=names)
        yield engine


def test_the_most_urgent_comes_first_with_its_reasons(engine: ps.Engine) -> None:
    found = engine.review(margin=0.02)
    by_item = {one.item: one for one in found}
    assert next(iter(by_item)) == "mixed"
    assert "sound" not in by_item
    mixed = by_item["mixed"]
    assert (mixed.reference, mixed.other) == ("mixed at 40", "twin")
    assert mixed.similarity == pytest.approx(np.cos(np.radians(5)), abs=1e-5)
    assert mixed.own == pytest.approx(np.cos(np.radians(40)), abs=1e-5)
    assert mixed.reasons == ("mixed at 40 is nearer to twin (1.00) than to its own item (0.77)",)
    assert mixed.urgency > 0.5 > by_item["alone"].urgency
    assert by_item["alone"].reasons == ("it has one reference: add one from another side",)
    assert by_item["alone"].own is None
    assert by_item["close"].reasons[0].endswith(" as to its own item (1.00)")
    urgencies = [one.urgency for one in found]
    assert urgencies == sorted(urgencies, reverse=True)


def test_margins_are_those_of_brute_force(engine: ps.Engine) -> None:
    ids = [(item.id, row) for item in engine for row in engine.vectors(item.id)]
    for one in engine.review(margin=2.0):
        margins = []
        for place, (id, row) in enumerate(ids):
            if id == one.item:
                scores = [(other, float(row @ vector)) for spot, (other, vector) in enumerate(ids) if spot != place]
                own = max((score for other, score in scores if other == id), default=None)
                margins.append(((own or 0) - max(score for other, score in scores if other != id), own))
        if one.own is not None:
            assert one.similarity is not None
            assert one.own - one.similarity == pytest.approx(min(margin for margin, _ in margins), abs=1e-5)


def test_it_shows_itself(engine: ps.Engine) -> None:
    found = engine.review(limit=2)
    assert len(found) == 2 < found.total
    assert repr(found).startswith(f"{found.total} items need attention\nitem")
    assert found._repr_html_().startswith(f"<p>{found.total} items need attention</p><table>")
    assert found.to_dicts()[0]["reasons"] == list(found[0].reasons)
    assert found == engine.review(limit=2)
    assert engine.review(where={"id": "sound"}).total == 0
    assert repr(engine.review(where={"id": "sound"})) == "0 items need attention"


def test_small_catalogs_have_defined_answers(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", dim=2) as engine:
        assert engine.review().total == 0
        engine.add_vectors(["a"], [at(0)])
        [only] = engine.review()
        assert (only.urgency, only.other, only.similarity) == (pytest.approx(0.0), None, None)
        assert only.reasons == ("it has one reference: add one from another side",)
        engine.add_vectors(["b", "c"], [at(0), at(0)], references=["x", "y"])
        assert {one.item for one in engine.review()} == {"a", "b", "c"}
        assert all(one.reasons[0].startswith(("vector is near", "x is near", "y is near")) for one in engine.review())


@pytest.mark.parametrize("options", [{"margin": -1.0}, {"margin": float("nan")}, {"limit": 0}, {"model": "none"}])
def test_bad_input_is_refused(engine: ps.Engine, options: Any) -> None:
    with pytest.raises(ps.ArgumentError):
        engine.review(**options)


def test_a_picture_is_confirmed(toy_model: Path, tmp_path: Path) -> None:
    picture = np.full((20, 20, 3), 90, np.uint8)
    path = tmp_path / "b.png"
    Image.fromarray(picture + 1).save(path)
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        engine.add("bear", images=picture - 60, names="first")
        assert engine.confirm(picture, "bear") == ps.Added(1, 0)
        assert engine.confirm(picture, "bear") == ps.Added(0, 1)
        assert engine.confirm(str(path), "bear").references == 1
        file = io.BytesIO()
        Image.fromarray(picture + 2).save(file, "PNG")
        file.seek(0)
        assert engine.confirm(file, "bear").references == 1
        assert engine.confirm(picture + 3, "bear", name="shelf").references == 1
        names = [reference.name for reference in engine.get("bear").references]
        digests = [_core.picture_digest(one) for one in (picture, file.getvalue())]
        assert names == ["first", digests[0], str(path), digests[1], "shelf"]
        assert [reference.digest for reference in engine.get("bear").references][1] == digests[0]
        with pytest.raises(KeyError, match="lion"):
            engine.confirm(picture, "lion")
        assert "lion" not in engine
        with pytest.raises(ps.ArgumentError, match="path is its name"):
            engine.confirm(path, "bear", name="other")
