"""`plushie-search evaluate`, from the terminal's point of view."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image

from plushie_search import Engine
from plushie_search.cli import main

COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "yellow": (220, 210, 20)}


def save(path: Path, color: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), color).save(path)


@pytest.fixture
def catalog(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """toys.catalog of two pictures for each color, in the current folder, with queries/ and unknown/ beside it."""
    monkeypatch.chdir(tmp_path)
    for name, color in COLORS.items():
        for number in range(2):
            save(tmp_path / "items" / name / f"{number}.png", tuple(min(255, value + number) for value in color))
        save(tmp_path / "queries" / name / "1.png", tuple(min(255, value + 12) for value in color))
        save(tmp_path / "unknown" / f"{name}.png", tuple(255 - value for value in color))
    assert main(["add", "toys.catalog", "items", "--model", str(toy_model)]) == 0
    capsys.readouterr()
    return toy_model


def test_figures_files_and_json(catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "toys.catalog", "queries", "--model", str(catalog)]
    extra = ["--unknown", "unknown", "--k", "2", "--html", "page.html", "--markdown", "page.md"]
    assert main([*command, *extra]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    with Engine("toys.catalog", model=catalog) as engine:
        expected = engine.evaluate("queries", unknown="unknown", k=2)
    assert out == f"{expected}\n"
    assert out.startswith("4 queries for 4 items in toys.catalog (toy)\n")
    assert "AUROC" in out
    assert Path("page.html").read_text(encoding="utf-8") == expected.to_html()
    assert Path("page.md").read_text(encoding="utf-8") == expected.to_markdown()
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["hit@10"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_leave_one_out(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "toys.catalog", "--leave-one-out", "--model", str(catalog), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["queries"], data["items"]) == (8, 4)
    where = ["--where", '{"id": "red"}']
    assert main(["evaluate", "toys.catalog", "--leave-one-out", "--model", str(catalog), *where, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [outcome["query"] for outcome in data["outcomes"]] == [os.path.abspath(f"items/red/{n}.png") for n in (0, 1)]


def test_a_bad_picture_is_listed(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("queries/red/2.jpg").write_text("no picture")
    assert main(["evaluate", "toys.catalog", "queries", "--model", str(catalog)]) == 1
    out, err = capsys.readouterr()
    assert "4 queries for 4 items" in out
    assert "1 picture could not be used." in out
    [line] = err.splitlines()
    assert line.startswith("plushie-search: picture queries/red/2.jpg: ")


@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("items", ["items", "toys.catalog"])
def test_compare(items: str, order: str, catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write(Path("twin"))
    compare, places = ["--compare", str(catalog), "twin"], [items, "queries"]
    arguments = [*places, *compare] if order == "last" else [*compare, *places]
    assert main(["evaluate", *arguments, "--model", str(catalog)]) == 0
    head, columns, *rows = capsys.readouterr().out.splitlines()
    assert head == "4 queries for 4 items, 95 % intervals"
    assert columns.split() == ["figure", "toy", "twin", "twin", "-", "toy"]
    # The same model under another name is not better.
    assert np.all([row.endswith("+0.000 (+0.000 to +0.000)") for row in rows])
    assert len(rows) == 7
    assert main(["evaluate", *compare, items, "--leave-one-out", "--json", "--model", str(catalog)]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["models"] == [str(catalog), "twin"]
    assert data["evaluations"][0]["queries"] == 8


def test_queries_for_items_that_are_missing_are_left_out_and_counted(
    catalog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "toys.catalog", "queries", "--model", str(catalog)]
    assert main([*command, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    for number in range(2):
        save(Path(f"queries/pink/{number}.png"), (250, 160, 180))
    assert main([*command, "--skip-missing", "--json"]) == 0
    part = json.loads(capsys.readouterr().out)
    assert part["skipped"] == ["queries/pink/0.png", "queries/pink/1.png"]
    assert {**part, "skipped": []} == whole
    assert main([*command, "--skip-missing"]) == 0
    assert "2 queries were left out, for items that are not in the catalog." in capsys.readouterr().out
    toy.write(Path("twin"))
    compare = ["evaluate", "items", "queries", "--compare", str(catalog), "twin"]
    assert main(compare) == 2
    capsys.readouterr()
    assert main([*compare, "--skip-missing"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("4 queries for 4 items")
    assert out.endswith("2 queries were left out, for items that are not in the catalog.\n")


def test_a_comparison_says_that_copies_prove_nothing(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write(Path("twin"))
    compare = ["evaluate", "items", "items", "--compare", str(catalog), "twin"]
    assert main([*compare, "--html", "page.html", "--markdown", "page.md"]) == 0
    note = "8 queries are most likely in the catalog, with cosine 1, and prove nothing."
    assert capsys.readouterr().out.endswith(f"{note}\n")
    assert Path("page.md").read_text(encoding="utf-8").endswith(f"\n\n{note}\n")
    # Once for the comparison, and once for each model.
    assert Path("page.html").read_text(encoding="utf-8").count(f"<p>{note}</p>") == 3
    assert main(["evaluate", "items", "queries", "--compare", str(catalog), "twin"]) == 0
    assert "nothing" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("toys.catalog", "evaluate needs a CATALOG and either QUERIES or --leave-one-out"),
        ("toys.catalog queries --leave-one-out", "evaluate needs a CATALOG and either QUERIES or --leave-one-out"),
        ("toys.catalog unknown/gone", "unknown/gone"),
        ("gone.catalog queries", "gone.catalog"),
        ("toys.catalog others", "not in the catalog toys.catalog: 'pink'"),
        ("items queries --compare MODEL", "two or more models"),
        ("items queries --compare MODEL gone", "gone"),
        ('items queries --compare MODEL MODEL --where {"id":"red"}', "--where"),
    ],
)
def test_an_error_is_one_line(command: str, message: str, catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(Path("others/pink/1.png"), (250, 160, 180))
    arguments = [part.replace("MODEL", str(catalog)) for part in command.split(" ")]
    assert main(["evaluate", "--model", str(catalog), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("plushie-search: ")
    assert message in line
