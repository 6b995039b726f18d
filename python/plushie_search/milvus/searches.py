"""The searches of a collection."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import _core
from .._core import ArgumentError, Hit
from ..query import DEFAULTS, Query, SearchOptions, hybrid, listed
from ..results import Batch, Results, asked
from ..searcher import UnsupportedError
from .adding import AddingMethods
from .looking import Find, Found
from .plan import plan
from .store import MOST

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from .._core import _Image as ImageLike
    from .._core import _Texts as TextsLike
    from ..query import By

#: The options of searches that Milvus has no answer to, each with the way to do without.
CURES = {
    "after": "ask for a larger k",
    "mmr": "ask for more hits, and choose among their vectors=True",
    "query_crops": "give the parts as Crop in Query(image=[...])",
    "k_factor": "give nprobe or ef_search",
}


class SearchMethods(AddingMethods):
    """Finds items."""

    @property
    def image_model(self) -> str | None:
        """The name of the first model that sees pictures, which looks them up by default; None if none does."""
        return self._stage.core.image_model

    @property
    def text_model(self) -> str | None:
        """The name of the first model that reads texts, which looks them up by default; None if none does."""
        return self._stage.core.text_model

    def search_image(self, image: ImageLike | Sequence[ImageLike], /, **options: Unpack[SearchOptions]) -> Any:
        """Returns the items that look most like a picture; a list of pictures gives a list.

        See ``Engine.search_image``.

        Raises:
            PictureError: A picture cannot be decoded.
            ArgumentError: k is not from 1 to 16,384, the filter cannot be read, or there is no such model.
            UnsupportedError: An option is one that Milvus has no answer to.
            CatalogError: Milvus does not answer.
        """
        image = listed(image)
        images, single = _core.each_image(image)
        queries = [image] if single else list(image) if isinstance(image, (list, tuple)) else images
        return self._search([([(one, 1.0)], [], [], []) for one in images], queries, single, options, self.image_model)

    def search_text(self, text: str | TextsLike, /, **options: Unpack[SearchOptions]) -> Any:
        """Returns the items that fit a text best, by vectors alone; a list of texts gives a list.

        Raises:
            ArgumentError, UnsupportedError, CatalogError: As :meth:`search_image`.
            ModelError: No model reads texts.
        """
        texts, single = _core.each_text(text)
        return self._search([([], [(one, 1.0)], [], []) for one in texts], texts, single, options, self.text_model)

    def search_hybrid(
        self,
        image: ImageLike | Sequence[ImageLike],
        text: str | TextsLike,
        *,
        image_weight: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> Any:
        """Returns the items that look like a picture and fit a text. See ``Engine.search_hybrid``.

        Raises:
            ArgumentError: ``image_weight`` is not between 0 and 1, or as in :meth:`search_image`.
        """
        images, single = _core.each_image(listed(image))
        texts, one_text = _core.each_text(text)
        if single != one_text or len(images) != len(texts):
            raise ArgumentError("a hybrid search takes one picture and one text, or lists of the same length")
        queries = [hybrid(picture, words, image_weight) for picture, words in zip(images, texts, strict=True)]
        return self.search(queries[0] if single else queries, **options)

    def search_vector(self, vector: ArrayLike | Mapping[str, ArrayLike], /, **options: Unpack[SearchOptions]) -> Any:
        """Returns the items nearest to a vector of shape (dim,); (n, dim) gives a list. See ``Engine.search_vector``.

        Raises:
            ArgumentError: The numbers or models do not fit, or a vector has NaN or no length.
        """
        parts: dict[str | None, Any] = {None: vector}
        if isinstance(vector, Mapping):
            parts = dict(vector.items())
        columns = {name: _core.each_vector(part, "vector") for name, part in parts.items()}
        if len({len(array) for array, _ in columns.values()}) > 1:
            raise ArgumentError("each model needs a vector for each query: the arrays differ in length")
        count = max((len(array) for array, _ in columns.values()), default=0)
        rows: list[Any] = [
            ([], [], [], [((name, array[at]), 1.0) for name, (array, _) in columns.items()]) for at in range(count)
        ]
        single = all(one for _, one in columns.values())
        return self._search(rows, ["vector"] * count, single, options, self.models[0])

    def search(self, query: Query | Sequence[Query], **options: Unpack[SearchOptions]) -> Any:
        """Returns the items nearest to a query of several weighted parts; a list gives a list. See ``Engine.search``.

        Raises:
            KeyError: There is no such item.
            ArgumentError: A query has no part, its parts cancel each other out, or as in :meth:`search_image`.
        """
        single = isinstance(query, Query)
        queries: Sequence[Query] = [query] if isinstance(query, Query) else list(listed(query))
        return self._search([one._row() for one in queries], queries, single, options, None)

    def _search(
        self, rows: Sequence[Any], queries: Sequence[Any], single: bool, options: SearchOptions, usual: str | None
    ) -> Results | list[Results]:
        whole = self._options(options)
        usual_weights = self._judging.usual
        is_weighed = whole["models"] is None and whole["fusion"] in ("weighted", "sum")
        if usual_weights and is_weighed and not any(any(row[1:]) for row in rows):
            whole = {**whole, "models": usual_weights, "fusion": "sum"}
        began = time.perf_counter()
        plans = self._planned(rows, whole)
        encoded = time.perf_counter()
        excluded = whole["exclude"]
        several = [excluded] if isinstance(excluded, str) or not isinstance(excluded, Iterable) else list(excluded)
        left_out = [{self._spelled(id) for id in several if id is not None} for _ in rows]
        for ids, row in zip(left_out, rows, strict=True):
            ids.update(self._spelled(id) for id, _ in row[2])
        find = Find(
            k=min(MOST, whole["k"] + max(map(len, left_out), default=0)),
            where=self._where(whole["where"]),
            fusion=whole["fusion"],
            rrf_k=whole["rrf_k"],
            aggregate=whole["aggregate"],
            temperature=whole["temperature"],
            min_score=whole["min_score"],
            effort=_effort(whole),
            vectors=whole["vectors"],
        )
        found = self._looking.find(plans, find)
        seconds = {"encode": encoded - began, "search": time.perf_counter() - encoded}
        notes = self._unread([[text for text, _ in row[1]] for row in rows], whole["models"])
        results = []
        for number, (some, ids) in enumerate(zip(found, left_out, strict=True)):
            kept = [one for one in some if one.row["item"] not in ids][: whole["k"]]
            hits = self._hits(kept, vectors=find.vectors)
            name = asked(hits, usual or " + ".join(dict.fromkeys(part.model for part in plans[number])))
            results.append(Results(hits, query=queries[number], model=name, warnings=notes[number], seconds=seconds))
        return results[0] if single else Batch(results)

    def _planned(self, rows: Sequence[Any], whole: SearchOptions) -> Any:
        def mean(id: Any, model: str) -> NDArray[np.float32]:
            return cast("NDArray[np.float32]", self.vectors(id, model=model).mean(axis=0, dtype=np.float64))

        apart = whole["fusion"] != "sum"
        return plan(self._stage.core, rows, whole["models"], apart=apart, expand=whole["expand"], mean=mean)

    def _options(self, options: SearchOptions) -> SearchOptions:
        """Returns all options of a search, checked.

        Raises:
            ArgumentError: One is unknown or makes no sense.
            UnsupportedError: Milvus has no answer to one.
        """
        if unknown := set(options) - set(DEFAULTS):
            raise ArgumentError(f"there is no option {min(unknown)!r}: a search takes {', '.join(DEFAULTS)}")
        for name, cure in CURES.items():
            if options.get(name) not in (None, False):
                raise UnsupportedError(f"a catalog in Milvus has no {name}: {cure}, or use an Engine")
        if options.get("words"):
            raise UnsupportedError("a catalog in Milvus finds by vectors alone: leave words out, or narrow by where=")
        whole: SearchOptions = {**DEFAULTS, **options}
        for name, known in (("fusion", ("weighted", "sum", "rrf", "dbsf")), ("aggregate", ("max", "mean", "softmax"))):
            if whole[name] not in known:  # type: ignore[literal-required]
                raise ArgumentError(f"{name} {whole[name]!r}: give one of {', '.join(known)}")  # type: ignore[literal-required]
        for name, least in (("k", 1), ("nprobe", 1), ("ef_search", 1), ("rrf_k", 0)):
            value = whole[name]  # type: ignore[literal-required]
            if value is not None and not value >= least:
                raise ArgumentError(f"{name} {value}: give {least} or more")
        if whole["k"] > MOST:
            raise ArgumentError(f"k {whole['k']}: Milvus finds at most {MOST:,}: narrow the search by where=")
        if not (whole["temperature"] > 0 and np.isfinite(whole["temperature"])):
            raise ArgumentError(f"temperature {whole['temperature']}: give a number above 0")
        return whole

    def _hits(self, found: Sequence[Found], probabilities: Sequence[float] = (), *, vectors: bool = False) -> list[Hit]:
        fields = {name: space.field for name, space in self._spaces.items()}
        hits = []
        for place, one in enumerate(found):
            row = one.row
            own = {name: np.array(row[fields[name]], np.float32) for name in one.scores} if vectors else None
            hits.append(
                Hit(
                    place + 1,
                    row["item"],
                    one.score,
                    reference=row["name"],
                    digest=row["digest"],
                    view=row["view"] or None,
                    label=row["label"],
                    text=row["text"],
                    metadata=dict(row["metadata"] or {}),
                    scores=one.scores,
                    probability=probabilities[place] if probabilities else None,
                    vectors=own,
                )
            )
        return hits

    def _unread(self, texts: Sequence[Sequence[str]], models: By | None) -> list[list[str]]:
        """Returns a warning for each text of which no model knows a word, and issues one for all."""
        flat = [text for some in texts for text in some]
        if not flat:
            return [[] for _ in texts]
        unread = {text for text, bad in zip(flat, self._stage.core.unreadable(flat, models=models), strict=True) if bad}
        note = "no model knows a word of {!r}, so the hits do not depend on it"
        if unread:
            warnings.warn(f"{note.format(min(unread))}; use other words", _core.UnreadableTextWarning, stacklevel=4)
        return [[note.format(text) for text in dict.fromkeys(some) if text in unread] for some in texts]

    def encode_images(
        self, images: ImageLike | Sequence[ImageLike], *, model: str | None = None
    ) -> NDArray[np.float32]:
        """Returns the unit vectors of pictures: float32 (n, dim)."""
        return self._stage.core.encode_images(images, model=model)

    def encode_texts(self, texts: str | TextsLike, *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of texts: float32 (n, dim)."""
        return self._stage.core.encode_texts(texts, model=model)


def _effort(whole: SearchOptions) -> dict[str, Any]:
    """Returns the parameters of Milvus's index."""
    given = {"nprobe": whole["nprobe"], "ef": whole["ef_search"]}
    return {name: value for name, value in given.items() if value is not None}
