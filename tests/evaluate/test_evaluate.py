"""Evaluating a catalog, with rankings that are known by hand or written out naively."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import toy
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps
from plushie_search import metrics

EVIL = "<img src=x onerror=alert(1)>\"'&"
COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "yellow": (220, 210, 20)}


def at(*degrees: float) -> NDArray[np.float32]:
    """Vectors in one plane: their cosines are those of the differences of their angles."""
    angles = np.radians(degrees)
    rows = np.zeros((len(degrees), toy.DIM), np.float32)
    rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
    return rows


def cosine(degrees: float) -> float:
    return pytest.approx(math.cos(math.radians(degrees)), abs=1e-6)  # type: ignore[return-value]


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "toys.catalog", model=toy_model, threads=2) as engine:
        yield engine


def save(folder: Path, name: str, color: tuple[int, int, int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), color).save(folder / name)
    return folder / name


def shade(number: int) -> tuple[int, int, int]:
    return (number * 37 % 251, number * 101 % 241, number * 59 % 239)


@pytest.fixture
def colors(engine: ps.Engine, tmp_path: Path) -> ps.Engine:
    """One item for each color."""
    for name, color in COLORS.items():
        save(tmp_path / "items" / name, "1.png", color)
    engine.add_folder(tmp_path / "items")
    return engine


# Leave one out


def test_leaving_out_each_reference_in_turn(engine: ps.Engine) -> None:
    engine.add_vectors(["a", "a", "b", "b", "c"], at(0, 10, 21, 90, 95))
    found = engine.evaluate(k=2)
    # Each a finds the other; b at 21 finds a first, b at 90 finds c first; c has nothing to be left out for.
    assert (found.queries, found.items) == (4, 2)
    assert [outcome.items for outcome in found.outcomes] == [("a",), ("a",), ("b",), ("b",)]
    assert [outcome.rank for outcome in found.outcomes] == [1, 1, 2, 2]
    assert [outcome.wrong for outcome in found.outcomes] == ["b", "b", "a", "c"]
    assert [outcome.score for outcome in found.outcomes] == [cosine(10), cosine(10), cosine(69), cosine(69)]
    assert [outcome.wrong_score for outcome in found.outcomes] == [cosine(21), cosine(11), cosine(11), cosine(5)]
    values = {name: interval.value for name, interval in found.metrics.items()}
    assert values == {
        "hit@1": 0.5,
        "hit@2": 1.0,
        "precision@2": 0.5,
        "recall@2": 1.0,
        "nDCG@2": pytest.approx((1 + 1 / math.log2(3)) / 2),
        "mAP": 0.75,
        "MRR": 0.75,
    }
    # Drawn: twice a, a and b, or twice b.
    assert found.metrics["hit@1"] == (0.5, 0.0, 1.0)
    assert found.confusions == (("b", "a", 1, 2), ("b", "c", 1, 2))
    # The worst is the one that the wrong item beats by most.
    assert found.failures() == [3, 2]


@pytest.mark.parametrize("depth", [3, 100])
def test_leaving_out_equals_searching_without_it(engine: ps.Engine, depth: int) -> None:
    dice = np.random.default_rng(2)
    counts = dice.integers(1, 6, size=40)
    ids = np.repeat([f"item {number:02}" for number in range(40)], counts)
    vectors = toy.unit(dice.normal(size=(len(ids), toy.DIM))).astype(np.float32)
    engine.add_vectors(ids.tolist(), vectors)
    found = engine.evaluate(k=3, depth=depth)
    expected = []
    for row, id in enumerate(ids):
        if counts[int(id[-2:])] > 1:
            cosines = np.delete(vectors @ vectors[row], row)
            best = {other: cosines[np.delete(ids, row) == other].max() for other in set(np.delete(ids, row))}
            rank = sorted(best, key=lambda other: -best[other]).index(id) + 1
            expected.append((rank if rank <= depth else None, max(s for other, s in best.items() if other != id)))
    assert [outcome.rank for outcome in found.outcomes] == [rank for rank, _ in expected]
    assert [outcome.wrong_score for outcome in found.outcomes] == pytest.approx([s for _, s in expected], abs=1e-6)
    reciprocal = np.mean([1 / rank if rank else 0 for rank, _ in expected])
    assert found.metrics["MRR"].value == pytest.approx(reciprocal)
    assert {outcome.reference for outcome in found.outcomes} == {"vector"}


def test_another_item_with_the_same_score_comes_first(engine: ps.Engine) -> None:
    engine.add_vectors(["a", "a", "b"], at(0, 90, 90))
    assert [outcome.rank for outcome in engine.evaluate().outcomes] == [2, 2]


def test_where_leaves_others_out(engine: ps.Engine) -> None:
    engine.add_vectors(["a", "a", "b", "b"], at(0, 30, 10, 100))
    engine.update("a", label="toy")
    assert [outcome.rank for outcome in engine.evaluate().outcomes] == [2, 2, 2, 2]
    only = engine.evaluate(where={"label": "toy"})
    assert [(outcome.items, outcome.rank, outcome.wrong) for outcome in only.outcomes] == [(("a",), 1, None)] * 2


# Queries


def test_a_folder_of_queries_against_a_naive_search(colors: ps.Engine, tmp_path: Path) -> None:
    references = {name: toy.color_vector(color) for name, color in COLORS.items()}
    expected = {}
    for number in range(60):
        item = list(COLORS)[number % 4]
        path = save(tmp_path / "queries" / item, f"{number:02}.png", shade(number))
        scores = {name: float(vector @ toy.color_vector(shade(number))) for name, vector in references.items()}
        expected[str(path)] = item, sorted(scores, key=lambda name: -scores[name]).index(item) + 1, scores[item]
    steps: list[tuple[int, int]] = []
    found = colors.evaluate(tmp_path / "queries", k=2, progress=lambda done, total, name: steps.append((done, total)))
    assert {o.query: (o.items[0], o.rank) for o in found.outcomes} == {q: row[:2] for q, row in expected.items()}
    assert {o.query: o.score for o in found.outcomes} == pytest.approx(
        {q: s for q, (*_, s) in expected.items()}, abs=1e-4
    )
    ranks = np.array([rank for _, rank, _ in expected.values()])
    assert found.metrics["hit@1"].value == pytest.approx(np.mean(ranks == 1))
    assert found.metrics["recall@2"].value == pytest.approx(np.mean(ranks <= 2))
    assert found.metrics["precision@2"].value == pytest.approx(np.mean(ranks <= 2) / 2)
    assert found.metrics["MRR"].value == pytest.approx(np.mean(1 / ranks))
    groups = [outcome.items for outcome in found.outcomes]
    assert found.metrics["hit@1"] == metrics.mean([o.rank == 1 for o in found.outcomes], groups=groups)
    assert steps == [(0, 60), (60, 60)]
    assert str(found).startswith("60 queries for 4 items in toys.catalog (toy)\nfigure  ")


def test_pairs_of_pictures_and_items(colors: ps.Engine) -> None:
    picture = np.full((9, 9, 3), COLORS["red"], np.uint8)
    order = [hit.item for hit in colors.search_image(picture, k=4)]
    assert order[0] == "red"
    found = colors.evaluate([(picture, order[2]), (picture, {order[1], order[3]}), (picture, ["red"])], k=4)
    assert [outcome.query for outcome in found.outcomes] == ["image 0", "image 1", "image 2"]
    assert [outcome.rank for outcome in found.outcomes] == [3, 2, 1]
    assert found.metrics["mAP"].value == pytest.approx((1 / 3 + (1 / 2 + 2 / 4) / 2 + 1) / 3)
    assert found.metrics["recall@4"].value == 1
    assert [outcome.wrong for outcome in found.outcomes] == ["red", "red", order[1]]
    # They are the very colors of the catalog, which is worth a warning.
    assert found.near_duplicates == 3
    assert "3 queries are most likely in the catalog" in str(found)


def test_texts(colors: ps.Engine) -> None:
    words = "red teddy bear"
    vector = toy.words_vector(["red", "teddy", "bear"])
    scores = {name: float(vector @ toy.color_vector(color)) for name, color in COLORS.items()}
    order = sorted(scores, key=lambda name: -scores[name])
    found = colors.evaluate(texts=[(words, "red"), (words, set(order[2:]))])
    assert [(o.query, o.rank) for o in found.outcomes] == [(words, order.index("red") + 1), (words, 3)]
    assert found.near_duplicates == 0
    both = colors.evaluate([(np.full((9, 9, 3), 99, np.uint8), "red")], texts=[(words, "red")])
    assert [outcome.query for outcome in both.outcomes] == ["image 0", words]


def test_unknown_pictures_give_open_set_figures(colors: ps.Engine, tmp_path: Path) -> None:
    known = [(np.full((8, 8, 3), shade(number), np.uint8), "red") for number in range(1, 30)]
    unknown = [save(tmp_path / "unknown", f"{number}.png", shade(number)) for number in range(40, 52)]
    listed = colors.evaluate(known, unknown=unknown, false_reject_rate=0.1)
    best = [colors.search_image(image, k=1)[0].score for image, _ in known]
    other = [colors.search_image(path, k=1)[0] for path in unknown]
    expected = metrics.open_set(best, [hit.score for hit in other], false_reject_rate=0.1, groups=["red"] * 29)
    assert listed.metrics["AUROC"] == pytest.approx(expected.auroc, abs=1e-6)
    assert listed.metrics["false accepts"] == pytest.approx(expected.false_accept_rate, abs=1e-6)
    assert listed.open_set is not None
    assert listed.open_set.threshold == pytest.approx(expected.threshold, abs=1e-6)
    assert [query.query for query in listed.unknown] == [str(path) for path in unknown]
    assert [query.item for query in listed.unknown] == [hit.item for hit in other]
    folder = colors.evaluate(known, unknown=tmp_path / "unknown", false_reject_rate=0.1)
    assert folder.metrics["AUROC"] == listed.metrics["AUROC"]


def test_a_bad_picture_is_reported_and_stops_nothing(colors: ps.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "queries"
    for number in range(9):
        save(folder / "red", f"{number}.png", shade(number))
    (folder / "red" / "4.jpg").write_text("no picture")
    found = colors.evaluate(folder)
    assert found.queries == 9
    [(name, reason)] = found.failed
    assert name == str(folder / "red" / "4.jpg")
    assert name in reason
    gone = colors.evaluate([(folder / "gone.png", "red"), (folder / "red" / "1.png", "red")])
    assert (gone.queries, len(gone.failed)) == (1, 1)
    with pytest.raises(ValueError, match=r"there is no query to evaluate .* with: .*gone\.png"):
        colors.evaluate([(folder / "gone.png", "red")])


def test_queries_that_cannot_be_evaluated_are_refused(colors: ps.Engine, tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    for number in range(7):
        save(tmp_path / "queries" / f"pink {number}", "1.png", shade(number))
    with pytest.raises(ValueError, match=r"not in the catalog .*'pink 0', .*'pink 4' and 2 more; name them as"):
        colors.evaluate(tmp_path / "queries")
    with pytest.raises(ValueError, match="'pink'"):
        colors.evaluate([(picture, {"red", "pink"})])
    with pytest.raises(ValueError, match="without a right item"):
        colors.evaluate([(picture, [])])
    with pytest.raises(ValueError, match=r"no item of .* has two references"):
        colors.evaluate()
    with pytest.raises(ValueError, match="there is no query"):
        colors.evaluate([])
    with pytest.raises(ValueError, match="k must be at least 1"):
        colors.evaluate([(picture, "red")], k=0)
    with pytest.raises(ValueError, match="depth must be at least k"):
        colors.evaluate([(picture, "red")], k=10, depth=9)
    with pytest.raises(FileNotFoundError):
        colors.evaluate(tmp_path / "nowhere")


# Results


class Strict(HTMLParser):
    """Reads a page and remembers its tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes), attributes

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Strict:
    parser = Strict()
    parser.feed(page)
    return parser


@pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")
def test_a_page_shows_failures_and_escapes_everything(engine: ps.Engine, tmp_path: Path) -> None:
    reference = save(tmp_path, "reference.png", COLORS["red"])
    engine.add(EVIL, images=[reference])
    engine.add("plain", images=[save(tmp_path, "plain.png", COLORS["blue"])])
    # No item has these words; the picture is that of the other item.
    query = Image.open(tmp_path / "plain.png")
    found = engine.evaluate([(query, EVIL)], texts=[(EVIL, "plain"), (EVIL, EVIL)], unknown=[reference])
    page = parsed(found.to_html(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == found.to_html()
    assert page.tags.count("script") == 0
    # Query, right reference and what was found instead for the picture; two pictures for the text that fails; the
    # unknown one and what it was taken for.
    assert page.tags.count("img") == 3 + 2 + 2
    assert EVIL in page.text
    assert "found at 2" in page.text
    assert "3 queries for 2 items in toys.catalog (toy)" in page.text
    assert parsed(found._repr_html_()).tags.count("img") == 7
    assert EVIL not in found.to_markdown()
    assert "| hit@1 | 0.333 | " in found.to_markdown()


def test_json_and_data_frame(engine: ps.Engine) -> None:
    engine.add_vectors(["a", "a", "b", "b", "c"], at(0, 10, 21, 90, 95))
    found = engine.evaluate(k=2)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["metrics"]["hit@1"] == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert data["outcomes"][3] == {
        "query": "vector",
        "items": ["b"],
        "rank": 2,
        "score": cosine(69),
        "reference": "vector",
        "wrong": "c",
        "wrong_score": cosine(5),
        "wrong_reference": "vector",
        "probability": None,
    }
    assert data["confusions"][0] == {"item": "b", "instead": "a", "times": 1, "queries": 2}
    frame = found.to_pandas()
    assert frame["rank"].tolist() == [1, 1, 2, 2]
    assert frame["MRR"].tolist() == [1, 1, 0.5, 0.5]


def test_no_failure_is_no_certainty(engine: ps.Engine) -> None:
    engine.add_vectors(["a", "a", "b", "b"], at(0, 1, 90, 91))
    found = engine.evaluate()
    assert found.metrics["hit@1"] == (1, 1, 1)
    assert "with 2 items the true rate may be as low as 0.00%" in str(found)
    assert found.failures() == []
    assert "failure" not in found.to_html()


# Models side by side


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A model that sees red only: its vectors differ in the first channel, and a little in the others."""
    directory = toy.write(tmp_path / "other", name="other")
    weights = np.diag([1.0, 0.02, 0.02]).astype(np.float32) @ toy.IMAGE_WEIGHTS
    onnx.save(toy.image_tower(weights=weights), directory / "image.onnx")
    return directory


def test_models_are_compared_on_the_same_queries(toy_model: Path, other_model: Path, tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / "items" / f"item {number}", "1.png", shade(number))
        for view in range(3):
            color = tuple(min(255, value + 9 * view) for value in shade(number))
            save(tmp_path / "queries" / f"item {number}", f"{view}.png", color)  # type: ignore[arg-type]
    (tmp_path / "queries" / "item 3" / "bad.jpg").write_text("no picture")
    found = ps.compare_models([toy_model, other_model], tmp_path / "items", tmp_path / "queries", k=3)
    singles = []
    for model in (toy_model, other_model):
        with ps.Engine(tmp_path / f"{model.name}.catalog", model=model) as engine:
            engine.add_folder(tmp_path / "items")
            singles.append(engine.evaluate(tmp_path / "queries", k=3))
    a, b = singles
    assert [evaluation.metrics for evaluation in found.evaluations] == [a.metrics, b.metrics]
    groups = [outcome.items for outcome in a.outcomes]
    ranks = [np.array([outcome.rank for outcome in single.outcomes]) for single in singles]
    expected = metrics.difference(1 / ranks[0], 1 / ranks[1], groups=groups)
    assert found.differences[0]["MRR"] == pytest.approx(expected)
    assert expected.value != 0
    assert [name for name, _ in found.failed] == [str(tmp_path / "queries" / "item 3" / "bad.jpg")]
    head, columns, *rows, note = str(found).splitlines()
    assert head == "36 queries for 12 items, 95 % intervals"
    assert (a.near_duplicates, b.near_duplicates > 12) == (12, True)
    assert note.startswith("12 queries are most likely in the catalog, with cosine 1, and prove")
    assert columns.split() == ["figure", "toy", "other", "other", "-", "toy"]
    assert [row.split()[0] for row in rows] == list(a.metrics)
    assert f"| MRR | {a.metrics['MRR']} | {b.metrics['MRR']} | {expected.value:+.3f} (" in found.to_markdown()
    assert json.loads(json.dumps(found.to_dict()))["differences"][0]["MRR"]["value"] == pytest.approx(expected.value)
    page = parsed(found.to_html(worst=3))
    assert page.tags.count("h2") == 2


def test_a_catalog_is_compared_by_its_pictures(
    colors: ps.Engine, toy_model: Path, other_model: Path, tmp_path: Path
) -> None:
    for number, name in enumerate(COLORS):
        save(tmp_path / "queries" / name, "1.png", shade(number))
    models = [toy_model, other_model]
    by_catalog = ps.compare_models(models, colors, tmp_path / "queries")
    by_folder = ps.compare_models(models, tmp_path / "items", tmp_path / "queries")
    assert by_catalog.differences == by_folder.differences
    with pytest.raises(ValueError, match="two or more models"):
        ps.compare_models([toy_model], colors, tmp_path / "queries")
    (tmp_path / "items" / "blue" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"item 'blue': its picture .*1\.png' is no file any more"):
        ps.compare_models(models, colors, tmp_path / "queries")


def test_queries_for_items_that_are_missing_can_be_left_out(colors: ps.Engine, tmp_path: Path) -> None:
    red = tmp_path / "items" / "red" / "1.png"
    asked: list[tuple[Any, Any]] = [(red, "red"), (red, ["gone", "red"]), (red, "gone"), (red, ["gone", "lost"])]
    found = colors.evaluate(asked, missing="skip")
    assert [outcome.items for outcome in found.outcomes] == [("red",), ("red",)]
    assert found.skipped == (str(red), str(red))
    assert colors.evaluate(asked[:1]).skipped == ()
    with pytest.raises(ValueError, match="'gone', 'lost'; name them as"):
        colors.evaluate(asked)
    with pytest.raises(ValueError, match=r"no query to evaluate .* with: .*1\.png is for no item of it"):
        colors.evaluate(asked[2:], missing="skip")
    with pytest.raises(ValueError, match="missing 'drop': give one of 'error', 'skip'"):
        colors.evaluate(asked, missing="drop")  # type: ignore[arg-type]
