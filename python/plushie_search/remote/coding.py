"""Writes queries and pictures as JSON, and reads hits, items and errors from it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import numpy as np

from .. import _core
from .._core import ArgumentError, CatalogError, Crop, Hit, PictureError, UnknownItemError
from ..paths import expanded
from ..query import Query
from ..results import Item, Reference

if TYPE_CHECKING:
    from ..query import Text

#: The classes of problems by their codes.
ERRORS: dict[str, type[Exception]] = {
    "argument": ArgumentError,
    "unknown_item": UnknownItemError,
    "picture": PictureError,
    "mesh": PictureError,
    "json": ArgumentError,
    "form": ArgumentError,
    "too_large": ArgumentError,
}


def error_of(answer: httpx.Response, url: str) -> Exception:
    """Returns the error that an answer tells."""
    try:
        problem = answer.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return CatalogError(f"server {url} answers with status {answer.status_code}: is it plushie-search serve?")
    if code == "unknown_catalog":
        return ArgumentError(detail)
    kind = ERRORS.get(code)
    return CatalogError(f"server {url}: {detail}") if kind is None else kind(detail)


def seconds_of(text: str | None) -> float:
    """Returns how long to wait before a request is sent again."""
    return max(0.1, float(text)) if text is not None and text.isdigit() else 1.0


def path_of(id: Text) -> str:
    text = id if isinstance(id, str) else str(id.__index__())
    return f"/items/{quote(text.encode('utf-8', 'surrogateescape'), safe='')}"


def item_of(row: Mapping[str, Any]) -> Item:
    references = tuple(Reference(one["name"], one["digest"], one.get("view")) for one in row["references"])
    return Item(row["id"], row["label"], row["text"], row["metadata"], references)


def hit_of(row: Mapping[str, Any]) -> Hit:
    reference = row["reference"]
    return Hit(
        row["rank"],
        row["item"],
        row["score"],
        reference=reference["name"],
        digest=reference["digest"],
        view=reference.get("view"),
        label=row["label"],
        text=row["text"],
        metadata=row["metadata"],
        scores=row["scores"],
        probability=row["probability"],
        matched=row["matched"],
    )


def coded(query: Query) -> dict[str, Any]:
    """Returns a query as the server takes it."""
    images, texts, items, vectors = query._row()
    found: dict[str, Any] = {}
    if images:
        found["image"] = [[base64_of(image), weight] for image, weight in images]
        found |= crop_of([image for image, _ in images])
    if texts:
        found["text"] = [list(pair) for pair in texts]
    if items:
        found["item"] = [[str(id), weight] for id, weight in items]
    if vectors:
        if len({weight for _, weight in vectors}) > 1 or len({model for (model, _), _ in vectors}) < len(vectors):
            raise ArgumentError(
                "a search on a server takes one vector of each model: add them up, or search with an Engine"
            )
        rows = {model: np.asarray(vector, np.float32).tolist() for (model, vector), _ in vectors}
        found["vector"] = rows.get(None, rows)
    return found


def crop_of(images: Sequence[Any]) -> dict[str, Any]:
    """Returns the boxes of the parts that count, by their key; nothing if all pictures are whole."""
    boxes = [list(image.box) if isinstance(image, Crop) else None for image in images]
    return {"crop": boxes} if any(boxes) else {}


def base64_of(image: Any) -> str:
    return base64.b64encode(file_of(image)).decode()


def file_of(image: Any) -> bytes:
    """Returns a picture as a file; of a part the whole picture."""
    if isinstance(image, Crop):
        image = image.image
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        with open(expanded(image), "rb") as file:
            return file.read()
    if hasattr(image, "read"):
        data: bytes = image.read()
        return data
    return _core.picture_file(image)[1]


def name_of(image: Any) -> str:
    image = image.image if isinstance(image, Crop) else image
    return os.path.basename(os.fspath(image)) if isinstance(image, (str, os.PathLike)) else "picture"
