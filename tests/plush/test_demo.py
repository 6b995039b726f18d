"""The demo: a collection, its questions with their right answers, the page, and the picture of it in the README."""

import hashlib
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plushie_search import Engine, demo
from plushie_search.cli import main

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")  # The toy model knows few words.
def test_the_demo_writes_a_page_that_needs_nothing_else(
    tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "demo"
    for _ in range(2):  # the second time it makes everything anew
        demo.run(directory, model=str(toy_model), plushes=12, seed=3)
    out = capsys.readouterr().out
    assert "added 12 items with 24 references" in out
    assert re.search(r"^\d+ of 12 plushes found first from a photo", out, re.MULTILINE)
    assert re.search(r"^\d+ of \d+ found first from color and kind in simplified Chinese$", out, re.MULTILINE)
    html = (directory / "index.html").read_text(encoding="utf-8")
    assert html.count("<section>") == out.count("\n#  item") // 2 == 6
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert len(list((directory / "plushes").glob("*/*.jpg"))) == 24


def test_questions_have_the_answers_that_hold(tmp_path: Path) -> None:
    toys = demo.write_plushes(tmp_path, seeds=range(1, 41), side=16)
    of = {toy["id"]: toy for toy in toys}
    questions = demo._questions(toys, [Path(toy["id"]) for toy in toys])
    assert {question.title for question in questions} == {"A photo", "A sentence"}
    assert all(question.right for question in questions)
    for question in questions:
        match = re.fullmatch(r"an? ((?:(?! with )[a-z ])+) (\w+)", question.text or "")
        if match is not None:
            color, species = match[1].replace(" ", "_"), match[2]
            holds = {id for id in of if (of[id]["metadata"]["color"], of[id]["label"]) == (color, species)}
            assert question.right == holds


def test_the_first_answer_to_each_question_is_right_and_the_picture_shows_these_answers(tmp_path: Path) -> None:
    shown = demo.run(tmp_path / "demo")
    assert [answer.hits[0].item in answer.question.right for answer in shown.answers] == [True] * 6
    assert shown.figures[0].startswith("59 of 60 ")

    script = runpy.run_path(str(ROOT / "scripts" / "demo_picture.py"))
    now = script["facts"](shown)
    told = json.loads((ROOT / "docs" / "demo.json").read_text(encoding="utf-8"))
    picture = ROOT / "docs" / "demo.jpg"
    assert told.pop("picture") == hashlib.sha256(picture.read_bytes()).hexdigest()
    scores = [[hit.pop("score") for answer in facts["answers"] for hit in answer["hits"]] for facts in (now, told)]
    assert now == told, "docs/demo.jpg shows another demo than today's: draw it anew with: make picture"
    assert scores[0] == pytest.approx(scores[1], abs=0.011)  # processors may round the last digit differently
    with Image.open(picture) as drawn:
        assert script["draw"](shown).size == drawn.size


def test_the_readme_tells_how_words_change_the_hits_of_a_photo(tmp_path: Path) -> None:
    demo.run(tmp_path / "demo")
    toys = [json.loads(line) for line in (tmp_path / "demo" / "plushes" / "plushes.jsonl").read_text().splitlines()]
    asked = {
        (toy["id"], question.text): question
        for toy in toys
        for other in toys
        if toy["label"] == other["label"] and toy["metadata"]["color"] != other["metadata"]["color"]
        for question in [demo._color(toys, other, "en")]
    }
    photos = [tmp_path / "demo" / "photos" / f"{toy}.jpg" for toy, _ in asked]
    texts = [text for _, text in asked]
    with Engine(tmp_path / "demo" / "toys.catalog", create=False) as engine:
        shares = [
            np.mean([hits[0].item in question.right for hits, question in zip(found, asked.values(), strict=True)])
            for found in (engine.search_hybrid(photos, texts, k=1), engine.search_text(texts, k=1, words=False))
        ]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"Of {len(asked)} photos of the demo's toys with words for another color, four in five find" in readme
    assert 0.75 <= shares[0] <= 0.85
    assert "and words alone nine in ten" in readme
    assert 0.88 <= shares[1] <= 0.95


def test_the_demo_leaves_other_folders_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    assert main(["demo", str(tmp_path)]) == 2
    assert "holds something else than a demo" in capsys.readouterr().err
    assert (tmp_path / "photos" / "holiday.jpg").exists()
