"""The server without a web framework: catalogs, and what a request goes through."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core import ArgumentError, Crop, UnreadableTextWarning
from ..engine import Engine
from ..paths import expanded
from .auth import Guard
from .call import Answer, Call, Route
from .catalog import Catalog
from .coding import dump
from .errors import Problem, problem_of
from .jobs import Jobs
from .lanes import Lane, Memory
from .metrics import Metrics
from .recent import Recent
from .settings import Settings
from .undo import Undo

if TYPE_CHECKING:
    import numpy as np

#: A request's id as clients may choose it.
REQUEST_ID = re.compile(r"[\w.:-]{1,64}")

#: The part of a path before the routes.
BASE = re.compile(r"^(.*?)/(?:api/|v1/|metrics$|healthz$|readyz$|openapi\.json$)")


#: The bytes of pictures for screens that are remembered.
VIEWS = 32 << 20


@dataclass(frozen=True, slots=True)
class Encoding:
    """A model that encodes for ``/v1/embeddings``."""

    name: str
    dim: int
    images: Callable[[list[bytes | Crop]], np.ndarray]
    texts: Callable[[list[str]], np.ndarray]


class Service:
    """Catalogs that are served, and everything that requests share.

    Args:
        engines: The open catalogs by name; the first is the default.
        settings: The configuration.

    Raises:
        ArgumentError: There is no catalog, or the file of keys cannot be read.
    """

    def __init__(self, engines: Mapping[str, Engine], settings: Settings) -> None:
        if not engines:
            raise ArgumentError("a server needs a catalog: give its directory, or an engine")
        # Answers have it as a notice.
        warnings.filterwarnings("ignore", category=UnreadableTextWarning)
        self.settings = settings
        self.guard = Guard(settings)
        self.catalogs = {name: Catalog(name, engine, settings, self.guard) for name, engine in engines.items()}
        self.first = next(iter(self.catalogs.values()))
        limits = settings.limits
        threads = int(self.first.engine.stats().get("threads") or os.cpu_count() or 1)
        slots = limits.slots or threads
        self.lanes = {
            "search": Lane("search", slots, max(64, 8 * slots) if limits.queue is None else limits.queue),
            # Of their own, so that searches do not wait for inspections, which take seconds.
            "inspect": Lane("inspect", 1, 32),
            "read": Lane("read", 4, 64),
            "write": Lane("write", 1, 32),
        }
        self.memory = Memory(limits.memory)
        if settings.server.state is None:
            state = Path(tempfile.mkdtemp(prefix="plushie-search-"))
            weakref.finalize(self, _remove, state, os.getpid())
        else:
            state = Path(expanded(settings.server.state))
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.jobs = Jobs(state, limits.jobs)
        self.undo = Undo(state, limits.undo)
        self.views = Recent(VIEWS)
        self.metrics = Metrics(self.catalogs.values(), self.lanes.values(), self.memory)
        self.ready = threading.Event()
        self.draining = False
        self.began = time.time()

    def warm(self) -> None:
        """Encodes a text or a picture with each catalog's models, so that the first request is as fast as the next."""
        for catalog in self.catalogs.values():
            if catalog.engine.text_model is not None:
                catalog.engine.search_text("a", k=1)
            elif catalog.engine.image_model is not None:
                catalog.engine.search_image(PIXEL, k=1)
        self.ready.set()

    def drain(self) -> None:
        """Refuses new requests, and ends streams of events."""
        self.draining = True

    def close(self) -> None:
        """Waits for the requests that compute; the engines stay open."""
        self.drain()
        self.jobs.close()
        for lane in self.lanes.values():
            lane.close()

    def encoder(self, catalog: Catalog, model: Any) -> Encoding:
        """Returns a model by the name that a client gives; the one for texts and the one for pictures by default."""
        engine = catalog.engine
        name = catalog.models(model) if model in catalog.engines else None
        name = name if isinstance(name, str) else None
        dims = {one["name"]: one["dimension"] for one in engine.stats()["models"]}
        shown = name or engine.text_model or engine.image_model or engine.models[0]
        return Encoding(
            shown,
            dims.get(shown, 0),
            lambda pictures: engine.encode_images(pictures, model=name),
            lambda texts: engine.encode_texts(texts, model=name),
        )

    # The stages of a request

    def call(
        self,
        route: Route,
        method: str,
        path: str,
        values: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        address: str,
        *,
        root: str = "",
    ) -> Call:
        """Returns a request that may be answered.

        Args:
            route: Its route.
            method: The HTTP method.
            path: The path.
            values: The values of the route's path.
            query: The values after the question mark.
            headers: The headers, by names in lower case.
            address: The client's.
            root: The path at which the application is mounted, which ``path`` lacks.

        Raises:
            Problem: The host, the origin or the key is not accepted, or there is no such catalog.
        """
        guard = self.guard
        guard.check_host(headers)
        guard.check_origin(method, headers)
        name = values.get("catalog")
        catalog = self.first if name is None else self.catalogs.get(name)
        if route.needs == "open" or (
            route.needs == "media"
            and catalog is not None
            and "s" in query
            and guard.is_signed(f"{catalog.name}/{values.get('digest')}", query)
        ):
            principal = guard.anyone
        else:
            principal = guard.identify(headers, address)
        if catalog is None:
            raise Problem(404, "unknown_catalog", f"this server has the catalogs {', '.join(self.catalogs)}")
        if route.needs == "write" and not principal.writes:
            if guard.read_only:
                raise Problem(403, "read_only", "this server changes nothing: start it without --read-only")
            raise Problem(403, "forbidden", "this key may only read: use a write key")
        if self.draining and route.lane is not None:
            raise Problem(503, "stopping", "the server stops: try again later", headers={"Retry-After": "5"})
        found = BASE.match(path)
        base = root + (found[1] if found else "")
        prefix = f"{base}/api/v1" if name is None else f"{base}/api/v1/catalogs/{catalog.name}"
        return Call(method, base, values, query, headers, principal, catalog, prefix)

    def limit(self, headers: Mapping[str, str], route: Route) -> int:
        """Returns how many bytes the body of a request may have: those that it declares, or the most.

        Raises:
            Problem: It declares too many, or no number.
        """
        limits = self.settings.limits
        is_json = "application/json" in headers.get("content-type", "").lower()
        most = limits.json_body if route.body == "json" or (route.body == "pictures" and is_json) else limits.body
        declared = headers.get("content-length")
        if declared is None:
            return most
        if not declared.isascii() or not declared.isdigit():
            raise Problem(400, "length", "the header Content-Length is no number")
        if int(declared) > most:
            raise too_large(most)
        return int(declared)

    @contextlib.contextmanager
    def admitted(self, lane: Lane, size: int) -> Iterator[None]:
        """Counts a request and the bytes of its body, until it is answered.

        Raises:
            Problem: Too many requests wait, or too many bytes are held.
        """
        lane.enter()
        held = 0
        try:
            if size:
                self.memory.take(size)
                held = size
            yield
        finally:
            lane.leave()
            if held:
                self.memory.give(held)

    def seconds(self, route: Route) -> float:
        """Returns how long a request of a route may take."""
        limits = self.settings.limits
        own = {"write": limits.write_timeout, "inspect": limits.inspect_timeout}
        return limits.timeout if route.lane is None else own.get(route.lane, limits.timeout)

    def run(self, route: Route, call: Call) -> Answer:
        """Computes the answer of a request."""
        answer = route.handler(self, call)
        return answer if isinstance(answer, Answer) else Answer(dump(answer))

    def failure(self, error: BaseException, request_id: str, *, seed: bool = False) -> Answer:
        """Returns the answer to a request that failed; ``seed`` says whether in the form of ``/api/search``."""
        problem = problem_of(error, request_id)
        if seed:
            body = {"success": False, "error": problem.detail, "code": problem.code, "request_id": request_id}
            return Answer(dump(body), problem.status, headers=problem.headers)
        body = problem.body(request_id)
        return Answer(dump(body), problem.status, "application/problem+json", problem.headers)


def _remove(folder: Path, process: int) -> None:
    """Removes a folder at the end of the process that has made it, not of its children."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def too_large(most: int) -> Problem:
    """Returns the problem of a body of too many bytes."""
    return Problem(413, "too_large", f"the body has more than {most} bytes: send a smaller one")


def server_timing(times: Mapping[str, float]) -> str:
    """Returns how long the stages of a request took, as the header ``Server-Timing``."""
    return ", ".join(f"{stage};dur={took * 1000:.2f}" for stage, took in times.items())


def request_id_of(headers: Mapping[str, str]) -> str:
    """Returns the id that a client has given its request, or a new one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


#: A white picture of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f80f0001010100b138f614"
    "0000000049454e44ae426082"
)
