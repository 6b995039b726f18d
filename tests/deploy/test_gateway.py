"""The gateway and the web page's server, with nginx before servers of this process."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from http_server import COLORS, listening, png, wait_for

import plushie_search as ps
from plushie_search import server
from plushie_search.server.auth import hash_key
from plushie_search.server.files import POLICY, Page
from plushie_search.server.middleware import SAFE

NGINX = Path(__file__).parent.parent.parent / "deploy" / "nginx"
KEY = "plushie_test"

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


@contextlib.contextmanager
def nginx(name: str, folder: Path, **places: str) -> Iterator[str]:
    """Runs nginx with a file of ours, in which addresses and folders are replaced, and returns its address."""
    folder.mkdir()
    port = free_port()
    text = (NGINX / name).read_text(encoding="utf-8")
    for old, new in {"/tmp/": f"{folder}/", "listen 8080;": f"listen 127.0.0.1:{port};", **places}.items():
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    user = "user root; " if os.geteuid() == 0 else ""
    command = ["nginx", "-e", "stderr", "-c", str(file), "-g", f"{user}daemon off;"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/healthz", seconds=20)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)
    assert not re.search(r"\[(crit|alert|emerg)\]", (folder / "log").read_text()), (folder / "log").read_text()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A page in place of that of the package."""
    folder = tmp_path / "page"
    (folder / "i18n").mkdir(parents=True)
    for name in ("index.html", "app.js", "base.css", "icon.svg", "manifest.webmanifest", "i18n/en.json"):
        (folder / name).write_text(f"{name} ä", encoding="utf-8")
    return folder


