"""Items, pictures, labels and jobs over HTTP, through FastAPI and Flask."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from http_server import COLORS, png
from PIL import Image

import plushie_search as ps
from plushie_search import server
from plushie_search.server import jobs

NEW = png((10, 220, 220))


def url(id: str) -> str:
    return f"/api/v1/items/{quote(id, safe='')}"


def test_pages_of_items_are_all_items_in_order(client: Any, engine: ps.Engine) -> None:
    found, after, pages = [], None, 0
    while True:
        page = client.get("/api/v1/items", params={"limit": 3, **({"after": after} if after else {})}).json()
        found += page["items"]
        pages += 1
        assert page["total"] == len(COLORS)
        if (after := page["next"]) is None:
            break
    assert [item["id"] for item in found] == [item.id for item in engine]
    assert pages == 2
    bear = found[0]
    assert [one["name"] for one in bear["references"]] == ["bear.png", "second.png"]
    assert [one["digest"] for one in bear["references"]] == [one.digest for one in engine.get("bear").references]
    assert {key: bear[key] for key in ("label", "text", "metadata")} == {
        "label": "B",
        "text": None,
        "metadata": {"size": 4},
    }


def test_items_are_chosen_by_filter_and_by_words(client: Any) -> None:
    def ids(**params: str) -> list[str]:
        return [item["id"] for item in client.get("/api/v1/items", params=params).json()["items"]]

    assert ids(where=json.dumps({"size": {"$lt": 5}})) == ["bear", "dog", "gray"]
    assert ids(q="cat") == ids(q="Cat") == ids(q="CAT") == ["toys/cat"]
    assert ids(q="a", where=json.dumps({"size": 4})) == ["bear", "gray"]


@pytest.mark.parametrize(
    "params", [{"limit": "0"}, {"limit": "501"}, {"after": "-1"}, {"where": "[1]"}, {"order": "id"}]
)
def test_pages_refuse(client: Any, params: dict[str, str]) -> None:
    assert client.get("/api/v1/items", params=params).status_code == 422


def test_an_item_has_a_tag(client: Any) -> None:
    answer = client.get(url("toys/cat"))
    assert answer.json()["id"] == "toys/cat"
    tag = answer.headers["ETag"]
    assert tag == f'"{answer.json()["etag"]}"'
    again = client.get(url("toys/cat"), headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url("rabbit")).status_code == 404


def test_a_change_needs_the_present_tag(client: Any, engine: ps.Engine) -> None:
    tag = client.get(url("dog")).headers["ETag"]
    answer = client.patch(url("dog"), json={"label": "<b>x</b>", "metadata": {"a": [1]}}, headers={"If-Match": tag})
    assert answer.status_code == 200
    dog = engine.get("dog")
    assert (dog.label, dog.metadata, dog.text) == ("<b>x</b>", {"a": [1]}, None)
    late = client.patch(url("dog"), json={"label": "y"}, headers={"If-Match": tag})
    assert (late.status_code, late.json()["code"]) == (412, "changed")
    assert engine.get("dog").label == "<b>x</b>"
    assert client.patch(url("dog"), json={"label": None}, headers={"If-Match": "*"}).json()["label"] is None
    for body in ({"label": 5}, {"metadata": [1]}, {"labels": "x"}):
        assert client.patch(url("dog"), json=body).status_code == 422
    assert client.patch(url("rabbit"), json={"label": "x"}).status_code == 404


def test_a_removal_can_be_undone(client: Any, engine: ps.Engine) -> None:
    before, vectors = engine.get("bear"), engine.vectors("bear")
    thumbnail = client.get(client.get(url("bear")).json()["references"][1]["thumbnail"]).content
    answer = client.delete(url("bear"), headers={"If-Match": client.get(url("bear")).headers["ETag"]}).json()
    assert answer["removed"] == 1
    assert "bear" not in engine
    assert client.post(f"{url('bear')}/restore", json={"undo": "x" * 24}).status_code == 410
    assert client.post(f"{url('dog')}/restore", json={"undo": answer["undo"]}).status_code == 409
    item = client.post(f"{url('bear')}/restore", json={"undo": answer["undo"]}).json()
    assert engine.get("bear") == before
    assert np.array_equal(engine.vectors("bear"), vectors)
    assert client.get(item["references"][1]["thumbnail"]).content == thumbnail
    engine.remove("bear")
    assert client.post(f"{url('bear')}/restore", json={"undo": answer["undo"]}).status_code == 410


def test_references_of_one_name_come_back(client: Any, engine: ps.Engine) -> None:
    engine.add("twins", images=[png((1, 2, 3)), png((3, 2, 1))], names=["a.jpg", "a.jpg"])
    digests = [one.digest for one in engine.get("twins").references]
    undo = client.delete(url("twins")).json()["undo"]
    client.post(f"{url('twins')}/restore", json={"undo": undo})
    assert [one.digest for one in engine.get("twins").references] == digests


def test_an_old_removal_cannot_be_undone(opened: Callable[..., Any], engine: ps.Engine) -> None:
    with opened(engine, server.load(limits={"undo": 0.05})) as client:
        undo = client.delete(url("dog")).json()["undo"]
        time.sleep(0.1)
        assert client.post(f"{url('dog')}/restore", json={"undo": undo}).status_code == 410
    with opened(engine, server.load(limits={"undo": 0})) as client:
        assert client.delete(url("gray")).json() == {"removed": 1, "undo": None}


def test_an_item_is_added_with_pictures(client: Any, engine: ps.Engine) -> None:
    files = [("image", ("../../etc/passwd.png", NEW)), ("image", ("C:\\b\\n\x07.png", png((1, 1, 99))))]
    data = {"id": "new/one", "label": "N", "text": "a new one", "metadata": '{"n": 1}'}
    answer = client.post("/api/v1/items", files=files, data=data)
    assert answer.status_code == 201
    assert (answer.json()["added"], answer.json()["duplicates"]) == (2, 0)
    item = engine.get("new/one")
    assert (item.label, item.text, item.metadata) == ("N", "a new one", {"n": 1})
    assert item.references[0].name == "passwd.png"
    assert item.references[0].digest == hashlib.sha256(NEW).hexdigest()
    again = client.post("/api/v1/items", files=files[:1], data={"id": "new/one"})
    assert (again.status_code, again.json()["added"], again.json()["duplicates"]) == (200, 0, 1)
    assert engine.get("new/one").label == "N"


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ({}, [("image", ("a.png", NEW))]),
        ({"id": "x"}, [("picture", ("a.png", NEW))]),
        ({"id": "x"}, [("image", ("a.png", b"no picture"))]),
        ({"id": "x", "metadata": "[1]"}, [("image", ("a.png", NEW))]),
        ({"id": "x" * 513}, [("image", ("a.png", NEW))]),
        ({"id": "a\x07b"}, [("image", ("a.png", NEW))]),
        ({"id": "x", "color": "red"}, [("image", ("a.png", NEW))]),
    ],
)
def test_adding_refuses(client: Any, engine: ps.Engine, data: dict[str, str], files: Any) -> None:
    answer = client.post("/api/v1/items", files=files, data=data)
    assert answer.status_code == 422, answer.text
    assert len(engine) == len(COLORS)


def test_references_come_and_go(client: Any, engine: ps.Engine) -> None:
    path = f"{url('toys/cat')}/references"
    assert client.post(path, content=NEW, headers={"Content-Type": "image/png"}).json()["added"] == 1
    assert client.put(path, files={"image": ("b.png", png((9, 9, 9)))}).json()["added"] == 1
    digest = hashlib.sha256(NEW).hexdigest()
    assert client.delete(f"{path}/{digest}").json() == {"left": 2}
    assert client.delete(f"{path}/{digest}").status_code == 404
    assert client.delete(f"{path}/..%2f").status_code == 404
    assert [one.name for one in engine.get("toys/cat").references] == ["/secret/toys/cat.png", "b.png"]
    assert client.post(f"{url('rabbit')}/references", files={"image": ("b.png", NEW)}).status_code == 404


def test_labels_and_keys(client: Any) -> None:
    assert client.get("/api/v1/labels").json() == [
        {"label": "B", "items": 1},
        {"label": "D", "items": 1},
        {"label": "G", "items": 1},
        {"label": "T", "items": 1},
    ]
    assert client.get("/api/v1/keys").json() == ["size"]


def test_stats(client: Any) -> None:
    stats = client.get("/api/v1/stats").json()
    assert (stats["items"], stats["references"], stats["models"]) == (4, 5, ["toy"])
    assert (stats["writable"], stats["read_only"], stats["keys"], stats["max_k"]) == (True, False, False, 200)
    assert stats["engines"] == ["toy", "clip"]
    assert (stats["index"], stats["approximate"]) == ("exact", [])


# Pictures


def test_pictures_of_a_reference(client: Any, engine: ps.Engine) -> None:
    large = png((250, 250, 0), (3000, 20))
    engine.add("large", images=large)
    reference = client.get(url("large")).json()["references"][0]
    small = client.get(reference["thumbnail"])
    assert small.content == engine.thumbnail("large")
    assert small.headers["Content-Type"] == "image/jpeg"
    assert small.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    again = client.get(reference["thumbnail"], headers={"If-None-Match": small.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    with Image.open(io.BytesIO(client.get(reference["picture"]).content)) as view:
        assert (view.format, view.size[0]) == ("JPEG", 1600)
    original = client.get(reference["picture"].replace("/view", "/original"))
    assert (original.content, original.headers["Content-Type"]) == (large, "image/png")
    bare = client.get(reference["thumbnail"].partition("?")[0])
    assert bare.content == small.content


@pytest.mark.parametrize(
    "path",
    [
        "0" * 64 + "/thumbnail",
        "../../catalog.sqlite",
        "x/original",
        "0" * 64 + "/passwd",
        "%2e%2e%2fcatalog.sqlite/view",
    ],
)
def test_there_are_no_other_pictures(client: Any, path: str) -> None:
    answer = client.get(f"/api/v1/media/{path}")
    assert answer.status_code == 404
    assert b"SQLite" not in answer.content


def test_an_original_that_has_changed_is_not_sent(client: Any, engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "outside.png"
    path.write_bytes(NEW)
    engine.add("outside", images=path)
    reference = client.get(url("outside")).json()["references"][0]
    original = reference["picture"].replace("/view", "/original")
    assert client.get(original).content == NEW
    assert str(tmp_path) not in client.get(url("outside")).text
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert client.get(original).status_code == 410
    assert client.get(reference["picture"]).content == engine.thumbnail("outside")


# Jobs


def ended(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(200):
        state: dict[str, Any] = client.get(f"/api/v1/jobs/{job['id']}").json()
        if state["state"] in ("done", "failed", "cancelled"):
            return state
        time.sleep(0.05)
    raise AssertionError(state)


def test_a_folder_is_added_by_a_job(client: Any, engine: ps.Engine) -> None:
    files = [
        ("image", ("toys/lion/1.png", NEW)),
        ("image", ("toys/lion/2.png", png((7, 7, 7)))),
        ("image", ("tiger.png", png((8, 7, 7)))),
        ("image", ("../../../x/3.png", png((9, 7, 7)))),
        ("image", ("toys/lion/bad.png", b"no picture")),
    ]
    answer = client.post("/api/v1/jobs/add", files=files)
    assert answer.status_code == 202
    state = ended(client, answer.json()["job"])
    assert (state["state"], state["done"], state["total"], state["kind"]) == ("done", 5, 5, "add")
    assert (state["report"]["items"], state["report"]["references"]) == (3, 4)
    ((name, reason),) = state["failures"]
    assert "bad.png" in name
    assert "not a JPEG" in reason
    assert [one.name for one in engine.get("toys/lion").references] == ["1.png", "2.png"]
    assert {"tiger", "x"} <= {item.id for item in engine}


def test_lines_of_json_are_added_by_a_job(client: Any, engine: ps.Engine) -> None:
    rows = [
        {
            "id": "one",
            "images": [base64.b64encode(NEW).decode()],
            "names": ["/a/n.png"],
            "label": "L",
            "metadata": {"b": 2},
        },
        {"id": "bear", "text": "a red bear"},
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    answer = client.post("/api/v1/jobs/add", content=content, headers={"Content-Type": "application/x-ndjson"})
    assert ended(client, answer.json()["job"])["state"] == "done"
    assert engine.get("one").label == "L"
    assert engine.get("one").references[0].name == "n.png"
    assert engine.get("bear").text == "a red bear"
    for line in (b"[1]", b'{"id": 5}', b'{"id": "a", "images": "x"}', b'{"id": "a", "image": []}'):
        wrong = client.post("/api/v1/jobs/add", content=line, headers={"Content-Type": "application/x-ndjson"})
        assert wrong.status_code == 422


def test_a_job_tells_its_progress_as_events(client: Any) -> None:
    job = client.post("/api/v1/jobs/add", files=[("image", ("x/1.png", NEW))]).json()["job"]
    answer = client.get(f"/api/v1/jobs/{job['id']}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = [dict(line.split(": ", 1) for line in one.split("\n")) for one in answer.text.strip().split("\n\n")]
    assert events[-1]["event"] == "done"
    assert json.loads(events[-1]["data"])["report"]["items"] == 1
    assert {one["event"] for one in events[:-1]} <= {"progress"}


def test_an_evaluation_is_a_job(client: Any, engine: ps.Engine) -> None:
    body = {"texts": [["teddy", "bear"], ["rabbit", "dog"]], "k": 2}
    state = ended(client, client.post("/api/v1/jobs/evaluate", json=body).json()["job"])
    assert state["state"] == "done"
    wanted = engine.evaluate(texts=[("teddy", "bear"), ("rabbit", "dog")], k=2).to_dict()
    assert state["report"]["metrics"] == json.loads(json.dumps(wanted))["metrics"]
    failed = ended(client, client.post("/api/v1/jobs/evaluate", json={"texts": [["a", "nothing"]]}).json()["job"])
    assert (failed["state"], failed["error"]["code"]) == ("failed", "argument")
    assert "nothing" in failed["detail"]
    events = client.get(f"/api/v1/jobs/{failed['id']}/events").text
    assert "event: error\n" in events
    assert client.post("/api/v1/jobs/evaluate", json={"texts": "a"}).status_code == 422


def test_a_model_is_added_by_a_job(client: Any, engine: ps.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(model: Any) -> Any:
        return client.post("/api/v1/jobs/add-model", json={"model": model})

    old = engine.vectors("bear").tobytes()
    state = ended(client, start("plushie-mini").json()["job"])
    assert (state["kind"], state["state"], state["done"], state["total"]) == ("add-model", "done", 5, 5)
    expected = {"models": ["toy", "plushie-mini"], "changed": True, "references": 5, "files": 0, "media": 5}
    assert state["report"] == {**expected, "thumbnails": 0}
    assert client.get("/api/v1/stats").json()["models"] == ["toy", "plushie-mini"]
    answer = client.post("/api/v1/search", json={"text": "bear", "models": "plushie-mini", "k": 1})
    assert list(answer.json()["results"][0]["scores"]) == ["plushie-mini"]
    assert engine.vectors("bear", model="toy").tobytes() == old
    assert ended(client, start("plushie-mini").json()["job"])["report"]["changed"] is False
    for wrong in ("/etc/passwd", "no-such-model", 5, None):
        assert start(wrong).status_code == 422
    # Whatever it was doing, a job that is to stop ends so.
    monkeypatch.setattr(jobs.Job, "cancelled", property(lambda job: job.state["state"] == "running"))
    evaluating = client.post("/api/v1/jobs/evaluate", json={"texts": [["teddy", "bear"]]}).json()["job"]
    assert ended(client, evaluating)["state"] == "cancelled"


def test_a_job_is_cancelled(client: Any, engine: ps.Engine) -> None:
    first = client.post(
        "/api/v1/jobs/add", files=[("image", (f"many{n}/1.png", png((n, 50, 3), (800, 600)))) for n in range(200)]
    ).json()["job"]
    second = client.post("/api/v1/jobs/add", files=[("image", ("late/1.png", NEW))]).json()["job"]
    assert client.delete(f"/api/v1/jobs/{second['id']}").status_code == 200
    assert ended(client, second)["state"] == "cancelled"
    assert "late" not in engine
    ended(client, first)


def test_an_unknown_job_is_404(client: Any) -> None:
    for path in ("x", "x" * 16, "..%2f..%2fetc", "x" * 16 + "/events"):
        assert client.get(f"/api/v1/jobs/{path}").status_code == 404


def test_a_catalog_is_served_for_reading_only(opened: Callable[..., Any], engine: ps.Engine) -> None:
    with opened(engine, server.load(server={"read_only": True})) as client:
        assert client.get("/api/v1/stats").json()["writable"] is False
        assert client.post("/api/v1/search", json={"text": "bear"}).status_code == 200
        for answer in (
            client.delete(url("bear")),
            client.patch(url("bear"), json={"label": "x"}),
            client.post("/api/v1/items", files={"image": NEW}, data={"id": "x"}),
            client.post("/api/v1/jobs/add", files={"image": NEW}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "read_only")
    assert len(engine) == len(COLORS)


def test_several_catalogs(opened: Callable[..., Any], engine: ps.Engine, toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "other", model=toy_model) as other:
        other.add("lion", images=NEW)
        with opened({"toys": engine, "other": other}) as client:
            assert client.get("/api/v1/stats").json()["catalogs"] == ["toys", "other"]
            base = "/api/v1/catalogs/other"
            hit = client.post(f"{base}/search", json={"text": "bear"}).json()["results"][0]
            assert hit["item"] == "lion"
            assert hit["thumbnail"].startswith(f"{base}/media/")
            assert client.get(hit["thumbnail"]).content == other.thumbnail("lion")
            assert client.get("/api/v1/catalogs/toys/items").json()["total"] == len(COLORS)
            assert client.get("/api/v1/catalogs/none/items").status_code == 404
            undo = client.delete(f"{base}/items/lion").json()["undo"]
            assert client.post(f"{url('lion')}/restore", json={"undo": undo}).status_code == 410
            assert client.post(f"{base}/items/lion/restore", json={"undo": undo}).status_code == 200
