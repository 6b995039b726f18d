"""The search of the web page, in a real browser: three tabs, and every way to give a picture and to read a result."""

import re
from pathlib import Path
from typing import Any

import pytest
from hands import Served, choose, drop, names, paste
from PIL import Image

import plushie_search as ps

pytest_plugins = ["browsing"]


def photo_of(toys: Any, number: int = 0) -> tuple[str, Path]:
    """Returns an item and its second picture."""
    item = sorted(toys.photos)[number]
    return item, toys.photos[item][1]


def size(image: Any) -> list[int]:
    """Returns width and height of a picture as it was loaded."""
    return image.evaluate("async (image) => (await image.decode(), [image.naturalWidth, image.naturalHeight])")


def test_a_chosen_picture_finds_its_item(shared: Served, visit: Any, toys: Any) -> None:
    item, photo = photo_of(toys)
    page = visit(shared.url)
    choose(page, photo)
    # A small picture is sent as it is.
    found = [hit.item for hit in shared.engine.search_image(photo, k=5)]
    assert names(page) == found
    assert found[0] == item
    card = page.locator(".card").first
    assert card.locator(".rank").inner_text().endswith("1")
    likely = shared.engine.search_image(photo, k=5)[0].probability
    assert card.get_by_role("meter").get_attribute("aria-valuetext") == f"{int(likely * 100)}%"
    assert card.locator(".matched").inner_text() == "matched 2.jpg"
    assert card.locator(".label").inner_text() == shared.engine.get(item).label
    assert page.get_by_role("status").first.inner_text() == f"5 results, best match {item}"


def test_a_large_picture_is_made_small_and_keeps_its_first_hit(
    shared: Served, visit: Any, toys: Any, tmp_path: Path
) -> None:
    item, photo = photo_of(toys, 2)
    large = tmp_path / "large.png"
    with Image.open(photo) as picture:
        picture.resize((2400, 1800)).save(large)
    page = visit(shared.url)
    choose(page, large)
    assert names(page)[0] == item
    assert size(page.locator(".tile img")) == [1024, 768]


def test_a_dropped_and_a_pasted_picture_find_their_items(shared: Served, visit: Any, toys: Any) -> None:
    (first, one), (second, other) = photo_of(toys, 3), photo_of(toys, 4)
    page = visit(shared.url)
    drop(page, one)
    assert names(page)[0] == first
    page.get_by_role("button", name="Remove 2.jpg from the query").click()
    paste(page, other)
    page.locator(".card h3", has_text=second).first.wait_for()
    assert names(page)[0] == second


