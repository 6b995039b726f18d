"""Draws texts to search with, each with the plushes that it is true of.

Four kinds: *one* attribute, *several* (two or three), *negated* ("a bear without a hat"), all three in the renderer's
own words, and *paraphrased*: one to three attributes in the words of `paraphrases`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..plush.facts import HATS, KINDS, WORDS, Fact, Language, facts_of, holds, table
from .paraphrases import paraphrase, sayable, spoken

Kind = Literal["one", "several", "negated", "paraphrased"]
TEXT_KINDS: tuple[Kind, ...] = ("one", "several", "negated", "paraphrased")
LEAST = 5
"""The least number of plushes that a text must be true of."""
ATTEMPTS = 200
"""The most draws for each text."""
#: A weight by which units are drawn, and facts that are said together.
_Unit = tuple[float, tuple[Fact, ...]]


@dataclass(frozen=True)
class Texts:
    """Texts of one kind in one language.

    Attributes:
        written: The texts.
        facts: The facts that each names.
        right: The truth table: `right[t, p]` if text t is true of plush p.
    """

    written: tuple[str, ...]
    facts: tuple[tuple[Fact, ...], ...]
    right: NDArray[np.bool_]


def texts(
    attributes: Sequence[Mapping[str, Any]], kind: Kind, language: Language, count: int, *, seed: int = 0
) -> Texts:
    """Returns at most `count` different texts that are true of at least `LEAST` of the plushes with these attributes.

    There are fewer if the plushes have too little in common. The thing that a text denies is worn by a plush of which
    the rest is true, so that the denial matters.
    """
    dice = random.Random(f"plushbench {kind} {seed}")
    plushes = table(facts_of(one) for one in attributes)
    found: dict[str, tuple[Fact, ...]] = {}
    rows = []
    for _ in range(ATTEMPTS * count):
        if len(found) == count:
            break
        facts = _CHOOSE[kind](dice.choice(attributes), dice)
        pen = random.Random(dice.random())
        if not facts or (kind == "paraphrased" and not sayable(facts)):
            continue
        right = holds(table([facts]), plushes)
        named = table([[fact for fact in facts if fact[0] != "lacks"]])
        if right.sum() < LEAST or (kind == "negated" and holds(named, plushes).sum() == right.sum()):
            continue
        text = paraphrase(facts, language, pen) if kind == "paraphrased" else plainly(facts, language, pen)
        if text not in found:
            found[text] = facts
            rows.append(right)
    right = np.concatenate(rows) if rows else np.zeros((0, len(attributes)), bool)
    return Texts(tuple(found), tuple(found.values()), right)


def _units(attributes: Mapping[str, Any]) -> list[_Unit]:
    """Returns the facts of a plush with their weights; a hat counts as any kind of hat."""
    units: list[_Unit] = [(3.0, (("species", attributes["species"]),)), (2.5, (("color", attributes["color"]),))]
    for worn in attributes["accessories"]:
        kind = "any_hat" if worn["kind"] == "hat" else worn["kind"]
        units += [(1.4, (("wears", kind, worn["color"]),)), (0.8, (("wears", kind),))]
    second, pattern = attributes["second_color"], attributes["pattern"]
    if second is not None:
        units.append((0.9, (("pattern", pattern), ("second_color", second))))
        if pattern not in ("belly", "two_tone"):
            units.append((0.6, (("pattern", pattern),)))
    units.append((0.3, (("pose", attributes["pose"]),)))
    units.append((0.4 if attributes["fur"] != "short" else 0.1, (("fur", attributes["fur"]),)))
    return units


def _drawn(units: Sequence[_Unit], count: int, dice: random.Random) -> tuple[Fact, ...]:
    """Draws units by their weights, no two of them about the same attribute."""
    order = sorted(units, key=lambda unit: dice.random() ** (1.0 / unit[0]), reverse=True)
    chosen: list[Fact] = []
    for _, facts in order:
        if count and not any(_about(fact) == _about(old) for fact in facts for old in chosen):
            chosen += facts
            count -= 1
    return tuple(chosen)


def _about(fact: Fact) -> Fact:
    return fact[:2] if fact[0] in ("wears", "lacks") else fact[:1]


def _one(attributes: Mapping[str, Any], dice: random.Random) -> tuple[Fact, ...]:
    single = [unit for unit in _units(attributes) if len(unit[1]) == 1 and len(unit[1][0]) == 2]
    return dice.choice(single)[1]


def _several(attributes: Mapping[str, Any], dice: random.Random) -> tuple[Fact, ...]:
    return _drawn(_units(attributes), dice.choice((2, 3)), dice)


def _negated(attributes: Mapping[str, Any], dice: random.Random) -> tuple[Fact, ...]:
    named = _drawn(_units(attributes)[:2], dice.choice((1, 2)), dice)
    worn = {one["kind"] for one in attributes["accessories"]}
    lacking = [kind for kind in KINDS if kind != "hat" and kind not in worn]
    if worn & set(HATS):
        lacking.remove("any_hat")
    return (*named, ("lacks", dice.choice(lacking)))


def _paraphrased(attributes: Mapping[str, Any], dice: random.Random) -> tuple[Fact, ...]:
    return _drawn(_units(attributes), dice.choice((1, 2, 3)), dice)


_CHOOSE: dict[Kind, Callable[[Mapping[str, Any], random.Random], tuple[Fact, ...]]] = {
    "one": _one,
    "several": _several,
    "negated": _negated,
    "paraphrased": _paraphrased,
}


# Facts in the renderer's own words

_HAT = {"en": "hat", "zh-Hans": "帽子", "zh-Hant": "帽子"}
_PLUSH = {"en": "plush", "zh-Hans": "毛绒玩具", "zh-Hant": "絨毛玩具"}
_DO = {
    "zh-Hans": {"backpack": "背着", "heart": "抱着", "shirt": "穿着", "": "戴着"},
    "zh-Hant": {"backpack": "揹著", "heart": "抱著", "shirt": "穿著", "": "戴著"},
}


def plainly(facts: Sequence[Fact], language: Language, dice: random.Random) -> str:
    """Returns a phrase that says these facts in the renderer's own words."""

    def word(values: str, value: str) -> str:
        return _HAT[language] if value == "any_hat" else WORDS[values][value][language]

    said = {fact[0]: fact[1] for fact in facts if fact[0] not in ("wears", "lacks")}
    pose, fur, color = (word(name, said[name]) if name in said else "" for name in ("pose", "fur", "color"))
    species = word("species", said["species"]) if "species" in said else ""
    second = word("color", said["second_color"]) if "second_color" in said else ""
    pattern = word("pattern", said["pattern"]) if "pattern" in said else ""
    worn = [
        (fact[1], word("kind", fact[1]), *(word("color", c) for c in fact[2:])) for fact in facts if fact[0] == "wears"
    ]
    lacking = [word("kind", fact[1]) for fact in facts if fact[0] == "lacks"]
    if language == "en":
        noun = f"{species} {dice.choice(['', 'plush'])}".strip() if species else "plush"
        plain = pattern if pattern == WORDS["pattern"]["plain"]["en"] else ""
        phrase = " ".join(part for part in (dice.choice(["", "a"]), pose, fur, plain, color, noun) if part)
        things = [f"{second} {pattern}".strip()] if pattern and not plain else []
        things += [_article(" ".join([*shade, thing])) for _, thing, *shade in worn]
        phrase += f" with {' and '.join(things)}" if things else ""
        return spoken(phrase + "".join(f" without {_article(thing)}" for thing in lacking))
    doing = _DO[language]
    parts = [f"{doing.get(kind, doing[''])}{''.join(shade)}{thing}的" for kind, thing, *shade in worn]
    parts += [f"没有{thing}的" if language == "zh-Hans" else f"沒有{thing}的" for thing in lacking]
    parts += [f"有{second}{pattern}的"] if pattern else []
    dice.shuffle(parts)
    parts += [f"{pose}的"] if pose else []
    noun = species + dice.choice(["", _PLUSH[language]]) if species else _PLUSH[language]
    return "".join([*parts, color, fur, noun])


def _article(thing: str) -> str:
    return thing if thing.endswith("glasses") else f"a {thing}"
