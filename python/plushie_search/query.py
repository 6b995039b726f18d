"""Queries, and the options of a search."""

from __future__ import annotations

import numbers
import os
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeAlias, TypedDict

from ._core import ArgumentError, Crop, each_image
from .paths import expanded

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._core import _Image as ImageLike
    from ._core import _QueryRow

Text: TypeAlias = str | SupportsIndex
"""A text, or a whole number, which means its digits."""

Where: TypeAlias = Mapping[str, Any]
By: TypeAlias = str | Mapping[str, float]
"""The name of a model, or of several with how much each counts."""


class SearchOptions(TypedDict, total=False):
    """The options that every search of an :class:`Engine` takes, all of them by keyword.

    Attributes:
        k: How many items, 5 by default; a catalog with fewer gives fewer.
        after: The :attr:`Results.cursor` of a page of hits: then these are the ``k`` hits behind it, and ranks go on.
            It goes with the query and the options of that page; ``k`` and ``vectors`` may differ. Pages of a catalog
            that does not change have every hit once. If it has changed, the page begins behind the last hit where that
            is now. By default the hits are the best.
        where: Only items that fit: ``{"label": "bear", "price": {"$lt": 20}}``, with ``$eq $ne $lt $lte $gt $gte $in
            $nin $contains $not_contains $all $size $exists $and $or $not``; keys are ``id``, ``label``, ``text`` or
            those of the metadata. Of a list a comparison holds if it does for a member.
        min_score: Only hits with at least this score.
        models: The name of the model to search with, of those in :attr:`Engine.models`; or several, each with a weight:
            ``{"dinov2-small": 0.6, "ViT-B-32::openai": 0.4}``. By default pictures are looked up by the first model
            that sees pictures, or by the weights of several that :meth:`Engine.calibrate` has learned, if these find
            more: then the score is the weighted mean of the cosines. Texts are looked up by the first model that reads
            texts, and items and vectors by the first.
        exclude: The id of an item that is not among the hits, or several.
        mmr: Makes hits differ from each other (maximal marginal relevance, Carbonell and Goldstein 1998): a number
            from 0 to 1, how much a hit's score counts beside how little it is like the hits before it. The hits are
            chosen among 8 times as many of the best scores. Where words count, too, an item's place by both stands for
            its score, and a text that no model reads is refused. By default the score alone counts.
        fusion: How the scores of several models become one score, and those of pictures and texts of a query.
            ``"weighted"``, the default, is the weighted mean of their cosines after all were given the same spread
            (mean and standard deviation over the catalog). Beside words that do not fit an item, a picture counts less,
            so that words can ask for another thing than the one in the picture: of its cosine's distance d to the mean,
            in standard deviations, only tanh(d / 2.5) counts, and the rest as far as the words fit; not at all from a
            standard deviation below the item on that they fit best. ``"sum"`` is the weighted mean of the cosines as
            they are, where all that one model looks up is one vector. ``"rrf"`` is reciprocal rank fusion (Cormack et
            al. 2009): the sum of weight / (``rrf_k`` + rank), with weights that sum to 1 and the references' ranks from
            1. ``"dbsf"`` is distribution-based score fusion (Mazzeschi 2023): the weighted mean of the cosines, scaled
            so that three standard deviations below their mean are 0 and three above are 1.
        rrf_k: That of ``fusion="rrf"``, 0 or more; 60 by default.
        aggregate: How the scores of an item's references become its score. ``"max"``, the default, takes the best one;
            ``"mean"`` the mean of all; ``"softmax"`` the mean of all scores s with the weights exp(s / temperature).
        temperature: That of ``aggregate="softmax"``, above 0; 0.1 by default. A low one comes near ``"max"``, a high
            one near ``"mean"``.
        query_crops: Whether the vector of each picture is the mean of three: of the whole, and of its middle with three
            quarters and with a half of each side. That finds more things that are small in the photo, above all in a
            catalog with ``crops=True``, and fewer of which a part is seen; to encode a picture takes three times as
            long. False by default.
        expand: Whether a text is looked up by the mean of the vectors of phrases around it (prompt ensembling, Radford
            et al. 2021): True for the model's own phrases, or usual ones if it names none, in English for Latin letters
            and in Chinese for Chinese characters; or a list of templates with ``{}`` in the place of the text, such as
            ``["{}", "a photo of {}"]``. Such searches have no probabilities; words are those of the text. False by
            default.
        words: Whether the items' own words count beside their vectors: True, False, or the fields to look into, such as
            ``["label", "brand"]``, of ``id``, ``label``, ``text`` and keys of the metadata. By default those of ``id``,
            ``label`` and ``text`` count for queries of texts alone; True counts them for texts beside pictures, too.
            Items of which a field is the whole query come first; the others are ordered by reciprocal ranks (1 / (60 +
            rank)) by their vectors and by their words. A hit's score stays that of its vectors.
        nprobe: How many lists of an approximate index are probed, 1 or more (faiss's ``nprobe``); by default as many as
            were measured to find what :class:`Engine` was asked for with ``recall``. Where every reference is compared
            (see :meth:`Engine.optimize`), and in an index without lists, it changes nothing.
        ef_search: How many references a search along a graph (``index="HNSW32"``) keeps in view, 1 or more (faiss's
            ``efSearch``); by default as measured.
        k_factor: How many references an approximate index finds for each one that is wanted, 1 or more; these are
            compared by their full vectors. By default as measured.
        vectors: Whether hits have the vectors of their references; False by default.
    """

    k: int
    after: str | None
    where: Where | None
    min_score: float | None
    exclude: Text | Iterable[Text] | None
    mmr: float | None
    models: By | None
    fusion: Literal["weighted", "sum", "rrf", "dbsf"]
    rrf_k: float
    aggregate: Literal["max", "mean", "softmax"]
    temperature: float
    query_crops: bool
    expand: bool | Sequence[str]
    words: bool | str | Sequence[str] | None
    nprobe: int | None
    ef_search: int | None
    k_factor: float | None
    vectors: bool


