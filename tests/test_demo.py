"""The demo: a collection, its questions with their right answers, and the page."""

import re
from pathlib import Path

import pytest

from plushie_search import demo
from plushie_search.cli import main


def test_the_demo_writes_a_page_that_needs_nothing_else(
    tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "demo"
    for _ in range(2):  # the second time it makes everything anew
        page = demo.run(directory, model=str(toy_model), plushes=12, seed=3)
    out = capsys.readouterr().out
    assert "added 12 items with 24 references" in out
    assert re.search(r"\d+ of 12 plushes found first", out)
    html = page.read_text(encoding="utf-8")
    assert html.count("<section>") == out.count("\n#  item") // 2 >= 7
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert len(list((directory / "plushes").glob("*/*.jpg"))) == 24


def test_questions_have_the_answers_that_hold(tmp_path: Path) -> None:
    toys = demo.write_plushes(tmp_path, seeds=range(1, 41), side=16)
    of = {toy["id"]: toy for toy in toys}
    questions = demo._questions(toys, [Path(toy["id"]) for toy in toys])
    assert {question.title for question in questions} == {"A photo", "A sentence", "A photo and a sentence"}
    assert all(question.right for question in questions)
    for question in questions:
        match = re.fullmatch(r"an? ((?:(?! with )[a-z ])+) (\w+)", question.text or "")
        if match is not None:
            color, species = match[1].replace(" ", "_"), match[2]
            holds = {id for id in of if (of[id]["metadata"]["color"], of[id]["label"]) == (color, species)}
            assert question.right == holds


def test_the_demo_leaves_other_folders_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    assert main(["demo", str(tmp_path)]) == 2
    assert "holds something else than a demo" in capsys.readouterr().err
    assert (tmp_path / "photos" / "holiday.jpg").exists()
