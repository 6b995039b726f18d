"""Errors of the server: their HTTP status, and their form as a problem (RFC 9457)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from .._core import ArgumentError, CatalogError, PictureError, PlushieError, UnknownItemError
from ..log import logger

#: Sent where the reason holds nothing for clients: a path, an address, or a fault of the server.
HIDDEN = "the server cannot answer this request; its log has the reason under this request id"


class Problem(Exception):
    """An answer that is an error.

    Attributes:
        status: The HTTP status.
        code: A word for the kind of error, which later versions keep.
        detail: The symptom and one cure.
        headers: More headers of the answer.
        extra: More members of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self, request_id: str) -> dict[str, Any]:
        """Returns the members of ``application/problem+json``, with ``"success": false``."""
        return {
            "type": f"urn:plushie-search:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "instance": request_id,
            "success": False,
            **self.extra,
        }


def bad(detail: str) -> Problem:
    """Returns the problem of a value that cannot be used."""
    return Problem(422, "argument", detail)


def problem_of(error: BaseException, request_id: str) -> Problem:
    """Returns the problem of an error. Errors of the server are logged, and their text is not sent."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UnknownItemError):
        return Problem(404, "unknown_item", _shown(error))
    if isinstance(error, PictureError):
        return Problem(422, error.code, _shown(error))
    if isinstance(error, ArgumentError):
        return Problem(422, "argument", _shown(error))
    if isinstance(error, CatalogError) and error.code == "busy":
        return Problem(503, "busy", "another process writes to the catalog: try again", headers={"Retry-After": "1"})
    if isinstance(error, CatalogError) and error.code == "disk_full":
        logger.error("request %s failed: %s", request_id, error)
        return Problem(507, "disk_full", "the disk of the server is full, and nothing was stored: free space there")
    if isinstance(error, MemoryError):
        return Problem(503, "memory", "the server lacks memory: try again later", headers={"Retry-After": "5"})
    if isinstance(error, PlushieError):
        logger.error("request %s failed: %s", request_id, error)
        return Problem(500, error.code, HIDDEN, extra={"item": error.item} if error.item else None)
    logger.error("request %s failed", request_id, exc_info=error)
    return Problem(500, "internal", HIDDEN)


def _shown(error: PlushieError) -> str:
    """Returns the text of an error with file names in place of paths."""
    text = str(error)
    return text.replace(error.path, os.path.basename(error.path)) if error.path else text