def test_a_dropped_text_file_is_named_and_left_out(shared: Served, visit: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    page = visit(shared.url)
    drop(page, tmp_path / "notes.txt")
    page.get_by_text("1 file is no picture and was left out").first.wait_for()


def test_words_find_what_the_engine_finds(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    page.get_by_role("tab", name="Words").click()
    page.get_by_label("Describe it in words").fill("a blue bear")
    page.keyboard.press("Enter")
    assert names(page) == [hit.item for hit in shared.engine.search_text("a blue bear", k=5)]
    assert page.url.endswith("#/text?q=a+blue+bear")


def test_a_line_of_parts_finds_what_its_query_finds(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="422")
    page.get_by_role("tab", name="Words").click()
    page.get_by_label("Describe it in words").fill("2*rabbit - pink")
    page.keyboard.press("Enter")
    query = ps.Query(text=[("rabbit", 2.0), ("pink", -1.0)])
    assert names(page) == [hit.item for hit in shared.engine.search(query, k=5)]
    page.get_by_label("Describe it in words").fill("- pink")
    page.keyboard.press("Enter")
    page.get_by_text("names only what hits should not be like").first.wait_for()


def test_both_weigh_as_the_slider_says(shared: Served, visit: Any, toys: Any) -> None:
    _, photo = photo_of(toys, 5)
    page = visit(shared.url)
    page.get_by_role("tab", name="Both").click()
    choose(page, photo)
    page.get_by_label("Describe it in words").fill("a pink rabbit")
    slider = page.get_by_label("How much each counts")
    assert slider.get_attribute("aria-valuetext") == "Picture 50%, words 50%"
    for share in (100, 0):
        slider.fill(str(share))
        page.wait_for_url(f"**w={share}*")
        page.locator("section.results:not([aria-busy]) .card").first.wait_for()
        wanted = shared.engine.search_image(photo, k=5) if share else shared.engine.search_text("a pink rabbit", k=5)
        assert names(page)[0] == wanted[0].item


def test_several_pictures_are_one_query(shared: Served, visit: Any, toys: Any) -> None:
    item, photo = photo_of(toys, 6)
    page = visit(shared.url)
    choose(page, toys.photos[item][0], photo)
    page.locator(".tile img").nth(1).wait_for()
    found = shared.engine.search(ps.Query(image=toys.photos[item]), k=5)
    assert names(page) == [hit.item for hit in found]


def test_at_most_eight_pictures_are_taken(shared: Served, visit: Any, toys: Any) -> None:
    page = visit(shared.url)
    choose(page, *[photo for photos in toys.photos.values() for photo in photos][:10])
    page.get_by_text("A query takes at most 8 pictures").first.wait_for()
    page.locator(".tile img").nth(7).wait_for()
    assert page.locator(".tile img").count() == 8


def test_the_crop_box_moves_by_keys_clicks_and_drags(shared: Served, visit: Any, toys: Any) -> None:
    _, photo = photo_of(toys)
    page = visit(shared.url)
    choose(page, photo)
    names(page)
    page.get_by_role("button", name="Crop 2.jpg").click()
    box = page.locator(".crop-box")
    assert box.get_attribute("aria-label") == "Crop box, 80% wide and 80% high"
    box.press("Shift+ArrowLeft")
    assert box.get_attribute("aria-label") == "Crop box, 78% wide and 80% high"
    for _ in range(5):
        page.get_by_role("button", name="Smaller").click()
    before = box.bounding_box()
    stage = page.locator(".crop-stage").bounding_box()
    page.mouse.click(stage["x"] + 3, stage["y"] + 3)
    moved = box.bounding_box()
    assert moved["x"] < before["x"]
    assert moved["width"] == pytest.approx(before["width"], abs=1)
    page.mouse.move(moved["x"] + moved["width"], moved["y"] + moved["height"])
    page.mouse.down()
    page.mouse.move(moved["x"] + moved["width"] + 60, moved["y"] + moved["height"] + 60, steps=3)
    page.mouse.up()
    assert box.bounding_box()["width"] == pytest.approx(moved["width"] + 60, abs=3)
    share = int(re.search(r"(\d+)% wide", box.get_attribute("aria-label"))[1]) / 100
    with page.expect_response("**/search") as answer:
        page.get_by_role("button", name="Search this part").click()
    assert answer.value.ok
    # The tile shows what is sent.
    assert size(page.locator(".tile img"))[0] == pytest.approx(160 * share, abs=2)
    assert page.get_by_role("button", name="Crop 2.jpg").get_attribute("aria-pressed") == "true"


def test_more_like_this_asks_for_the_item(shared: Served, visit: Any) -> None:
    page = visit(shared.url, "#/text?q=panda")
    item = names(page)[0]
    page.get_by_role("button", name=f"Similar to {item}").click()
    page.wait_for_url("**/#/image?item=*")
    page.locator(".tile-name", has_text=f"Like {item}").wait_for()
    page.locator("section.results:not([aria-busy]) .card").first.wait_for()
    found = [hit.item for hit in shared.engine.search(ps.Query(item=item), k=5)]
    assert names(page) == found
    page.reload()
    assert names(page) == found
    assert size(page.locator(".tile img")) != [0, 0]


def test_zoom_shows_all_references_and_steps_through_the_hits(shared: Served, visit: Any, toys: Any) -> None:
    item, photo = photo_of(toys, 7)
    page = visit(shared.url)
    choose(page, photo)
    second = names(page)[1]
    page.locator(".card-picture").first.click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").first.inner_text() == item
    thumbs = dialog.locator(".thumb")
    thumbs.nth(1).wait_for()
    assert thumbs.count() == 2
    assert thumbs.nth(1).get_attribute("aria-label") == "Show 2.jpg, which matched"
    assert dialog.locator("figcaption").all_inner_texts() == ["Your picture", "2.jpg"]
    thumbs.first.click()
    assert dialog.locator("figcaption").last.inner_text() == "1.jpg"
    page.keyboard.press("ArrowRight")
    assert dialog.get_by_role("heading").first.inner_text() == second
    page.keyboard.press("Escape")
    assert dialog.count() == 0


def test_hits_are_compared_side_by_side(shared: Served, visit: Any) -> None:
    page = visit(shared.url, "#/text?q=rabbit")
    first, second, *_ = names(page)
    for name in (first, second):
        page.get_by_role("button", name=f"Compare {name}", exact=True).click()
    page.get_by_role("button", name="Compare 2", exact=True).click()
    table = page.get_by_role("dialog").get_by_role("table")
    assert [head.strip() for head in table.locator("thead th").all_inner_texts()] == [first, second]
    prices = table.get_by_role("row", name="price").locator("td").all_inner_texts()
    assert prices == [str(shared.engine.get(item).metadata["price"]) for item in (first, second)]


def test_filters_by_label_and_metadata_narrow_the_results(shared: Served, visit: Any) -> None:
    page = visit(shared.url, "#/text?q=toy&k=50")
    names(page)
    label = shared.engine.items()[0].label
    page.get_by_text("Options and filters").click()
    page.get_by_role("button", name=label).first.click()
    page.wait_for_url(f"**label={label}*")
    page.locator("section.results:not([aria-busy]) .card").first.wait_for()
    assert len(names(page)) == shared.engine.count({"label": label})
    page.get_by_role("button", name=label).first.click()
    page.get_by_role("combobox", name="Key", exact=True).fill("price")
    page.get_by_label("Comparison").select_option("<")
    page.get_by_role("textbox", name="Value").fill("5")
    page.get_by_role("textbox", name="Value").press("Enter")
    page.wait_for_url("**f=price%3C5*")
    page.locator("section.results:not([aria-busy]) .card").first.wait_for()
    assert len(names(page)) == 5
    page.get_by_role("combobox", name="Key", exact=True).fill("price")
    page.get_by_label("Comparison").select_option(">")
    page.get_by_role("textbox", name="Value").fill("1000")
    page.get_by_role("textbox", name="Value").press("Enter")
    page.get_by_role("button", name="Clear the filters").click()
    assert len(names(page)) == 24


def test_addresses_bring_a_search_back(shared: Served, visit: Any, toys: Any) -> None:
    item, photo = photo_of(toys, 8)
    page = visit(shared.url)
    choose(page, photo)
    assert names(page)[0] == item
    with_picture = page.url
    page.get_by_role("tab", name="Words").click()
    page.get_by_label("Describe it in words").fill("penguin")
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/text*")
    page.go_back()
    page.wait_for_url(with_picture)
    page.locator(".tile img").wait_for()
    assert names(page)[0] == item
    page.reload()
    page.locator(".tile img").wait_for()
    assert names(page)[0] == item


def test_recent_searches_are_offered_and_forgotten(shared: Served, visit: Any, toys: Any) -> None:
    item, photo = photo_of(toys, 9)
    page = visit(shared.url, "#/text?q=frog")
    names(page)
    page.goto(f"{shared.url}#/image")
    choose(page, photo)
    names(page)
    page.keyboard.press("Escape")
    chips = page.locator(".recent .chip")
    chips.nth(1).wait_for()
    assert chips.all_inner_texts() == ["1 picture", "frog"]
    chips.first.click()
    assert names(page)[0] == item
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear", exact=True).click()
    chips.first.wait_for(state="detached")


def test_the_number_of_results_is_chosen(shared: Served, visit: Any) -> None:
    page = visit(shared.url, "#/text?q=toy")
    assert len(names(page)) == 5
    page.get_by_text("Options and filters").click()
    page.get_by_role("combobox", name="Results").select_option("20")
    page.wait_for_url("**k=20*")
    page.locator(".card").nth(19).wait_for()
    assert len(names(page)) == 20


def test_the_model_is_chosen(serve: Any, visit: Any, toys: Any, toy_model: Path, tmp_path: Path) -> None:
    engine = ps.Engine(tmp_path / "two.catalog", model={"clip": "plushie-mini", "resnet": toy_model})
    engine.add_items({"id": item, "images": photos[:1]} for item, photos in toys.photos.items())
    served = serve(engine)
    _, photo = photo_of(toys, 4)
    page = visit(served.url)
    choose(page, photo)
    names(page)
    page.get_by_text("Options and filters").click()
    select = page.get_by_label("Model")
    assert select.locator("option").all_inner_texts() == ["By default", "clip", "resnet", "All together"]
    lists = []
    for name in ("clip", "resnet"):
        select.select_option(name)
        page.wait_for_url(f"**engine={name}*")
        page.locator("section.results:not([aria-busy]) .card").first.wait_for()
        assert names(page) == [hit.item for hit in engine.search_image(photo, k=5, models=name)]
        lists.append(names(page))
    assert lists[0] != lists[1]
    select.select_option("both")
    page.wait_for_url("**engine=both*")
    page.locator("section.results:not([aria-busy]) .card").first.wait_for()
    page.locator(".card-picture").first.click()
    details = page.get_by_role("dialog").locator("dl")
    assert details.get_by_text("clip").is_visible()
    assert details.get_by_text("resnet").is_visible()


def test_two_hundred_hits_are_shown_at_once(shared: Served, visit: Any) -> None:
    page = visit(shared.url)

    def many(route: Any) -> None:
        answer = route.fetch().json()
        row = answer["results"][0]
        answer["results"] = [{**row, "rank": rank, "item": f"{row['item']}-{rank}"} for rank in range(1, 201)]
        route.fulfill(json=answer)

    page.route("**/search", many)
    page.goto(f"{shared.url}#/text?q=toy&k=200")
    cards = page.locator(".grid:not(.waiting) .card")
    cards.nth(199).wait_for()
    assert cards.count() == 200
    # Cards beyond the window cost nothing until they are scrolled to.
    assert cards.last.evaluate("(card) => getComputedStyle(card).contentVisibility") == "auto"


def test_an_unknown_picture_of_an_address_is_explained(shared: Served, visit: Any) -> None:
    page = visit(shared.url, "#/image?r=elsewhere")
    page.get_by_text("The pictures of this search are not in this browser").first.wait_for()


def test_the_theme_is_kept(shared: Served, visit: Any) -> None:
    page = visit(shared.url, color_scheme="light")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Colors: as the system").click()
    page.get_by_role("button", name="Colors: light").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.get_by_role("button", name="Colors: dark").wait_for()
    assert page.evaluate(ground) == dark


def test_more_results_follow_below(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    page.get_by_role("tab", name="Words").click()
    page.get_by_label("Describe it in words").fill("a red fox")
    page.keyboard.press("Enter")
    wanted = [hit.item for hit in shared.engine.search_text("a red fox", k=10)]
    assert names(page) == wanted[:5]
    page.get_by_role("button", name="Show more").click()
    page.locator(".card").nth(len(wanted) - 1).wait_for()
    assert names(page) == wanted
    assert page.locator(".results-head h2").inner_text() == f"{len(wanted)} results"
    assert page.evaluate("document.activeElement.dataset.open") == wanted[5]
