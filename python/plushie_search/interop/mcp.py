"""A server of the Model Context Protocol, by which language models search a catalog."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from .._core import ArgumentError, PlushieError
from ..query import Query

#: The most items of one answer.
MOST = 50


def make_server(engine: Any, *, changes: bool = False, name: str = "plushie_search") -> MCPServer:
    """Returns a server with the tools ``search``, ``identify`` and ``get``, and ``add`` if ``changes``.

    Pictures are given by their paths on this machine. Answers are JSON.

    Args:
        engine: An :class:`plushie_search.Engine`, or another catalog with its methods.
        changes: Whether items may be added.
        name: The name of the server.
    """
    server = MCPServer(name)
    tools: list[Callable[..., Any]] = [_search(engine), _identify(engine), _get(engine)]
    for tool in [*tools, *([_add(engine)] if changes else [])]:
        server.tool()(_told(tool))
    return server


def _told(work: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a tool whose errors are told to its caller."""

    @functools.wraps(work)
    def tool(*given: Any, **options: Any) -> Any:
        try:
            return work(*given, **options)
        except (PlushieError, OSError) as error:
            raise ToolError(str(error.args[0] if error.args else error)) from error

    return tool


def _search(engine: Any) -> Callable[..., Any]:
    def search(
        text: str | None = None,
        image: str | None = None,
        like_item: str | None = None,
        k: int = 5,
        where: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Find items by a text, by the path of a picture, by being like an item, or by several of these together.

        where narrows to items that fit, such as {"label": "bear", "price": {"$lt": 20}}. Each answer has the item's id,
        score (a cosine), label, text, metadata and the name of the picture that matched.
        """
        query = Query(text=text or None, image=_path(image), item=like_item or None)
        hits = engine.search(query, k=_count(k), where=where or None)
        return [_shown(hit.to_dict()) for hit in hits]

    return search


def _identify(engine: Any) -> Callable[..., Any]:
    def identify(image: str, k: int = 3) -> dict[str, Any]:
        """Say which item the picture at a path shows: verdict "match", "ambiguous" or "unknown", with a probability."""
        found = engine.identify(_path(image), k=_count(k)).to_dict()
        return {**found, "hits": [_shown(hit) for hit in found["hits"]]}

    return identify


def _get(engine: Any) -> Callable[..., Any]:
    def get(id: str) -> dict[str, Any]:
        """Get an item by its id: label, text, metadata and the names of its pictures."""
        item: dict[str, Any] = engine.get(id).to_dict()
        return item

    return get


def _add(engine: Any) -> Callable[..., Any]:
    def add(
        id: str,
        images: list[str],
        label: str | None = None,
        text: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, int]:
        """Add an item with the pictures at these paths, or add pictures to an item that is there."""
        paths = [_path(image) for image in images]
        return vars(engine.add(id, images=paths, label=label, text=text, metadata=metadata))

    return add


def _path(image: str | None) -> str | None:
    if image and not os.path.isfile(image):
        raise ArgumentError(f"there is no file {image!r}: give the path of a picture on the machine of this server")
    return image or None


def _count(k: int) -> int:
    return max(1, min(k, MOST))


def _shown(hit: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in hit.items() if name not in ("digest", "scores", "view") and value is not None
    }
