"""The web page against hostile names, files and scripts."""

from pathlib import Path
from typing import Any

import pytest
from hands import Served, choose, drop, names

import plushie_search as ps

pytest_plugins = ["browsing"]

#: Texts that would run or break out of their place if a page took them for HTML, an address or a style.
HOSTILE = (
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    '"><svg onload=window.pwned=1>',
    "javascript:window.pwned=1",
    "' onmouseover='window.pwned=1",
    "</title><script>window.pwned=1</script>",
    "{{constructor.constructor('window.pwned=1')()}}",
    "${window.pwned=1}",
    "data:text/html,<script>window.pwned=1</script>",
    "%3Cscript%3Ewindow.pwned=1%3C/script%3E",
    "../../../../etc/passwd",
    "\u202egnp.exe",
    "a" * 400,
)


@pytest.fixture
def hostile(serve: Any, toys: Any, tmp_path: Path) -> Served:
    """A server whose items have hostile ids, labels, texts, metadata and file names."""
    engine = ps.Engine(tmp_path / "hostile.catalog")
    photos = [photo.read_bytes() for pair in toys.photos.values() for photo in pair]
    for text, photo in zip(HOSTILE, photos[::2], strict=False):
        engine.add(text, images=[photo], names=[text], label=text, text=text, metadata={text: text, "list": [text]})
    return serve(engine)


def test_hostile_texts_are_shown_as_texts(hostile: Served, toys: Any, visit: Any) -> None:
    page = visit(hostile.url)
    choose(page, next(iter(toys.photos.values()))[1])
    page.get_by_text("Options and filters").click()
    page.get_by_role("combobox", name="Results").select_option("20")
    page.locator(".card").nth(len(HOSTILE) - 1).wait_for()
    assert sorted(names(page)) == sorted(HOSTILE)
    assert page.locator(".card .label").count() == len(HOSTILE)
    for pick in page.locator(".pick").all()[:4]:
        pick.click()
    page.get_by_role("button", name="Compare 4", exact=True).click()
    page.get_by_role("dialog").get_by_role("table").wait_for()
    page.keyboard.press("Escape")
    for number in range(len(HOSTILE)):
        page.locator(".card-picture").nth(number).click()
        page.get_by_role("dialog").locator(".thumb").wait_for()
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Similar to").first.click()
    page.locator(".tile-name").wait_for()
    page.get_by_role("link", name="Catalog", exact=True).click()
    page.get_by_role("heading", name="Catalog").wait_for()
    for number in range(3):
        page.get_by_role("button", name="Edit ").nth(number).click()
        page.get_by_role("dialog").get_by_role("button", name="Save").wait_for()
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove ").first.click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("is back").first.wait_for()
    assert page.evaluate("() => window.pwned") is None


@pytest.mark.parametrize("text", HOSTILE[:10])
def test_hostile_words_in_an_address_stay_words(shared: Served, visit: Any, text: str) -> None:
    page = visit(shared.url)
    page.evaluate("(text) => { location.hash = '#/text?q=' + encodeURIComponent(text); }", text)
    page.locator(".card, .state").first.wait_for()
    assert page.get_by_label("Describe it in words").input_value() == text
    assert page.title() == f"{text} – Plushie Search"
    assert page.evaluate("() => window.pwned") is None


def test_hostile_file_names_stay_names(tiny: Served, toys: Any, visit: Any) -> None:
    page = visit(tiny.url, "#/catalog")
    photo = next(iter(toys.photos.values()))[0]
    drop(page, photo, names=["<img src=x onerror=window.pwned=1>.jpg"])
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_label("Name").input_value() == "<img src=x onerror=window.pwned=1>"
    assert dialog.locator(".tile img").get_attribute("alt") == "<img src=x onerror=window.pwned=1>.jpg"
    dialog.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("heading", name="<img src=x onerror=window.pwned=1>", exact=True).wait_for()
    assert [item.id for item in tiny.engine.items()] == ["<img src=x onerror=window.pwned=1>"]
    assert page.evaluate("() => window.pwned") is None


def test_the_policy_stops_scripts_that_were_slipped_in(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="policy|Policy|Trusted")
    assert page.evaluate(
        """async () => {
          const script = document.createElement("script");
          script.append("window.pwned = 1");
          document.body.append(script);
          const style = document.createElement("p");
          style.setAttribute("style", "position: fixed");
          document.body.append(style);
          let typed = "taken";
          try {
            document.body.insertAdjacentHTML("beforeend", "<b>x</b>");
          } catch (error) {
            typed = error.name;
          }
          return [window.pwned ?? null, getComputedStyle(style).position, typed];
        }"""
    ) == [None, "static", "TypeError"]


def test_the_page_cannot_be_framed_or_leak_its_address(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    headers = page.request.get(shared.url).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
