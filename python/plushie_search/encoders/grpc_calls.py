"""Calls over gRPC with one message each way, on grpcio: channels that are opened again, and limits on what is read."""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path
from typing import Any

import grpc

from .. import _core
from .address import TOKEN, Address
from .request import OVERLOADED, RUNNING, TLS, ServiceError, quoted, words
from .service import Service

#: What is said of a status, by its number.
ADVICE = {
    4: OVERLOADED,
    5: "; is the model's name right, and is it loaded there?",
    7: f"; give a token that it accepts in {TOKEN}",
    16: f"; give a token that it accepts in {TOKEN}",
}

#: Statuses after which another try may succeed, and those that refuse the request.
PASSING, REFUSED = (4, 8, 14), (3, 5, 7, 8, 9, 11, 12, 16)

#: How grpcio begins what it says of a connection, which no server has said.
UNCONNECTED = ("failed to connect", "connections to all backends", "dns resolution failed", "empty address list")
BROKEN = ("socket closed", "connection reset", "recvmsg", "goaway", "broken pipe", "stream removed", "endpoint closing")

#: The process in which grpcio was used first: its threads do not come along through a fork.
_process: int | None = None


class Grpc:
    """A client for one address; any number of threads may use it."""

    def __init__(self, address: Address, service: Service, tower: str) -> None:
        self._address = address
        self._token = service.token_for(tower)
        self._lock = threading.Lock()
        self._channel: tuple[int, grpc.Channel] | None = None

    def call(self, path: str, message: bytes, limit: int, left: float, *, stream: bool = False) -> bytes:
        """Sends ``message`` to the method ``path`` and returns the answer's message.

        Args:
            path: ``/package.Service/Method``.
            message: What is sent.
            limit: The most bytes of the answer that are read.
            left: The most seconds that it may take.
            stream: Whether the method takes and gives streams, here of one message each.

        Raises:
            ServiceError: There is no such answer.
        """
        size = max(1 << 20, 1 << (limit - 1).bit_length())
        channel, fresh = self._open(size)
        metadata = (("authorization", f"Bearer {self._token}"),) if self._token is not None else ()
        try:
            if stream:
                answers = channel.stream_stream(path)(iter([message]), timeout=left, metadata=metadata)
                answer = next(answers, None)
                if answer is None:
                    raise ServiceError("answers with nothing")
                answers.cancel()
            else:
                answer = channel.unary_unary(path)(message, timeout=left, metadata=metadata)
        except grpc.RpcError as error:
            raise self._judged(error, channel, size, fresh=fresh) from None
        if len(answer) > limit:
            raise too_much(limit)
        found: bytes = answer
        return found

    def _open(self, size: int) -> tuple[grpc.Channel, bool]:
        """A channel for answers of so many bytes, and whether it was opened just now."""
        global _process
        with self._lock:
            if _process is None:
                _process = os.getpid()
            if _process != os.getpid():
                raise ServiceError(
                    "gRPC cannot be used in a process that was forked after it was used: use the protocol over HTTP, "
                    "or start processes by spawn"
                )
            if self._channel is not None and self._channel[0] >= size:
                return self._channel[1], False
            target = f"{self._address.host}:{self._address.port}"
            options = [
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", 32 << 10),
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
                # A channel that is opened again must not inherit how long the last one waits to connect.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.primary_user_agent", f"plushie_search/{_core.__version__}"),
            ]
            if self._address.tls:
                credentials = grpc.ssl_channel_credentials(_certificates())
                channel = grpc.secure_channel(target, credentials, options)
            else:
                channel = grpc.insecure_channel(target, options)
            self._channel = size, channel
            return channel, True

    def _judged(self, error: Any, channel: grpc.Channel, size: int, *, fresh: bool) -> ServiceError:
        """The meaning of a status of failure."""
        status, name = error.code().value
        said = words(error.details() or "", self._token)
        lower = said.lower()
        local = error.code() is grpc.StatusCode.UNAVAILABLE and any(part in lower for part in UNCONNECTED + BROKEN)
        if local:
            with self._lock:
                if self._channel is not None and self._channel[1] is channel:
                    self._channel = None  # one that waits before it connects again
            if "certificate" in lower or "ssl" in lower or "handshake" in lower:
                return ServiceError(f"no TLS with it: {said}; {TLS}")
            if not fresh:
                # A server may end a connection that was not used for a while.
                return ServiceError(f"broke the connection off: {said}", stale=True)
            return ServiceError(f"cannot be reached: {said}; {RUNNING}", passing=True)
        if status == 4 and lower in ("deadline exceeded", ""):
            return ServiceError(f"gave no (whole) answer in time{OVERLOADED}")
        too_large = status == 8 and "larger than max" in lower
        if too_large and f"vs. {size})" in lower:
            return too_much(size)
        reason = f"answered with the status {status} ({name})" + (f", {quoted(said)}" if said else "")
        reason += "; give a smaller batch" if too_large else ADVICE.get(status, "")
        return ServiceError(reason, passing=status in PASSING and not too_large, refused=status in REFUSED)


def too_much(limit: int) -> ServiceError:
    """The error for an answer that is longer than any that was asked for."""
    return ServiceError(f"answers with more than {limit} bytes, which no vectors of this model have")


def _certificates() -> bytes | None:
    """The certificates in ``SSL_CERT_FILE``, or else of this machine; None for those that grpcio brings."""
    if own := os.environ.get("SSL_CERT_FILE"):
        try:
            return Path(own).read_bytes()
        except OSError as error:
            raise ServiceError(f"no TLS with it: SSL_CERT_FILE cannot be read: {error}") from None
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode() or None
