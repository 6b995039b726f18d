"""Hands for the web page: give it files, and read its results."""

import base64
from pathlib import Path
from typing import Any, NamedTuple


class Served(NamedTuple):
    """A running server."""

    url: str
    engine: Any


def files(paths: list[Path], names: list[str] | None = None) -> list[list[str]]:
    """Returns files as :data:`TRANSFER` takes them."""
    names = names or [path.name for path in paths]
    kinds = [{".jpg": "image/jpeg", ".png": "image/png"}.get(path.suffix, "text/plain") for path in paths]
    return [
        [name, kind, base64.b64encode(path.read_bytes()).decode()]
        for path, kind, name in zip(paths, kinds, names, strict=True)
    ]


TRANSFER = """
(files) => {
  const transfer = new DataTransfer();
  for (const [name, type, data] of files) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, {type}));
  }
  return transfer;
}
"""


def drop(page: Any, *paths: Path, names: list[str] | None = None) -> None:
    """Drops files on the page, as a file manager does."""
    transfer = page.evaluate_handle(TRANSFER, files(list(paths), names))
    page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})


def paste(page: Any, path: Path) -> None:
    """Pastes a copied picture."""
    transfer = page.evaluate_handle(TRANSFER, files([path]))
    page.evaluate(
        "(clipboardData) => document.body.dispatchEvent("
        "new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true}))",
        transfer,
    )


def choose(page: Any, *paths: Path, button: str = "Choose pictures") -> None:
    """Chooses files by the system's dialog."""
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name=button, exact=True).click()
    chosen.value.set_files([str(path) for path in paths])


def names(page: Any) -> list[str]:
    """Returns the names of the results, once they are there."""
    page.locator("ul.grid:not(.waiting) .card").first.wait_for()
    return page.locator("ul.grid .card h3").all_text_contents()
