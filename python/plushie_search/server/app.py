"""The server as an application and as a router of FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .._core import __version__
from ..engine import Engine
from .call import Answer, Call, Route
from .errors import Problem
from .files import Page
from .lanes import Lane
from .middleware import Endpoint, Outer, Receive, Scope, Send, headers_of
from .opening import Source, mounted, opened
from .routes import routes
from .service import Service, request_id_of, server_timing, too_large
from .settings import Settings

#: How often a stream of events looks for news, in seconds.
POLL = 0.2


def create_app(source: Source, *, settings: Settings | None = None) -> FastAPI:
    """Returns the server as an application, with the web page.

    Args:
        source: An open engine, several by their names, of which the first is the default, or a configuration, whose
            catalogs are opened here and closed when the application ends.
        settings: The configuration, if ``source`` is none; see :class:`Settings`.

    Raises:
        ArgumentError: The configuration names no catalog, or something in it cannot be used.
        CatalogError: A catalog cannot be opened.
        ModelError: A model cannot be opened.
    """
    engines, settings, owned = opened(source, settings)
    service = Service(engines, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _drain_on_signals(service)
        warming = asyncio.create_task(run_in_threadpool(service.warm))
        try:
            yield
        finally:
            service.drain()
            warming.cancel()
            await run_in_threadpool(service.close)
            if owned:
                for engine in engines.values():
                    engine.close()

    app = Application(
        title="plushie_search",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    endpoints = _endpoints(service)
    app.include_router(_router(endpoints))
    page = Page(anew=settings.server.mode == "dev")

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        try:
            return _response(page.answer(name, headers_of(request.scope)))
        except Problem as problem:
            return _response(service.failure(problem, request_id_of(headers_of(request.scope))))

    if not settings.server.encoder_only:
        app.router.add_route("/", file, methods=["GET"], include_in_schema=False)
        app.router.add_route("/static/{name:path}", file, methods=["GET"], include_in_schema=False)
    app.direct = {(route.method, path): endpoint for path, route, endpoint in endpoints if "{" not in path}
    return app


class Application(FastAPI):
    """The application, whose outermost layer is ours: the framework's own ones are not for routes that are direct.

    Attributes:
        direct: Endpoints by method and path.
    """

    direct: Mapping[tuple[str, str], Endpoint]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, without what the framework does to each one before its first layer."""
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> Any:
        """Returns the layers that a request goes through."""
        return Outer(super().build_middleware_stack(), self.state.service, self.direct)


def router(engine: Engine | Mapping[str, Engine], *, settings: Settings | None = None) -> APIRouter:
    """Returns the routes without the page, to include in an application of your own.

    The application answers for host names and for its own errors. Engines stay open when it ends.

    Args:
        engine: An open engine, or several by their names; the first is the default.
        settings: The configuration; see :class:`Settings`.

    Raises:
        ArgumentError: There is no engine, or the file of keys cannot be read.
    """
    return _router(_endpoints(mounted(engine, settings)))


def _endpoints(service: Service) -> list[tuple[str, Route, Endpoint]]:
    """Returns every path with its route and its endpoint."""
    slots = {name: asyncio.Semaphore(lane.threads) for name, lane in service.lanes.items()}
    found = routes(encoder_only=service.settings.server.encoder_only)
    return [(path, route, _endpoint(service, route, slots)) for path, route in found]


def _router(endpoints: list[tuple[str, Route, Endpoint]]) -> APIRouter:
    made = APIRouter()
    for path, route, endpoint in endpoints:
        made.add_api_route(
            path,
            _responding(endpoint),
            methods=[route.method],
            response_model=None,
            name=route.name,
            summary=(route.handler.__doc__ or "").partition("\n")[0],
        )
    return made


def _endpoint(service: Service, route: Route, slots: Mapping[str, asyncio.Semaphore]) -> Endpoint:
    async def endpoint(request: Request) -> Answer:
        times = {"total": time.perf_counter()}
        headers = headers_of(request.scope)
        request_id = request.scope.get("plushie_request_id") or request_id_of(headers)
        try:
            answer = await _answer(service, route, slots, request, headers, request_id, times)
        except Exception as error:
            answer = service.failure(error, request_id, seed=route.seed)
        lane = route.lane or "none"
        times["total"] = time.perf_counter() - times["total"]
        request.scope["plushie_times"] = times
        for stage, seconds in times.items():
            service.metrics.time(stage, lane, seconds)
        service.metrics.count(route.name, answer.status)
        answer.headers.setdefault("X-Request-ID", request_id)
        answer.headers["Server-Timing"] = server_timing(times)
        return answer

    return endpoint


