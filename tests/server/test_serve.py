"""The commands serve, health and config in processes of their own, and several processes on one catalog."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from http_server import COLORS, Serving, catalog_of, fastapi_client, png, wait_until

import plushie_search as ps
from plushie_search import cli, server
from plushie_search.server.auth import hash_key


@pytest.fixture
def catalog(toy_model: Path, tmp_path: Path) -> Path:
    return catalog_of(tmp_path / "toys.catalog", toy_model, {id: png(color) for id, color in COLORS.items()})


def test_serve_answers_until_it_is_stopped(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Serving(str(catalog)) as serving:
        assert httpx.post(f"{serving.url}/api/search/text", json={"query": "teddy"}).json()["success"] is True
        assert cli.main(["health", serving.url]) == 0
        assert capsys.readouterr().out == '{"status":"ready"}\n'
        assert serving.stop() == 0
    assert cli.main(["health", serving.url]) == 2
    assert "does not answer" in capsys.readouterr().err
    lines = [line for line in serving.log if line.startswith("{")]
    assert any('"path": "/api/search/text", "status": 200' in line for line in lines)
    assert not any("Traceback" in line for line in serving.log)


def test_a_stop_lets_a_running_upload_end_and_events_too(catalog: Path) -> None:
    with Serving(str(catalog)) as serving:
        files = [("image", (f"many{n}/1.png", png((n, 5, 5), (500, 400)))) for n in range(60)]
        job = httpx.post(f"{serving.url}/api/v1/jobs/add", files=files, timeout=30).json()["job"]
        ended = threading.Event()

        def follow() -> None:
            httpx.get(f"{serving.url}/api/v1/jobs/{job['id']}/events", timeout=30)
            ended.set()

        threading.Thread(target=follow).start()
        time.sleep(0.5)
        began = time.monotonic()
        assert serving.stop() == 0
        assert time.monotonic() - began < 9
        assert ended.wait(5)


def test_workers_share_a_catalog(catalog: Path, tmp_path: Path) -> None:
    with Serving(str(catalog), "--workers", "2") as serving:
        undone = []
        with httpx.Client(base_url=serving.url) as client:
            client.post("/api/v1/items", files={"image": png((1, 200, 200))}, data={"id": "new"})
            undo = client.delete("/api/v1/items/bear").json()["undo"]
        # New connections come to either process.
        for _ in range(12):
            found = httpx.post(f"{serving.url}/api/v1/search", json={"text": "teddy", "k": 9}).json()["results"]
            assert {hit["item"] for hit in found} == {*COLORS, "new"} - {"bear"}
        for _ in range(12):
            undone.append(httpx.post(f"{serving.url}/api/v1/items/bear/restore", json={"undo": undo}).status_code)
            if undone[-1] == 200:
                break
        assert undone == [200]
        job = httpx.post(f"{serving.url}/api/v1/jobs/add", files={"image": ("x/1.png", png((5, 5, 5)))}).json()["job"]
        states = [httpx.get(f"{serving.url}/api/v1/jobs/{job['id']}") for _ in range(12)]
        assert {answer.status_code for answer in states} == {200}
        text = httpx.get(f"{serving.url}/metrics").text
        assert re.search(r"plushie_requests_total\{[^}]*POST /search[^}]*\} 12\.0", text), text
        assert serving.stop() == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes as Linux tells them")
def test_workers_wait_for_a_model_that_is_gone(toy_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(toy_model, tmp_path / "model"))
    with ps.Engine(tmp_path / "c", model=model) as engine:
        engine.add("bear", images=png(COLORS["bear"]))
    with Serving(str(tmp_path / "c"), "--workers", "2") as serving:
        # The command itself has opened it, too.
        wait_until(lambda: sum("opened model" in line for line in serving.log) == 3)
        away = model.rename(tmp_path / "away")
        first, second = serving.workers()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: any("cannot start" in line for line in serving.log))
        for _ in range(4):
            assert httpx.post(f"{serving.url}/api/v1/search", json={"text": "teddy"}).is_success
        assert any("which is not there any more" in line for line in serving.log)
        away.rename(model)
        before = sum("opened model" in line for line in serving.log)
        wait_until(lambda: sum("opened model" in line for line in serving.log) > before)
        assert second in serving.workers()
        assert not any("Traceback" in line for line in serving.log)
        # One that waits ends when it is told to.
        model.rename(tmp_path / "away")
        os.kill(second, signal.SIGKILL)
        told = sum("cannot start" in line for line in serving.log)
        wait_until(lambda: sum("cannot start" in line for line in serving.log) > told)
        assert serving.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_catalog_that_cannot_be_opened_ends_the_command(
    tmp_path: Path, workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "catalog.sqlite").write_text("hello")
    assert cli.main(["serve", str(tmp_path / "c"), "--port", "0", "--workers", workers]) == 2
    assert "is not an SQLite file" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["", "preload"])
def test_gunicorn(catalog: Path, more: tuple[str, ...]) -> None:
    pytest.importorskip("gunicorn")
    command = (sys.executable, "-m", "gunicorn", "-k", "asgi", "-w", "2", "-b", "127.0.0.1:0", *more)
    command += ("plushie_search.server.run:application()",)
    with Serving(command=command, env={"PLUSHIE_CATALOG": str(catalog)}) as serving:
        for n in range(8):
            answer = httpx.post(f"{serving.url}/api/v1/search", json={"text": f"teddy {n}", "k": 9})
            assert {hit["item"] for hit in answer.json()["results"]} == set(COLORS)
        assert serving.stop() == 0


def test_gunicorn_on_another_host_needs_keys(catalog: Path) -> None:
    pytest.importorskip("gunicorn")
    command = (sys.executable, "-m", "gunicorn", "-k", "asgi", "-b", "0.0.0.0:0")
    command += ("plushie_search.server.run:application()",)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            route.connect(("192.0.2.1", 9))  # sends nothing
            other = route.getsockname()[0]
    except OSError:
        pytest.skip("this machine has no other address than loopback")
    with Serving(command=command, env={"PLUSHIE_CATALOG": str(catalog)}) as serving:
        port = serving.url.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/stats").status_code == 200
        refused = httpx.get(f"http://{other}:{port}/api/v1/stats")
        assert (refused.status_code, refused.json()["code"]) == (403, "keys")
    insecure = {"PLUSHIE_CATALOG": str(catalog), "PLUSHIE_AUTH__INSECURE": "true"}
    with Serving(command=command, env=insecure) as serving:
        port = serving.url.rpartition(":")[2]
        assert httpx.get(f"http://{other}:{port}/api/v1/stats").status_code == 200


def test_another_host_needs_keys(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(catalog), "--host", "0.0.0.0"]) == 2
    assert "give keys" in capsys.readouterr().err
    with Serving(str(catalog), "--host", "0.0.0.0", "--insecure") as serving:
        assert httpx.get(f"{serving.url}/api/v1/stats").json()["items"] == len(COLORS)


def test_a_port_that_is_taken_is_told(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Serving(str(catalog)) as serving:
        port = serving.url.rpartition(":")[2]
        assert cli.main(["serve", str(catalog), "--port", port]) == 2
        assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err


# Configuration


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


SEED = """
clip:
  model_name: plushie-mini
  device: cpu
  batch_size: 32
