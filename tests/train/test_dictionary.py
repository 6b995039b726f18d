"""Dictionaries for training: a WordNet and emoji names written by hand, and the real ones where they are installed."""

import random
from pathlib import Path

import pytest

from plushie_search.plush.facts import WORDS
from plushie_search.train import dictionary, words

SYSTEM = Path("/usr/share/wordnet")
ANNOTATIONS = Path("/usr/share/unicode/cldr/common/annotations")
LICENSE = "  1 This software and database is being provided to you\n"
NOUNS = """\
00000010 05 n 02 bear 0 bruin 0 001 ~ 00000020 n 0000 | massive mammals, with shaggy coats; "it growled"
00000020 05 n 01 brown_bear 0 002 @ 00000010 n 0000 ~ 00000030 n 0000 | large ferocious bear of Eurasia
00000030 05 n 01 Kodiak(a) 0 001 @ 00000020 n 0000 | brown bear of coastal Alaska
00000040 07 n 01 bear 0 000 | a falling market
"""
NOUN_INDEX = """\
bear n 2 2 @ ~ 2 1 00000010 00000040
bruin n 1 1 ~ 1 0 00000010
brown_bear n 1 2 @ ~ 1 1 00000020
kodiak n 1 1 @ 1 0 00000030
"""
ADJECTIVES = "00000050 00 s 02 red 0 scarlet 0 001 & 00000060 a 0000 | of a color; like blood\n"
ADJECTIVE_INDEX = "red a 1 1 & 1 1 00000050\nscarlet a 1 1 & 1 0 00000050\n"


@pytest.fixture
def wordnet(tmp_path, monkeypatch):
    for name, text in (
        ("data.noun", NOUNS),
        ("index.noun", NOUN_INDEX),
        ("data.adj", ADJECTIVES),
        ("index.adj", ADJECTIVE_INDEX),
    ):
        (tmp_path / name).write_text(LICENSE + text, encoding="utf-8")
    monkeypatch.setattr(dictionary, "SENSES", ({"bear": "bear n1"}, {"red": "red a1"}))
    return dictionary.WordNet(tmp_path)


def test_a_thing_has_synonyms_kinds_and_a_definition(wordnet):
    assert wordnet.more() == {
        ("bear", "en"): (("bear", "bruin"), ("brown bear", "kodiak"), ("massive mammals", "with shaggy coats")),
        ("red", "en"): (("red", "scarlet"),),
    }
    assert wordnet.common() == ["bear", "brown bear", "red"]


def test_a_word_that_two_could_have_belongs_to_the_later(wordnet, monkeypatch):
    monkeypatch.setattr(dictionary, "SENSES", ({"animal": "bear n1", "brown": "brown_bear n1"},))
    found = wordnet.more()
    assert found["brown", "en"][0] == ("brown bear",)
    assert found["animal", "en"][:1] == (("bear", "bruin"),)
    assert not any("brown bear" in group for group in found["animal", "en"])


def test_further_words_are_used_beside_the_own_ones():
    book = words.Book({("bear", "en"): (("bruin",), ("brown bear", "kodiak"))})
    chance = random.Random(0)
    said = [book.call(words.SPECIES, "bear", "en", chance) for _ in range(4000)]
    shares = {word: said.count(word) / len(said) for word in set(said)}
    assert shares["bear"] == pytest.approx(0.5 + 0.2 / 4, abs=0.03)
    assert shares["bruin"] == pytest.approx(0.15, abs=0.02)
    assert shares["kodiak"] == pytest.approx(0.075, abs=0.02)
    assert set(book.further()) == {"bruin", "brown bear", "kodiak"}
    only = {words.PLAIN.call(words.SPECIES, "bear", "zh", chance) for _ in range(300)}
    assert only == set(words.SPECIES["bear"][1].split("|"))


def test_emoji_have_names_in_both_languages(tmp_path):
    for language, names in (("en", {"🐰": "Rabbit face", "☂": "umbrella"}), ("zh", {"🐰": "兔子头"})):
        annotations = "".join(
            f'<annotation cp="{emoji}">keywords</annotation><annotation cp="{emoji}" type="tts">{name}</annotation>'
            for emoji, name in names.items()
        )
        text = f"<ldml><annotations>{annotations}</annotations></ldml>"
        (tmp_path / f"{language}.xml").write_text(text, encoding="utf-8")
    assert dictionary.emoji_names(tmp_path) == [(["rabbit face"], ["兔子头"])]


@pytest.mark.skipif(not (SYSTEM / "data.noun").exists(), reason="WordNet is not installed")
def test_the_real_wordnet_has_the_senses_meant():
    found = dictionary.WordNet(SYSTEM).more()
    assert {value for table in dictionary.SENSES for value in table} == {
        value for name in ("species", "color", "kind") for value in WORDS[name]
    }
    for value, word in {
        "bear": "grizzly",
        "pig": "grunter",
        "red": "crimson",
        "sky_blue": "azure",
        "grey": "charcoal",
        "bow": "ribbon",
        "hat": "fedora",
        "crown": "diadem",
        "glasses": "bifocals",
        "shirt": "jumper",
    }.items():
        assert any(word in group for group in found[value, "en"]), value
    assert not any("azure" in group for group in found["blue", "en"])
    assert not any("reddish" in group for group in found["pink", "en"])


@pytest.mark.skipif(not (ANNOTATIONS / "zh.xml").exists(), reason="Unicode's CLDR is not installed")
def test_real_emoji_have_names():
    assert (["scarf"], ["围巾"]) in dictionary.emoji_names(ANNOTATIONS)