#: The options of a search to which none are given.
DEFAULTS = SearchOptions(
    k=5,
    after=None,
    where=None,
    min_score=None,
    exclude=None,
    mmr=None,
    models=None,
    fusion="weighted",
    rrf_k=60.0,
    aggregate="max",
    temperature=0.1,
    query_crops=False,
    expand=False,
    words=None,
    nprobe=None,
    ef_search=None,
    k_factor=None,
    vectors=False,
)


@dataclass(frozen=True, kw_only=True)
class Query:
    """Pictures, texts, items and vectors, each with a weight; a negative weight means "and not like this".

    Each is one thing, or a list of things and of ``(thing, weight)`` pairs:
    ``Query(image=[(a, 1.0), (b, 0.5)], text=[("scarf", 0.5), ("hat", -0.4)])``. A thing without a weight has weight 1:
    ``Query(image=[a, b])``. The pictures, items and vectors that one model looks up are one vector: the weighted sum of
    their unit vectors, scaled to length 1; and so are its texts. The score is made of the cosines of these vectors, as
    ``fusion`` says, each weighted by the sum of its parts' absolute weights, unless the search gives the weights of
    models.

    Attributes:
        image: Pictures; ``Crop(picture, box)`` for one of which a part counts.
        text: Texts.
        item: Ids of items of the catalog, "more like this": an item is the mean of its references' vectors. It is not
            among the hits.
        vector: Vectors of shape (dim,), of any kind of number and any length above 0; or a dict with a vector of each
            model by its name.
    """

    image: ImageLike | Sequence[ImageLike | tuple[ImageLike, float]] | None = None
    text: str | Sequence[str | tuple[str, float]] | None = None
    item: Text | Sequence[Text | tuple[Text, float]] | None = None
    vector: ArrayLike | Mapping[str, ArrayLike] | Sequence[ArrayLike | tuple[ArrayLike, float]] | None = None

    @classmethod
    def parse(cls, line: str, *, files: bool = True) -> Query:
        """Returns the query that one line of text means, such as ``"2*bunny + pic.jpg - hat"``.

        Between its parts stand `` + ``, or `` - `` before one that hits should not be like. A part is words, ``item:``
        and the id of an item, or the path of a picture, perhaps with the box of the part that counts behind it:
        ``pic.jpg[0.1,0.2,0.8,0.9]`` (see :class:`Crop`). ``2*`` before it is its weight, 1 by default. Words in double
        quotes are taken as they are.

        >>> Query.parse('2*bunny + item:bear-1 - "hat - red"', files=False)
        Query(image=None, text=[('bunny', 2.0), ('hat - red', -1.0)], item=[('bear-1', 1.0)], vector=None)

        Args:
            line: The line.
            files: Whether a part that is the path of a file is the picture in it, and no words.

        Raises:
            ArgumentError: Nothing stands beside a sign, a weight is 0, a box makes no sense, or there is no part that
                hits should be like.
        """
        parts: dict[str, list[tuple[Any, float]]] = {"image": [], "text": [], "item": []}
        for sign, term in _terms(line):
            factor, thing = _TERM.fullmatch(term).groups()  # type: ignore[union-attr]
            weight = sign * float(factor or 1.0)
            if not thing or not weight:
                fault = f"the weight 0 for {_begin(thing)}" if thing else "nothing beside a sign"
                raise ArgumentError(
                    f"the query {_begin(line)} has {fault}: write words, a picture's path, or item:ID there"
                )
            if len(thing) > 2 and thing[0] == thing[-1] == '"':
                parts["text"].append((thing[1:-1], weight))
            elif thing.startswith("item:"):
                parts["item"].append((thing.removeprefix("item:").strip(), weight))
            else:
                picture = shown_in(thing) if files else thing
                path = picture.image if isinstance(picture, Crop) else picture
                is_file = files and os.path.isfile(expanded(path))
                parts["image" if is_file else "text"].append((picture if is_file else thing, weight))
        if all(weight < 0 for part in parts.values() for _, weight in part):
            raise ArgumentError(
                f"the query {_begin(line)} names only what hits should not be like: add what they should be"
            )
        return cls(**{name: part or None for name, part in parts.items()})

    def _row(self) -> _QueryRow:
        """The query as the core takes it."""
        return _weighted(self.image), _weighted(self.text), _weighted(self.item), _vectors(self.vector)


