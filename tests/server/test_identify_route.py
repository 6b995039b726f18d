"""Which item a picture shows, over HTTP: the answer of the engine, through FastAPI and Flask."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from http_server import framed, png

import plushie_search as ps

RED, BLUE = png((201, 31, 29)), png((20, 20, 240))


def told(answer: Any) -> tuple[Any, ...]:
    """Returns what an answer says."""
    body = answer.json()
    names = ("verdict", "item", "probability", "margin", "strength", "threshold", "plausible")
    hits = [(hit["item"], hit["score"], hit["probability"], hit["similarity"]) for hit in body["results"]]
    return (*(body[name] for name in names), hits)


def of_engine(found: ps.Identification) -> tuple[Any, ...]:
    hits = [(hit.item, hit.score, hit.probability, hit.similarity) for hit in found.hits]
    figures = (found.verdict, found.item, found.probability, found.margin, found.strength, found.threshold)
    return (*figures, list(found.plausible), hits)


def test_a_raw_picture_is_identified(client: Any, engine: ps.Engine) -> None:
    answer = client.post("/api/v1/identify?k=2&target_fpr=0.1", content=RED, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    assert told(answer) == of_engine(engine.identify(RED, k=2, target_fpr=0.1))
    assert (answer.json()["query"], answer.json()["notices"]) == ({"image": 1, "k": 2}, [])
    assert answer.json()["results"][0]["similarity"] == answer.json()["probability"]
    assert answer.json()["results"][0]["thumbnail"].startswith("/api/v1/media/")


def test_several_pictures_are_one_thing(client: Any, engine: ps.Engine) -> None:
    wanted = of_engine(engine.identify(ps.Query(image=[RED, BLUE]), prior=0.2, where={"label": "B"}))
    files = [("image", ("a.png", RED, "image/png")), ("image", ("b.png", BLUE, "image/png"))]
    fields = {"prior": "0.2", "where": '{"label": "B"}', "k": "5"}
    assert told(client.post("/api/v1/identify", files=files, data=fields)) == wanted
    images = [base64.b64encode(one).decode() for one in (RED, BLUE)]
    body = {"query": {"image": images}, "prior": 0.2, "where": {"label": "B"}, "k": 5, "models": "toy"}
    assert told(client.post("/api/v1/identify", json=body)) == wanted


def test_the_middles_of_pictures_count_if_they_are_asked_for(client: Any, engine: ps.Engine) -> None:
    picture = framed((201, 31, 29), (20, 20, 240))
    for path, ask in (("identify", engine.identify), ("search", engine.search_image)):
        scores = []
        for crops in (True, False):
            found = ask(picture, query_crops=crops)
            wanted = [hit.score for hit in getattr(found, "hits", found)]
            image = base64.b64encode(picture).decode()
            body = {"query": {"image": [image]}, "query_crops": crops, "k": 5}
            answers = [
                client.post(f"/api/v1/{path}", json=body),
                client.post(
                    f"/api/v1/{path}?k=5&query_crops={str(crops).lower()}",
                    content=picture,
                    headers={"Content-Type": "image/png"},
                ),
            ]
            for answer in answers:
                assert [hit["score"] for hit in answer.json()["results"]] == pytest.approx(wanted, abs=1e-6)
            scores.append(wanted)
        assert scores[0] != pytest.approx(scores[1], abs=1e-3)
    answer = client.post("/api/v1/identify?query_crops=3", content=picture, headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "query_crops: give true or false")


def test_a_catalog_of_no_item_knows_nothing(opened: Any, toy_model: Any, tmp_path: Any) -> None:
    with ps.Engine(tmp_path / "empty", model=toy_model) as engine, opened(engine) as client:
        answer = client.post("/api/v1/identify", content=RED, headers={"Content-Type": "image/png"})
        assert told(answer) == of_engine(engine.identify(RED))
        assert told(answer)[:4] == ("unknown", None, None, None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"text": "bear"}, "texts are not calibrated in this catalog"),
        ({"item": "bear"}, "items, vectors or negative weights"),
        ({}, "is empty"),
        ({"text": "bear", "min_score": 0.5}, "unknown key 'min_score'"),
        ({"queries": [{"text": "bear"}]}, "send one request for each thing"),
        ({"text": "bear", "models": "lion"}, "no engine 'lion'"),
        ({"text": "bear", "target_fpr": "a"}, "target_fpr 'a': give a number"),
    ],
)
def test_what_cannot_be_identified_is_422(client: Any, body: Any, says: str) -> None:
    answer = client.post("/api/v1/identify", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "argument")
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("given", "says"), [("target_fpr=1", "above 0 and below 1"), ("prior=0", "above 0 and below 1"), ("k=0", "k 0")]
)
def test_an_option_beyond_its_limits_is_422(client: Any, given: str, says: str) -> None:
    answer = client.post(f"/api/v1/identify?{given}", content=RED, headers={"Content-Type": "image/png"})
    assert (answer.status_code, says in answer.json()["detail"]) == (422, True)


def test_statistics_tell_the_calibration(client: Any, engine: ps.Engine) -> None:
    engine.calibrate()
    assert client.get("/api/v1/stats").json()["calibration"] == engine.stats()["calibration"]
