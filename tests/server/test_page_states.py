"""The web page while the server is slow, busy, gone, or wants a key."""

import hashlib
from typing import Any

from hands import Served, choose, names

import plushie_search as ps

pytest_plugins = ["browsing"]


def problem(status: int, **headers: str) -> dict[str, Any]:
    """Returns an answer that refuses a request."""
    body = {"type": "about:blank", "title": "No", "status": status, "detail": "the queue is full", "success": False}
    return {"status": status, "json": body, "headers": {"Content-Type": "application/problem+json", **headers}}


def test_waiting_shows_gray_cards_and_the_last_search_counts(shared: Served, visit: Any) -> None:
    page = visit(shared.url)
    held: list[Any] = []
    page.route("**/search", lambda route: held.append(route))
    page.get_by_role("tab", name="Words").click()
    field = page.get_by_label("Describe it in words")
    field.fill("panda")
    field.press("Enter")
    page.locator(".results[aria-busy=true] .waiting").wait_for()
    field.fill("frog")
    with page.expect_request(lambda request: request.url.endswith("/search")):
        field.press("Enter")
    page.locator(".results[aria-busy=true] .waiting").wait_for()
    held[1].continue_()
    assert names(page) == [hit.item for hit in shared.engine.search_text("frog", k=5)]
    assert page.locator(".results[aria-busy]").count() == 0


def test_a_busy_server_is_asked_again_after_the_time_it_says(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="429")
    asked: list[Any] = []

    def busy(route: Any) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.fulfill(**problem(429, **{"Retry-After": "1"}))
        else:
            route.continue_()

    page.route("**/search", busy)
    page.goto(f"{shared.url}#/text?q=panda")
    page.get_by_text("The server is busy; trying again in 1 s").first.wait_for()
    assert len(names(page)) == 5
    assert len(asked) == 2


def test_a_server_that_stays_busy_is_asked_four_times(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="503")
    asked: list[Any] = []

    def busy(route: Any) -> None:
        asked.append(route)
        route.fulfill(**problem(503, **{"Retry-After": "1"}))

    page.route("**/search", busy)
    page.goto(f"{shared.url}#/text?q=panda")
    page.get_by_text("The server is busy. Try again in a moment.").first.wait_for()
    assert len(asked) == 4
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    assert len(names(page)) == 5


def test_a_search_that_took_too_long_is_offered_again(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="504")
    page.route("**/search", lambda route: route.fulfill(**problem(504)))
    page.goto(f"{shared.url}#/text?q=panda")
    page.get_by_text("The server took too long.").first.wait_for()
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    assert len(names(page)) == 5


def test_an_answer_that_is_no_json_is_told_by_its_status(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="502")
    page.route("**/search", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.goto(f"{shared.url}#/text?q=panda")
    page.get_by_text("The server answered with error 502.").first.wait_for()


def test_a_lost_connection_is_told_and_the_catalog_comes_back(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="ERR_INTERNET_DISCONNECTED|ERR_FAILED")
    page.context.set_offline(True)
    page.get_by_role("link", name="Catalog", exact=True).click()
    page.get_by_text("No answer came.").first.wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    assert len(names(page)) == 24


def test_a_server_that_starts_later_is_waited_for(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="503")
    page.route("**/stats", lambda route: route.fulfill(**problem(503)))
    page.reload()
    page.get_by_text("The server cannot be reached").wait_for()
    page.unroute("**/stats")
    page.get_by_role("button", name="Try again").click()
    page.locator(".mosaic img").first.wait_for()


def test_a_file_that_is_no_picture_is_refused_in_words(shared: Served, visit: Any, tmp_path: Any) -> None:
    (tmp_path / "fake.jpg").write_bytes(b"\xff\xd8\xff no picture")
    page = visit(shared.url, allow="415|422|400")
    choose(page, tmp_path / "fake.jpg")
    page.get_by_text("That did not work").first.wait_for()
    page.get_by_text("No preview, but it can be searched").wait_for()


def test_pictures_that_are_gone_keep_their_place(shared: Served, visit: Any) -> None:
    page = visit(shared.url, allow="404")
    page.route("**/media/**", lambda route: route.fulfill(status=404))
    page.goto(f"{shared.url}#/text?q=panda")
    assert len(names(page)) == 5
    page.mouse.wheel(0, 800)  # pictures out of sight are not asked for
    page.locator(".card .noimage").nth(4).wait_for()
    box = page.locator(".card-picture").first.bounding_box()
    assert abs(box["width"] - box["height"]) < 1


def test_notices_and_probabilities_are_shown(shared: Served, visit: Any) -> None:
    page = visit(shared.url)

    def likely(route: Any) -> None:
        answer = route.fetch().json()
        answer["notices"] = ["texts were left out: <b>no model</b> reads them"]
        answer["results"][0] |= {"probability": 0.996, "similarity": 0.996, "score": 0.31}
        route.fulfill(json=answer)

    page.route("**/search", likely)
    page.goto(f"{shared.url}#/text?q=panda")
    page.get_by_text("texts were left out: <b>no model</b> reads them").wait_for()
    meter = page.get_by_role("meter", name="Likelihood")
    # Never rounded up to certainty.
    assert meter.get_attribute("aria-valuetext") == "99%"
    assert meter.get_attribute("title") == "cosine 0.310"
    assert page.get_by_text("Most likely:").is_visible()


def test_a_key_is_asked_for_once_and_not_put_into_addresses(serve: Any, visit: Any, toys: Any) -> None:
    auth = {"read_keys": [hashlib.sha256(b"a-read-key").hexdigest()]}
    served = serve(ps.Engine(toys.path), auth=auth)
    page = visit(served.url, "#/text?q=panda", allow="401")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    field = page.get_by_label("API key")
    field.fill("wrong")
    page.get_by_role("button", name="Use the key").click()
    field.fill("a-read-key")
    page.get_by_role("button", name="Use the key").click()
    assert len(names(page)) == 5
    # Signed addresses: pictures are shown without a key.
    picture = page.locator(".card img").first
    assert picture.evaluate("async (image) => (await image.decode(), image.naturalWidth)") > 0
    assert page.evaluate("() => Object.keys(localStorage).length") == 0
    assert not [url for url in asked if "a-read-key" in url]
    page.get_by_role("link", name="Catalog", exact=True).click()
    names(page)
    assert page.get_by_role("button", name="Add an item").count() == 0


def test_several_catalogs_are_chosen_from(serve: Any, visit: Any, toys: Any, toy_model: Any, tmp_path: Any) -> None:
    engines = {"toys": ps.Engine(toys.path), "empty": ps.Engine(tmp_path / "b.catalog", model=toy_model)}
    served = serve(engines)
    page = visit(served.url, "#/text?q=panda")
    assert len(names(page)) == 5
    page.get_by_label("Choose a catalog").select_option("empty")
    page.get_by_text("The catalog is empty").wait_for()
    page.wait_for_url("**catalog=empty*")
    page.get_by_label("Choose a catalog").select_option("toys")
    page.locator(".mosaic img").first.wait_for()
