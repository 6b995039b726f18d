"""Searches over HTTP: the answers of the engine, in the forms that were agreed, through FastAPI and Flask."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from http_server import COLORS, png

import plushie_search as ps

RED = png((201, 31, 29))


def shown(hits: list[Any]) -> list[tuple[Any, ...]]:
    return [(hit["rank"], hit["item"], hit["score"], hit["reference"]["digest"], hit["label"]) for hit in hits]


def of_engine(hits: Any) -> list[tuple[Any, ...]]:
    return [(hit.rank, hit.item, hit.score, hit.digest, hit.label) for hit in hits]


def test_a_raw_picture_finds_what_the_engine_finds(client: Any, engine: ps.Engine) -> None:
    answer = client.post("/api/v1/search?k=3", content=RED, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    body = answer.json()
    assert shown(body["results"]) == of_engine(engine.search_image(RED, k=3))
    assert (body["success"], body["notices"], body["query"]) == (True, [], {"image": 1, "k": 3})
    assert set(body["results"][0]) == {
        *("rank", "item", "class_name", "label", "text", "metadata", "score", "similarity", "probability"),
        *("matched", "reference", "scores", "thumbnail", "picture", "turntable"),
    }
    assert "/secret" not in answer.text
    assert body["results"][0]["reference"]["name"] == "bear.png"


def test_the_forms_of_a_query_are_the_same_query(client: Any, engine: ps.Engine) -> None:
    wanted = of_engine(engine.search(ps.Query(image=[(RED, 0.6)], text=[("teddy", 0.4)]), k=4))
    coded = base64.b64encode(RED).decode()
    query = {"image": coded, "text": "teddy", "weights": {"image": 0.6, "text": 0.4}}
    for body in ({"query": query, "k": 4}, {**query, "k": 4}, {"query": {**query, "image": [coded]}, "k": 4}):
        assert shown(client.post("/api/v1/search", json=body).json()["results"]) == wanted
    url = {**query, "image": f"data:image/png;base64,{coded}"}
    assert shown(client.post("/api/v1/search", json={"query": url, "k": 4}).json()["results"]) == wanted
    parts = {"query": json.dumps({"text": "teddy", "weights": {"image": 0.6, "text": 0.4}}), "k": "4"}
    answer = client.post("/api/v1/search", files={"image": ("a.png", RED)}, data=parts)
    assert shown(answer.json()["results"]) == wanted


def test_a_line_has_parts_with_weights(client: Any, engine: ps.Engine) -> None:
    wanted = of_engine(engine.search(ps.Query(text=[("teddy", 2.0), ("blue", -1.0)], item="bear"), k=4))
    line = "2*teddy - blue + item:bear"
    for how in ({"json": {"line": line, "k": 4}}, {"data": {"line": line, "k": "4"}}):
        answer = client.post("/api/v1/search", **how).json()
        assert shown(answer["results"]) == wanted
        assert answer["query"] == {"line": line, "k": 4}
    answer = client.post("/api/v1/search", json={"line": "teddy + "})
    assert (answer.status_code, answer.json()["code"]) == (422, "argument")
    assert "nothing beside a sign" in answer.json()["detail"]


def test_several_queries_are_one_request(client: Any, engine: ps.Engine) -> None:
    body = {"queries": [{"text": "teddy bear"}, {"item": "bear"}, {"vector": [1, 0, 0, 0, 0, 0]}], "k": 2}
    results = client.post("/api/v1/search", json=body).json()["results"]
    queries = [ps.Query(text="teddy bear"), ps.Query(item="bear"), ps.Query(vector=[1, 0, 0, 0, 0, 0])]
    assert [shown(hits) for hits in results] == [of_engine(engine.search(query, k=2)) for query in queries]
    assert "bear" not in [hit["item"] for hit in results[1]]


def test_options_are_those_of_the_engine(client: Any, engine: ps.Engine) -> None:
    where = {"label": {"$in": ["T", "G"]}}
    wanted = of_engine(engine.search_text("rabbit", k=9, where=where, aggregate="mean", min_score=-1))
    body = {"text": "rabbit", "k": 9, "where": where, "aggregate": "mean", "min_score": -1}
    assert shown(client.post("/api/v1/search", json=body).json()["results"]) == wanted
    data = {"text": "rabbit", "k": "9", "where": json.dumps(where), "aggregate": "mean", "min_score": "-1"}
    assert shown(client.post("/api/v1/search", files={"image": b""}, data=data).json()["results"]) == wanted
    assert {hit[1] for hit in wanted} == {"toys/cat", "gray"}


def test_a_part_of_a_picture_counts(client: Any, engine: ps.Engine) -> None:
    box = [0.1, 0.25, 0.6, 1]
    two = png((20, 200, 30))
    wanted = of_engine(engine.search(ps.Query(image=[ps.Crop(RED, box), two]), k=3))
    coded = [base64.b64encode(one).decode() for one in (RED, two)]
    answer = client.post("/api/v1/search", json={"image": coded, "crop": [box, None], "k": 3}).json()
    assert shown(answer["results"]) == wanted
    assert answer["query"] == {"crop": [box, None], "image": 2, "k": 3}
    files = [("image", ("a.png", RED)), ("image", ("b.png", two))]
    forms = [{"crop": json.dumps([box, None])}, {"query": json.dumps({"crop": [box, None]})}]
    for data in forms:
        answer = client.post("/api/v1/search", files=files, data={**data, "k": "3"})
        assert shown(answer.json()["results"]) == wanted
    alone = of_engine(engine.search_image(ps.Crop(RED, box), k=3))
    raw = client.post("/api/v1/search?k=3&crop=0.1,0.25,0.6,1", content=RED, headers={"Content-Type": "image/png"})
    body = client.post("/api/v1/search", json={"query": {"image": coded[0], "crop": box}, "k": 3})
    seed = client.post("/api/search/image", files={"image": RED}, data={"crop": "0.1,0.25,0.6,1", "k": "3"})
    for answer in (raw, body, seed):
        assert shown(answer.json()["results"]) == alone
    found = client.post("/api/v1/identify?crop=[0.1,0.25,0.6,1]", content=RED, headers={"Content-Type": "image/png"})
    assert shown(found.json()["results"]) == of_engine(engine.identify(ps.Crop(RED, box)).hits)


def test_pages_of_hits_go_on_by_a_cursor(client: Any, engine: ps.Engine) -> None:
    wanted = of_engine(engine.search_text("rabbit", k=9))
    body: dict[str, Any] = {"text": "rabbit", "k": 3}
    pages = [client.post("/api/v1/search", json=body).json()]
    pages.append(client.post("/api/v1/search", json={**body, "cursor": pages[0]["cursor"]}).json())
    form = {"text": "rabbit", "k": "9", "cursor": pages[0]["cursor"]}
    pages.append(client.post("/api/v1/search", files={"image": b""}, data=form).json())
    assert shown(pages[0]["results"] + pages[1]["results"]) == wanted
    assert pages[2]["results"] == pages[1]["results"]
    assert (pages[1]["cursor"], pages[2]["cursor"]) == (None, None)
    assert client.post("/api/v1/search", json={"queries": ["a", "b"], "k": 1}).json()["cursor"] is None
    other = client.post("/api/v1/search", json={**body, "text": "bear", "cursor": pages[0]["cursor"]})
    assert (other.status_code, other.json()["code"]) == (422, "argument")


def test_texts_are_expanded(client: Any, engine: ps.Engine) -> None:
    for expand, texts in ((True, ["true"]), (["pink {}", "a {}"], ['["pink {}", "a {}"]'])):
        wanted = of_engine(engine.search_text("rabbit", k=3, expand=expand))
        assert (
            shown(client.post("/api/v1/search", json={"text": "rabbit", "k": 3, "expand": expand}).json()["results"])
            == wanted
        )
        for text in texts:
            data = {"text": "rabbit", "k": "3", "expand": text}
            assert shown(client.post("/api/v1/search", files={"image": b""}, data=data).json()["results"]) == wanted


def test_similarity_is_a_cosine_within_0_and_1(client: Any) -> None:
    hits = client.post("/api/v1/search", json={"text": "red scarf", "k": 9}).json()["results"]
    assert [hit["similarity"] for hit in hits] == [min(1, max(0, hit["score"])) for hit in hits]
    assert any(hit["score"] < 0 for hit in hits)
    assert all(hit["probability"] is None for hit in hits)


def test_notices_tell_what_was_changed_or_not_understood(client: Any) -> None:
    body = client.post("/api/v1/search", json={"text": "zebra", "k": 9999}).json()
    assert body["query"]["k"] == 200
    assert "200 hits at most" in body["notices"][0]
    none = client.post("/api/v1/search", json={"text": "bear", "where": {"colour": "red"}}).json()
    assert none["results"] == []
    assert "colour" in none["notices"][0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"txt": "bear"}, "did you mean 'text'?"),
        ({}, "is empty"),
        ({"text": ""}, "is empty"),
        ({"text": 5}, "give a text"),
        ({"text": "x" * 10_001}, "10000 at most"),
        ({"text": "bear", "k": 0}, "give 1 or more"),
        ({"text": "bear", "cursor": "00"}, "is no cursor"),
        ({"text": "bear", "expand": "phrases"}, "expand: give true, false, or a list"),
        ({"text": "bear", "expand": ["a photo"]}, "must have {} once"),
        ({"text": "bear", "expand": [3]}, "give a text"),
        ({"text": "bear", "crop": [0, 0, 1, 1]}, "1 boxes for 0 pictures"),
        ({"image": base64.b64encode(RED).decode(), "crop": [0, 0, 2, 1]}, "no part of a picture"),
        ({"image": base64.b64encode(RED).decode(), "crop": [0, 0, 1]}, "a box is a list"),
        ({"image": base64.b64encode(RED).decode(), "crop": [None, None]}, "2 boxes for 1 pictures"),
        ({"image": base64.b64encode(RED).decode(), "crop": "1,2"}, "a box is a list"),
        ({"text": "bear", "k": True}, "whole number"),
        ({"text": "bear", "k": 2.5}, "whole number"),
        ({"text": "bear", "where": {"a": {"$foo": 1}}}, "unknown operator"),
        ({"text": "bear", "where": [1]}, "give an object"),
        ({"text": "bear", "models": "resnet"}, "no engine 'resnet': choose"),
        ({"text": "bear", "words": []}, "words: give true, false, or a list"),
        ({"text": "bear", "words": [3]}, "words is empty or no text"),
        ({"text": "bear", "words": ["a..b"]}, "is no field"),
        ({"text": "bear", "fusion": "best"}, "choose weighted, sum, rrf, dbsf"),
        ({"text": "bear", "weights": {"image": "much"}}, "give a number"),
        ({"image": "/etc/passwd"}, "no base64"),
        ({"image": "http://127.0.0.1/a.png"}, "addresses are not opened"),
        ({"image": base64.b64encode(b"no picture").decode()}, "not a JPEG"),
        ({"vector": [1, 2]}, "cannot be compared"),
        ({"vector": [1e39] * 6}, "give a number"),
        ({"queries": []}, "give a list of 1 to 64"),
        ({"queries": [{"text": "a"}] * 65}, "give a list of 1 to 64"),
        ({"text": ["bear"] * 33}, "32 at most"),
    ],
)
def test_what_cannot_be_used_is_told(client: Any, body: dict[str, Any], says: str) -> None:
    answer = client.post("/api/v1/search", json=body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert says in problem["detail"]
    assert problem["success"] is False
    assert problem["status"] == 422
    assert problem["instance"] == answer.headers["X-Request-ID"]


def test_an_unknown_item_is_404(client: Any) -> None:
    answer = client.post("/api/v1/search", json={"item": "rabbit"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_item")


@pytest.mark.parametrize("words", [None, True, False, ["id"], ["id", "size"]])
def test_words_of_items_count(client: Any, engine: ps.Engine, words: Any) -> None:
    wanted = [(hit.item, list(hit.matched)) for hit in engine.search_text("bear", k=9, words=words)]
    given = {"text": "bear", "k": 9, "words": words}
    field = {None: "", True: "true", False: "false"}.get(words) if not isinstance(words, list) else ",".join(words)
    for answer in (
        client.post("/api/v1/search", json=given),
        client.post("/api/v1/search", json={"queries": [{"text": "bear"}], "k": 9, "words": words}),
        client.post("/api/v1/search", data={"text": "bear", "k": "9", "words": field}),
    ):
        hits = answer.json()["results"]
        hits = hits[0] if isinstance(hits[0], list) else hits
        assert [(hit["item"], hit["matched"]) for hit in hits] == wanted
    assert any(matched for _, matched in wanted) == (words is not False)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"text": NaN}', "", "\xff"])
@pytest.mark.usefixtures("no_collection")
def test_what_is_no_json_is_400(client: Any, text: str) -> None:
    answer = client.post("/api/v1/search", content=text.encode("latin-1"), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "json")


def test_json_needs_its_type(client: Any) -> None:
    answer = client.post("/api/v1/search", content=b'{"text": "bear"}', headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type")


# The routes of the request


def test_seed_image(client: Any, engine: ps.Engine) -> None:
    answer = client.post("/api/search/image", files={"image": ("query.png", RED, "image/png")}, data={"k": "2"})
    body = answer.json()
    assert set(body) == {"success", "results"}
    assert body["success"] is True
    assert [(hit["class_name"], hit["rank"]) for hit in body["results"]] == [("bear", 1), ("dog", 2)]
    hits = engine.search_image(RED, k=2)
    assert [hit["similarity"] for hit in body["results"]] == [hit.similarity for hit in hits]
    assert all(hit.similarity == hit.probability for hit in hits)


def test_seed_text(client: Any, engine: ps.Engine) -> None:
    body = client.post("/api/search/text", json={"query": "teddy bear", "k": 3}).json()
    assert [hit["class_name"] for hit in body["results"]] == [hit.item for hit in engine.search_text("teddy bear", k=3)]
    assert {hit["description"] for hit in body["results"]} == {"teddy bear"}
    assert len(client.post("/api/search/text", json={"query": "teddy bear"}).json()["results"]) == len(COLORS)


def test_seed_hybrid(client: Any, engine: ps.Engine) -> None:
    files = {"image": ("query.png", RED, "image/png")}
    for given, weight in (({}, 0.6), ({"image_weight": "0.2"}, 0.2)):
        body = client.post("/api/search/hybrid", files=files, data={"text": "rabbit", "k": "4", **given}).json()
        wanted = engine.search_hybrid(RED, "rabbit", k=4, image_weight=weight)
        assert shown(body["results"]) == of_engine(wanted)
        assert "notice" not in body


def test_seed_hybrid_with_one_part_is_that_search(client: Any, engine: ps.Engine) -> None:
    body = client.post("/api/search/hybrid", files={"image": ("query.png", RED)}).json()
    assert shown(body["results"]) == of_engine(engine.search_image(RED))
    assert "no text" in body["notice"]
    for how in ({"data": {"text": "rabbit"}}, {"data": {"text": "rabbit"}, "files": {"image": ("", b"")}}):
        body = client.post("/api/search/hybrid", **how).json()
        assert shown(body["results"]) == of_engine(engine.search_text("rabbit"))
        assert "no picture" in body["notice"]


@pytest.mark.parametrize(
    ("path", "how", "status"),
    [
        ("image", {"files": {"picture": b"x"}}, 422),
        ("image", {"files": {"image": b"no picture"}}, 422),
        ("image", {"json": {"k": 5}}, 415),
        ("text", {"json": {"k": 5}}, 422),
        ("text", {"json": {"query": "  "}}, 422),
        ("text", {"json": {"query": "bear", "k": "five"}}, 422),
        ("text", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("hybrid", {"data": {"k": "5"}}, 422),
        ("hybrid", {"data": {"text": "bear", "image_weight": "2"}}, 422),
    ],
)
def test_seed_failures(client: Any, path: str, how: dict[str, Any], status: int) -> None:
    answer = client.post(f"/api/search/{path}", **how)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["success"] is False
    assert isinstance(body["error"], str)


# Embeddings


def test_embeddings_are_the_engines(client: Any, engine: ps.Engine) -> None:
    coded = base64.b64encode(RED).decode()
    body = {"model": "toy", "input": ["teddy", {"image": coded}, {"text": "red"}]}
    answer = client.post("/v1/embeddings", json=body).json()
    (image,), texts = engine.encode_images([RED]), engine.encode_texts(["teddy", "red"])
    assert [row["embedding"] for row in answer["data"]] == [texts[0].tolist(), image.tolist(), texts[1].tolist()]
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    assert (answer["object"], answer["model"], answer["data"][0]["object"]) == ("list", "toy", "embedding")
    floats = client.post("/v1/embeddings", json={"model": "any", "input": "teddy", "encoding_format": "base64"})
    assert base64.b64decode(floats.json()["data"][0]["embedding"]) == texts[0].tobytes()


@pytest.mark.parametrize("given", [{"input": []}, {"input": [1, 2]}, {"input": "a", "dimensions": 3}, {"inputs": "a"}])
def test_embeddings_refuse(client: Any, given: dict[str, Any]) -> None:
    assert client.post("/v1/embeddings", json={"model": "toy", **given}).status_code == 422


def test_how_much_of_an_index_is_looked_at_can_be_said(client: Any, engine: ps.Engine) -> None:
    query = {"item": engine.items()[0].id, "k": 2, "nprobe": 4, "ef_search": 20, "k_factor": 2.5}
    answer = client.post("/api/v1/search", json=query)
    assert shown(answer.json()["results"]) == of_engine(engine.search(ps.Query(item=query["item"]), k=2))
    for name, given in (("nprobe", 0), ("nprobe", -1), ("ef_search", -3)):
        refused = client.post("/api/v1/search", json={**query, name: given})
        assert refused.status_code == 422
        assert f"{name} {given}: give 1 or more" in refused.text
