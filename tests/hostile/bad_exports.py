"""Exports of a catalog, files of labels and configurations that are damaged, too deep, or name other files."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator

from harness import Case, Place
from mutate import mutate

import plushie_search as ps
from plushie_search.server.settings import load


def labels() -> Iterator[tuple[str, str, bytes]]:
    """Yields bad files of labels."""
    for name, text in {
        "nothing": "", "a number": "3", "a text": '"x"', "null": "null", "too few": '["a"]', "too many": json.dumps(["a"] * 9), "no rows": "{}",
        "deep lists": "[" * 100_000, "deep entries": "[" + ",".join(['{"metadata": ' + '{"a":' * 500 + "1" + "}" * 500 + "}"] * 6) + "]",
        "numbers of 5,000 digits": "[" + ",".join(["9" * 5000] * 6) + "]", "infinite": "[" + ",".join(["1e999"] * 6) + "]",
        "NaN": json.dumps([float("nan")] * 6), "booleans": json.dumps([True] * 6), "lists": json.dumps([[1]] * 6), "surrogates": '["\\ud800"' + ', "a"' * 5 + "]",
        "long ids": json.dumps([{"id": "x" * 100_000}] * 6), "a null byte": json.dumps([{"id": "a\0b"}] * 6), "no object as metadata": json.dumps([{"metadata": 3}] * 6),
        "both names": json.dumps([{"id": "a", "label": "b", "class": "c"}] * 6), "strange keys": json.dumps([{"": 1, "$or": [], "a.b": 2}] * 6),
        "digests that are none": json.dumps([{"digest": "x"}] * 6), "numbers as ids": json.dumps([{"id": -1}] * 6), "objects as ids": json.dumps([{"id": {}}] * 6),
        "not closed": '["a", "b"', "twice": '["a"]["b"]', "a comment": "// x\n[]", "keys that are no rows": json.dumps({"x": "a", "-1": "b"}),
    }.items():  # fmt: skip
        yield name, ".json", text.encode()
        yield f"{name} in lines", ".jsonl", text.encode()
    yield "bytes that are no text", ".json", b"\xff\xfe\xfd"
    yield "UTF-16", ".json", json.dumps(["a"] * 6).encode("utf-16")
    yield "a pickle", ".pkl", b"\x80\x04cposix\nsystem\n(S'true'\ntR."
    good = json.dumps([{"id": f"i{n}", "label": "x", "metadata": {"n": n}} for n in range(6)]).encode()
    chance = random.Random("labels")
    for number in range(40):
        yield f"damaged {number}", ".json", mutate(good, chance, [good])


def exports(place: Place) -> Iterator[Case]:
    """Yields bad directories of an export, as :meth:`Engine.export` writes them."""
    whole, bad = place.folder / "export", place.folder / "bad-export"
    place.engine.export(whole)
    # Not into the catalog itself: a damaged export may still be one, of other items.
    into = ps.Engine(place.folder / "imports.catalog", model=place.model, threads=2)
    into.import_vectors(whole)

    def changed(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[], object]:
        def work() -> None:
            shutil.rmtree(bad, ignore_errors=True)
            shutil.copytree(whole, bad)
            data = change((bad / name).read_bytes())
            (bad / name).unlink() if data is None else (bad / name).write_bytes(data)
            before = into.items()
            try:
                into.import_vectors(bad)
            except Exception:
                assert into.items() == before, "an import that was refused has changed the catalog"
                raise

        return work

    for name in ("catalog.json", "items.jsonl", "vectors.npy"):
        yield f"an export without {name}", changed(name, lambda data: None)
        for text in (
            b"",
            b"{}",
            b"[]",
            b"null",
            b"3",
            b'{"models": null}',
            b'{"models": [{}]}',
            b'{"models": [3]}',
            b"[" * 100_000,
            b"\xff",
            b'{"models": {}}',
        ):
            yield f"an export with {text[:20]!r} as {name}", changed(name, lambda data, text=text: text)
        for number in range(25):
            # catalog.json names the model's directory: its length must not decide how the files behind it are damaged.
            chance = random.Random(f"{name} {number}")
            yield (
                f"an export with {name} damaged {number}",
                changed(name, lambda data, chance=chance: mutate(data, chance, [data])),
            )
    picture = {"references": [{"name": "x", "digest": "0" * 64, "picture": "../../../../../../etc/passwd"}], "id": "x"}
    for target in (
        "../../../../../../etc/passwd",
        "/etc/passwd",
        "pictures/../../x",
        "pictures/none",
        ".",
        "",
        "\0",
        "x" * 5000,
        3,
        ["a"],
        {"a": 1},
    ):
        picture["references"][0]["picture"] = target  # type: ignore[index]
        line = json.dumps(picture).encode() + b"\n"
        yield (
            f"an export whose picture is {str(target)[:40]!r}",
            changed("items.jsonl", lambda data, line=line: line * 8),
        )
    for key, value in (
        ("file", "../vectors.npy"),
        ("file", "/etc/passwd"),
        ("file", "vectors.npy\0"),
        ("file", ""),
        ("file", 3),
        ("name", 3),
        ("fingerprint", None),
    ):
        told = json.loads((whole / "catalog.json").read_bytes())
        told["models"][0][key] = value
        text = json.dumps(told).encode()
        yield f"an export whose {key} is {value!r}", changed("catalog.json", lambda data, text=text: text)


def configurations(place: Place) -> Iterator[Case]:
    """Yields bad YAML files of the server."""
    laughs = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
    )
    for name, text in {
        "nothing": "", "a number": "3", "a list": "[1]", "tabs": "\tx: 1", "not closed": "server: {", "tags of Python": "server: !!python/object/apply:os.system ['true']",
        "a tag": "server: !evil x", "a million laughs": laughs, "an alias of itself": "server: &a {b: *a}", "deep lists": "x: " + "[" * 400 + "]" * 400, "deep maps": "{a: " * 400, "endless lists": "x: " + "[" * 200_000,
        "a date that is none": "server: 2020-99-99", "an unknown key": "sever: {}", "a key that is no text": "1: 2", "two documents": "a: 1\n---\nb: 2",
        "null bytes": "a: \0", "a port of a text": "server: {port: x}", "a port of 10^30": f"server: {{port: {10**30}}}", "infinite": "limits: {queue: .inf}",
        "a key of a list": "? [a, b]\n: c", "a merge of a number": "server: {<<: 3}", "a long text": "catalog: " + "x" * 2_000_000, "binary": "a: !!binary '!!!'",
        "a set": "server: !!set {a, b}", "base 60": "limits: {queue: 9" + ":59" * 500 + "}", "a number of 5,000 digits": "limits: {queue: " + "9" * 5000 + "}",
        "a path of a catalog": "catalogs: {'../x': y}", "an undefined alias": "a: *b",
    }.items():  # fmt: skip
        yield f"YAML: {name}", lambda text=text: load(place.file(text.encode(), ".yaml"))
    good = b"server: {port: 80, host: 127.0.0.1}\nlimits: {queue: 5}\nauth: {file: x}\ncatalogs: {a: b}\n"
    chance = random.Random("yaml")
    for number in range(40):
        yield f"YAML damaged {number}", lambda: load(place.file(mutate(good, chance, [good]), ".yaml"))