def _responding(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        return _response(await endpoint(request))

    return respond


async def _answer(
    service: Service,
    route: Route,
    slots: Mapping[str, asyncio.Semaphore],
    request: Request,
    headers: Mapping[str, str],
    request_id: str,
    times: dict[str, float],
) -> Answer:
    """Returns the answer of a request, and notes in ``times`` how long its stages took."""
    scope = request.scope
    root = scope.get("root_path", "")
    path = scope["path"].removeprefix(root) if root else scope["path"]
    client = scope.get("client")
    call = service.call(
        route,
        scope["method"],
        path,
        request.path_params,
        dict(request.query_params) if scope["query_string"] else {},
        headers,
        client[0] if client else "unknown",
        root=root,
    )
    call.request_id = request_id
    if route.lane is None:
        return service.run(route, call)
    lane = service.lanes[route.lane]
    size = service.limit(headers, route) if route.body else 0
    with service.admitted(lane, size):
        async with _Deadline(times["total"] + service.seconds(route) - time.perf_counter()) as deadline:
            if route.body:
                deadline.stage = "the body did not arrive in time: send it faster or make it smaller"
                began = time.perf_counter()
                call.body = await _body(request, size)
                times["read"] = time.perf_counter() - began
            deadline.stage = "the answer took too long: try again later"
            return await _compute(service, route, lane, slots[route.lane], request, call, times)


async def _compute(
    service: Service,
    route: Route,
    lane: Lane,
    slots: asyncio.Semaphore,
    request: Request,
    call: Call,
    times: dict[str, float],
) -> Answer:
    """Computes an answer in a thread of the lane, when there is one."""
    began = time.perf_counter()
    waited = slots.locked()
    await slots.acquire()
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Answer] = loop.create_future()

    def finish(answer: Answer | None, error: BaseException | None) -> None:
        # A thread that computes cannot be stopped: its place is free when it ends, not when the client was answered.
        slots.release()
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        elif answer is not None:
            found.set_result(answer)

    def work() -> None:
        answer, problem = None, None
        try:
            answer = service.run(route, call)
        except BaseException as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(finish, answer, problem)

    try:
        if waited and await request.is_disconnected():
            raise Problem(499, "gone", "the client went away before it was answered")
        started = time.perf_counter()
        times["queue"] = started - began
        lane.pool.submit(work)
    except BaseException:
        slots.release()
        raise
    answer = await found
    times["compute"] = time.perf_counter() - started
    times |= call.stages
    lane.took(times["compute"])
    return answer


async def _body(request: Request, most: int) -> bytes:
    """Returns the body of a request.

    Raises:
        Problem: It has more bytes.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise too_large(most)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Deadline:
    """Ends what is awaited within it after some seconds.

    Raises:
        Problem: The time was over.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over = False
        self.stage = ""

    async def __aenter__(self) -> _Deadline:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, self._seconds), self._end)
        return self

    def _end(self) -> None:
        self._over = True
        assert self._task is not None
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._timer.cancel()
        if self._over and kind is asyncio.CancelledError:
            if (uncancel := getattr(self._task, "uncancel", None)) is not None:
                uncancel()  # Python 3.11 counts what was cancelled
            raise Problem(504, "timeout", self.stage, headers={"Retry-After": "1"}) from None


def _response(answer: Answer) -> Response:
    if answer.poll is not None:
        return StreamingResponse(_polled(answer.poll), answer.status, answer.headers, answer.media_type)
    return Response(answer.body, answer.status, answer.headers, answer.media_type)


async def _polled(poll: Callable[[], bytes | None]) -> AsyncIterator[bytes]:
    while (piece := poll()) is not None:
        if piece:
            yield piece
        await asyncio.sleep(POLL)


def _drain_on_signals(service: Service) -> None:
    """Lets streams of events end as soon as the process is asked to stop; what else a signal does stays."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if not callable(before):
            continue

        def stop(number: int, frame: Any, before: Callable[..., Any] = before) -> None:
            service.drain()
            before(number, frame)

        signal.signal(number, stop)
