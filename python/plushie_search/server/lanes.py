"""Admission: how many requests compute, how many wait, and how many bytes of bodies are held."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

from .errors import Problem


class Lane:
    """Requests of one kind: as many compute as there are threads, some wait, and more are refused.

    Args:
        name: The name in metrics.
        threads: The most requests that compute at the same time.
        queue: The most requests that wait.
    """

    def __init__(self, name: str, threads: int, queue: int) -> None:
        self.name, self.threads, self.queue = name, threads, queue
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=f"plushie-{name}")
        #: For callers without an event loop.
        self.slots = threading.Semaphore(threads)
        self.inside = 0
        self._mean = 0.05
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Counts a request that arrives.

        Raises:
            Problem: Too many wait.
        """
        with self._lock:
            if self.inside < self.threads + self.queue:
                self.inside += 1
                return
            wait = math.ceil(self._mean * self.inside / self.threads)
        raise Problem(
            429, "busy", "too many requests wait: try again later", headers={"Retry-After": str(min(60, max(1, wait)))}
        )

    def leave(self) -> None:
        """Counts a request that is answered."""
        with self._lock:
            self.inside -= 1

    def took(self, seconds: float) -> None:
        """Notes how long a request has computed, by which ``Retry-After`` is estimated."""
        self._mean += 0.05 * (seconds - self._mean)

    def close(self) -> None:
        """Waits for the requests that compute."""
        self.pool.shutdown(wait=True, cancel_futures=True)


class Memory:
    """The bytes of all bodies that are held at the same time.

    Args:
        most: The most bytes.
    """

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Reserves bytes.

        Raises:
            Problem: Too many are held.
        """
        with self._lock:
            if self.held + size <= self.most or not self.held:
                self.held += size
                return
        raise Problem(429, "busy", "too many large requests at once: try again later", headers={"Retry-After": "1"})

    def give(self, size: int) -> None:
        """Gives bytes back."""
        with self._lock:
            self.held -= size
