"""A server that encodes: its address and how it is called."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .._core import ArgumentError
from .address import TOKEN, Address

#: How a server is given: an address, one for each tower, or with settings.
Remote: TypeAlias = "str | Mapping[str, str] | Service"

#: What may have an address of its own.
TOWERS = ("image", "text")

#: What an address begins with, and no name of a model or file does.
SCHEME = re.compile(r"[a-z][a-z0-9+]*://")

DAY = 24 * 3600.0

#: What a bearer token is made of.
BEARER = re.compile(r"[!-~]{1,8192}")


@dataclass(frozen=True)
class Service:
    """A server that runs a model's networks, or all of a model, for ``open_encoder(..., service=Service(...))``.

    With networks, everything else happens here: decoding, preprocessing, tokenizing, scaling. Vectors are those of the
    model when it runs here. When it is opened, the server must give the model's vectors of a fixed picture and text.

    Needs ``pip install 'plushie_search[service]'``.

    Attributes:
        url: ``oip://host:port/model`` for the Open Inference Protocol over HTTP (KServe, Triton, OpenVINO's server),
            ``oips://`` with TLS, ``oip+grpc://`` and ``oips+grpc://`` over gRPC, each perhaps with
            ``/versions/VERSION``. Or one for each tower, ``{"image": ..., "text": ...}``; a tower left out runs here.
            Or, for a server that takes pictures and texts themselves, so that nothing of the model is here:
            ``https://host/v1/embeddings?model=NAME`` (OpenAI's protocol; with ``&images=infinity``, ``=jina`` or
            ``=vllm`` pictures too, as those servers take them), or clip-as-service by ``grpc://host:port``,
            ``grpcs://``, or ``http://host:port/post``.
        timeout: After how many seconds a request is given up, with all its retries.
        retries: How often a request that failed in a way that may pass is tried again.
        batch: The most pictures or texts in a request, 1 to 1024.
        requests: The most requests at a time, 1 to 64.
        token: The bearer token that is sent there, or one for each tower, ``{"image": ..., "text": ...}``; "" sends
            none. By default that in the environment variable ``PLUSHIE_ENCODER_TOKEN``. No token is shown anywhere.
        token_without_tls: Whether the token may be sent without TLS to another machine than this one.

    Raises:
        ArgumentError: A tower has another name than image or text, none has an address, an address is not of these
            forms, a number is out of range, or a token would go to another machine without TLS.
    """

    url: str | Mapping[str, str]
    timeout: float = field(default=30.0, kw_only=True)
    retries: int = field(default=4, kw_only=True)
    batch: int = field(default=16, kw_only=True)
    requests: int = field(default=4, kw_only=True)
    token: str | Mapping[str, str] | None = field(default=None, kw_only=True, repr=False)
    token_without_tls: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name, least, most in (("retries", 0, 100), ("batch", 1, 1024), ("requests", 1, 64)):
            if not least <= getattr(self, name) <= most:
                raise ArgumentError(f"{name} of a service must be {least} to {most}, but is {getattr(self, name)}")
        if not 0 < self.timeout <= DAY:
            raise ArgumentError("timeout of a service must be more than 0 s, and at most a day")
        if not isinstance(self.url, str):
            unknown = [tower for tower in self.url if tower not in TOWERS]
            if unknown or not self.url:
                raise ArgumentError(f'a service has addresses for "image" and "text", not for {unknown or "nothing"}')
        for tower in self.addresses:
            self.token_for(tower)

    @property
    def addresses(self) -> dict[str, Address]:
        """The address of each tower that runs elsewhere."""
        urls = dict.fromkeys(TOWERS, self.url) if isinstance(self.url, str) else self.url
        return {tower: Address.parse(url) for tower, url in urls.items()}

    def token_for(self, tower: str) -> str | None:
        """The token that goes to the address of a tower, None if there is none.

        Raises:
            ArgumentError: It is no token, or would go to another machine without TLS. The message does not repeat it.
        """
        given = self.token.get(tower) if isinstance(self.token, Mapping) else self.token
        if self.token is None:
            given = os.environ.get(TOKEN)
        if given is None or given == "":
            return None
        token = given.strip()
        if not BEARER.fullmatch(token):
            what = "the token of the service" if self.token is not None else f"{TOKEN} is set, but"
            cure = "correct it" if self.token is not None else "correct or unset it"
            raise ArgumentError(f"{what} is no token: it must be printable ASCII without spaces; {cure}")
        address = self.addresses[tower]
        if not (address.tls or address.is_local or self.token_without_tls):
            raise ArgumentError(
                f"{address}: the token would be sent without TLS to another machine, where it can be read on the way; "
                "use oips://, oips+grpc:// or https://, or allow it by Service(..., token_without_tls=True)"
            )
        return token

    @property
    def is_everything(self) -> bool:
        """Returns whether no network of the model need be here."""
        return len(self.addresses) == len(TOWERS)

    @property
    def is_whole(self) -> bool:
        """Returns whether the server takes pictures and texts themselves."""
        return any(address.is_whole for address in self.addresses.values())


def as_service(given: Remote | None) -> Service | None:
    """The server that was given in any way, with its settings."""
    return given if given is None or isinstance(given, Service) else Service(given)
