"""A small catalog, and clients that ask it through FastAPI and through Flask."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import plushie_search as ps

pytest.importorskip("fastapi")

from flask import Flask
from starlette.testclient import TestClient

from plushie_search import server

COLORS = {"bear": (200, 30, 30), "toys/cat": (30, 200, 30), "dog": (30, 30, 200), "gray": (120, 120, 120)}


def png(color: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    """Returns a picture of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    """Four items of one picture each, of which the bear has a second one."""
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=2) as engine:
        for id, color in COLORS.items():
            engine.add(
                id, images=png(color), names=f"/secret/{id}.png", label=id[:1].upper(), metadata={"size": len(id)}
            )
        engine.add("bear", images=png((180, 40, 20)), names="second.png")
        yield engine


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


@pytest.fixture(params=[fastapi_client, flask_client], ids=["fastapi", "flask"])
def opened(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Opens a client of an engine with a configuration."""
    return request.param


@pytest.fixture
def client(opened: Callable[..., Any], engine: ps.Engine) -> Iterator[Any]:
    """A client of the small catalog."""
    with opened(engine) as client:
        yield client
