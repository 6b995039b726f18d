"""Photos inspected on the web page, in a real browser: a verdict, and a map of what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import Served, choose, names
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps

pytest_plugins = ["browsing"]


class Means:
    """A model of the mean colors of 16 fields."""

    name, dim, fingerprint, batch = "means", 48, "means of fields", 32

    def encode_images(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        fields = []
        for image in images:
            small = image if min(image.shape[:2]) > 4 else image.repeat(4, axis=0).repeat(4, axis=1)
            rows = np.array_split(small.astype(float), 4, axis=0)
            fields.append([1 + cell.mean((0, 1)) for row in rows for cell in np.array_split(row, 4, axis=1)])
        return np.array(fields).reshape(len(images), -1)


@pytest.fixture
def bench(serve: Any, tmp_path: Path) -> Served:
    """A server of one product with four golden samples, a good photo and a stained one."""
    dice = np.random.default_rng(0)
    product = np.full((96, 96, 3), 130.0)
    product[18:78, 18:78] = (90, 140, 90)

    def taken(pixels: Any) -> NDArray[np.uint8]:
        return np.clip(pixels * dice.uniform(0.95, 1.05) + dice.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)

    engine = ps.Engine(tmp_path / "toys.catalog", model=Means(), media=True)
    engine.add("toy", images=[taken(product) for _ in range(4)], names=[f"good-{number}.png" for number in range(4)])
    Image.fromarray(taken(product)).save(tmp_path / "good.png")
    product[36:54, 36:54] = (200, 30, 30)
    Image.fromarray(taken(product)).save(tmp_path / "stained.png")
    served: Served = serve(engine, limits={"timeout": 60})
    return served


def test_a_photo_gets_a_verdict_and_a_map(bench: Served, visit: Any, tmp_path: Path) -> None:
    page = visit(bench.url)
    choose(page, tmp_path / "stained.png")
    assert names(page) == ["toy"]
    page.locator(".card-picture").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Good or faulty?").click()
    dialog = page.get_by_role("dialog", name="Inspect photos of toy")
    verdict = dialog.locator(".verdict").first
    verdict.wait_for()
    found: Any = bench.engine.inspect([(tmp_path / "stained.png").read_bytes()], "toy")
    assert found[0].verdict == "fail"
    assert verdict.get_by_role("heading").inner_text() == "Faulty, or another product"
    assert f"{found[0].anomaly:.2f}".rstrip("0") in verdict.inner_text()
    canvas = verdict.locator("canvas.heat")
    canvas.wait_for()
    boxes = [verdict.locator(f".frame {kind}").first.bounding_box() for kind in ("img", "canvas")]
    assert all(abs(boxes[0][side] - boxes[1][side]) <= 1 for side in ("x", "y", "width", "height"))
    # The strongest color lies on the stain.
    script = """(canvas) => {
      const {data, width, height} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const colors = [...Array(width * height).keys()].map((place) => data[4 * place + 3]);
      const most = Math.max(...colors);
      const places = [...colors.keys()].filter((place) => colors[place] === most);
      const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
      return [mean(places.map((place) => place % width)) / width, mean(places.map((place) => place / width)) / height];
    }"""
    x, y = canvas.evaluate(script)
    assert 30 / 96 < x < 60 / 96
    assert 30 / 96 < y < 60 / 96
    dialog.get_by_label("Strength of the colors").fill("30")
    assert canvas.evaluate("(canvas) => getComputedStyle(canvas).opacity") == "0.3"
    assert "good-" in verdict.locator("figcaption").nth(1).inner_text()
    with page.expect_response("**/inspect") as answer:
        dialog.get_by_label("Camera").select_option("free")
    assert answer.value.ok


def test_photos_are_chosen_in_the_dialog(bench: Served, visit: Any, tmp_path: Path) -> None:
    page = visit(bench.url, "#/catalog", locale="zh-CN")
    names(page)
    page.locator(".card-picture").first.click()
    page.get_by_role("button", name="是否合格？").click()
    dialog = page.get_by_role("dialog", name="检查 toy 的照片")
    dialog.get_by_text("选择该产品的照片").wait_for()
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:400])
    with page.expect_file_chooser() as chosen:
        dialog.get_by_role("button", name="选择照片").click()
    chosen.value.set_files([str(tmp_path / name) for name in ("cut.png", "good.png", "stained.png")])
    dialog.locator(".verdict.fail").wait_for()
    verdicts = dialog.locator(".verdict")
    assert verdicts.count() == 2
    assert "good.png" in verdicts.nth(0).inner_text()
    assert "stained.png" in verdicts.nth(1).inner_text()
    assert "有缺陷" in verdicts.nth(1).inner_text()
    assert dialog.locator("li.muted").count() == 1
