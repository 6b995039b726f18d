"""A catalog in Milvus refuses what is not its own, and loses nothing if the server goes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps
from plushie_search.milvus.absent import AbsentMethods
from plushie_search.testing import SuiteEncoder


class Other(SuiteEncoder):
    name = "other"
    fingerprint = "other-1"


def picture(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, size=(20, 20, 3), dtype=np.uint8)


def test_a_collection_of_another_program_is_refused(milvus_uri: str) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(milvus_uri)
    client.create_collection("foreign", dimension=4)
    with pytest.raises(ps.CatalogError, match="'foreign' was made by another program: give another name"):
        ps.MilvusEngine(milvus_uri, collection="foreign", model=SuiteEncoder())
    assert client.has_collection("foreign")
    client.close()


def test_another_model_is_refused(open_milvus: Callable[..., Any], milvus_uri: str) -> None:
    engine = open_milvus(model=SuiteEncoder())
    engine.add("a", images=picture(1))
    with pytest.raises(ps.CatalogError, match="has vectors of 'suite', and none of this 'other'"):
        ps.MilvusEngine(milvus_uri, collection=engine._collection, model=Other())
    with pytest.raises(ps.ModelError, match="filled with model 'suite'"):
        ps.MilvusEngine(milvus_uri, collection=engine._collection)
    with pytest.raises(ps.CatalogError, match="no collection 'nothing'"):
        ps.MilvusEngine(milvus_uri, collection="nothing", model=SuiteEncoder(), create=False)
    assert len(engine) == 1


def test_nothing_bad_is_sent(open_milvus: Callable[..., Any]) -> None:
    engine = open_milvus(model=SuiteEncoder())
    vectors = np.random.default_rng(0).normal(size=(3, SuiteEncoder.dim))
    vectors[1, 3] = np.nan
    with pytest.raises(ps.ArgumentError, match="1"):
        engine.add_vectors(["a", "b", "c"], vectors)
    with pytest.raises(ps.PictureError):
        engine.add("a", images=[picture(1), b"no picture"])
    with pytest.raises(ps.ArgumentError, match="65,535"):
        engine.add("a", images=picture(1), text="x" * 65_536)
    with pytest.raises(ps.ArgumentError, match="metadata"):
        engine.add("a", images=picture(1), metadata={str(n): n for n in range(3000)})
    assert (len(engine), engine.stats()["references"]) == (0, 0)
    engine.add("a", images=picture(1))
    with pytest.raises(ps.ArgumentError, match="65,535"):
        engine.update("a", text="x" * 65_536)
    assert engine.get("a").label is None


def test_what_cannot_be_opened_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    path = str(tmp_path / "new.db")
    for uri, how, told in (
        (path, {"dim": 32_769}, "dim 32769: give 1 to 32,768"),
        (path, {"dim": 4, "collection": 'a" or pk != "'}, "give 1 to 200 letters"),
        (path, {"dim": 4, "consistency": "strong"}, "give one of Strong, Session"),
        (str(tmp_path / "new"), {"dim": 4}, r"ends in \.db, or an address"),
        (path, {"model": str(tmp_path / "no model")}, "no model"),
        (path, {"dim": 4, "create": False}, "does not exist: correct the path, or fill it first"),
    ):
        with pytest.raises(ps.PlushieError, match=told):
            ps.MilvusEngine(uri, **how)
    assert list(tmp_path.iterdir()) == []


def test_requests_are_smaller_than_the_limit() -> None:
    """Texts and metadata count, and so does the number of rows."""
    pytest.importorskip("pymilvus")
    from plushie_search.milvus.store import BYTES, MOST, _requests

    plain = {"name": "n", "label": None, "text": None, "terms": [], "metadata": {}, "bounds": {}}
    long = [{**plain, "text": "é" * 30_000}, {**plain, "metadata": {"a": "é" * 30_000}}] * 200
    for rows, size in (
        (long, 100),
        ([plain] * 40_000, 1),
        ([plain] * 5000, 40_000),
        ([long[0]] * 3, 2 * BYTES),
        ([], 1),
    ):
        some = list(_requests(rows, size))
        assert [row for one in some for row in one] == rows
        for one in some:
            texts = sum(len(str(row["text"]).encode()) + len(str(row["metadata"]).encode()) for row in one)
            assert (size * len(one) + texts < BYTES + 100_000 or len(one) == 1, len(one) <= MOST) == (True, True)
        assert len(some) <= 2 + sum(size + 61_000 for _ in rows) / BYTES + len(rows) / MOST


def test_labels_cannot_change_a_filter(open_milvus: Callable[..., Any]) -> None:
    engine = open_milvus(model=SuiteEncoder())
    evil = ['a" or pk != "', "x'] or true or item in ['", 'label \\" == "', "\\", '"', "%", 'x" /* ', "{x}"]
    for number, label in enumerate(evil):
        engine.add(f"{label} {number}", images=picture(number), label=label, metadata={label: label, "k": label})
    for number, label in enumerate(evil):
        wanted = f"{label} {number}"
        for where in ({"label": label}, {"id": wanted}, {"$key": {label: label}}, {"k": {"$in": [label, "none"]}}):
            assert [item.id for item in engine.items(where=where)] == [wanted]
        assert engine.count({"label": {"$ne": label}}) == len(evil) - 1
    assert engine.remove(where={"label": 'none" or pk != "'}) == 0
    assert len(engine) == len(evil)


def test_a_folder_goes_on_where_it_stopped(open_milvus: Callable[..., Any], tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / "photos" / f"item {number}"
        folder.mkdir(parents=True)
        Image.fromarray(picture(number)).save(folder / "a.png")
        Image.fromarray(picture(50 + number)).save(folder / "b.png")
    (tmp_path / "photos" / "item 0" / "bad.jpg").write_bytes(b"\xff\xd8\xffno picture")
    seen: list[Any] = []
    calls: list[int] = []

    class Counting(SuiteEncoder):
        def encode_images(self, images: Any) -> Any:
            calls.append(len(images))
            return super().encode_images(images)

    engine = open_milvus(model=Counting())
    report = engine.add_folder(tmp_path / "photos", progress=lambda *told: seen.append(told))
    assert (report.items, report.references, report.duplicates, len(report.failed)) == (5, 10, 0, 1)
    assert report.failed[0][0].endswith("bad.jpg")
    assert (seen[0][:2], seen[-1][:2]) == ((0, 11), (11, 11))
    count = sum(calls)
    Image.fromarray(picture(90)).save(tmp_path / "photos" / "item 3" / "c.png")
    report = engine.add_folder(tmp_path / "photos")
    assert (report.items, report.references, report.duplicates) == (0, 1, 10)
    assert sum(calls) == count + 1
    assert len(engine.get("item 3").references) == 3
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with pytest.raises(ps.ArgumentError, match="no picture"):
        engine.add_folder(nothing)


def test_items_are_made_exactly_so(open_milvus: Callable[..., Any]) -> None:
    engine = open_milvus(model=SuiteEncoder())
    engine.add("a", images=[picture(1), picture(2)], label="x", metadata={"n": 1})
    engine.add("b", images=[picture(5)])
    assert engine.add("a", images=[picture(2), picture(3)], text="t", upsert=True) == ps.Added(1, 1, 1)
    item = engine.get("a")
    assert (item.label, item.text, item.metadata, len(item.references)) == (None, "t", {}, 2)
    report = engine.add_items([{"id": "a", "images": [picture(9)]}, {"id": "c", "images": [picture(6), b"bad"]}])
    assert (report.items, report.references, len(report.failed)) == (1, 2, 1)
    assert [item.id for item in engine] == ["a", "b", "c"]
    assert engine.remove(where={"text": "t"}) == 1
    assert [item.id for item in engine] == ["b", "c"]


def test_another_index_keeps_everything(open_milvus: Callable[..., Any]) -> None:
    engine = open_milvus(model=SuiteEncoder())
    for number in range(20):
        engine.add(f"{number}", images=picture(number), metadata={"n": number})
    before = [item.to_dict() for item in engine]
    hits = [(hit.item, round(hit.score, 5)) for hit in engine.search_image(picture(3), k=5)]
    engine.reindex({"index_type": "HNSW", "M": 16, "efConstruction": 64})
    assert engine.stats()["index"] == "HNSW"
    assert [item.to_dict() for item in engine] == before
    assert [(hit.item, round(hit.score, 5)) for hit in engine.search_image(picture(3), k=5, ef_search=64)] == hits
    assert engine.count({"n": {"$lt": 5}}) == 5


def test_all_that_is_lacking_names_another_way(open_milvus: Callable[..., Any]) -> None:
    """Every method and option of an engine is there, or says what to do instead."""
    engine = open_milvus(model=SuiteEncoder())
    engine.add("a", images=[picture(1), picture(2)])
    engine.add("b", images=[picture(3), picture(4)])
    lacking = set(vars(AbsentMethods)) - set(vars(object)) - {"__module__", "__dict__", "__weakref__"}
    for name in lacking:
        with pytest.raises(ps.UnsupportedError, match=f"a catalog in Milvus has no {name}: "):
            getattr(engine, name)()
    public = {name for name in dir(ps.Engine) if not name.startswith("_")}
    assert lacking < public <= set(dir(engine))
    with pytest.raises(ps.UnsupportedError, match="no prune: call remove"):
        engine.add_folder("photos", prune=True)
    with pytest.raises(ps.UnsupportedError, match="no query_crops: give the parts as Crop"):
        engine.identify(picture(1), query_crops=True)
    assert engine.evaluate().queries == 4


def test_a_closed_engine_says_so(open_milvus: Callable[..., Any]) -> None:
    engine = open_milvus(model=SuiteEncoder())
    engine.close()
    with pytest.raises(ps.ArgumentError, match="closed"):
        engine.add("a", images=picture(1))
    with pytest.raises(TypeError, match="pickled"):
        engine.__reduce__()


# A server of its own


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """Milvus Lite in a process of its own, which answers as a server does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        self.port = free_port()
        code = "from milvus_lite.adapter.grpc.server import run_server; "
        code += f"run_server({str(self.folder)!r}, '127.0.0.1', {self.port})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("milvus_lite")
    one = Server(tmp_path / "server.db")
    yield one
    one.kill()


