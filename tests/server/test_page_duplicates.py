"""The page's list of duplicates: pairs of each class, and the way from them to an item."""

from __future__ import annotations

from typing import Any

from hands import Served, names

pytest_plugins = ["browsing"]


def test_a_picture_that_two_items_have_is_listed_and_leads_to_the_item(own: Served, visit: Any, toys: Any) -> None:
    item, photos = sorted(toys.photos.items())[0]
    own.engine.add("twin", images=photos[0].read_bytes(), names="copy.jpg")
    page = visit(own.url, "#/catalog")
    page.get_by_role("button", name="Duplicates").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading", name="The same file in two items").wait_for()
    pair = dialog.get_by_role("listitem").first
    assert pair.get_by_role("button").count() == 2
    assert item in pair.inner_text()
    pair.get_by_role("button", name="Find twin in the catalog").click()
    page.get_by_text("1 item", exact=True).first.wait_for()
    assert names(page) == ["twin"]


def test_a_catalog_that_cannot_be_compared_says_why(own: Served, visit: Any) -> None:
    page = visit(own.url, "#/catalog", allow="422")
    problem = {"status": 422, "code": "argument", "detail": "the catalog has too many references", "success": False}
    page.route("**/duplicates?*", lambda route: route.fulfill(status=422, json=problem))
    page.get_by_role("button", name="Duplicates").click()
    page.get_by_role("dialog").get_by_text("too many references").first.wait_for()


def test_a_catalog_without_any_says_so(own: Served, visit: Any) -> None:
    own.engine.remove(where={"id": {"$exists": True}})
    page = visit(own.url, "#/catalog")
    page.get_by_role("button", name="Duplicates").click()
    page.get_by_role("dialog").get_by_text("No duplicates and no look-alikes").first.wait_for()
