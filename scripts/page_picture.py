"""Takes the README's picture of the web page, by Chromium.

    python scripts/page_picture.py docs/page.jpg

Makes a catalog of plush toys, serves it, and searches by a picture and by words in a window of 1280 x 860 pixels.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

import plushie_search as ps
from plushie_search.plush.pictures import write_plushes
from plushie_search.server import create_app, load

WIDTH, HEIGHT = 1280, 860


def main() -> None:
    """Writes the picture to the path of the first argument."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    picture = parser.parse_args().picture
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("no Chromium is installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, ps.Engine(f"{folder}/toys.catalog", media=True) as engine:
        toys = write_plushes(Path(folder, "plushes"), seeds=range(1, 61), views=2, side=320)
        engine.add_items(
            ps.ItemDraft(
                toy["id"], [Path(folder, "plushes", image) for image in toy["images"][:1]], toy["label"], facts(toy)
            )
            for toy in toys
        )
        app = create_app(engine, settings=load(search={"default_k": 8}))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            shoot(f"http://127.0.0.1:{port}/", Path(folder, "plushes", toys[16]["images"][1]), picture, chromium)
        finally:
            server.should_exit = True
            thread.join()


def facts(toy: dict[str, object]) -> dict[str, object]:
    """Returns the metadata that a card shows."""
    metadata = toy["metadata"]
    assert isinstance(metadata, dict)
    return {key: metadata[key] for key in ("color", "pose", "fur")}


def shoot(url: str, photo: Path, picture: Path, chromium: str) -> None:
    """Searches by a photo and by words, and writes the window's picture."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale="en-US", color_scheme="light")
        page.goto(f"{url}#/both")
        with page.expect_file_chooser() as chosen:
            page.get_by_role("button", name="Choose pictures").click()
        chosen.value.set_files(photo)
        page.get_by_label("Describe it in words").fill("with a red heart")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=with*")
        page.locator("section.results:not([aria-busy]) .card").first.wait_for()
        page.get_by_text("Options and filters").click()
        page.wait_for_load_state("networkidle")
        page.mouse.move(0, 0)
        page.screenshot(path=picture, type="jpeg", quality=88)
        browser.close()


if __name__ == "__main__":
    main()
