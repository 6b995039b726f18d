"""The routes within applications of others."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask
from http_server import COLORS, png
from starlette.testclient import TestClient

import plushie_search as ps
from plushie_search import server

RED = png((201, 31, 29))


def test_a_router_is_included_in_fastapi(engine: ps.Engine) -> None:
    app = FastAPI()

    @app.get("/own")
    def own() -> dict[str, bool]:
        return {"own": True}

    app.include_router(server.router(engine), prefix="/toys")
    with TestClient(app, base_url="http://shop.example") as client:
        assert client.get("/own").json() == {"own": True}
        hit = client.post("/toys/api/search/image", files={"image": ("a.png", RED)}).json()["results"][0]
        assert hit["class_name"] == "bear"
        assert hit["thumbnail"].startswith("/toys/api/v1/media/")
        assert client.get(hit["thumbnail"]).content == engine.thumbnail("bear")
        missing = client.get("/toys/api/v1/items/none")
        assert (missing.status_code, missing.headers["Content-Type"]) == (404, "application/problem+json")
        assert client.get("/toys/readyz").status_code == 200
        assert "/toys/api/v1/search" in client.get("/openapi.json").json()["paths"]
    assert len(engine) == len(COLORS)


def test_the_application_is_mounted_below_a_path(engine: ps.Engine) -> None:
    app = FastAPI()
    app.mount("/plush", server.create_app(engine))
    with TestClient(app, base_url="http://localhost") as client:
        hit = client.post("/plush/api/v1/search", json={"text": "teddy"}).json()["results"][0]
        assert hit["thumbnail"].startswith("/plush/api/v1/media/")
        assert client.get(hit["thumbnail"]).status_code == 200
        assert client.get("/plush/api/v1/items/none").json()["success"] is False


@pytest.mark.parametrize("prefix", [None, "/toys"])
def test_a_blueprint_is_registered_in_flask(engine: ps.Engine, prefix: str | None) -> None:
    app = Flask("shop")
    app.register_blueprint(server.flask_blueprint(engine), url_prefix=prefix)
    base = prefix or ""
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://shop.example") as client:
        hit = client.post(f"{base}/api/v1/search", content=RED, headers={"Content-Type": "image/png"}).json()[
            "results"
        ][0]
        assert (hit["item"], hit["thumbnail"].startswith(f"{base}/api/v1/media/")) == ("bear", True)
        assert client.get(hit["thumbnail"]).content == engine.thumbnail("bear")


def test_two_routers_in_one_application(engine: ps.Engine) -> None:
    app: Any = FastAPI()
    app.include_router(server.router(engine), prefix="/one")
    app.include_router(server.router({"a": engine, "b": engine}), prefix="/two")
    with TestClient(app) as client:
        assert client.get("/one/api/v1/stats").json()["catalogs"] == ["default"]
        assert client.get("/two/api/v1/stats").json()["catalogs"] == ["a", "b"]
