"""A server that runs a model's networks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

#: How a server is given: an address, one for each tower, or with settings.
Remote: TypeAlias = "str | Mapping[str, str] | Service"

#: What may have an address of its own.
TOWERS = ("image", "text")

#: What an address begins with, and no name of a model or file does.
SCHEME = re.compile(r"[a-z][a-z0-9+]*://")


@dataclass(frozen=True)
class Service:
    """A server that runs a model's networks, or all of a model, for ``open_encoder(..., service=Service(...))``.

    With networks, everything else happens here: decoding, preprocessing, tokenizing, scaling. Vectors are those of the
    model when it runs here. When it is opened, the server must give the model's vectors of a fixed picture and text.

    A bearer token is read from the environment variable ``PLUSHIE_ENCODER_TOKEN``; it is sent to this server only.

    Attributes:
        url: ``oip://host:port/model`` for the Open Inference Protocol over HTTP (KServe, Triton, OpenVINO's server),
            ``oips://`` with TLS, ``oip+grpc://`` and ``oips+grpc://`` over gRPC, each perhaps with
            ``/versions/VERSION``. Or one for each tower, ``{"image": ..., "text": ...}``; a tower left out runs here.
            Or, for a server that takes pictures and texts themselves, so that nothing of the model is here:
            ``https://host/v1/embeddings?model=NAME`` (OpenAI's protocol; with ``&images=infinity``, ``=jina`` or
            ``=vllm`` pictures too, as those servers take them), or ``http://host:port/post`` (clip-as-service).
        timeout: After how many seconds a request is given up, with all its retries.
        retries: How often a request that failed in a way that may pass is tried again.
        batch: The most pictures or texts in a request.
        requests: The most requests at a time.

    Raises:
        ValueError: A tower has another name than image or text, none has an address, or a number is negative.
    """

    url: str | Mapping[str, str]
    timeout: float = field(default=30.0, kw_only=True)
    retries: int = field(default=4, kw_only=True)
    batch: int = field(default=16, kw_only=True)
    requests: int = field(default=4, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("retries", "batch", "requests"):
            if (number := getattr(self, name)) < 0:
                raise ValueError(f"{name} of a service must not be negative, but is {number}")
        if isinstance(self.url, str):
            return
        unknown = [tower for tower in self.url if tower not in TOWERS]
        if unknown or not self.url:
            raise ValueError(f'a service has addresses for "image" and "text", not for {unknown or "nothing"}')

    @property
    def is_everything(self) -> bool:
        """Whether no network of the model need be here."""
        return self.image is not None and self.text is not None

    @property
    def is_whole(self) -> bool:
        """Whether the server takes pictures and texts themselves."""
        return any((url or "").startswith(("http://", "https://")) for url in (self.image, self.text))

    @property
    def image(self) -> str | None:
        """Where the network for pictures runs, None if here."""
        return self.url if isinstance(self.url, str) else self.url.get("image")

    @property
    def text(self) -> str | None:
        """Where the network for texts runs, None if here."""
        return self.url if isinstance(self.url, str) else self.url.get("text")


def as_service(given: Remote | None) -> Service | None:
    """The server that was given in any way, with its settings."""
    return given if given is None or isinstance(given, Service) else Service(given)
