"""A retriever of LlamaIndex over a catalog."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from .retrieving import found, words_of


class CatalogRetriever(BaseRetriever):
    """Retrieves items of a catalog as nodes with their scores.

    The text of a node is the item's text, or else its label or id; the metadata has the item's, and ``item``,
    ``score``, ``label`` and ``reference``.

    Args:
        engine: An :class:`plushie_search.Engine`, or another catalog with its methods.
        k: How many items.
        where: Only items that fit this filter.
        pictures: Whether parts of a query that are paths of files are pictures; do not set it for strangers' queries.
    """

    def __init__(self, engine: Any, *, k: int = 5, where: dict[str, Any] | None = None, pictures: bool = False) -> None:
        super().__init__()
        self._engine, self._k, self._where, self._pictures = engine, k, where, pictures

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = found(self._engine, query_bundle.query_str, self._k, self._where, pictures=self._pictures)
        return [
            NodeWithScore(node=TextNode(text=words_of(hit), id_=hit.item, metadata=facts), score=hit.score)
            for hit, facts in hits
        ]
