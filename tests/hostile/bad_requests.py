"""HTTP requests whose forms, bodies, addresses and headers are damaged, huge, or mean to reach something else."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

from bad_arguments import TEXTS, filters
from harness import Case, Place, picture
from mutate import mutate
from starlette.testclient import TestClient

from plushie_search import server

PNG = picture((250, 20, 20))
#: The statuses of answers that are right for a bad request; 200 is one for those that can be understood.
EXPECTED = {200, 201, 202, 204, 304, 400, 403, 404, 405, 409, 411, 413, 415, 416, 422, 431}


def form(*parts: tuple[str, str | None, bytes], boundary: bytes = b"x") -> bytes:
    """Returns a form of (name, file name, content)."""
    made = b""
    for name, file, content in parts:
        told = f'form-data; name="{name}"' + (f'; filename="{file}"' if file is not None else "")
        made += (
            b"--"
            + boundary
            + b"\r\nContent-Disposition: "
            + told.encode("utf-8", "surrogatepass")
            + b"\r\n\r\n"
            + content
            + b"\r\n"
        )
    return made + b"--" + boundary + b"--\r\n"


def forms() -> Iterator[tuple[str, bytes, str]]:
    """Yields bodies with their types."""
    kind = "multipart/form-data; boundary=x"
    good = form(("image", "a.png", PNG), ("k", None, b"3"))
    yield "as it should be", good, kind
    for boundary in ("", "x" * 70, "x" * 300, "y", '"x"', '"', "x; boundary=y", "\\", "x\x00", "x" * 100_000):
        yield f"the boundary {boundary[:20]!r}", good, f"multipart/form-data; boundary={boundary}"
    for type_ in ("multipart/form-data", "multipart/mixed; boundary=x", "MULTIPART/FORM-DATA; BOUNDARY=x", "", "text/plain", "image/png", "application/json",
                  "application/x-www-form-urlencoded", ";;;", "a" * 50_000, "multipart/form-data; charset=utf-7; boundary=x", "image/svg+xml", "model/stl",
                  "application/xml", "application/json; charset=utf-16"):  # fmt: skip
        yield f"a body of type {type_[:40]!r}", good, type_
    for name, file in (("", None), ("image", ""), ("image", "../../../etc/passwd"), ("image", "a\0b.png"), ("image", "\u202egnp.exe"), ("image", "x" * 60_000),
                       ("image", 'a"b'), ("x" * 60_000, None), ("image\0", "a"), ("__proto__", None), ("query", None), ("where", None), ("crop", None),
                       ("image", "C:\\x\\y.png"), ("image", "CON"), ("image", "<script>"), ("image", "%00"), ("id", None), ("metadata", None)):  # fmt: skip
        yield f"a part {name[:20]!r} of {str(file)[:20]!r}", form((name, file, PNG), ("image", "b.png", PNG)), kind
    yield "3,000 parts", form(*[("k", None, b"1")] * 3000), kind
    yield "3,000 files", form(*[("image", "a.png", b"x")] * 3000), kind
    yield "a field of 2 MB", form(("k", None, b"x" * 2_000_000), ("image", "a.png", PNG)), kind
    yield "a part without headers", b"--x\r\n\r\nx\r\n--x--\r\n", kind
    yield "a header of 100,000 bytes", b"--x\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--x--\r\n", kind
    yield "10,000 headers", b"--x\r\n" + b"X: y\r\n" * 10_000 + b"\r\nx\r\n--x--\r\n", kind
    yield "no end", good[:-9], kind
    yield "bytes behind the end", good + b"x" * 10_000, kind
    yield "line feeds alone", good.replace(b"\r\n", b"\n"), kind
    yield (
        "names in RFC 2231",
        b"--x\r\nContent-Disposition: form-data; name*=utf-8''%ff%fe; filename*=x''%00\r\n\r\nx\r\n--x--\r\n",
        kind,
    )
    yield (
        "a bad charset in RFC 2231",
        b"--x\r\nContent-Disposition: form-data; name*=nope'nope'%41; filename*0=a; filename*1=b\r\n\r\nx\r\n--x--\r\n",
        kind,
    )
    yield "content in base64", good.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1), kind
    yield "a form within a form", form(("image", "a.png", form(("image", "a.png", PNG)))), kind
    for text in (
        b"",
        b"&" * 5000,
        b"a=1&" * 5000,
        b"%zz=%",
        b"\xff=\xfe",
        b"k=%ff",
        b"image=x",
        b"query=[",
        b"text=" + b"x" * 900_000,
        b"text=%00",
    ):
        yield f"the fields {text[:20]!r}", text, "application/x-www-form-urlencoded"
    chance = random.Random("forms")
    samples = [good, form(("text", None, b"bear"), ("query", None, b'{"k": 2}'), ("where", None, b'{"label": "toy"}'))]
    for number in range(120):
        yield f"a form damaged {number}", mutate(samples[number % 2], chance, samples), kind


def bodies() -> Iterator[tuple[str, bytes]]:
    """Yields bodies of JSON."""
    for text in ("", "{", "[]", "null", "3", '"x"', "[" * 100_000, '{"a":' * 100_000, "{}" * 5, '{"text": "bear"} x', '{"text": "a", "text": "b"}', "\ufeff{}", "NaN", '{"k": NaN}',
                 '{"k": 1e999}', '{"k": ' + "9" * 5000 + "}", '{"text": "\\ud800"}', '{"\\ud800": 1}', '{"text": "\\u0000"}', "\0" * 100, "'text'", "<xml/>", "// x\n{}"):  # fmt: skip
        yield f"the text {text[:24]!r}", text.encode("utf-8", "surrogatepass")
    yield "UTF-16", '{"text": "bear"}'.encode("utf-16")
    yield "UTF-32", '{"text": "bear"}'.encode("utf-32")
    yield "a surrogate in bytes", b'{"text": "\xed\xa0\x80"}'
    given: dict[str, tuple[Any, ...]] = {
        "text": (
            3,
            None,
            [],
            {},
            ["x"] * 1000,
            "x" * 500_000,
            [["bear", "x"]],
            [["bear", 1e400]],
            "\ud800",
            [[["a"], 1]],
        ),
        "image": (
            3,
            "x",
            "",
            "data:image/png;base64,",
            "!" * 1000,
            base64.b64encode(PNG).decode()[:-5],
            ["x"] * 100,
            {"url": "http://127.0.0.1"},
            "/etc/passwd",
            "\ud800",
        ),
        "item": (3, [], "\0", "../x", "x" * 100_000, ["good-1"] * 1000, [["good-1", None]], "\ud800"),
        "vector": (
            "x",
            [],
            [1],
            [None] * 6,
            [1e400] * 6,
            [0] * 6,
            ["1"] * 6,
            [[1] * 6],
            {"nobody": [1] * 6},
            {"toy": "x"},
            [1] * 100_000,
            [True] * 6,
            {"\ud800": [1] * 6},
        ),
        "line": (3, "", "+", "0*x", "- x", "/etc/passwd", "x + " * 1000, "\ud800", "x" * 100_000),
        "crop": ("x", [], [1], [0, 0, 0, 0], [[0, 0, 1, 1]] * 9, "1,2", "[[[[", {"a": 1}, [1e400] * 4),
        "weights": (3, [], {"x": 1}, {"text": "x"}, {"text": None}, {"text": 1e400}, {"text": -1}, {"text": 0}),
        "k": (0, -1, 1.5, "x", None, 10**30, [], True, 100_000, 1e400),
        "cursor": (3, "", "x", "A" * 100_000, "\0", "\ud800", {}),
        "exclude": (3, {}, "\0", ["x"] * 10_000, [None], "\ud800"),
        "models": (3, "nobody", {}, {"toy": "x"}, {"toy": -1}, [], "\ud800", {"\ud800": 1}),
        "fusion": (3, "x", None, "\ud800"),
        "aggregate": (3, "x", None),
        "mmr": ("x", -1, 2, None, 1e400),
        "min_score": ("x", 1e400, None, []),
        "words": (3, "x", ["x"] * 10_000, {}, ["\ud800"]),
        "expand": (3, "x", ["x"], ["{}"] * 10_000, {}, ["\ud800{}"]),
        "nprobe": ("x", -1, 10**30, None),
        "query_crops": ("x", 3, None),
        "where": (3, "x", [], "\ud800"),
        "nobody": (1,),
    }
    for key, values in given.items():
        for value in values:
            yield f"{key} of {str(value)[:40]!r}", json.dumps({"text": "bear", key: value}).encode()
    for name, where in filters().items():
        if name == "two in each of 30 steps":  # as JSON it is a gigabyte
            continue
        try:
            text = json.dumps({"text": "bear", "where": where})
        except (TypeError, ValueError, RecursionError):
            continue
        yield f"where: {name}", text.encode()
    yield "1,000 queries", json.dumps({"queries": [{"text": "bear"}] * 1000}).encode()
    yield "queries of anything", json.dumps({"queries": [3, None, [], {}]}).encode()
    good = b'{"query": {"text": ["bear", ["red", 0.5]], "item": "good-1"}, "k": 3, "where": {"n": {"$lt": 4}}, "fusion": "rrf"}'
    chance = random.Random("bodies")
    for number in range(100):
        yield f"a body damaged {number}", mutate(good, chance, [good])


def addresses() -> Iterator[tuple[str, str]]:
    """Yields methods and addresses."""
    for text in ("..", "../..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..", "%00", "a%00b", "%ff", "%ed%a0%80", "x" * 5000, "%0d%0aX: y", ";", "?", "#", "*", "'", "//evil", "good-1/..", "good-1%2f..",
                 "%E2%80%AE", "~root", "%252e%252e", "good-1;x=y", ".", "%20", "+", "\\"):  # fmt: skip
        for path in ("/api/v1/items/{}", "/api/v1/items/{}/vectors", "/api/v1/media/{}/thumbnail", "/api/v1/media/{}/original", "/api/v1/catalogs/{}/stats",
                     "/api/v1/jobs/{}", "/api/v1/jobs/{}/events", "/static/{}", "/{}", "/api/v1/items?where={}", "/api/v1/items?after={}", "/api/v1/items?limit={}",
                     "/api/v1/labels?q={}", "/api/v1/duplicates?threshold={}", "/api/v1/review?limit={}"):  # fmt: skip
            yield "GET", path.format(text)
        yield "DELETE", f"/api/v1/items/{text}"
        if text != "..":  # which the client resolves by itself
            yield "DELETE", f"/api/v1/items/good-1/references/{text}"
    for method in ("PUT", "TRACE", "CONNECT", "OPTIONS", "HEAD", "X" * 50):
        yield method, "/api/v1/search"


def cases(place: Place) -> Iterator[Case]:
    """Yields each bad request. The answer has one of the statuses that are expected, and never a trace of the program."""
    app = server.create_app(place.engine, settings=server.Settings())

    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:

        def ask(method: str, path: str, **how: Any) -> None:
            answer = client.request(method, path, **how)
            if answer.status_code not in EXPECTED:
                raise AssertionError(f"status {answer.status_code}: {answer.text[:200]}")
            assert "Traceback" not in answer.text
            assert len(answer.content) < 2_000_000, "an input is repeated"
            if answer.status_code >= 400:
                raise ValueError(answer.text[:300] or "refused")

        routes = (
            "/api/v1/search",
            "/api/v1/identify",
            "/api/v1/classify",
            "/api/search/image",
            "/api/search/hybrid",
            "/api/v1/inspect",
            "/api/v1/compare",
        )
        number = 0
        for name, body, kind in forms():
            number += 1
            for path in (routes[0], routes[1 + number % (len(routes) - 1)]):
                yield (
                    f"{path}: {name}",
                    lambda path=path, body=body, kind=kind: ask(
                        "POST", path, content=body, headers={"content-type": kind}
                    ),
                )
            yield f"an item: {name}", lambda body=body, kind=kind: _added(ask, place, body, kind)
        routes = (
            "/api/v1/search",
            "/api/v1/identify",
            "/api/v1/classify",
            "/api/search/text",
            "/v1/embeddings",
            "/api/v1/jobs/evaluate",
            "/api/v1/explain",
        )
        for name, body in bodies():
            number += 1
            for path in (routes[0], routes[1 + number % (len(routes) - 1)]):
                yield (
                    f"{path}: {name}",
                    lambda path=path, body=body: ask(
                        "POST", path, content=body, headers={"content-type": "application/json"}
                    ),
                )
        for method, path in addresses():
            yield f"{method} {path[:80]}", lambda method=method, path=path: ask(method, path)
        for n, text in enumerate(TEXTS):
            escaped = json.dumps({"label": text, "text": text, "metadata": {text: text}}).encode()
            yield (
                f"text {n} for an item that is not there",
                lambda escaped=escaped: ask(
                    "PATCH", "/api/v1/items/nobody", content=escaped, headers={"content-type": "application/json"}
                ),
            )
            for header in (
                "Host",
                "Origin",
                "Range",
                "If-None-Match",
                "Accept",
                "X-Request-Id",
                "Authorization",
                "Content-Length",
                "Accept-Language",
            ):
                if n % 9 == len(header) % 9:
                    raw = text.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ")[:4000]
                    yield (
                        f"text {n} as {header}",
                        lambda header=header, raw=raw: ask("GET", "/api/v1/items", headers={header: raw}),
                    )


def _added(ask: Any, place: Place, body: bytes, kind: str) -> None:
    """Adds an item by a form, and removes it again."""
    before = {item.id for item in place.engine}
    try:
        ask("POST", "/api/v1/items", content=body, headers={"content-type": kind})
    finally:
        if added := [item.id for item in place.engine if item.id not in before]:
            place.engine.remove(added)