faiss:
  index_type: IVFFlat
  nlist: 100
  nprobe: 10
search:
  default_k: 5
  max_k: 20
  fusion_weights:
    clip: 0.6
    resnet: 0.4
similarity_threshold: 0.5
"""


def test_the_file_of_the_request_loads(tmp_path: Path) -> None:
    file = write(tmp_path / "plushie.yaml", SEED)
    settings = server.load(file)
    assert settings.clip is not None
    assert (settings.faiss.factory, settings.faiss.nprobe) == ("IVF100,Flat", 10)
    assert (settings.clip.batch_size, settings.search.max_k, settings.similarity_threshold) == (32, 20, 0.5)
    assert settings.search.fusion_weights.model_dump() == {"clip": 0.6, "resnet": 0.4}


def test_flags_come_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.yaml", "server: {port: 1, mode: dev, workers: 3}\nlimits: {rate: 7}\n")
    monkeypatch.setenv("PLUSHIE_SERVER__PORT", "2")
    monkeypatch.setenv("PLUSHIE_SERVER__WORKERS", "4")
    settings = server.load(file, server={"port": 3})
    assert (settings.server.port, settings.server.workers, settings.server.mode) == (3, 4, "dev")
    assert settings.limits.rate == 7
    assert settings.server.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server: {prot: 80}", r"server\.prot is no key: did you mean port\?"),
        ("sever: {}", r"sever is no key: did you mean server\?"),
        ("clip: {model: x}", r"clip\.model is no key"),
        ("server: {port: 99999}", r"server\.port: .*65535"),
        ("search: {fusion_weights: {clip: 2}}", r"search\.fusion_weights\.clip: "),
        ("faiss: {index_type: PQ}", r"faiss\.index_type: "),
        ("faiss: {nlist: 100}", "faiss: nlist 100 is for index_type IVFFlat: give that, too"),
        ("faiss: {index: HNSW16, index_type: Flat}", "faiss: index HNSW16 and index_type Flat both name .*: leave one"),
        ("faiss: {recall: 1.5}", r"faiss\.recall: "),
        ("faiss: {memory: 0}", r"faiss\.memory: "),
        ("catalogs: {'a/b': x}", r"catalogs: catalog name 'a/b'"),
        ("auth: {read_keys: [abc]}", r"auth\.read_keys\.0: "),
        ("server: [", "no YAML"),
        ("- 1", "no YAML|mapping|section"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ps.ArgumentError, match=says):
        server.load(write(tmp_path / "a.yaml", text))


def test_a_missing_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "config --example" in capsys.readouterr().err
    assert cli.main(["serve"]) == 2
    assert "has no catalog" in capsys.readouterr().err


def test_a_wrong_dimension_is_an_error(catalog: Path) -> None:
    with pytest.raises(ps.ArgumentError, match=r"faiss\.dimension: 512 is not the dimension of catalog default, 6"):
        server.create_app(server.load(catalog=str(catalog), faiss={"dimension": 512}))
    server.create_app(server.load(catalog=str(catalog), faiss={"dimension": 6}))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of vectors with the index IVF16,Flat."""
    path = tmp_path_factory.mktemp("many") / "many.catalog"
    with ps.Engine(path, dim=8, index="IVF16,Flat", recall=0.9, threads=1) as engine:
        rows = np.random.default_rng(0).standard_normal((3_000, 8)).astype(np.float32)
        engine.add_vectors([f"item-{row}" for row in range(len(rows))], rows)
        engine.optimize()
        assert engine.stats()["index"] == "IVF16,Flat"
    return path


