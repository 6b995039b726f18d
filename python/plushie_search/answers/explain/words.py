"""Tells how much each word of a text counts: by leaving it out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ... import _core
    from ..._core import _QueryRow

#: A character of a script without spaces between words, or a word of another.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
#: The most words that are left out.
MOST = 40


@dataclass(frozen=True, slots=True)
class WordPart:
    """A word of a query, and its share of the score.

    Attributes:
        word: The word, or one Chinese or Japanese character.
        value: The score less that of the query without the word, a cosine; below 0 if the query matches better without.
    """

    word: str
    value: float

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return asdict(self)


def parts_of_words(
    core: _core.Engine, row: _QueryRow, vector: NDArray[np.float32], score: float, model: str
) -> tuple[WordPart, ...]:
    """Returns the share of each word of the query's texts in its score with a reference's vector (dim,)."""
    images, texts, items, vectors = row
    left_out: list[_QueryRow] = []
    words: list[str] = []
    for number, (text, weight) in enumerate(texts):
        for found in WORD.finditer(text):
            rest = f"{text[: found.start()]} {text[found.end() :]}".strip()
            # A text of one word has no rest, and a query without a rest has no vector.
            others: Sequence[tuple[str, float]] = [*texts[:number], *texts[number + 1 :]]
            if WORD.search(rest):
                others = [*texts[:number], (rest, weight), *texts[number + 1 :]]
            if not (others or images or items or vectors):
                continue
            left_out.append((images, list(others), items, vectors))
            words.append(found[0])
    if not left_out:
        return ()
    without = core.query_vectors(left_out[:MOST], model=model) @ vector
    return tuple(WordPart(word, float(score - rest)) for word, rest in zip(words[:MOST], without, strict=True))
