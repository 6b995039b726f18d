"""The bearer token: sent to one address, and never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .address import Address
    from .service import Service

#: The environment variable with the bearer token.
TOKEN = "PLUSHIE_ENCODER_TOKEN"

LOCAL_ONLY = (
    "the token would be sent without TLS to another machine, where it can be read on the way; use oips://, "
    "oips+grpc:// or https://, or allow it by Service(..., token_without_tls=True)"
)

PATTERN = re.compile(r"[!-~]{1,8192}")


def token_for(address: Address, service: Service, tower: str) -> str | None:
    """The token that goes to the address of a tower, None if there is none.

    Raises:
        ValueError: It is no token, or would go to another machine without TLS. The message does not repeat it.
    """
    given = service.token.get(tower) if isinstance(service.token, Mapping) else service.token
    given = os.environ.get(TOKEN) if service.token is None else given
    if given is None or given == "":
        return None
    token = given.strip()
    if not PATTERN.fullmatch(token):
        what = f"{TOKEN} is set, but" if service.token is None else "the token of the service"
        cure = "correct or unset it" if service.token is None else "correct it"
        raise ValueError(f"{what} is no token: it must be printable ASCII without spaces; {cure}")
    if not (address.tls or address.is_local or service.token_without_tls):
        raise ValueError(f"{address}: {LOCAL_ONLY}")
    return token
