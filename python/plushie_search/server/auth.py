"""Keys, rates, origins, and signed addresses of pictures."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .._core import ArgumentError
from ..paths import expanded
from .errors import Problem
from .settings import Settings

#: For how long the address of a picture is valid, at least, and the step to which its end is rounded, so that browsers
#: find pictures in their cache again.
VALID, STEP = 24 * 3600, 3600

#: Failed keys of one address in a minute.
MAX_FAILURES = 60

#: Addresses and keys whose rates are remembered.
MAX_BUCKETS = 10_000

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Principal:
    """The sender of a request.

    Attributes:
        name: The beginning of the key's hash, or the address if there are no keys.
        writes: Whether it may change catalogs.
    """

    name: str
    writes: bool


def hash_key(key: str) -> str:
    """Returns the SHA-256 of a key, 64 hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key() -> str:
    """Returns a new random key."""
    return f"plushie_{secrets.token_urlsafe(24)}"


def read_keys(file: str) -> tuple[list[str], list[str]]:
    """Returns the hashes of the keys of a file: those that read, and those that write.

    Raises:
        ArgumentError: The file cannot be read or understood.
    """
    path = expanded(file)
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        read, write = (list(held.get(kind, [])) for kind in ("read", "write"))
        if not all(isinstance(one, str) and len(one.removeprefix("sha256:")) == 64 for one in read + write):
            raise ValueError("a hash has 64 hexadecimal digits")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ArgumentError(
            f'auth.keys_file {path}: {error}; it must be JSON, {{"read": [hashes], "write": [hashes]}}'
        ) from None
    return read, write


