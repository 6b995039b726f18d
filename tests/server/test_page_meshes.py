"""3D models on the web page, in a real browser: a model that is dropped like a picture, and strips of its sides."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import Served, choose, names
from PIL import Image
from solids import box, bracket, stl, torus

import plushie_search as ps

pytest_plugins = ["browsing"]

PARTS = {"bracket": bracket(), "box": box(1, 2, 3), "ring": torus(2, 0.5)}


@pytest.fixture
def parts(serve: Any, tmp_path: Path) -> Served:
    """A server of three parts, whose files may be taken away."""
    for name, part in PARTS.items():
        (tmp_path / f"{name}.stl").write_bytes(stl(part))
    engine = ps.Engine(tmp_path / "parts.catalog")
    engine.add_folder(tmp_path)
    engine.add("photo", images=[np.full((90, 90, 3), 200, np.uint8)])
    served: Served = serve(engine)
    return served


def strip_of(page: Any, name: str) -> Image.Image:
    shown = page.get_by_role("img", name=f"{name} from six sides").first
    shown.scroll_into_view_if_needed()
    response = page.request.get(shown.evaluate("(image) => image.src"))
    assert response.ok
    return Image.open(io.BytesIO(response.body()))


def test_a_dropped_model_is_found_and_cards_show_its_sides(parts: Served, visit: Any, tmp_path: Path) -> None:
    page = visit(parts.url)
    choose(page, tmp_path / "ring.stl")
    assert names(page)[0] == "ring"
    strip = strip_of(page, "ring")
    assert strip.size == (960, 160)
    drawn = ps.render(tmp_path / "ring.stl", views=6, size=160, turntable=True)
    assert np.abs(np.asarray(strip, int) - np.concatenate(list(drawn), axis=1)).mean() < 4
    assert page.get_by_role("img", name="photo from six sides").count() == 0
    card = page.locator(".card", has_text="ring").first
    sizes = [card.locator(kind).first.bounding_box() for kind in (".card-picture", ".turntable")]
    assert abs(sizes[0]["width"] - sizes[1]["width"]) <= 1
    assert abs(sizes[1]["width"] / sizes[1]["height"] - 6) < 0.1
    card.locator(".card-picture").click()
    page.get_by_role("dialog").get_by_role("img", name="ring from six sides").wait_for()


def test_a_strip_is_made_of_stored_views_if_the_file_is_gone(parts: Served, visit: Any, tmp_path: Path) -> None:
    (tmp_path / "box.stl").unlink()
    page = visit(parts.url, "#/catalog")
    names(page)
    strip = np.asarray(strip_of(page, "box"), int)
    frames = strip.reshape(160, 6, 160, 3).transpose(1, 0, 2, 3)
    assert strip.shape == (160, 960, 3)
    dark = (frames.min(axis=3) < 230).mean(axis=(1, 2))
    assert (dark > 0.05).all()
    assert page.get_by_role("img", name="从六个侧面").count() == 0
    page.get_by_label("Language").select_option("zh-CN")
    page.get_by_role("img", name="ring 的六个侧面").wait_for()


def test_a_removed_model_comes_back_with_its_views(parts: Served, visit: Any) -> None:
    before = parts.engine.get("ring")
    page = visit(parts.url, "#/catalog")
    names(page)
    page.get_by_role("button", name="Remove ring").click()
    page.get_by_role("button", name="Undo").click()
    page.locator(".toast", has_text="ring is back").wait_for()
    assert parts.engine.get("ring") == before