def test_the_page_is_sent_as_the_search_service_does(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plushie_search.server.files.FOLDER", files)
    page = Page()
    with nginx("page.conf", tmp_path / "nginx", **{"/srv/page": str(files)}) as url:
        for path in sorted(files.rglob("*.*")):
            name = path.relative_to(files).as_posix()
            wanted = page.answer(name, {})
            found = httpx.get(url if name == "index.html" else f"{url}/static/{name}")
            assert found.content == wanted.body
            assert found.headers["content-type"] == wanted.media_type
            assert found.headers["cache-control"] == wanted.headers["Cache-Control"]
            for header, value in SAFE:
                assert found.headers[header.decode()] == value.decode()
            again = httpx.get(str(found.url), headers={"If-None-Match": found.headers["etag"]})
            assert again.status_code == 304
        assert httpx.get(url).headers["content-security-policy"] == POLICY
        assert httpx.get(url).headers["permissions-policy"] == "camera=(self)"
        for path in ("/static/../nginx.conf", "/static/%2e%2e/nginx.conf", "/index.html", "/api/v1/stats"):
            assert httpx.get(url + path).status_code in (400, 403, 404)


@pytest.fixture
def gateway(
    toy_model: Path, tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of the gateway before a search service, an encoder and the page, and those of the services."""
    monkeypatch.setattr(socket, "gethostname", lambda: "encoder")
    keys = server.load(auth={"write_keys": [hash_key(KEY)]})
    alone = server.load(server={"encoder_only": True}, clip={"model_name": str(toy_model)})
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(ps.Engine(tmp_path / "catalog", model=toy_model, threads=2))
        for id, color in COLORS.items():
            engine.add(id, images=png(color))
        services = {
            "search:8082": stack.enter_context(listening(server.create_app(engine, settings=keys))),
            "encoder:8082": stack.enter_context(listening(server.create_app(alone))),
            "page:8080": stack.enter_context(nginx("page.conf", tmp_path / "page-nginx", **{"/srv/page": str(files)})),
        }
        places = {name: url.removeprefix("http://") for name, url in services.items()}
        yield stack.enter_context(nginx("gateway.conf", tmp_path / "nginx", **places)), services


def test_the_gateway_joins_the_services(gateway: tuple[str, dict[str, str]]) -> None:
    url, services = gateway
    key = {"Authorization": f"Bearer {KEY}"}
    assert httpx.get(url).text == "index.html ä"
    assert httpx.get(f"{url}/static/app.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert httpx.get(f"{url}/openapi.json").json()["openapi"].startswith("3.")
    assert httpx.get(f"{url}/metrics", headers=key).status_code == 404
    assert httpx.get(f"{url}/api/v1/stats").status_code == 401

    picture = {**key, "Content-Type": "image/png"}
    found = httpx.post(f"{url}/api/v1/search?k=1", content=png(COLORS["bear"]), headers=picture)
    hit = found.json()["results"][0]
    assert hit["item"] == "bear"
    shown = httpx.get(url + hit["thumbnail"])  # signed: without a key
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert httpx.get(url + hit["thumbnail"].partition("?")[0]).status_code == 401

    texts = {"model": "toy", "input": ["teddy"]}
    refused = httpx.post(f"{url}/v1/embeddings", json=texts)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["x-request-id"] == refused.json()["instance"]
    wrong = httpx.post(f"{url}/v1/embeddings", json=texts, headers={"X-API-Key": "wrong"})
    assert wrong.status_code == 401
    encoded = httpx.post(f"{url}/v1/embeddings", json=texts, headers={"X-API-Key": KEY})
    assert encoded.json()["data"] == httpx.post(f"{services['encoder:8082']}/v1/embeddings", json=texts).json()["data"]


def test_events_come_while_a_job_runs(gateway: tuple[str, dict[str, str]]) -> None:
    url, _ = gateway
    files = [("image", (f"many{n}/1.png", png((n, 5, 5), (900, 700)))) for n in range(60)]
    with httpx.Client(base_url=url, headers={"X-API-Key": KEY}, timeout=30) as client:
        job = client.post("/api/v1/jobs/add", files=files).json()["job"]
        times = []
        with client.stream("GET", f"/api/v1/jobs/{job['id']}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            text = ""
            for piece in answer.iter_text():
                text += piece
                times.append(time.monotonic())
                if "event: done" in text:
                    break
    assert "event: done" in text
    assert len(times) > 1, "all came at once"


def test_the_gateway_has_limits(gateway: tuple[str, dict[str, str]]) -> None:
    url, _ = gateway
    key = {"X-API-Key": KEY, "Content-Type": "image/png"}
    large = httpx.post(f"{url}/api/v1/search", content=bytes(27_000_000), headers=key)
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    with httpx.Client(base_url=url, headers=key) as client:
        answers = [client.get("/api/v1/labels") for _ in range(100)]
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    busy = next(answer for answer in answers if answer.status_code == 429)
    assert (busy.json()["code"], busy.headers["retry-after"]) == ("rate", "1")


def test_a_service_that_is_away_is_told(tmp_path: Path) -> None:
    nothing = f"127.0.0.1:{free_port()}"
    places = {"search:8082": nothing, "encoder:8082": nothing, "page:8080": nothing}
    with nginx("gateway.conf", tmp_path / "nginx", **places) as url:
        for path in ("/api/v1/stats", "/", "/v1/embeddings"):
            answer = httpx.get(url + path)
            assert (answer.status_code, answer.json()["code"]) == (503, "down")
            assert answer.headers["retry-after"] == "5"
    text = (tmp_path / "nginx" / "log").read_text()
    assert '"path":"/api/v1/stats","status":503' in text


def test_the_gateway_speaks_tls(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    port = free_port()
    names = {"fullchain.pem": "-out", "privkey.pem": "-keyout"}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    for name, flag in names.items():
        command += [flag, str(tmp_path / name)]
    subprocess.run(command, check=True, capture_output=True)
    tls = (NGINX / "tls.conf").read_text(encoding="utf-8")
    tls = tls.replace("listen 8443 ", f"listen 127.0.0.1:{port} ").replace("/etc/nginx/tls", str(tmp_path))
    (tmp_path / "tls.conf").write_text(tls, encoding="utf-8")
    with nginx("gateway.conf", tmp_path / "nginx", **{"/etc/nginx/gateway.d": str(tmp_path)}):
        answer = httpx.get(f"https://127.0.0.1:{port}/healthz", verify=False)
        assert answer.json() == {"status": "ok"}
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_limits_are_those_of_the_search_service() -> None:
    text = (NGINX / "gateway.conf").read_text(encoding="utf-8")
    limits = server.load().limits
    size, seconds = (
        int(found[1])
        for found in (re.search(rf"{one} (\d+)", text) for one in ("client_max_body_size", "proxy_read_timeout"))
        if found
    )
    assert limits.body <= size << 20 < 1.1 * limits.body
    assert seconds > max(limits.timeout, limits.write_timeout, limits.inspect_timeout)
    assert text.count("proxy_set_header X-Forwarded-For $remote_addr") == 3