def test_a_server_that_goes_in_the_middle_of_a_batch_loses_nothing(server: Server) -> None:
    vectors = np.random.default_rng(0).normal(size=(9000, SuiteEncoder.dim)).astype(np.float32)
    ids = [f"{number}" for number in range(9000)]
    engine = ps.MilvusEngine(f"http://127.0.0.1:{server.port}", model=SuiteEncoder(), index="FLAT")
    put, calls = engine._store.put, []

    def dies(rows: Any, size: int) -> None:
        calls.append(len(rows))
        if len(calls) == 2:
            put(rows[:500], size)
            server.kill()
            engine._store._timeout = 2.0
        put(rows, size)

    engine._store.put = dies
    with pytest.raises(ps.CatalogError, match=r"127\.0\.0\.1.*start the server.*of item '8000' on: add all again"):
        engine.add_vectors(ids, vectors)
    engine.close()
    server.start()
    with ps.MilvusEngine(f"http://127.0.0.1:{server.port}", model=SuiteEncoder(), timeout=30) as engine:
        assert len(engine) == 8500
        added = engine.add_vectors(ids, vectors)
        assert (added.references, added.duplicates) == (500, 8500)
        assert (len(engine), engine.stats()["references"]) == (9000, 9000)
        assert engine.search_vector(vectors[8000], k=1)[0].item == "8000"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus")
    with pytest.raises(ps.CatalogError, match="start the server, or correct uri="):
        ps.MilvusEngine(f"http://127.0.0.1:{free_port()}", model=SuiteEncoder(), timeout=1)
