"""Queues, deadlines and stops: refused before the body is read, answered in time, or not computed at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from http_server import listening, png, post_part

import plushie_search as ps
from plushie_search import server
from plushie_search.server.errors import Problem
from plushie_search.server.lanes import Lane, Memory

JSON = {"Content-Type": "application/json"}
RED = png((201, 31, 29))


class Gate:
    """Holds every call of a method, a search by default, until it is opened, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str = "search") -> None:
        self.opened, self.begun, self.computed = threading.Event(), threading.Semaphore(0), 0
        real = getattr(ps.Engine, method)

        def held(engine: ps.Engine, *given: Any, **options: Any) -> Any:
            self.computed += 1
            self.begun.release()
            assert self.opened.wait(20)
            return real(engine, *given, **options)

        monkeypatch.setattr(ps.Engine, method, held)

    def wait(self) -> None:
        assert self.begun.acquire(timeout=20)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def app_of(engine: ps.Engine, **limits: Any) -> Any:
    return server.create_app(engine, settings=server.load(limits=limits))


def inside(app: Any, count: int) -> None:
    """Waits until so many searches wait or compute."""
    lane = app.state.service.lanes["search"]
    for _ in range(400):
        if lane.inside == count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{lane.inside} searches, not {count}")


def search(url: str, text: str = "bear") -> httpx.Response:
    return httpx.post(f"{url}/api/v1/search", json={"text": text}, timeout=30)


def test_a_full_queue_is_told_before_the_body_is_read(engine: ps.Engine, gate: Gate) -> None:
    app = app_of(engine, slots=1, queue=1)
    with listening(app) as url, ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(search, url) for _ in range(2)]
        inside(app, 2)
        headers = {"Content-Type": "image/jpeg", "Content-Length": "20000000"}
        with post_part(url, "/api/v1/search", headers, b"") as connection:
            told = connection.recv(65536).decode()
        assert told.startswith("HTTP/1.1 429")
        assert "retry-after: 1" in told.lower()
        assert httpx.get(f"{url}/api/v1/items").status_code == 200
        gate.opened.set()
        assert [answer.result().status_code for answer in answers] == [200, 200]
        inside(app, 0)


def test_no_more_compute_than_there_are_slots(engine: ps.Engine, gate: Gate) -> None:
    app = app_of(engine, slots=2, queue=8)
    with listening(app) as url, ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(search, url) for _ in range(6)]
        inside(app, 6)
        time.sleep(0.2)
        assert gate.computed == 2
        gate.opened.set()
        assert {answer.result().status_code for answer in answers} == {200}
        assert gate.computed == 6


def test_a_late_answer_is_504_and_keeps_its_slot(engine: ps.Engine, gate: Gate) -> None:
    app = app_of(engine, slots=1, timeout=0.4)
    with listening(app) as url:
        began = time.monotonic()
        answer = search(url)
        assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
        assert 0.3 < time.monotonic() - began < 5
        assert search(url).status_code == 504
        assert gate.computed == 1
        gate.opened.set()
        for _ in range(50):
            if (status := search(url).status_code) == 200:
                break
        assert status == 200


def test_an_inspection_has_a_limit_and_a_slot_of_its_own(engine: ps.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "inspect")
    asked: Any = {"files": {"image": RED}, "data": {"item": "bear", "threshold": "0.5"}, "timeout": 30}
    with (
        listening(app_of(engine, slots=1, timeout=1.0)) as url,
        listening(app_of(engine, inspect_timeout=0.1)) as hasty,
        ThreadPoolExecutor(1) as threads,
    ):
        answer = threads.submit(httpx.post, f"{url}/api/v1/inspect", **asked)
        gate.wait()
        late = httpx.post(f"{hasty}/api/v1/inspect", **asked)
        assert (late.status_code, late.json()["code"]) == (504, "timeout")
        assert search(url).status_code == 200
        time.sleep(1.2)
        gate.opened.set()
        assert answer.result().status_code == 200


def test_a_slow_upload_keeps_no_slot(engine: ps.Engine) -> None:
    with listening(app_of(engine, slots=1, timeout=1.0)) as url:
        headers = {"Content-Type": "image/jpeg", "Content-Length": "1000"}
        began = time.monotonic()
        with post_part(url, "/api/v1/search", headers, b"x" * 10) as connection:
            assert search(url).status_code == 200
            told = ""
            while not told.endswith("}"):
                told += connection.recv(65536).decode()
        assert told.startswith("HTTP/1.1 504")
        assert "did not arrive in time" in told
        assert 0.5 < time.monotonic() - began < 10


def test_a_client_that_went_away_is_not_computed_for(engine: ps.Engine, gate: Gate) -> None:
    app = app_of(engine, slots=1, queue=4)
    with listening(app) as url, ThreadPoolExecutor(2) as threads:
        first = threads.submit(search, url)
        gate.wait()
        body = json.dumps({"text": "gone"}).encode()
        gone = post_part(url, "/api/v1/search", {**JSON, "Content-Length": str(len(body))}, body)
        inside(app, 2)
        third = threads.submit(search, url)
        inside(app, 3)
        gone.close()
        time.sleep(0.2)
        gate.opened.set()
        assert [first.result().status_code, third.result().status_code] == [200, 200]
        inside(app, 0)
        assert gate.computed == 2


def test_bodies_share_one_budget_of_memory(engine: ps.Engine, gate: Gate) -> None:
    app = app_of(engine, slots=4, memory=2 * len(RED) - 1)
    with listening(app) as url, ThreadPoolExecutor(1) as threads:
        how: Any = {"content": RED, "headers": {"Content-Type": "image/png"}, "timeout": 30}
        first = threads.submit(httpx.post, f"{url}/api/v1/search", **how)
        gate.wait()
        second = httpx.post(f"{url}/api/v1/search", **how)
        assert (second.status_code, second.json()["code"]) == (429, "busy")
        gate.opened.set()
        assert first.result().status_code == 200
        inside(app, 0)
        assert app.state.service.memory.held == 0


def test_a_server_that_stops_refuses_and_drains(engine: ps.Engine, gate: Gate) -> None:
    app = app_of(engine, slots=1)
    with listening(app) as url, ThreadPoolExecutor(1) as threads:
        running = threads.submit(search, url)
        gate.wait()
        app.state.service.drain()
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.get(f"{url}/healthz").status_code == 200
        late = search(url)
        assert (late.status_code, late.json()["code"]) == (503, "stopping")
        gate.opened.set()
        assert running.result().status_code == 200


def test_a_lane_estimates_when_to_come_back() -> None:
    lane = Lane("search", 2, 4)
    for _ in range(6):
        lane.enter()
    for _ in range(1000):
        lane.took(3.0)
    with pytest.raises(Problem) as refused:
        lane.enter()
    assert refused.value.headers == {"Retry-After": "9"}
    lane.leave()
    lane.enter()
    lane.close()


def test_memory_takes_one_body_of_any_size() -> None:
    memory = Memory(10)
    memory.take(20)
    with pytest.raises(Problem):
        memory.take(1)
    memory.give(20)
    memory.take(5)
    memory.take(5)
    assert memory.held == 10
