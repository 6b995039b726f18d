"""Meshes over HTTP: uploaded like pictures, and shown by their views."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from solids import bracket, obj, stl

import plushie_search as ps


def test_a_mesh_is_added_shown_and_found(client: Any, engine: ps.Engine) -> None:
    files = {"image": ("part.stl", stl(bracket()))}
    answer = client.post("/api/v1/items", files=files, data={"id": "part"})
    assert answer.status_code == 201
    references = answer.json()["item"]["references"]
    assert [one["view"] for one in references] == [one.view for one in engine.get("part").references]
    assert {one["name"] for one in references} == {"part.stl"}
    small = [client.get(one["thumbnail"]).content for one in references[:20]]
    assert len(set(small)) == 20
    assert client.get(references[3]["picture"]).content == small[3]
    assert np.asarray(Image.open(io.BytesIO(small[3]))).shape == (224, 224, 3)
    original = client.get(f"/api/v1/media/{references[0]['digest']}/original", params={"item": "part"})
    assert original.content == stl(bracket())
    found = client.post("/api/v1/search", files={"image": ("part.obj", obj(bracket()))}).json()
    hit = found["results"][0]
    assert (hit["item"], hit["reference"]["view"]) == ("part", "view:all")
    raw = client.post("/api/v1/search", content=stl(bracket()), headers={"content-type": "model/stl"})
    assert raw.status_code == 200
    before, vectors = engine.get("part"), engine.vectors("part")
    undo = client.delete("/api/v1/items/part").json()["undo"]
    assert "part" not in engine
    assert client.post("/api/v1/items/part/restore", json={"undo": undo}).status_code == 200
    assert engine.get("part") == before
    assert np.array_equal(engine.vectors("part"), vectors)
    wrong = client.get(f"/api/v1/media/{references[0]['digest']}/thumbnail", params={"item": "part", "view": "../x"})
    assert wrong.status_code == 404


def test_what_is_left_out_of_a_mesh_is_told(client: Any) -> None:
    triangles = bracket()
    triangles[3, 1] = triangles[3, 0]
    answer = client.post("/api/v1/items", files={"image": ("part.stl", stl(triangles))}, data={"id": "part"})
    assert answer.json()["notes"] == ["1 triangle without an area left out"]


def test_a_damaged_mesh_is_refused_with_its_name(client: Any) -> None:
    files = {"image": ("part.stl", stl(bracket())[:-30])}
    answer = client.post("/api/v1/items", files=files, data={"id": "part"})
    assert answer.status_code in (400, 415, 422)
    assert "cut off" in answer.json()["detail"]
