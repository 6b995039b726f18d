"""Long work in the background: its state in files, which all processes of a server share."""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from .coding import dump
from .errors import Problem, problem_of

#: For how many seconds a job that has ended is kept, and how often its state is written.
KEPT, STEP = 3600.0, 0.2

ENDED = frozenset({"done", "failed", "cancelled"})

ID = re.compile(r"[\w-]{10,40}")


class Job:
    """A job that runs.

    Attributes:
        state: What clients are told: id, kind, state, done, total, failures and report.
        cancelled: Whether it is to stop.
    """

    def __init__(self, jobs: Jobs, state: dict[str, Any]) -> None:
        self._jobs, self.state = jobs, state
        self._written = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether it is to stop."""
        return self._jobs.is_cancelled(self.state["id"])

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Notes how far the work is."""
        self.state.update(done=done, total=total)
        now = time.monotonic()
        if now - self._written >= STEP:
            self._written = now
            self._jobs.write(self.state)


class Jobs:
    """The jobs of a server, one of which runs at a time in each process.

    Args:
        folder: The folder of their files.
        most: The most jobs that wait.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="plushie-job")
        self._waiting = 0
        self._lock = threading.Lock()
        self.draining = False

    def start(self, kind: str, catalog: str, total: int | None, work: Callable[[Job], dict[str, Any]]) -> Any:
        """Starts work in the background, and returns its state.

        Raises:
            Problem: Too many jobs wait.
        """
        with self._lock:
            if self._waiting > self._most:
                raise Problem(429, "busy", "too many jobs wait: try again later", headers={"Retry-After": "10"})
            self._waiting += 1
        self._forget()
        state = {
            "id": secrets.token_urlsafe(12),
            "kind": kind,
            "catalog": catalog,
            "state": "queued",
            "done": 0,
            "total": total,
            "failures": [],
            "report": None,
        }
        self.write(state)
        job = Job(self, dict(state))
        self._pool.submit(self._run, job, work)
        return state

    def _run(self, job: Job, work: Callable[[Job], dict[str, Any]]) -> None:
        state = job.state
        try:
            if not job.cancelled:
                state["state"] = "running"
                self.write(state)
                state["report"] = work(job)
            state["state"] = "cancelled" if job.cancelled else "done"
        except Exception as error:
            if job.cancelled:
                state["state"] = "cancelled"
                return
            problem = problem_of(error, f"job {state['id']}")
            state.update(state="failed", error={"code": problem.code}, detail=problem.detail)
        finally:
            with self._lock:
                self._waiting -= 1
            self.write(state)

    def write(self, state: dict[str, Any]) -> None:
        """Stores the state of a job, whole or not at all."""
        path = self._folder / f"{state['id']}.json"
        new = path.with_suffix(".new")
        new.write_bytes(dump(state))
        os.replace(new, path)

    def read(self, id: str) -> dict[str, Any]:
        """Returns the state of a job.

        Raises:
            Problem: There is none.
        """
        if ID.fullmatch(id):
            with suppress(OSError):
                state: dict[str, Any] = json.loads((self._folder / f"{id}.json").read_bytes())
                return state
        raise Problem(404, "unknown_job", "there is no job of this id: jobs are kept for an hour")

    def cancel(self, id: str) -> None:
        """Asks a job to stop."""
        (self._folder / f"{id}.cancel").touch()

    def is_cancelled(self, id: str) -> bool:
        """Returns whether a job is to stop."""
        return self.draining or (self._folder / f"{id}.cancel").exists()

    def close(self) -> None:
        """Stops the job that runs after its present batch, and those that wait."""
        self.draining = True
        self._pool.shutdown(wait=True)

    def _forget(self) -> None:
        """Deletes what is left of old jobs."""
        for pattern in ("*.json", "*.cancel"):
            for path in self._folder.glob(pattern):
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > KEPT:
                        path.unlink()
