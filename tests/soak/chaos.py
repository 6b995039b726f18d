"""Kills workers of a server, fills its disk and takes its model away, while clients search and add.

A request may end without an answer only when a worker is killed. Every answer is what was asked for, or a problem that
says why not; once the cause is gone, all requests succeed again; and what was added is there in the end.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import toy
from http_server import Serving, png, wait_until

import plushie_search as ps

from . import trial

#: Bytes of the disk of the catalog, where it can be made so small, and seconds of each act.
DISK, ACT = "24m", 2.0


class Clients:
    """Threads that ask, and their answers: when, what, the status or 0, and the problem's code or the failure."""

    def __init__(self, url: str, seed: int) -> None:
        self.url, self.seed = url, seed
        self.stop = threading.Event()
        self.answers: list[tuple[float, str, int, str]] = []
        self.added: list[str] = []
        self.threads = [threading.Thread(target=self._ask, args=[n]) for n in range(4)]
        for thread in self.threads:
            thread.start()

    def _ask(self, number: int) -> None:
        rng, turn = random.Random(f"{self.seed}-{number}"), 0
        while not self.stop.is_set():
            turn += 1
            kind = "add" if number == 0 else "picture" if turn % 2 else "text"
            # A new connection each time, so that it comes to any of the workers.
            try:
                with httpx.Client(base_url=self.url, timeout=30) as client:
                    answer = self._send(client, kind, f"i{number}-{turn}", rng)
            except httpx.TransportError as error:
                self.answers.append((time.monotonic(), kind, 0, f"{type(error).__name__}: {error}"))
                time.sleep(0.05)
                continue
            said = answer.json()
            why = "" if answer.is_success else f"{said['code']}: {said['detail']}"
            self.answers.append((time.monotonic(), kind, answer.status_code, why))
            if kind == "add" and answer.is_success:
                self.added.append(f"i{number}-{turn}")

    def _send(self, client: httpx.Client, kind: str, id: str, rng: random.Random) -> httpx.Response:
        picture = png((rng.randrange(256), rng.randrange(256), rng.randrange(256)))
        if kind == "add":
            return client.post("/api/v1/items", files={"image": picture}, data={"id": id})
        if kind == "picture":
            return client.post("/api/v1/search", content=picture, headers={"Content-Type": "image/png"})
        return client.post("/api/v1/search", json={"text": f"teddy {rng.randrange(10**6)}", "k": 3})

    def since(self, begin: float) -> list[tuple[float, str, int, str]]:
        return [answer for answer in list(self.answers) if answer[0] >= begin]

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """Makes a small disk of a folder if this user may; says whether it has."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def settled(clients: Clients, url: str, *, what: str) -> None:
    """Waits until all answers are right again."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        begin = time.monotonic()
        time.sleep(ACT / 2)
        seen = clients.since(begin)
        if {kind for _, kind, *_ in seen} == {"add", "picture", "text"} and all(200 <= one[2] < 300 for one in seen):
            return
    raise AssertionError(f"a minute after {what}: {clients.since(begin)[-5:]}")


def told(answers: list[Any], allowed: set[str], *, broken: bool) -> None:
    """Each answer is right or a problem that is allowed; connections break only if they may."""
    wrong = [
        one
        for one in answers
        if not 200 <= one[2] < 300 and (one[3].split(":")[0] not in allowed if one[2] else not broken)
    ]
    assert not wrong, wrong[:5]


def one(number: int, rng: random.Random, options: Any) -> trial.Figures:
    with trial.folder(options.base) as work:
        model, small = toy.write(work / "model"), work / "disk"
        small.mkdir()
        with disk(small) as is_small:
            catalog = small / "c.catalog"
            with ps.Engine(catalog, model=model, threads=1) as engine:
                engine.add("first", images=[png((1, 2, 3))])
            with Serving(str(catalog), "--workers", "2") as serving:
                clients = Clients(serving.url, rng.randrange(2**32))
                try:
                    figures = acts(serving, clients, model, small if is_small else None)
                finally:
                    clients.end()
                assert serving.stop() == 0
                assert not [line for line in serving.log if "panicked" in line or "Traceback" in line], serving.log[
                    -20:
                ]
            with ps.Engine(catalog, model=model, threads=1) as engine:
                lost = [id for id in clients.added if id not in engine]
                assert not lost, f"{len(lost)} of {len(clients.added)} that were acknowledged are lost"
                assert engine.verify().ok
    figures["requests"], figures["acknowledged"] = len(clients.answers), len(clients.added)
    figures["broken"] = sum(status == 0 for _, _, status, _ in clients.answers)
    figures["refused"] = sum(status >= 400 for _, _, status, _ in clients.answers)
    return figures


def acts(serving: Serving, clients: Clients, model: Path, small: Path | None) -> trial.Figures:
    figures: trial.Figures = {"kills": 0, "full_disks": 0, "models_gone": 0}

    def kill() -> None:
        os.kill(serving.workers()[0], signal.SIGKILL)
        figures["kills"] += 1

    def are_others() -> bool:
        """Whether the server has replaced a worker that seemed to hang, as on a machine that is very busy."""
        return serving.workers() != before

    # The command itself opens the model first, then each of its workers.
    def all_open() -> bool:
        return sum("opened model" in line for line in serving.log) >= 3 + figures["kills"]

    wait_until(all_open)
    settled(clients, serving.url, what="the start")
    begin = time.monotonic()
    kill()
    settled(clients, serving.url, what="a kill")
    told(clients.since(begin), set(), broken=True)
    if small is not None:
        begin, before = time.monotonic(), serving.workers()
        with (small / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        time.sleep(2 * ACT)
        seen = clients.since(begin)
        assert any(one[2] == 507 for one in seen), f"no add met the full disk: {seen[-5:]}"
        assert {one[2] for one in seen if one[1] != "add"} <= {0, 200}, "a full disk keeps nobody from searching"
        (small / "fill").unlink()
        settled(clients, serving.url, what="a full disk")
        told(clients.since(begin), {"disk_full", "busy"}, broken=are_others())
        figures["full_disks"] += 1
    wait_until(all_open)
    begin, before = time.monotonic(), serving.workers()
    away = model.rename(model.with_name("elsewhere"))
    time.sleep(ACT)
    told(clients.since(begin), set(), broken=are_others())
    kill()
    # The other one goes on, while that which takes its place waits for the model.
    settled(clients, serving.url, what="a kill without the model")
    waiting = [one for one in serving.workers() if one not in before]
    away.rename(model)
    settled(clients, serving.url, what="the return of the model")
    assert set(waiting) <= set(serving.workers()), "it starts when the model is back"
    told(clients.since(begin), set(), broken=True)
    figures["models_gone"] += 1
    return figures


if __name__ == "__main__":
    found = trial.options("chaos", __doc__.splitlines()[0], rounds=20)
    raise SystemExit(trial.run(found, lambda number, rng: one(number, rng, found)))