@pytest.mark.parametrize(
    ("faiss", "index"),
    [
        ({"recall": 0.9}, "IVF16,Flat"),
        ({"recall": 0.9, "index_type": "IVFFlat", "nlist": 16}, "IVF16,Flat"),
        ({"recall": 0.9, "index_type": "IVFFlat"}, "IVF16,Flat"),
        ({"recall": 0.9, "index": "IVF16,Flat", "memory": 0.5}, "IVF16,Flat"),
        # The index in the file is not what is asked for; another would be built in the background.
        ({"index": "exact"}, "exact"),
        ({"index_type": "Flat", "nlist": 16}, "exact"),
        ({"recall": 0.9, "index_type": "IVFFlat", "nlist": 32}, "exact"),
        ({"recall": 0.9, "index_type": "HNSW"}, "exact"),
        ({"recall": 1.0}, "exact"),
        ({"recall": 0.9, "memory": 2}, "exact"),
    ],
)
def test_the_index_is_that_of_the_configuration(many: Path, faiss: dict[str, Any], index: str) -> None:
    settings = server.load(catalog=str(many), faiss=faiss, server={"threads": 1, "read_only": True})
    with fastapi_client(settings) as client:
        stats = client.get("/api/v1/stats").json()
    assert stats["index"] == index
    assert [one["index"] for one in stats["approximate"]] == [index] * (index != "exact")
    assert all(one["pictures"]["recall"] >= 0.9 for one in stats["approximate"])


def test_searches_probe_as_many_lists_as_the_configuration_says(many: Path) -> None:
    how = {"threads": 1, "read_only": True}
    with ps.Engine(many, recall=0.9, **how) as engine:
        items = [f"item-{row}" for row in range(20)]
        wanted = {
            nprobe: [[hit.item for hit in engine.search(ps.Query(item=item), nprobe=nprobe)] for item in items]
            for nprobe in (1, 16)
        }
    assert wanted[1] != wanted[16]
    settings = server.load(catalog=str(many), faiss={"recall": 0.9, "nprobe": 1}, server=how)
    with fastapi_client(settings) as client:
        for nprobe, more in ((1, {}), (16, {"nprobe": 16})):
            body = {"queries": [{"item": item} for item in items], **more}
            answer = client.post("/api/v1/search", json=body).json()["results"]
            assert [[hit["item"] for hit in hits] for hits in answer] == wanted[nprobe]


