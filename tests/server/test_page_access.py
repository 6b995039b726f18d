"""The web page by keyboard, on a phone, in three languages, in light and dark, and for screen readers."""

from typing import Any

import pytest
from hands import Served, choose, names

pytest_plugins = ["browsing"]

#: The rules of WCAG 2.2, levels A and AA, and best practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def faults(page: Any, *, but: str = "") -> list[str]:
    """Returns what axe-core finds of serious or critical impact, without the rule ``but``."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:150]} {[check['message'] for check in node['any']]}"
        for rule in found
        if rule["impact"] in ("serious", "critical") and rule["id"] != but
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(shared: Served, visit: Any, toys: Any, width: int, scheme: Any) -> None:
    page = visit(shared.url, width=width, color_scheme=scheme, reduced_motion="reduce")
    page.locator(".mosaic img").first.wait_for()
    assert faults(page) == []
    choose(page, next(iter(toys.photos.values()))[1])
    names(page)
    page.get_by_text("Options and filters").click()
    page.get_by_role("tab", name="Both").click()
    assert faults(page) == []
    page.locator(".pick").nth(0).click()
    page.locator(".pick").nth(1).click()
    # The bar and the head cover a part of the cards below them until the page is scrolled.
    assert faults(page, but="target-size") == []
    page.get_by_role("button", name="Compare 2", exact=True).click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Crop 2.jpg").click()
    page.locator(".crop-box").wait_for()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.locator(".card-picture").first.click()
    page.get_by_role("dialog").locator(".thumb").nth(1).wait_for()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Catalog", exact=True).click()
    page.get_by_role("heading", name="Catalog").wait_for()
    names(page)
    page.get_by_text("Filters", exact=True).click()
    assert faults(page) == []
    page.get_by_role("button", name="Edit ").first.click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add an item").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Help and keys").click()
    assert faults(page) == []


def test_axe_sees_a_fault(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    page.evaluate("() => document.querySelector('main').append(document.createElement('button'))")
    assert any(fault.startswith("button-name") for fault in faults(page))


def test_a_search_by_the_keyboard_alone(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    focused = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Picture"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "Words"
    page.keyboard.press("End")
    assert page.evaluate(focused) == "Both"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "Picture"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.type("panda")
    page.keyboard.press("Enter")
    found = names(page)
    # The focus stays in the field; the results come after the panel.
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.matches('.card-picture')"):
            break
    assert page.evaluate(focused) == f"Show {found[0]}"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == f"Show {found[1]}"
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").locator(".thumb").first.wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == f"Show {found[0]}"
    page.keyboard.press("/")
    page.keyboard.type(" dog")
    assert page.get_by_label("Describe it in words").input_value() == "panda dog"
    page.keyboard.press("Escape")
    page.wait_for_url("**/#/text")
    page.locator(".mosaic").wait_for()


def test_keys_of_single_characters_can_be_turned_off(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    page.keyboard.press("?")
    page.get_by_label("Use keys of single characters").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.keyboard.press("/")
    assert page.get_by_role("dialog").count() == 0
    assert page.get_by_role("tab", name="Picture").get_attribute("aria-selected") == "true"


def test_a_phone_shows_everything_without_scrolling_aside(shared: Served, visit: Any, toys: Any) -> None:
    page = visit(shared.url, width=360, height=740, has_touch=True, is_mobile=True)

    def fits() -> None:
        wide = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
              .filter((one) => !one.closest(".hidden") && one.getBoundingClientRect().right > innerWidth + 1)
              .map((one) => one.outerHTML.slice(0, 80))"""
        )
        assert wide == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360

    def touchable() -> None:
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, a, select, input, summary")]
              .filter((one) => one.checkVisibility() && !one.closest(".hidden") && !one.matches(".skip"))
              .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
              .filter(([, {width, height}]) => width < 24 || height < 24)
              .map(([html]) => html)"""
        )
        assert [html for html in small if "samples" not in html and 'href="#/catalog"' not in html] == []

    page.locator(".mosaic img").first.wait_for()
    fits()
    touchable()
    assert page.get_by_role("button", name="Take a photo").is_visible()
    choose(page, next(iter(toys.photos.values()))[1])
    names(page)
    page.get_by_text("Options and filters").tap()
    fits()
    touchable()
    page.locator(".card-picture").first.tap()
    page.get_by_role("dialog").locator(".thumb").nth(1).wait_for()
    fits()
    touchable()
    page.get_by_role("button", name="Close").tap()
    page.get_by_role("link", name="Catalog", exact=True).tap()
    page.get_by_role("heading", name="Catalog").wait_for()
    names(page)
    fits()
    touchable()


def test_the_camera_of_a_phone_gives_a_picture(shared: Served, visit: Any, toys: Any) -> None:
    item = sorted(toys.photos)[0]
    page = visit(shared.url, width=390, has_touch=True, is_mobile=True)
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Take a photo").tap()
    assert chosen.value.element.get_attribute("capture") == "environment"
    chosen.value.set_files(toys.photos[item][1])
    assert names(page)[0] == item


LANGUAGES = [
    ("en-GB", "en", ["Picture", "Words", "Both"]),
    ("zh-TW", "zh-Hant-TW", ["以圖搜圖", "文字搜圖", "混合搜尋"]),
    ("zh-HK", "zh-Hant-TW", ["以圖搜圖", "文字搜圖", "混合搜尋"]),
    ("zh-CN", "zh-Hans-CN", ["以图搜图", "文字搜图", "混合搜索"]),
    ("zh-SG", "zh-Hans-CN", ["以图搜图", "文字搜图", "混合搜索"]),
    ("fr-FR", "en", ["Picture", "Words", "Both"]),
]


@pytest.mark.parametrize(("locale", "language", "tabs"), LANGUAGES, ids=[row[0] for row in LANGUAGES])
def test_the_browser_chooses_the_language(shared: Served, visit: Any, locale: str, language: str, tabs: Any) -> None:
    page = visit(shared.url, locale=locale)
    assert page.locator("html").get_attribute("lang") == language
    assert page.get_by_role("tab").all_inner_texts() == tabs


def test_another_language_keeps_the_query_and_is_kept(shared: Served, visit: Any) -> None:
    page = visit(shared.url, "#/text?q=panda")
    found = names(page)
    page.get_by_label("Language").select_option("zh-CN")
    page.get_by_role("tab", name="文字搜图").wait_for()
    assert names(page) == found
    assert page.get_by_role("meter").first.get_attribute("aria-label") == "相似度"
    page.reload()
    assert names(page) == found
    page.get_by_label("语言").select_option("zh-TW")
    page.get_by_role("heading", name="5 筆結果").wait_for()


@pytest.mark.parametrize("locale", ["zh-TW", "zh-CN"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_english_is_left_in_chinese(shared: Served, visit: Any, locale: str, width: int) -> None:
    page = visit(shared.url, "#/image", locale=locale, width=width)
    page.locator(".mosaic img").first.wait_for()
    assert page.locator("html").get_attribute("lang") in ("zh-Hant-TW", "zh-Hans-CN")
    texts = page.evaluate(
        """() => {
          const found = [];
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (walker.nextNode()) {
            const near = walker.currentNode.parentElement;
            if (near.closest("noscript, select, .brand") || !near.checkVisibility()) continue;
            found.push(walker.currentNode.data);
          }
          for (const one of document.querySelectorAll("[aria-label], [title], [placeholder]")) {
            if (one.closest(".sample, .brand")) continue;
            for (const name of ["aria-label", "title", "placeholder"]) found.push(one.getAttribute(name) ?? "");
          }
          return found;
        }"""
    )
    assert [text for text in texts if any("a" <= letter <= "z" for letter in text.replace("Ctrl+V", ""))] == []


def test_less_motion_is_respected(shared: Served, visit: Any) -> None:
    page = visit(shared.url, reduced_motion="reduce")
    page.route("**/search", lambda route: None)
    page.evaluate("() => { location.hash = '#/text?q=panda'; }")
    waiting = page.locator(".waiting .card-picture").first
    waiting.wait_for()
    assert float(waiting.evaluate("(one) => getComputedStyle(one).animationDuration").removesuffix("s")) < 0.01
