"""The server as a blueprint of Flask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, request

from ..engine import Engine
from .app import POLL
from .call import Answer, Route
from .errors import Problem
from .opening import mounted
from .routes import routes
from .service import Service, request_id_of, server_timing, too_large
from .settings import Settings


def flask_blueprint(engine: Engine | Mapping[str, Engine], *, settings: Settings | None = None) -> Blueprint:
    """Returns the routes without the page, to register in an application of Flask.

    The application answers for host names and for its own errors. Engines stay open when it ends. A request that
    computes is not cut off at its time limit, since its thread is the server's.

    Args:
        engine: An open engine, or several by their names; the first is the default.
        settings: The configuration; see :class:`Settings`.

    Raises:
        ArgumentError: There is no engine, or the file of keys cannot be read.
    """
    service = mounted(engine, settings)
    blueprint = Blueprint("plushie_search", __name__)
    for path, route in routes(encoder_only=service.settings.server.encoder_only):
        rule = path.replace("{id:path}", "<path:id>").replace("{", "<").replace("}", ">")
        blueprint.add_url_rule(
            rule,
            endpoint=f"{route.method} {path}".replace(".", "_"),
            view_func=_view(service, route),
            methods=[route.method],
            provide_automatic_options=False,
        )
    return blueprint


def _view(service: Service, route: Route) -> Callable[..., Response]:
    def view(**values: str) -> Response:
        began = time.perf_counter()
        times: dict[str, float] = {}
        headers = {name.lower(): value for name, value in request.headers.items()}
        request_id = request_id_of(headers)
        try:
            answer = _answer(service, route, values, headers, request_id, began, times)
        except Exception as error:
            answer = service.failure(error, request_id, seed=route.seed)
        times["total"] = time.perf_counter() - began
        for stage, seconds in times.items():
            service.metrics.time(stage, route.lane or "none", seconds)
        service.metrics.count(route.name, answer.status)
        answer.headers.setdefault("X-Request-ID", request_id)
        answer.headers["Server-Timing"] = server_timing(times)
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        answer.headers.setdefault("Cache-Control", "no-store")
        body: Any = answer.body if answer.poll is None else _polled(answer.poll)
        return Response(body, answer.status, answer.headers, content_type=answer.media_type)

    return view


def _answer(
    service: Service,
    route: Route,
    values: Mapping[str, str],
    headers: Mapping[str, str],
    request_id: str,
    began: float,
    times: dict[str, float],
) -> Answer:
    """Returns the answer of a request, and notes in ``times`` how long its stages took."""
    call = service.call(
        route,
        request.method,
        request.path,
        values,
        request.args.to_dict(flat=True),
        headers,
        request.remote_addr or "unknown",
        root=request.script_root,
    )
    call.request_id = request_id
    if route.lane is None:
        return service.run(route, call)
    lane = service.lanes[route.lane]
    size = service.limit(headers, route) if route.body else 0
    with service.admitted(lane, size):
        if size:
            request.max_content_length = size
            call.body = request.stream.read(size + 1)
            if len(call.body) > size:
                raise too_large(size)
            times["read"] = time.perf_counter() - began
        arrived = time.perf_counter()
        left = began + service.seconds(route) - arrived
        if not lane.slots.acquire(timeout=max(0.0, left)):
            raise Problem(504, "timeout", "the answer took too long: try again later", headers={"Retry-After": "1"})
        try:
            started = time.perf_counter()
            times["queue"] = started - arrived
            answer = service.run(route, call)
            times["compute"] = time.perf_counter() - started
            times |= call.stages
            lane.took(times["compute"])
            return answer
        finally:
            lane.slots.release()


def _polled(poll: Callable[[], bytes | None]) -> Iterator[bytes]:
    while (piece := poll()) is not None:
        if piece:
            yield piece
        time.sleep(POLL)
