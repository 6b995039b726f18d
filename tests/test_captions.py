import random

import numpy as np
import pytest

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
RABBIT = {
    "species": "rabbit",
    "color": "pink",
    "second_color": None,
    "pattern": "plain",
    "pose": "sitting",
    "fur": "short",
    "accessories": [{"kind": "scarf", "color": "green"}],
}


def test_facts_are_all_that_can_be_said():
    assert captions.facts_of(BEAR) == {
        ("species", "bear"),
        ("color", "brown"),
        ("second_color", "white"),
        ("pattern", "belly"),
        ("pose", "sitting"),
        ("fur", "curly"),
        ("wears", "scarf"),
        ("wears", "scarf", "red"),
        ("wears", "beanie"),
        ("wears", "beanie", "sky_blue"),
        ("wears", "any_hat"),
        ("wears", "any_hat", "sky_blue"),
        *(("lacks", kind) for kind in words.ACCESSORIES if kind not in ("scarf", "beanie")),
    }
    assert ("lacks", "any_hat") in captions.facts_of(RABBIT)


def test_what_is_not_worn_is_named_in_every_language():
    said = {
        language: {captions.text([("lacks", "scarf")], language, random.Random(n)).lower() for n in range(40)}
        for language in captions.LANGUAGES
    }
    assert "no scarf" in said["en"]
    assert "没有围巾" in said["zh-Hans"]
    assert "沒有圍巾" in said["zh-Hant"]
    chosen = captions.choose(BEAR, random.Random(0), negations=1.0)
    assert [fact for fact in chosen if fact[0] == "lacks" and fact[1] not in ("scarf", "beanie", "any_hat")]


def test_a_text_is_true_of_whatever_has_all_its_facts():
    plushes = captions.table(captions.facts_of(one) for one in (BEAR, RABBIT))
    texts = captions.table(
        [
            [("wears", "scarf")],
            [("wears", "scarf", "red")],
            [("pose", "sitting"), ("color", "pink")],
            [("color", "pink"), ("wears", "scarf", "red")],
            [],
        ]
    )
    expected = [[True, True], [True, False], [False, True], [False, False], [True, True]]
    np.testing.assert_array_equal(captions.holds(texts, plushes), expected)


def test_what_is_chosen_is_true_and_seeded():
    row = captions.table([captions.facts_of(BEAR)])
    for seed in range(200):
        named = captions.choose(BEAR, random.Random(seed))
        assert 1 <= len(named) <= 4
        assert captions.holds(captions.table([named]), row).all()
        assert named == captions.choose(BEAR, random.Random(seed))


@pytest.mark.parametrize("language", captions.LANGUAGES)
def test_every_fact_named_leaves_a_word(language):
    chinese = int(language != "en")
    facts = [("species", "bear"), ("color", "brown"), ("wears", "scarf", "red")]
    tables = [(words.SPECIES, "bear"), (words.COLORS, "brown"), (words.ACCESSORIES, "scarf"), (words.COLORS, "red")]
    for seed in range(300):
        written = captions.text(facts, language, random.Random(seed))
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
