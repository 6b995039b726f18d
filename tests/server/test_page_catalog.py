"""The catalog of the web page, in a real browser: add, edit, remove and undo, and what a reader is not offered."""

import shutil
from pathlib import Path
from typing import Any

from hands import Served, choose, drop, names, paste

import plushie_search as ps

pytest_plugins = ["browsing"]


def card(page: Any, name: str) -> Any:
    """Returns the card of an item."""
    return page.locator(".card", has=page.get_by_role("heading", name=name, exact=True))


def dialog(page: Any) -> Any:
    """Returns the dialog that is open."""
    return page.get_by_role("dialog")


def test_items_are_listed_and_found_by_name_and_label(shared: Served, visit: Any) -> None:
    page = visit(shared.url, "#/catalog")
    assert sorted(names(page)) == sorted(item.id for item in shared.engine.items())
    some = shared.engine.items()[0]
    field = page.get_by_label("Find by name or label")
    field.fill(some.id)
    page.get_by_text("1 item", exact=True).first.wait_for()
    assert names(page) == [some.id]
    field.fill("")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_role("button", name=some.label).first.click()
    page.wait_for_url(f"**label={some.label}*")
    expected = shared.engine.count({"label": some.label})
    page.locator("section > p", has_text=f"{expected} item").wait_for()
    assert len(names(page)) == expected


def test_pages_follow_each_other_and_keep_few_cards(shared: Served, visit: Any) -> None:
    page = visit(shared.url)

    def long(route: Any) -> None:
        answer = route.fetch(url=f"{shared.url}api/v1/items?limit=1").json()
        after = int(route.request.url.partition("after=")[2] or 0)
        rows = [{**answer["items"][0], "id": f"toy-{number}"} for number in range(after, min(after + 60, 400))]
        route.fulfill(json={"items": rows, "next": str(after + 60) if after + 60 < 400 else None, "total": 400})

    page.route("**/items?limit=60*", long)
    page.get_by_role("link", name="Catalog", exact=True).click()
    for number in range(7):
        first = page.get_by_role("heading", name=f"toy-{60 * number}", exact=True)
        first.wait_for()
        assert page.locator(".card").count() <= 300
        if number < 6:
            page.get_by_role("button", name="Next").click()
    assert page.get_by_role("button", name="Next").is_disabled()
    assert page.get_by_text("361–400 of 400").first.is_visible()
    page.get_by_role("button", name="Previous").click()
    page.get_by_role("heading", name="toy-300", exact=True).wait_for()
    page.reload()
    page.get_by_role("heading", name="toy-300", exact=True).wait_for()


def test_an_item_is_added_by_the_form(own: Served, visit: Any, toys: Any) -> None:
    item, photos = next(iter(toys.photos.items()))
    own.engine.remove(item)
    page = visit(own.url, "#/catalog")
    page.get_by_role("button", name="Add an item").click()
    form = dialog(page)
    form.get_by_label("Name").fill("灰兔/1")
    choose(page, *photos)
    form.get_by_label("Label", exact=True).fill("rabbit")
    form.get_by_role("button", name="Add an entry").click()
    form.get_by_label("Key").fill("price")
    form.get_by_label("Value").fill("12.5")
    form.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("灰兔/1 added").first.wait_for()
    item = own.engine.get("灰兔/1")
    assert (item.label, item.metadata, len(item.references)) == ("rabbit", {"price": 12.5}, 2)
    # An id with a slash is found by its address, too.
    page.get_by_role("button", name="Show 灰兔/1").click()
    dialog(page).locator(".thumb").nth(1).wait_for()


def test_files_dropped_on_the_form_join_its_pictures(tiny: Served, visit: Any, toys: Any) -> None:
    page = visit(tiny.url, "#/catalog")
    first, second = next(iter(toys.photos.values()))
    drop(page, first, names=["bear/front.jpg"])
    assert dialog(page).get_by_label("Name").input_value() == "bear"
    drop(page, second)
    dialog(page).locator(".tile img").nth(1).wait_for()
    paste(page, next(iter(reversed(toys.photos.values())))[0])
    dialog(page).locator(".tile img").nth(2).wait_for()
    dialog(page).get_by_role("button", name="Remove 2.jpg").click()
    dialog(page).get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("bear added").first.wait_for()
    assert len(tiny.engine.get("bear").references) == 2
    # A dialog that takes no files keeps them from the page behind.
    page.get_by_role("button", name="Help and keys").click()
    drop(page, second)
    assert page.get_by_role("dialog").count() == 1


