"""The engine for asyncio: the same answers, and an event loop that goes on."""

from __future__ import annotations

import asyncio
import inspect
import threading
from pathlib import Path

import numpy as np
import pytest

import plushie_search as ps

#: Attributes that need no thread, and names that an async class spells otherwise.
LEFT = {"path", "models", "image_model", "text_model"}


def test_each_method_of_the_engine_is_there() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(ps.Engine) - LEFT - public(ps.AsyncEngine) == set()
    assert public(ps.AsyncEngine) - public(ps.Engine) == {"open"}
    for name in public(ps.Engine) - LEFT - {"close", "iterate"}:
        method = getattr(ps.AsyncEngine, name)
        assert inspect.iscoroutinefunction(method)
        assert list(inspect.signature(method).parameters) == list(
            inspect.signature(getattr(ps.Engine, name)).parameters
        )


def test_answers_are_the_engines(toy_model: Path, tmp_path: Path) -> None:
    async def work() -> None:
        async with await ps.AsyncEngine.open(tmp_path / "catalog", model=toy_model) as engine:
            dim = (await engine.stats())["dimension"]
            rows = np.eye(dim)
            await engine.add_vectors([str(number) for number in range(dim)], rows)
            answers = await asyncio.gather(*(engine.search_vector(row, k=3) for row in rows))
            assert [answer[0].item for answer in answers] == [str(number) for number in range(dim)]
            assert answers == [engine.engine.search_vector(row, k=3) for row in rows]
            assert [item.id async for item in engine.iterate(batch=7)] == [str(number) for number in range(dim)]
            with pytest.raises(KeyError):
                await engine.get("nothing")
        with pytest.raises(ValueError, match="closed"):
            engine.engine.stats()

    asyncio.run(work())


def test_at_most_so_many_calls_run_at_once(toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, turn = 0, 0, threading.Lock()
    three = threading.Barrier(3)

    def stats(self: ps.Engine) -> dict[str, int]:
        nonlocal running, most
        with turn:
            running += 1
            most = max(most, running)
        three.wait(30)
        with turn:
            running -= 1
        return {}

    monkeypatch.setattr(ps.AsyncEngine, "stats", lambda self: self._run(lambda: stats(self.engine)))

    async def work() -> None:
        async with ps.AsyncEngine(ps.Engine(tmp_path / "catalog", model=toy_model), limit=3) as engine:
            beats = 0

            async def beat() -> None:
                nonlocal beats
                while True:
                    beats += 1
                    await asyncio.sleep(0)

            heart = asyncio.create_task(beat())
            await asyncio.gather(*(engine.stats() for _ in range(9)))
            heart.cancel()
            assert (most, beats > 0) == (3, True)

    asyncio.run(work())
    with pytest.raises(ValueError, match="limit 0: give 1 or more"):
        ps.AsyncEngine(None, limit=0)  # type: ignore[arg-type]
