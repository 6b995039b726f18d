"""PlushBench from end to end: its figures against a naive computation, its checkpoints, its command and photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from PIL import Image

from plushie_search import _core, metrics, plushbench
from plushie_search.cli import main
from plushie_search.plush.facts import LANGUAGES
from plushie_search.plushbench import bench, photos
from plushie_search.plushbench.degrade import degrade, gaussian_blur, motion_blur
from plushie_search.plushbench.identities import FIRST, REFERENCES, SEEDS, SIDE, SPAN, SPLITS, UNKNOWN, Identities, view
from plushie_search.plushbench.report import Question
from plushie_search.plushbench.texts import texts

# The toy model knows few words.
pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")

ITEMS, QUERIES, UNKNOWN_QUERIES = 12, 7, 5
SMALL = plushbench.Configuration(items=ITEMS, queries=QUERIES, unknown=UNKNOWN_QUERIES, texts=4, seed=2)


@pytest.fixture(scope="module")
def figures(toy_encoder: Any) -> dict[Question, plushbench.Figure]:
    return {figure.question: figure for figure in plushbench.measure(toy_encoder, SMALL, threads=2)}


# Identities


def test_no_two_benchmarks_share_a_plush_and_none_is_of_training() -> None:
    from plushie_search.train.plushes import FIRST_SEED

    assert Identities(1, 0, 1).plush(0) == FIRST > 10_000_000 + 1000
    assert Identities(UNKNOWN, 3, 1).plush(UNKNOWN - 1) < Identities(1, 3, 1).plush(UNKNOWN)
    assert FIRST + SPAN == Identities(1, 1, 1).plush(0) == Identities(1, 0, 1).plush(2 * UNKNOWN)
    assert FIRST + SEEDS * SPAN <= FIRST_SEED
    slots = [split.slot for split in SPLITS.values()]
    assert len({*range(len(REFERENCES)), *slots}) == len(REFERENCES) + len(slots)
    assert view(FIRST, 15) < view(FIRST + 1, 0)
    with pytest.raises(ValueError, match="0 to 399"):
        Identities(1, SEEDS, 1)
    with pytest.raises(ValueError, match="use 1 to 1000000"):
        Identities(0, 0, 1)


def test_pictures_of_identities() -> None:
    small = Identities(70, 1, 2)
    batches = list(small.references(range(70), 1))
    assert [len(batch) for batch in batches] == [64, 6]
    seed = FIRST + SPAN + 69
    expected = _core.Plush(seed).render(size=SIDE, view=view(seed, 1), scene="pose")
    np.testing.assert_array_equal(batches[1][5], expected)
    [[alike]] = small.lookalikes([69], 0)
    expected = _core.Plush(seed).lookalike(1).render(size=SIDE, view=view(seed, 12), scene="studio")
    np.testing.assert_array_equal(alike, expected)
    [[stranger]] = small.unknown(1)
    seed = FIRST + SPAN + UNKNOWN
    np.testing.assert_array_equal(stranger, _core.Plush(seed).render(size=SIDE, view=view(seed, 10), scene="everyday"))


# Degraded pictures


def test_blurs_by_hand() -> None:
    dot = np.zeros((9, 9, 3), np.uint8)
    dot[4, 4] = 255
    blurred = gaussian_blur(dot, 1.0)[..., 0] / 255
    weights = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    weights /= weights.sum()
    np.testing.assert_allclose(blurred[1:8, 1:8], np.outer(weights, weights), atol=0.003)
    np.testing.assert_array_equal(blurred[0], 0)
    moved = motion_blur(dot, 4.0, 0.0)[..., 0]
    assert moved[4].tolist() == [0, 0, 51, 51, 51, 51, 51, 0, 0]
    assert moved.sum() == 255
    even = np.full((20, 20, 3), 77, np.uint8)
    np.testing.assert_array_equal(gaussian_blur(even, 2.0), even)
    np.testing.assert_array_equal(motion_blur(even, 7.0, 1.0), even)


def test_degraded_pictures_are_small_bad_jpegs() -> None:
    picture = _core.Plush(1).render(size=224, scene="everyday")
    files = [degrade(picture, seed=seed) for seed in range(12)]
    assert files[3] == degrade(picture, seed=3) != files[4]
    for file in files:
        side = len(_core.decode(file))
        assert round(0.45 * 224) <= side <= round(0.8 * 224)
        # What libjpeg writes from quality 10 to 30 is smaller than from 31.
        best = _core.thumbnail(_core.decode(file), side, quality=60)
        assert file[:2] == b"\xff\xd8"
        assert len(file) < len(best)


# Figures


def naive(encoder: Any) -> dict[tuple[str, str, int | None], list[float]]:
    """The outcomes of each query, from all vectors at once."""

    def seen(draw: Any, numbers: Any) -> np.ndarray:
        return np.concatenate([encoder.encode_images([draw(number)]) for number in numbers]).astype(np.float64)

    def picture(seed: int, slot: int, scene: str) -> Any:
        return _core.Plush(seed).render(size=224, view=seed * 16 + slot, scene=scene)

    base = 200_000_000 + 2 * 2_000_000
    asked = sorted(np.random.default_rng([2, 1]).permutation(ITEMS)[:QUERIES].tolist())
    items = [seen(lambda i, s=s, n=n: picture(base + i, n, s), range(ITEMS)) for n, s in enumerate(REFERENCES)]
    alike = [
        seen(
            lambda i, s=s, n=n: _core.Plush(base + i).lookalike(1).render(view=(base + i) * 16 + 12 + n, scene=s), asked
        )
        for n, s in enumerate(REFERENCES)
    ]
    scenes = {
        "clean": ("studio", 3),
        "light": ("light", 4),
        "pose": ("pose", 5),
        "occluded": ("occluded", 6),
        "head-only": ("head_only", 7),
        "cluttered": ("cluttered", 8),
        "degraded": ("everyday", 9),
        "everyday": ("everyday", 10),
        "look-alike": ("everyday", 11),
    }
    outcomes: dict[tuple[str, str, int | None], list[float]] = {}
    best: dict[int, list[float]] = {}
    for name, (scene, slot) in scenes.items():

        def draw(item: int, name: str = name, slot: int = slot, scene: str = scene) -> Any:
            shown = picture(base + item, slot, scene)
            return degrade(shown, seed=(base + item) * 16 + slot) if name == "degraded" else shown

        queries = seen(draw, asked)
        for count in (1, 2, 3):
            scores = np.max([queries @ part.T for part in items[:count]], 0)
            wrong = np.max([queries @ part.T for part in alike[:count]], 0)
            gallery = np.concatenate([scores, wrong], 1) if name == "look-alike" else scores
            own = scores[np.arange(QUERIES), asked]
            ranks = (gallery >= own[:, None] - 1e-6).sum(1)  # itself among them
            for k in (1, 10):
                outcomes[name, f"hit@{k}", count] = (ranks <= k).astype(float).tolist()
                outcomes.setdefault(("mixed", f"hit@{k}", count), []).extend((ranks <= k).astype(float))
            if name == "everyday":
                best[count] = scores.max(1).tolist()
    others = seen(lambda i: picture(base + 1_000_000 + i, 10, "everyday"), range(UNKNOWN_QUERIES))
    for count in (1, 2, 3):
        unknown = np.max([others @ part.T for part in items[:count]], 0).max(1)
        pairs = [(a > b) + 0.5 * (a == b) for a in best[count] for b in unknown]
        outcomes["unknown", "AUROC", count] = [float(np.mean(pairs))]
        # Of seven known queries, 5 % are none: the bar is the lowest score of a known one.
        accepted = np.mean(unknown >= min(best[count]))
        outcomes["unknown", "false accepts at 5% false rejects", count] = [float(accepted)]
    attributes = [_core.Plush(base + item).attributes for item in range(ITEMS)]
    for kind in ("one", "several", "negated", "paraphrased"):
        for language in LANGUAGES:
            said = texts(attributes, kind, language, 4, seed=2)
            for text, right in zip(said.written, said.right, strict=True):
                scores = items[0] @ encoder.encode_texts(text)[0]
                first = sorted(range(ITEMS), key=lambda item, scores=scores: -scores[item])[:5]
                key = (f"text-{kind}, {language}", "precision@5", None)
                outcomes.setdefault(key, []).append(sum(right[item] for item in first) / 5)
    return outcomes


def test_figures_are_those_of_a_naive_computation(figures: dict[Question, plushbench.Figure], toy_encoder: Any) -> None:
    expected = naive(toy_encoder)
    found = {}
    for question, figure in figures.items():
        name = question.name if question.language is None else f"{question.name}, {question.language}"
        found[name, question.figure, question.references] = figure
    assert set(found) == set(expected)
    assert ("text-one, en", "precision@5", None) in found
    for key, outcomes in expected.items():
        assert found[key].interval.value == pytest.approx(np.mean(outcomes)), key
        if found[key].outcomes is not None:
            np.testing.assert_allclose(found[key].outcomes, outcomes, err_msg=str(key))
            assert found[key].queries == len(outcomes)
    assert 0 < found["mixed", "hit@1", 1].interval.value < 1
    assert found["clean", "hit@10", 1].chance == 10 / 12
    mixed = found["mixed", "hit@1", 2]
    again = metrics.mean(mixed.outcomes, groups=np.tile(mixed.groups[:QUERIES], len(SPLITS)))
    assert mixed.interval == again, "the queries of an item are drawn together"


def test_a_model_without_words_has_no_text_figures(toy_model: Path, tmp_path: Path) -> None:
    mute = toy.write(tmp_path / "mute", text=None, name="mute")
    asked = plushbench.Configuration(items=8, queries=4, splits=("clean", "text-one"), references=1, texts=2)
    report = plushbench.run([toy_model, mute], asked, threads=2)
    assert {question.name for question in report.figures[0]} == {"clean", "text-one"}
    assert {question.name for question in report.figures[1]} == {"clean"}
    *_, row = report.to_dict()["figures"]
    assert row["test"] == "text-one"
    assert row["values"][1] is None
    assert row["differences"] == [None]
    assert str(report).splitlines()[-1].split()[-1] == "-"
    first = report.to_dict()["figures"][0]
    assert first["differences"] == [{"value": 0.0, "low": 0.0, "high": 0.0}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": ("clean", "foggy")}, "no split 'foggy'"),
        ({"references": 4}, "use 1 to 3"),
        ({"queries": 0}, "at least 1"),
        ({"unknown": -1}, "unknown from 0"),
    ],
)
def test_bad_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plushbench.Configuration(**changes)
    with pytest.raises(ValueError, match="needs a model"):
        plushbench.run([], plushbench.Configuration())


# Checkpoints


def test_a_run_that_is_cut_goes_on(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: dict[Question, plushbench.Figure]
) -> None:
    monkeypatch.setattr("plushie_search.plushbench.ranks.CHUNK", 5)
    stream = bench.stream
    monkeypatch.setattr(bench, "stream", lambda *given, **named: stream(*given, **named, every=1))
    work = tmp_path / "work"

    def stops(done: int, total: int, what: str) -> None:
        if "catalog" in what and done > seen[-1] + 20:
            raise KeyboardInterrupt
        seen.append(done if "queries" in what or "look-alikes" in what else seen[-1])

    seen = [0]
    with pytest.raises(KeyboardInterrupt):
        plushbench.run([toy_model], SMALL, threads=2, work=work, progress=stops)
    [folder] = [path for path in work.iterdir() if path.is_dir()]
    assert {path.name for path in folder.iterdir()} == {"queries.npz", "ranks.npz"}
    told: list[tuple[int, int, str]] = []
    report = plushbench.run([toy_model], SMALL, threads=2, work=work, progress=lambda *how: told.append(how))
    assert told[0][0] == 9 * QUERIES + 5 + 2 * 3 * QUERIES, "the queries are there"
    assert told[1] == (told[0][0] + 3 * 5, told[0][1], f"{toy_model.name}: catalog"), "and the first chunk"
    assert told[-1][0] == told[-1][1]
    assert set(report.figures[0]) == set(figures)
    for question, figure in figures.items():
        assert report.figures[0][question].interval == figure.interval
    once_more = plushbench.run([toy_model], SMALL, threads=2, work=work)
    assert once_more.to_dict() == report.to_dict()
    with pytest.raises(ValueError, match=r"was begun with items 12 and not 13"):
        plushbench.run([toy_model], plushbench.Configuration(items=13, seed=2), work=work)


# The command


def test_command(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(toy_model, twin)
    page = tmp_path / "page.md"
    asked = ["--items", "12", "--queries", "7", "--unknown", "5", "--texts", "4", "--seed", "2", "--threads", "2"]
    assert main(["plushbench", "--model", str(toy_model), str(twin), *asked, "--json", "--markdown", str(page)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    data = json.loads(out)
    report = plushbench.run([str(toy_model), str(twin)], SMALL, threads=2)
    assert data == json.loads(json.dumps(report.to_dict()))
    assert (data["items"], data["queries"], data["seed"], data["references"]) == (12, 7, 2, 3)
    assert data["models"] == [str(toy_model), str(twin)]
    rows = {(row["test"], row["language"], row["references"], row["figure"]): row for row in data["figures"]}
    assert rows["everyday", None, 2, "hit@10"]["chance"] == pytest.approx(10 / 12)
    for row in data["figures"]:
        assert row["values"][0] == row["values"][1]
        same = {"value": 0.0, "low": 0.0, "high": 0.0}
        assert row["differences"] == ([None] if row["test"] == "unknown" else [same])
    assert page.read_text(encoding="utf-8") == report.to_markdown()
    assert "| everyday | 2 | hit@10 | 7 | 0.833 |" in page.read_text(encoding="utf-8")
    few = ["--splits", "clean,text-negated", "--references", "1"]
    assert main(["plushbench", "--model", str(toy_model), *asked, *few]) == 0
    head, columns, *lines = capsys.readouterr().out.splitlines()
    assert head == "PlushBench: 12 items, 7 queries of each kind, seed 2; values with 95 % intervals"
    assert columns.split() == ["test", "references", "figure", "queries", "chance", "toy"]
    assert [line.split()[0] for line in lines][:2] == ["clean", "clean"]
    assert {line.split()[0] for line in lines[2:]} <= {"text-negated,"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--splits foggy", "no split 'foggy'"),
        ("--items 0", "use 1 to 1000000"),
        ("--seed 400", "0 to 399"),
        ("--model nowhere", "unknown model 'nowhere'"),
        ("--grocery nowhere --splits none", "nowhere/classes.csv"),
    ],
)
def test_an_error_is_one_line(
    arguments: str, message: str, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["plushbench", "--model", str(toy_model), *arguments.split(" ")])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


# Real photographs


def save(path: Path, color: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), color).save(path)


def test_groceries(toy_encoder: Any, tmp_path: Path) -> None:
    colors = {"Gala": (200, 30, 30), "Smith": (40, 190, 40), "Lime": (60, 220, 20)}
    rows = ["Class Name (str),Coarse Class Name (str),Iconic Image Path (str)"]
    for name, color in colors.items():
        rows.append(f"{name},{'Lime' if name == 'Lime' else 'Apple'},/icons/{name}.jpg")
        # The studio picture of Smith is wrong.
        save(tmp_path / "icons" / f"{name}.jpg", color if name != "Smith" else (20, 20, 200))
        for number in range(3):
            save(tmp_path / "train" / "Fruit" / name / f"{number}.jpg", color)
        for number in range(2):
            save(tmp_path / "val" / "Fruit" / name / f"{number}.jpg", (color[0] - 5 * number, color[1], color[2]))
    (tmp_path / "classes.csv").write_text("\n".join(rows), encoding="utf-8")
    found = {(f.question.name, f.question.references): f for f in photos.grocery(toy_encoder, tmp_path)}
    for count in (1, 3, 5):
        assert found["grocery, shots", count].interval.value == 1
    studio = found["grocery, studio picture", None]
    assert studio.chance == pytest.approx(1 / 3)
    # In the order of names: Gala, Lime, Smith, and who is green is taken for a lime.
    assert studio.outcomes.tolist() == [1, 1, 1, 1, 0, 0]
    assert list(studio.groups) == ["Gala", "Gala", "Lime", "Lime", "Smith", "Smith"]
    words = found["grocery, coarse name", None]
    assert words.outcomes.tolist() == pytest.approx([4 / 6, 2 / 6])  # all six photos are among the first ten
    assert words.chance == pytest.approx(0.5)


def test_things(toy_encoder: Any, tmp_path: Path) -> None:
    colors = {"Cat": (200, 30, 30), "girrafe": (40, 190, 40), "other": (20, 20, 220)}
    for source, first in (("a", 0), ("b", 6)):
        rows = ["file,label"]
        for label, color in colors.items():
            for number in range(first, first + 6):
                name = f"{label}{number}.jpg"
                save(tmp_path / source / name, (color[0], color[1], color[2] + number))
                rows.append(f"{name},{label}")
        (tmp_path / source / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    found = list(photos.things(toy_encoder, [tmp_path / "a", tmp_path / "b"]))
    shots = {figure.question.references: figure for figure in found if figure.question.figure == "hit@1"}
    for count in (1, 3, 5):
        assert (shots[count].interval.value, shots[count].queries) == (1, 3 * min(10, 12 - count))
        assert shots[count].chance == pytest.approx(1 / 3)
    # Each label has 12 of 36 photos, and "cat" has no Chinese name in the list, as "other" has none.
    told = {(figure.question.figure, figure.question.language): figure for figure in found if figure.question.language}
    assert set(told) == {(name, language) for name in ("R-precision", "precision@10") for language in ("en", "zh-Hans")}
    paths = [
        tmp_path / s / f"{label}{n}.jpg" for s, f in (("a", 0), ("b", 6)) for label in colors for n in range(f, f + 6)
    ]
    vectors = np.concatenate([toy_encoder.encode_images([str(path)]) for path in paths])
    order = np.argsort(-(toy_encoder.encode_texts("giraffe") @ vectors.T)[0], kind="stable")
    right = np.array(["girrafe" in path.name for path in paths])[order]
    assert told["R-precision", "en"].outcomes.tolist() == pytest.approx([right[:12].mean()])
    assert told["precision@10", "en"].outcomes.tolist() == pytest.approx([right[:10].mean()])
    with pytest.raises(FileNotFoundError, match=r"labels\.csv"):
        list(photos.things(toy_encoder, [tmp_path]))


def test_emoji(toy_encoder: Any, tmp_path: Path) -> None:
    signs = [chr(0x1F600 + number) for number in range(60)]
    keywords = {sign: ["pink" if number % 2 else "bear"] for number, sign in enumerate(signs)}
    keywords[signs[0]] = ["pink", "rare"]
    for number, sign in enumerate(signs):
        save(tmp_path / "png" / f"emoji_u{ord(sign):04x}.png", (4 * number, 100, 50))
    (tmp_path / "keywords.json").write_text(json.dumps(keywords), encoding="utf-8")
    held_out = photos.keyworded_emoji(tmp_path, judged=True)
    assert len(photos.keyworded_emoji(tmp_path, judged=False)) == 48
    assert [path.name for path, _ in held_out] == [f"emoji_u{0x1F600 + 5 * number:04x}.png" for number in range(12)]
    [figure] = photos.emoji(toy_encoder, tmp_path)
    shown = np.concatenate([toy_encoder.encode_images([str(path)]) for path, _ in held_out])
    expected = []
    for word in ("bear", "pink"):
        order = np.argsort(-(shown @ toy_encoder.encode_texts(word)[0]), kind="stable")[:10]
        expected.append(np.mean([word in held_out[place][1] for place in order]))
    np.testing.assert_allclose(figure.outcomes, expected)
    assert figure.chance == pytest.approx(np.mean([5 / 12, 7 / 12]))