def test_dropped_files_become_items_with_progress(own: Served, visit: Any, toys: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    photos = [photo for pair in list(toys.photos.values())[:3] for photo in pair]
    for item in own.engine.items():
        own.engine.remove(item.id)
    page = visit(own.url, "#/catalog")
    page.get_by_text("The catalog is empty").first.wait_for()
    paths = [f"toys/{photo.parent.name}/{photo.name}" for photo in photos]
    drop(page, *photos, tmp_path / "broken.jpg", names=[*paths, "toys/broken/1.jpg"])
    form = dialog(page)
    assert form.get_by_role("heading").inner_text() == "Add 7 pictures"
    form.get_by_role("button", name="Add 4 items").click()
    form.get_by_text("6 pictures added.").wait_for()
    assert "broken" in form.locator(".failures li").inner_text()
    form.get_by_role("button", name="Close").last.click()
    wanted = sorted(photo.parent.name for photo in photos[::2])
    page.locator(".card").nth(2).wait_for()
    assert sorted(names(page)) == wanted
    assert sorted(item.id for item in own.engine.items()) == wanted


def test_a_chosen_folder_keeps_its_structure(own: Served, visit: Any, toys: Any, tmp_path: Path) -> None:
    item, photos = next(iter(toys.photos.items()))
    own.engine.remove(item)
    for number, photo in enumerate(photos):
        (tmp_path / "shop" / f"new-{number}").mkdir(parents=True)
        shutil.copy(photo, tmp_path / "shop" / f"new-{number}" / "front.jpg")
    page = visit(own.url, "#/catalog")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Add a folder").click()
    chosen.value.set_files(str(tmp_path / "shop"))
    dialog(page).get_by_role("button", name="Add 2 items").click()
    dialog(page).get_by_text("2 pictures added.").wait_for()
    assert "new-0" in own.engine
    assert "new-1" in own.engine


def test_label_text_and_metadata_are_edited(own: Served, visit: Any) -> None:
    item = own.engine.items()[0]
    page = visit(own.url, "#/catalog")
    page.get_by_role("button", name=f"Edit {item.id}").click()
    form = dialog(page)
    form.get_by_label("Label", exact=True).fill("dragon")
    form.get_by_label("Description").fill("a green dragon")
    form.get_by_role("button", name="Remove the entry").first.click()
    form.get_by_role("button", name="Save").click()
    page.get_by_text(f"{item.id} saved").first.wait_for()
    fresh = own.engine.get(item.id)
    # The number that was not touched stays a number.
    assert (fresh.label, fresh.text, fresh.metadata) == ("dragon", "a green dragon", {"price": item.metadata["price"]})
    card(page, item.id).get_by_text("dragon").wait_for()


def test_an_edit_of_something_that_changed_is_refused(own: Served, visit: Any) -> None:
    item = own.engine.items()[0]
    page = visit(own.url, "#/catalog", allow="412")
    page.get_by_role("button", name=f"Edit {item.id}").click()
    own.engine.update(item.id, label="elsewhere")
    dialog(page).get_by_label("Label", exact=True).fill("mine")
    dialog(page).get_by_role("button", name="Save").click()
    dialog(page).get_by_text("It was changed elsewhere meanwhile.").wait_for()
    assert own.engine.get(item.id).label == "elsewhere"


def test_a_removal_is_undone(own: Served, visit: Any) -> None:
    item = own.engine.items()[3]
    page = visit(own.url, "#/catalog")
    page.get_by_role("button", name=f"Remove {item.id}").click()
    page.get_by_text(f"{item.id} removed").first.wait_for()
    page.locator("section > p", has_text="23 items").wait_for()
    assert item.id not in own.engine
    page.get_by_role("button", name="Undo").click()
    card(page, item.id).wait_for()
    fresh = own.engine.get(item.id)
    assert (fresh.label, fresh.metadata, len(fresh.references)) == (item.label, item.metadata, 2)


def test_the_query_picture_becomes_a_reference_and_is_removed_again(
    own: Served, visit: Any, toys: Any, tmp_path: Path
) -> None:
    item = sorted(toys.photos)[0]
    own.engine.remove_reference(item, own.engine.get(item).references[1].digest)
    page = visit(own.url)
    choose(page, toys.photos[item][1])
    assert names(page)[0] == item
    page.locator(".card-picture").first.click()
    dialog(page).get_by_role("button", name="Add your picture to it").click()
    page.get_by_text(f"1 picture added to {item}").first.wait_for()
    dialog(page).locator(".thumb").nth(1).wait_for()
    assert len(own.engine.get(item).references) == 2
    dialog(page).get_by_role("button", name="Add your picture to it").click()
    page.get_by_text(f"{item} has this picture already").first.wait_for()
    dialog(page).locator(".thumb").nth(1).click()
    dialog(page).get_by_role("button", name="Remove this picture").click()
    dialog(page).last.get_by_role("button", name="Remove the item").last.click()
    page.get_by_text("Picture removed").first.wait_for()
    assert len(own.engine.get(item).references) == 1


def test_the_query_picture_becomes_an_item(own: Served, visit: Any, toys: Any) -> None:
    item = sorted(toys.photos)[0]
    own.engine.remove(item)
    page = visit(own.url)
    choose(page, toys.photos[item][0])
    names(page)
    page.locator(".verdict.unknown").get_by_role("button", name="Add it").click()
    dialog(page).get_by_label("Name").fill("mine")
    dialog(page).get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("heading", name="mine", exact=True).wait_for()
    assert len(own.engine.get("mine").references) == 1


def test_a_reader_is_offered_no_change(serve: Any, visit: Any, toys: Any) -> None:
    served = serve(ps.Engine(toys.path), server={"read_only": True})
    page = visit(served.url, "#/catalog")
    names(page)
    for name in ("Add an item", "Add pictures", "Edit", "Remove"):
        assert page.get_by_role("button", name=name).count() == 0
    drop(page, next(iter(toys.photos.values()))[0])
    page.get_by_text("This catalog is read-only for you.").first.wait_for()
    assert len(served.engine) == 24


def test_an_empty_catalog_says_how_to_begin(tiny: Served, visit: Any) -> None:
    page = visit(tiny.url)
    page.get_by_text("The catalog is empty").wait_for()
    page.get_by_role("link", name="Add pictures").click()
    page.get_by_text("Drop a folder of pictures here").wait_for()