def create_keys(file: str) -> tuple[str, str] | None:
    """Makes a read key and a write key and stores their hashes, and returns them; None if the file exists.

    Raises:
        OSError: The file cannot be written.
    """
    read, write = new_key(), new_key()
    try:
        with open(file, "x", encoding="utf-8", opener=_private) as held:
            json.dump({"read": [hash_key(read)], "write": [hash_key(write)]}, held, indent=2)
    except FileExistsError:
        return None
    return read, write


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Guard:
    """Decides which requests are answered: by host, origin, key and rate.

    Raises:
        ArgumentError: The file of keys cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        auth, server = settings.auth, settings.server
        read, write = list(auth.read_keys), list(auth.write_keys)
        if auth.keys_file is not None:
            more_read, more_write = read_keys(auth.keys_file)
            read, write = read + more_read, write + more_write
        self._keys = [(one.removeprefix("sha256:"), False) for one in read]
        self._keys += [(one.removeprefix("sha256:"), True) for one in write]
        self.has_keys = bool(self._keys)
        self.read_only = server.read_only
        self.origins = frozenset(server.origins)
        self._hosts = (
            _hosts(settings) if server.allowed_hosts is None else {one.lower() for one in server.allowed_hosts}
        )
        self._any_host = (server.allowed_hosts is None and self.has_keys) or "*" in self._hosts
        self._addresses = server.allowed_hosts is None
        self._here_alone = not self.has_keys and not auth.insecure
        known = "".join(sorted(digest for digest, _ in self._keys))
        secret = auth.secret or f"plushie-search media {known}"
        self._secret = hashlib.sha256(secret.encode()).digest()
        self._rates = Rates(settings.limits.rate) if settings.limits.rate else None
        self._failures = Rates(MAX_FAILURES)
        #: The sender of a request that needs no key.
        self.anyone = Principal("anyone", not self.has_keys and not self.read_only)

    def check_listener(self, listener: object) -> None:
        """Refuses a request to an address of this machine that others reach, if there are no keys.

        ``plushie-search serve`` does not listen there; other servers that run the application may.

        Args:
            listener: The host and port that the request came to, or the path of a socket and None.

        Raises:
            Problem: There are no keys, and ``auth.insecure`` is false.
        """
        if not self._here_alone or not isinstance(listener, (tuple, list)) or not listener:
            return
        if _is_reached(str(listener[0])):
            raise Problem(
                403,
                "keys",
                "this server has no keys and is reached from other machines: give keys by auth.keys_file, listen on "
                "127.0.0.1, or set auth.insecure",
            )

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Refuses a request by a name that is not this server's: a page of another site that was given its address.

        Raises:
            Problem: It is.
        """
        if self._any_host:
            return
        host = _name(headers.get("host", ""))
        if host in self._hosts or (self._addresses and _is_address(host)):
            return
        raise Problem(421, "host", "this server does not answer by that host name: list it in server.allowed_hosts")

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuses a change by a page of another origin. Programs send neither of the two headers.

        Raises:
            Problem: It is one.
        """
        if method in SAFE_METHODS:
            return
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in ("same-origin", "none") or (site is None and origin is None) or origin in self.origins:
            return
        if (
            site is None
            and origin is not None
            and origin.partition("://")[2].lower() == headers.get("host", "").lower()
        ):
            return
        raise Problem(
            403, "origin", "a page of another origin may not send this request: list its origin in server.origins"
        )

    def identify(self, headers: Mapping[str, str], address: str) -> Principal:
        """Returns the sender of a request, by its key if the server has keys.

        Raises:
            Problem: The key is missing or wrong, or too many requests came.
        """
        if not self.has_keys:
            self._limit(address)
            return Principal(address, not self.read_only)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        given = hash_key(key)
        found: Principal | None = None
        for digest, writes in self._keys:  # all of them, so that the time tells nothing
            if hmac.compare_digest(digest, given) and (found is None or writes):
                found = Principal(given[:8], writes and not self.read_only)
        if found is None:
            self._failures.count(address, "too many wrong keys")
            raise Problem(
                401,
                "unauthorized",
                "the key is missing or wrong: send it as Authorization: Bearer KEY or X-API-Key: KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        self._limit(found.name)
        return found

    def _limit(self, name: str) -> None:
        if self._rates is not None:
            self._rates.count(name, "too many requests")

    def sign(self, path: str, item: str) -> str:
        """Returns the values that make the address of a picture valid without a key; empty if there are no keys."""
        if not self.has_keys:
            return ""
        end = (int(time.time()) // STEP + 1) * STEP + VALID
        return f"&e={end}&s={self._signature(path, item, end)}"

    def is_signed(self, path: str, query: Mapping[str, str]) -> bool:
        """Returns whether the address of a picture has a valid signature."""
        end, given = query.get("e", ""), query.get("s", "")
        if not end.isascii() or not end.isdigit() or len(end) > 12 or int(end) < time.time() or not given.isascii():
            return False
        return hmac.compare_digest(self._signature(path, query.get("item", ""), int(end)), given)

    def _signature(self, path: str, item: str, end: int) -> str:
        text = f"{end}\n{path}\n{item}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]


class Rates:
    """Counts requests per minute, each name by itself; a name that was silent may send a minute's at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, name: str, symptom: str) -> None:
        """Counts a request.

        Raises:
            Problem: There were too many.
        """
        now = time.monotonic()
        with self._lock:
            left, then = self._buckets.pop(name, (float(self._most), now))
            left = min(self._most, left + (now - then) * self._most / 60)
            self._buckets[name] = (max(left - 1, 0.0) if left >= 1 else left, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        if left < 1:
            wait = max(1, round((1 - left) * 60 / self._most + 0.5))
            raise Problem(
                429, "rate", f"{symptom}: send at most {self._most} a minute", headers={"Retry-After": str(wait)}
            )


@lru_cache(64)
def _is_reached(host: str) -> bool:
    """Returns whether other machines reach an address; no for names, which test clients have."""
    return _is_address(host) and not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Returns whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _hosts(settings: Settings) -> set[str]:
    """Returns the names by which this machine is called."""
    return {"localhost", settings.server.host.lower(), socket.gethostname().lower()}


def _name(host: str) -> str:
    """Returns the name in a Host header, without the port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0].strip("[")
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_address(host: str) -> bool:
    """Returns whether a host is an IP address: no page of another site has it as its name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
