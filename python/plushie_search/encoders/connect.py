"""From a service to what calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .address import Address
from .probe import TEXT, picture
from .protocol import EncoderLike
from .request import INSTALL
from .service import TOWERS, Service

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .._core import _Transport as Transport


@dataclass(frozen=True)
class Networks:
    """The networks of a model that run on servers, as ``_core.Encoder`` takes them.

    Attributes:
        image: Calls the network for pictures, None if it runs here.
        text: Calls the network for texts, None if it runs here.
        picture: The picture that the servers are given first, shape (height, width, 3).
        words: The text that they are given first.
    """

    image: Transport | None
    text: Transport | None
    picture: NDArray[np.uint8]
    words: str


def networks(service: Service) -> Networks:
    """Returns the transport that calls the networks of a service.

    Raises:
        ImportError: A library is missing; the message says which.
    """
    made: dict[str, Transport] = {}
    for tower, address in service.addresses.items():
        same = next((one for one in made.values() if one.address == address), None)
        made[tower] = _of_networks(address.protocol)(address, service, tower) if same is None else same
    return Networks(made.get("image"), made.get("text"), picture(), TEXT)


def _of_networks(protocol: str) -> Callable[[Address, Service, str], Transport]:
    try:
        if protocol == "oip+grpc":
            from .oip_grpc import OipGrpc

            return OipGrpc
        from .oip_http import OipHttp

        return OipHttp
    except ImportError as error:
        raise _missing(error) from None


def whole(service: Service, *, name: str | None, cache: int) -> EncoderLike:
    """A model that the server of a service runs as a whole.

    Raises:
        ValueError: There is more than one address.
        ModelError: The server cannot be asked.
        ImportError: A library is missing; the message says which.
    """
    addresses = set(service.addresses.values())
    if len(addresses) > 1 or not all(address.is_whole for address in addresses):
        raise ValueError("a server that takes whole pictures and texts has one address for both")
    [address] = addresses
    towers = [tower for tower in TOWERS if tower in service.addresses]
    called = name or address.model or "clip-as-service"
    return _of_whole(address.protocol)(address, service, name=called, towers=towers, cache=cache)


def _of_whole(protocol: str) -> Callable[..., EncoderLike]:
    try:
        if protocol == "jina":
            from .clip_as_service import ClipAsService

            return ClipAsService
        from .embeddings import Embeddings

        return Embeddings
    except ImportError as error:
        raise _missing(error) from None


def _missing(error: ImportError) -> ImportError:
    return ImportError(f"calling a service needs {error.name}; {INSTALL}", name=error.name)
