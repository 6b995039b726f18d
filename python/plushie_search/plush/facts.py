"""Facts about plushes, and truth tables of facts and plushes.

Each statement of a text is a *fact* ("species is bear", "wears a scarf", "wears a red scarf", "wears no hat"). A
plush has a row of facts, a text names a few, and a text is true of a plush that has all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import _core

Fact = tuple[str, ...]
Language = Literal["en", "zh-Hans", "zh-Hant"]
LANGUAGES: tuple[Language, ...] = ("en", "zh-Hans", "zh-Hant")
WORDS = _core.plush_words()
"""The renderer's own word for each value in each language."""
HATS = ("hat", "beanie")
"""Names of a hat: "any_hat" is true of both."""
KINDS = (*WORDS["kind"], "any_hat")


def _all_facts() -> list[Fact]:
    facts: list[Fact] = []
    for name, values in (
        ("species", "species"),
        ("color", "color"),
        ("pattern", "pattern"),
        ("second_color", "color"),
        ("pose", "pose"),
        ("fur", "fur"),
    ):
        facts += [(name, value) for value in WORDS[values]]
    facts += [("wears", kind) for kind in KINDS]
    facts += [("wears", kind, color) for kind in KINDS for color in WORDS["color"]]
    return facts + [("lacks", kind) for kind in KINDS]


FACTS = _all_facts()
_COLUMN = {fact: column for column, fact in enumerate(FACTS)}


def columns(name: str, length: int = 2) -> slice:
    """Returns the columns in `FACTS` of the facts with this name and number of words."""
    places = [column for column, fact in enumerate(FACTS) if fact[0] == name and len(fact) == length]
    return slice(places[0], places[-1] + 1)


def facts_of(attributes: Mapping[str, Any]) -> set[Fact]:
    """Returns all facts about a plush with these attributes."""
    facts: set[Fact] = {(name, attributes[name]) for name in ("species", "color", "pattern", "pose", "fur")}
    if attributes["second_color"] is not None:
        facts.add(("second_color", attributes["second_color"]))
    for worn in attributes["accessories"]:
        for kind in (worn["kind"], *(("any_hat",) if worn["kind"] in HATS else ())):
            facts |= {("wears", kind), ("wears", kind, worn["color"])}
    return facts | {("lacks", kind) for kind in KINDS if ("wears", kind) not in facts}


def table(rows: Iterable[Iterable[Fact]]) -> NDArray[np.bool_]:
    """Returns one row of truths per set of facts, in the order of `FACTS`."""
    sets = [list(row) for row in rows]
    truths = np.zeros((len(sets), len(FACTS)), dtype=bool)
    for number, facts in enumerate(sets):
        truths[number, [_COLUMN[fact] for fact in facts]] = True
    return truths


def holds(texts: NDArray[np.bool_], plushes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns a table: `holds[t, p]` if every fact that text t names is true of plush p."""
    missing: NDArray[np.float32] = texts.astype(np.float32) @ (~plushes).astype(np.float32).T
    none_missing: NDArray[np.bool_] = missing == 0
    return none_missing
