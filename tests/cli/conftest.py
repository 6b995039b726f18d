"""Catalogs that the tests of commands begin with."""

from pathlib import Path

import pytest
from PIL import Image

from plushie_search.cli import main

COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "yellow": (220, 210, 20)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """photos/<color>/1.png and 2.png, all different."""
    for name, color in COLORS.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (40, 30 + number), color).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def catalog(tmp_path: Path, toy_model: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The arguments that name a catalog with those photos and its model."""
    arguments = [str(tmp_path / "toys.catalog"), "--model", str(toy_model)]
    assert main(["add", *arguments, str(photos)]) == 0
    assert capsys.readouterr().out == "4 new items, 8 new references; 4 items in the catalog\n"
    return arguments
