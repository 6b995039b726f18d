"""A small catalog, and clients that ask it through FastAPI and through Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import plushie_search as ps

pytest.importorskip("fastapi")

from http_server import COLORS, fastapi_client, flask_client, png


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


@pytest.fixture(params=[fastapi_client, flask_client], ids=["fastapi", "flask"])
def opened(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Opens a client of an engine with a configuration."""
    return request.param


@pytest.fixture
def client(opened: Callable[..., Any], engine: ps.Engine) -> Iterator[Any]:
    """A client of the small catalog."""
    with opened(engine) as client:
        yield client
