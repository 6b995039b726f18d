"""Texts of the benchmark: true of their plushes, in words that are not the renderer's, and how many training shares."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest

from plushie_search import _core
from plushie_search.plush.facts import FACTS, KINDS, LANGUAGES, WORDS, facts_of, holds, table
from plushie_search.plushbench import paraphrases
from plushie_search.plushbench.identities import FIRST
from plushie_search.plushbench.texts import TEXT_KINDS, plainly, texts
from plushie_search.train import nouns, words

ATTRIBUTES = [_core.Plush(FIRST + number).attributes for number in range(400)]
TABLES = {
    "species": paraphrases.SPECIES,
    "color": paraphrases.COLORS,
    "fur": paraphrases.FURS,
    "pose": paraphrases.POSES,
    "pattern": paraphrases.PATTERNS,
    "wears": paraphrases.WORN,
}
#: English words that mean nothing by themselves.
FUNCTION = {"a", "an", "and", "with", "on", "in", "of", "the", "to", "for", "from", "by", "that", "it"}
BEAR = {
    "species": "bear",
    "color": "brown",
    "second_color": "white",
    "pattern": "belly",
    "pose": "sitting",
    "fur": "curly",
    "accessories": [{"kind": "scarf", "color": "red"}, {"kind": "beanie", "color": "sky_blue"}],
}


def alternatives(name: str, value: str, column: int) -> list[str]:
    return TABLES[name][value][column].split("|")


def test_facts_are_all_that_can_be_said() -> None:
    lacking = {("lacks", kind) for kind in KINDS if kind not in ("scarf", "beanie", "any_hat")}
    assert facts_of(BEAR) == lacking | {
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
    }
    assert len(set(FACTS)) == len(FACTS)


def test_a_text_is_true_of_every_plush_with_all_its_facts() -> None:
    bare = {**BEAR, "accessories": [], "second_color": None, "pattern": "plain"}
    plushes = table(facts_of(one) for one in (BEAR, bare))
    said = [
        [("wears", "scarf")],
        [("lacks", "scarf")],
        [("species", "bear"), ("lacks", "any_hat")],
        [],
        [("color", "red")],
    ]
    expected = [[True, False], [False, True], [False, True], [True, True], [False, False]]
    np.testing.assert_array_equal(holds(table(said), plushes), expected)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_texts_are_true_of_five_plushes_or_more(kind: str, language: str) -> None:
    asked = texts(ATTRIBUTES, kind, language, 60)
    assert len(asked.written) == len(set(asked.written)) == 60
    for facts, right in zip(asked.facts, asked.right, strict=True):
        expected = [set(facts) <= facts_of(one) for one in ATTRIBUTES]
        assert right.tolist() == expected
        assert sum(expected) >= 5
        denied = [fact for fact in facts if fact[0] == "lacks"]
        assert len(denied) == (kind == "negated")
        if denied:
            rest = set(facts) - set(denied)
            assert any(rest <= facts_of(one) and denied[0] not in facts_of(one) for one in ATTRIBUTES)
        names = {fact[:2] if fact[0] == "wears" else fact[:1] for fact in facts} - {("second_color",)}
        assert len(names) in {"one": (1,), "several": (2, 3), "negated": (2, 3), "paraphrased": (1, 2, 3)}[kind]
    again = texts(ATTRIBUTES, kind, language, 60)
    assert again.written == asked.written
    assert texts(ATTRIBUTES, kind, language, 60, seed=1).written != asked.written
    assert texts(ATTRIBUTES[:3], kind, language, 5).right.shape == (0, 3)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            [("species", "elephant"), ("color", "orange")],
            ({"an orange elephant", "orange elephant", "orange elephant plush"}, {"橙色大象"}, {"橙色大象絨毛玩具"}),
        ),
        (
            [("species", "bear"), ("lacks", "any_hat")],
            ({"bear without a hat", "a bear plush without a hat"}, {"没有帽子的小熊"}, {"沒有帽子的小熊"}),
        ),
        (
            [("wears", "glasses", "red"), ("wears", "heart")],
            (
                {"plush with red glasses and a heart"},
                {"戴着红色眼镜的抱着爱心的毛绒玩具", "抱着爱心的戴着红色眼镜的毛绒玩具"},
                {"戴著紅色眼鏡的抱著愛心的絨毛玩具"},
            ),
        ),
        (
            [("pattern", "stripes"), ("second_color", "blue"), ("pose", "lying"), ("fur", "long")],
            (
                {"a lying long-haired plush with blue stripes"},
                {"有蓝色条纹的躺着的长毛毛绒玩具"},
                {"有藍色條紋的躺著的長毛絨毛玩具"},
            ),
        ),
    ],
)
def test_plain_phrases(facts: list, expected: tuple) -> None:
    for language, phrases in zip(LANGUAGES, expected, strict=True):
        assert phrases <= {plainly(facts, language, random.Random(seed)) for seed in range(40)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_value_has_other_words(language: str) -> None:
    column = LANGUAGES.index(language)
    assert set(paraphrases.SPECIES) == set(WORDS["species"])
    assert set(paraphrases.COLORS) == set(WORDS["color"])
    assert set(paraphrases.PATTERNS) == set(WORDS["pattern"])
    assert set(paraphrases.FURS) == set(WORDS["fur"])
    assert set(paraphrases.POSES) == set(WORDS["pose"])
    assert set(paraphrases.WORN) == set(KINDS) - {"hat"}
    assert len(paraphrases.FRAMES[column]) >= 10
    renderers = [row[language] for values in WORDS.values() for row in values.values()]
    said = [one for name in TABLES for value in TABLES[name] for one in alternatives(name, value, column)]
    said += [*paraphrases.FRAMES[column], *paraphrases.TOYS[column].split("|")]
    for name in TABLES:
        for value in TABLES[name]:
            assert len(alternatives(name, value, column)) >= 2
    if language == "en":
        taken = {word for phrase in renderers for word in re.findall("[a-z]+", phrase)} | {"plush"}
        assert not {word for phrase in said for word in re.findall("[a-z]+", phrase)} & (taken - FUNCTION)
    else:
        assert [(word, phrase) for word in renderers for phrase in said if word in phrase] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_alternatives_mean_one_value(language: str) -> None:
    column = LANGUAGES.index(language)
    for name in TABLES:
        values = TABLES[name]
        for one, other in itertools.permutations(values, 2):
            shared = set(alternatives(name, one, column)) & set(alternatives(name, other, column))
            assert not shared, (one, other, shared)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_paraphrase_says_its_facts_and_no_others(language: str) -> None:
    """Reading the words back gives the facts that were to be said, in every frame."""
    column = LANGUAGES.index(language)
    frames = set()
    for kind, seed in itertools.product(("paraphrased",), range(8)):
        for text, facts in zip(*_written(kind, language, seed), strict=True):
            frame = next(
                number
                for number, frame in reversed(list(enumerate(paraphrases.FRAMES[column])))
                if _fits(frame, text, language)
            )
            frames.add(frame)
            for fact in facts:
                if len(fact) == 3:
                    assert _says(text, "wears", fact[1], column), (text, fact)
                    assert _says(text, "color", fact[2], column), (text, fact)
                else:
                    assert _says(text, "color" if fact[0] == "second_color" else fact[0], fact[1], column), (text, fact)
            named = {fact[1] for fact in facts if fact[0] == "species"}
            heard = {value for value in paraphrases.SPECIES if _says(text, "species", value, column)}
            assert named <= heard
            assert heard <= named or not named or column > 0
    assert frames == set(range(len(paraphrases.FRAMES[column])))


def _written(kind: str, language: str, seed: int) -> tuple:
    asked = texts(ATTRIBUTES, kind, language, 60, seed=seed)
    return asked.written, asked.facts


def _fits(frame: str, text: str, language: str) -> bool:
    before, after = frame.split("{np}")
    before = before.removesuffix("a ") if language == "en" else before
    return text.startswith(before) and text.endswith(after)


def _says(text: str, name: str, value: str, column: int) -> bool:
    for phrase in alternatives(name, value, column):
        parts = [part.strip() for part in re.split(r"\{c\}", re.sub(r"^a ", "", phrase))]
        if all(part.removeprefix("a ") in text for part in parts):
            return True
    return False


def test_spelling() -> None:
    spoken = paraphrases.spoken
    assert spoken("we lost a azure teddy with a emerald tee") == "we lost an azure teddy with an emerald tee"
    assert spoken("a one-horned pony, a eucalyptus muncher and a snowy hare") == (
        "a one-horned pony, a eucalyptus muncher and a snowy hare"
    )
    assert not paraphrases.sayable([("lacks", "scarf")])
    assert not paraphrases.sayable([("wears", "hat")])
    assert not paraphrases.sayable([("second_color", "red")])
    assert not paraphrases.sayable([("pattern", "belly")])
    assert paraphrases.sayable([("pattern", "belly"), ("second_color", "red"), ("wears", "scarf", "blue")])


@pytest.mark.parametrize(("language", "share"), [("en", 0.55), ("zh-Hans", 0.39), ("zh-Hant", 0.40)])
def test_how_many_of_the_words_training_uses(language: str, share: float) -> None:
    """The share of alternatives with any word that training uses too, as `paraphrases` says it."""
    column = LANGUAGES.index(language)
    said = [one for name in TABLES for value in TABLES[name] for one in alternatives(name, value, column)]
    taught = _taught(column)
    if language == "en":
        shared = [phrase for phrase in said if set(re.findall("[a-z]+", phrase)) - {"c"} - FUNCTION & taught]
    else:
        shared = [phrase for phrase in said if any(len(word) > 1 and word in phrase for word in taught)]
    assert len(shared) / len(said) == pytest.approx(share, abs=0.02)


def _taught(column: int) -> set[str]:
    tables = (words.SPECIES, words.COLORS, words.ACCESSORIES, words.PATTERNS, words.POSES, words.FURS)
    tables = (*tables, words.PATTERN_ADJECTIVES)
    phrases = [one for names in tables for row in names.values() for one in row[min(column, 1)].split("|")]
    phrases += [one for pair in nouns.translations() for one in pair[min(column, 1)]]
    if column == 0:
        return {word for phrase in phrases for word in re.findall("[a-z]+", phrase)}
    return {words.traditional(phrase) if column == 2 else phrase for phrase in phrases}
