"""The address of a service: where it is and which protocol it speaks."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

from .._core import ArgumentError

#: The environment variable with the bearer token.
TOKEN = "PLUSHIE_ENCODER_TOKEN"

EXPECTED = (
    "it must be oip://host:port/model, oips://, oip+grpc:// or oips+grpc://, or "
    "http(s)://host/v1/embeddings?model=NAME, grpc(s)://host:port, or http(s)://host/post"
)

#: Scheme: protocol, TLS. None where the path tells the protocol.
SCHEMES = {
    "oip": ("oip", False),
    "oips": ("oip", True),
    "oip+grpc": ("oip+grpc", False),
    "oips+grpc": ("oip+grpc", True),
    "grpc": ("jina", False),
    "grpcs": ("jina", True),
    "http": (None, False),
    "https": (None, True),
}

#: How pictures are put to a server of embeddings; OpenAI's protocol itself has none.
PICTURES = ("infinity", "jina", "vllm")

PART = re.compile(r"[A-Za-z0-9._~:+@-]+")
NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


@dataclass(frozen=True)
class Address:
    """An address that was checked: it has no secrets in it and may be shown.

    Attributes:
        shown: The address as it was given.
        protocol: ``"oip"``, ``"oip+grpc"``, ``"embeddings"`` (OpenAI's), ``"post"`` or ``"jina"`` (clip-as-service's
            over HTTP and over gRPC).
        tls: Whether the connection is encrypted.
        host: The host, an IPv6 address in brackets.
        port: The port.
        prefix: The path before the protocol's own, or the whole path of ``http://``.
        model: The model that the server is asked for; empty if it has only one.
        version: Which version of the model, None if that was not said.
        pictures: How pictures are put to a server of embeddings, None if not at all.
    """

    shown: str
    protocol: str
    tls: bool
    host: str
    port: int
    prefix: str
    model: str
    version: str | None
    pictures: str | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads an address.

        Raises:
            ArgumentError: It is of no known form; the message repeats nothing that may be a password.
        """
        try:
            return cls._parse(text)
        except ValueError as error:
            raise ArgumentError(f"address of a service: {error}") from None

    @classmethod
    def _parse(cls, text: str) -> Address:
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise ValueError(EXPECTED)
        if scheme not in SCHEMES:
            raise ValueError(f"unknown scheme; {EXPECTED}")
        protocol, tls = SCHEMES[scheme]
        place, _, query = rest.partition("?")
        authority, _, path = place.partition("/")
        if "@" in authority:
            raise ValueError(f"it has a user or password in it; give a token in {TOKEN} instead")
        host, port = _host_and_port(authority, 443 if tls else 51000 if protocol == "jina" else 80)
        path = path.rstrip("/")
        parts = path.split("/") if path else []
        if any(part in (".", "..") or not PART.fullmatch(part) for part in parts):
            raise ValueError("its path must be names of letters, digits and - . _ ~ : + @ between single slashes")
        if protocol is not None and query:
            raise ValueError(f"it has a query, which {scheme}:// does not know")
        version = pictures = None
        model = ""
        prefix = f"/{path}"
        if protocol == "jina":
            if parts:
                raise ValueError("gRPC has no path: give grpc://host:port")
            prefix = ""
        elif protocol is not None:
            prefix, model, version = _tensors(parts, protocol)
        else:
            protocol, model, pictures = _whole(parts, query)
        shown = f"{scheme}://{authority}" + (f"/{path}" if path else "") + (f"?{query}" if query else "")
        return cls(shown, protocol, tls, host, port, prefix, model, version, pictures)

    @property
    def is_whole(self) -> bool:
        """Returns whether texts and pictures go in themselves, and not the tensors that are made of them here."""
        return self.protocol in ("embeddings", "post", "jina")

    @property
    def is_local(self) -> bool:
        """Returns whether the server is this machine."""
        return self.host in ("localhost", "[::1]") or _is_loopback(self.host)

    def url(self, path: str = "") -> str:
        """Where a path below the prefix is asked for over HTTP."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{self.prefix}{path}"

    def __str__(self) -> str:
        return self.shown


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _host_and_port(authority: str, otherwise: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else None
    try:
        right = NAME.fullmatch(host) is not None if inner is None else ipaddress.IPv6Address(inner).scope_id is None
    except ValueError:
        right = False
    if not right:
        raise ValueError("its host must be a name, an IPv4 address, or an IPv6 address in brackets")
    if not port:
        if colon and authority.endswith(":"):
            raise ValueError("its port must be a number from 1 to 65535")
        return host, otherwise
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("its port must be a number from 1 to 65535")
    return host, int(port)


def _tensors(parts: list[str], protocol: str) -> tuple[str, str, str | None]:
    """Prefix, model and version of an address of tensors: ``model``, or ``any/prefix/v2/models/model``."""
    start = next((n for n in range(len(parts) - 1) if parts[n : n + 2] == ["v2", "models"]), None)
    before, rest = ([], parts) if start is None else (parts[:start], parts[start + 2 :])
    if protocol == "oip+grpc" and before:
        raise ValueError("gRPC has no path before the model: give oip+grpc://host:port/model")
    prefix = "".join(f"/{part}" for part in before)
    match rest:
        case [model]:
            return prefix, model, None
        case [model, "versions", version]:
            return prefix, model, version
        case []:
            raise ValueError("it names no model: give oip://host:port/model")
    raise ValueError("its path must be /model or /model/versions/VERSION, perhaps after /v2/models")


def _whole(parts: list[str], query: str) -> tuple[str, str, str | None]:
    """Protocol, model and way of pictures of an address to which texts and pictures go themselves."""
    model, pictures = "", None
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key == "model":
            try:
                model = unquote(value, errors="strict")
            except UnicodeDecodeError:
                model = ""
            if not model or len(model) > 200 or not model.isprintable():
                raise ValueError("its model must be a name of printable characters")
        elif key == "images":
            if value not in PICTURES:
                raise ValueError("images= must be infinity, jina or vllm")
            pictures = value
        else:
            raise ValueError(f"its query may have model= and images= only; give a token in {TOKEN}")
    last = parts[-1] if parts else None
    if last == "embeddings":
        if not model:
            raise ValueError("it needs a model: .../v1/embeddings?model=NAME")
        return "embeddings", model, pictures
    if last == "post":
        if query:
            raise ValueError("/post has no query")
        return "post", "", None
    raise ValueError(f"its path must end in /v1/embeddings or /post; {EXPECTED}")
