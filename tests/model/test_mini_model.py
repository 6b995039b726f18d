"""The built-in model, on fewer plushes than its model card, with a margin for chance."""

import json

import pytest

from plushie_search import plushbench
from plushie_search.hub import open_encoder, resolve


@pytest.fixture(scope="module")
def encoder():
    return open_encoder("plushie-mini", threads=2)


def test_it_is_small_and_describes_itself():
    directory = resolve("plushie-mini").directory
    manifest = json.loads((directory / "model.json").read_text(encoding="utf-8"))
    assert manifest["license"] == "Apache-2.0"
    assert manifest["languages"] == ["en", "zh-Hans", "zh-Hant"]
    assert (directory / "README.md").is_file()
    assert sum(file.stat().st_size for file in directory.iterdir()) <= 30_000_000


def test_it_knows_plushes_and_words_it_has_never_seen(encoder):
    asked = plushbench.Configuration(items=200, references=1, splits=("everyday", "pose", "text-several"), texts=80)
    found = plushbench.measure(encoder, asked, threads=2)
    measured = {(figure.question.name, figure.question.figure, figure.question.language): figure for figure in found}
    assert measured["everyday", "hit@1", None].interval.value >= 0.93
    assert measured["pose", "hit@1", None].interval.value >= 0.85
    for language in ("en", "zh-Hans", "zh-Hant"):
        assert measured["text-several", "precision@5", language].interval.value >= 0.55


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a brown bear with a red scarf", "A Brown BEAR with a red scarf!"),
        ("bunny", "rabbit"),
        ("兔子", "rabbit"),
        ("戴红色围巾的兔子", "戴紅色圍巾的兔子"),
        ("戴红色围巾的兔子", "rabbit with a red scarf"),
    ],
)
def test_the_same_in_other_words_is_near(encoder, one, other):
    first, second, else_ = encoder.encode_texts([one, other, "a yellow duck with blue glasses"])
    assert first @ second > 0.7
    assert first @ second > first @ else_ + 0.3
