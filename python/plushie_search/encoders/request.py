"""Requests to a service: which failures pass, how long to wait for that, and when to give up."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .._core import ModelError
from ..log import logger
from .address import TOKEN
from .service import Service

T = TypeVar("T")

#: Seconds to wait after the first failure; each further wait is twice as long, and none is longer than the second.
FIRST_WAIT, LONGEST_WAIT = 0.2, 8.0

#: The most characters of a server's own words that are shown.
SHOWN = 300

OVERLOADED = "; is it overloaded? A larger timeout or a smaller batch helps"
TLS = "if its certificate is signed by an authority of your own, name that in SSL_CERT_FILE"
RUNNING = "is it running, and the port right?"
INSTALL = "install it with: pip install 'plushie_search[service]'"


class ServiceError(ModelError):
    """A request to a service that gave no answer that can be used.

    Attributes:
        service_reason: Why, with the address.
        refused: Whether the server understood the request and refused it, so that another may be accepted.
        answered: Whether the server answered that it does not do this: another form may be better.
        passing: Whether another try may succeed.
        after: After how many seconds, if the server said so.
        stale: Whether a connection from an earlier request had ended: another try is due at once.
    """

    def __init__(
        self,
        reason: str,
        *,
        refused: bool = False,
        answered: bool = False,
        passing: bool = False,
        after: float | None = None,
        stale: bool = False,
    ) -> None:
        super().__init__(reason)
        self.service_reason = reason
        self.refused, self.answered = refused, refused or answered
        self.passing, self.after, self.stale = passing, after, stale


def unreadable(reason: object) -> ServiceError:
    """The error for an answer that is not as the protocol says."""
    return ServiceError(f"answers in a way that cannot be read: {reason}")


def persist(service: Service, address: object, work: Callable[[float], T]) -> T:
    """Tries ``work``, which is told how many seconds are left, until it succeeds, fails for good, or time is up.

    Raises:
        ServiceError: It failed; the message names the address and, if it was tried again, how often.
    """
    start = time.monotonic()
    tries, was_stale = 0, False
    while True:
        left = service.timeout - (time.monotonic() - start)
        try:
            return work(max(left, 0.001))
        except ServiceError as raised:
            error = raised
        if error.stale and not was_stale:
            was_stale = True
            continue
        tries += 1
        if not (error.passing or error.stale):
            if tries == 1:
                raise _about(address, error)
            raise _given_up(address, error, tries, start, "")
        wait = backoff(tries - 1, random.random()) if error.after is None else error.after
        left = service.timeout - (time.monotonic() - start)
        if tries > service.retries or wait >= left:
            late = f" of {service.timeout:g}s" if tries <= service.retries else ""
            raise _given_up(address, error, tries, start, late)
        logger.warning("trying service %s again in %.1f s: %s", address, wait, error.service_reason)
        time.sleep(wait)


def _about(address: object, error: ServiceError) -> ServiceError:
    return ServiceError(f"service {address}: {error.service_reason}", refused=error.refused, answered=error.answered)


def _given_up(address: object, error: ServiceError, tries: int, start: float, late: str) -> ServiceError:
    times = "1 attempt" if tries == 1 else f"{tries} attempts"
    seconds = time.monotonic() - start
    return ServiceError(f"service {address}: {error.service_reason} (gave up after {times}, {seconds:.1f} s{late})")


def backoff(failures: int, chance: float) -> float:
    """Seconds to wait after a failure with so many before it: half of it by chance, to keep many clients apart."""
    return min(FIRST_WAIT * 2.0 ** min(failures, 16), LONGEST_WAIT) * (0.5 + chance / 2)


def words(said: str, token: str | None = None) -> str:
    """A server's words, fit to be shown: short, on one line, without the token if it was repeated there."""
    if token is not None:
        said = said.replace(token, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def quoted(text: str) -> str:
    """The text in double quotes, as in JSON."""
    return json.dumps(text, ensure_ascii=False)


def message(body: bytes) -> str:
    """The message in the body of an error."""
    text = body.decode("utf-8", "replace")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(value, dict):
        return text
    error = value.get("error")
    places = [
        error.get("message") if isinstance(error, dict) else None,
        error,
        value.get("detail"),
        value.get("message"),
    ]
    found = next((place for place in places if place is not None), None)
    if found is None:
        return text
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def judged(status: int, said: str, after: float | None) -> ServiceError:
    """The meaning of an HTTP status of failure."""
    reason = f"answered with the status {status}" + (f", {quoted(said)}" if said else "")
    if 300 <= status < 400:
        reason += "; give the address to which it points, if you trust that: no redirect is followed"
    reason += {
        401: f"; give a token that it accepts in {TOKEN}",
        403: f"; give a token that it accepts in {TOKEN}",
        404: "; is the model's name right, and is it loaded there?",
        413: "; give a smaller batch",
    }.get(status, "")
    if status in (408, 429, 502, 503, 504):
        return ServiceError(reason, passing=True, after=after)
    return ServiceError(reason, refused=400 <= status < 500, answered=500 <= status < 600)
