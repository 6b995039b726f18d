"""A path that begins with ~ is one in the home directory, wherever Python takes a path."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps
from plushie_search import cli
from plushie_search.interop.descriptions import read_descriptions


@pytest.fixture
def home(toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with a model and pictures, and another one to be in."""
    home, here = tmp_path / "home", tmp_path / "here"
    shutil.copytree(toy_model, home / "model")
    here.mkdir()
    for item, color in (("red", (220, 20, 20)), ("blue", (20, 20, 230))):
        (home / "photos" / item).mkdir(parents=True)
        Image.fromarray(np.full((16, 16, 3), color, np.uint8)).save(home / "photos" / item / "0.png")
    (home / "toys.csv").write_text("image,price\nphotos/red/0.png,3\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    yield home  # type: ignore[misc]
    assert list(here.iterdir()) == []


def test_python_takes_paths_in_the_home_directory(home: Path) -> None:
    with ps.Engine("~/toys.catalog", model="~/model", threads=1) as engine:
        assert engine.path == str(home / "toys.catalog")
        assert engine.add_folder(Path("~/photos")).items == 2
        assert engine.search_image("~/photos/blue/0.png", k=1)[0].item == "blue"
        assert engine.add("third", images=["~/photos/red/0.png"]) == ps.Added(1, 0)
        assert engine.get("third").references[0].name == str(home / "photos" / "red" / "0.png")
        assert engine.evaluate("~/photos").metrics["hit@1"].value == 1
        engine.evaluate("~/photos").to_html("~/page.html")
    assert (home / "page.html").is_file()
    assert read_descriptions("~/toys.csv")[0].images == [home / "photos" / "red" / "0.png"]
    (home / "here.csv").write_text("image\n~/photos/red/0.png\n", encoding="utf-8")
    assert read_descriptions("~/here.csv")[0].images == [home / "photos" / "red" / "0.png"]
    assert ps.open_encoder("~/model", threads=1).encode_images("~/photos/red/0.png").shape[0] == 1


def test_the_command_takes_paths_in_the_home_directory(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", "~/model"]
    assert cli.main(["add", "~/c", "~/photos", *model]) == 0
    assert cli.main(["add", "~/c", "~/toys.csv", *model]) == 0
    assert cli.main(["search", "~/c", "~/photos/red/0.png", *model]) == 0
    assert cli.main(["evaluate", "~/c", "~/photos", "--markdown", "~/report.md", *model]) == 0
    assert (home / "c" / "catalog.sqlite").is_file()
    assert (home / "report.md").is_file()


def test_a_name_that_only_begins_like_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save("~no such user.png")
    assert ps._core.decode("~no such user.png").shape == (4, 4, 3)
