"""What an explanation shows, says and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps
from plushie_search.answers.explain import drawing


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> ps.Engine:
    folder = tmp_path_factory.mktemp("explained")
    engine = ps.Engine(folder / "c", threads=2)
    for seed in range(4):
        plush = ps._core.Plush(seed)
        path = folder / f"{seed}.png"
        Image.fromarray(plush.render(view=seed)).save(path)
        engine.add(f"toy-{seed}", images=str(path))
    return engine


def query(seed: int = 1) -> NDArray[np.uint8]:
    return ps._core.Plush(seed).render(view=77)


def test_an_explanation_has_what_was_asked_for(engine: ps.Engine, tmp_path: Path) -> None:
    hits = engine.search_image(query(), k=2)
    found = engine.explain(query(), hits[0])
    assert (found.item, found.reference, found.method) == (hits[0].item, hits[0].reference, "windows")
    assert found.score == pytest.approx(hits[0].score, abs=1e-4)
    assert found.passes == 84
    told = found.to_dict()
    assert np.array(told["attention_map"]).shape == (32, 32)
    assert np.allclose(told["attention_map"], found.query.map, rtol=1e-3, atol=1e-9)
    assert told["key_features"]
    assert {one["kind"] for one in told["key_features"]} == {"region"}
    assert hits[0].item in told["explanation"]
    assert hits[1].item in told["explanation"]
    assert told["scale"] == max(found.query.map.max(), found.matched.map.max())
    assert json.loads(json.dumps(told)) == told
    for pair in found.pairs:
        assert -1 <= pair.similarity <= 1
        assert len(pair.to_dict()["query"]) == 4
    image = found.to_image()
    assert image.dtype == np.uint8
    assert image.shape[1] > 2 * image.shape[0]
    for name in ("x.png", "x.html", "x.json"):
        found.save(tmp_path / name)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), image)
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 4
    assert hits[0].item in page
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["item"] == hits[0].item
    with pytest.raises(ps.ArgumentError, match=r"\.png"):
        found.save(tmp_path / "x.bmp")
    assert "Explanation" in repr(found)
    assert found._repr_html_() in page


def test_a_sentence_is_there_in_chinese(engine: ps.Engine) -> None:
    said = engine.explain(query(), "toy-1", language="zh").explanation
    assert said.startswith("toy-1 的匹配分数为")
    assert "查询图片" in said
    assert "其次是" in said
    words = engine.explain(ps.Query(text="一只粉色的熊"), "toy-1", language="zh")
    assert words.query is None
    assert words.words
    assert words.to_dict()["attention_map"] is not None
    assert {one["kind"] for one in words.to_dict()["key_features"]} >= {"word"}


def test_a_lost_original_is_replaced_by_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(query(2)).save(path)
    with ps.Engine(tmp_path / "c", threads=2, thumbnails=True, media=False) as engine:
        engine.add("a", images=str(path))
        whole = engine.explain(query(3), "a")
        path.unlink()
        small = engine.explain(query(3), "a")
        assert whole.notes == ()
        assert "thumbnail" in small.notes[0]
        assert np.corrcoef(whole.matched.map.ravel(), small.matched.map.ravel())[0, 1] > 0.9
    with ps.Engine(tmp_path / "c", threads=2, thumbnails=False) as engine:
        none = engine.explain(query(3), "a")
        assert none.matched is None
        assert "no picture" in none.notes[0]
        assert none.query is not None
        words = engine.explain(ps.Query(text="a bear"), "a")
        with pytest.raises(ps.ArgumentError, match="nothing to draw"):
            words.to_image()
        assert words.to_dict()["attention_map"] is None
        assert words.explanation


def test_queries_of_many_parts(engine: ps.Engine, tmp_path: Path) -> None:
    both = engine.explain(ps.Query(image=[(query(), 0.7)], text=[("a bear", 0.3)]), "toy-1")
    assert both.query is not None
    assert both.matched is not None
    assert [part.word for part in both.words] == ["a", "bear"]
    like = engine.explain(ps.Query(item="toy-2"), "toy-1")
    assert like.query is None
    assert like.matched is not None
    assert like.runner_up.item not in ("toy-1", "toy-2")
    with (tmp_path / "q.png").open("w+b") as file:
        Image.fromarray(query()).save(file, "PNG")
        file.seek(0)
        opened = engine.explain(file, "toy-1")
    np.testing.assert_array_equal(opened.query.map, engine.explain(query(), "toy-1").query.map)
    half = engine.explain(ps.Crop(query(), (0, 0, 0.5, 1)), "toy-1")
    assert half.query.map.shape == (32, 16)


def test_the_sum_of_an_exact_map_is_the_score(engine: ps.Engine) -> None:
    for seed, item in ((1, "toy-1"), (1, "toy-3"), (3, "toy-0")):
        found = engine.explain(query(seed), item, method="cam")
        assert found.method == "cam"
        assert found.passes == 2
        assert found.pairs == ()
        assert found.query.map.sum() + found.query.rest == pytest.approx(found.score, abs=1e-4)
        assert found.matched.map.sum() + found.matched.rest == pytest.approx(found.score, abs=1e-2)
        assert np.abs(found.query.map).sum() > abs(found.query.rest)


def test_pixels_are_drawn_at_a_fixed_scale() -> None:
    pixels = np.full((20, 40, 3), 100, np.uint8)
    heat = np.zeros((4, 8), np.float32)
    heat[:, 6:] = 1.0
    drawn = drawing.overlaid(pixels, heat, 1.0, opacity=0.5)
    assert np.allclose(drawn[:, :24], 100, atol=1)
    wanted = (np.array([100, 100, 100]) + np.array(drawing.HEAT)) / 2
    assert np.allclose(drawn[10, 39], wanted, atol=1)
    assert (drawing.overlaid(pixels, heat, 4.0) == drawing.CONTOUR).all(-1).sum() == 0
    resized = drawing.resized(np.array([[0.0, 1.0]], np.float32), 1, 4)
    assert np.allclose(resized, [[0, 0.25, 0.75, 1]])
    framed = drawing.framed(pixels, [(0.0, 0.0, 1.0, 1.0)])
    assert (framed[0] == drawing.BOXES[0]).all()
    assert (framed[10, 20] == 100).all()
    assert drawing.beside([pixels, pixels[:10]]).shape == (20, 40 + 12 + 80, 3)