def test_an_index_that_cannot_be_used_is_an_error(catalog: Path) -> None:
    with pytest.raises(ps.ArgumentError, match=r'index "XYZ": .*give Flat, SQ4'):
        server.create_app(server.load(catalog=str(catalog), faiss={"index": "XYZ"}))


def test_the_example_is_the_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--example"]) == 0
    text = capsys.readouterr().out
    assert server.load(write(tmp_path / "a.yaml", text)) == server.load()
    keys = set(re.findall(r"^ *(?:# )?(\w+):", text, re.MULTILINE))

    def named(model: Any) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            found.add(name)
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if hasattr(kind, "model_fields"):
                    found |= named(kind)
        return found

    assert named(server.Settings) <= keys
    # Every commented key may be set as it stands.
    opened = re.sub(r"^( *)# (\w+:)", r"\1\2", text, flags=re.MULTILINE)
    assert set(yaml.safe_load(opened)) == set(server.Settings.model_fields)


def test_show_tells_values_and_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.yaml", "server: {port: 1}\nauth: {secret: hush}\n")
    monkeypatch.setenv("PLUSHIE_LIMITS__RATE", "9")
    assert cli.main(["config", "--show", "--config", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"  port: 1  # {file}\n" in out
    assert "  rate: 9  # PLUSHIE_LIMITS__RATE\n" in out
    assert "  host: 127.0.0.1  # default\n" in out
    assert "hush" not in out


def test_a_new_key_has_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--key"]) == 0
    found = re.fullmatch(r"key   (\S+)\nhash  sha256:(\w+)\n", capsys.readouterr().out)
    assert found is not None
    assert hash_key(found[1]) == found[2]


def test_two_models_are_clip_and_resnet(toy_model: Path, tmp_path: Path) -> None:
    sections = {"clip": {"model_name": str(toy_model)}, "catalog": str(tmp_path / "new.catalog")}
    app = server.create_app(server.load(**sections, similarity_threshold=0.5))
    service = app.state.service
    assert service.first.engines == {"clip": "clip"}
    service.first.engine.add("bear", images=png((200, 0, 0)))
    service.close()
    service.first.engine.close()


def test_an_encoder_is_served_alone(toy_model: Path, toy_encoder: Any) -> None:
    with Serving("--encoder-only", "--model", str(toy_model)) as serving:
        answer = httpx.post(f"{serving.url}/v1/embeddings", json={"model": "toy", "input": ["teddy"]}).json()
        assert answer["data"][0]["embedding"] == toy_encoder.encode_texts("teddy")[0].tolist()
        assert httpx.get(f"{serving.url}/api/v1/stats").status_code == 404
        assert httpx.get(serving.url).status_code == 404
        assert set(httpx.get(f"{serving.url}/openapi.json").json()["paths"]) == {
            *("/v1/embeddings", "/healthz", "/readyz", "/metrics", "/openapi.json")
        }
        # A catalog is filled and searched by it.
        remote = ps.open_encoder("toy", service=f"{serving.url}/v1/embeddings?model=toy&images=jina")
        assert abs(remote.encode_texts("red scarf") - toy_encoder.encode_texts("red scarf")).max() < 1e-6
        assert abs(remote.encode_images(png((9, 200, 7))) - toy_encoder.encode_images(png((9, 200, 7)))).max() < 1e-6


def test_keys_are_made_once(catalog: Path) -> None:
    arguments = (str(catalog), "--host", "0.0.0.0", "--create-keys")
    with Serving(*arguments) as serving:
        text = "".join(serving.log)
        read, write = re.findall(r"plushie_[\w-]+", text)
        assert httpx.get(f"{serving.url}/api/v1/stats").status_code == 401
        stats = httpx.get(f"{serving.url}/api/v1/stats", headers={"X-API-Key": write}).json()
        assert stats["writable"] is True
    with Serving(*arguments) as serving:
        assert "plushie_" not in "".join(line for line in serving.log if not line.startswith("{"))
        stats = httpx.get(f"{serving.url}/api/v1/stats", headers={"X-API-Key": read}).json()
        assert stats["writable"] is False


def test_a_container_creates_its_catalog(tmp_path: Path) -> None:
    with Serving(str(tmp_path / "data" / "plushie.catalog")) as serving:
        stats = httpx.get(f"{serving.url}/api/v1/stats").json()
        assert (stats["items"], stats["models"]) == (0, ["plushie-mini"])
        assert httpx.post(f"{serving.url}/api/v1/search", json={"text": "bear"}).json()["results"] == []
