import random

import pytest

from plushie_search.plush import facts
from plushie_search.train import captions, words

BEAR = {
    "species": "bear",
    "color": "brown",
    "second_color": "white",
    "pattern": "belly",
    "pose": "sitting",
    "fur": "curly",
    "accessories": [{"kind": "scarf", "color": "red"}, {"kind": "beanie", "color": "sky_blue"}],
}


def test_missing_accessories_are_named_in_every_language():
    said = {
        language: {captions.text([("lacks", "scarf")], language, random.Random(n)).lower() for n in range(40)}
        for language in facts.LANGUAGES
    }
    assert "no scarf" in said["en"]
    assert "没有围巾" in said["zh-Hans"]
    assert "沒有圍巾" in said["zh-Hant"]
    chosen = captions.choose(BEAR, random.Random(0), negations=1.0)
    assert [fact for fact in chosen if fact[0] == "lacks" and fact[1] not in ("scarf", "beanie", "any_hat")]


def test_chosen_facts_are_true_and_seeded():
    row = facts.table([facts.facts_of(BEAR)])
    for seed in range(200):
        named = captions.choose(BEAR, random.Random(seed))
        assert 1 <= len(named) <= 4
        assert facts.holds(facts.table([named]), row).all()
        assert named == captions.choose(BEAR, random.Random(seed))


@pytest.mark.parametrize("language", facts.LANGUAGES)
def test_every_fact_named_leaves_a_word(language):
    chinese = int(language != "en")
    named = [("species", "bear"), ("color", "brown"), ("wears", "scarf", "red")]
    tables = [(words.SPECIES, "bear"), (words.COLORS, "brown"), (words.ACCESSORIES, "scarf"), (words.COLORS, "red")]
    for seed in range(300):
        written = captions.text(named, language, random.Random(seed))
        for table, value in tables:
            names = table[value][chinese].split("|")
            names = [words.traditional(name) for name in names] if language == "zh-Hant" else names
            slip = language == "en"  # one letter may be missing
            assert any(name in written or (slip and _almost(name, written)) for name in names), written


def _almost(name, written):
    return any(name[:gone] + name[gone + 1 :] in written for gone in range(len(name)))


def test_single_words_are_texts():
    texts = {captions.text([("species", "rabbit")], "zh-Hans", random.Random(seed)) for seed in range(300)}
    assert {"兔子", "兔兔"} <= texts


def test_traditional_spelling():
    assert words.traditional("戴红色围巾的长颈鹿") == "戴紅色圍巾的長頸鹿"
    assert words.traditional("bear 熊") == "bear 熊"
