"""Methods of an engine that search and encode."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .. import _core
from .._core import ArgumentError
from ..query import DEFAULTS, Query, hybrid, listed
from ..results import Batch, Results, asked
from .adding import AddingMethods
from .opened import names_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from .._core import Hit, _QueryRow
    from .._core import _Image as ImageLike
    from .._core import _Texts as TextsLike
    from ..query import By, SearchOptions, Text


#: What is said of a text that no model has looked up.
NO_READER = "no model of this catalog reads texts: these hits were found by the items' own words"


class SearchMethods(AddingMethods):
    """Searches and encodes."""

    __slots__ = ()

    # Search. To a type checker a str is a sequence of str too: what is one query is asked first.

    @overload
    def search_image(  # type: ignore[overload-overlap]
        self, image: ImageLike, **options: Unpack[SearchOptions]
    ) -> Results: ...
    @overload
    def search_image(self, image: Sequence[ImageLike], **options: Unpack[SearchOptions]) -> list[Results]: ...
    def search_image(
        self, image: ImageLike | Sequence[ImageLike], **options: Unpack[SearchOptions]
    ) -> Results | list[Results]:
        """Returns the items whose references look most like ``image``, each with the reference that matched best.

        Args:
            image: A path, bytes, file object, PIL image, numpy array (HWC uint8, or float in 0..1); or a list of
                them, which is computed as one batch and gives a list.
            options: Those of :class:`SearchOptions`, as every search takes them: ``k``, ``where``, ``min_score``,
                ``models``, ``fusion``, ``aggregate``, ``temperature``, ``vectors`` and others.

        Raises:
            PictureError: The picture cannot be decoded.
            ArgumentError: k < 1, the filter cannot be read, or there is no such model.
            ModelError: The model sees no pictures.
        """
        image = listed(image)
        images, single = _core.each_image(image)
        shown = [image] if single else list(image) if isinstance(image, (list, tuple)) else [image] * len(images)
        rows: list[_QueryRow] = [([(one, 1.0)], [], [], []) for one in images]
        return self._search(single, rows, shown, options, self._sees)

    @overload
    def search_text(  # type: ignore[overload-overlap]
        self, text: str, **options: Unpack[SearchOptions]
    ) -> Results: ...
    @overload
    def search_text(self, text: TextsLike, **options: Unpack[SearchOptions]) -> list[Results]: ...
    def search_text(self, text: str | TextsLike, **options: Unpack[SearchOptions]) -> Results | list[Results]:
        """Returns the items whose references fit ``text`` best; a list of texts gives a list.

        ``options`` are those of :class:`SearchOptions`. The first model that reads texts looks it up by default. The
        words of the items' ids, labels and texts count, too, unless ``words=False``: items of which one is the whole
        text come first, and :attr:`Hit.matched` names the fields that have words of it. What the text denies ("without
        a hat") is no word to look for. If no model reads texts, words alone find items, with the score 0.

        Raises:
            ArgumentError: The text is empty or very long, k < 1, the filter cannot be read, or there is no such model.
            ModelError: No model reads texts, and ``words`` is false or ``models`` names one; the message says how to
                have one that does.
        """
        texts, single = _core.each_text(text)
        rows: list[_QueryRow] = [([], [(one, 1.0)], [], []) for one in texts]
        return self._search(single, rows, texts, options, self._reads)

    @overload
    def search_hybrid(  # type: ignore[overload-overlap]
        self, image: ImageLike, text: str, *, image_weight: float = 0.5, **options: Unpack[SearchOptions]
    ) -> Results: ...
    @overload
    def search_hybrid(
        self,
        image: Sequence[ImageLike],
        text: TextsLike,
        *,
        image_weight: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[Results]: ...
    def search_hybrid(
        self,
        image: ImageLike | Sequence[ImageLike],
        text: str | TextsLike,
        *,
        image_weight: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> Results | list[Results]:
        """Returns the items that look like ``image`` and fit ``text``.

        The text may ask for another thing than the one in the picture ("in blue"). A score is made of ``image_weight``
        of the picture's cosine and the rest of the text's, as ``fusion`` of :class:`SearchOptions` says; at 1 the text
        counts for nothing, at 0 the picture. With ``fusion="sum"`` and one model the query is one vector: that much of
        the picture's unit vector and the rest of the text's. Lists of pictures and texts of the same length give a
        list.
        ``options`` are those of :class:`SearchOptions`: with a name as ``models`` that model looks up both; with
        weights for several, each looks up what it can, and counts its weight.

        Raises:
            ArgumentError: ``image_weight`` is not between 0 and 1, or as in :meth:`search_image` and
                :meth:`search_text`.
        """
        images, single = _core.each_image(listed(image))
        texts, single_text = _core.each_text(text)
        if single != single_text or len(images) != len(texts):
            one, many = f"{len(images)} pictures", f"{len(texts)} texts"
            raise ArgumentError(
                "a hybrid search takes one picture and one text, or lists of the same length; got "
                f"{'one picture' if single else one} and {'one text' if single_text else many}"
            )
        queries = [hybrid(picture, words, image_weight) for picture, words in zip(images, texts, strict=True)]
        rows = [query._row() for query in queries]
        return self._search(single, rows, queries, options, self._asked(None, image=True, text=True), texts=texts)

    def search_vector(
        self, vector: ArrayLike | Mapping[str, ArrayLike], **options: Unpack[SearchOptions]
    ) -> Results | list[Results]:
        """Returns the items nearest to a vector of this engine's model: (dim,), or (n, dim) for a list of results.

        Numbers of any kind are taken, float16, float32 or float64, in an array or in lists, and rounded to float32.
        ``options`` are those of :class:`SearchOptions`. The vector is one of the first model, unless ``models`` names
        another. A dict with a vector of each of several models, by name, goes with a dict of their weights as
        ``models``; by default each counts as much.

        Raises:
            ArgumentError: The numbers or models do not fit, or a vector has NaN or no length.
        """
        rows: list[_QueryRow]
        if isinstance(vector, np.ndarray) and vector.ndim == 1 and vector.dtype.kind == "f":
            rows = [([], [], [], [((None, vector), 1.0)])]
            return self._search(True, rows, ["vector"], options, self._models[0])
        if not isinstance(vector, Mapping):
            array, single = _core.each_vector(vector, "vector")
            rows = [([], [], [], [((None, row), 1.0)]) for row in array]
            return self._search(single, rows, ["vector"] * len(rows), options, self._models[0])
        columns = {name: _core.each_vector(array, f"vector[{name!r}]") for name, array in vector.items()}
        lengths = {len(array) for array, _ in columns.values()}
        if len(lengths) > 1:
            raise ArgumentError(
                "each part of a search needs a vector and a weight for each query: the arrays differ in length"
            )
        rows = [
            ([], [], [], [((name, array[number]), 1.0) for name, (array, _) in columns.items()])
            for number in range(max(lengths, default=0))
        ]
        single = all(single for _, single in columns.values())
        return self._search(single, rows, ["vector"] * len(rows), options, " + ".join(columns))

    @overload
    def search(self, query: Query, **options: Unpack[SearchOptions]) -> Results: ...
    @overload
    def search(self, query: Sequence[Query], **options: Unpack[SearchOptions]) -> list[Results]: ...
    def search(self, query: Query | Sequence[Query], **options: Unpack[SearchOptions]) -> Results | list[Results]:
        """Returns the items nearest to a :class:`Query` of several weighted parts; a list gives a list.

        ``options`` are those of :class:`SearchOptions`: with a name as ``models`` that model looks up all parts; with
        weights for several, each looks up what it can, as one vector, and counts its weight.

        Raises:
            KeyError: There is no such item.
            ArgumentError: A query has no part, its parts cancel each other out, or as in the other searches.
        """
        single = isinstance(query, Query)
        queries: Sequence[Query] = [query] if isinstance(query, Query) else listed(query)
        rows = [one._row() for one in queries]
        usual = [
            self._asked(None, image=bool(images), text=bool(texts), first=bool(items or vectors))
            for images, texts, items, vectors in rows
        ]
        return self._search(single, rows, queries, options, *usual)

    def _search(
        self,
        single: bool,
        rows: list[_QueryRow],
        shown: Sequence[Any],
        options: SearchOptions,
        *usual: str | None,
        texts: Sequence[str] = (),
    ) -> Results | list[Results]:
        """Searches for queries that are ``shown`` so.

        ``usual`` has the models that look them up by default, for all of them or for each. ``texts`` has the text of
        each query, which it may weigh with 0; by default they are those in ``rows``.
        """
        whole: SearchOptions = {**DEFAULTS, **options}
        found, cursor, encoding, searching = self._core.search(rows, **whole)
        seconds = {"encode": encoding, "search": searching}
        where, models = options.get("where"), options.get("models")
        notes = []
        if texts or any(row[1] for row in rows):
            words = [[text] for text in texts] if texts else [[text for text, _ in row[1]] for row in rows]
            notes = self._unread(words, models, found)
        names = [names_of(models)] if models else usual
        if single and not notes and (found[0] or not where):
            return Results(
                found[0],
                query=shown[0],
                model=asked(found[0], names[0]),
                cursor=cursor,
                seconds=seconds,
                thumbnails=self.thumbnail,
            )
        keys = self._unknown_keys(where) if where and not all(found) else []
        results = [
            Results(
                hits,
                query=shown[number],
                model=asked(hits, names[number if len(names) > 1 else 0]),
                cursor=cursor,
                warnings=[*(notes[number] if notes else ()), *(keys if not hits else ())],
                seconds=seconds,
                thumbnails=self.thumbnail,
            )
            for number, hits in enumerate(found)
        ]
        return results[0] if single else Batch(results)

    def _unread(
        self, texts: Sequence[Sequence[str]], models: By | None, found: Sequence[Sequence[Hit]]
    ) -> list[list[str]]:
        """For each query, a warning for each of its texts of which no model knows a word. One for all is issued.

        Texts by whose words items were found need none.
        """
        if not models and self._reads is None:
            return [[NO_READER] if part else [] for part in texts]
        flat = [text for part in texts for text in part]
        unread = {text for text, bad in zip(flat, self._core.unreadable(flat, models=models), strict=True) if bad}
        if unread:
            pairs = zip(texts, found, strict=True)
            unread -= {text for part, hits in pairs if any(hit.matched for hit in hits) for text in part}
        if not unread:
            return [[] for _ in texts]
        name = names_of(models or self._reads)
        note = {text: f"{name} knows no word of {_beginning(text)}, so the hits do not depend on it" for text in unread}
        first = next(text for text in flat if text in unread)
        more = f", and of {len(unread) - 1} more" if len(unread) > 1 else ""
        warnings.warn(
            f"{name} knows no word of {_beginning(first)}{more}, so the hits do not depend on it; use words of its "
            "languages, which stats() tells, or a model that reads this one",
            _core.UnreadableTextWarning,
            stacklevel=4,
        )
        return [[note[text] for text in dict.fromkeys(part) if text in unread] for part in texts]

    def encode_images(self, images: Sequence[ImageLike], *, model: str | None = None) -> NDArray[np.float32]:
        """Unit vectors of pictures: float32 (n, dim), of the model that looks them up, or the one named."""
        return self._core.encode_images(listed(images), model=model)

    def encode_texts(self, texts: TextsLike, *, model: str | None = None) -> NDArray[np.float32]:
        """Unit vectors of texts: float32 (n, dim), of the model that looks them up, or the one named.

        Texts of which the model knows no word have one vector, and an :class:`UnreadableTextWarning` says so.
        """
        return self._core.encode_texts(texts, model=model)

    def vectors(self, id: Text, *, model: str | None = None) -> NDArray[np.float32]:
        """The stored unit vectors of an item's references, float32 (n, dim), of the first model or the one named.

        Raises:
            KeyError: There is no such item.
            ArgumentError: There is no such model.
        """
        return self._core.vectors(id, model=model)


def _beginning(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
