"""The heat maps on the web page's dialog of a hit, in a real browser."""

from typing import Any

from hands import Served, choose

pytest_plugins = ["browsing"]


def test_a_hit_is_explained_in_its_dialog(shared: Served, visit: Any, toys: Any) -> None:
    item = sorted(toys.photos)[3]
    photo = toys.photos[item][1]
    page = visit(shared.url)
    choose(page, photo)
    page.locator(".card-picture").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".thumb").nth(1).wait_for()
    button = dialog.get_by_role("button", name="Why it matches")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    maps = dialog.locator("canvas.heat")
    maps.nth(1).wait_for()
    assert button.get_attribute("aria-pressed") == "true"
    hit = shared.engine.search_image(photo, k=1)[0]
    assert shared.engine.explain(photo, hit).explanation in dialog.locator(".heat-said").inner_text()
    # The map is as large as the picture below it, and the strongest cell has the whole color.
    boxes = [dialog.locator(f".frame {kind}").first.bounding_box() for kind in ("img", "canvas")]
    assert all(abs(boxes[0][side] - boxes[1][side]) <= 1 for side in ("x", "y", "width", "height"))
    data = "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
    alpha = f"(canvas) => Math.max(...{data}.filter((_, place) => place % 4 === 3))"
    assert max(maps.nth(place).evaluate(alpha) for place in (0, 1)) > 200
    strength = dialog.get_by_role("slider", name="Strength of the colors")
    strength.fill("20")
    assert maps.first.evaluate("(canvas) => getComputedStyle(canvas).opacity") == "0.2"
    button.click()
    assert not maps.first.is_visible()
    assert not strength.is_visible()
