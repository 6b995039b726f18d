"""Attacks and limits: keys, origins, hosts, large and damaged bodies, names that are paths or HTML."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from http_server import fastapi_client, png

import plushie_search as ps
from plushie_search import server
from plushie_search.server import auth
from plushie_search.server.auth import hash_key

READ, WRITE = "read key", "write key"
KEYS = {"read_keys": [hash_key(READ)], "write_keys": [f"sha256:{hash_key(WRITE)}"]}
RED = png((201, 31, 29))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_keys_decide_what_is_allowed(opened: Callable[..., Any], engine: ps.Engine) -> None:
    with opened(engine, server.load(auth=KEYS)) as client:
        missing = client.get("/api/v1/stats")
        assert (missing.status_code, missing.json()["code"]) == (401, "unauthorized")
        assert missing.headers["WWW-Authenticate"] == "Bearer"
        for headers in (bearer("wrong"), {"X-API-Key": ""}, bearer(""), {"Authorization": f"Basic {READ}"}):
            assert client.get("/api/v1/items/bear", headers=headers).status_code == 401
            assert client.post("/api/search/text", json={"query": "bear"}, headers=headers).json()["success"] is False
        read = client.get("/api/v1/stats", headers=bearer(READ)).json()
        assert (read["writable"], read["keys"]) == (False, True)
        assert client.get("/api/v1/stats", headers={"X-API-Key": WRITE}).json()["writable"] is True
        forbidden = client.delete("/api/v1/items/bear", headers=bearer(READ))
        assert (forbidden.status_code, forbidden.json()["code"]) == (403, "forbidden")
        assert client.delete("/api/v1/items/bear", headers=bearer(WRITE)).status_code == 200
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code in (200, 503)
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=bearer(READ)).status_code == 200


def test_keys_are_compared_in_constant_time(
    opened: Callable[..., Any], engine: ps.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []
    real = hmac.compare_digest

    def compare(first: Any, second: Any) -> bool:
        compared.append((first, second))
        return real(first, second)

    with opened(engine, server.load(auth=KEYS)) as client:
        monkeypatch.setattr(auth.hmac, "compare_digest", compare)
        client.get("/api/v1/stats", headers=bearer(READ))
    assert [first for first, _ in compared] == [hash_key(READ), hash_key(WRITE)]


def test_a_file_has_keys(opened: Callable[..., Any], engine: ps.Engine, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = auth.create_keys(str(file))
    assert made is not None
    read, write = made
    assert auth.create_keys(str(file)) is None
    assert file.stat().st_mode & 0o777 == 0o600
    assert read not in file.read_text()
    with opened(engine, server.load(auth={"keys_file": str(file)})) as client:
        assert client.get("/api/v1/stats", headers=bearer(write)).json()["writable"] is True
        assert client.get("/api/v1/stats", headers=bearer(read)).json()["writable"] is False
    for text in ("{", "[]", '{"read": ["abc"]}', '{"read": 5}'):
        file.write_text(text)
        with pytest.raises(ps.ArgumentError, match="keys_file"):
            auth.Guard(server.load(auth={"keys_file": str(file)}))


def test_pictures_have_signed_addresses(opened: Callable[..., Any], engine: ps.Engine) -> None:
    with opened(engine, server.load(auth=KEYS)) as client:
        reference = client.get("/api/v1/items/bear", headers=bearer(READ)).json()["references"][0]
        thumbnail = reference["thumbnail"]
        answer = client.get(thumbnail)
        assert answer.content == engine.thumbnail("bear")
        assert answer.headers["Cache-Control"].startswith("private")
        assert client.get(thumbnail.partition("?")[0]).status_code == 401
        for old, new in (("item=bear", "item=dog"), ("&e=", "&e=1"), ("&s=", "&s=0"), ("&e=", "&e=-")):
            assert client.get(thumbnail.replace(old, new)).status_code == 401
        other = client.get("/api/v1/items/dog", headers=bearer(READ)).json()["references"][0]["digest"]
        assert client.get(thumbnail.replace(reference["digest"], other)).status_code == 401
        end = int(thumbnail.partition("&e=")[2].partition("&")[0])
        guard = auth.Guard(server.load(auth=KEYS))
        name = f"default/{reference['digest']}"
        query = {"item": "bear", "e": str(end), "s": thumbnail.rpartition("s=")[2]}
        assert guard.is_signed(name, query)
        old = {**query, "e": "1000", "s": guard._signature(name, "bear", 1000)}
        assert not guard.is_signed(name, old)


def test_rates_are_limited_by_key(opened: Callable[..., Any], engine: ps.Engine) -> None:
    with opened(engine, server.load(auth=KEYS, limits={"rate": 3})) as client:
        codes = [client.get("/api/v1/stats", headers=bearer(READ)).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        late = client.get("/api/v1/stats", headers=bearer(READ))
        assert 1 <= int(late.headers["Retry-After"]) <= 21
        assert client.get("/api/v1/stats", headers=bearer(WRITE)).status_code == 200


def test_wrong_keys_are_limited_by_address(opened: Callable[..., Any], engine: ps.Engine) -> None:
    with opened(engine, server.load(auth=KEYS)) as client:
        codes = {client.get("/api/v1/stats", headers=bearer(f"guess {n}")).status_code for n in range(70)}
        assert codes == {401, 429}
        assert client.get("/api/v1/stats", headers=bearer(READ)).status_code == 200


# Browsers of other sites


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9000"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://friend.example"}, True),
    ],
)
def test_pages_of_other_origins_change_nothing(
    opened: Callable[..., Any], engine: ps.Engine, headers: dict[str, str], allowed: bool
) -> None:
    with opened(engine, server.load(server={"origins": ["http://friend.example"]})) as client:
        answer = client.post("/api/v1/items", files={"image": RED}, data={"id": "new"}, headers=headers)
        assert answer.status_code == (201 if allowed else 403)
        assert ("new" in engine) is allowed
        assert client.get("/api/v1/stats", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:8082", True),
        ("127.0.0.1:8082", True),
        ("[::1]:8082", True),
        ("192.168.1.5", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8082", False),
        ("", False),
    ],
)
def test_foreign_host_names_are_refused(engine: ps.Engine, host: str, allowed: bool) -> None:
    with fastapi_client(engine) as client:
        for path in ("/api/v1/stats", "/nothing"):
            status = client.get(path, headers={"Host": host}).status_code
            assert (status == 421) is not allowed
    with fastapi_client(engine, server.load(server={"allowed_hosts": ["toys.example"]})) as client:
        assert client.get("/api/v1/stats", headers={"Host": "toys.example"}).status_code == 200
        assert client.get("/api/v1/stats", headers={"Host": "127.0.0.1"}).status_code == 421
    with fastapi_client(engine, server.load(auth=KEYS)) as client:
        assert client.get("/api/v1/stats", headers={"Host": host, **bearer(READ)}).status_code == 200


def test_every_answer_is_safe_in_a_browser(engine: ps.Engine) -> None:
    with fastapi_client(engine) as client:
        for path in ("/api/v1/stats", "/nothing", "/api/v1/items/rabbit", "/static/../app.py", "/metrics"):
            headers = client.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Request-ID"]
            assert "Access-Control-Allow-Origin" not in headers


def test_cors_is_for_listed_origins(engine: ps.Engine) -> None:
    asked = {"Origin": "http://friend.example", "Access-Control-Request-Method": "POST"}
    with fastapi_client(engine, server.load(server={"origins": ["http://friend.example"]})) as client:
        answer = client.options("/api/v1/search", headers=asked)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "http://friend.example")
        given = client.get("/api/v1/stats", headers={"Origin": "http://friend.example"}).headers
        assert given["Access-Control-Allow-Origin"] == "http://friend.example"
        assert "Access-Control-Allow-Credentials" not in given
        other = client.options("/api/v1/search", headers={**asked, "Origin": "http://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
    with fastapi_client(engine) as client:
        assert "Access-Control-Allow-Origin" not in client.options("/api/v1/search", headers=asked).headers


def test_request_ids_come_back(client: Any) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "my-id.7"}).headers["X-Request-ID"] == "my-id.7"
    for wrong in ("x" * 65, "a b", "<script>"):
        assert client.get("/healthz", headers={"X-Request-ID": wrong}).headers["X-Request-ID"] != wrong


# Bodies


@pytest.mark.parametrize(
    ("path", "content_type", "size"),
    [
        ("/api/v1/search", "image/jpeg", 25_000_001),
        ("/api/v1/search", "application/json", 1_000_001),
        ("/api/search/text", "application/json", 1_000_001),
        ("/api/search/image", "multipart/form-data; boundary=x", 50_000_000),
    ],
)
def test_large_bodies_are_refused(client: Any, path: str, content_type: str, size: int) -> None:
    answer = client.post(path, content=b"x" * size, headers={"Content-Type": content_type})
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_large_bodies_of_unknown_length_are_refused(engine: ps.Engine) -> None:
    def pieces() -> Any:
        for _ in range(30):
            yield b"x" * 1_000_000

    with fastapi_client(engine) as client:
        answer = client.post("/api/v1/search", content=pieces(), headers={"Content-Type": "image/jpeg"})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        few = iter([RED[:50], RED[50:]])
        assert client.post("/api/v1/search", content=few, headers={"Content-Type": "image/png"}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\n\r\n",
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx',
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\xfe\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n',
        b"no form at all",
    ],
)
def test_damaged_forms_are_refused(client: Any, body: bytes) -> None:
    answer = client.post("/api/v1/search", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert (answer.status_code, answer.json()["code"]) == (400, "form")


def test_forms_with_too_much_in_them_are_refused(client: Any) -> None:
    def post(parts: bytes, boundary: str = "b") -> int:
        content_type = f"multipart/form-data; boundary={boundary}"
        status: int = client.post("/api/v1/search", content=parts, headers={"Content-Type": content_type}).status_code
        return status

    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    assert post(part * 2001 + b"--b--\r\n") == 413
    assert post(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 2_000_000 + b"\r\n--b--\r\n") == 413
    assert post(b"--b\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n") == 400
    assert post(b"--b--\r\n", "") == 400


@pytest.mark.parametrize("picture", [b"\xff\xd8\xff" + b"\0" * 100, b"GIF89a" + b"\xff" * 50, b"<svg onload=alert(1)>"])
def test_files_that_are_no_pictures_are_refused(client: Any, picture: bytes) -> None:
    answer = client.post("/api/v1/search", content=picture, headers={"Content-Type": "image/jpeg"})
    assert (answer.status_code, answer.json()["code"]) == (422, "picture")


def test_names_are_data_and_never_paths_or_html(client: Any, engine: ps.Engine, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    files = [("image", (f"../../../{evil}.png", RED))]
    data = {"id": evil, "label": '"><img src=x onerror=alert(1)>', "metadata": json.dumps({evil: evil})}
    answer = client.post("/api/v1/items", files=files, data=data)
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    item = answer.json()["item"]
    assert (item["id"], item["metadata"]) == (evil, {evil: evil})
    assert client.get(item["references"][0]["thumbnail"]).status_code == 200
    assert not list(tmp_path.rglob("*script*"))
    assert evil in client.get("/api/v1/items/%3Cscript%3Ealert(1)%3C%2Fscript%3E").json()["id"]


def test_faults_of_the_server_tell_nothing(
    client: Any, engine: ps.Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret /srv/path")

    monkeypatch.setattr(ps.Engine, "search", broken)
    answer = client.post("/api/v1/search", json={"text": "bear"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["X-Request-ID"] in caplog.text
    assert "secret /srv/path" in caplog.text


def test_paths_stay_on_the_server(client: Any, engine: ps.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise ps.CatalogError(f"{engine.path}/catalog.sqlite is damaged")

    monkeypatch.setattr(ps.Engine, "search", missing)
    answer = client.post("/api/v1/search", json={"text": "bear"})
    assert answer.status_code == 500
    assert str(engine.path) not in answer.text


def test_the_log_has_no_bodies_and_no_keys(engine: ps.Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="plushie_search.access")
    with fastapi_client(engine, server.load(auth=KEYS)) as client:
        client.post("/api/v1/search?k=3", json={"text": "very private words"}, headers=bearer(READ))
    (line,) = [one.message for one in caplog.records if one.name == "plushie_search.access"]
    logged = json.loads(line)
    assert (logged["method"], logged["path"], logged["status"]) == ("POST", "/api/v1/search", 200)
    parts = logged["encode_ms"] + logged["search_ms"]
    assert 0 < parts <= logged["compute_ms"] + 0.02 <= logged["ms"] + 0.03
    assert READ not in line
    assert "private" not in line


def test_errors_of_the_framework_are_problems(engine: ps.Engine) -> None:
    with fastapi_client(engine) as client:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("PUT", "/api/v1/stats", 405),
            ("GET", "/static/x.js", 404),
        ):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
            assert answer.json()["success"] is False
        assert client.put("/api/v1/stats").headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "..\\app.py", ".hidden"])
def test_the_page_has_no_other_files(engine: ps.Engine, path: str) -> None:
    with fastapi_client(engine) as client:
        assert client.get(f"/static/{path}").status_code == 404
