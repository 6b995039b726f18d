"""`MilvusEngine`: a catalog in Milvus, with the methods of an engine."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from .. import _core
from .._core import ArgumentError, Hit
from ..answers.classify import learn_classes
from ..log import logger
from ..query import DEFAULTS, Query, SearchOptions, hybrid, listed, pictured
from ..results import Batch, Results, asked
from ..searcher import UnsupportedError
from .catalog import Catalog
from .examples import Examples
from .judging import LOOK, judged
from .looking import Find, Found
from .plan import plan, weights_of
from .schema import COLUMNS, LEVELS
from .store import MOST
from .terms import both

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from .._core import _Image as ImageLike
    from .._core import _Texts as TextsLike
    from ..answers.classes import Classification
    from ..query import By, Where

#: The options of searches that Milvus has no answer to, each with the way to do without.
CURES = {
    "after": "ask for a larger k",
    "mmr": "ask for more hits, and choose among their vectors=True",
    "query_crops": "give the parts as Crop in Query(image=[...])",
    "k_factor": "give nprobe or ef_search",
}


class MilvusEngine(Catalog):
    """A catalog in Milvus: Milvus Lite in a file, a server, or a cluster of any size.

    Pictures and texts are encoded here, and so are the scores of several models fused and references grouped by item;
    Milvus stores vectors and finds the nearest. With ``index="FLAT"`` hits and scores are those of
    :class:`plushie_search.Engine`, apart from the sixth digit. Engines may be shared between threads.

    It lacks thumbnails and originals, words of items beside vectors (``words=True``), pages of hits, a second
    look of ``identify``. Each raises :class:`UnsupportedError`, which names another way.

    Args:
        uri: A path that ends in ``.db`` for Milvus Lite, which one process at a time may open, or an address such as
            ``"http://localhost:19530"``.
        token: The token, or ``"user:password"``, if the server needs one.
        collection: The name of the collection; made if it does not exist. One of another program is refused.
        model: All that :class:`plushie_search.Engine` takes; by default the models that the collection was filled with,
            if their names say where they are, or ``"plushie-mini"`` for a new one.
        dim: The dimension of the vectors of a collection without a model, which takes vectors alone.
        index: The index of Milvus for a new collection: its name, such as ``"FLAT"``, ``"HNSW"`` or ``"DISKANN"``, or a
            dict of ``index_type`` and its parameters. By default ``"FLAT"`` in Milvus Lite and ``"AUTOINDEX"`` on a
            server.
        consistency: The consistency level of a new collection: ``"Strong"``, the default, by which a search sees all
            that was stored before, ``"Session"``, ``"Bounded"`` or ``"Eventually"``.
        threads: The most threads that encode; all cores by default.
        timeout: How long a call of Milvus may take with its repetitions, in seconds. A call is repeated with growing
            pauses while a server is away or busy.
        create: Whether to make the collection if there is none.

    Raises:
        CatalogError: Milvus does not answer, there is no collection and ``create`` is false, or it was made by another
            program or with other models.
        ModelError: A model cannot be used, or the collection does not tell where its own is.
        ArgumentError: There is no model of that name, or both a model and ``dim`` are given.
    """

    # Searches

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

    # Which one is it?

    def identify(
        self,
        image: ImageLike | Query | Sequence[ImageLike | Query],
        /,
        *,
        target_fpr: float = 0.01,
        prior: float = 0.5,
        k: int = 5,
        where: Where | None = None,
        models: By | None = None,
    ) -> Any:
        """Says which item a picture shows, that it may be one of several, or that it shows none.

        Probabilities and thresholds are those of ``Engine.identify`` without a second look, calibrated on a sample of
        about 20,000 references, or all if there are fewer. The first call calibrates, and the first after a fifth of
        the references have come or gone.

        Raises:
            PictureError: A picture cannot be decoded.
            ArgumentError: A share is not above 0 and below 1, k < 1, or a query has items, vectors or negative weights.
            UnsupportedError: A query has a text.
        """
        for name, share in (("target_fpr", target_fpr), ("prior", prior)):
            if not 0 < share < 1:
                raise ArgumentError(f"{name} {share}: give a share above 0 and below 1")
        if k < 1:
            raise ArgumentError("k must be at least 1")
        images, single = pictured(image)
        if not images:
            return []
        rows = [one._row() if isinstance(one, Query) else ([(one, 1.0)], [], [], []) for one in images]
        for pictures, texts, *rest in rows:
            if texts:
                raise UnsupportedError(
                    "a catalog in Milvus is calibrated for pictures alone: give pictures, or use an Engine"
                )
            if any(rest) or any(weight < 0 for _, weight in pictures):
                raise ArgumentError(
                    "a query with items, vectors or negative weights cannot be calibrated: give pictures or texts"
                )
        whole: SearchOptions = {**DEFAULTS, "fusion": "sum", "models": models}
        plans = self._planned(rows, whole)
        weights = weights_of(self._stage.core, models) or None
        fit = self._judging.fit(weights, self._store.count())
        expression = self._where(where)
        find = Find(k=max(LOOK, k), where=expression, fusion="sum")
        found = self._looking.find(plans, find)
        crowds = self._looking.find(plans, Find(k=LOOK, fusion="sum")) if expression else found
        gallery = self._store.count(both("head == true", expression))
        answers = []
        for number, (some, crowd) in enumerate(zip(found, crowds, strict=True)):

            def results(best: Sequence[Found], probabilities: Sequence[float], number: int = number) -> Results:
                hits = self._hits(best, probabilities)
                return Results(hits, query=images[number], model=asked(hits, self.image_model))

            answers.append(
                judged(fit, some, crowd, gallery=gallery, target_fpr=target_fpr, prior=prior, k=k, results=results)
            )
        return answers[0] if single else answers

    def classify(
        self,
        image: ImageLike | Sequence[ImageLike],
        labels: Sequence[str] | None = None,
        *,
        by: Literal["auto", "images", "texts"] = "auto",
        where: Where | None = None,
        model: str | None = None,
        expand: bool | Sequence[str] = True,
    ) -> Classification | list[Classification]:
        """Tells which class a picture is of; see ``Engine.classify``. All references that fit ``where`` are read.

        Raises:
            PictureError: A picture cannot be decoded.
            ArgumentError: There are no two classes, or a class has neither examples nor a name that a model can read.
        """
        images, single = _core.each_image(listed(image))
        self._where(where)
        core = cast("_core.Engine", Examples(self._stage.core, self._store, self._spaces))
        learned = learn_classes(core, labels, by=by, where=where, model=model, expand=expand)
        answers = learned.classify(core, images)
        return answers[0] if single else answers

    # Vectors

    def encode_images(
        self, images: ImageLike | Sequence[ImageLike], *, model: str | None = None
    ) -> NDArray[np.float32]:
        """Returns the unit vectors of pictures: float32 (n, dim)."""
        return self._stage.core.encode_images(images, model=model)

    def encode_texts(self, texts: str | TextsLike, *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of texts: float32 (n, dim)."""
        return self._stage.core.encode_texts(texts, model=model)

    # The engine itself

    def stats(self) -> dict[str, Any]:
        """Returns counts, the models and what is known of the collection, as a dict.

        ``items`` and ``references`` are counts, ``models`` has a dict for each model as in ``Engine.stats``, ``index``
        is the name of Milvus's index, and ``consistency`` the level of the collection.
        """
        client = self._store.client
        told = self._store.call(client.describe_collection, self._collection)
        field = next(iter(self._spaces.values())).field
        index = self._store.call(client.describe_index, self._collection, index_name=field) or {}
        level = told.get("consistency_level")
        stats = self._stage.core.stats()
        names = ("models", "model", "version", "fingerprint", "dimension", "languages", "cache")
        return {
            "path": self.path,
            "items": self.count(),
            "references": self._store.count(),
            **{name: stats[name] for name in names if name in stats},
            "image_model": self.image_model,
            "text_model": self.text_model,
            "index": index.get("index_type"),
            "consistency": LEVELS[level] if isinstance(level, int) else level,
            "calibration": [],
        }

    def reindex(self, index: str | Mapping[str, Any]) -> None:
        """Moves all references to a new collection with another index, and lets the name stand for that.

        Searches go on meanwhile. What is added meanwhile, here or elsewhere, is not moved: add it afterwards. The name
        becomes an alias of the new collection at once, and the old one is removed.

        Args:
            index: The index, as :class:`MilvusEngine` takes it.

        Raises:
            CatalogError: Milvus does not answer or refuses. Then the old collection stays.
        """
        client, call = self._store.client, self._store.call
        told = call(client.describe_collection, self._collection)
        levels = told.get("consistency_level")
        new = self._make(self._all, index, LEVELS[levels] if isinstance(levels, int) else "Strong")
        try:
            self._store.copy(new, [*COLUMNS, *(space.field for space in self._all)])
            call(client.load_collection, new)
            call(client.alter_alias, new, self._collection)
        except BaseException:
            call(client.drop_collection, new)
            raise
        call(client.drop_collection, told["collection_name"])
        logger.info("reindexed %s", self.path)

    def __enter__(self) -> MilvusEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a MilvusEngine cannot be pickled or copied: open the collection again by its address")

    def __repr__(self) -> str:
        return f"<MilvusEngine {self.path} model={', '.join(self.models)}>"


def _effort(whole: SearchOptions) -> dict[str, Any]:
    """Returns the parameters of Milvus's index."""
    given = {"nprobe": whole["nprobe"], "ef": whole["ef_search"]}
    return {name: value for name, value in given.items() if value is not None}
