"""Tells which class a picture is of, by the catalog's examples, by names, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .._core import ArgumentError
from .classes import Class, Classification
from .fit import Array, Examples, Fit, learn
from .gallery import read_gallery

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import _core
    from ..query import Where

By: TypeAlias = Literal["auto", "images", "texts"]


@dataclass(frozen=True, slots=True)
class Classifier:
    """Classes that were learned from a state of the catalog.

    Attributes:
        names: The names of the classes.
        examples: Their examples.
        fit: What was learned from these.
        image_model: The name of the model of the examples.
        text_model: The name of the model of the names; None if names do not count.
        phrases: The unit vector of each name: float32 of shape (classes, dim), or (0, 0).
        readable: Whether the model knows a word of each name.
    """

    names: tuple[str, ...]
    examples: Examples
    fit: Fit
    image_model: str | None
    text_model: str | None
    phrases: NDArray[np.float32]
    readable: NDArray[np.bool_]

    def classify(self, core: _core.Engine, images: Sequence[Any]) -> list[Classification]:
        """Returns the classes of each picture."""
        if not images:
            return []
        vectors = core.encode_images(list(images), model=self.image_model)
        best, mean = self.examples.scores(vectors)
        text = np.full(best.shape, -np.inf)
        if self.text_model is not None:
            if self.text_model != self.image_model:
                vectors = core.encode_images(list(images), model=self.text_model)
            text = _cosines(vectors, self.phrases, self.readable)
        shares, others = self.fit.shares(self.fit.blended(best, mean, text))
        counts = self.examples.counts().tolist()
        answers = []
        for row, other in zip(shares, others.tolist(), strict=True):
            order = np.argsort(-row, kind="stable").tolist()
            classes = [Class(self.names[place], float(row[place]), counts[place]) for place in order]
            answers.append(Classification(classes, other=other, image_weight=self.fit.weight))
        return answers


def learn_classes(
    core: _core.Engine,
    labels: Sequence[str] | None,
    *,
    by: By,
    where: Where | None,
    model: str | None,
    expand: bool | Sequence[str],
) -> Classifier:
    """Learns the classes that ``Engine.classify`` asks for; see there.

    Raises:
        ArgumentError: There are no two classes, or one has neither examples nor a name that can be read.
    """
    image_model, text_model = model or core.image_model, _text_model(core, by)
    gallery = read_gallery(core, where=where, model=image_model)
    names = _names(gallery.labels, labels)
    places = {name: place for place, name in enumerate(names)}
    of_items = np.array([places.get(label, -1) if label else -1 for label in gallery.labels], np.int64)
    classes = of_items[gallery.items] if len(gallery.items) else np.empty(0, np.int64)
    order = np.lexsort((gallery.items, classes))
    order = order[classes[order] >= 0]
    examples = Examples(gallery.vectors[order], classes[order], gallery.items[order], len(names))
    has_examples = examples.counts() > 0
    by_names = text_model is not None and by != "images"

    readable = np.zeros(len(names), bool)
    phrases = np.empty((0, 0), np.float32)
    if by_names:
        readable = ~np.array(core.unreadable(list(names), models=text_model))
        phrases = _phrases(core, names, readable, expand, text_model)
    text_model = text_model if readable.any() else None
    lacking = [name for name, seen, read in zip(names, has_examples, readable, strict=True) if not (seen or read)]
    if by == "texts" and not readable.all():
        lacking = [name for name, read in zip(names, readable, strict=True) if not read]
    if lacking:
        raise ArgumentError(_lack(core, lacking[0], by, by_names=by_names))

    weight = {"auto": None, "images": 1.0, "texts": 0.0}[by]
    if has_examples.sum() < 2 and text_model is not None:
        weight = 0.0  # examples of one class cannot be weighed against others
    text = given = None
    if text_model is not None:
        seen = gallery if text_model == image_model else read_gallery(core, where=where, model=text_model)
        if len(seen.vectors) == len(classes):
            text = _cosines(seen.vectors[order], phrases, readable)
        given = _cosines(seen.vectors[:1000], phrases, readable)
    if text_model is not None and text is None:
        raise ArgumentError("the catalog changed while its examples were read: classify again")
    fit = learn(examples, text, np.empty((0, len(names))) if given is None else given, weight)
    return Classifier(names, examples, fit, image_model, text_model, phrases, readable)


def _text_model(core: _core.Engine, by: By) -> str | None:
    """Returns the model that reads names and sees pictures, too; None if there is none."""
    if by not in ("auto", "images", "texts"):
        raise ArgumentError(f'by={by!r}: give "auto", "images" or "texts"')
    if by == "images":
        return None
    able = {row["name"] for row in core.stats()["models"] if row["image"] and row["text"]}
    return core.text_model if core.text_model in able else None


def _names(stored: Sequence[str | None], labels: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names of the classes: those given, or all labels of the catalog.

    Raises:
        ArgumentError: There are fewer than two, or one is no text.
    """
    if labels is None:
        names = tuple(sorted({label for label in stored if label}))
        if len(names) < 2:
            held = f"only the label {names[0]!r}" if names else "no labels"
            raise ArgumentError(f"the catalog has {held}, and a class is told from others: give two or more labels")
        return names
    if isinstance(labels, str):
        raise ArgumentError(f"labels is one text: give a list, such as [{labels!r}, ...]")
    names = tuple(dict.fromkeys(labels))
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ArgumentError(f"the label {name!r} is empty or no text: give names")
    if len(names) < 2:
        raise ArgumentError(f"labels has {len(names)} names, and a class is told from others: give two or more")
    return names


def _lack(core: _core.Engine, name: str, by: By, *, by_names: bool) -> str:
    """Returns why a class cannot be told."""
    if by_names:
        known = f"model {core.text_model} knows no word of the label {name!r}"
        return (
            f"{known}, and the catalog has no example of it: use words of its languages, or add items with this label"
        )
    if by == "texts":
        return (
            "no model of this catalog both reads texts and sees pictures: leave out by, or open it with one that does"
        )
    return f"no item of the catalog has the label {name!r}: add one with a picture, or open a model that reads texts"


def _phrases(
    core: _core.Engine,
    names: Sequence[str],
    readable: NDArray[np.bool_],
    expand: bool | Sequence[str],
    model: str | None,
) -> NDArray[np.float32]:
    """Returns the unit vector of each name, of its phrases as ``expand`` says: float32 of shape (names, dim).

    A name that cannot be read has zeros. If none can, the shape is (0, 0).
    """
    if not readable.any():
        return np.empty((0, 0), np.float32)
    read = [name for name, known in zip(names, readable, strict=True) if known]
    vectors = core.encode_texts(read, model=model, expand=expand)
    found = np.zeros((len(names), vectors.shape[1]), np.float32)
    found[readable] = vectors
    return found


def _cosines(vectors: NDArray[np.float32], phrases: NDArray[np.float32], readable: NDArray[np.bool_]) -> Array:
    """Returns the cosines of pictures with names, -inf for names that cannot be read."""
    return np.where(readable, (vectors @ phrases.T).astype(np.float64), -np.inf)
