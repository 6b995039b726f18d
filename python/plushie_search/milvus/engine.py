"""`MilvusEngine`: a catalog in Milvus, with the methods of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..evaluate.result import Evaluation
from ..evaluate.run import evaluate
from ..log import logger
from ..show.progress import shown
from .absent import AbsentMethods
from .identify import IdentifyMethods
from .schema import COLUMNS, LEVELS

if TYPE_CHECKING:
    from ..searcher import Progress


class MilvusEngine(IdentifyMethods, AbsentMethods):
    """A catalog in Milvus: Milvus Lite in a file, a server, or a cluster of any size.

    Pictures and texts are encoded here, and so are the scores of several models fused and references grouped by item;
    Milvus stores vectors and finds the nearest. With ``index="FLAT"`` hits and scores are those of
    :class:`plushie_search.Engine`, apart from the sixth digit. Engines may be shared between threads.

    It lacks thumbnails and originals, words of items beside vectors (``words=True``), pages of hits, calibrations of
    texts, a second look of ``identify``, and the methods that need pictures or all vectors at hand. Each raises
    :class:`UnsupportedError`, which names another way.

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
        ArgumentError: There is no model of that name, both a model and ``dim`` are given, ``dim`` is not from 1 to
            32,768, or the path or the name of the collection cannot be one.
    """

    def stats(self) -> dict[str, Any]:
        """Returns counts, the models and what is known of the collection, as a dict.

        ``items`` and ``references`` are counts, ``models`` has a dict for each model as in ``Engine.stats``, ``index``
        is the name of Milvus's index, ``consistency`` the level of the collection, and ``calibration`` has the figures
        of each calibration that was asked for.
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
            "calibration": self._judging.stats(),
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

    def evaluate(self, queries: Any = None, *, progress: Progress | None = None, **options: Any) -> Evaluation:
        """Asks for items that are known, and says how often they are found. See ``Engine.evaluate`` for all options.

        Raises:
            ArgumentError, OSError: As ``Engine.evaluate``.
            CatalogError: Milvus does not answer.
        """
        with shown(progress, "evaluating") as told:
            return evaluate(self, queries, progress=told, **options)

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
