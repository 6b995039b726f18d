"""`AsyncEngine`: an engine whose calls are awaited."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ._core import ArgumentError
from .engine import Engine

if TYPE_CHECKING:
    from .query import Where
    from .results import Item

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    method: Callable[Concatenate[Engine, P], R],
) -> Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, R]]:
    async def call(self: AsyncEngine, /, *args: P.args, **options: P.kwargs) -> R:
        return await self._run(functools.partial(method, self.engine, *args, **options))

    functools.update_wrapper(call, method)
    return call


class AsyncEngine:
    """An :class:`Engine` for asyncio: each method returns an awaitable and runs in one of ``limit`` threads.

    The methods, their arguments, results and errors are those of :class:`Engine`. The event loop goes on while they
    run. A call that is cancelled before its thread starts does nothing; afterwards it ends by itself, and its result is
    dropped.

    ``async with await AsyncEngine.open("toys.catalog") as engine: hits = await engine.search_text("a bear")``

    Args:
        engine: The engine, which may be used beside this one.
        limit: The most calls that run at the same time, 1 or more; others wait for their turn. One encoding already
            uses all cores: the default of 8 lets quick searches pass it.

    Raises:
        ArgumentError: ``limit`` is below 1.
    """

    def __init__(self, engine: Engine, *, limit: int = 8) -> None:
        if limit < 1:
            raise ArgumentError(f"limit {limit}: give 1 or more")
        self.engine = engine
        self._threads = ThreadPoolExecutor(limit, thread_name_prefix="plushie_search")

    @classmethod
    async def open(cls, path: str | os.PathLike[str], *, limit: int = 8, **options: Any) -> AsyncEngine:
        """Opens a catalog without keeping the event loop waiting; ``options`` are those of :class:`Engine`."""
        return cls(await asyncio.to_thread(Engine, path, **options), limit=limit)

    async def _run(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    add = _awaited(Engine.add)
    add_folder = _awaited(Engine.add_folder)
    add_images = _awaited(Engine.add_images)
    add_items = _awaited(Engine.add_items)
    add_vectors = _awaited(Engine.add_vectors)
    import_vectors = _awaited(Engine.import_vectors)
    export = _awaited(Engine.export)
    update = _awaited(Engine.update)
    remove = _awaited(Engine.remove)
    remove_reference = _awaited(Engine.remove_reference)
    get = _awaited(Engine.get)
    count = _awaited(Engine.count)
    thumbnail = _awaited(Engine.thumbnail)
    original = _awaited(Engine.original)
    items = _awaited(Engine.items)
    page = _awaited(Engine.page)
    vectors = _awaited(Engine.vectors)
    search = _awaited(Engine.search)
    search_image = _awaited(Engine.search_image)
    search_text = _awaited(Engine.search_text)
    search_hybrid = _awaited(Engine.search_hybrid)
    search_vector = _awaited(Engine.search_vector)
    identify = _awaited(Engine.identify)
    calibrate = _awaited(Engine.calibrate)
    adapt = _awaited(Engine.adapt)
    forget_adapter = _awaited(Engine.forget_adapter)
    classify = _awaited(Engine.classify)
    compare = _awaited(Engine.compare)
    explain = _awaited(Engine.explain)
    inspect = _awaited(Engine.inspect)
    duplicates = _awaited(Engine.duplicates)
    review = _awaited(Engine.review)
    confirm = _awaited(Engine.confirm)
    encode_images = _awaited(Engine.encode_images)
    encode_texts = _awaited(Engine.encode_texts)
    evaluate = _awaited(Engine.evaluate)
    backup = _awaited(Engine.backup)
    verify = _awaited(Engine.verify)
    compact = _awaited(Engine.compact)
    optimize = _awaited(Engine.optimize)
    add_model = _awaited(Engine.add_model)
    reencode = _awaited(Engine.reencode)
    stats = _awaited(Engine.stats)

    async def iterate(self, where: Where | None = None, *, batch: int = 1000) -> AsyncIterator[Item]:
        """Yields the items one by one, as :meth:`Engine.iterate` does; ``batch`` of them are read in a thread."""
        items = self.engine.iterate(where, batch=batch)
        while some := await self._run(lambda: list(itertools.islice(items, batch))):
            for item in some:
                yield item

    async def close(self) -> None:
        """Waits for the calls that run, and closes the engine."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self.engine.close)

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncEngine({self.engine!r})"
