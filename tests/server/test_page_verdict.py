"""What the page says of a picture: which item it shows, one of several, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hands import Served, choose, names

from plushie_search.plush.pictures import write_plushes

pytest_plugins = ["browsing"]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a plush toy that is in no catalog."""
    folder = tmp_path_factory.mktemp("stranger")
    row = next(iter(write_plushes(folder, seeds=[4711], views=1, side=160)))
    return folder / row["images"][0]


def judged(page: Any, photo: Path, verdict: dict[str, Any]) -> None:
    """Chooses a picture of which the server says what a verdict has."""
    figures = {"probability": 0.5, "margin": 0.1, "strength": 0.2, "threshold": 0.5}
    whole = {"success": True, "item": None, **figures, "notices": []}
    page.route("**/identify", lambda route: route.fulfill(json={**whole, "results": [{}], **verdict}))
    choose(page, photo)


def test_the_item_of_a_picture_is_named_with_its_probability(shared: Served, visit: Any, toys: Any) -> None:
    item = sorted(toys.photos)[0]
    photo = toys.photos[item][1]
    found = shared.engine.identify(photo)
    assert (found.verdict, found.item) == ("match", item)
    page = visit(shared.url)
    choose(page, photo)
    box = page.locator(".verdict.match")
    box.wait_for()
    share = int(found.probability * 100)
    assert box.inner_text() == f"This is {item} · probability {share}%"
    # It is said once.
    assert page.locator(".results-head .best").count() == 1
    assert not page.locator(".results-head .best").is_visible()
    # It comes after the results, and is read out by itself.
    assert box.locator("xpath=..").get_attribute("aria-live") == "polite"
    assert page.locator(".card").first.get_by_role("meter", name="Likelihood").get_attribute("aria-valuenow") == str(
        share
    )


def test_words_have_no_verdict(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{shared.url}#/text?q=panda")
    assert len(names(page)) == 5
    assert page.locator(".verdict").count() == 0
    assert not [url for url in asked if url.endswith("/identify")]


def test_several_plausible_items_are_all_named(shared: Served, visit: Any, toys: Any) -> None:
    first, second = sorted(toys.photos)[:2]
    page = visit(shared.url)
    judged(page, toys.photos[first][1], {"verdict": "ambiguous", "plausible": [first, second]})
    box = page.locator(".verdict.ambiguous")
    box.wait_for()
    assert box.inner_text() == f"This is one of: {first}, {second}"
    assert page.get_by_role("button", name="Add yours as a new item").is_visible()
    page.get_by_label("Language").select_option("zh-CN")
    page.locator(".verdict.ambiguous", has_text="这是其中之一").wait_for()


def test_an_unknown_thing_is_added_from_its_verdict(own: Served, visit: Any, stranger: Path) -> None:
    page = visit(own.url)
    judged(page, stranger, {"verdict": "unknown", "item": None, "plausible": []})
    box = page.locator(".verdict.unknown")
    box.wait_for()
    assert box.inner_text().startswith("This is not in the catalog.")
    assert not page.get_by_role("button", name="Add yours as a new item").is_visible()
    box.get_by_role("button", name="Add it").click()
    page.get_by_role("dialog").get_by_label("Name").fill("newcomer")
    page.unroute("**/identify")
    page.get_by_role("dialog").get_by_role("button", name="Add", exact=True).click()
    page.locator(".verdict", has_text="newcomer").wait_for()
    assert "newcomer" in own.engine


def test_a_verdict_that_does_not_come_leaves_the_results(shared: Served, visit: Any, toys: Any) -> None:
    photo = toys.photos[sorted(toys.photos)[0]][1]
    page = visit(shared.url, allow="500")
    page.route("**/identify", lambda route: route.fulfill(status=500))
    with page.expect_response("**/identify"):
        choose(page, photo)
    assert len(names(page)) == 5
    assert page.locator(".verdict").count() == 0
