"""Items of a catalog as the retrievers of other programs give them."""

from __future__ import annotations

from typing import Any

from .._core import Hit
from ..query import Query


def found(
    engine: Any, query: str, k: int, where: dict[str, Any] | None, *, pictures: bool
) -> list[tuple[Hit, dict[str, Any]]]:
    """Returns the hits of a query, each with the metadata of its item and what is known of the hit."""
    asked = Query.parse(query) if pictures else Query(text=query)
    return [
        (
            hit,
            {
                **hit.metadata,
                "item": hit.item,
                "score": hit.score,
                **({} if hit.label is None else {"label": hit.label}),
                "reference": hit.reference,
            },
        )
        for hit in engine.search(asked, k=k, where=where)
    ]


def words_of(hit: Hit) -> str:
    """Returns an item's text, or else its label or id."""
    return hit.text or hit.label or hit.item
