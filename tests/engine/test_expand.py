"""Texts that are looked up by phrases around them: against the mean of the phrases' vectors in numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from numpy.typing import NDArray
from test_engine import shade

import plushie_search as ps
from plushie_search import cli

pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")

PROMPTS = {"en": ["{}", "the red {}", "a pink {} with a scarf"], "zh": ["{}", "红{}", "粉色{}"]}
TEMPLATES = ["{} with the scarf", "pink {}"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write(tmp_path_factory.mktemp("expand") / "toy", prompts=PROMPTS)


@pytest.fixture(scope="module")
def engine(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path_factory.mktemp("expand") / "c", model=model, threads=1) as engine:
        for number in range(20):
            engine.add(f"item-{number}", images=shade(7 * number), label="bear", text="a pink thing")
        yield engine


def unit(vector: NDArray[Any]) -> NDArray[Any]:
    return vector / np.linalg.norm(vector)


def mean(engine: ps.Engine, phrases: Sequence[str]) -> NDArray[Any]:
    return unit(engine.encode_texts(phrases).astype(np.float64).mean(axis=0))


def cosines(engine: ps.Engine, vector: NDArray[Any]) -> dict[str, float]:
    return {item.id: float((engine.vectors(item.id) @ vector).max()) for item in engine}


@pytest.mark.parametrize(
    ("text", "expand", "phrases"),
    [
        ("teddy", True, ["teddy", "the red teddy", "a pink teddy with a scarf"]),
        ("a teddy", True, ["a teddy", "the red a teddy", "a pink a teddy with a scarf"]),
        ("兔子", True, ["兔子", "红兔子", "粉色兔子"]),
        ("teddy", TEMPLATES, ["teddy with the scarf", "pink teddy"]),
        ("兔子", tuple(TEMPLATES), ["兔子 with the scarf", "pink 兔子"]),
        ("ピンク bear", True, ["ピンク bear"]),
        ("teddy", False, ["teddy"]),
    ],
)
def test_a_text_is_the_mean_of_its_phrases(engine: ps.Engine, text: str, expand: Any, phrases: list[str]) -> None:
    expected = cosines(engine, mean(engine, phrases))
    hits = engine.search_text(text, k=20, words=False, expand=expand)
    assert {hit.item: hit.score for hit in hits} == pytest.approx(expected, abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_an_article_of_the_text_replaces_that_of_the_phrase(engine: ps.Engine) -> None:
    found = engine.search_text(["the bear", "bear"], k=3, words=False, expand=["a {}"])
    assert found[0] == engine.search_text("the bear", k=3, words=False)
    assert found[1] == engine.search_text("a bear", k=3, words=False)


def test_negative_texts_and_texts_beside_pictures_have_phrases_too(engine: ps.Engine) -> None:
    wanted, other = (mean(engine, [one.replace("{}", text) for one in PROMPTS["en"]]) for text in ("teddy", "rabbit"))
    query = ps.Query(text=[("teddy", 1.0), ("rabbit", -0.5)])
    hits = engine.search(query, k=20, words=False, expand=True)
    expected = cosines(engine, unit(wanted - 0.5 * other))
    assert {hit.item: hit.score for hit in hits} == pytest.approx(expected, abs=1e-6)
    picture = engine.encode_images([shade(30)])[0].astype(np.float64)
    hits = engine.search_hybrid(shade(30), "teddy", k=20, fusion="sum", expand=True)
    expected = cosines(engine, unit(0.5 * picture + 0.5 * wanted))
    assert {hit.item: hit.score for hit in hits} == pytest.approx(expected, abs=1e-6)


def test_words_are_those_of_the_text_alone(engine: ps.Engine) -> None:
    # Every phrase has "pink", and so has every item.
    assert not any(hit.matched for hit in engine.search_text("teddy", expand=["a pink {}"]))
    assert all(hit.matched == ("label",) for hit in engine.search_text("bear", expand=True))


def test_a_model_without_phrases_has_usual_ones_in_its_languages(tmp_path: Path) -> None:
    for languages, expanded in ((["en"], {"bear"}), (["zh-Hant"], {"兔子"}), ([], {"bear", "兔子"}), (["de"], set())):
        model = toy.write(tmp_path / "-".join(["m", *languages]), languages=languages)
        with ps.Engine(tmp_path / "-".join(["c", *languages]), model=model, threads=1) as engine:
            engine.add("a", images=shade(3))
            for text in ("bear", "兔子"):
                alone, phrased = (engine.search_text(text, words=False, expand=expand) for expand in (False, True))
                assert (alone[0].score != phrased[0].score) == (text in expanded)


def test_calibrated_texts_have_probabilities_without_phrases_only(tmp_path: Path, model: Path) -> None:
    with ps.Engine(tmp_path / "c", model=model, threads=1) as engine:
        for number in range(12):
            engine.add(str(number), images=shade(20 * number))
        engine.calibrate([(ps.Query(text="teddy bear"), str(number)) for number in range(12)])
        assert engine.search_text("teddy", words=False)[0].probability is not None
        assert engine.search_text("teddy", words=False, expand=True)[0].probability is None
        assert engine.search_image(shade(20), expand=True)[0].probability is not None


def test_texts_are_remembered(engine: ps.Engine) -> None:
    engine.search_text("brown rabbit", expand=True)
    before = engine.stats()["cache"]["texts"]
    engine.search_text("brown rabbit", expand=True)
    after = engine.stats()["cache"]["texts"]
    assert (after["misses"] - before["misses"], after["hits"] - before["hits"]) == (0, 3)


@pytest.mark.parametrize(
    ("expand", "error", "said"),
    [
        (["a photo"], ps.ArgumentError, r'the template "a photo" must have \{\} once'),
        (["{} or {}"], ps.ArgumentError, r'the template "\{\} or \{\}" must have'),
        ([], ps.ArgumentError, "0 templates: give 1 to 256"),
        ("a {}", TypeError, "expand takes True, False, or a list of templates"),
        (3, TypeError, "expand takes True, False, or a list of templates"),
    ],
)
def test_what_is_no_template_is_refused(engine: ps.Engine, expand: Any, error: type[Exception], said: str) -> None:
    for call in (engine.search_text, lambda text, **how: engine.search(ps.Query(text=text), **how)):
        with pytest.raises(error, match=said):
            call("a bear", expand=expand)
    with pytest.raises(error, match=said):
        engine.classify(shade(1), ["teddy", "rabbit"], expand=expand)


def test_an_empty_text_stays_empty_among_phrases(engine: ps.Engine) -> None:
    for text in ("", "  "):
        with pytest.raises(ps.ArgumentError, match="the text is empty"):
            engine.search_text(text, expand=TEMPLATES)


def test_names_of_classes_have_phrases(engine: ps.Engine) -> None:
    names = ["teddy", "rabbit", "兔子"]
    picture = engine.encode_images([shade(40)])[0]

    def order(phrases: dict[str, list[str]]) -> list[str]:
        return sorted(names, key=lambda name: -float(mean(engine, phrases[name]) @ picture))

    own = {name: [one.replace("{}", name) for one in PROMPTS["zh" if name == "兔子" else "en"]] for name in names}
    found = engine.classify(shade(40), names, by="texts")
    assert [one.name for one in found] == order(own)
    found = engine.classify(shade(40), names, by="texts", expand=False)
    assert [one.name for one in found] == order({name: [name] for name in names})
    found = engine.classify(shade(40), names, by="texts", expand=TEMPLATES)
    assert [one.name for one in found] == order({name: [t.replace("{}", name) for t in TEMPLATES] for name in names})


def test_the_command_line_expands(engine: ps.Engine, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["search", engine.path, "--text", "teddy", "--no-words", "-k", "2", "--model", str(model)]
    for more, expand in ((["--expand"], True), ([], False), (["--template", TEMPLATES[0]], TEMPLATES[:1])):
        assert cli.main([*command, *more]) == 0
        hits = engine.search_text("teddy", k=2, words=False, expand=expand)
        assert capsys.readouterr().out.splitlines()[1:] == repr(hits).splitlines()[1:]
    assert cli.main([*command, "--template", "teddy"]) == 2
    assert "must have {} once" in capsys.readouterr().err