def hybrid(image: ImageLike, text: str, image_weight: float) -> Query:
    """A picture with this weight and a text with the rest of 1; at 1 the text counts for nothing, at 0 the picture.

    Raises:
        ArgumentError: ``image_weight`` is not between 0 and 1.
    """
    if not 0 <= image_weight <= 1:
        raise ArgumentError(f"image_weight must be between 0 and 1, got {image_weight}")
    # The rest of what 32 bits hold.
    weight = array("f", [image_weight])[0]
    return Query(
        image=[(image, weight)] if weight > 0 else None,
        text=[(text, 1 - weight)] if weight < 1 else None,
    )


def shown_in(text: str) -> str | Crop:
    """Returns the path of a picture, or the part of it that a box behind it names: ``pic.jpg[0.1,0.2,0.8,0.9]``.

    A file whose name ends like a box is itself, and so is a text before whose brackets there is no file.

    Raises:
        ArgumentError: The box makes no sense.
    """
    found = _BOX.fullmatch(text)
    if found is None or os.path.exists(expanded(text)) or not os.path.isfile(expanded(found[1])):
        return text
    try:
        box = [float(edge) for edge in found[2].split(",")]
    except ValueError:
        raise ArgumentError(f"{text!r}: write the box as [left,top,right,bottom], four numbers from 0 to 1") from None
    return Crop(found[1], box)


def listed(value: Any) -> Any:
    """Returns a column of a table (a Series of pandas or polars) as a list, and anything else as it is."""
    to_list = getattr(value, "to_list", None)
    return value if to_list is None else to_list()


def pictured(value: Any) -> tuple[list[Any], bool]:
    """Returns one picture or query, or many, as a list, and whether it was one."""
    value = listed(value)
    if isinstance(value, Query):
        return [value], True
    if isinstance(value, (list, tuple)) and any(isinstance(one, Query) for one in value):
        return list(value), False
    images, single = each_image(value)
    return [value] if single else images, single


#: A path with a box behind it.
_BOX = re.compile(r"(.+)\[([^\[\]]*)\]", re.DOTALL)
#: A quoted text, whose signs are its own, or a sign between two spaces or at the beginning.
_MARK = re.compile(r'"[^"]*"|(?:^|(?<=\s))[+-](?=\s)')
_TERM = re.compile(r"(?:(\d+(?:\.\d+)?|\.\d+)\s*\*)?\s*(.*)", re.DOTALL)


def _begin(text: str) -> str:
    """Returns a text as errors show it: whole, or how it begins."""
    return repr(text) if len(text) <= 200 else f"{text[:200]!r}..."


def _terms(line: str) -> list[tuple[float, str]]:
    """Returns the parts of a line, each with the sign before it."""
    terms, sign, begin = [], 1.0, 0
    line = line.strip() + " "
    for mark in _MARK.finditer(line):
        if mark[0] not in ("+", "-"):
            continue
        if mark.start():  # a sign at the beginning has nothing before it
            terms.append((sign, line[begin : mark.start()].strip()))
        sign, begin = -1.0 if mark[0] == "-" else 1.0, mark.end()
    return [*terms, (sign, line[begin:].strip())]


def _weighted(part: Any) -> list[tuple[Any, float]]:
    if part is None:
        return []
    part = listed(part)
    if isinstance(part, list) or (isinstance(part, tuple) and not _is_pair(part)):
        return [(one[0], float(one[1])) if _is_pair(one) else (one, 1.0) for one in part]
    return [(part[0], float(part[1]))] if _is_pair(part) else [(part, 1.0)]


def _vectors(part: Any) -> list[tuple[tuple[str | None, Any], float]]:
    """Each vector with the name of its model, and its weight."""
    part = listed(part)
    if isinstance(part, (list, tuple)) and part and isinstance(part[0], numbers.Real):
        part = [part]  # one vector in a list
        pairs = [(part[0], 1.0)]
    else:
        pairs = _weighted(part)
    vectors: list[tuple[tuple[str | None, Any], float]] = []
    for one, weight in pairs:
        named = one.items() if isinstance(one, Mapping) else [(None, one)]
        vectors += [((model, vector), weight) for model, vector in named]
    return vectors


def _is_pair(part: Any) -> bool:
    """Returns whether it is a thing with its weight."""
    return (
        isinstance(part, (list, tuple))
        and len(part) == 2
        and isinstance(part[1], numbers.Real)
        and (isinstance(part, tuple) or not isinstance(part[0], numbers.Real))
    )
