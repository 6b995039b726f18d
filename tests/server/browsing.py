"""Fixtures of the web page's tests: servers with plush toys, and a real browser.

A test file uses them by ``pytest_plugins = ["browsing"]``.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hands import Served
from http_server import listening

import plushie_search as ps
from plushie_search.plush.pictures import write_plushes
from plushie_search.server import create_app, load

#: How a system may call Chromium.
NAMES = (os.environ.get("PLUSHIE_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")

#: Runs before the page: what the policy refuses becomes an error of the console, as a script's error is.
WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("policy", event.violatedDirective, event.blockedURI, event.sourceFile, event.lineNumber));
"""


class Toys(NamedTuple):
    """A catalog and the pictures that it was made of, by item."""

    path: Path
    photos: dict[str, list[Path]]


@contextlib.contextmanager
def serving(engine: Any, **settings: Any) -> Iterator[Served]:
    """Serves an engine, or several by their names, in a thread."""
    with listening(create_app(engine, settings=load(**settings))) as address:
        yield Served(f"{address}/", engine)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Toys:
    """A catalog of 24 plush toys with labels and metadata. Do not change it: copy it."""
    folder = tmp_path_factory.mktemp("page")
    rows = write_plushes(folder / "plushes", seeds=range(1, 25), views=2, side=160)
    photos = {row["id"]: [folder / "plushes" / image for image in row["images"]] for row in rows}
    with ps.Engine(folder / "toys.catalog", media=True) as engine:
        engine.add_items(
            ps.ItemDraft(
                row["id"], photos[row["id"]], row["label"], {"color": row["metadata"]["color"], "price": number}
            )
            for number, row in enumerate(rows)
        )
    return Toys(folder / "toys.catalog", photos)


@pytest.fixture(scope="module")
def shared(toys: Toys) -> Iterator[Served]:
    """A server of the plush toys whose catalog no test changes."""
    with ps.Engine(toys.path) as engine, serving(engine) as served:
        yield served


@pytest.fixture
def own(toys: Toys, tmp_path: Path) -> Iterator[Served]:
    """A server of a copy of the plush toys, which the test may change."""
    shutil.copytree(toys.path, tmp_path / "own.catalog")
    with ps.Engine(tmp_path / "own.catalog") as engine, serving(engine) as served:
        yield served


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Serves an engine, or several by their names, with settings, until the test ends."""
    with contextlib.ExitStack() as stack:

        def serve(source: Any, **settings: Any) -> Served:
            for engine in source.values() if isinstance(source, dict) else [source]:
                stack.enter_context(engine)
            return stack.enter_context(serving(source, **settings))

        yield serve


@pytest.fixture
def tiny(serve: Any, toy_model: Path, tmp_path: Path) -> Served:
    """A server of an empty catalog with a tiny model."""
    return serve(ps.Engine(tmp_path / "tiny.catalog", model=toy_model))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a window; tests that need it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, filter(None, NAMES))), None)
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or set PLUSHIE_CHROMIUM")
    with playwright.sync_playwright() as running:
        # Chromium refuses its sandbox to root, who runs containers.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = running.chromium.launch(executable_path=path, args=options)
        yield chromium
        chromium.close()


Visit = Callable[..., Any]


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Opens the page: ``visit(url, hash, width=, height=, allow=, ...)`` with the options of a browser's context.

    Afterwards nothing may have been written to the console, no request may have failed or left the server, and the
    policy may not have been violated. ``allow`` is a pattern of messages that the test provokes.
    """
    opened: list[tuple[Any, list[str], str | None]] = []

    def visit(
        url: str,
        hash: str = "#/image",
        *,
        width: int = 1280,
        height: int = 860,
        allow: str | None = None,
        **options: Any,
    ) -> Any:
        options.setdefault("locale", "en-US")
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(30_000)
        page = context.new_page()
        faults: list[str] = []
        opened.append((context, faults, allow))
        page.add_init_script(WATCH)
        page.on("console", lambda message: faults.append(f"console: {message.text} {message.location['url']}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))

        def asked(request: Any) -> None:
            if not request.url.startswith((url, "blob:")):
                faults.append(f"request to {request.url}")

        def failed(request: Any) -> None:
            # A request that the page itself gave up, since another took its place, is no fault.
            if "ERR_ABORTED" not in (request.failure or ""):
                faults.append(f"failed: {request.url}: {request.failure}")

        page.on("request", asked)
        page.on("requestfailed", failed)
        page.goto(url + hash)
        page.locator("header.top .brand, dialog").first.wait_for()
        return page

    yield visit
    for context, faults, allow in opened:
        context.close()
        assert [fault for fault in faults if not (allow and re.search(allow, fault))] == []
