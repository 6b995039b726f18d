"""The package's logger: its events, and its silence by default."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from plushie_search import CatalogError, Engine, ModelError

NAME = "plushie_search"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (9, 9), (200, 9, 9)).save(folder / f"{name}.png")
    (folder / "c.png").write_text("no picture")
    return folder


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == NAME]


def test_a_catalog_tells_of_its_opening_and_of_added_items(
    tmp_path: Path, toy_model: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = tmp_path / "toys.catalog"
    with caplog.at_level("INFO", NAME):
        with Engine(catalog, model=toy_model) as engine:
            report = engine.add_folder(pictures)
        [(_, reason)] = report.failed
        assert said(caplog) == [
            ("INFO", "opened model toy on cpu"),
            ("INFO", f"opened {catalog}: 0 items, models toy"),
            ("INFO", f"added to {catalog}: 2 new items, 2 new references, 1 failed"),
            ("WARNING", f"left out {pictures / 'c.png'}: {reason}"),
        ]
        caplog.clear()
        Engine(catalog, model=toy_model).close()
        assert said(caplog)[-1] == ("INFO", f"opened {catalog}: 2 items, models toy")


def test_a_refusal_is_told(tmp_path: Path, toy_model: Path, pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Engine(tmp_path / "toys.catalog", model=toy_model) as engine:
        engine.add_folder(pictures)
    caplog.clear()
    with caplog.at_level("INFO", NAME), pytest.raises((CatalogError, ModelError)) as error:
        Engine(tmp_path / "toys.catalog", model="plushie-mini")
    assert said(caplog)[-1] == ("WARNING", f"refused {tmp_path / 'toys.catalog'}: {error.value}")


def test_it_is_silent_by_default(tmp_path: Path, toy_model: Path, pictures: Path) -> None:
    code = "import sys, plushie_search as ps; ps.Engine(sys.argv[1], model=sys.argv[2]).add_folder(sys.argv[3])"
    command = [sys.executable, "-c", code, str(tmp_path / "toys.catalog"), str(toy_model), str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger(NAME).handlers)
