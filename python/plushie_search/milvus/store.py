"""All calls of Milvus, within its limits; its errors become those of a catalog."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from grpc import RpcError
from numpy.typing import NDArray
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from .._core import CatalogError
from ..log import logger
from .schema import Space
from .terms import among

#: The most rows or vectors of a request, and the most results of a search, that a cluster answers.
MOST = 16_384
#: The most bytes of a request: a cluster takes 64 MB, and a busy one answers smaller ones in time.
BYTES = 8_000_000
#: Values of one list in an expression.
LISTED = 4000
#: New rows that Milvus Lite searches one by one, before it is told to order them.
NEW = 100
#: Rows of one batch that is read.
READ = 1000

#: Each call has a time limit of its own. A server may refuse pings between calls, as Milvus Lite does, and a connection
#: that failed is not shared with those that come after.
CHANNEL = {
    "grpc.keepalive_time_ms": 2**31 - 1,
    "grpc.keepalive_permit_without_calls": False,
    "grpc.use_local_subchannel_pool": 1,
}

Row = dict[str, Any]
T = TypeVar("T")


def _is_news(record: logging.LogRecord) -> bool:
    """Returns whether a message of gRPC is more than that Milvus Lite lacks a call."""
    return "Method not implemented" not in record.getMessage()


class Store:
    """One collection.

    Args:
        uri: A file that ends in ``.db`` (Milvus Lite), or the address of a server.
        name: The collection.
        timeout: How long a call may take with all its repetitions, in seconds.
        connect: Further arguments of pymilvus.

    Raises:
        CatalogError: Milvus does not answer.
    """

    def __init__(self, uri: str, name: str, *, timeout: float, **connect: Any) -> None:
        self.uri, self.name, self._timeout = uri, name, timeout
        #: Whether this process has the database itself, in which new rows are searched slowly until they are flushed.
        self.is_lite = not re.match(r"[a-z]+://", uri)
        # Another process may have left some.
        self._unsettled = NEW
        # It logs what it raises, and Milvus Lite each call that it has not and needs not.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        if self.is_lite:
            logging.getLogger("grpc._server").addFilter(_is_news)
        self.client: MilvusClient = self.call(MilvusClient, uri, timeout=timeout, grpc_options=CHANNEL, **connect)

    def call(self, work: Callable[..., T], *args: Any, **how: Any) -> T:
        """Calls Milvus, which repeats a call with growing pauses while a server is away or busy.

        Raises:
            CatalogError: It does not answer, or refuses.
        """
        try:
            return work(*args, **{"timeout": self._timeout, **how})
        except (MilvusException, RpcError, OSError, RuntimeError) as error:
            told = error.details() if isinstance(error, RpcError) else getattr(error, "message", "")
            text = str(told or error).strip()
            if "Open local milvus failed" in text or "lock" in text.lower():
                cure = "another process has it open: close it there, or run a server"
            elif re.search(r"deadline", text, re.IGNORECASE):
                cure = "give it more seconds by timeout=, or start a larger server, and try again"
            elif re.search(r"connect|unavailable|timeout|closed channel", text, re.IGNORECASE):
                cure = "start the server, or correct uri= and token=, and try again"
            else:
                cure = "correct that and try again"
            raise CatalogError(f"milvus {self.uri}: {text[:400]}; {cure}") from error

    def exists(self) -> bool:
        """Returns whether there is the collection."""
        return bool(self.call(self.client.has_collection, self.name))

    def search(
        self,
        space: Space,
        vectors: NDArray[np.float32],
        limit: int,
        where: str,
        fields: Sequence[str],
        effort: Mapping[str, Any],
    ) -> list[list[tuple[float, Row]]]:
        """Returns the best rows of each query with their cosines, best first."""
        self._settle()
        found: list[list[tuple[float, Row]]] = []
        size = max(1, min(MOST, BYTES // (4 * space.dimension), 200_000 // limit))
        for start in range(0, len(vectors), size):
            answer = self.call(
                self.client.search,
                self.name,
                data=list(vectors[start : start + size]),
                anns_field=space.field,
                limit=limit,
                filter=where,
                output_fields=list(fields),
                search_params={"metric_type": "COSINE", "params": dict(effort)},
            )
            found += [[(hit["distance"], hit["entity"]) for hit in hits] for hits in answer]
        return found

    def rows(self, column: str, values: Sequence[str], fields: Sequence[str], also: str = "") -> list[Row]:
        """Returns the rows whose column has one of these values."""
        found: list[Row] = []
        for start in range(0, len(values), LISTED):
            where = among(column, values[start : start + LISTED])
            found += self.each(f"{where} and ({also})" if also else where, fields, whole=column == "pk")
        return found

    def each(self, where: str, fields: Sequence[str], *, whole: bool = False) -> Iterator[Row]:
        """Yields the rows that fit; ``whole`` says that one request has all."""
        self._settle()
        if whole:
            yield from self.call(self.client.query, self.name, filter=where, output_fields=list(fields), limit=MOST)
            return
        size = READ if any(one.startswith("vector") or one in ("text", "metadata") for one in fields) else MOST
        pages = self.call(
            self.client.query_iterator, self.name, batch_size=size, filter=where, output_fields=list(fields)
        )
        try:
            while some := self.call(lambda timeout: pages.next()):
                yield from some
        finally:
            pages.close()

    def count(self, where: str = "") -> int:
        """Returns how many rows fit."""
        self._settle()
        answer = self.call(self.client.query, self.name, filter=where, output_fields=["count(*)"])
        return int(answer[0]["count(*)"])

    def put(self, rows: Sequence[Row], size: int) -> None:
        """Writes rows, of about so many bytes beside their texts and metadata, each in the place of one with its key.

        Raises:
            CatalogError: Milvus does not answer or refuses; the text says which rows are stored.
        """
        start = 0
        for some in _requests(rows, size):
            try:
                self.call(self.client.upsert, self.name, data=some)
            except CatalogError as error:
                raise CatalogError(
                    f"{error}; {start} of {len(rows)} references are stored, and none from {some[0]['name']!r} of item "
                    f"{some[0]['item']!r} on: add all again, which goes on there"
                ) from error
            self._unsettled += len(some)
            start += len(some)

    def delete(self, keys: Sequence[str]) -> None:
        """Removes rows by their keys."""
        for start in range(0, len(keys), LISTED):
            self.call(self.client.delete, self.name, filter=among("pk", keys[start : start + LISTED]))

    def copy(self, name: str, fields: Sequence[str]) -> None:
        """Writes all rows into another collection."""
        rows = self.each("", fields)
        while some := list(islice(rows, READ)):
            self.call(self.client.upsert, name, data=some)
            self._unsettled += len(some)

    def _settle(self) -> None:
        """Makes new rows quick to search, where this process has the database and many are new."""
        if self.is_lite and self._unsettled >= NEW:
            self._unsettled = 0
            self.call(self.client.flush, self.name)

    def close(self) -> None:
        """Closes the connection."""
        try:
            self.client.close()
        except Exception as error:
            logger.debug("closing %s: %s", self.uri, error)


def _requests(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Divides rows into those that one request takes."""
    start, held = 0, 0
    for place, row in enumerate(rows):
        texts = sum(len(row[name].encode()) for name in ("name", "label", "text") if row[name])
        own = (
            size
            + texts
            + 40 * len(row["terms"])
            + len(str(row["metadata"]).encode())
            + len(str(row["bounds"]).encode())
        )
        if place > start and (held + own > BYTES or place - start == MOST):
            yield rows[start:place]
            start, held = place, 0
        held += own
    if rows:
        yield rows[start:]
