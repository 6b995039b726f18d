"""Requests over HTTP: a client for one address, with limits on what it reads."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from typing import cast

import certifi
import httpx

from .. import _core
from .address import Address
from .request import OVERLOADED, RUNNING, TLS, ServiceError, judged, message, words
from .service import Service

#: The most bytes of an error that are read.
MAX_ERROR = 64 << 10

#: The most bytes that are handed to the client at a time.
PIECE = 256 << 10


class Http:
    """A client for one address; any number of threads may use it, also after a fork."""

    def __init__(self, address: Address, service: Service, tower: str) -> None:
        self._address, self._service = address, service
        self._token = service.token_for(tower)
        self._lock = threading.Lock()
        self._opened: tuple[int, httpx.Client] | None = None

    def call(
        self,
        url: str,
        body: Sequence[bytes | memoryview] | None,
        limit: int,
        left: float,
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, dict[str, str]]:
        """Asks for ``url``, or sends ``body`` there; returns the answer and its headers, by names in lower case.

        Args:
            url: Where.
            body: What is sent, one part after another; None to ask only.
            limit: The most bytes of the answer that are read.
            left: The most seconds that each step may take, and the reading of the answer together.
            headers: More headers of the request.

        Raises:
            ServiceError: There is no answer of success.
        """
        end = time.monotonic() + left
        method, content = "GET", None
        if body is not None:
            method, content = "POST", cast("Iterator[bytes]", _pieces(body))
            headers = {**(headers or {}), "Content-Length": str(sum(map(len, body)))}
        late = ServiceError(f"gave no (whole) answer in time{OVERLOADED}")
        try:
            with self._client().stream(method, url, content=content, headers=headers, timeout=left) as answer:
                good = answer.is_success
                most = limit if good else MAX_ERROR
                parts, size = [], 0
                for part in answer.iter_raw():
                    parts.append(part)
                    size += len(part)
                    if time.monotonic() > end:
                        raise late
                    if size > most:
                        if good:
                            raise ServiceError(
                                f"answers with more than {limit} bytes, which no vectors of this model have"
                            )
                        break
                whole = b"".join(parts)[:most]
                if good:
                    return whole, dict(answer.headers)
                place = answer.headers.get("location")
                said = message(whole) if place is None else f"it points to {place}"
                after = answer.headers.get("retry-after", "").strip()
                seconds = float(after) if after.isascii() and after.isdigit() else None
                raise judged(answer.status_code, words(said, self._token), seconds)
        except httpx.TimeoutException:
            raise late from None
        except httpx.HTTPError as error:
            raise _failure(error) from None
        except httpx.InvalidURL as error:
            raise ServiceError(f"cannot be asked: {words(str(error))}") from None

    def _client(self) -> httpx.Client:
        """The client of this process: connections do not survive a fork."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), self._open()
            return self._opened[1]

    def _open(self) -> httpx.Client:
        headers = {"User-Agent": f"plushie_search/{_core.__version__}", "Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connections = self._service.requests
        return httpx.Client(
            headers=headers,
            verify=authorities() if self._address.tls else True,
            follow_redirects=False,
            # A proxy could not reach this machine's own servers.
            trust_env=not self._address.is_local,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=connections, keepalive_expiry=60),
        )

    def __del__(self) -> None:
        opened = self.__dict__.get("_opened")
        if opened is not None:
            opened[1].close()


def _pieces(body: Sequence[bytes | memoryview]) -> Iterator[memoryview]:
    """The body in pieces: of what a socket does not take at once, the client copies the rest."""
    for part in body:
        view = memoryview(part)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]


def authorities() -> ssl.SSLContext:
    """The certificates of this machine and of ``SSL_CERT_FILE``; those of certifi if there are none."""
    try:
        context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or None)
    except OSError as error:
        raise ServiceError(f"no TLS with it: SSL_CERT_FILE cannot be read: {error}") from None
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    return context


def _failure(error: httpx.HTTPError) -> ServiceError:

    said = words(str(error))
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return ServiceError(f"no TLS with it: {said}; {TLS}")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return ServiceError(f"cannot be reached: {said}; {RUNNING}", passing=True)
    if isinstance(error, httpx.NetworkError):
        return ServiceError(f"broke the connection off: {said or type(error).__name__}; {RUNNING}", passing=True)
    if isinstance(error, httpx.ProtocolError):
        return ServiceError(f"does not speak HTTP as it should: {said}", passing=True)
    return ServiceError(said or type(error).__name__)
