"""Words from public dictionaries: kinds of things and their definitions by WordNet, and Unicode's names of emoji.

Both are read where a system keeps them (Debian's packages `wordnet-base` and `unicode-cldr-core`); neither ships with
the package. Miller, "WordNet: a lexical database for
English", 1995; Unicode Common Locale Data Repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from .words import More

SENSES = (
    {
        "bear": "bear n1",
        "rabbit": "rabbit n1, hare n1",
        "cat": "cat n1, kitten n1",
        "dog": "dog n1, puppy n1",
        "elephant": "elephant n1",
        "panda": "panda n1",
        "fox": "fox n1",
        "frog": "frog n1",
        "penguin": "penguin n1",
        "pig": "pig n1, piglet n1",
        "mouse": "mouse n1, rat n1",
        "lion": "lion n1",
        "duck": "duck n1, duckling n2",
        "monkey": "monkey n1, ape n1",
        "sheep": "sheep n1, lamb n1",
        "unicorn": "unicorn n1",
        "dinosaur": "dinosaur n1",
        "koala": "koala n1",
    },
    {
        "white": "whiteness n1, white a1",
        "grey": "grayness n1, grey a1",
        "black": "blackness n1, black a1",
        "brown": "brown n1, brown a1",
        "beige": "beige n1, beige a1",
        "red": "red n1, red a1",
        "orange": "orange n2, orange a1",
        "yellow": "yellow n1, yellow a1",
        "green": "green n1, green a1",
        "blue": "blue n1, blue a1",
        "turquoise": "turquoise n1, teal n1",
        "sky_blue": "azure n1, azure a1, powder_blue n1",
        "purple": "purple n1, purple a1",
        "pink": "pink n1, pink a1",
    },
    {
        "scarf": "scarf n1",
        "bow_tie": "bow_tie n1",
        "collar": "dog_collar n1, dog_collar n3",
        "hat": "top_hat n1, hat n1",
        "beanie": "beanie n1, stocking_cap n1, watch_cap n1",
        "crown": "crown n4, tiara n1",
        "bow": "bow n8, bow n1, ribbon n4",
        "flower": "flower n2, flower n1",
        "glasses": "glasses n1",
        "shirt": "shirt n1, sweater n1, jersey n3",
        "backpack": "backpack n1",
        "heart": "heart n7",
    },
)
"""WordNet's senses of kinds and accessories of plushes. A word of two values of a table belongs to the later one."""


class _Synset(NamedTuple):
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    definition: str


class WordNet:
    """The nouns and adjectives of a WordNet folder (`data.noun`, `index.noun` ...)."""

    def __init__(self, folder: Path) -> None:
        self._synsets: dict[str, _Synset] = {}
        self._senses: dict[str, tuple[str, ...]] = {}
        self._used: set[str] = set()
        for part, name in (("n", "noun"), ("a", "adj")):
            for line in _lines(folder / f"data.{name}"):
                key, synset = _synset(line, part)
                self._synsets[key] = synset
            for line in _lines(folder / f"index.{name}"):
                fields = line.split()
                count = int(fields[2])
                self._senses[f"{fields[0]} {part}"] = tuple(part + offset for offset in fields[-count:])
                if int(fields[-count - 1]):
                    self._used.add(fields[0].replace("_", " "))

    def common(self) -> list[str]:
        """Returns the words that WordNet's authors found in texts."""
        return sorted(self._used)

    def more(self) -> More:
        """Returns the English synonyms, hyponyms and parts of the definition of each value of the renderer."""
        found: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {}
        for table in SENSES:
            taken: set[str] = set()
            for value in reversed(table):
                senses = [self._sense(one) for one in table[value].split(", ")]
                synonyms = [word for key in senses for word in self._synsets[key].words if word not in taken]
                kinds = [word for key in senses for word in self._below(key) if word not in taken]
                definitions = [one for key in senses if key[0] == "n" for one in _parts(self._synsets[key].definition)]
                taken |= {*synonyms, *kinds}
                groups = (tuple(dict.fromkeys(group)) for group in (synonyms, kinds, definitions))
                found[value, "en"] = tuple(group for group in groups if group)
        return found

    def _sense(self, written: str) -> str:
        word, sense = written.split()
        return self._senses[f"{word} {sense[0]}"][int(sense[1:]) - 1]

    def _below(self, key: str) -> Iterator[str]:
        for kind in self._synsets[key].kinds:
            if kind in self._synsets:
                yield from self._synsets[kind].words
                yield from self._below(kind)


def emoji_names(folder: Path) -> list[tuple[list[str], list[str]]]:
    """Returns the English and Chinese names of each emoji, from the `annotations` folder of Unicode's CLDR."""
    english, chinese = (_annotations(folder / f"{language}.xml") for language in ("en", "zh"))
    return [(words, chinese[emoji]) for emoji, words in english.items() if emoji in chinese]


def _annotations(file: Path) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in ElementTree.parse(file).getroot().iter("annotation"):
        if one.get("type") == "tts" and one.text:
            found[one.get("cp", "")] = [one.text.strip().lower()]
    return found


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as lines:
        yield from (line for line in lines if not line.startswith("  "))  # the license is indented


def _synset(line: str, part: str) -> tuple[str, _Synset]:
    written, _, definition = line.partition("|")
    fields = written.split()
    count = int(fields[3], 16)
    words = [re.sub(r"\(.*\)$", "", one).replace("_", " ").lower() for one in fields[4 : 4 + 2 * count : 2]]
    pointers = fields[5 + 2 * count :]
    kinds = [part + pointers[at + 1] for at in range(0, 4 * int(fields[4 + 2 * count]), 4) if pointers[at] == "~"]
    return part + fields[0], _Synset(tuple(words), tuple(kinds), definition.split('"')[0].strip(" ;\n"))


def _parts(definition: str) -> list[str]:
    """Returns the definition cut at its commas, and before "having" and similar words."""
    cut = re.split(r"[;:,()]|\b(?=having|with|that|which)\b", definition)
    return [part.strip() for part in cut if 2 <= len(part.split()) <= 12]
