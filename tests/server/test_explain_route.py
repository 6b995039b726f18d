"""The routes that explain hits and inspect photos."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from http_server import COLORS, listening, png

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


def test_a_hit_is_explained(client: Any, engine: ps.Engine) -> None:
    wanted = engine.explain(RED, "bear").to_dict()
    found = told("Explained", client.post("/api/v1/explain", files={"image": RED}, data={"item": "bear"}))
    same = ("score", "attention_map", "key_features", "explanation", "query", "pairs", "runner_up", "passes")
    assert {key: found[key] for key in same} == {key: wanted[key] for key in same}
    assert found["reference"] == "bear.png"
    body = {"image": base64.b64encode(RED).decode(), "item": "bear", "detail": 2, "language": "zh", "sides": "query"}
    found = told("Explained", client.post("/api/v1/explain", json=body))
    assert found["passes"] == 82
    assert found["matched"] is None
    assert "匹配" in found["explanation"]
    found = told("Explained", client.post("/api/v1/explain", json={"text": "red teddy", "item": "bear"}))
    assert found["query"] is None
    assert {one["word"] for one in found["key_features"] if one["kind"] == "word"} == {"red", "teddy"}


def test_photos_are_inspected(client: Any, engine: ps.Engine) -> None:
    files = [("image", RED), ("image", b"no picture")]
    found = told("Inspected", client.post("/api/v1/inspect", files=files, data={"item": "bear", "threshold": "0.5"}))
    wanted: Any = engine.inspect([RED], "bear", threshold=0.5)
    assert found["results"][0]["similarity"] == wanted[0].similarity
    assert found["results"][0]["nearest"][0]["reference"] == "bear.png"
    assert [one["photo"] for one in found["failed"]] == ["1"]


@pytest.mark.parametrize(
    ("path", "how", "status", "said"),
    [
        ("/explain", {"files": {"image": RED}}, 422, "item"),
        ("/explain", {"json": {"item": "bear"}}, 422, "one picture"),
        ("/explain", {"files": {"image": RED}, "data": {"item": "lion"}}, 404, "lion"),
        ("/explain", {"files": {"image": RED}, "data": {"item": "bear", "method": "magic"}}, 422, "windows or cam"),
        ("/explain", {"files": {"image": RED}, "data": {"item": "bear", "detail": "3"}}, 422, "1 or 2"),
        ("/explain", {"files": {"image": RED}, "data": {"item": "bear", "color": "red"}}, 422, "color"),
        ("/inspect", {"files": {"image": RED}}, 422, "item"),
        ("/inspect", {"files": {"image": RED}, "data": {"item": "bear", "threshold": "2"}}, 422, "0 to 1"),
        ("/inspect", {"files": {"image": RED}, "data": {"item": "bear", "camera": "x"}}, 422, "fixed or free"),
        ("/inspect", {"data": {"item": "bear"}}, 422, "0 pictures"),
    ],
)
def test_bad_requests_are_refused(client: Any, path: str, how: Any, status: int, said: str) -> None:
    answer = client.post(f"/api/v1{path}", **how)
    assert answer.status_code == status, answer.text
    assert said in json.dumps(answer.json())


def test_a_remote_engine_explains_and_inspects(engine: ps.Engine) -> None:
    from plushie_search import server

    photo = np.full((40, 40, 3), COLORS["bear"], np.uint8)
    with listening(server.create_app(engine)) as url, ps.RemoteEngine(url) as remote:
        hit = engine.search_image(photo, k=1)[0]
        near, far = engine.explain(photo, hit), remote.explain(photo, hit)
        assert far.explanation == near.explanation
        assert far.query is not None
        assert near.query is not None
        np.testing.assert_allclose(far.query.map, near.query.map, atol=1e-6)
        assert far.to_image().shape[2] == 3
        words = remote.explain(ps.Query(text="red teddy"), "bear", language="zh")
        assert [part.word for part in words.words] == ["red", "teddy"]
        with pytest.raises(ps.ArgumentError, match="one picture"):
            remote.explain(ps.Query(item="bear"), "bear")
        one: Any = remote.inspect(photo, "bear", threshold=0.5)
        wanted: Any = engine.inspect(photo, "bear", threshold=0.5)
        assert (one.verdict, one.similarity) == (wanted.verdict, pytest.approx(wanted.similarity, abs=1e-6))
        several = remote.inspect([photo, b"none"], "bear")
        assert len(several) == 1
        assert len(several.failed) == 1
        with pytest.raises(ps.PictureError):
            remote.inspect(b"none", "bear")
