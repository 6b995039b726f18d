"""The command add: its sources and options, and the catalogs that it leaves behind."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import plushie_search as ps
from plushie_search.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with red.png, blue.jpg and green.webp."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(toy_model)
    save("red.png", "red")
    save("blue.jpg", "blue")
    save("green.webp", "green")
    return tmp_path


def save(path: str, color: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), color).save(path)


def add(*arguments: str) -> int:
    return main(["add", "new.catalog", "--model", "model", *arguments])


def items() -> dict[str, tuple[str | None, str | None, dict[str, Any], list[str]]]:
    """Everything that new.catalog holds."""
    with ps.Engine("new.catalog", model="model", create=False) as engine:
        return {
            item.id: (item.label, item.text, item.metadata, sorted(Path(one.name).name for one in item.references))
            for item in engine
        }


def test_several_sources_are_one_report(capsys: pytest.CaptureFixture[str]) -> None:
    save("toys/bear/1.png", "brown")
    save("toys/bear/2.png", "orange")
    Path("table.csv").write_text("id,image,price\ncat,blue.jpg,3\n")
    Path("list.jsonl").write_text('{"id": "dog", "image": "green.webp", "label": "toy"}\n')
    assert add("toys", "table.csv", "list.jsonl", "red.png", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["items"], report["references"], report["failed"]) == (4, 5, [])
    assert items() == {
        "bear": (None, None, {}, ["1.png", "2.png"]),
        "cat": (None, None, {"price": 3}, ["blue.jpg"]),
        "dog": ("toy", None, {}, ["green.webp"]),
        "red": (None, None, {}, ["red.png"]),
    }
    assert add("toys", "red.png") == 0
    assert capsys.readouterr().out == "0 new items, 0 new references, 3 there already; 4 items in the catalog\n"


def test_pictures_are_items_or_one_item(folder: Path) -> None:
    save("shots/IMG_1.jpg", "white")
    save("shots/IMG_1.png", "black")
    given = ["--label", "toy", "--text", "a toy", "--metadata", '{"price": 4}']
    assert add("red.png", "./shots/../blue.jpg", "shots/IMG_1.jpg", "shots/IMG_1.png", *given) == 0
    assert add("red.png", str(folder / "green.webp"), "--id", "both", "--label", "pair") == 0
    toy = ("toy", "a toy", {"price": 4})
    assert items() == {
        "red": (*toy, ["red.png"]),
        "blue": (*toy, ["blue.jpg"]),
        "shots/IMG_1.jpg": (*toy, ["IMG_1.jpg"]),
        "shots/IMG_1.png": (*toy, ["IMG_1.png"]),
        "both": ("pair", None, {}, ["green.webp", "red.png"]),
    }


def test_upsert_makes_an_item_exactly_so() -> None:
    assert add("red.png", "blue.jpg", "--id", "bear", "--label", "toy", "--metadata", '{"price": 4}') == 0
    assert add("red.png", "green.webp", "--id", "bear") == 0
    assert items() == {"bear": ("toy", None, {"price": 4}, ["blue.jpg", "green.webp", "red.png"])}
    assert add("green.webp", "--id", "bear", "--text", "green", "--upsert") == 0
    assert items() == {"bear": (None, "green", {}, ["green.webp"])}


def test_json_lines_from_the_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="latin-1"))

    typed('{"id": "小熊", "image": "red.png", "text": "红色"}\n\n{"image": "blue.jpg", "price": 2.5}\n')
    assert add("-") == 0
    assert items() == {
        "小熊": (None, "红色", {}, ["red.png"]),
        "blue": (None, None, {"price": 2.5}, ["blue.jpg"]),
    }
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", None)
    assert add("-") == 2
    assert capsys.readouterr().err.startswith("plushie-search: the standard input is closed: give")
    typed('{"image": "red.png"}\n{"id": 3}\n')
    assert add("-") == 2
    assert capsys.readouterr().err == (
        "plushie-search: standard input line 2: needs an 'image', the path of a picture, or 'images', a list of them\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("red.png missing", "there is no folder, table or picture 'missing'"),
        ("red.png broken.json", "broken.json: not JSON"),
        ("red.png bad.csv", "bad.csv line 2: needs an 'image'"),
        ("full --label bear", "--label is for pictures, and full is none"),
        ("table.csv red.png --id x", "--id is for pictures, and table.csv is none"),
        ("full red.png --upsert", "--upsert is not for folders, as full: give --prune"),
        ("red.png --prune", "--prune is for folders"),
        ("notes.txt", "notes.txt"),
        ("toys", "no pictures in toys"),
        ("red.png full toys", "no pictures in toys"),
        ("lost.csv", "lost.png"),
        ("- red.png", "standard input: describes no item"),
    ],
)
def test_nothing_to_add_leaves_no_catalog_behind(
    arguments: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("toys").mkdir()
    save("full/bear/1.png", "brown")
    Path("broken.json").write_text("{")
    Path("bad.csv").write_text("id,image\nbear,\n")
    Path("table.csv").write_text("id,image\nbear,blue.jpg\n")
    Path("lost.csv").write_text("id,image\nbear,lost.png\n")
    Path("notes.txt").write_text("notes")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert add(*arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert message in line
    assert not Path("new.catalog").exists()


def test_a_catalog_that_was_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    ps.Engine("new.catalog", model="model").close()
    Path("notes.txt").write_text("notes")
    assert add("notes.txt") == 2
    assert items() == {}
    assert add("notes.txt", "red.png") == 1
    assert list(items()) == ["red"]


def test_metadata_that_is_no_object(capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (("{", "'{' is not JSON"), ("3", "'3' is no JSON object")):
        with pytest.raises(SystemExit) as exit:
            add("red.png", "--metadata", text)
        assert exit.value.code == 2
        err = capsys.readouterr().err
        assert message in err
        assert """as {"price": 12.5}""" in err


def test_prune_removes_missing_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    for path, color in (("toys/bear/1.png", "brown"), ("toys/bear/2.png", "orange"), ("toys/cat/1.png", "pink")):
        save(path, color)
    assert add("toys", "red.png") == 0
    for path in ("toys/bear/2.png", "toys/cat/1.png", "red.png"):
        Path(path).unlink()
    assert add("toys") == 0
    assert len(items()) == 3
    capsys.readouterr()
    assert add("toys", "--prune") == 0
    assert capsys.readouterr().out == (
        "0 new items, 0 new references, 1 there already, 2 removed; 2 items in the catalog\n"
    )
    assert items() == {"bear": (None, None, {}, ["1.png"]), "red": (None, None, {}, ["red.png"])}
