"""An explanation: the maps of the query's picture and of the reference, regions, words, and a sentence."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ... import _core
from ..._core import ArgumentError
from ...paths import expanded
from ...show import page
from . import drawing
from .parts import numbers
from .sentences import Language, sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .parts import HeatMap, RunnerUp
    from .regions import Pair
    from .words import WordPart

Method = Literal["windows", "cam"]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why an item matches a query.

    Attributes:
        item: The item's id.
        reference: The name of the reference that is explained.
        score: The cosine between the query and the reference.
        model: The name of the model.
        method: ``"windows"`` or ``"cam"``.
        query: The map of the query's picture; None if it has none.
        matched: The map of the reference's picture; None if it was not asked for, or no picture of it is left.
        pairs: Parts of both pictures that are alike; empty with ``method="cam"``.
        words: What each word of the query adds to the score.
        runner_up: The next best item; None if there is no other.
        notes: What is to be known of the pictures, such as that a thumbnail stood for a reference's original.
        passes: How many pictures went through the network.
        language: The language of the sentence, ``"en"`` or ``"zh"``.
    """

    item: str
    reference: str
    score: float
    model: str
    method: Method
    query: HeatMap | None
    matched: HeatMap | None
    pairs: tuple[Pair, ...]
    words: tuple[WordPart, ...]
    runner_up: RunnerUp | None
    notes: tuple[str, ...]
    passes: int
    language: Language = "en"

    @property
    def explanation(self) -> str:
        """The explanation in a few sentences."""
        return sentence(
            self.item,
            self.score,
            query=self.query,
            matched=self.matched,
            words=self.words,
            runner_up=self.runner_up,
            language=self.language,
        )

    @property
    def scale(self) -> float:
        """The highest value of both maps: the one at which the color is full in both pictures."""
        return max((float(side.map.max()) for side in (self.query, self.matched) if side is not None), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but the pictures as a dict, ready for JSON.

        ``attention_map`` is the map of the query's picture, or of the reference if the query has none, ``key_features``
        the regions and words that carry most, and ``explanation`` the sentences.
        """
        first = self.query or self.matched
        regions = [
            {"kind": "region", "picture": whose, **region.to_dict()}
            for whose, side in (("query", self.query), ("reference", self.matched))
            for region in (side.regions if side is not None else ())
        ]
        return {
            "item": self.item,
            "reference": self.reference,
            "score": self.score,
            "model": self.model,
            "method": self.method,
            "attention_map": None if first is None else numbers(first.map),
            "key_features": [*regions, *({"kind": "word", **part.to_dict()} for part in self.words)],
            "explanation": self.explanation,
            "scale": self.scale,
            "query": None if self.query is None else self.query.to_dict(),
            "matched": None if self.matched is None else self.matched.to_dict(),
            "pairs": [pair.to_dict() for pair in self.pairs],
            "runner_up": None if self.runner_up is None else self.runner_up.to_dict(),
            "notes": list(self.notes),
            "passes": self.passes,
        }

    def to_image(self, *, opacity: float = drawing.OPACITY) -> NDArray[np.uint8]:
        """Returns the pictures side by side, uint8 (height, width, 3): the query's on the left, the reference's right.

        Both are gray under one color, which is full at :attr:`scale` in both; a line encloses what is above half of it.
        Boxes of one color are parts that are alike.

        Args:
            opacity: How much of the color lies over the picture at most, from 0 to 1.

        Raises:
            ArgumentError: There is no picture, or the opacity is not from 0 to 1.
        """
        if not 0 <= opacity <= 1:
            raise ArgumentError(f"opacity {opacity}: give a number from 0 to 1")
        boxes = ([pair.query for pair in self.pairs], [pair.reference for pair in self.pairs])
        drawn = [
            drawing.framed(drawing.overlaid(side.pixels, side.map, self.scale, opacity=opacity), around)
            for side, around in zip((self.query, self.matched), boxes, strict=True)
            if side is not None
        ]
        if not drawn:
            raise ArgumentError(f"no picture of item {self.item!r} is left: there is nothing to draw")
        return drawing.beside(drawn)

    def to_html(self) -> str:
        """Returns a whole page of HTML with the pictures in it."""
        return page.document(f"{self.item}: {self.score:.3f}", self._repr_html_())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the pictures as a PNG file, all of it as a page of HTML, or :meth:`to_dict` as JSON.

        Args:
            path: A file that ends in ``.png``, ``.html`` or ``.json``.

        Raises:
            ArgumentError: The path has another ending, or there is no picture for a PNG file.
            OSError: The file cannot be written.
        """
        file = Path(expanded(path))
        kind = file.suffix.lower()
        if kind == ".png":
            content = _core.picture_file(self.to_image())[1]
        elif kind in (".html", ".htm"):
            content = self.to_html().encode("utf-8", "backslashreplace")
        elif kind == ".json":
            content = json.dumps(self.to_dict(), ensure_ascii=False).encode("utf-8", "backslashreplace")
        else:
            raise ArgumentError(f"{os.fspath(path)}: give a path that ends in .png, .html or .json")
        file.write_bytes(content)

    def __repr__(self) -> str:
        return f"<Explanation item={self.item!r} score={self.score:.3f} method={self.method!r}>"

    def __str__(self) -> str:
        return "\n".join([self.explanation, *self.notes])

    def _repr_html_(self) -> str:
        scale = self.scale
        shown = [
            page.Picture(heading, side.name, None, subject)
            for heading, side in (("query", self.query), ("reference", self.matched))
            if side is not None
            for subject in (side.pixels, drawing.overlaid(side.pixels, side.map, scale))
        ]
        rows = [
            (whose, region.place, f"{region.share:.0%}", f"{region.value:.3f}")
            for whose, side in (("query", self.query), ("reference", self.matched))
            for region in (side.regions if side is not None else ())
        ]
        parts = [
            page.paragraph(self.explanation),
            page.pictures(*shown) if shown else "",
            page.table(["picture", "region", "share", "cosine"], rows) if rows else "",
            page.table(["word", "cosine"], [(part.word, f"{part.value:+.3f}") for part in self.words])
            if self.words
            else "",
            *(page.paragraph(note) for note in self.notes),
        ]
        return "".join(parts)
