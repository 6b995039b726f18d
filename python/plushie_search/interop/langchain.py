"""A retriever of LangChain over a catalog."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from .retrieving import found, words_of


class CatalogRetriever(BaseRetriever):
    """Retrieves items of a catalog as documents.

    The page content is the item's text, or else its label or id; the metadata has the item's, and ``item``, ``score``,
    ``label`` and ``reference``. A query is a text, or as :meth:`plushie_search.Query.parse` reads it:
    ``"photo.jpg + red scarf"``.

    Attributes:
        engine: An :class:`plushie_search.Engine`, or another catalog with its methods.
        k: How many items.
        where: Only items that fit this filter.
        pictures: Whether parts of a query that are paths of files are pictures; do not set it for strangers' queries.
    """

    engine: Any
    k: int = 5
    where: dict[str, Any] | None = None
    pictures: bool = False

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        hits = found(self.engine, query, self.k, self.where, pictures=self.pictures)
        return [Document(page_content=words_of(hit), metadata=facts, id=hit.item) for hit, facts in hits]
