"""The routes that classify and compare pictures, and that list duplicates and items that need attention."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonschema
import pytest
from http_server import COLORS, png

import plushie_search as ps
from plushie_search.server.openapi import document
from plushie_search.server.routes import routes

#: The toy model knows few words.
pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")

DOCUMENT = document(routes(), keys=False)
RED = png((201, 31, 29))


def told(name: str, answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json())
    return answer.json()


def test_pictures_are_classified(client: Any, engine: ps.Engine) -> None:
    wanted = engine.classify(RED, by="images").to_dict()
    found = told("Classified", client.post("/api/v1/classify", files={"image": RED}, data={"by": "images"}))
    assert found["results"] == wanted
    coded = base64.b64encode(RED).decode()
    body = {"image": [coded, coded], "by": "images"}
    assert told("Classified", client.post("/api/v1/classify", json=body))["results"] == [wanted, wanted]
    raw = client.post("/api/v1/classify?by=images", content=RED, headers={"Content-Type": "image/png"})
    assert told("Classified", raw)["results"] == wanted
    data = {"by": "images", "labels": json.dumps(["B", "D"])}
    found = told("Classified", client.post("/api/v1/classify", files={"image": RED}, data=data))
    assert {one["name"] for one in found["results"]["classes"]} == {"B", "D"}
    part = ps.Crop(RED, (0, 0, 0.5, 1))
    cut = {"image": [coded, coded], "crop": [[0, 0, 0.5, 1], None], "by": "images"}
    found = told("Classified", client.post("/api/v1/classify", json=cut))
    assert found["results"] == [one.to_dict() for one in engine.classify([part, RED], by="images")]
    data = {"by": "texts", "labels": json.dumps(["bear", "rabbit"]), "expand": json.dumps(["pink {}"])}
    found = told("Classified", client.post("/api/v1/classify", files={"image": RED}, data=data))
    assert found["results"] == engine.classify(RED, ["bear", "rabbit"], by="texts", expand=["pink {}"]).to_dict()


def test_pictures_are_compared(client: Any, engine: ps.Engine) -> None:
    first, second = png(COLORS["bear"]), png(COLORS["dog"])
    found = told("Compared", client.post("/api/v1/compare", files=[("image", first), ("image", second)]))
    wanted = engine.compare(first, second).to_dict()
    assert {key: found[key] for key in wanted} == wanted
    data = {"item": "bear", "threshold": "0.5"}
    found = told("Compared", client.post("/api/v1/compare", files={"image": first}, data=data))
    assert (found["item"], found["same"], found["threshold"], found["reference"]) == ("bear", True, 0.5, "bear.png")
    cut = engine.compare(ps.Crop(first, (0, 0, 0.5, 1)), second).to_dict()
    data = {"crop": "[[0, 0, 0.5, 1], null]"}
    answer = client.post("/api/v1/compare", files=[("image", first), ("image", second)], data=data)
    assert told("Compared", answer)["scores"] == cut["scores"]
    coded = [base64.b64encode(one).decode() for one in (first, second)]
    assert told("Compared", client.post("/api/v1/compare", json={"image": coded}))["scores"] == wanted["scores"]


def test_duplicates_and_concerns_are_listed(client: Any, engine: ps.Engine) -> None:
    engine.add("twin", images=png(COLORS["bear"]), names="/secret/twin.png")
    found = told("Duplicates", client.get("/api/v1/duplicates?limit=5"))
    assert found["counts"] == engine.duplicates().counts
    first = found["pairs"][0]
    assert (first["kind"], first["first"]["reference"], first["second"]["item"]) == ("same bytes", "bear.png", "twin")
    assert client.get(first["second"]["thumbnail"]).status_code == 200
    found = told("Review", client.get("/api/v1/review", params={"where": '{"id": "twin"}'}))
    assert [one["item"] for one in found["items"]] == ["twin"]
    assert "/secret" not in client.get("/api/v1/review?margin=1").text + client.get("/api/v1/duplicates").text


@pytest.mark.parametrize(
    ("method", "path", "how", "status", "said"),
    [
        ("POST", "/classify", {"json": {}}, 422, "0 pictures"),
        ("POST", "/classify", {"json": {"image": "no"}}, 422, "base64"),
        ("POST", "/classify", {"json": {"image": "", "color": 1}}, 422, "color"),
        ("POST", "/classify", {"files": {"image": RED}, "data": {"labels": '["B"]'}}, 422, "give two or more"),
        ("POST", "/classify", {"files": {"image": RED}, "data": {"labels": "{}"}}, 422, "list of at most"),
        ("POST", "/classify", {"files": {"image": RED}, "data": {"by": "magic"}}, 422, "choose auto"),
        ("POST", "/classify", {"files": {"image": RED}, "data": {"where": "[1]"}}, 422, "object"),
        ("POST", "/compare", {"files": {"image": RED}}, 422, "send two"),
        ("POST", "/compare", {"files": {"image": RED}, "data": {"item": "lion"}}, 404, "lion"),
        ("POST", "/compare", {"files": {"image": RED}, "data": {"item": "bear", "threshold": "2"}}, 422, "0 to 1"),
        ("POST", "/compare", {"files": {"image": RED}, "data": {"item": "bear", "models": "none"}}, 422, "none"),
        ("GET", "/duplicates?limit=0", {}, 422, "limit"),
        ("GET", "/duplicates?near=2", {}, 422, "near"),
        ("GET", "/review?margin=-1", {}, 422, "margin"),
        ("GET", "/review?color=red", {}, 422, "color"),
    ],
)
def test_bad_requests_are_refused(client: Any, method: str, path: str, how: Any, status: int, said: str) -> None:
    answer = client.request(method, f"/api/v1{path}", **how)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


def test_a_large_catalog_is_not_compared_while_a_client_waits(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plushie_search.server.handlers.answers.MAX_REFERENCES", 3)
    for path in ("duplicates", "review"):
        answer = client.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "argument")
        assert f"run `plushie-search {path}` where the catalog is" in answer.json()["detail"]
