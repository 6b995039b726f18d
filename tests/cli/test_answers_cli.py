"""The commands that classify and compare pictures, and that look for duplicates and for what needs attention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import plushie_search as ps
from plushie_search.cli import main

pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")


@pytest.fixture
def labeled(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The catalog, in which red and yellow are "warm", and green and blue are "cold"."""
    for id, label in (("red", "warm"), ("yellow", "warm"), ("green", "cold"), ("blue", "cold")):
        assert main(["update", *catalog, id, "--label", label]) == 0
    capsys.readouterr()
    return catalog


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_classify(labeled: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    red, blue = str(photos / "red" / "1.png"), str(photos / "blue" / "1.png")
    assert main(["classify", *labeled, red, "--by", "images"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["class", "confidence", "examples"]
    assert main(["classify", *labeled, red, blue, "--by", "images", "--json"]) == 0
    first, second = printed(capsys)
    assert (first["image"], second["image"]) == (red, blue)
    assert {one["name"]: one["examples"] for one in first["classes"]} == {"warm": 4, "cold": 4}
    assert sum(one["confidence"] for one in first["classes"]) + first["other"] == pytest.approx(1)
    assert main(["classify", *labeled, red, blue, "--by", "images"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[5], lines[6]) == (red, "", blue)
    assert main(["classify", *labeled, red, "--label", "warm"]) == 2
    assert "give two or more" in capsys.readouterr().err


def test_compare(catalog: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    red, log = str(photos / "red" / "1.png"), tmp_path / "audit.jsonl"
    assert main(["compare", *catalog, red, red, "--audit", str(log)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "same: similarity 1.000, threshold 0.9"
    assert json.loads(log.read_text())["verdict"] == "same"
    status = main(["compare", *catalog, red, "--item", "blue", "--threshold", "1", "--json"])
    found = printed(capsys)
    assert (status, found["same"], found["item"]) == (1, False, "blue")
    assert main(["compare", *catalog, red]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_duplicates_and_review(catalog: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", *catalog, str(photos / "red" / "1.png"), "--id", "copy"]) == 0
    capsys.readouterr()
    assert main(["duplicates", *catalog, "--json"]) == 0
    found = printed(capsys)
    assert found["counts"]["same bytes"] == 1
    assert [found["pairs"][0][side]["item"] for side in ("first", "second")] == ["red", "copy"]
    assert main(["duplicates", *catalog, "--limit", "1"]) == 0
    assert capsys.readouterr().out.startswith("1 same bytes, ")
    assert main(["review", *catalog, "--json"]) == 0
    found = printed(capsys)
    [copy] = [one for one in found["items"] if one["item"] == "copy"]
    assert copy["reasons"][-1] == "it has one reference: add one from another side"
    assert main(["review", *catalog, "--where", "id=copy"]) == 0
    assert capsys.readouterr().out.startswith("1 item needs attention\n")


def test_confirm(catalog: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(photos / "red" / "1.png")
    assert main(["confirm", *catalog, picture, "blue"]) == 0
    assert main(["confirm", *catalog, picture, "blue"]) == 0
    assert capsys.readouterr().out == "1 reference added to blue\nblue has this picture already\n"
    assert main(["confirm", *catalog, picture, "green", "--json"]) == 0
    assert printed(capsys) == {"references": 1, "duplicates": 0, "replaced": 0, "notes": []}
    assert main(["confirm", *catalog, picture, "lion"]) == 2
    assert "lion" in capsys.readouterr().err
    with ps.Engine(catalog[0], model=[]) as engine:
        assert picture in [reference.name for reference in engine.get("blue").references]
