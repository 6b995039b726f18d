"""Clients of the server: in this process, of one in a thread, and of the command in a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from flask import Flask
from PIL import Image
from starlette.testclient import TestClient

import plushie_search as ps
from plushie_search import server

COLORS = {"bear": (200, 30, 30), "toys/cat": (30, 200, 30), "dog": (30, 30, 200), "gray": (120, 120, 120)}


def png(color: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    """Returns a picture of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def framed(color: tuple[int, int, int], frame: tuple[int, int, int]) -> bytes:
    """Returns a picture of one color in a broad frame of another."""
    file, picture = io.BytesIO(), Image.new("RGB", (40, 40), frame)
    picture.paste(color, (10, 10, 30, 30))
    picture.save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def fastapi_client(source: Any, settings: Any = None) -> Iterator[Any]:
    """Asks the application."""
    with TestClient(
        server.create_app(source, settings=settings), base_url="http://localhost", raise_server_exceptions=False
    ) as client:
        yield client


@contextlib.contextmanager
def flask_client(source: Any, settings: Any = None) -> Iterator[Any]:
    """Asks the blueprint."""
    app = Flask("test")
    app.register_blueprint(server.flask_blueprint(source, settings=settings))
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://localhost") as client:
        yield client


@contextlib.contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serves an application in a thread, and returns its address."""
    bound = socket.create_server(("127.0.0.1", 0))
    serving = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=serving.run, args=([bound],))
    thread.start()
    try:
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        wait_for(f"{address}/readyz")
        yield address
    finally:
        serving.should_exit = True
        thread.join(20)
        bound.close()


def wait_for(url: str, *, seconds: float = 60.0) -> None:
    """Waits until an address answers with success."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).is_success:
                return
        if time.monotonic() > end:
            raise AssertionError(f"{url} does not answer")
        time.sleep(0.05)


def wait_until(holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


class Serving:
    """The command ``serve`` in a process.

    Attributes:
        url: Its address.
        process: The process.
    """

    def __init__(self, *arguments: str, command: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
        line = command or (sys.executable, "-m", "plushie_search", "serve", *arguments, "--port", "0")
        self.log: list[str] = []
        self.url = ""
        self.process = subprocess.Popen(
            line, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def workers(self) -> list[int]:
        """The processes that answer for it, of several."""
        server = self.process.pid
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"(?:serving .* at |Listening at: )(http://[\d.]+:\d+)", line):
                self.url = found[1]

    def __enter__(self) -> Serving:
        end = time.monotonic() + 60
        while not self.url and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert self.url, "".join(self.log)
        wait_for(f"{self.url}/readyz")
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops the process, and returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


def post_part(url: str, path: str, headers: dict[str, str], body: bytes) -> socket.socket:
    """Sends a request whose body is as short as given, and returns the open connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


def catalog_of(path: Path, model: Path, colors: dict[str, bytes]) -> Path:
    """Writes a catalog of pictures."""
    with ps.Engine(path, model=model) as engine:
        for id, picture in colors.items():
            engine.add(id, images=picture)
    return path
